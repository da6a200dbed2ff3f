//! A machine for the part of the pickle protocol that `torch.save` needs, which can build data and do nothing else.
//!
//! Values live in one vector of nodes and refer to each other by index, so that neither depth nor cycles matter:
//! nothing here recurses, and everything is freed at once.

use std::collections::HashMap;

use super::{
    Fault,
    globals::{Element, Global},
    reader::Reader,
};

/// Nodes, and entries of the memo, that a pickle may make. VideoMAE-huge with the optimiser's state makes about
/// ten thousand; this many take some tens of megabytes.
const MAX_NODES: usize = 1 << 20;
/// Values and marks that a pickle may push. A log of a million numbers beside the weights is still read.
const MAX_PUSHES: usize = 1 << 22;

/// A value on the machine's stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Str(&'a str),
    Global(Global),
    Node(usize),
    /// A float, bytes, a set, or an object of no interest.
    Ignored,
}

/// A value that holds others.
#[derive(Debug, PartialEq)]
pub(super) enum Node<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Storage<'a>),
    Tensor(Box<StridedTensor<'a>>),
}

/// Where elements lie: all of a record of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) record: &'a str,
    pub(super) element: Element,
    /// In elements.
    pub(super) length: usize,
}

/// A tensor as torch describes it. Nothing in it has been checked against its storage.
#[derive(Debug, PartialEq)]
pub(super) struct StridedTensor<'a> {
    pub(super) storage: Storage<'a>,
    /// The first element, and the steps from one index to the next, in elements.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What a pickle made.
#[derive(Debug)]
pub(super) struct Unpickled<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Value<'a>,
    /// Bytes read, up to and with the last instruction.
    pub(super) length: usize,
}

impl<'a> Unpickled<'a> {
    pub(super) fn node(&self, value: Value<'a>) -> Option<&Node<'a>> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }
}

/// Runs a pickle up to its end.
pub(super) fn unpickle(bytes: &[u8]) -> Result<Unpickled<'_>, Fault> {
    let mut machine = Machine {
        reader: Reader::new(bytes),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        nodes: Vec::new(),
        pushes: 0,
    };
    loop {
        let opcode = machine.reader.u8()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Unpickled { nodes: machine.nodes, root, length: machine.reader.position() });
        }
        machine.step(opcode)?;
    }
}

struct Machine<'a> {
    reader: Reader<'a>,
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    nodes: Vec<Node<'a>>,
    pushes: usize,
}

impl<'a> Machine<'a> {
    /// One instruction. Letters are those of Python's `pickletools`.
    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            // The protocol's number and the length of a frame: everything that matters is checked as it is read.
            0x80 => drop(self.reader.u8()?),
            0x95 => drop(self.reader.array::<8>()?),
            b'(' => {
                self.count_push()?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.pop()?;
                self.push(top)?;
                self.push(top)?;
            }
            b'h' | b'j' | b'q' | b'r' | 0x94 => self.memo(opcode)?,
            b't' | b')' | 0x85..=0x87 => self.tuple(opcode)?,
            b']' => self.push_node(Node::List(Vec::new()))?,
            b'}' => self.push_node(Node::Dict(Vec::new()))?,
            b'a' | b'e' | b's' | b'u' => self.fill(opcode)?,
            // Sets: made empty, filled, or frozen. None holds tensors.
            0x8f => self.push(Value::Ignored)?,
            0x90 => drop(self.pop_to_mark()?),
            0x91 => {
                self.pop_to_mark()?;
                self.push(Value::Ignored)?;
            }
            b'c' | 0x93 => self.global(opcode)?,
            b'R' | 0x81 | 0x92 | b'b' => self.call(opcode)?,
            b'Q' => self.persistent()?,
            _ => self.literal(opcode)?,
        }
        Ok(())
    }

    /// Numbers, text and bytes.
    fn literal(&mut self, opcode: u8) -> Result<(), Fault> {
        let reader = &mut self.reader;
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(reader.array()?).into()),
            b'K' => Value::Int(reader.u8()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(reader.array()?).into()),
            b'G' => {
                reader.array::<8>()?;
                Value::Ignored
            }
            0x8a => {
                let length = reader.u8()?.into();
                integer(reader.take(length)?)
            }
            0x8b => {
                let length = reader.length_4()?;
                integer(reader.take(length)?)
            }
            0x8c | b'U' => {
                let length = reader.u8()?.into();
                Value::Str(reader.text(length)?)
            }
            b'X' | b'T' => {
                let length = reader.length_4()?;
                Value::Str(reader.text(length)?)
            }
            0x8d => {
                let length = reader.length_8()?;
                Value::Str(reader.text(length)?)
            }
            b'C' => {
                let length = reader.u8()?.into();
                reader.take(length)?;
                Value::Ignored
            }
            b'B' => {
                let length = reader.length_4()?;
                reader.take(length)?;
                Value::Ignored
            }
            0x8e | 0x96 => {
                let length = reader.length_8()?;
                reader.take(length)?;
                Value::Ignored
            }
            other => {
                return Err(reader.fault("an instruction that torch.save writes", format!("{other:#04x}")));
            }
        };
        self.push(value)
    }

    fn memo(&mut self, opcode: u8) -> Result<(), Fault> {
        let index = match opcode {
            b'h' | b'q' => self.reader.u8()?.into(),
            b'j' | b'r' => self.reader.length_4()?,
            _ => self.memo.len(),
        };
        if matches!(opcode, b'h' | b'j') {
            let Some(&value) = self.memo.get(&index) else {
                return Err(self.reader.fault("a value that was remembered", format!("none under {index}")));
            };
            return self.push(value);
        }
        if self.memo.len() >= MAX_NODES {
            return Err(self.reader.fault(format!("at most {MAX_NODES} remembered values"), "more"));
        }
        let top = self.pop()?;
        self.memo.insert(index, top);
        self.push(top)
    }

    fn tuple(&mut self, opcode: u8) -> Result<(), Fault> {
        let items = match opcode {
            b')' => Vec::new(),
            b't' => self.pop_to_mark()?,
            _ => self.pop_many(usize::from(opcode - 0x84))?,
        };
        self.push_node(Node::Tuple(items))
    }

    /// Puts values into the list or dictionary below them.
    fn fill(&mut self, opcode: u8) -> Result<(), Fault> {
        let items = match opcode {
            b'a' => self.pop_many(1)?,
            b's' => self.pop_many(2)?,
            _ => self.pop_to_mark()?,
        };
        let pairs = matches!(opcode, b's' | b'u');
        let target = self.pop()?;
        self.push(target)?;
        let node = match target {
            Value::Ignored => return Ok(()),
            Value::Node(index) => self.nodes.get_mut(index),
            _ => None,
        };
        match node {
            Some(Node::List(list)) if !pairs => list.extend(items),
            Some(Node::Dict(dict)) if pairs && items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => {
                let expected =
                    if pairs { "a dictionary below keys and values" } else { "a list below values" };
                return Err(self.reader.fault(expected, "something else"));
            }
        }
        Ok(())
    }

    /// A name. Most attacks end here.
    fn global(&mut self, opcode: u8) -> Result<(), Fault> {
        let (module, name) = match opcode {
            b'c' => (self.reader.line()?, self.reader.line()?),
            _ => match self.pop_many(2)?[..] {
                [Value::Str(module), Value::Str(name)] => (module, name),
                _ => return Err(self.reader.fault("a module and a name", "something else")),
            },
        };
        let Some(global) = Global::lookup(module, name) else {
            let nearest = self.stack.iter().rev().find_map(|value| match value {
                Value::Str(key) => Some(format!(" under the key {key:?}")),
                _ => None,
            });
            let found = format!("{:?}{}", format!("{module}.{name}"), nearest.unwrap_or_default());
            let expected = "names that rebuild tensors, and none that could run something";
            return Err(self.reader.fault(expected, found));
        };
        self.push(global.value())
    }

    /// A call, the making of an object, or the setting of its state.
    fn call(&mut self, opcode: u8) -> Result<(), Fault> {
        // The keyword arguments of NEWOBJ_EX.
        if opcode == 0x92 {
            self.pop()?;
        }
        let arguments = self.pop()?;
        let callee = self.pop()?;
        // State adds nothing to what has been built: an `OrderedDict` has the versions of modules there.
        let value = if opcode == b'b' { callee } else { self.rebuild(callee, arguments)? };
        self.push(value)
    }

    fn rebuild(&mut self, callee: Value<'a>, arguments: Value<'a>) -> Result<Value<'a>, Fault> {
        let items = match self.items(arguments) {
            Some(items) => items,
            None => return Err(self.reader.fault("a tuple of arguments", "something else")),
        };
        match (callee, items) {
            (Value::Ignored, _) => Ok(Value::Ignored),
            (Value::Global(Global::Dict), []) => self.add_node(Node::Dict(Vec::new())),
            (Value::Global(Global::RebuildParameter), [tensor, ..]) => Ok(*tensor),
            (Value::Global(Global::RebuildFromType), [function, _, inner, ..]) => {
                // One level, so that a chain of them cannot recurse.
                match (*function, *inner) {
                    (Value::Global(Global::RebuildTensor), inner) => self.tensor(inner),
                    _ => Err(self.reader.fault("a function that rebuilds a tensor", "something else")),
                }
            }
            (Value::Global(Global::RebuildTensor), _) => self.tensor(arguments),
            (callee, items) => {
                let found = format!("{callee:?} with {} arguments", items.len());
                Err(self.reader.fault("a call that rebuilds a tensor or an empty dictionary", found))
            }
        }
    }

    fn tensor(&mut self, arguments: Value<'a>) -> Result<Value<'a>, Fault> {
        let parsed = || {
            let [storage, Value::Int(offset), shape, strides, ..] = self.items(arguments)? else {
                return None;
            };
            let Value::Node(storage) = *storage else { return None };
            let Node::Storage(storage) = *self.nodes.get(storage)? else { return None };
            let sizes = |value| {
                let size = |item: &Value<'_>| match *item {
                    Value::Int(size) => usize::try_from(size).ok(),
                    _ => None,
                };
                self.items(value)?.iter().map(size).collect::<Option<Vec<usize>>>()
            };
            let (shape, strides) = (sizes(*shape)?, sizes(*strides)?);
            let offset = usize::try_from(*offset).ok()?;
            Some(StridedTensor { storage, offset, shape, strides })
        };
        let Some(tensor) = parsed() else {
            let expected = "a storage, an offset, sizes and strides, none negative";
            return Err(self.reader.fault(expected, "something else"));
        };
        self.add_node(Node::Tensor(Box::new(tensor)))
    }

    /// A reference to something outside the pickle: torch has storages there.
    fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        // Files from before torch 1.6 add what a view of a view would need, which is nothing.
        let parsed = match self.items(id) {
            Some([items @ .., Value::None] | items) => match items {
                [
                    Value::Str("storage"),
                    Value::Global(Global::Storage(element)),
                    Value::Str(record),
                    Value::Str(_),
                    Value::Int(length),
                ] => {
                    usize::try_from(*length).ok().map(|length| Storage { record, element: *element, length })
                }
                _ => None,
            },
            None => None,
        };
        match parsed {
            Some(storage) => self.push_node(Node::Storage(storage)),
            None => Err(self.reader.fault("(\"storage\", type, name, device, length)", "something else")),
        }
    }

    fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Node(index) => match self.nodes.get(index) {
                Some(Node::Tuple(items) | Node::List(items)) => Some(items),
                _ => None,
            },
            // `torch.Size` is called with a tuple, but mentioned as an object of no interest.
            _ => None,
        }
    }

    fn push_node(&mut self, node: Node<'a>) -> Result<(), Fault> {
        let value = self.add_node(node)?;
        self.push(value)
    }

    fn add_node(&mut self, node: Node<'a>) -> Result<Value<'a>, Fault> {
        if self.nodes.len() >= MAX_NODES {
            return Err(self.reader.fault(format!("at most {MAX_NODES} objects"), "more"));
        }
        self.nodes.push(node);
        Ok(Value::Node(self.nodes.len() - 1))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Fault> {
        self.count_push()?;
        self.stack.push(value);
        Ok(())
    }

    fn count_push(&mut self) -> Result<(), Fault> {
        self.pushes += 1;
        if self.pushes > MAX_PUSHES {
            return Err(self.reader.fault(format!("at most {MAX_PUSHES} values"), "more"));
        }
        Ok(())
    }

    /// The top, which lies above the last mark.
    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => Ok(self.stack.pop().unwrap_or(Value::None)),
            false => Err(self.reader.fault("a value", "an empty stack")),
        }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|&start| start >= floor) {
            Some(start) => Ok(self.stack.split_off(start)),
            None => Err(self.reader.fault(format!("{count} values"), "fewer")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.reader.fault("a mark below values", "none")),
        }
    }
}

/// A little-endian integer of any length. Beyond 64 bits lie hashes and the like, which no tensor needs.
fn integer(bytes: &[u8]) -> Value<'static> {
    if bytes.len() > 8 {
        return Value::Ignored;
    }
    let negative = bytes.last().is_some_and(|&last| last & 0x80 != 0);
    let mut extended = [if negative { 0xff } else { 0 }; 8];
    extended[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(extended))
}
