//! JPEGs against Pillow, to the last bit.

use std::ffi::OsStr;
use std::fs;

use patchwork_dataset::compose::{compose, compose_grey};
use patchwork_dataset::decode::{MemoryGate, decode, orientation};

/// Files of every sampling, size, quality and coding, each with the pixels that Pillow makes of it.
const MAKE: &str = r"
import io, itertools, sys
import numpy as np
from PIL import Image
rng = np.random.default_rng(1)
number = 0
def save(image, **options):
    global number
    out = io.BytesIO()
    image.save(out, 'JPEG', **options)
    data = out.getvalue()
    seen = Image.open(io.BytesIO(data)).convert('RGB')
    open(f'{sys.argv[1]}/{number}.jpg', 'wb').write(data)
    open(f'{sys.argv[1]}/{number}.rgb', 'wb').write(seen.tobytes())
    seen = Image.open(io.BytesIO(data)).convert('L')
    open(f'{sys.argv[1]}/{number}.grey', 'wb').write(seen.tobytes())
    number += 1
sizes = [(1, 1), (2, 3), (3, 2), (5, 1), (1, 7), (8, 8), (9, 17), (16, 15), (31, 33), (64, 48), (65, 97)]
samplings = ['4:4:4', '4:2:2', '4:2:0']
for repeat, size, sampling, progressive in itertools.product(range(2), sizes, samplings, [False, True]):
    quality = int(rng.choice([1, 10, 40, 75, 92, 100]))
    noise = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(noise).resize((3, 3)).resize(size, Image.BICUBIC))
    image = Image.fromarray(noise if rng.integers(3) == 0 else smooth)
    try:
        save(image, quality=quality, subsampling=sampling, progressive=progressive)
    except (ValueError, TypeError):
        pass
    if sampling == '4:4:4':
        save(image.convert('L'), quality=quality, progressive=progressive)
        save(image.convert('CMYK'), quality=quality, progressive=progressive)
        save(image, quality=quality, keep_rgb=True)
        save(image, quality=quality, restart_marker_blocks=1)
print(number)
";

#[test]
fn every_kind_decodes_as_in_pillow() {
    let folder = tempfile::tempdir().unwrap();
    let made = crate::readers::python(MAKE, &[folder.path().as_os_str()]);
    let count: usize = made.trim().parse().unwrap();
    assert!(count > 140, "{count}");
    let gate = MemoryGate::new(1 << 30);
    for number in 0..count {
        let bytes = fs::read(folder.path().join(format!("{number}.jpg"))).unwrap();
        let expected = fs::read(folder.path().join(format!("{number}.rgb"))).unwrap();
        let image = decode(&bytes, &gate).unwrap();
        let size = (image.width(), image.height());
        assert!(
            compose(image.clone(), [0; 3]) == expected,
            "image {number} of {size:?} differs"
        );
        let expected = fs::read(folder.path().join(format!("{number}.grey"))).unwrap();
        assert!(
            compose_grey(image, [0; 3]) == expected,
            "image {number} of {size:?} differs in grey"
        );
    }
}

/// Turned by each orientation, and read back turned.
const TURN: &str = r"
import io, sys
import numpy as np
from PIL import Image, ImageOps
pixels = np.random.default_rng(2).integers(0, 256, (5, 7, 3), dtype=np.uint8)
for kind, value in [(kind, value) for kind in ('JPEG', 'PNG', 'WEBP', 'TIFF') for value in range(1, 9)]:
    exif = Image.Exif()
    exif[0x0112] = value
    out = io.BytesIO()
    options = {'lossless': True} if kind == 'WEBP' else {}
    Image.fromarray(pixels).save(out, kind, exif=exif, **options)
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(out.getvalue()))).convert('RGB')
    open(f'{sys.argv[1]}/{kind}-{value}', 'wb').write(out.getvalue())
    open(f'{sys.argv[1]}/{kind}-{value}.rgb', 'wb').write(seen.tobytes())
";

#[test]
fn orientation_is_that_of_pillow() {
    use std::ops::ControlFlow;

    let folder = tempfile::tempdir().unwrap();
    let argument: &OsStr = folder.path().as_os_str();
    crate::readers::python(TURN, &[argument]);
    let gate = MemoryGate::new(1 << 30);
    for kind in ["JPEG", "PNG", "WEBP", "TIFF"] {
        for value in 1..=8 {
            let bytes = fs::read(folder.path().join(format!("{kind}-{value}"))).unwrap();
            assert_eq!(orientation(&bytes).is_some(), value > 1, "{kind} {value}");
            assert_eq!(decode(&bytes, &gate).unwrap().width(), 7);
            // Through the whole stage, at the size of the turned image.
            let expected = fs::read(folder.path().join(format!("{kind}-{value}.rgb"))).unwrap();
            let raw = folder.path().join(format!("raw-{kind}-{value}"));
            fs::create_dir(&raw).unwrap();
            fs::write(raw.join("a.png"), &bytes).unwrap();
            let (width, height) = if value < 5 { (7, 5) } else { (5, 7) };
            let settings = patchwork_dataset::PrepareSettings {
                size: patchwork_dataset::transform::Size { width, height },
                exif_orientation: true,
                ..crate::SETTINGS
            };
            let settings_of_source = crate::source(raw.to_str().unwrap(), super::Labels::None);
            let source = super::open(&settings_of_source, &super::SourceCache::default()).unwrap();
            let out = folder.path().join(format!("out-{kind}-{value}"));
            super::prepare(&settings, &*source, &out, 1, &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
            let set = super::ShardSet::open(&out).unwrap();
            assert!(set.pixels(0) == expected, "{kind} {value}");
        }
    }
}
