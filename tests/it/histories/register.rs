//! One key as a register: the operations of clients, their answers, and what a single copy of it would answer.

use stateright::semantics::SequentialSpec;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Get,
    Put(i64),
    /// Puts a value if the entry has this tag.
    PutIfMatch(String, i64),
    Delete,
    Increment,
}

/// The response. A tag identifies a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ret {
    Value(i64, String),
    Missing,
    /// The value that is stored now, and its tag, if the answer has it.
    Stored(i64, Option<String>),
    Deleted,
    NoMatch,
}

/// The only copy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Register(Option<Held>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    value: i64,
    /// `None`: no answer has named it yet.
    tag: Option<String>,
}

impl Register {
    fn store(&mut self, value: i64) -> Ret {
        self.0 = Some(Held { value, tag: None });
        Ret::Stored(value, None)
    }
}

impl SequentialSpec for Register {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match (op, &self.0) {
            (Op::Get, None) => Ret::Missing,
            (Op::Get, Some(held)) => Ret::Value(held.value, held.tag.clone().unwrap_or_default()),
            (Op::Put(value), _) => self.store(*value),
            (Op::PutIfMatch(tag, value), Some(held)) if held.tag.as_ref() == Some(tag) => self.store(*value),
            // A tag that nobody has seen cannot be asked for.
            (Op::PutIfMatch(..), _) => Ret::NoMatch,
            (Op::Delete, None) => Ret::Missing,
            (Op::Delete, Some(_)) => {
                self.0 = None;
                Ret::Deleted
            }
            (Op::Increment, held) => {
                let next = held.as_ref().map_or(0, |held| held.value) + 1;
                self.store(next)
            }
        }
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        match (self.invoke(op), ret, &mut self.0) {
            (Ret::Value(value, _), Ret::Value(found, tag), Some(held)) => {
                value == *found && held.tag.get_or_insert_with(|| tag.clone()) == tag
            }
            (Ret::Stored(value, _), Ret::Stored(found, tag), Some(held)) => {
                held.tag.clone_from(tag);
                value == *found
            }
            (answer, found, _) => answer == *found,
        }
    }
}
