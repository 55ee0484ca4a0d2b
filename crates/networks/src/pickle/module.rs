//! A module of PyTorch as a published pickle has it: a persistent object with a class name and a state.

use super::arena::{Arena, Handle, Node};
use super::globals::Global;

/// A module's class and state.
pub(crate) struct Module<'a> {
    pub(crate) class: &'a str,
    pub(crate) state: Handle,
    /// Entries that were looked through to find these.
    pub(crate) entries: usize,
}

impl<'a> Module<'a> {
    pub(crate) fn of(arena: &'a Arena, handle: Handle) -> Option<Self> {
        let count = |handle| arena.entries(handle).map_or(0, <[_]>::len);
        match arena.get(handle) {
            Node::Object {
                class: Global::PersistentObject,
                arguments,
                ..
            } => {
                let meta = *arena.sequence(*arguments)?.first()?;
                let class = arena.text(arena.lookup(meta, "class_name")?)?;
                let state = arena.lookup(meta, "state")?;
                Some(Self {
                    class,
                    state,
                    entries: count(meta) + count(state),
                })
            }
            Node::Object {
                class: Global::Opaque,
                state: Some(state),
                ..
            } => Some(Self {
                class: "",
                state: *state,
                entries: count(*state),
            }),
            _ => None,
        }
    }
}
