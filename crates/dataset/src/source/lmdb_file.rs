//! The file of an LMDB database, read page by page.
//!
//! LMDB's own library maps the file and believes what it says: of one that was downloaded by half it reads pages that are
//! not there, which ends the process. Here every page, offset and length is checked before it is used.
//!
//! The file is a tree of pages of one size. A page begins with its number (8 bytes), two bytes of padding, its flags, and
//! where its free space begins and ends (2 bytes each); behind that stand the offsets of its nodes. A branch's node names
//! a page and the smallest key in it; a leaf's holds a key and a value, or the number of the first of a row of overflow
//! pages that hold the value. The first two pages describe the whole; the one with the higher transaction number counts.
//! Numbers are little-endian, 64 bits wide, as every published database has them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: u64 = 0xBEEF_C0DE;
const VERSION: u64 = 1;

const HEADER: usize = 16;
const META_BYTES: usize = HEADER + 24 + 2 * 48 + 16;
const NODE_HEADER: usize = 8;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;
const PAGE_KINDS: u16 = 0x2F;

/// A value lies in overflow pages.
const BIG_DATA: u16 = 0x01;
/// A database within the database, or many values of one key.
const SUB_DATA: u16 = 0x02;
const DUPLICATES: u16 = 0x04;

/// The deepest tree: LMDB's own limit.
const DEEPEST: usize = 32;

/// Where a value lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) start: u64,
    pub(super) bytes: u32,
}

/// Is given a key, and the place of its value or why it has none.
pub(super) type Take<'a> = &'a mut dyn FnMut(&[u8], Result<Value, &'static str>);

/// Why a database cannot be read.
#[derive(Debug)]
pub(super) enum Problem {
    /// The system failed to read it.
    Read(io::Error),
    /// It is not what it should be.
    Malformed(String),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn malformed<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Malformed(problem.into()))
}

/// What the first pages say.
struct Meta {
    page_bytes: u64,
    root: Option<u64>,
    entries: u64,
    last_page: u64,
    transaction: u64,
}

/// Calls `take` with each key and the place of its value, in the order of the keys.
pub(super) fn entries(file: &File, take: Take<'_>) -> Result<(), Problem> {
    let length = file.metadata()?.len();
    let meta = newest_meta(file, length)?;
    let needed =
        (meta.last_page.checked_add(1)).and_then(|pages| pages.checked_mul(meta.page_bytes));
    if needed.is_none_or(|needed| needed > length) {
        return malformed(format!(
            "it has {length} bytes, and its pages take {}: it is cut off",
            needed.map_or_else(
                || "more than any file".to_owned(),
                |bytes| bytes.to_string()
            )
        ));
    }
    let tree = Tree {
        file,
        page_bytes: meta.page_bytes,
        pages: meta.last_page + 1,
    };
    let mut found = 0;
    if let Some(root) = meta.root {
        let mut visited = 0;
        tree.walk(root, 0, &mut visited, &mut |key, value| {
            found += 1;
            take(key, value);
        })?;
    }
    if found != meta.entries {
        return malformed(format!(
            "it says that it has {} entries, and has {found}",
            meta.entries
        ));
    }
    Ok(())
}

/// The newer description of the two that there are.
fn newest_meta(file: &File, length: u64) -> Result<Meta, Problem> {
    let first = meta(file, length, 0)?;
    let second = meta(file, length, first.page_bytes).ok();
    Ok(match second {
        Some(second) if second.transaction > first.transaction => second,
        _ => first,
    })
}

fn meta(file: &File, length: u64, start: u64) -> Result<Meta, Problem> {
    let mut page = [0; META_BYTES];
    if start.saturating_add(META_BYTES as u64) > length {
        return malformed("it ends within its first pages");
    }
    file.read_exact_at(&mut page, start)?;
    let bytes = &page[HEADER..];
    if number(bytes, 0, 4) != MAGIC {
        return malformed("it has no mark of LMDB (64 bits, little-endian)");
    }
    let version = number(bytes, 4, 4);
    if version != VERSION {
        return malformed(format!("it is of LMDB's format {version}, not {VERSION}"));
    }
    // The tree of free pages comes first; its padding is the size of a page. Then the tree of entries.
    let (free, main) = (&bytes[24..72], &bytes[72..120]);
    let page_bytes = number(free, 0, 4);
    if !(256..=1 << 16).contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return malformed(format!(
            "its pages have {page_bytes} bytes, which LMDB's have not"
        ));
    }
    if number(main, 4, 2) & u64::from(DUPLICATES) != 0 {
        return malformed("it has many values of one key, which is not supported");
    }
    let root = number(main, 40, 8);
    Ok(Meta {
        page_bytes,
        root: (root != u64::MAX).then_some(root),
        entries: number(main, 32, 8),
        last_page: number(bytes, 120, 8),
        transaction: number(bytes, 128, 8),
    })
}

struct Tree<'a> {
    file: &'a File,
    page_bytes: u64,
    pages: u64,
}

impl Tree<'_> {
    /// Goes through the leaves below a page. `visited` counts pages: a tree that leads back into itself has more than the
    /// file.
    fn walk(
        &self,
        page: u64,
        depth: usize,
        visited: &mut u64,
        take: Take<'_>,
    ) -> Result<(), Problem> {
        *visited += 1;
        if depth > DEEPEST || *visited > self.pages {
            return malformed("its pages lead back to themselves");
        }
        let content = self.page(page)?;
        let kind = number(&content, 10, 2) as u16 & PAGE_KINDS;
        let (lower, upper) = (
            number(&content, 12, 2) as usize,
            number(&content, 14, 2) as usize,
        );
        let is_sound =
            (HEADER..=content.len()).contains(&lower) && lower <= upper && upper <= content.len();
        if !is_sound || number(&content, 0, 8) != page || ![BRANCH, LEAF].contains(&kind) {
            return malformed(format!("its page {page} is damaged or was never written"));
        }
        for at in (HEADER..lower).step_by(2) {
            let start = number(&content, at, 2) as usize;
            let Some(node) = content
                .get(start..)
                .filter(|node| node.len() >= NODE_HEADER)
            else {
                return malformed(format!("a node of its page {page} lies outside of it"));
            };
            let (low, flags) = (number(node, 0, 4), number(node, 4, 2) as u16);
            let key_bytes = number(node, 6, 2) as usize;
            if kind == BRANCH {
                self.walk(low | u64::from(flags) << 32, depth + 1, visited, take)?;
                continue;
            }
            let Some(key) = node.get(NODE_HEADER..NODE_HEADER + key_bytes) else {
                return malformed(format!("a key of its page {page} lies outside of it"));
            };
            if flags & (SUB_DATA | DUPLICATES) != 0 {
                return malformed("it has databases within it, which is not supported");
            }
            let data = NODE_HEADER + key_bytes;
            let value = if flags & BIG_DATA == 0 {
                let within = page * self.page_bytes + (start + data) as u64;
                if data as u64 + low <= node.len() as u64 {
                    Ok(Value {
                        start: within,
                        bytes: low as u32,
                    })
                } else {
                    Err("its value lies outside of its page")
                }
            } else if node.len() >= data + 8 {
                self.overflow(number(node, data, 8), low)?
            } else {
                Err("the place of its value lies outside of its page")
            };
            take(key, value);
        }
        Ok(())
    }

    /// A value of so many bytes in overflow pages.
    fn overflow(&self, page: u64, bytes: u64) -> Result<Result<Value, &'static str>, Problem> {
        let pages = (HEADER as u64 + bytes).div_ceil(self.page_bytes);
        if page.checked_add(pages).is_none_or(|end| end > self.pages) {
            return Ok(Err("its pages lie outside of the file"));
        }
        let start = page * self.page_bytes;
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, start)?;
        let is_sound = number(&header, 0, 8) == page
            && number(&header, 10, 2) as u16 & PAGE_KINDS == OVERFLOW
            && number(&header, 12, 4) >= pages;
        if !is_sound {
            return Ok(Err("its pages are damaged or were never written"));
        }
        Ok(Ok(Value {
            start: start + HEADER as u64,
            bytes: bytes as u32,
        }))
    }

    fn page(&self, page: u64) -> Result<Vec<u8>, Problem> {
        if page >= self.pages {
            return malformed(format!("its page {page} lies outside of the file"));
        }
        let mut content = vec![0; self.page_bytes as usize];
        self.file
            .read_exact_at(&mut content, page * self.page_bytes)?;
        Ok(content)
    }
}

/// A number of up to eight bytes, little-endian, at a place that is there.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes[at..at + width]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
