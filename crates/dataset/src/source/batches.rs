//! The Python version of CIFAR: pickles of protocol 2 that hold a dictionary with an array of bytes and lists.
//!
//! A pickle is a program for a small stack machine. This one knows the instructions that such a dictionary takes and
//! no others; an object of a class is nothing but the values that it was built from, and nothing is ever called.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The most values that a file may build, far more than CIFAR's 50,000 names and labels.
const MOST_VALUES: usize = 2_000_000;

/// A value of a pickle. Lists, dictionaries and objects are shared, since a pickle can refer to them again.
#[derive(Clone)]
enum Value<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
    Nothing,
    Mark,
    Tuple(Rc<Vec<Value<'a>>>),
    List(Rc<RefCell<Vec<Value<'a>>>>),
    Table(Rc<RefCell<Vec<(Value<'a>, Value<'a>)>>>),
    /// What its state was set to.
    Object(Rc<RefCell<Value<'a>>>),
}

/// A batch's dictionary.
pub(super) struct Batch<'a>(Vec<(&'a [u8], Value<'a>)>);

impl<'a> Batch<'a> {
    /// Reads a pickle.
    pub(super) fn read(pickle: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine {
            rest: pickle,
            stack: Vec::new(),
            memo: HashMap::new(),
            built: 0,
        };
        let Value::Table(table) = machine.run()? else {
            return Err("it is a pickle, but not of a dictionary".to_owned());
        };
        let entries = table.borrow();
        let named = entries.iter().filter_map(|(key, value)| match key {
            Value::Bytes(key) => Some((*key, value.clone())),
            _ => None,
        });
        Ok(Self(named.collect()))
    }

    fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0
            .iter()
            .find(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| value)
    }

    /// The bytes of the array of that name.
    pub(super) fn array(&self, key: &str) -> Option<&'a [u8]> {
        let Value::Object(state) = self.get(key)? else {
            return None;
        };
        // An array is built from its version, shape, type, order and bytes.
        match &*state.borrow() {
            Value::Tuple(parts) => match parts.last()? {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            },
            _ => None,
        }
    }

    /// The whole numbers of the list of that name.
    pub(super) fn integers(&self, key: &str) -> Option<Vec<u32>> {
        let Value::List(list) = self.get(key)? else {
            return None;
        };
        let number = |value: &Value<'_>| match value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        list.borrow().iter().map(number).collect()
    }

    /// The texts of the list of that name.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let Value::List(list) = self.get(key)? else {
            return None;
        };
        let text = |value: &Value<'_>| match value {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        list.borrow().iter().map(text).collect()
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    memo: HashMap<u32, Value<'a>>,
    built: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value<'a>, String> {
        loop {
            self.built += 1;
            if self.built > MOST_VALUES {
                return Err("it builds more values than any batch has".to_owned());
            }
            let code = self.byte()?;
            match code {
                // The version, of one byte.
                0x80 => drop(self.take(1)?),
                b'.' => return self.pop(),
                b'(' => self.stack.push(Value::Mark),
                b'N' => self.stack.push(Value::Nothing),
                0x88 | 0x89 => self.stack.push(Value::Integer(i64::from(code == 0x88))),
                b'K' => {
                    let value = self.byte()?.into();
                    self.stack.push(Value::Integer(value));
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.fixed()?).into();
                    self.stack.push(Value::Integer(value));
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.fixed()?).into();
                    self.stack.push(Value::Integer(value));
                }
                b'U' | b'C' => {
                    let length = self.byte()?.into();
                    let bytes = self.take(length)?;
                    self.stack.push(Value::Bytes(bytes));
                }
                b'T' | b'X' | b'B' => {
                    let length = u32::from_le_bytes(self.fixed()?) as usize;
                    let bytes = self.take(length)?;
                    self.stack.push(Value::Bytes(bytes));
                }
                b']' => self.stack.push(Value::List(Rc::default())),
                b'}' => self.stack.push(Value::Table(Rc::default())),
                b')' => self.stack.push(Value::Tuple(Rc::default())),
                b't' => {
                    let items = self.above_mark()?;
                    self.stack.push(Value::Tuple(Rc::new(items)));
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or_else(short)?;
                    let items = self.stack.split_off(start);
                    self.stack.push(Value::Tuple(Rc::new(items)));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.above_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let start = self.stack.len().checked_sub(2).ok_or_else(short)?;
                    let items = self.stack.split_off(start);
                    self.set(&items)?;
                }
                b'u' => {
                    let items = self.above_mark()?;
                    self.set(&items)?;
                }
                b'q' | b'r' => {
                    let place = self.place(code == b'q')?;
                    let top = self.stack.last().ok_or_else(short)?.clone();
                    self.memo.insert(place, top);
                }
                b'h' | b'j' => {
                    let place = self.place(code == b'h')?;
                    let value = self.memo.get(&place).cloned();
                    self.stack.push(value.ok_or_else(short)?);
                }
                // A class by its module and name, each on a line.
                b'c' => {
                    for _ in 0..2 {
                        let end = self.rest.iter().position(|byte| *byte == b'\n');
                        self.take(end.ok_or_else(short)? + 1)?;
                    }
                    self.stack.push(Value::Nothing);
                }
                // A call is an object of no state yet.
                b'R' => {
                    let (_arguments, _class) = (self.pop()?, self.pop()?);
                    let state = Rc::new(RefCell::new(Value::Nothing));
                    self.stack.push(Value::Object(state));
                }
                b'b' => {
                    let state = self.pop()?;
                    let Some(Value::Object(object)) = self.stack.last() else {
                        return Err("it sets the state of what is not an object".to_owned());
                    };
                    *object.borrow_mut() = state;
                }
                other => {
                    return Err(format!(
                        "it has the instruction {other:#04x}, which CIFAR's pickles do not have"
                    ));
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(*self.take(N)?.first_chunk().ok_or_else(short)?)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn place(&mut self, short: bool) -> Result<u32, String> {
        Ok(if short {
            self.byte()?.into()
        } else {
            u32::from_le_bytes(self.fixed()?)
        })
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        self.stack.pop().ok_or_else(short)
    }

    /// The values above the last mark, which goes too.
    fn above_mark(&mut self) -> Result<Vec<Value<'a>>, String> {
        let mark = self
            .stack
            .iter()
            .rposition(|value| matches!(value, Value::Mark))
            .ok_or_else(short)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Result<(), String> {
        let Some(Value::List(list)) = self.stack.last() else {
            return Err("it appends to what is not a list".to_owned());
        };
        list.borrow_mut().extend(items);
        Ok(())
    }

    fn set(&mut self, items: &[Value<'a>]) -> Result<(), String> {
        let Some(Value::Table(table)) = self.stack.last() else {
            return Err("it sets items of what is not a dictionary".to_owned());
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(short());
        }
        let pairs = pairs.iter().cloned().map(|[key, value]| (key, value));
        table.borrow_mut().extend(pairs);
        Ok(())
    }
}

fn short() -> String {
    "it is a damaged pickle".to_owned()
}
