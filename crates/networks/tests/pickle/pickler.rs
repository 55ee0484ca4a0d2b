//! Writes pickles and the files around them, as PyTorch and EDM do.

use std::path::Path;

use serde_json::Value;

/// Protocol 2, a small piece at a time.
#[derive(Default)]
pub(crate) struct Pickler(pub(crate) Vec<u8>);

impl Pickler {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    pub(crate) fn text(self, text: &str) -> Self {
        self.raw(b"X")
            .raw(&(text.len() as u32).to_le_bytes())
            .raw(text.as_bytes())
    }
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.raw(b"B")
            .raw(&(bytes.len() as u32).to_le_bytes())
            .raw(bytes)
    }
    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }
    pub(crate) fn int(self, value: i32) -> Self {
        self.raw(b"J").raw(&value.to_le_bytes())
    }
    pub(crate) fn ints(self, values: &[i32]) -> Self {
        values
            .iter()
            .fold(self.raw(b"("), |pickler, value| pickler.int(*value))
            .raw(b"t")
    }
    /// Plain data.
    pub(crate) fn value(self, value: &Value) -> Self {
        match value {
            Value::Null => self.raw(b"N"),
            Value::Bool(value) => self.raw(&[0x89 - u8::from(*value)]),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => self.int(integer.try_into().unwrap()),
                None => self.raw(b"G").raw(&number.as_f64().unwrap().to_be_bytes()),
            },
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().fold(self.raw(b"]("), Self::value).raw(b"e"),
            Value::Object(entries) => entries
                .iter()
                .fold(self.raw(b"}("), |pickler, (key, value)| {
                    pickler.text(key).value(value)
                })
                .raw(b"u"),
        }
    }
    /// The beginning of a reference to a storage.
    pub(crate) fn storage(self, key: &str, elements: i32) -> Self {
        self.raw(b"(")
            .text("storage")
            .global("torch", "FloatStorage")
            .text(key)
            .text("cpu")
            .int(elements)
    }
    /// A float32 tensor of a storage of `elements`.
    pub(crate) fn tensor(
        self,
        key: &str,
        elements: i32,
        offset: i32,
        size: &[i32],
        stride: &[i32],
    ) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .storage(key, elements)
            .raw(b"tQ")
            .view(offset, size, stride)
    }
    /// What follows the storage in the arguments of a tensor.
    pub(crate) fn view(self, offset: i32, size: &[i32], stride: &[i32]) -> Self {
        self.int(offset)
            .ints(size)
            .ints(stride)
            .raw(&[0x89])
            .global("collections", "OrderedDict")
            .raw(b")RtR")
    }
    /// A float32 tensor whose storage is embedded, as in EDM's snapshots.
    pub(crate) fn embedded_tensor(self, elements: &[f32]) -> Self {
        let count = elements.len() as i32;
        let object = Self::new().storage("7", count).raw(b"NtQ.").0;
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .global("torch.storage", "_load_from_bytes")
            .bytes(&legacy_of(&object, &[("7", elements)]))
            .raw(&[0x85])
            .raw(b"R")
            .view(0, &[count], &[1])
    }
    /// Begins a persistent object of EDM; the state's entries and [`Pickler::end_module`] follow.
    pub(crate) fn module(self, class: &str) -> Self {
        self.global("torch_utils.persistence", "_reconstruct_persistent_obj")
            .raw(b"}(")
            .text("type")
            .text("class")
            .text("module_src")
            .text("import os")
            .text("class_name")
            .text(class)
            .text("state")
            .raw(b"}(")
    }
    pub(crate) fn end_module(self) -> Self {
        self.raw(b"uu").raw(&[0x85]).raw(b"R")
    }
}

/// {"state_dict": OrderedDict(a = 2×3 of storage 0, b = the same transposed), "epoch": 3}
pub(crate) fn object() -> Vec<u8> {
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

/// 0 to 5.
pub(crate) const ELEMENTS: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

fn float_bytes(elements: &[f32]) -> Vec<u8> {
    elements
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A file of PyTorch's older format with storage `0` of [`ELEMENTS`].
pub(crate) fn legacy(object: &[u8]) -> Vec<u8> {
    legacy_of(object, &[("0", &ELEMENTS)])
}

pub(crate) fn legacy_of(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
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
    let keys = storages
        .iter()
        .fold(Pickler::new().raw(b"]("), |pickler, (key, _)| {
            pickler.text(key)
        });
    file.extend(keys.raw(b"e.").0);
    for (_, elements) in storages {
        file.extend((elements.len() as u64).to_le_bytes());
        file.extend(float_bytes(elements));
    }
    file
}

/// A zip archive of PyTorch with storage `0` of [`ELEMENTS`].
pub(crate) fn archive(object: &[u8]) -> Vec<u8> {
    archive_of(object, &[("0", &ELEMENTS)])
}

pub(crate) fn archive_of(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    let mut contents = vec![
        ("net/data.pkl".to_owned(), object.to_vec()),
        ("net/byteorder".to_owned(), b"little".to_vec()),
    ];
    contents.extend(
        storages
            .iter()
            .map(|(key, elements)| (format!("net/data/{key}"), float_bytes(elements))),
    );
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

/// A snapshot of EDM: the preconditioning `outer` around the network `inner`, which was constructed with
/// `arguments` and holds one tensor, `model.enc.weight`.
pub(crate) fn snapshot(outer: &str, inner: &str, arguments: &Value) -> Vec<u8> {
    let network = Pickler::new()
        .raw(b"}(")
        .text("ema")
        .module(outer)
        .text("sigma_data")
        .value(&Value::from(0.25))
        .text("_modules")
        .raw(b"}(")
        .text("model")
        .module(inner)
        .text("_init_args")
        .raw(b")")
        .text("_init_kwargs")
        .value(arguments)
        .text("_modules")
        .raw(b"}(")
        .text("enc")
        .global("torch.nn.modules.container", "ModuleDict")
        .raw(b")\x81}(")
        .text("_parameters")
        .raw(b"}(")
        .text("weight")
        .embedded_tensor(&ELEMENTS)
        .raw(b"u")
        .text("_buffers")
        .raw(b"}")
        .raw(b"ub")
        .raw(b"u")
        .end_module()
        .raw(b"u")
        .end_module();
    network
        .text("loss_fn")
        .raw(b"N")
        .text("dataset_kwargs")
        .raw(b"}u.")
        .0
}

/// The published snapshot among the parity cases.
pub(crate) fn published() -> Vec<u8> {
    std::fs::read(published_path()).expect("the case is there")
}

pub(crate) fn published_path() -> std::path::PathBuf {
    let folder = std::env::var_os("PARITY_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity"),
        std::path::PathBuf::from,
    );
    folder.join("edm-pickle/network-snapshot-000001.pkl")
}
