//! `just bench autoencoder`: Stable Diffusion's autoencoder with random weights, one image of 256 × 256 encoded and
//! decoded: seconds, and the peak of resident memory.
//!
//! `just bench autoencoder -- --device cuda:0 --size 512`; one thread on the processor, `--threads N` for others.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::io::Write;
use std::time::Instant;

use patchwork_networks::autoencoder::{Autoencoder, AutoencoderConfig};
use tch::{Device, Kind, Tensor};

/// The fastest of so many tries counts.
const TRIES: usize = 3;

fn main() {
    let (mut device, mut size, mut threads) = (Device::Cpu, 256, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--device" => {
                let name = arguments.next().unwrap();
                let index = name.strip_prefix("cuda:").unwrap();
                device = Device::Cuda(index.parse().unwrap());
            }
            "--size" => size = arguments.next().unwrap().parse().unwrap(),
            "--threads" => threads = arguments.next().unwrap().parse().unwrap(),
            _ => {}
        }
    }
    tch::set_num_threads(threads);
    let config = AutoencoderConfig::stable_diffusion();
    let autoencoder = Autoencoder::new(&config, device, 0).unwrap();
    let ready = peak_bytes();
    let images = Tensor::rand([1, 3, size, size], (Kind::Float, device)) * 2.0 - 1.0;
    let mut latents = None;
    let encode = fastest(device, || {
        latents = Some(autoencoder.encode_batches(&images, 1).unwrap().mean);
    });
    let encoding = peak_bytes();
    let latents = latents.unwrap();
    let decode = fastest(device, || {
        let _ = autoencoder.decode_batches(&latents, 1);
    });
    let text = format!(
        "{size} x {size}, {device:?}, {threads} thread(s)\n\
         encode {encode:.2} s, peak {:.2} GiB\n\
         decode {decode:.2} s, peak {:.2} GiB\n\
         before either {:.2} GiB; the estimate of either beside weights is {:.2} GiB\n",
        gibibytes(encoding),
        gibibytes(peak_bytes()),
        gibibytes(ready),
        gibibytes(config.working_bytes(size, size).cast_unsigned()),
    );
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

fn fastest(device: Device, mut work: impl FnMut()) -> f64 {
    let seconds = (0..TRIES).map(|_| {
        let start = Instant::now();
        work();
        if let Device::Cuda(index) = device {
            tch::Cuda::synchronize(index as i64);
        }
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

/// The process's peak of resident memory, as the kernel counts it.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes << 10
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}
