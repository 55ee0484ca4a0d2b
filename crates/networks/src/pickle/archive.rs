//! PyTorch's zip archives: `<name>/data.pkl`, `<name>/data/<key>` and `<name>/byteorder`, none of them compressed,
//! so that a storage is a range of the file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::budget::Budget;
use super::error::{PickleProblem, shortened};
use super::machine::{self, Outcome};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END_RECORD: u32 = 0x0605_4b50;
const END_RECORD_64: u32 = 0x0606_4b50;
const END_LOCATOR_64: u32 = 0x0706_4b50;
const END_RECORD_LENGTH: usize = 22;
/// The end record may be followed by a comment of this length.
const MAX_COMMENT: usize = 1 << 16;
const MAX_ENTRIES: u64 = 1 << 20;

/// Whether the bytes begin like a zip archive.
pub(crate) fn is_archive(data: &[u8]) -> bool {
    data.starts_with(b"PK\x03\x04")
}

/// Reads the object of an archive, and where its storages' bytes are.
pub(crate) fn read(
    data: &[u8],
    budget: &mut Budget,
) -> Result<(Outcome, BTreeMap<String, Range<usize>>), PickleProblem> {
    let entries = entries(data)?;
    let (name, pickle) = entries
        .iter()
        .find(|(name, _)| name.as_str() == "data.pkl" || name.ends_with("/data.pkl"))
        .ok_or_else(|| {
            PickleProblem::structure(
                "the zip archive holds no `data.pkl`: it was not written by torch.save",
            )
        })?;
    let root = name.strip_suffix("data.pkl").unwrap_or_default();
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && data[order.clone()].trim_ascii() != b"little"
    {
        return Err(PickleProblem::structure(
            "it was written on a big-endian machine",
        ));
    }
    let outcome = machine::run(data, pickle.clone(), false, budget)?;
    let folder = format!("{root}data/");
    let places = entries
        .iter()
        .filter_map(|(name, range)| Some((name.strip_prefix(&folder)?.to_owned(), range.clone())))
        .collect();
    Ok((outcome, places))
}

/// Every entry's name and the range of its bytes, from the central directory.
fn entries(data: &[u8]) -> Result<BTreeMap<String, Range<usize>>, PickleProblem> {
    let (count, mut position) = directory(data)?;
    if count > MAX_ENTRIES {
        return Err(PickleProblem::Limit {
            what: "entries in the zip archive",
            limit: MAX_ENTRIES as usize,
        });
    }
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        if number(data, position, 4)? != u64::from(CENTRAL_HEADER) {
            return Err(malformed(
                position,
                "an entry of the zip directory is damaged",
            ));
        }
        let method = number(data, position + 10, 2)?;
        let name_length = number(data, position + 28, 2)? as usize;
        let extra_length = number(data, position + 30, 2)? as usize;
        let comment_length = number(data, position + 32, 2)? as usize;
        let name = text(data, position + 46, name_length)?;
        if method != 0 {
            return Err(PickleProblem::Structure(format!(
                "entry `{}` of the zip archive is compressed, which torch.save never does; unpack and repack it without compression",
                shortened(&name)
            )));
        }
        let extra = slice(data, position + 46 + name_length, extra_length)?;
        let wide = WideFields {
            size: number(data, position + 24, 4)?,
            compressed: number(data, position + 20, 4)?,
            offset: number(data, position + 42, 4)?,
        };
        let (size, offset) = wide.resolve(extra, position)?;
        entries.insert(name, content(data, offset, size)?);
        position += 46 + name_length + extra_length + comment_length;
    }
    Ok(entries)
}

/// The number of entries and the position of the first one's record.
fn directory(data: &[u8]) -> Result<(u64, usize), PickleProblem> {
    let lowest = data.len().saturating_sub(END_RECORD_LENGTH + MAX_COMMENT);
    let end = (lowest..=data.len().saturating_sub(END_RECORD_LENGTH))
        .rev()
        .find(|position| data[*position..].starts_with(&END_RECORD.to_le_bytes()))
        .ok_or_else(|| {
            malformed(
                data.len(),
                "the zip archive has no end record: it is truncated",
            )
        })?;
    let count = number(data, end + 10, 2)?;
    let offset = number(data, end + 16, 4)?;
    if count != 0xffff && offset != 0xffff_ffff {
        return Ok((count, offset as usize));
    }
    let locator = end
        .checked_sub(20)
        .ok_or_else(|| malformed(end, "the zip64 locator is missing"))?;
    if number(data, locator, 4)? != u64::from(END_LOCATOR_64) {
        return Err(malformed(locator, "the zip64 locator is missing"));
    }
    let record = position(number(data, locator + 8, 8)?, locator)?;
    if number(data, record, 4)? != u64::from(END_RECORD_64) {
        return Err(malformed(record, "the zip64 end record is damaged"));
    }
    Ok((
        number(data, record + 32, 8)?,
        position(number(data, record + 48, 8)?, record)?,
    ))
}

/// Fields of a directory entry that move to its zip64 extra field when they do not fit four bytes.
struct WideFields {
    size: u64,
    compressed: u64,
    offset: u64,
}

impl WideFields {
    fn resolve(self, extra: &[u8], at: usize) -> Result<(usize, usize), PickleProblem> {
        let mut wide: &[u8] = &[];
        let mut rest = extra;
        while rest.len() >= 4 {
            let length = usize::from(u16::from_le_bytes([rest[2], rest[3]]));
            let field = rest
                .get(4..4 + length)
                .ok_or_else(|| malformed(at, "an extra field is damaged"))?;
            if rest[..2] == [1, 0] {
                wide = field;
            }
            rest = &rest[4 + length..];
        }
        let mut cursor = 0;
        let mut widen = |value: u64| -> Result<u64, PickleProblem> {
            if value != 0xffff_ffff {
                return Ok(value);
            }
            let field =
                number(wide, cursor, 8).map_err(|_| malformed(at, "a zip64 field is missing"))?;
            cursor += 8;
            Ok(field)
        };
        let size = widen(self.size)?;
        if widen(self.compressed)? != size {
            return Err(malformed(at, "an uncompressed entry has two sizes"));
        }
        let offset = widen(self.offset)?;
        Ok((position(size, at)?, position(offset, at)?))
    }
}

/// The bytes of the entry whose local header is at `offset`.
fn content(data: &[u8], offset: usize, size: usize) -> Result<Range<usize>, PickleProblem> {
    if number(data, offset, 4)? != u64::from(LOCAL_HEADER) {
        return Err(malformed(offset, "an entry of the zip archive is damaged"));
    }
    let name_length = number(data, offset + 26, 2)? as usize;
    let extra_length = number(data, offset + 28, 2)? as usize;
    let start = offset + 30 + name_length + extra_length;
    slice(data, start, size)?;
    Ok(start..start + size)
}

fn slice(data: &[u8], start: usize, length: usize) -> Result<&[u8], PickleProblem> {
    let truncated = || PickleProblem::Truncated {
        offset: start,
        needed: length as u64,
        available: data.len().saturating_sub(start),
    };
    let end = start.checked_add(length).ok_or_else(truncated)?;
    data.get(start..end).ok_or_else(truncated)
}

fn number(data: &[u8], start: usize, width: usize) -> Result<u64, PickleProblem> {
    Ok(slice(data, start, width)?
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn text(data: &[u8], start: usize, length: usize) -> Result<String, PickleProblem> {
    let bytes = slice(data, start, length)?;
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| malformed(start, "a name in the zip archive is not UTF-8"))
}

/// A position in the file, small enough that adding header lengths cannot overflow.
fn position(value: u64, at: usize) -> Result<usize, PickleProblem> {
    usize::try_from(value)
        .ok()
        .filter(|value| *value < usize::MAX / 2)
        .ok_or_else(|| malformed(at, "a position in the zip archive is outside of it"))
}

fn malformed(offset: usize, problem: &'static str) -> PickleProblem {
    PickleProblem::Malformed { offset, problem }
}
