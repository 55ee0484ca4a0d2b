//! The pickle machine, for the instructions of protocols 2 to 5 that data needs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use tch::Kind;

use super::arena::{Arena, Handle, MAX_VALUES, Node, Storage};
use super::budget::Budget;
use super::cursor::Cursor;
use super::error::{PickleProblem, shortened};
use super::globals::{self, Global};

/// Most open marks.
const MAX_MARKS: usize = 1 << 16;
/// Longest number in bytes.
const MAX_NUMBER_BYTES: usize = 64;
/// Longest key of a storage in bytes; PyTorch's are decimal numbers. Every reference repeats the key.
const MAX_KEY_BYTES: usize = 64;
/// No name on the list looks at more arguments than this.
const MAX_ARGUMENTS: usize = 8;

/// A pickle that has been read.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) arena: Arena,
    pub(crate) root: Handle,
    /// First byte after the pickle.
    pub(crate) end: usize,
    /// Storages that were referred to by key: element type and count.
    pub(crate) storages: BTreeMap<String, (Kind, usize)>,
}

/// The state of the machine.
pub(crate) struct Machine<'a, 'b> {
    pub(super) cursor: Cursor<'a>,
    pub(super) arena: Arena,
    pub(super) budget: &'b mut Budget,
    stack: Vec<Handle>,
    marks: Vec<usize>,
    memo: HashMap<u64, Handle>,
    storages: BTreeMap<String, (Kind, usize)>,
    /// Inside an embedded storage, which may embed no further ones.
    pub(super) nested: bool,
}

/// Reads the pickle that begins at `range.start`, using no byte beyond `range`.
pub(crate) fn run(
    data: &[u8],
    range: Range<usize>,
    nested: bool,
    budget: &mut Budget,
) -> Result<Outcome, PickleProblem> {
    let mut machine = Machine {
        cursor: Cursor::new(data, range),
        arena: Arena::default(),
        budget,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        storages: BTreeMap::new(),
        nested,
    };
    let root = loop {
        machine.budget.spend(1)?;
        if let Some(root) = machine.step()? {
            break root;
        }
    };
    Ok(Outcome {
        arena: machine.arena,
        root,
        end: machine.cursor.position(),
        storages: machine.storages,
    })
}

impl Machine<'_, '_> {
    pub(super) fn malformed(&self, problem: &'static str) -> PickleProblem {
        self.cursor.malformed(problem)
    }

    /// One instruction; the result at STOP.
    fn step(&mut self) -> Result<Option<Handle>, PickleProblem> {
        let offset = self.cursor.position();
        let opcode = self.cursor.byte()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => {
                let protocol = self.cursor.byte()?;
                if !(2..=5).contains(&protocol) {
                    return Err(self.malformed("its protocol is not 2 to 5"));
                }
            }
            0x95 => {
                // A frame; its length is of no use here.
                self.cursor.take(8)?;
            }
            b'(' => {
                if self.marks.len() >= MAX_MARKS {
                    return Err(PickleProblem::Limit {
                        what: "open marks",
                        limit: MAX_MARKS,
                    });
                }
                self.marks.push(self.stack.len());
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'N' => self.push_node(Node::None)?,
            0x88 => self.push_node(Node::Bool(true))?,
            0x89 => self.push_node(Node::Bool(false))?,
            b'K' | b'M' | b'J' | b'G' | 0x8a | 0x8b => self.number(opcode)?,
            b'X' | 0x8c | 0x8d | b'U' | b'T' => self.text(opcode)?,
            b'B' | b'C' | 0x8e | 0x96 => {
                let width = match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                };
                let range = self.cursor.counted(width)?;
                self.push_node(Node::Bytes(range))?;
            }
            b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'}' | b'd' | 0x8f | 0x91 => {
                self.container(opcode)?;
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' | 0x81 | 0x92 | b'b' => self.construct(opcode)?,
            b'Q' => self.persistent()?,
            b'q' | b'r' | 0x94 => {
                let index = match opcode {
                    b'q' => u64::from(self.cursor.byte()?),
                    b'r' => self.cursor.unsigned(4)?,
                    _ => self.memo.len() as u64,
                };
                let top = self.top()?;
                if self.memo.len() >= MAX_VALUES {
                    return Err(PickleProblem::Limit {
                        what: "remembered values",
                        limit: MAX_VALUES,
                    });
                }
                self.memo.insert(index, top);
            }
            b'h' | b'j' => {
                let index = if opcode == b'h' {
                    u64::from(self.cursor.byte()?)
                } else {
                    self.cursor.unsigned(4)?
                };
                let value = *self
                    .memo
                    .get(&index)
                    .ok_or_else(|| self.malformed("it recalls a value that was not stored"))?;
                self.push(value)?;
            }
            _ => return Err(PickleProblem::Opcode { offset, opcode }),
        }
        Ok(None)
    }

    fn number(&mut self, opcode: u8) -> Result<(), PickleProblem> {
        let node = match opcode {
            b'K' => Node::Integer(i64::from(self.cursor.byte()?)),
            b'M' => Node::Integer(self.cursor.unsigned(2)?.cast_signed()),
            b'J' => Node::Integer(i64::from((self.cursor.unsigned(4)? as u32).cast_signed())),
            b'G' => Node::Float(f64::from_bits(self.cursor.unsigned(8)?.swap_bytes())),
            _ => {
                let range = self.cursor.counted(if opcode == 0x8a { 1 } else { 4 })?;
                if range.len() > MAX_NUMBER_BYTES {
                    return Err(PickleProblem::Limit {
                        what: "bytes in a number",
                        limit: MAX_NUMBER_BYTES,
                    });
                }
                integer_from_bytes(&self.cursor.data()[range])
            }
        };
        self.push_node(node)
    }

    fn text(&mut self, opcode: u8) -> Result<(), PickleProblem> {
        let width = match opcode {
            0x8c | b'U' => 1,
            0x8d => 8,
            _ => 4,
        };
        let range = self.cursor.counted(width)?;
        let text = std::str::from_utf8(&self.cursor.data()[range])
            .map_err(|_| self.malformed("a text is not UTF-8"))?
            .to_owned();
        self.push_node(Node::Text(text))
    }

    fn container(&mut self, opcode: u8) -> Result<(), PickleProblem> {
        let node = match opcode {
            b')' => Node::Tuple(Vec::new()),
            b']' => Node::List(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            b't' => Node::Tuple(self.pop_mark()?),
            b'l' => Node::List(self.pop_mark()?),
            0x91 => Node::Set(self.pop_mark()?),
            b'd' => {
                let items = self.pop_mark()?;
                Node::Dict(self.pairs(&items)?)
            }
            _ => Node::Tuple(self.pop_many(usize::from(opcode - 0x84))?),
        };
        self.push_node(node)
    }

    /// APPEND(S), SETITEM(S), ADDITEMS: into the container below.
    fn fill(&mut self, opcode: u8) -> Result<(), PickleProblem> {
        let items = match opcode {
            b'a' => self.pop_many(1)?,
            b's' => self.pop_many(2)?,
            _ => self.pop_mark()?,
        };
        let pairs = if matches!(opcode, b's' | b'u') {
            self.pairs(&items)?
        } else {
            Vec::new()
        };
        let target = self.top()?;
        let problem = self.malformed("it fills a value that is not a matching container");
        match (self.arena.get_mut(target), opcode) {
            (Node::Dict(entries), b's' | b'u') => entries.extend(pairs),
            (Node::List(list), b'a' | b'e') => list.extend(items),
            (Node::Set(set), 0x90) => set.extend(items),
            _ => return Err(problem),
        }
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<(), PickleProblem> {
        let find = |module: &str, name: &str| {
            globals::lookup(module, name).ok_or_else(|| PickleProblem::Global {
                module: shortened(module),
                name: shortened(name),
            })
        };
        let global = if opcode == b'c' {
            find(self.cursor.line()?, self.cursor.line()?)?
        } else {
            let parts = self.pop_many(2)?;
            match (self.arena.text(parts[0]), self.arena.text(parts[1])) {
                (Some(module), Some(name)) => find(module, name)?,
                _ => return Err(self.malformed("it names a global by something other than text")),
            }
        };
        self.push_node(Node::Global(global))
    }

    /// REDUCE, NEWOBJ, NEWOBJ_EX and BUILD: nothing is called, data takes the place of the result.
    fn construct(&mut self, opcode: u8) -> Result<(), PickleProblem> {
        if opcode == b'b' {
            let state = self.pop()?;
            let target = self.top()?;
            if let Node::Object { state: slot, .. } = self.arena.get_mut(target) {
                *slot = Some(state);
            }
            return Ok(());
        }
        if opcode == 0x92 {
            // Keyword arguments, which no name on the list takes.
            self.pop()?;
        }
        let parts = self.pop_many(2)?;
        let Node::Global(class) = *self.arena.get(parts[0]) else {
            return Err(self.malformed("it makes an instance of something that is not a name"));
        };
        let arguments: Vec<Handle> = self
            .arena
            .sequence(parts[1])
            .ok_or_else(|| self.malformed("it gives arguments that are not a tuple"))?
            .iter()
            .take(MAX_ARGUMENTS)
            .copied()
            .collect();
        let result = self.reduce(class, parts[1], &arguments)?;
        self.push(result)
    }

    /// A storage by key: ("storage", type, key, location, element count).
    fn persistent(&mut self) -> Result<(), PickleProblem> {
        let id = self.pop()?;
        let problem =
            self.malformed("its storage reference is not (storage, type, key, location, count)");
        let Some([tag, kind, key, _location, elements, view @ ..]) = self.arena.sequence(id) else {
            return Err(problem);
        };
        let is_whole = view
            .iter()
            .all(|item| matches!(self.arena.get(*item), Node::None));
        let elements = self
            .arena
            .integer(*elements)
            .and_then(|count| usize::try_from(count).ok());
        let (Some("storage"), Node::Global(Global::Storage(kind)), Some(key), Some(elements), true) = (
            self.arena.text(*tag),
            self.arena.get(*kind),
            self.arena.text(*key),
            elements,
            is_whole,
        ) else {
            return Err(problem);
        };
        if key.len() > MAX_KEY_BYTES {
            return Err(self.malformed("the key of a storage is longer than PyTorch's are"));
        }
        let (kind, key) = (*kind, key.to_owned());
        if *self.storages.entry(key.clone()).or_insert((kind, elements)) != (kind, elements) {
            return Err(self.malformed("it refers to one storage in two ways"));
        }
        self.push_node(Node::Storage(Box::new(Storage {
            key,
            kind,
            elements,
            bytes: None,
        })))
    }

    fn pairs(&self, items: &[Handle]) -> Result<Vec<(Handle, Handle)>, PickleProblem> {
        if !items.len().is_multiple_of(2) {
            return Err(self.malformed("a dictionary has a key without a value"));
        }
        Ok(items
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect())
    }

    pub(super) fn push_node(&mut self, node: Node) -> Result<(), PickleProblem> {
        let handle = self.arena.add(node)?;
        self.push(handle)
    }

    fn push(&mut self, handle: Handle) -> Result<(), PickleProblem> {
        if self.stack.len() >= MAX_VALUES {
            return Err(PickleProblem::Limit {
                what: "values on its stack",
                limit: MAX_VALUES,
            });
        }
        self.stack.push(handle);
        Ok(())
    }

    /// Lowest stack position that may be popped: values below the last mark belong to what it opened in.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Handle, PickleProblem> {
        self.stack[self.floor()..]
            .last()
            .copied()
            .ok_or_else(|| self.malformed("its stack is empty"))
    }

    fn pop(&mut self) -> Result<Handle, PickleProblem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Handle>, PickleProblem> {
        if self.stack.len() - self.floor() < count {
            return Err(self.malformed("its stack is empty"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_mark(&mut self) -> Result<Vec<Handle>, PickleProblem> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| self.malformed("it closes a mark that is not open"))?;
        Ok(self.stack.split_off(mark))
    }
}

fn integer_from_bytes(bytes: &[u8]) -> Node {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    if bytes.len() > 8 {
        return Node::LargeInteger(bytes.to_vec());
    }
    let mut extended = [if negative { 0xff } else { 0 }; 8];
    extended[..bytes.len()].copy_from_slice(bytes);
    Node::Integer(i64::from_le_bytes(extended))
}
