//! Parquet as other programs write it.

use std::path::Path;

use patchwork_dataset::source::{Labels, Split, class_counts, open};
use patchwork_dataset::{SourceCache, SourceSettings};

use crate::made::{opened, reasons, refusal, settings, taken};

/// Ten images in tables of every kind, and labels of every kind.
const MAKE: &str = r"
import io, json, os, sys
import numpy as np
import pyarrow as pa, pyarrow.parquet as pq
from PIL import Image
root = sys.argv[1]
def picture(n):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(out, 'PNG')
    return out.getvalue()
data = [picture(n) for n in range(10)]
labels = [n % 3 for n in range(10)]
kinds = ['cat', 'dog', 'wild']
rows = [{'bytes': d, 'path': f'{n}.png'} for n, d in enumerate(data)]
struct = lambda b, s: pa.struct([('bytes', b), ('path', s)])
plain = pa.array(rows, struct(pa.binary(), pa.string()))
def table(name, image, label=None, column='image', other=None, **k):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    columns = {column: image}
    if label is not None: columns['label'] = label
    columns.update(other or {})
    pq.write_table(pa.table(columns), path, **k)
table('read/struct.parquet', plain, labels)
table('read/view.parquet', pa.array(rows, struct(pa.binary_view(), pa.string_view())), labels)
table('read/large.parquet', pa.array(rows, struct(pa.large_binary(), pa.large_string())), labels)
table('read/binary.parquet', pa.array(data, pa.binary()), labels)
table('read/binary-view.parquet', pa.array(data, pa.binary_view()), labels)
table('read/binary-only.parquet', pa.array(data, pa.large_binary()), labels, column='picture')
table('read/named.parquet', pa.array(data, pa.binary()), labels, column='jpg', other={'embedding': pa.array([b'x'] * 10)})
table('read/dictionary.parquet', pa.array(data, pa.binary()).dictionary_encode(), labels)
for compression in ('none', 'snappy', 'gzip', 'brotli', 'lz4', 'zstd'):
    table(f'read/{compression}.parquet', plain, labels, compression=compression)
table('read/pages.parquet', plain, labels, data_page_size=1, row_group_size=3, data_page_version='2.0', write_page_checksum=True)
table('text/text.parquet', plain, [kinds[l] for l in labels])
table('text/view.parquet', plain, pa.array([kinds[l] for l in labels], pa.string_view()))
table('text/categorical.parquet', plain, pa.array([kinds[l] for l in labels]).dictionary_encode())
table('gaps.parquet', plain, [5 * l for l in labels])
table('refused/bool.parquet', plain, [l > 0 for l in labels])
table('refused/float.parquet', plain, [float(l) for l in labels])
table('refused/list.parquet', plain, [[l] for l in labels])
table('refused/identities.parquet', plain, [2000000000 + l for l in labels])
table('lists/images.parquet', pa.array([[r] for r in rows], pa.list_(struct(pa.binary(), pa.string()))), labels)
table('lists/bytes.parquet', pa.array([[d] for d in data], pa.list_(pa.binary())), labels)
table('none/paths.parquet', pa.array([f'{n}.png' for n in range(10)]), labels)
table('none/two.parquet', pa.array(data, pa.binary()), labels, column='left', other={'right': pa.array(data, pa.binary())})
table('nulls.parquet', pa.array(rows[:8] + [None, {'bytes': None, 'path': 'elsewhere.png'}], struct(pa.binary(), pa.string())), labels)
table('hub/default/train/0000.parquet', plain, labels)
table('hub/default/test/0000.parquet', plain, labels)
open(root + '/hub/README.md', 'w').write('words')
open(root + '/hub/default/preview.png', 'wb').write(data[0])
path = root + '/checksum.parquet'
pq.write_table(pa.table({'image': plain, 'label': labels}), path, compression='none', write_page_checksum=True, use_dictionary=False)
content = bytearray(open(path, 'rb').read())
at = content.index(data[5]) + 40
content[at] ^= 1
open(path, 'wb').write(content)
";

#[test]
fn tables_of_other_writers() {
    let root = tempfile::tempdir().unwrap();
    crate::readers::python(MAKE, &[root.path().as_os_str()]);
    let at = |name: &str| root.path().join(name);
    let tables = |folder: &str| {
        let mut paths: Vec<_> = std::fs::read_dir(at(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    };
    let same: Vec<Vec<u8>> = pixels(&at("read/struct.parquet"), root.path());
    assert_eq!(same.len(), 10);
    for path in tables("read") {
        let source = opened(&path, Labels::Source);
        assert_eq!(class_counts(&*source), [4, 3, 3], "{}", path.display());
        assert_eq!(pixels(&path, root.path()), same, "{}", path.display());
    }
    for path in tables("text") {
        let source = opened(&path, Labels::Source);
        assert_eq!(source.class_names(), ["cat", "dog", "wild"]);
        assert_eq!(class_counts(&*source), [4, 3, 3]);
    }
    let gaps = opened(&at("gaps.parquet"), Labels::Source);
    assert_eq!(gaps.class_names().len(), 11);
    let warning = gaps.account().warnings.join("; ");
    assert!(
        warning.contains("8 of the 11 classes have no images"),
        "{warning}"
    );

    for (path, words) in [
        ("refused/bool.parquet", ["`label`", "Boolean"]),
        ("refused/float.parquet", ["`label`", "Float64"]),
        ("refused/list.parquet", ["`label`", "List"]),
        ("refused/identities.parquet", ["`label`", "2000000000"]),
    ] {
        let refused = refusal(&settings(&at(path), Labels::Source));
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
        // Without labels they are of no matter.
        assert_eq!(opened(&at(path), Labels::None).len(), 10);
    }
    for (path, words) in [
        (
            "lists/images.parquet",
            ["list of images", "row for each image"],
        ),
        (
            "lists/bytes.parquet",
            ["list of images", "row for each image"],
        ),
        ("none/paths.parquet", ["`image` (Utf8)", "column of bytes"]),
        ("none/two.parquet", ["`left`, `right`", "call the column"]),
    ] {
        let refused = refusal(&settings(&at(path), Labels::None));
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
        assert!(!refused.contains("fetch it again"), "{refused}");
    }
    let source = opened(&at("nulls.parquet"), Labels::None);
    let summary = taken(&*source, &at("out-nulls"));
    assert_eq!((summary.images, summary.rejected), (8, 2));

    // Folders below are searched; splits are folders' names too.
    let hub = opened(&at("hub"), Labels::Source);
    assert_eq!(hub.len(), 20);
    let others = [
        (".md".to_owned(), 1),
        ("image files beside the tables".to_owned(), 1),
    ];
    assert_eq!(reasons(&*hub), others);
    assert_eq!(taken(&*hub, &at("out-hub")).images, 20);
    let test = SourceSettings {
        split: Some(Split::Test),
        ..settings(&at("hub"), Labels::None)
    };
    let test = open(&test, &SourceCache::default()).unwrap();
    assert_eq!(test.len(), 10);
    assert!(reasons(&*test).contains(&("of another split".to_owned(), 10)));

    // A page that is not what its checksum says.
    let damaged = opened(&at("checksum.parquet"), Labels::None);
    let read = damaged.fetch(0..10).err().unwrap().to_string();
    assert!(read.contains("CRC"), "{read}");
}

/// The pixels that a table's images are prepared to.
fn pixels(path: &Path, root: &Path) -> Vec<Vec<u8>> {
    let out = root.join("out").join(path.file_name().unwrap());
    let summary = taken(&*opened(path, Labels::None), &out);
    assert_eq!(summary.rejected, 0, "{}", path.display());
    let set = patchwork_dataset::ShardSet::open(&out).unwrap();
    (0..set.len())
        .map(|index| set.pixels(index).to_vec())
        .collect()
}
