//! `just bench evaluate`: features and Fréchet distance against pytorch-fid 0.3.0 and SciPy on this machine.
//!
//! Both sides read the same PNG files, hold the same weights (from a formula, in a `.pth` file that PyTorch wrote) and
//! use as many threads. Features are to come at least 1.3 times as fast (1.6 is aimed at) and be the same to 1e-3; the
//! distance of two Gaussians in 2,048 dimensions at least 2.5 times as fast, and the same to 1e-6.
//!
//! `-- --images N` takes another number of images than 1,000.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use patchwork_core::Digest;
use patchwork_metrics::inception_v3::InceptionV3;
use patchwork_metrics::{Extractor, Gaussian, Moments, frechet_distance, npz};
use patchwork_weights::Resize;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

const SIDE: i64 = 64;
const BATCH: usize = 64;
const DIMENSION: i64 = 2048;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let images = arguments
        .iter()
        .position(|argument| argument == "--images")
        .map_or(1000, |place| arguments[place + 1].parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let threads = std::thread::available_parallelism().unwrap().get();
    tch::set_num_threads(i32::try_from(threads).unwrap());
    println!("{threads} threads, {images} images of {SIDE} × {SIDE}");
    features(folder.path(), images, threads);
    frechet(folder.path());
}

fn features(folder: &Path, images: usize, threads: usize) {
    let pictures = folder.join("images");
    std::fs::create_dir(&pictures).unwrap();
    let files: Vec<PathBuf> = (0..images).map(|number| draw(&pictures, number)).collect();
    let weights = folder.join("formula.pth");
    python(&["weights", text(&weights)]);

    let begin = Instant::now();
    let digest = Digest::of(b"formula");
    let extractor = InceptionV3::read(&weights, digest, Resize::Torch, Device::Cpu).unwrap();
    let loading = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    let ours: Vec<Tensor> = files
        .chunks(BATCH)
        .map(|files| {
            let batch: Vec<Tensor> = files.iter().map(|file| read(file)).collect();
            extractor
                .features(&Tensor::stack(&batch, 0))
                .unwrap()
                .pooled
        })
        .collect();
    let seconds = begin.elapsed().as_secs_f64();

    let output = folder.join("theirs.npy");
    let threads = threads.to_string();
    let answer = python(&[
        "features",
        text(&pictures),
        text(&weights),
        text(&output),
        &threads,
    ]);
    let baseline = answer["seconds"].as_f64().unwrap();
    let theirs = Tensor::read_npy(&output).unwrap().to_kind(Kind::Double);
    let difference = (Tensor::cat(&ours, 0).to_kind(Kind::Double) - &theirs).norm() / theirs.norm();
    let rate = |seconds: f64| images as f64 / seconds;
    println!("weights loaded in {loading:.2} s");
    println!(
        "features: {:.2} images/s, pytorch-fid {:.2} (PyTorch {}): {:.2} times as fast (at least 1.3); they differ by {:.1e}",
        rate(seconds),
        rate(baseline),
        answer["torch"].as_str().unwrap(),
        baseline / seconds,
        difference.double_value(&[])
    );
}

/// Two sets of samples with a spectrum that falls as that of image features does.
fn frechet(folder: &Path) {
    let gaussian = |seed: i64, shift: f64| {
        tch::manual_seed(seed);
        let mixing = Tensor::randn([DIMENSION; 2], (Kind::Float, Device::Cpu));
        let scales = (Tensor::arange(DIMENSION, (Kind::Float, Device::Cpu)) + 1.0).reciprocal();
        let mut moments = Moments::new(DIMENSION);
        for _ in 0..3 {
            let draws = Tensor::randn([2000, DIMENSION], (Kind::Float, Device::Cpu));
            moments
                .accumulate(&((draws * &scales).matmul(&mixing) + shift))
                .unwrap();
        }
        moments.gaussian().unwrap()
    };
    let (first, second) = (gaussian(1, 0.3), gaussian(2, 0.4));
    let begin = Instant::now();
    let ours = frechet_distance(&first, &second).unwrap().distance;
    let seconds = begin.elapsed().as_secs_f64();
    let write = |name: &str, gaussian: &Gaussian| {
        let path = folder.join(name);
        std::fs::write(&path, npz::to_bytes(gaussian).unwrap()).unwrap();
        path
    };
    let (first, second) = (write("first.npz", &first), write("second.npz", &second));
    let answer = python(&["frechet", text(&first), text(&second)]);
    let (baseline, theirs) = (
        answer["seconds"].as_f64().unwrap(),
        answer["value"].as_f64().unwrap(),
    );
    println!(
        "Fréchet distance in {DIMENSION} dimensions: {seconds:.2} s, pytorch-fid {baseline:.2} s (SciPy {}): {:.2} \
         times as fast (at least 2.5); {ours:.6} and {theirs:.6} differ by {:.1e}",
        answer["scipy"].as_str().unwrap(),
        baseline / seconds,
        (ours / theirs - 1.0).abs()
    );
}

/// A picture with shapes and noise, so that no two are alike.
fn draw(folder: &Path, number: usize) -> PathBuf {
    let path = folder.join(format!("{number:06}.png"));
    let side = SIDE as u32;
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        let wave = |scale: usize| {
            let phase = (x as usize * (number % 7 + 1) + y as usize * scale + number * 31) as f64;
            (127.0 + 120.0 * (phase / 9.0).sin()) as u8
        };
        image::Rgb([wave(1), wave(3), wave(number % 5)])
    });
    image.save(&path).unwrap();
    path
}

/// `[3, height, width]`, u8.
fn read(path: &Path) -> Tensor {
    let image = image::open(path).unwrap().to_rgb8();
    let shape = [i64::from(image.height()), i64::from(image.width()), 3];
    Tensor::from_slice(image.as_raw())
        .reshape(shape)
        .permute([2, 0, 1])
}

fn python(arguments: &[&str]) -> Value {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = std::env::var_os("PATCHWORK_BENCH_PYTHON");
    let tools = std::env::var_os("PATCHWORK_CACHE").map_or(manifest.join("../.."), PathBuf::from);
    let mut command = Command::new(own.as_deref().unwrap_or("python3".as_ref()));
    command
        .arg(manifest.join("benches/evaluate.py"))
        .args(arguments);
    if own.is_none() {
        command.env("PYTHONPATH", tools.join(".tools/references"));
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
