//! A batch through a network in chunks of one size.
//!
//! On a CPU a small chunk keeps a layer's maps in the processor's cache. The last chunk is padded with black
//! images, so that every image is computed in a batch of the same size, whatever the caller's batch is.

use std::sync::{Mutex, PoisonError};

use patchwork_networks::{MOST_TAKERS, shared_out};
use tch::{Device, Kind, Tensor, no_grad};

/// A network with copies that share its weights, one for each thread that takes chunks.
pub(crate) struct Copies<N> {
    copies: Mutex<Vec<N>>,
    threads: usize,
}

impl<N: Clone> Copies<N> {
    /// A copy for each of libtorch's threads on a CPU, within limits; the network alone elsewhere.
    pub(crate) fn new(network: N, device: Device) -> Self {
        let threads = match device {
            Device::Cpu => usize::try_from(tch::get_num_threads()).unwrap_or(1),
            _ => 1,
        };
        let count = usize::min(threads, MOST_TAKERS);
        let mut copies: Vec<N> = (1..count).map(|_| network.clone()).collect();
        copies.push(network);
        Self {
            copies: Mutex::new(copies),
            threads,
        }
    }
}

impl<N> Copies<N> {
    /// Has one of them do something.
    pub(crate) fn one<R>(&self, work: impl FnOnce(&N) -> R) -> R {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        work(copies.first().expect("there is the network itself"))
    }
}

/// Features of all images, by chunks of `chunk_images` that threads take one after another on a CPU, and at once elsewhere;
/// on the CPU.
///
/// # Shapes
/// - `images`: `[batch, 3, height, width]`, u8; a chunk has the same shape with its own batch
/// - returns: `[batch, dimension]`, f32, for each of `dimensions`
pub(crate) fn in_chunks<const N: usize, M: Send>(
    images: &Tensor,
    device: Device,
    chunk_images: i64,
    dimensions: [i64; N],
    networks: &Copies<M>,
    features: impl Fn(&M, &Tensor) -> [Tensor; N] + Sync,
) -> [Tensor; N] {
    let chunks = chunks(images, device, chunk_images);
    let mut copies = (networks.copies.lock()).unwrap_or_else(PoisonError::into_inner);
    let outputs = shared_out(&mut copies, networks.threads, chunks, |network, chunk| {
        no_grad(|| {
            let features = features(network, &chunk.images.to_device(device));
            features.map(|features| features.narrow(0, 0, chunk.length).to_device(Device::Cpu))
        })
    });
    joined(&outputs, dimensions)
}

/// As [`in_chunks`], for a network that can fail and of which there is one.
pub(crate) fn try_in_chunks<const N: usize, E>(
    images: &Tensor,
    device: Device,
    chunk_images: i64,
    dimensions: [i64; N],
    features: impl Fn(&Tensor) -> Result<[Tensor; N], E>,
) -> Result<[Tensor; N], E> {
    let outputs = no_grad(|| {
        let chunks = chunks(images, device, chunk_images).into_iter();
        chunks
            .map(|chunk| {
                let features = features(&chunk.images.to_device(device))?;
                Ok(features
                    .map(|features| features.narrow(0, 0, chunk.length).to_device(Device::Cpu)))
            })
            .collect::<Result<Vec<_>, E>>()
    })?;
    Ok(joined(&outputs, dimensions))
}

/// Images that go through the network at once.
struct Chunk {
    images: Tensor,
    /// How many of them are wanted: the others fill it up.
    length: i64,
}

fn chunks(images: &Tensor, device: Device, chunk_images: i64) -> Vec<Chunk> {
    let count = images.size()[0];
    let chunk_images = if device == Device::Cpu {
        chunk_images
    } else {
        count.max(1)
    };
    (0..count)
        .step_by(chunk_images as usize)
        .map(|start| {
            let length = chunk_images.min(count - start);
            Chunk {
                images: filled_up(&images.narrow(0, start, length), chunk_images),
                length,
            }
        })
        .collect()
}

/// The features of all chunks, `[batch, dimension]` each.
fn joined<const N: usize>(outputs: &[[Tensor; N]], dimensions: [i64; N]) -> [Tensor; N] {
    std::array::from_fn(|which| {
        let parts: Vec<&Tensor> = outputs.iter().map(|output| &output[which]).collect();
        if parts.is_empty() {
            Tensor::zeros([0, dimensions[which]], (Kind::Float, Device::Cpu))
        } else {
            Tensor::cat(&parts, 0)
        }
    })
}

fn filled_up(chunk: &Tensor, count: i64) -> Tensor {
    let mut shape = chunk.size();
    if shape[0] == count {
        return chunk.shallow_clone();
    }
    shape[0] = count - shape[0];
    let black = Tensor::zeros(shape, (chunk.kind(), chunk.device()));
    Tensor::cat(&[chunk, &black], 0)
}
