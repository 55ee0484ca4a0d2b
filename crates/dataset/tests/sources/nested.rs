//! Tar archives within a tar archive, as ImageNet is distributed.

use std::fs;

use patchwork_dataset::source::Labels;

use crate::made::{add_to_tar, classes, gzip, opened, reasons, taken, tar_bytes};

/// A picture that no other number has.
fn png(number: u8) -> Vec<u8> {
    let image = image::RgbImage::from_fn(16, 16, |x, y| {
        image::Rgb([number, (x * 9) as u8, (y * 7) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn inner(first: u8) -> Vec<u8> {
    let files = (first..first + 3).map(|number| (format!("{number}.png"), png(number)));
    tar_bytes(&files.collect::<Vec<_>>())
}

#[test]
fn each_archive_within_an_archive_is_a_folder_and_a_class() {
    let root = tempfile::tempdir().unwrap();
    let mut linked = tar::Builder::new(Vec::new());
    add_to_tar(&mut linked, tar::Header::new_gnu(), "a.png", &png(30));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    linked.append_link(&mut header, "b.png", "a.png").unwrap();
    let files = [
        ("n01440764.tar", inner(0)),
        ("n01443537.tar", inner(10)),
        ("n01484850.tar", linked.into_inner().unwrap()),
        // Neither is an archive within the archive.
        ("n9.tar.gz", gzip(&inner(20))),
        ("n8.tar", vec![7; 2000]),
    ];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes));
    let path = root.path().join("train.tar");
    fs::write(&path, tar_bytes(&files)).unwrap();
    let source = opened(&path, Labels::Folder);
    let found = classes(&*source);
    let expected = [
        ("n01440764/0.png", "n01440764"),
        ("n01440764/1.png", "n01440764"),
        ("n01440764/2.png", "n01440764"),
        ("n01443537/10.png", "n01443537"),
        ("n01443537/11.png", "n01443537"),
        ("n01443537/12.png", "n01443537"),
        ("n01484850/a.png", "n01484850"),
        ("n01484850/b.png", "n01484850"),
    ];
    let expected = expected.map(|(key, class)| (key.to_owned(), Some(class.to_owned())));
    assert_eq!(found, expected);
    assert_eq!(
        reasons(&*source)
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>(),
        2
    );
    let out = root.path().join("out");
    let summary = taken(&*source, &out);
    assert_eq!((summary.images, summary.rejected), (8, 0));
    // The link has the bytes of what it leads to, and each picture its own.
    let set = patchwork_dataset::ShardSet::open(&out).unwrap();
    assert_eq!(set.pixels(6), set.pixels(7));
    for (image, first) in [0, 1, 2, 10, 11, 12, 30].into_iter().enumerate() {
        assert_eq!(set.pixels(image)[0], first, "{image}");
    }

    // Cut within the second archive, nothing of it is taken for the whole.
    let whole = fs::read(&path).unwrap();
    let cut = root.path().join("cut.tar");
    fs::write(&cut, &whole[..8000]).unwrap();
    let refused = crate::made::refusal(&crate::made::settings(&cut, Labels::Folder));
    assert!(refused.contains("cut.tar"), "{refused}");
}
