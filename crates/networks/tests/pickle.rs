//! Foreign checkpoints: both PyTorch file formats, hostile and damaged bytes.

use std::path::Path;

use patchwork_networks::pickle::{PickleProblem, parse_edm_snapshot, parse_state_dict};
use proptest::prelude::*;
use tch::{Kind, Tensor};

/// Protocol 2, a small piece at a time.
#[derive(Default)]
struct Pickler(Vec<u8>);

impl Pickler {
    fn new() -> Self {
        Self(vec![0x80, 2])
    }
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    fn text(self, text: &str) -> Self {
        self.raw(b"X")
            .raw(&(text.len() as u32).to_le_bytes())
            .raw(text.as_bytes())
    }
    fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }
    fn int(self, value: i32) -> Self {
        self.raw(b"J").raw(&value.to_le_bytes())
    }
    fn ints(self, values: &[i32]) -> Self {
        values
            .iter()
            .fold(self.raw(b"("), |pickler, value| pickler.int(*value))
            .raw(b"t")
    }
    /// A float32 tensor of a storage of `elements`.
    fn tensor(self, key: &str, elements: i32, offset: i32, size: &[i32], stride: &[i32]) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .text("storage")
            .global("torch", "FloatStorage")
            .text(key)
            .text("cpu")
            .int(elements)
            .raw(b"tQ")
            .int(offset)
            .ints(size)
            .ints(stride)
            .raw(&[0x89])
            .global("collections", "OrderedDict")
            .raw(b")RtR")
    }
}

/// {"state_dict": OrderedDict(a = 2×3 of storage 0, b = the same transposed), "epoch": 3}
fn object() -> Vec<u8> {
    Pickler::new()
        .raw(b"}(")
        .text("epoch")
        .int(3)
        .text("state_dict")
        .global("collections", "OrderedDict")
        .raw(b")R(")
        .text("a")
        .tensor("0", 6, 0, &[2, 3], &[3, 1])
        .text("b")
        .tensor("0", 6, 0, &[3, 2], &[1, 3])
        .raw(b"uu.")
        .0
}

fn elements() -> Vec<u8> {
    (0..6u8)
        .flat_map(|value| f32::from(value).to_le_bytes())
        .collect()
}

fn legacy(object: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    file.extend(
        Pickler::new()
            .raw(b"}(")
            .text("little_endian")
            .raw(&[0x88])
            .raw(b"u.")
            .0,
    );
    file.extend(object);
    file.extend(Pickler::new().raw(b"](").text("0").raw(b"e.").0);
    file.extend(6u64.to_le_bytes());
    file.extend(elements());
    file
}

fn archive(object: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    let contents: [(&str, Vec<u8>); 3] = [
        ("net/data.pkl", object.to_vec()),
        ("net/byteorder", b"little".to_vec()),
        ("net/data/0", elements()),
    ];
    for (name, content) in &contents {
        let offset = file.len() as u32;
        let length = (content.len() as u32).to_le_bytes();
        let name_length = (name.len() as u16).to_le_bytes();
        // version, flags, method, time, date, checksum (not looked at)
        let common = [&[0u8; 14][..], &length, &length, &name_length, &[0, 0]].concat();
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
        directory.extend(
            [
                b"PK\x01\x02\0\0",
                &common[..],
                &[0; 10],
                &offset.to_le_bytes(),
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let count = (contents.len() as u16).to_le_bytes();
    let start = (file.len() as u32).to_le_bytes();
    let size = (directory.len() as u32).to_le_bytes();
    file.extend(&directory);
    file.extend(
        [
            b"PK\x05\x06\0\0\0\0",
            &count[..],
            &count,
            &size,
            &start,
            &[0, 0],
        ]
        .concat(),
    );
    file
}

fn snapshot() -> Vec<u8> {
    let folder = std::env::var_os("PARITY_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity"),
        std::path::PathBuf::from,
    );
    std::fs::read(folder.join("edm-pickle/network-snapshot-000001.pkl")).expect("the case is there")
}

#[test]
fn both_formats_of_pytorch_are_read() {
    let expected = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).view([2, 3]);
    for file in [legacy(&object()), archive(&object())] {
        let tensors = parse_state_dict(&file).unwrap();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tensors["a"], expected);
        assert_eq!(tensors["b"], expected.tr());
    }
}

#[test]
fn names_outside_the_list_are_refused_and_said() {
    let hostile = Pickler::new()
        .global("os", "system")
        .text("true")
        .raw(&[0x85])
        .raw(b"R.")
        .0;
    for file in [legacy(&hostile), archive(&hostile)] {
        match parse_state_dict(&file) {
            Err(PickleProblem::Global { module, name }) => {
                assert_eq!((module.as_str(), name.as_str()), ("os", "system"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        parse_edm_snapshot(&hostile, "ema"),
        Err(PickleProblem::Global { .. })
    ));
}

#[test]
fn views_outside_their_storage_are_refused() {
    for (offset, size, stride) in [
        (1, &[2, 3][..], &[3, 1][..]),
        (0, &[2, 3], &[4, 1]),
        (0, &[1000, 1000], &[0, 0]),
        (-1, &[2], &[1]),
        (0, &[-2], &[1]),
        (0, &[2], &[-1]),
        (
            0,
            &[i32::MAX, i32::MAX, i32::MAX],
            &[i32::MAX, i32::MAX, i32::MAX],
        ),
    ] {
        let object = Pickler::new()
            .raw(b"}")
            .text("a")
            .tensor("0", 6, offset, size, stride)
            .raw(b"s.")
            .0;
        assert!(
            matches!(
                parse_state_dict(&legacy(&object)),
                Err(PickleProblem::Tensor { .. })
            ),
            "{offset} {size:?} {stride:?}"
        );
    }
}

#[test]
fn deep_and_cyclic_values_are_harmless() {
    let deep = Pickler::new()
        .raw(b")")
        .raw(&[0x85].repeat(3_000_000))
        .raw(b".")
        .0;
    assert!(parse_state_dict(&legacy(&deep)).is_err());
    // A module whose `_modules` holds itself, twice.
    let cyclic = Pickler::new()
        .raw(b"}")
        .text("ema")
        .global("torch_utils.persistence", "_reconstruct_persistent_obj")
        .raw(b"}(")
        .text("class_name")
        .text("EDMPrecond")
        .text("state")
        .raw(b"}q\x00")
        .raw(b"u")
        .raw(&[0x85])
        .raw(b"Rq\x01s.")
        .0;
    assert!(parse_edm_snapshot(&cyclic, "ema").is_err());
}

#[test]
fn every_truncation_is_an_error() {
    for whole in [legacy(&object()), archive(&object())] {
        for length in 0..whole.len() {
            assert!(
                parse_state_dict(&whole[..length]).is_err(),
                "{length} of {}",
                whole.len()
            );
        }
    }
    let whole = snapshot();
    for length in (0..whole.len()).step_by(911) {
        assert!(
            parse_edm_snapshot(&whole[..length], "ema").is_err(),
            "{length}"
        );
    }
}

fn mutate(mut file: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (index, value) in changes {
        let position = index.index(file.len());
        file[position] = *value;
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let _ = parse_state_dict(&mutate(legacy(&object()), &changes));
        let _ = parse_state_dict(&mutate(archive(&object()), &changes));
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_edm_snapshot(&[&[0x80, 4], &bytes[..]].concat(), "ema");
        let _ = parse_state_dict(&[b"PK\x03\x04", &bytes[..]].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_snapshots_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let _ = parse_edm_snapshot(&mutate(snapshot(), &changes), "ema");
    }
}
