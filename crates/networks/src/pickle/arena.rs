//! The data that a pickle describes. Values refer to each other by index, so that shared, cyclic and
//! deeply nested values cost no recursion when they are built or dropped.

use std::ops::Range;

use tch::Kind;

use super::error::PickleProblem;
use super::globals::Global;

/// Most values in one pickle, remembered or on its stack; checkpoints have some hundred thousand.
pub(crate) const MAX_VALUES: usize = 2 << 20;

/// A value in an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle(u32);

/// A run of equal elements in the file.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) elements: usize,
    /// Where its bytes are; for top-level storages known only after the whole pickle has been read.
    pub(crate) bytes: Option<Range<usize>>,
}

/// A strided view of a storage.
#[derive(Clone, Debug)]
pub(crate) struct TensorView {
    pub(crate) storage: Handle,
    pub(crate) offset: i64,
    pub(crate) size: Vec<i64>,
    pub(crate) stride: Vec<i64>,
}

/// One value. The rare large ones are boxed: a file can ask for a value with each byte.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Integer(i64),
    /// Little-endian two's complement, more than eight bytes.
    LargeInteger(Vec<u8>),
    Float(f64),
    Text(String),
    /// A range of the file.
    Bytes(Range<usize>),
    Tuple(Vec<Handle>),
    List(Vec<Handle>),
    Set(Vec<Handle>),
    Dict(Vec<(Handle, Handle)>),
    Global(Global),
    /// An instance of something on the list, kept as what it would have been made from.
    Object {
        class: Global,
        arguments: Handle,
        state: Option<Handle>,
    },
    Storage(Box<Storage>),
    Tensor(Box<TensorView>),
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    nodes: Vec<Node>,
}

impl Arena {
    pub(crate) fn add(&mut self, node: Node) -> Result<Handle, PickleProblem> {
        if self.nodes.len() >= MAX_VALUES {
            return Err(PickleProblem::Limit {
                what: "values",
                limit: MAX_VALUES,
            });
        }
        self.nodes.push(node);
        Ok(Handle((self.nodes.len() - 1) as u32))
    }

    pub(crate) fn get(&self, handle: Handle) -> &Node {
        &self.nodes[handle.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> &mut Node {
        &mut self.nodes[handle.0 as usize]
    }

    pub(crate) fn text(&self, handle: Handle) -> Option<&str> {
        match self.get(handle) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, handle: Handle) -> Option<i64> {
        match self.get(handle) {
            Node::Integer(value) => Some(*value),
            Node::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub(crate) fn number(&self, handle: Handle) -> Option<f64> {
        match self.get(handle) {
            Node::Float(value) => Some(*value),
            _ => self.integer(handle).map(|value| value as f64),
        }
    }

    /// Elements of a tuple or list.
    pub(crate) fn sequence(&self, handle: Handle) -> Option<&[Handle]> {
        match self.get(handle) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// A sequence of at most `limit` integers.
    pub(crate) fn integers(&self, handle: Handle, limit: usize) -> Option<Vec<i64>> {
        let items = self.sequence(handle).filter(|items| items.len() <= limit)?;
        items.iter().map(|item| self.integer(*item)).collect()
    }

    pub(crate) fn entries(&self, handle: Handle) -> Option<&[(Handle, Handle)]> {
        match self.get(handle) {
            Node::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a text key; of several, the last, as in Python.
    pub(crate) fn lookup(&self, dict: Handle, key: &str) -> Option<Handle> {
        self.entries(dict)?
            .iter()
            .rev()
            .find(|(name, _)| self.text(*name) == Some(key))
            .map(|(_, value)| *value)
    }
}
