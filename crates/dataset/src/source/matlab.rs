//! Vectors of whole numbers out of MATLAB's level 5 `.mat` files, which is what Flowers-102 keeps its labels in.
//!
//! The format: a heading of 128 bytes, then elements of a type, a length and data; a matrix is an element of
//! elements (flags, dimensions, name, values), and may itself be compressed by zlib.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// The most bytes of a variable: far more than any list of labels has.
const MAX_BYTES: u64 = 64 << 20;

const HEADING_BYTES: usize = 128;
const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;

/// The values of a real matrix of whole numbers from 0 on, in the file's order.
pub(super) fn whole_numbers(file: &[u8], variable: &str) -> Result<Vec<usize>, String> {
    let little = file.get(126..128) == Some(b"IM");
    if !little || file.len() < HEADING_BYTES {
        return Err("it is not a little-endian MATLAB file of level 5".to_owned());
    }
    let mut rest = &file[HEADING_BYTES..];
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (kind, data) = element(&mut rest)?;
        let unpacked;
        let data = match kind {
            COMPRESSED => {
                let mut bytes = Vec::new();
                ZlibDecoder::new(data)
                    .take(MAX_BYTES)
                    .read_to_end(&mut bytes)
                    .map_err(|error| format!("a variable cannot be unpacked: {error}"))?;
                unpacked = bytes;
                let mut inner = &unpacked[..];
                match element(&mut inner)? {
                    (MATRIX, data) => data,
                    _ => continue,
                }
            }
            MATRIX => data,
            _ => continue,
        };
        let mut parts = data;
        let (_flags, _dimensions) = (element(&mut parts)?, element(&mut parts)?);
        let (_, name) = element(&mut parts)?;
        if name == variable.as_bytes() {
            let (kind, values) = element(&mut parts)?;
            return numbers(kind, values);
        }
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    Err(format!(
        "it has no variable `{variable}`, only {}",
        names.join(", ")
    ))
}

/// Takes an element off the front: its type and its data. Short ones are packed into eight bytes; others are padded
/// to a multiple of eight, unless they are compressed.
fn element<'a>(rest: &mut &'a [u8]) -> Result<(u32, &'a [u8]), String> {
    let short = || "it ends within a variable".to_owned();
    let head: [u8; 8] = *rest.first_chunk().ok_or_else(short)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (kind, packed) = (word(0) & 0xFFFF, (word(0) >> 16) as usize);
    if packed > 0 {
        let data = rest.get(4..4 + usize::min(packed, 4)).ok_or_else(short)?;
        *rest = &rest[8..];
        return Ok((kind, data));
    }
    let length = word(4) as usize;
    let data = rest
        .get(8..)
        .and_then(|rest| rest.get(..length))
        .ok_or_else(short)?;
    let padded = match kind {
        COMPRESSED => length,
        _ => length.next_multiple_of(8),
    };
    *rest = rest.get(8 + padded..).unwrap_or_default();
    Ok((kind, data))
}

fn numbers(kind: u32, values: &[u8]) -> Result<Vec<usize>, String> {
    let of = |width: usize, value: fn(&[u8]) -> Option<usize>| {
        values
            .chunks_exact(width)
            .map(|bytes| {
                value(bytes).ok_or_else(|| "it holds a value that is not a whole number".to_owned())
            })
            .collect()
    };
    match kind {
        1 | 2 => of(1, |bytes| Some(bytes[0].into())),
        3 | 4 => of(2, |bytes| {
            Some(u16::from_le_bytes(*bytes.first_chunk()?).into())
        }),
        5 | 6 => of(4, |bytes| {
            Some(u32::from_le_bytes(*bytes.first_chunk()?) as usize)
        }),
        9 => of(8, |bytes| {
            let value = f64::from_le_bytes(*bytes.first_chunk()?);
            (value.fract() == 0.0 && (0.0..1e9).contains(&value)).then_some(value as usize)
        }),
        _ => Err(format!("its values are of type {kind}, which is not read")),
    }
}
