//! PyTorch's format before 1.6: pickles of a magic number, the protocol version, system facts, the object and
//! the storages' keys; then for each key an element count (8 bytes) and the elements, little-endian.

use std::collections::BTreeMap;
use std::ops::Range;

use tch::Kind;

use super::arena::{Node, Storage};
use super::budget::Budget;
use super::error::PickleProblem;
use super::machine::{self, Outcome};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Whether the bytes begin like this format: the magic number is the whole first pickle, in protocol 2 or,
/// from protocol 4 on, inside a frame.
pub(crate) fn is_legacy(data: &[u8]) -> bool {
    const LONG1: [u8; 2] = [0x8a, 10];
    let rest = match data {
        [0x80, 4..=5, 0x95, rest @ ..] => rest.get(8..).unwrap_or_default(),
        [0x80, 2..=5, rest @ ..] => rest,
        _ => &[],
    };
    rest.strip_prefix(&LONG1)
        .is_some_and(|rest| rest.starts_with(&MAGIC))
}

/// Reads the object of a file, and where its storages' bytes are.
pub(crate) fn read(
    data: &[u8],
    budget: &mut Budget,
) -> Result<(Outcome, BTreeMap<String, Range<usize>>), PickleProblem> {
    read_range(data, 0..data.len(), false, budget)
}

/// Reads a storage that is embedded as a whole file of this format at `range`.
pub(crate) fn read_embedded_storage(
    data: &[u8],
    range: Range<usize>,
    budget: &mut Budget,
) -> Result<Storage, PickleProblem> {
    let offset = range.start;
    let (outcome, mut places) = read_range(data, range, true, budget)?;
    let Node::Storage(storage) = outcome.arena.get(outcome.root) else {
        return Err(PickleProblem::Malformed {
            offset,
            problem: "an embedded storage is something else",
        });
    };
    let mut storage = Storage::clone(storage);
    storage.bytes = places.remove(&storage.key);
    Ok(storage)
}

fn read_range(
    data: &[u8],
    range: Range<usize>,
    nested: bool,
    budget: &mut Budget,
) -> Result<(Outcome, BTreeMap<String, Range<usize>>), PickleProblem> {
    let end = range.end;
    let malformed = |offset, problem| PickleProblem::Malformed { offset, problem };
    let magic = machine::run(data, range.clone(), true, budget)?;
    if !matches!(magic.arena.get(magic.root), Node::LargeInteger(bytes) if *bytes == MAGIC) {
        return Err(malformed(
            range.start,
            "it does not begin with PyTorch's magic number",
        ));
    }
    let protocol = machine::run(data, magic.end..end, true, budget)?;
    if protocol.arena.integer(protocol.root) != Some(PROTOCOL) {
        return Err(malformed(
            magic.end,
            "its PyTorch protocol version is not 1001",
        ));
    }
    let system = machine::run(data, protocol.end..end, true, budget)?;
    let little_endian = system
        .arena
        .lookup(system.root, "little_endian")
        .map(|value| system.arena.get(value));
    if !matches!(little_endian, Some(Node::Bool(true))) {
        return Err(malformed(
            protocol.end,
            "it was written on a big-endian machine",
        ));
    }
    let object = machine::run(data, system.end..end, nested, budget)?;
    let keys = machine::run(data, object.end..end, true, budget)?;
    let names: Option<Vec<&str>> = keys
        .arena
        .sequence(keys.root)
        .and_then(|items| items.iter().map(|item| keys.arena.text(*item)).collect());
    let names =
        names.ok_or_else(|| malformed(object.end, "its list of storage keys is not texts"))?;

    let mut places = BTreeMap::new();
    let mut position = keys.end;
    for name in names {
        let &(kind, elements) = object
            .storages
            .get(name)
            .ok_or_else(|| malformed(position, "it holds a storage that nothing refers to"))?;
        let header = checked_range(position, 8, end)?;
        let mut count = [0; 8];
        count.copy_from_slice(&data[header.clone()]);
        if u64::from_le_bytes(count) != elements as u64 {
            return Err(malformed(
                position,
                "a storage has another length than the object says",
            ));
        }
        let bytes = checked_range(header.end, byte_length(kind, elements)?, end)?;
        position = bytes.end;
        if places.insert(name.to_owned(), bytes).is_some() {
            return Err(malformed(position, "it holds one storage twice"));
        }
    }
    Ok((object, places))
}

/// Bytes of `elements` elements.
pub(crate) fn byte_length(kind: Kind, elements: usize) -> Result<usize, PickleProblem> {
    elements
        .checked_mul(kind.elt_size_in_bytes())
        .ok_or(PickleProblem::Limit {
            what: "bytes in a storage",
            limit: usize::MAX,
        })
}

fn checked_range(start: usize, length: usize, end: usize) -> Result<Range<usize>, PickleProblem> {
    let available = end.saturating_sub(start);
    if length <= available {
        Ok(start..start + length)
    } else {
        Err(PickleProblem::Truncated {
            offset: start,
            needed: length as u64,
            available,
        })
    }
}
