//! What stands in the place of a call: the data that it would have made.

use super::arena::{Handle, Node, TensorView};
use super::error::PickleProblem;
use super::globals::Global;
use super::legacy;
use super::machine::Machine;

/// Most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 16;
/// What one entry of a copied container costs.
const ENTRY_BYTES: usize = 8;

impl Machine<'_, '_> {
    /// The value of `class(*arguments)`; `tuple` is the tuple that holds them.
    pub(super) fn reduce(
        &mut self,
        class: Global,
        tuple: Handle,
        arguments: &[Handle],
    ) -> Result<Handle, PickleProblem> {
        match (class, arguments) {
            (Global::Dictionary, []) => self.arena.add(Node::Dict(Vec::new())),
            (Global::Dictionary, [pairs]) => {
                let entries = self.dictionary_from(*pairs)?;
                self.arena.add(Node::Dict(entries))
            }
            (Global::Set, [] | [_]) => {
                let items = arguments
                    .first()
                    .and_then(|items| self.arena.sequence(*items))
                    .unwrap_or_default();
                self.budget.spend(items.len() * ENTRY_BYTES)?;
                let set = Node::Set(items.to_vec());
                self.arena.add(set)
            }
            (Global::RebuildTensor, [storage, offset, size, stride, ..]) => {
                let view = self.tensor_view(*storage, *offset, *size, *stride)?;
                self.arena.add(Node::Tensor(Box::new(view)))
            }
            (Global::RebuildParameter, [tensor, ..]) => Ok(*tensor),
            (Global::LoadFromBytes, [bytes]) => self.embedded_storage(*bytes),
            (Global::NumpyScalar, [dtype, bytes]) => {
                let number = self.numpy_scalar(*dtype, *bytes);
                match number {
                    Some(node) => self.arena.add(node),
                    None => self.object(class, tuple),
                }
            }
            (
                Global::PersistentObject | Global::NumpyDtype | Global::Encode | Global::Opaque,
                _,
            ) => self.object(class, tuple),
            (Global::Storage(_), _) => Err(self.malformed("it makes a storage out of nothing")),
            _ => Err(self.malformed("it gives a known name the wrong number of arguments")),
        }
    }

    fn object(&mut self, class: Global, arguments: Handle) -> Result<Handle, PickleProblem> {
        self.arena.add(Node::Object {
            class,
            arguments,
            state: None,
        })
    }

    fn dictionary_from(&mut self, source: Handle) -> Result<Vec<(Handle, Handle)>, PickleProblem> {
        if let Some(entries) = self.arena.entries(source) {
            self.budget.spend(entries.len() * ENTRY_BYTES)?;
            return Ok(entries.to_vec());
        }
        let items = self.arena.sequence(source).unwrap_or_default();
        self.budget.spend(items.len() * ENTRY_BYTES)?;
        let pairs = self.arena.sequence(source).and_then(|items| {
            items
                .iter()
                .map(|item| match self.arena.sequence(*item) {
                    Some([key, value]) => Some((*key, *value)),
                    _ => None,
                })
                .collect()
        });
        pairs.ok_or_else(|| {
            self.malformed("it makes a dictionary out of something that is not pairs")
        })
    }

    fn tensor_view(
        &self,
        storage: Handle,
        offset: Handle,
        size: Handle,
        stride: Handle,
    ) -> Result<TensorView, PickleProblem> {
        if !matches!(self.arena.get(storage), Node::Storage(_)) {
            return Err(self.malformed("it makes a tensor out of something that is not a storage"));
        }
        match (
            self.arena.integer(offset),
            self.arena.integers(size, MAX_DIMENSIONS),
            self.arena.integers(stride, MAX_DIMENSIONS),
        ) {
            (Some(offset), Some(size), Some(stride)) if size.len() == stride.len() => {
                Ok(TensorView {
                    storage,
                    offset,
                    size,
                    stride,
                })
            }
            _ => Err(self.malformed(
                "a tensor's offset, size or stride is not numbers, or of more than 16 dimensions",
            )),
        }
    }

    fn embedded_storage(&mut self, bytes: Handle) -> Result<Handle, PickleProblem> {
        let Node::Bytes(range) = self.arena.get(bytes) else {
            return Err(self.malformed("it loads a storage from something that is not bytes"));
        };
        if self.nested {
            return Err(self.malformed("a storage is embedded in a storage"));
        }
        let range = range.clone();
        let storage = legacy::read_embedded_storage(self.cursor.data(), range, self.budget)?;
        self.arena.add(Node::Storage(Box::new(storage)))
    }

    /// The number of `scalar(dtype(code, …), bytes)`, for the codes that constructor arguments have.
    fn numpy_scalar(&self, dtype: Handle, bytes: Handle) -> Option<Node> {
        let Node::Object {
            class: Global::NumpyDtype,
            arguments,
            ..
        } = self.arena.get(dtype)
        else {
            return None;
        };
        let code = self
            .arena
            .text(*self.arena.sequence(*arguments)?.first()?)
            .filter(|code| code.len() <= 3)?;
        let Node::Bytes(range) = self.arena.get(bytes) else {
            return None;
        };
        let raw = &self.cursor.data()[range.clone()];
        Some(match code.trim_start_matches(['<', '=']) {
            "f8" => Node::Float(f64::from_le_bytes(raw.try_into().ok()?)),
            "f4" => Node::Float(f64::from(f32::from_le_bytes(raw.try_into().ok()?))),
            "i8" => Node::Integer(i64::from_le_bytes(raw.try_into().ok()?)),
            "i4" => Node::Integer(i64::from(i32::from_le_bytes(raw.try_into().ok()?))),
            "b1" => Node::Bool(*raw.first()? != 0),
            _ => return None,
        })
    }
}
