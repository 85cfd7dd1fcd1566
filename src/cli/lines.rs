//! The lines of a log on their way out, written by a thread of their own, so that no request ever waits for whoever
//! reads the log.
//!
//! A line that cannot be written is lost, and so is one that finds too many waiting before it. Lines that were lost for
//! want of room are counted, and the log says how many as soon as it can.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// So many bytes may wait to be written.
const MOST: usize = 1 << 20;

/// Lines in their order. The thread begins with the first of them.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

type Write = dyn Fn(&[u8]) + Send + Sync;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Writes these bytes; may take as long as it likes.
    write: Box<Write>,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    lost: u64,
    has_thread: bool,
    is_writing: bool,
}

impl State {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0 && !self.is_writing
    }
}

impl Lines {
    pub(super) fn new(write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), write: Box::new(write) }))
    }

    /// To standard error.
    pub(super) fn to_stderr() -> Self {
        // There is nowhere to say that it failed.
        Self::new(|bytes| drop(std::io::stderr().lock().write_all(bytes)))
    }

    /// Takes a line; never waits for it to be written.
    pub(super) fn push(&self, line: &[u8]) {
        let Self(shared) = self;
        let mut state = shared.state.lock();
        if state.waiting.len() + line.len() > MOST {
            state.lost += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        if !state.has_thread {
            let thread = Arc::clone(shared);
            state.has_thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || thread.run()).is_ok();
        }
        if !state.has_thread {
            // No thread can be had: better late than never.
            let bytes = std::mem::take(&mut state.waiting);
            drop(state);
            return (shared.write)(&bytes);
        }
        shared.changed.notify_all();
    }

    /// Waits until all lines are written, but no longer than that.
    pub(super) fn finish(&self, most: Duration) {
        let Self(shared) = self;
        let mut state = shared.state.lock();
        if state.has_thread {
            shared.changed.wait_while_for(&mut state, |state| !state.is_done(), most);
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            while state.waiting.is_empty() && state.lost == 0 {
                self.changed.wait(&mut state);
            }
            let (bytes, lost) = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.lost));
            state.is_writing = true;
            drop(state);
            (self.write)(&bytes);
            if lost > 0 {
                (self.write)(
                    format!("kvs: {lost} lines of the log are lost: they came faster than they were read\n").as_bytes(),
                );
            }
            state = self.state.lock();
            state.is_writing = false;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn lines_are_written_in_their_order_before_the_end() {
        let written = Arc::new(Mutex::new(vec![]));
        let lines = Lines::new({
            let written = Arc::clone(&written);
            move |bytes| written.lock().extend_from_slice(bytes)
        });
        lines.finish(Duration::from_secs(10));
        (0..1000).for_each(|n| lines.push(format!("{n}\n").as_bytes()));
        lines.finish(Duration::from_secs(10));
        let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(written.lock().clone()).unwrap(), expected);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_has_stopped_and_what_is_lost_is_counted() {
        let (free, freed) = mpsc::channel::<()>();
        let (freed, written) = (Mutex::new(freed), Arc::new(Mutex::new(vec![])));
        let lines = Lines::new({
            let written = Arc::clone(&written);
            move |bytes| {
                // Until the other end is dropped.
                let _ = freed.lock().recv();
                written.lock().extend_from_slice(bytes);
            }
        });
        let line = [b'x'; 1 << 10];
        // One write may have taken some of them out of the room already.
        (0..3 * (MOST >> 10)).for_each(|_| lines.push(&line));
        lines.finish(Duration::from_millis(10));
        assert!(written.lock().is_empty());
        drop(free);
        lines.finish(Duration::from_secs(10));
        let written = written.lock();
        let xs = memchr::memchr_iter(b'x', &written).count();
        let told = String::from_utf8_lossy(&written).into_owned();
        let lost: usize = told.split("kvs: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!((xs >> 10) + lost, 3 * (MOST >> 10));
    }
}
