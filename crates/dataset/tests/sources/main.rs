//! Raw data sets: each in the exact layout of the real one, JPEGs of every kind, and files that mean harm.
#![expect(clippy::unwrap_used, reason = "the helpers below belong to tests")]

mod field;
mod hostile;
mod jpeg;
mod law;
mod made;
mod nested;
#[path = "../../../../tests/support/readers.rs"]
mod readers;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use patchwork_dataset::source::{Labels, Split, open};
use patchwork_dataset::transform::{Size, Transform};
use patchwork_dataset::{
    Channels, PrepareSettings, ShardSet, Source, SourceCache, SourceSettings, prepare,
};

const SETTINGS: PrepareSettings = PrepareSettings {
    size: Size {
        width: 16,
        height: 16,
    },
    transform: Transform::CenterCrop,
    exif_orientation: false,
    channels: Channels::Rgb,
    background: [255; 3],
    images_per_shard: 4,
    max_rejected: 0.0,
    mirror: false,
    depth: 16,
};

fn source(path: &str, labels: Labels) -> SourceSettings {
    SourceSettings {
        source: path.to_owned(),
        labels,
        ..SourceSettings::default()
    }
}

fn make(settings: &PrepareSettings, source: &dyn Source, folder: &Path) -> ShardSet {
    prepare(settings, source, folder, 2, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    ShardSet::open(folder).unwrap()
}

/// Names in the order of a set's images.
fn keys(folder: &Path) -> Vec<String> {
    let mut shards: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    shards.retain(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("shard-")
    });
    shards.sort();
    let mut keys = Vec::new();
    for path in shards {
        let file = fs::File::open(path).unwrap();
        let rows = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for batch in rows.build().unwrap() {
            let batch = batch.unwrap();
            let column = batch["key"].as_string::<i32>();
            keys.extend(column.iter().map(|key| key.unwrap().to_owned()));
        }
    }
    keys
}

fn from_hexadecimal(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2)
        .map(|byte| u8::from_str_radix(&digits[2 * byte..][..2], 16).unwrap())
        .collect()
}

/// Puts the scenes into a database, as LSUN's tools do, and removes their files.
fn to_lmdb(folder: &Path) {
    let scenes: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    #[expect(unsafe_code, reason = "nothing else opens the folder")]
    let environment =
        unsafe { heed::EnvOpenOptions::new().map_size(1 << 24).open(folder) }.unwrap();
    let mut transaction = environment.write_txn().unwrap();
    let database: heed::Database<heed::types::Str, heed::types::Bytes> =
        environment.create_database(&mut transaction, None).unwrap();
    for path in scenes {
        let key = path.file_name().unwrap().to_string_lossy().into_owned();
        database
            .put(&mut transaction, &key, &fs::read(&path).unwrap())
            .unwrap();
        fs::remove_file(path).unwrap();
    }
    transaction.commit().unwrap();
    environment.prepare_for_closing().wait();
}

/// Name, class and pixels of each image, by data set, as Pillow sees them.
type Expected = BTreeMap<String, (String, Vec<(String, Option<String>, String)>)>;

#[test]
fn every_data_set_is_read_as_it_is_distributed() {
    let root = tempfile::tempdir().unwrap();
    let made = readers::python(include_str!("make.py"), &[root.path().as_os_str()]);
    let expected: Expected = serde_json::from_str(&made).unwrap();
    to_lmdb(&root.path().join("lsun"));
    assert_eq!(expected.len(), 18);
    let cache = SourceCache {
        folder: Some(root.path().join("cache")),
        rehash: false,
    };
    for (name, (path, images)) in &expected {
        let labels = match name.as_str() {
            "celeba" | "ffhq" | "lsun" => Labels::None,
            "celeba-attributes" | "celeba-png" => Labels::Attributes,
            "plain.tar" | "packed.tar.gz" => Labels::Folder,
            _ => Labels::Source,
        };
        let mut settings = source(path, labels);
        match name.as_str() {
            "celeba-attributes" | "celeba-png" => {
                settings.split = Some(Split::Train);
                settings.attributes = vec!["Male".to_owned(), "Smiling".to_owned()];
            }
            "afhqv2-dog" => settings.classes = Some(vec!["dog".to_owned()]),
            "afhqv2-folder" => settings.split = Some(Split::All),
            "flowers102-train" => settings.split = Some(Split::Train),
            _ => {}
        }
        let opened = open(&settings, &cache).unwrap_or_else(|error| panic!("{name}: {error}"));
        let out = root.path().join("out").join(name);
        let set = make(&SETTINGS, &*opened, &out);
        let keys = keys(&out);
        let known: Vec<&String> = images.iter().map(|(key, ..)| key).collect();
        assert_eq!(keys.iter().collect::<Vec<_>>(), known, "{name}");
        for (index, (key, class, pixels)) in images.iter().enumerate() {
            let label = set
                .label(index)
                .map(|label| set.class_names()[label as usize].clone());
            assert_eq!(&label, class, "{name}: {key}");
            let expected = from_hexadecimal(pixels);
            let most = set
                .pixels(index)
                .iter()
                .zip(&expected)
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            assert!(most <= Some(1), "{name}: {key} differs by {most:?}");
        }
        // The digest is remembered, and the same when it is not. A database can be open once at a time.
        let digest = opened.digest();
        drop(opened);
        let again = open(&settings, &SourceCache::default()).unwrap();
        assert_eq!(again.digest(), digest, "{name}");
    }

    // A part that the middle of a compressed archive holds, and one before it.
    let (path, _) = &expected["packed.tar.gz"];
    let archive = open(&source(path, Labels::None), &cache).unwrap();
    for range in [1..3, 2..3, 0..1, 0..3] {
        let count = range.len();
        let read = archive.fetch(range).unwrap();
        assert!(read.len() == count && read.iter().all(Result::is_ok));
    }

    let refused = |settings: SourceSettings| open(&settings, &cache).err().unwrap().to_string();
    let (celeba, _) = &expected["celeba"];
    assert!(refused(source(celeba, Labels::Source)).contains("`attributes`"));
    let mut misspelt = source(celeba, Labels::Attributes);
    misspelt.attributes = vec!["Smilling".to_owned()];
    assert!(refused(misspelt).contains("did you mean `Smiling`"));
    let (afhq, _) = &expected["afhqv2-dog"];
    let mut cats = source(afhq, Labels::Source);
    cats.classes = Some(vec!["cats".to_owned()]);
    assert!(refused(cats).contains("did you mean `cat`"));
    let mut validation = source(afhq, Labels::None);
    validation.split = Some(Split::Validation);
    assert!(refused(validation).contains("no such split"));
    let mut nobody = source(celeba, Labels::None);
    nobody.split = Some(Split::Validation);
    let list = root.path().join("celeba/list_eval_partition.txt");
    fs::write(
        &list,
        fs::read_to_string(&list).unwrap().replace(" 1", " 0"),
    )
    .unwrap();
    assert!(refused(nobody).contains("of the split"));

    // What looks like AFHQv2 by its cats and dogs, and is not all of it.
    let (afhq, images) = &expected["afhqv2-folder"];
    let bird = |split: &str| {
        let folder = Path::new(afhq).join(split).join("bird");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(Path::new(afhq).join(&images[0].0), folder.join("1.png")).unwrap();
    };
    bird("test");
    assert!(refused(source(afhq, Labels::None)).contains("`test/bird/1.png` besides"));
    bird("train");
    let all = open(&source(afhq, Labels::None), &cache).unwrap();
    assert_eq!(all.len(), images.len() + 2);

    // Labels of other files.
    let (thumbnails, _) = &expected["ffhq"];
    let labels = r#"{"labels": [["00000/7.png", 1]]}"#;
    fs::write(Path::new(thumbnails).join("dataset.json"), labels).unwrap();
    assert!(
        refused(source(thumbnails, Labels::Source)).contains("nothing gives any of its images")
    );

    fs::remove_file(root.path().join("celeba/list_attr_celeba.txt")).unwrap();
    let mut without = source(celeba, Labels::Attributes);
    without.attributes = vec!["Male".to_owned()];
    assert!(refused(without).contains("list_attr_celeba.txt"));
    let whole = fs::read(celeba).unwrap();
    for part in [whole.len() / 2, whole.len() - 10] {
        fs::write(celeba, &whole[..part]).unwrap();
        assert!(refused(source(celeba, Labels::None)).contains("not a complete zip archive"));
    }
}
