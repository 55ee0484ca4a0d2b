//! A batch through a network in chunks of one size.
//!
//! On a CPU a small chunk keeps a layer's maps in the processor's cache. The last chunk is filled up with black
//! images, so that every image is computed in a batch of the same size, whatever the caller's batch is.

use tch::{Device, Kind, Tensor, no_grad};

/// Features of all images, by chunks of `chunk_images` on a CPU and at once elsewhere, on the CPU.
///
/// # Shapes
/// - `images`: `[batch, 3, height, width]`, u8; a chunk has the same shape with its own batch
/// - returns: `[batch, dimension]`, f32, for each of `dimensions`
pub(crate) fn in_chunks<const N: usize>(
    images: &Tensor,
    device: Device,
    chunk_images: i64,
    dimensions: [i64; N],
    features: impl Fn(&Tensor) -> [Tensor; N],
) -> [Tensor; N] {
    let result = try_in_chunks(images, device, chunk_images, dimensions, |chunk| {
        Ok::<_, std::convert::Infallible>(features(chunk))
    });
    match result {
        Ok(features) => features,
        Err(never) => match never {},
    }
}

/// As [`in_chunks`], for a network that can fail.
pub(crate) fn try_in_chunks<const N: usize, E>(
    images: &Tensor,
    device: Device,
    chunk_images: i64,
    dimensions: [i64; N],
    features: impl Fn(&Tensor) -> Result<[Tensor; N], E>,
) -> Result<[Tensor; N], E> {
    let count = images.size()[0];
    let chunk_images = if device == Device::Cpu {
        chunk_images
    } else {
        count.max(1)
    };
    let mut outputs: [Vec<Tensor>; N] = std::array::from_fn(|_| Vec::new());
    no_grad(|| {
        for start in (0..count).step_by(chunk_images as usize) {
            let length = chunk_images.min(count - start);
            let chunk = filled_up(&images.narrow(0, start, length), chunk_images);
            for (output, features) in outputs.iter_mut().zip(features(&chunk.to_device(device))?) {
                output.push(features.narrow(0, 0, length).to_device(Device::Cpu));
            }
        }
        Ok(())
    })?;
    let mut dimensions = dimensions.into_iter();
    Ok(outputs.map(|output| {
        let dimension = dimensions.next().unwrap_or_default();
        if output.is_empty() {
            Tensor::zeros([0, dimension], (Kind::Float, Device::Cpu))
        } else {
            Tensor::cat(&output, 0)
        }
    }))
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
