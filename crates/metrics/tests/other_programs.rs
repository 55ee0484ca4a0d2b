//! What other programs read and compute: NumPy our statistics, Pillow and NumPy the resized images.

use std::ffi::OsStr;
use std::path::Path;

use patchwork_metrics::resize::resize;
use patchwork_metrics::{Gaussian, Moments, npz};
use patchwork_weights::Resize;
use tch::{Device, Kind, Tensor};

#[path = "../../../tests/support/readers.rs"]
mod readers;

/// Resizes `images.npy` (`[batch, height, width, 3]`, u8) to a side in one of two ways.
const RESIZE: &str = r#"
import sys
import numpy as np
from PIL import Image
source, way, side, target = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
images = np.load(source).astype(np.float32)

def clean(image):
    channels = [Image.fromarray(image[:, :, c], mode="F").resize((side, side), Image.BICUBIC) for c in range(3)]
    return np.stack([np.asarray(channel).clip(0, 255) for channel in channels], axis=2)

def tf1(image):
    for axis in range(2):
        length = image.shape[axis]
        place = np.arange(side) * (length / side)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, length - 1)
        share = (place - below).reshape([-1 if a == axis else 1 for a in range(3)])
        image = image.take(below, axis) * (1 - share) + image.take(above, axis) * share
    return image

np.save(target, np.stack([{"clean": clean, "tf1": tf1}[way](image) for image in images]).astype(np.float32))
"#;

#[test]
fn images_are_resized_as_pillow_and_tensorflow_do() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (
        folder.path().join("images.npy"),
        folder.path().join("resized.npy"),
    );
    tch::manual_seed(0);
    for (height, width, side) in [(64, 64, 299), (40, 57, 23), (150, 90, 100)] {
        let stored = Tensor::randint(256, [2, height, width, 3], (Kind::Uint8, Device::Cpu));
        stored.write_npy(&source).unwrap();
        let images = stored.permute([0, 3, 1, 2]);
        for way in [Resize::Clean, Resize::Tf1] {
            let side_text = side.to_string();
            let arguments: [&OsStr; 4] = [
                source.as_ref(),
                way.name().as_ref(),
                side_text.as_ref(),
                target.as_ref(),
            ];
            readers::python(RESIZE, &arguments);
            let theirs = Tensor::read_npy(&target).unwrap().permute([0, 3, 1, 2]);
            let largest = (resize(&images, way, side) - theirs)
                .abs()
                .max()
                .double_value(&[]);
            assert!(
                largest < 2e-3,
                "{way:?} of {height} × {width} to {side}: {largest}"
            );
        }
    }
}

#[test]
fn numpy_reads_our_statistics_and_we_read_numpys() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let features = Tensor::randn([50, 7], (Kind::Float, Device::Cpu));
    let mut moments = Moments::new(7);
    moments.accumulate(&features).unwrap();
    let ours = moments.gaussian().unwrap();
    std::fs::write(path("ours.npz"), npz::to_bytes(&ours).unwrap()).unwrap();
    // As EDM writes them, and compressed in single precision, with something else beside them.
    let script = r"
import sys
import numpy as np
with np.load(sys.argv[1]) as statistics:
    mu, sigma = statistics['mu'], statistics['sigma']
assert mu.dtype == np.float64 and mu.shape == (7,) and sigma.shape == (7, 7), (mu.dtype, mu.shape, sigma.shape)
np.savez(sys.argv[2], mu=mu, sigma=sigma)
np.savez_compressed(sys.argv[3], other=np.array('text'), sigma=np.asfortranarray(sigma.astype(np.float32)), mu=mu.astype(np.float32))
";
    let (double, single) = (path("double.npz"), path("single.npz"));
    readers::python(
        script,
        &[path("ours.npz").as_ref(), double.as_ref(), single.as_ref()],
    );
    let read = |path: &Path| -> Gaussian { npz::read(path, Some(50)).unwrap() };
    assert!(read(&double).covariance().equal(ours.covariance()));
    assert!(read(&double).mean().equal(ours.mean()));
    let rounded = read(&single);
    assert!(
        rounded
            .covariance()
            .allclose(ours.covariance(), 1e-6, 1e-6, false)
    );
}
