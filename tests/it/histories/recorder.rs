//! The history of one key: what was asked when, and when it was answered.

use parking_lot::Mutex;
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester};

use super::register::{Op, Register, Ret};

/// An operation of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Call(usize);

#[derive(Clone, Debug)]
struct Recorded {
    client: usize,
    op: Op,
    end: End,
}

/// How an operation ended.
#[derive(Clone, Debug)]
enum End {
    /// It may take effect at any time from its call on, or never.
    Open,
    Answered(Ret),
    NotDone,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Called(usize),
    Returned(usize),
}

/// A history while it is recorded. Its events have the order in which they happened.
#[derive(Default, Debug)]
pub(super) struct Recorder(Mutex<(Vec<Recorded>, Vec<Event>)>);

impl Recorder {
    /// Before the request is sent.
    pub(super) fn call(&self, client: usize, op: Op) -> Call {
        let (calls, events) = &mut *self.0.lock();
        calls.push(Recorded { client, op, end: End::Open });
        events.push(Event::Called(calls.len() - 1));
        Call(calls.len() - 1)
    }

    /// After the response was received.
    pub(super) fn answered(&self, call: Call, ret: Ret) {
        let (calls, events) = &mut *self.0.lock();
        calls[call.0].end = End::Answered(ret);
        events.push(Event::Returned(call.0));
    }

    /// Nothing was done, or nothing could be done by it.
    pub(super) fn not_done(&self, call: Call) {
        self.0.lock().0[call.0].end = End::NotDone;
    }

    /// The number of operations that were answered.
    pub(super) fn answers(&self) -> u64 {
        self.0.lock().1.iter().filter(|event| matches!(event, Event::Returned(_))).count() as u64
    }

    /// The number of operations of which nobody knows whether they were done.
    pub(super) fn open(&self) -> usize {
        let is_write = |op: &Op| *op != Op::Get;
        self.0.lock().0.iter().filter(|call| matches!(call.end, End::Open) && is_write(&call.op)).count()
    }

    /// Whether one copy of the key, which does one operation at a time, could have given these answers.
    pub(super) fn is_linearizable(&self) -> bool {
        let (calls, events) = &*self.0.lock();
        let mut tester = LinearizabilityTester::new(Register::default());
        // A thread that has an open operation never goes on; another one continues in its place.
        let mut open_before = vec![0; calls.len()];
        let mut count = std::collections::BTreeMap::<usize, usize>::new();
        for (number, call) in calls.iter().enumerate() {
            let open = count.entry(call.client).or_default();
            open_before[number] = *open;
            *open += usize::from(matches!(call.end, End::Open));
        }
        for event in events {
            let (Event::Called(number) | Event::Returned(number)) = event;
            let call = &calls[*number];
            let thread = (call.client, open_before[*number]);
            match (event, &call.end) {
                (_, End::NotDone) => {}
                // A read that was not answered has no effect.
                (_, End::Open) if call.op == Op::Get => {}
                (Event::Called(_), _) => drop(tester.on_invoke(thread, call.op.clone()).unwrap()),
                (Event::Returned(_), End::Answered(ret)) => drop(tester.on_return(thread, ret.clone()).unwrap()),
                (Event::Returned(_), End::Open) => unreachable!("it is answered"),
            }
        }
        tester.is_consistent()
    }

    /// What happened, for a person.
    pub(super) fn text(&self) -> String {
        let (calls, events) = &*self.0.lock();
        let line = |event: &Event| match event {
            Event::Called(number) => {
                let Recorded { client, op, end } = &calls[*number];
                format!("client {client} calls {number}: {op:?}, which ends as {end:?}\n")
            }
            Event::Returned(number) => format!("client {} has the answer of {number}\n", calls[*number].client),
        };
        events.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn a_read_that_misses_an_acknowledged_write_is_found() {
        for (value, is_right) in [(2, true), (1, false)] {
            let history = Recorder::default();
            let first = history.call(0, Op::Put(1));
            history.answered(first, Ret::Stored(1, Some(tag("a"))));
            let second = history.call(1, Op::Put(2));
            history.answered(second, Ret::Stored(2, Some(tag("b"))));
            let read = history.call(0, Op::Get);
            history.answered(read, Ret::Value(value, tag(if value == 1 { "a" } else { "b" })));
            assert_eq!(history.is_linearizable(), is_right, "{}", history.text());
        }
    }

    #[test]
    fn an_increment_that_is_counted_twice_is_found() {
        for (last, is_right) in [(2, true), (3, false)] {
            let history = Recorder::default();
            let (first, second) = (history.call(0, Op::Increment), history.call(1, Op::Increment));
            history.answered(second, Ret::Stored(1, None));
            history.answered(first, Ret::Stored(last, None));
            assert_eq!(history.is_linearizable(), is_right, "{}", history.text());
        }
    }

    #[test]
    fn an_operation_without_an_answer_may_be_done_later_or_never_but_not_twice() {
        for (reads, is_right) in
            [(vec![1, 1], true), (vec![1, 2], true), (vec![2, 2], true), (vec![2, 1], false), (vec![1, 3], false)]
        {
            let history = Recorder::default();
            let put = history.call(0, Op::Put(1));
            history.answered(put, Ret::Stored(1, Some(tag("1"))));
            history.call(1, Op::Increment);
            for value in &reads {
                let read = history.call(1, Op::Get);
                history.answered(read, Ret::Value(*value, value.to_string()));
            }
            assert_eq!(history.is_linearizable(), is_right, "{reads:?}");
        }
    }

    #[test]
    fn a_tag_that_another_write_has_replaced_does_not_match() {
        for (ret, is_right) in [(Ret::NoMatch, true), (Ret::Stored(3, None), false)] {
            let history = Recorder::default();
            for (value, name) in [(1, "a"), (2, "b")] {
                let put = history.call(0, Op::Put(value));
                history.answered(put, Ret::Stored(value, Some(tag(name))));
            }
            let swap = history.call(1, Op::PutIfMatch(tag("a"), 3));
            history.answered(swap, ret);
            assert_eq!(history.is_linearizable(), is_right, "{}", history.text());
        }
    }
}
