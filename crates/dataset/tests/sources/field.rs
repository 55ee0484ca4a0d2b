//! Sources as people have them: each listed in full, or refused with the remedy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use image::ImageFormat;
use patchwork_dataset::source::{Format, Labels, Split, open};
use patchwork_dataset::{PrepareSettings, SourceCache, SourceSettings};

use crate::made::{
    Files, add_to_tar, classes, encode, folder, gzip, opened, picture, pictures, png, reasons,
    refusal, settings, taken, tar_bytes, zip,
};

/// Images, passed over by reason, of a source without labels.
#[track_caller]
fn check(path: &Path, images: usize, passed_over: &[(&str, u64)]) {
    let source = opened(path, Labels::None);
    assert_eq!(source.len(), images, "{}", path.display());
    let expected: Vec<_> = (passed_over.iter())
        .map(|(reason, entries)| ((*reason).to_owned(), *entries))
        .collect();
    assert_eq!(reasons(&*source), expected, "{}", path.display());
    let out = tempfile::tempdir().unwrap();
    let summary = taken(&*source, &out.path().join("out"));
    assert_eq!((summary.images, summary.rejected), (images as u64, 0));
}

/// The classes of a source's images and how many are of each.
#[track_caller]
fn check_classes(path: &Path, labels: Labels, expected: &[(&str, u64)]) {
    let source = opened(path, labels);
    let counts = patchwork_dataset::source::class_counts(&*source);
    let found: Vec<(&str, u64)> = (source.class_names().iter())
        .map(String::as_str)
        .zip(counts)
        .collect();
    assert_eq!(found, expected, "{}", path.display());
}

#[test]
fn images_are_known_by_their_content_where_the_name_does_not_tell() {
    let root = tempfile::tempdir().unwrap();
    // What a file holds does not depend on what it is called.
    let jpeg = || png(1);
    let bitmap = encode(&picture(2), ImageFormat::Bmp);
    let mut files: Files = [
        "a.jpg",
        "b.JPG",
        "c.jpeg",
        "d.JPEG",
        "e.jfif",
        "f.JFIF",
        "g.pjpeg",
        "h.jpg_large",
        "j",
        "k.jpg.1",
        "l.jpg~",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), jpeg()))
    .collect();
    files.push(("m.dib".to_owned(), bitmap[14..].to_vec()));
    files.push(("n.apng".to_owned(), png(3)));
    files.push(("o.tga".to_owned(), encode(&picture(4), ImageFormat::Tga)));
    files.push((
        "p.pgm".to_owned(),
        encode(&picture(5).to_luma8().into(), ImageFormat::Pnm),
    ));
    for (name, content) in [
        ("labels.csv", &b"a,b"[..]),
        ("README", b"BMW: words"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
        ("._a.jpg", b"\0\x05\x16\x07"),
        (".DS_Store", b""),
        ("raw.NEF", b"II*\0\x08\0\0\0"),
    ] {
        files.push((name.to_owned(), content.to_vec()));
    }
    let passed_over = [
        (".csv", 1),
        (".db", 1),
        (".nef", 1),
        ("hidden", 1),
        ("resource forks of macOS", 1),
        ("without an ending", 1),
    ];
    check(&folder(&root.path().join("raw"), &files), 15, &passed_over);
    check(&zip(&root.path().join("raw.zip"), &files), 15, &passed_over);
    let tar = tar_bytes(&files);
    for (name, bytes) in [("raw.tar", tar.clone()), ("raw.tar.gz", gzip(&tar))] {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        check(&path, 15, &passed_over);
    }
}

#[test]
fn folders_of_splits_are_no_classes() {
    let root = tempfile::tempdir().unwrap();
    let pets: Vec<(String, Vec<u8>)> = (0..12)
        .map(|n| {
            let (split, class) = (
                ["train", "test"][usize::from(n % 4 == 3)],
                ["cat", "dog"][n % 2],
            );
            (format!("{split}/{class}/{n}.png"), png(n))
        })
        .collect();
    let path = folder(&root.path().join("pets"), &pets);
    // It has two of AFHQv2's classes and is no AFHQv2.
    check(&path, 12, &[]);
    assert_eq!(opened(&path, Labels::None).account().format, "images");
    check_classes(&path, Labels::Folder, &[("cat", 6), ("dog", 6)]);
    let test = SourceSettings {
        split: Some(Split::Test),
        ..settings(&path, Labels::Folder)
    };
    let source = open(&test, &SourceCache::default()).unwrap();
    assert_eq!(source.len(), 3);
    assert_eq!(reasons(&*source), [("of another split".to_owned(), 9)]);
    // The same one folder down, in an archive.
    let wrapped: Files = pets
        .iter()
        .map(|(name, content)| (format!("my pets/{name}"), content.clone()))
        .collect();
    check_classes(
        &zip(&root.path().join("pets.zip"), &wrapped),
        Labels::Folder,
        &[("cat", 6), ("dog", 6)],
    );
    // AFHQv2 is where all of its classes are; what of it is left out is counted, and labels show the way out.
    let mut afhq = pets.clone();
    afhq.push(("train/wild/w.png".to_owned(), png(20)));
    let path = folder(&root.path().join("afhq"), &afhq);
    let source = opened(&path, Labels::Source);
    assert_eq!(
        source.account().reading(),
        "recognised as `afhqv2`, split `train`"
    );
    assert_eq!(reasons(&*source), [("of another split".to_owned(), 3)]);
    let refused = refusal(&settings(&path, Labels::Folder));
    assert!(
        refused.contains("`source`") && refused.contains("format = \"images\""),
        "{refused}"
    );
    // Not all folders are splits.
    let mixed = pictures(&["train/a.png", "plane/b.png", "plane/c.png"]);
    let path = folder(&root.path().join("vehicles"), &mixed);
    check_classes(&path, Labels::Folder, &[("plane", 2), ("train", 1)]);
    let refused = refusal(&SourceSettings {
        split: Some(Split::Train),
        ..settings(&path, Labels::None)
    });
    assert!(refused.contains("train, val and test"), "{refused}");
}

#[test]
fn names_in_archives_are_read_as_their_programs_meant_them() {
    let root = tempfile::tempdir().unwrap();
    let kinds = [("cat", 2), ("dog", 1)];
    for (name, names) in [
        (
            "wrapped.zip",
            [
                "my pets/cat/0.png",
                "my pets/cat/1.png",
                "my pets/dog/2.png",
            ],
        ),
        (
            "twice.zip",
            ["a/b/cat/0.png", "a/b/cat/1.png", "a/b/dog/2.png"],
        ),
        ("dot.zip", ["./cat/0.png", "./cat/1.png", "./dog/2.png"]),
        ("windows.zip", ["cat\\0.png", "cat\\1.png", "dog\\2.png"]),
    ] {
        let path = zip(&root.path().join(name), &pictures(&names));
        check_classes(&path, Labels::Folder, &kinds);
        if name != "windows.zip" {
            let path = root.path().join(format!("{name}.tar"));
            fs::write(&path, tar_bytes(&pictures(&names))).unwrap();
            check_classes(&path, Labels::Folder, &kinds);
        }
    }
    let mut windows = pictures(&["cat\\0.png", "dog\\1.png"]);
    for fork in ["__MACOSX\\cat\\._0.png", "cat\\._1.png"] {
        windows.push((fork.to_owned(), b"\0\x05\x16\x07".to_vec()));
    }
    check(
        &zip(&root.path().join("forks.zip"), &windows),
        2,
        &[("resource forks of macOS", 2)],
    );
    // One class for all is reported.
    let one = zip(
        &root.path().join("one.zip"),
        &pictures(&["cat/0.png", "cat/1.png"]),
    );
    let warnings = &opened(&one, Labels::Folder).account().warnings.clone();
    assert!(warnings[0].contains("one class `cat`"), "{warnings:?}");
    // What gives other names or labels than an earlier version read has another digest than the archive alone.
    let digest = |labels| opened(&root.path().join("wrapped.zip"), labels).digest();
    assert_ne!(digest(Labels::Folder), digest(Labels::None));
}

#[test]
fn dataset_json_is_found_one_folder_down_and_as_a_bare_list() {
    let root = tempfile::tempdir().unwrap();
    let bare = r#"[["0.png", 0], ["1.png", 2], ["2.png", 2], ["3.png", 0]]"#;
    let object = format!("{{\"labels\": {bare}}}");
    for (number, (top, json)) in [
        ("", bare),
        ("my pets/", object.as_str()),
        ("my pets/", bare),
    ]
    .into_iter()
    .enumerate()
    {
        let mut files: Files = (0..3).map(|n| (format!("{top}{n}.png"), png(n))).collect();
        files.push((format!("{top}dataset.json"), json.as_bytes().to_vec()));
        let archive = root.path().join(format!("{number}.tar"));
        fs::write(&archive, tar_bytes(&files)).unwrap();
        for path in [
            zip(&root.path().join(format!("{number}.zip")), &files),
            folder(&root.path().join(number.to_string()), &files),
            archive,
        ] {
            // Numbers are kept as the data set has them; the gap is reported, and so is the name of no image.
            check_classes(&path, Labels::Source, &[("0", 1), ("1", 0), ("2", 2)]);
            let warnings = opened(&path, Labels::Source).account().warnings.join("; ");
            assert!(warnings.contains("without images: 1"), "{warnings}");
            assert!(warnings.contains("1 of the 4 names"), "{warnings}");
        }
    }
    let contradicting = r#"[["0.png", 0], ["0.png", 1]]"#;
    let mut files = pictures(&["0.png"]);
    files.push(("dataset.json".to_owned(), contradicting.as_bytes().to_vec()));
    let path = zip(&root.path().join("twice.zip"), &files);
    assert!(refusal(&settings(&path, Labels::Source)).contains("labels 0 and 1"));
}

#[test]
fn links_sparse_files_old_headers_and_ends_of_tar_archives() {
    let root = tempfile::tempdir().unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    add_to_tar(&mut archive, tar::Header::new_gnu(), "blobs/1.bin", &png(1));
    add_to_tar(&mut archive, tar::Header::new_gnu(), "cat/0.png", &png(0));
    let link = |archive: &mut tar::Builder<Vec<u8>>, kind, name: &str, target: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        archive.append_link(&mut header, name, target).unwrap();
    };
    let (hard, soft) = (tar::EntryType::Link, tar::EntryType::Symlink);
    link(&mut archive, hard, "cat/1.png", "cat/0.png");
    link(&mut archive, soft, "dog/2.png", "../blobs/1.bin");
    link(&mut archive, soft, "dog/3.png", "../dog/2.png");
    link(&mut archive, soft, "dog/4.png", "../../outside.png");
    link(&mut archive, soft, "notes", "cat");
    let mut pipe = tar::Header::new_gnu();
    pipe.set_entry_type(tar::EntryType::Fifo);
    add_to_tar(&mut archive, pipe, "pipe.png", b"");
    let bytes = archive.into_inner().unwrap();
    let expected: Vec<(String, Option<String>)> = [
        "blobs/1.bin",
        "cat/0.png",
        "cat/1.png",
        "dog/2.png",
        "dog/3.png",
        "dog/4.png",
    ]
    .into_iter()
    .map(|name| {
        (
            name.to_owned(),
            Some(name.split('/').next().unwrap().to_owned()),
        )
    })
    .collect();
    for (name, bytes) in [("links.tar", bytes.clone()), ("links.tar.gz", gzip(&bytes))] {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        let source = opened(&path, Labels::Folder);
        let mut found = classes(&*source);
        found.sort();
        assert_eq!(found, expected, "{name}");
        let devices = ("devices and pipes".to_owned(), 1);
        assert_eq!(reasons(&*source), [devices, ("links".to_owned(), 1)]);
        // Every picture is there; only the link that leads out is not.
        let summary = taken(&*source, &root.path().join("out").join(name));
        assert_eq!((summary.images, summary.rejected), (5, 1), "{name}");
    }

    // A header of before POSIX; two archives one behind the other; one without its end.
    let mut old = tar::Builder::new(Vec::new());
    add_to_tar(&mut old, tar::Header::new_old(), "a.png", &png(5));
    let old = old.into_inner().unwrap();
    let both = [old.clone(), tar_bytes(&pictures(&["b.png"]))].concat();
    for (name, bytes, images) in [("old.tar", old.clone(), 1), ("both.tar", both, 2)] {
        let path = root.path().join(name);
        fs::write(&path, &bytes).unwrap();
        check(&path, images, &[]);
        assert!(opened(&path, Labels::None).account().warnings.is_empty());
    }
    let cut = root.path().join("cut.tar");
    fs::write(&cut, &old[..old.len() - 1024]).unwrap();
    let warnings = opened(&cut, Labels::None).account().warnings.clone();
    assert!(warnings[0].contains("no end mark"), "{warnings:?}");

    // A checksum that stands behind the archive's end.
    let mut damaged = gzip(&tar_bytes(&pictures(&["a.png", "b.png"])));
    let sum = damaged.len() - 8;
    damaged[sum] ^= 1;
    let path = root.path().join("damaged.tar.gz");
    fs::write(&path, damaged).unwrap();
    assert!(refusal(&settings(&path, Labels::None)).contains("not a complete tar archive"));
}

#[test]
fn archives_of_other_programs() {
    const MAKE: &str = r"
import io, os, subprocess, sys, tarfile, zipfile
import numpy as np
from PIL import Image
root = sys.argv[1]
def png(n):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(out, 'PNG')
    return out.getvalue()
with zipfile.ZipFile(root + '/link.zip', 'w') as z:
    z.writestr('cat/0.png', png(0))
    link = zipfile.ZipInfo('dog/1.png')
    link.create_system = 3
    link.external_attr = 0o120777 << 16
    z.writestr(link, '../cat/0.png')
    lost = zipfile.ZipInfo('dog/2.png')
    lost.create_system = 3
    lost.external_attr = 0o120777 << 16
    z.writestr(lost, '/etc/passwd')
with zipfile.ZipFile(root + '/zip64.zip', 'w') as z:
    for n in range(2):
        with z.open(f'{n}.png', 'w', force_zip64=True) as f:
            f.write(png(n))
    z.comment = b'a comment'
plain = open(root + '/zip64.zip', 'rb').read()
with zipfile.ZipFile(root + '/self.exe', 'w') as z:
    z.writestr('0.png', png(0))
data = open(root + '/self.exe', 'rb').read()
open(root + '/self.exe', 'wb').write(b'MZ' + b'\0' * 1000 + data)
for format, name in ((tarfile.PAX_FORMAT, 'pax'), (tarfile.USTAR_FORMAT, 'ustar'), (tarfile.GNU_FORMAT, 'gnu')):
    with tarfile.open(f'{root}/{name}.tar', 'w', format=format) as t:
        for n in range(2):
            info = tarfile.TarInfo('./' + ('long' * 20 + '/') * (1 if name == 'ustar' else 3) + f'{n}.png')
            data = png(n)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
# A bitmap with a hole, as GNU tar stores it in its three formats.
os.makedirs(root + '/holes')
data = io.BytesIO()
Image.new('RGB', (400, 400)).save(data, 'BMP')
data = data.getvalue()
with open(root + '/holes/a.bmp', 'wb') as f:
    f.write(data[:4096])
    f.truncate(len(data))
open(root + '/holes/b.png', 'wb').write(png(1))
for format in ('gnu', 'posix'):
    subprocess.run(['tar', '--sparse', '--format=' + format, '-cf', f'{root}/sparse-{format}.tar', '-C', root + '/holes', '.'], check=True)
";
    let root = tempfile::tempdir().unwrap();
    crate::readers::python(MAKE, &[root.path().as_os_str()]);
    let at = |name: &str| root.path().join(name);
    let source = opened(&at("link.zip"), Labels::Folder);
    assert_eq!(source.len(), 3);
    let summary = taken(&*source, &at("out-link"));
    assert_eq!((summary.images, summary.rejected), (2, 1));
    assert_eq!(summary.class_counts, [1, 1]);
    check(&at("zip64.zip"), 2, &[]);
    check(&at("self.exe"), 1, &[]);
    for name in ["pax.tar", "ustar.tar", "gnu.tar"] {
        check(&at(name), 2, &[]);
    }
    for name in ["sparse-gnu.tar", "sparse-posix.tar"] {
        let source = opened(&at(name), Labels::None);
        let names = classes(&*source);
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().any(|(name, _)| name == "a.bmp"), "{names:?}");
        let rejected = source
            .fetch(0..2)
            .unwrap()
            .into_iter()
            .filter_map(Result::err);
        let causes: Vec<String> = rejected.map(|cause| cause.to_string()).collect();
        assert_eq!(causes.len(), 1, "{name}: {causes:?}");
        assert!(causes[0].contains("sparse"), "{causes:?}");
    }
}

#[test]
fn web_data_sets_are_one_source_with_a_label_beside_each_image() {
    let root = tempfile::tempdir().unwrap();
    let shards = root.path().join("shards");
    fs::create_dir(&shards).unwrap();
    let shard = |number: usize, samples: &[(&str, &str)]| {
        let mut files = Files::new();
        for (position, (key, label)) in samples.iter().enumerate() {
            files.push((format!("{key}.jpg"), png(10 * number + position)));
            let ending = if label.starts_with('{') {
                "json"
            } else {
                "cls"
            };
            files.push((format!("{key}.{ending}"), label.as_bytes().to_vec()));
        }
        tar_bytes(&files)
    };
    let first = shard(
        0,
        &[("a/000", "1"), ("a/001", "0"), ("a/002", "{\"label\": 1}")],
    );
    let second = shard(1, &[("000", "3\n"), ("001", "{\"caption\": \"none\"}")]);
    fs::write(shards.join("train-0000.tar"), &first).unwrap();
    fs::write(shards.join("train-0001.tar.gz"), gzip(&second)).unwrap();
    fs::write(shards.join("README.md"), "words").unwrap();
    let source = opened(&shards, Labels::Source);
    assert_eq!(
        source.account().reading(),
        "recognised as `webdataset`, split `all`"
    );
    assert_eq!(
        patchwork_dataset::source::class_counts(&*source),
        [1, 2, 0, 1]
    );
    let names: Vec<String> = classes(&*source)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names[2..4],
        ["train-0000.tar/a/002.jpg", "train-0001.tar.gz/000.jpg"]
    );
    let passed_over = [(".cls", 3), (".json", 2), ("files beside the archives", 1)];
    let expected = passed_over.map(|(reason, entries)| (reason.to_owned(), entries));
    assert_eq!(reasons(&*source), expected);
    assert_eq!(taken(&*source, &root.path().join("out")).images, 5);
    // An archive that is a link to a disk that is gone is not left out: the data set would be another one.
    let gone = shards.join("train-0002.tar");
    symlink("nowhere", &gone).unwrap();
    for format in [None, Some(Format::WebDataset)] {
        let settings = SourceSettings {
            format,
            ..settings(&shards, Labels::Source)
        };
        let refusal = refusal(&settings);
        assert!(refusal.contains("train-0002.tar"), "{refusal}");
    }
    fs::remove_file(gone).unwrap();
    // The names of archives name splits.
    fs::write(shards.join("val-0000.tar"), shard(1, &[("000", "1")])).unwrap();
    for (split, images) in [(Split::All, 6), (Split::Train, 5), (Split::Validation, 1)] {
        let settings = SourceSettings {
            split: Some(split),
            ..crate::source(shards.to_str().unwrap(), Labels::None)
        };
        let source = open(&settings, &SourceCache::default()).unwrap();
        assert_eq!(source.len(), images, "{split}");
    }
    // One archive alone; names of classes, in their order. Without `labels` it is what it always was.
    let one = root.path().join("one.tar");
    fs::write(&one, shard(2, &[("0", "dog"), ("1", "cat"), ("2", "dog")])).unwrap();
    check_classes(&one, Labels::Source, &[("cat", 1), ("dog", 2)]);
    let plain = opened(&one, Labels::None);
    assert_eq!(
        plain.account().reading(),
        "recognised as `images`, split `all`"
    );
    assert_eq!(plain.entry(0).key, "0.jpg");
    // A folder of images in which an archive lies is one of images.
    let mixed = root.path().join("mixed");
    fs::create_dir_all(mixed.join("cat")).unwrap();
    fs::write(mixed.join("cat/a.png"), png(1)).unwrap();
    fs::write(mixed.join("backup.tar"), &first).unwrap();
    assert_eq!(opened(&mixed, Labels::None).len(), 1);
    // A shard that is cut off is named.
    fs::write(shards.join("train-0002.tar"), &first[..first.len() / 2]).unwrap();
    let settings = crate::source(shards.to_str().unwrap(), Labels::None);
    let refused = open(&settings, &SourceCache::default()).err().unwrap();
    assert!(refused.to_string().contains("train-0002.tar"), "{refused}");
}

#[test]
fn folders_hold_pipes_and_the_programs_own_output_too() {
    let root = tempfile::tempdir().unwrap();
    let raw = folder(
        &root.path().join("raw"),
        &pictures(&["a.png", "runs/plot.png", "runs/b/c.png"]),
    );
    let fifo = |name: &str| {
        let path = raw.join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        path
    };
    fifo("pipe");
    let pipe = fifo("pipe.png");
    symlink("/dev/zero", raw.join("zero.png")).unwrap();
    symlink("nowhere", raw.join("lost")).unwrap();
    // What it has made in another place, by its manifest.
    let artifact = (
        "made/manifest.json".to_owned(),
        b"{\n  \"format\": \"patchwork.artifact/1\"}".to_vec(),
    );
    folder(&raw, &[artifact, ("made/grid.png".to_owned(), png(9))]);
    let own = SourceSettings {
        without: vec![raw.join("runs").canonicalize().unwrap()],
        ..settings(&raw, Labels::None)
    };
    let source = open(&own, &SourceCache::default()).unwrap();
    let names: Vec<String> = classes(&*source)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["a.png", "pipe.png", "zero.png"]);
    let expected = [
        ("folders of this program's own output", 2),
        ("links that lead nowhere", 1),
        ("pipes", 1),
    ];
    assert_eq!(
        reasons(&*source),
        expected.map(|(reason, n)| (reason.to_owned(), n))
    );
    let summary = taken(&*source, &root.path().join("out"));
    assert_eq!((summary.images, summary.rejected), (1, 2));
    // A source that is itself no regular file is refused at once.
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        for format in [
            None,
            Some(Format::Parquet),
            Some(Format::Lmdb),
            Some(Format::Images),
        ] {
            let refused = refusal(&SourceSettings {
                format,
                ..settings(path, Labels::None)
            });
            assert!(refused.contains("pipe or a device"), "{refused}");
        }
    }
}

#[test]
fn sixteen_bits_with_few_of_them_used_are_told_and_scaled() {
    let root = tempfile::tempdir().unwrap();
    let grey = picture(7).to_luma8();
    let expected: Vec<u8> = grey.pixels().map(|pixel| pixel.0[0]).collect();
    let twelve: image::ImageBuffer<image::Luma<u16>, Vec<u16>> =
        image::ImageBuffer::from_fn(20, 20, |x, y| {
            image::Luma([u16::from(grey.get_pixel(x, y).0[0]) << 4])
        });
    let files = vec![
        (
            "a.png".to_owned(),
            encode(&twelve.clone().into(), ImageFormat::Png),
        ),
        (
            "b.tif".to_owned(),
            encode(&twelve.into(), ImageFormat::Tiff),
        ),
    ];
    let source = opened(&folder(&root.path().join("raw"), &files), Labels::None);
    // Twelve bits in sixteen: the high byte has four of them.
    let largest = expected.iter().copied().max().unwrap();
    let settings = PrepareSettings {
        size: patchwork_dataset::transform::Size {
            width: 20,
            height: 20,
        },
        ..crate::SETTINGS
    };
    for (depth, unused) in [(16, Some(12)), (12, None)] {
        let settings = PrepareSettings {
            depth,
            ..settings.clone()
        };
        let out = root.path().join(depth.to_string());
        let summary = patchwork_dataset::prepare(&settings, &*source, &out, 2, &mut |_| {
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(summary.depth.images, 2);
        assert_eq!(summary.depth.largest, u16::from(largest) << 4);
        assert_eq!(summary.depth.unused(depth), unused);
        let set = patchwork_dataset::ShardSet::open(&out).unwrap();
        for index in 0..2 {
            let pixels = set.pixels(index).chunks(3).map(|pixel| pixel[0]);
            let shift = depth - 12;
            let wanted = expected.iter().map(|value| *value >> shift);
            assert!(pixels.eq(wanted), "{depth}");
        }
    }
}

#[test]
fn pictures_that_are_not_read_say_so() {
    const MAKE: &str = r"
import io, os, struct, sys
import numpy as np
from PIL import Image
root = sys.argv[1]
os.makedirs(root + '/raw')
image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8))
image.quantize(16).save(root + '/raw/palette.tif')
Image.fromarray(np.random.default_rng(3).random((16, 16), dtype=np.float32)).save(root + '/raw/float.tif')
image.save(root + '/raw/zstd.tif', compression='zstd')
image.save(root + '/raw/big.tif', big_tiff=True)
image.save(root + '/raw/sound.tif')
";
    let root = tempfile::tempdir().unwrap();
    crate::readers::python(MAKE, &[root.path().as_os_str()]);
    let source = opened(&root.path().join("raw"), Labels::None);
    let summary = taken(&*source, &root.path().join("out"));
    let tables = patchwork_dataset::inspect::inspect(&root.path().join("out")).unwrap();
    let rejected = tables
        .iter()
        .find(|table| table.title == "rejected images")
        .unwrap();
    for row in &rejected.rows {
        let cause = row[1].as_str().unwrap();
        assert!(cause.starts_with("not supported: "), "{row:?}");
    }
    let keys = crate::keys(&root.path().join("out"));
    assert!(
        keys.contains(&"big.tif".to_owned()) && keys.contains(&"sound.tif".to_owned()),
        "{keys:?}"
    );
    assert_eq!(summary.images + summary.rejected, 5);
}

#[test]
fn a_database_that_is_cut_off_or_damaged_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let files: Files = (0..40)
        .map(|n| (format!("{n:03}.webp"), vec![n as u8; 9_000]))
        .chain((0..200).map(|n| (format!("small-{n:03}"), vec![n as u8; 20])))
        .collect();
    let path = folder(&root.path().join("lsun"), &files);
    crate::to_lmdb(&path);
    let data = path.join("data.mdb");
    let whole = fs::read(&data).unwrap();
    // Every value is found where the library put it.
    let source = opened(&path, Labels::None);
    assert_eq!(source.len(), files.len());
    let read = source.fetch(0..files.len()).unwrap();
    for (index, payload) in read.into_iter().enumerate() {
        let Ok(patchwork_dataset::source::Payload::File(bytes)) = payload else {
            panic!("{index}");
        };
        let key = source.entry(index).key;
        let (_, content) = files.iter().find(|(name, _)| name == key).unwrap();
        assert_eq!(&*bytes, content, "{key}");
    }
    drop(source);
    for bytes in [
        0,
        100,
        4096,
        whole.len() / 3,
        whole.len() / 2,
        whole.len() - 4096,
    ] {
        fs::write(&data, &whole[..bytes]).unwrap();
        let refused = refusal(&settings(&path, Labels::None));
        assert!(
            refused.contains("not a complete LMDB database"),
            "{bytes}: {refused}"
        );
    }
    // Of the right length, with what was not downloaded yet, or with any byte another one: never a crash.
    let mut sparse = whole.clone();
    sparse[whole.len() / 2..].fill(0);
    fs::write(&data, &sparse).unwrap();
    assert!(open(&settings(&path, Labels::None), &SourceCache::default()).is_err());
    let mut random = patchwork_core::Seed::new(1).stream();
    for _ in 0..600 {
        let mut damaged = whole.clone();
        for _ in 0..3 {
            let at = random.next_u64() as usize % whole.len();
            damaged[at] = random.next_u64() as u8;
        }
        fs::write(&data, &damaged).unwrap();
        if let Ok(source) = open(&settings(&path, Labels::None), &SourceCache::default()) {
            let _ = source.fetch(0..source.len());
        }
    }
}
