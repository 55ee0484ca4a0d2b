//! The names that a checkpoint may refer to, each standing for a kind of data.

use tch::Kind;

/// What a known name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// A dictionary: `OrderedDict`, EDM's `EasyDict`.
    Dictionary,
    /// A set made from a list.
    Set,
    /// A tensor from (storage, offset, size, stride, …).
    RebuildTensor,
    /// A parameter: its first argument.
    RebuildParameter,
    /// The type of a storage.
    Storage(Kind),
    /// A storage from the bytes of PyTorch's older format.
    LoadFromBytes,
    /// EDM's persistent objects: a class name and a state, besides source text that is ignored.
    PersistentObject,
    /// A numpy number from (dtype, bytes).
    NumpyScalar,
    /// A numpy element type.
    NumpyDtype,
    /// Python 2's way to write bytes; only for numbers.
    Encode,
    /// Something kept as an opaque value: modules that hold modules, devices, element types.
    Opaque,
}

/// The list.
pub(crate) fn lookup(module: &str, name: &str) -> Option<Global> {
    let global = match (module, name) {
        ("collections", "OrderedDict") | ("dnnlib.util" | "dnnlib", "EasyDict") => {
            Global::Dictionary
        }
        ("builtins" | "__builtin__", "set" | "frozenset") => Global::Set,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch.storage", "_load_from_bytes") => Global::LoadFromBytes,
        ("torch", _) => return torch_name(name),
        ("torch_utils.persistence", "_reconstruct_persistent_obj") => Global::PersistentObject,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::NumpyScalar,
        ("numpy", "dtype") => Global::NumpyDtype,
        ("_codecs", "encode") => Global::Encode,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct")
        | ("numpy", "ndarray")
        | ("torch.nn.modules.container", "ModuleDict" | "ModuleList" | "Sequential")
        | ("torch.nn.modules.activation", "SiLU")
        | ("torch.serialization", "_get_layout")
        // A key in checkpoints of CompVis, which PyTorch Lightning wrote.
        | (
            "pytorch_lightning.callbacks" | "pytorch_lightning.callbacks.model_checkpoint",
            "ModelCheckpoint",
        ) => Global::Opaque,
        _ => return None,
    };
    Some(global)
}

fn torch_name(name: &str) -> Option<Global> {
    let kind = match name {
        "FloatStorage" => Kind::Float,
        "DoubleStorage" => Kind::Double,
        "HalfStorage" => Kind::Half,
        "BFloat16Storage" => Kind::BFloat16,
        "LongStorage" => Kind::Int64,
        "IntStorage" => Kind::Int,
        "ShortStorage" => Kind::Int16,
        "CharStorage" => Kind::Int8,
        "ByteStorage" => Kind::Uint8,
        "BoolStorage" => Kind::Bool,
        "device" | "Size" | "float64" | "float32" | "float16" | "bfloat16" | "int64" | "int32"
        | "int16" | "int8" | "uint8" | "bool" => return Some(Global::Opaque),
        _ => return None,
    };
    Some(Global::Storage(kind))
}
