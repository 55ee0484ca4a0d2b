//! The law of every source: what is taken, what is passed over and what is rejected are all of its entries.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int64Array, LargeBinaryArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use patchwork_dataset::source::{Labels, Split, open};
use patchwork_dataset::{DatasetError, SourceCache, SourceSettings};
use proptest::prelude::*;

use crate::made::{Files, add_to_tar, folder, gzip, png, settings, taken, zip};

/// Names with every trick that a name has.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a", "cat", "my pets", "train", "test", "val", "__MACOSX", ".git", "x.y", "wild",
    ]);
    let file = prop::sample::select(vec![
        "1",
        "b",
        "._1",
        ".hidden",
        "Thumbs",
        "image_00001",
        "c d",
    ]);
    let ending = prop::sample::select(vec![
        "", ".png", ".PNG", ".jpg", ".jfif", ".txt", ".db", ".1", "~", ".png~", ".heic", ".nef",
        ".json", ".tga", ".",
    ]);
    let top = prop::sample::select(vec!["", "", "", "./", "pets/"]);
    (top, prop::collection::vec(part, 0..3), file, ending).prop_map(|(top, parts, file, ending)| {
        let folders: String = parts.iter().flat_map(|part| [part, "/"]).collect();
        format!("{top}{folders}{file}{ending}")
    })
}

/// What a file holds: a picture, half of one, words, or nothing.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0_usize..50).prop_map(png),
        1 => (0_usize..50).prop_map(|number| png(number)[..60].to_vec()),
        2 => Just(b"words, no picture".to_vec()),
        1 => Just(Vec::new()),
    ]
}

fn entries() -> impl Strategy<Value = Files> {
    prop::collection::vec((name(), content()), 1..12)
}

/// Checks the law for a source that can be opened, and that a refusal is one of its settings or emptiness.
fn check(settings: &SourceSettings, entries: Option<u64>) {
    let source = match open(settings, &SourceCache::default()) {
        Ok(source) => source,
        Err(DatasetError::EmptySource { .. } | DatasetError::Setting { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let account = source.account();
    if let Some(entries) = entries {
        assert_eq!(account.entries, entries, "{account:?}");
    }
    assert_eq!(
        source.len() as u64 + account.passed_over.total(),
        account.entries,
        "{account:?}"
    );
    let out = tempfile::tempdir().unwrap();
    match crate::made::try_taken(&*source, &out.path().join("out")) {
        // Nothing is left of it, which is refused with the list.
        Err(DatasetError::TooManyRejected {
            rejected, total, ..
        }) => assert_eq!(rejected, total),
        Err(error) => panic!("{error}"),
        Ok(_) => {
            taken(&*source, &out.path().join("out"));
        }
    }
}

/// Every way to read a source of files.
fn ways(path: &std::path::Path) -> Vec<SourceSettings> {
    let plain = settings(path, Labels::None);
    vec![
        plain.clone(),
        settings(path, Labels::Folder),
        SourceSettings {
            split: Some(Split::Train),
            ..plain
        },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_folders(files in entries()) {
        let root = tempfile::tempdir().unwrap();
        // Of two files of one name the folder has one; a name that is a folder already is left out.
        let mut written = BTreeSet::new();
        let mut kept = Files::new();
        for (name, content) in files {
            let name = name.replace("./", "");
            let clashes = written.iter().any(|other: &String| {
                *other == name || other.starts_with(&format!("{name}/")) || name.starts_with(&format!("{other}/"))
            });
            if !clashes {
                written.insert(name.clone());
                kept.push((name, content));
            }
        }
        let path = folder(&root.path().join("raw"), &kept);
        // What lies in a hidden folder counts as one.
        let hidden: BTreeSet<&str> = written
            .iter()
            .filter_map(|name| {
                let mut end = 0;
                name.split_inclusive('/').find_map(|part| {
                    end += part.len();
                    let hides = part == "__MACOSX/" || part.starts_with('.') && part.ends_with('/');
                    hides.then(|| &name[..end])
                })
            })
            .collect();
        let open = written.iter().filter(|name| !hidden.iter().any(|folder| name.starts_with(folder)));
        let entries = (open.count() + hidden.len()) as u64;
        for settings in ways(&path) {
            check(&settings, Some(entries));
        }
    }

    #[test]
    fn of_zip_archives(files in entries(), windows in any::<bool>()) {
        let root = tempfile::tempdir().unwrap();
        let mut known = BTreeSet::new();
        let mut files: Files = files.into_iter().filter(|(name, _)| known.insert(name.clone())).collect();
        if windows {
            for (name, _) in &mut files {
                *name = name.replace('/', "\\");
            }
        }
        let path = zip(&root.path().join("raw.zip"), &files);
        for settings in ways(&path) {
            check(&settings, Some(files.len() as u64));
        }
    }

    #[test]
    fn of_tar_archives(
        files in entries(),
        kinds in prop::collection::vec(0_usize..6, 12),
        packed in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        for ((name, content), kind) in files.iter().zip(&kinds) {
            let link = match kind {
                1 => Some(tar::EntryType::Link),
                2 => Some(tar::EntryType::Symlink),
                _ => None,
            };
            if let Some(kind) = link {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(kind);
                header.set_size(0);
                archive.append_link(&mut header, name, &files[0].0).unwrap();
            } else {
                let mut header = if *kind == 3 { tar::Header::new_ustar() } else { tar::Header::new_gnu() };
                if *kind == 4 {
                    header.set_entry_type(tar::EntryType::Fifo);
                }
                let content = if *kind == 4 { &[] } else { &content[..] };
                add_to_tar(&mut archive, header, name, content);
            }
        }
        let bytes = archive.into_inner().unwrap();
        let path = root.path().join("raw.tar");
        std::fs::write(&path, if packed { gzip(&bytes) } else { bytes }).unwrap();
        for settings in ways(&path) {
            check(&settings, Some(files.len() as u64));
        }
    }

    #[test]
    fn of_parquet_tables(
        tables in prop::collection::vec(
            (prop::collection::vec(prop::option::of(content()), 0..6), 0_usize..3, 0_usize..4, 0_usize..3),
            1..4,
        ),
        split in prop::option::of(prop::sample::select(vec![Split::Train, Split::Test, Split::All])),
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut rows = 0;
        for (number, (images, image, label, place)) in tables.iter().enumerate() {
            let folder = root.path().join(["raw", "raw/train", "raw/default/test"][*place]);
            std::fs::create_dir_all(&folder).unwrap();
            let file = std::fs::File::create(folder.join(format!("{number}.parquet"))).unwrap();
            let batch = table(images, *image, *label);
            rows += batch.num_rows() as u64;
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        }
        std::fs::write(root.path().join("raw/notes.txt"), "words").unwrap();
        for labels in [Labels::None, Labels::Source] {
            let settings = SourceSettings { split, ..settings(&root.path().join("raw"), labels) };
            // Tables beside those that are read are counted as files, so that only the balance is known.
            let all_near = tables.iter().all(|table| table.3 == 0) || tables.iter().all(|table| table.3 > 0);
            check(&settings, all_near.then_some(rows + 1));
        }
    }
}

/// A table of images in a column of a kind, with labels of a kind.
fn table(images: &[Option<Vec<u8>>], image: usize, label: usize) -> RecordBatch {
    let bytes = || images.iter().map(|image| image.as_deref());
    let column: ArrayRef = match image {
        0 => Arc::new(bytes().collect::<BinaryArray>()),
        1 => Arc::new(bytes().collect::<LargeBinaryArray>()),
        _ => {
            let fields = Fields::from(vec![
                Field::new("bytes", DataType::Binary, true),
                Field::new("path", DataType::Utf8, true),
            ]);
            let names: StringArray = (0..images.len())
                .map(|row| (row % 3 > 0).then_some("same.png"))
                .collect();
            let columns: Vec<ArrayRef> =
                vec![Arc::new(bytes().collect::<BinaryArray>()), Arc::new(names)];
            Arc::new(StructArray::new(fields, columns, None))
        }
    };
    let rows = 0..images.len();
    let labels: ArrayRef = match label {
        0 => Arc::new(rows.map(|row| Some(row as i64 - 1)).collect::<Int64Array>()),
        1 => Arc::new(
            rows.map(|row| Some(["cat", "", "dog"][row % 3]))
                .collect::<StringArray>(),
        ),
        2 => Arc::new(rows.map(|row| Some(row % 2 == 0)).collect::<BooleanArray>()),
        _ => Arc::new(
            rows.map(|row| (row % 2 == 0).then_some(1 << 40))
                .collect::<Int64Array>(),
        ),
    };
    let schema = Schema::new(vec![
        Field::new("image", column.data_type().clone(), true),
        Field::new("label", labels.data_type().clone(), true),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![column, labels]).unwrap()
}
