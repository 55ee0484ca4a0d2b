//! Sources that tests make: image files, folders, archives, tables.

use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, RgbImage};
use patchwork_dataset::source::{Labels, open};
use patchwork_dataset::{DatasetError, Source, SourceCache, SourceSettings, Summary, prepare};

use crate::SETTINGS;

/// A picture that differs from number to number.
pub(crate) fn picture(number: usize) -> DynamicImage {
    let image = RgbImage::from_fn(20, 20, |x, y| {
        let seed = (number as u32).wrapping_mul(0x9E37_79B9) ^ (x / 5 * 31 + y / 5 * 17);
        image::Rgb([seed as u8, (seed >> 3) as u8, (seed >> 7) as u8])
    });
    image.into()
}

pub(crate) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub(crate) fn png(number: usize) -> Vec<u8> {
    encode(&picture(number), ImageFormat::Png)
}

/// Names and contents of files.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// Files whose content is a picture of their own.
pub(crate) fn pictures(names: &[&str]) -> Files {
    let names = names.iter().enumerate();
    names
        .map(|(number, name)| ((*name).to_owned(), png(number)))
        .collect()
}

pub(crate) fn folder(path: &Path, files: &[(String, Vec<u8>)]) -> PathBuf {
    fs::create_dir_all(path).unwrap();
    for (name, content) in files {
        let file = path.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    path.to_owned()
}

pub(crate) fn zip(path: &Path, files: &[(String, Vec<u8>)]) -> PathBuf {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (number, (name, content)) in files.iter().enumerate() {
        let method = match number % 2 {
            0 => zip::CompressionMethod::Stored,
            _ => zip::CompressionMethod::Deflated,
        };
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(method)
            .large_file(number % 3 == 0);
        archive.start_file(name.as_str(), options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
    path.to_owned()
}

pub(crate) fn add_to_tar(
    archive: &mut tar::Builder<impl Write>,
    mut header: tar::Header,
    name: &str,
    content: &[u8],
) {
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).unwrap();
}

/// A plain archive's bytes.
pub(crate) fn tar_bytes(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        add_to_tar(&mut archive, tar::Header::new_gnu(), name, content);
    }
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Settings for a source at a path.
pub(crate) fn settings(path: &Path, labels: Labels) -> SourceSettings {
    crate::source(path.to_str().unwrap(), labels)
}

pub(crate) fn opened(path: &Path, labels: Labels) -> Box<dyn Source> {
    open(&settings(path, labels), &SourceCache::default())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn refusal(settings: &SourceSettings) -> String {
    let opened = open(settings, &SourceCache::default());
    let error: DatasetError = opened.err().expect("it is refused");
    error.to_string()
}

/// Prepares all that can be.
pub(crate) fn try_taken(source: &dyn Source, out: &Path) -> Result<Summary, DatasetError> {
    let settings = patchwork_dataset::PrepareSettings {
        max_rejected: 1.0,
        ..SETTINGS
    };
    prepare(
        &settings,
        source,
        out,
        2,
        &mut |_| ControlFlow::Continue(()),
    )
}

/// Prepares all that can be, and checks that every entry of the source was taken, passed over or rejected.
pub(crate) fn taken(source: &dyn Source, out: &Path) -> Summary {
    let summary = try_taken(source, out).unwrap();
    let account = source.account();
    assert_eq!(
        summary.images + account.passed_over.total() + summary.rejected,
        account.entries,
        "{account:?}"
    );
    summary
}

/// The class of each image by its name.
pub(crate) fn classes(source: &dyn Source) -> Vec<(String, Option<String>)> {
    (0..source.len())
        .map(|index| {
            let entry = source.entry(index);
            let class = entry
                .label
                .map(|label| source.class_names()[label as usize].clone());
            (entry.key.to_owned(), class)
        })
        .collect()
}

/// How many entries were passed over for each reason.
pub(crate) fn reasons(source: &dyn Source) -> Vec<(String, u64)> {
    let passed_over = source.account().passed_over.iter();
    passed_over
        .map(|(reason, entries)| (reason.to_owned(), entries))
        .collect()
}
