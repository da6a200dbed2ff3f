//! The names a pickle may refer to, and what stands for each. Nothing behind a name is ever run.

use super::pickle::Value;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// Takes a storage, an offset, sizes and strides: a tensor.
    RebuildTensor,
    /// Returns its first argument: a parameter is its tensor.
    RebuildParameter,
    /// Takes another function, a type and the function's arguments: a tensor of a subclass is a tensor.
    RebuildFromType,
    /// An empty dictionary.
    Dict,
    /// The type of a storage.
    Storage(Element),
    /// Something training leaves beside weights. It is forgotten, with everything put into it.
    Ignored,
}

/// The elements of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    /// Of no use as a weight: the name and the size in bytes.
    Other(&'static str, usize),
}

impl Element {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::Other(name, _) => name,
        }
    }

    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_, size) => size,
        }
    }
}

impl Global {
    /// The meaning of `module.name`; `None` for what no checkpoint needs.
    pub(super) fn lookup(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::RebuildParameter
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Self::Dict,
            ("torch" | "torch.cuda", storage) if storage.ends_with("Storage") => {
                Self::Storage(storage_element(storage)?)
            }
            ("torch.storage", "UntypedStorage" | "_UntypedStorage") => {
                Self::Storage(Element::Other("bytes", 1))
            }
            _ if is_ignored(module, name) => Self::Ignored,
            _ => return None,
        })
    }

    /// What a pickle writes in place of a type that it only mentions.
    pub(super) fn value(self) -> Value<'static> {
        match self {
            Self::Ignored => Value::Ignored,
            known => Value::Global(known),
        }
    }
}

fn storage_element(storage: &str) -> Option<Element> {
    Some(match storage {
        "DoubleStorage" => Element::F64,
        "FloatStorage" => Element::F32,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::Bf16,
        "LongStorage" => Element::Other("int64", 8),
        "IntStorage" => Element::Other("int32", 4),
        "ShortStorage" => Element::Other("int16", 2),
        "CharStorage" => Element::Other("int8", 1),
        "ByteStorage" => Element::Other("uint8", 1),
        "BoolStorage" => Element::Other("bool", 1),
        "ComplexFloatStorage" => Element::Other("complex64", 8),
        "ComplexDoubleStorage" => Element::Other("complex128", 16),
        _ => return None,
    })
}

/// What the authors' training scripts, DeepSpeed and numpy leave in a container, and the types that torch mentions.
fn is_ignored(module: &str, name: &str) -> bool {
    const DTYPES: [&str; 14] = [
        "float32", "float64", "float16", "bfloat16", "half", "float", "double", "int64", "int32", "int16",
        "int8", "uint8", "bool", "long",
    ];
    match module {
        "torch" => ["Size", "device", "Tensor"].contains(&name) || DTYPES.contains(&name),
        "torch.nn.parameter" => name == "Parameter",
        "collections" => ["defaultdict", "Counter", "deque"].contains(&name),
        "builtins" | "__builtin__" => [
            "set",
            "frozenset",
            "list",
            "tuple",
            "int",
            "float",
            "str",
            "bool",
            "bytes",
            "bytearray",
            "complex",
        ]
        .contains(&name),
        "argparse" => name == "Namespace",
        "pathlib" => ["PosixPath", "PurePosixPath", "WindowsPath", "Path"].contains(&name),
        "_codecs" => name == "encode",
        "numpy" => ["dtype", "ndarray"].contains(&name),
        "numpy.core.multiarray" | "numpy._core.multiarray" => ["scalar", "_reconstruct"].contains(&name),
        // Scalars of numpy's own types, such as numpy.dtypes.Float64DType.
        "numpy.dtypes" => name.ends_with("DType"),
        "deepspeed.runtime.fp16.loss_scaler" => ["LossScaler", "DynamicLossScaler"].contains(&name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_in_the_list_mean_anything() {
        assert_eq!(Global::lookup("torch._utils", "_rebuild_tensor_v2"), Some(Global::RebuildTensor));
        assert_eq!(Global::lookup("torch", "HalfStorage"), Some(Global::Storage(Element::F16)));
        assert_eq!(Global::lookup("argparse", "Namespace"), Some(Global::Ignored));
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("__builtin__", "exec"),
            ("torch", "load"),
            ("torch", "QInt8Storage"),
            ("torch._utils", "_rebuild_qtensor"),
            ("numpy", "load"),
            ("collections", "OrderedDict.fromkeys"),
            ("", ""),
        ] {
            assert_eq!(Global::lookup(module, name), None, "{module}.{name}");
        }
    }
}
