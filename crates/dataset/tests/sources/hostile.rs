//! Files that mean harm or are only broken: each is listed with its cause, and nothing else happens.

use std::ffi::OsStr;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use patchwork_dataset::inspect::inspect;
use patchwork_dataset::{PrepareSettings, Source, prepare};

use crate::{Labels, SETTINGS, SourceCache, open, source};

/// Broken image files by name, and one sound one, into a folder and a zip archive with names and entries of its own.
const MAKE: &str = r"
import io, struct, sys, zipfile, zlib, os
import numpy as np
from PIL import Image
root = sys.argv[1]
pixels = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
image = Image.fromarray(pixels)
files = {}
def encode(kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
whole = {'jpg': encode('JPEG'), 'png': encode('PNG'), 'webp': encode('WEBP', lossless=True), 'gif': encode('GIF'), 'bmp': encode('BMP'), 'tif': encode('TIFF')}
whole['progressive.jpg'] = encode('JPEG', progressive=True)
for kind, data in whole.items():
    for share in (0.02, 0.3, 0.6, 0.9):
        files[f'cut-{share}.{kind}'] = data[:int(len(data) * share)]
png, jpg = whole['png'], whole['jpg']
def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
def bare(width, height, data, depth=8, color=2):
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b'')
files['empty.png'] = b''
files['empty.jpg'] = b''
files['text.jpg'] = b'this is no image'
files['page.png'] = b'<!DOCTYPE html><html>404</html>'
files['vast.png'] = bare(65535, 65535, b'\0' * 100)
files['vaster.png'] = bare(2**31 - 1, 2**31 - 1, b'')
files['nothing.png'] = bare(0, 0, b'')
files['bomb.png'] = bare(8000, 8000, b'\0' * 50_000_000)
files['depth.png'] = bare(4, 4, b'\0' * 100, depth=3)
sof = jpg.index(b'\xff\xc0')
files['vast.jpg'] = jpg[:sof + 5] + b'\xff\xff\xff\xff' + jpg[sof + 9:]
files['none.jpg'] = jpg[:sof + 5] + b'\0\0\0\0' + jpg[sof + 9:]
files['sampling.jpg'] = jpg[:sof + 11] + b'\xff' + jpg[sof + 12:]
middle = jpg.index(b'\xff\xda') + 400
files['flipped.jpg'] = jpg[:middle] + b'\xff\xd9' + jpg[middle + 2:]
body = encode('JPEG', progressive=True)
scan = body.index(b'\xff\xda')
files['scans.jpg'] = body[:-2] + body[scan:scan + 30] * 3000 + b'\xff\xd9'
files['vast.bmp'] = whole['bmp'][:18] + struct.pack('<ii', 65535, 65535) + whole['bmp'][26:]
files['vast.gif'] = whole['gif'][:6] + b'\xff\xff\xff\xff' + whole['gif'][10:]
files['offset.tif'] = b'II*\0\xff\xff\xff\x7f' + whole['tif'][8:]
files['loop.tif'] = b'II*\0\x08\0\0\0\0\0\x08\0\0\0'
files['photo.heic'] = b'\0\0\0\x18ftypheic' + b'\0' * 40
files['photo.avif'] = b'\0\0\0\x18ftypavif' + b'\0' * 40
files['inner.png'] = b'PK\x03\x04' + b'\0' * 40
os.makedirs(root + '/raw')
for name, data in files.items():
    open(f'{root}/raw/{name}', 'wb').write(data)
open(f'{root}/raw/sound.png', 'wb').write(png)
with zipfile.ZipFile(root + '/raw.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, data in files.items():
        archive.writestr(name, data)
    archive.writestr('sound.png', png)
    archive.writestr('../../slip.png', png)
    archive.writestr('/absolute.png', png)
    archive.writestr('bomb-of-zeros.png', b'\0' * 300_000_000)
    archive.writestr('twice.png', png)
    archive.writestr('twice.png', png)


print(len(files))
";

fn rejected(source: &dyn Source, out: &Path) -> Vec<Vec<String>> {
    let settings = PrepareSettings {
        max_rejected: 1.0,
        ..SETTINGS
    };
    let summary = prepare(
        &settings,
        source,
        out,
        2,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    assert_eq!(summary.images + summary.rejected, source.len() as u64);
    let tables = inspect(out).unwrap();
    let table = tables
        .into_iter()
        .find(|table| table.title.starts_with("rejected"))
        .unwrap();
    assert!(
        table.title.ends_with(&summary.rejected.to_string())
            || table.rows.len() as u64 == summary.rejected
    );
    (0..source.len())
        .map(|index| vec![source.entry(index).key.to_owned()])
        .collect()
}

#[test]
fn hostile_files_are_listed_and_do_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let made = crate::readers::python(MAKE, &[root.path().as_os_str()]);
    let broken: usize = made.trim().parse().unwrap();
    assert!(broken >= 40, "{broken}");
    let raw = root.path().join("raw");
    symlink(&raw, raw.join("around")).unwrap();
    symlink("self.png", raw.join("self.png")).unwrap();
    symlink("nowhere", raw.join("nowhere.png")).unwrap();
    fs::write(raw.join(OsStr::from_bytes(b"caf\xe9.png")), b"").unwrap();
    fs::copy(raw.join("sound.png"), raw.join("also-sound.jpg")).unwrap();

    let settings = source(raw.to_str().unwrap(), Labels::None);
    let folder = open(&settings, &SourceCache::default()).unwrap();
    // The broken ones, two sound ones, the three links and the name that is not text.
    assert_eq!(folder.len(), broken + 6);
    let out = root.path().join("out-folder");
    rejected(&*folder, &out);
    let sound = patchwork_dataset::ShardSet::open(&out).unwrap().len();
    let keys = crate::keys(&out);
    assert_eq!(
        (sound, &keys[..]),
        (
            2,
            &["also-sound.jpg".to_owned(), "sound.png".to_owned()][..]
        )
    );

    let settings = source(root.path().join("raw.zip").to_str().unwrap(), Labels::None);
    let archive = open(&settings, &SourceCache::default()).unwrap();
    assert_eq!(archive.len(), broken + 6);
    let out = root.path().join("out-zip");
    rejected(&*archive, &out);
    assert_eq!(crate::keys(&out), ["sound.png", "twice.png"]);
}
