//! Writes the lines of a log in a thread, so that no request waits for the reader of the log.
//!
//! A line that cannot be written is lost. So is a line for which the queue has no room; the log reports the number of
//! these lines as soon as it can.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::line_format::JsonSwitch;

/// The maximum number of bytes that wait to be written.
const MAX_QUEUE_BYTES: usize = 1 << 20;

/// A queue of lines. The first line starts the thread.
#[derive(Clone)]
pub(crate) struct LogWriter(Arc<WriterState>);

type WriteBytes = dyn Fn(&[u8]) + Send + Sync;

struct WriterState {
    queue: Mutex<LineQueue>,
    changed: Condvar,
    form: JsonSwitch,
    /// May block.
    write: Box<WriteBytes>,
}

#[derive(Default)]
struct LineQueue {
    waiting: Vec<u8>,
    lost: u64,
    has_thread: bool,
    is_writing: bool,
}

impl LineQueue {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0 && !self.is_writing
    }
}

impl LogWriter {
    pub(crate) fn new(form: JsonSwitch, write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(WriterState { queue: Mutex::default(), changed: Condvar::new(), form, write: Box::new(write) }))
    }

    pub(crate) fn to_stderr(form: JsonSwitch) -> Self {
        // An error cannot be reported anywhere.
        Self::new(form, |bytes| drop(std::io::stderr().lock().write_all(bytes)))
    }

    /// Adds a line and returns at once.
    pub(crate) fn push(&self, line: &[u8]) {
        let Self(shared) = self;
        let mut queue = shared.queue.lock();
        if queue.waiting.len() + line.len() > MAX_QUEUE_BYTES {
            queue.lost += 1;
            return;
        }
        queue.waiting.extend_from_slice(line);
        if !queue.has_thread {
            let thread = Arc::clone(shared);
            queue.has_thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || thread.run()).is_ok();
        }
        if !queue.has_thread {
            // The thread cannot start: write here.
            let bytes = std::mem::take(&mut queue.waiting);
            drop(queue);
            return (shared.write)(&bytes);
        }
        shared.changed.notify_all();
    }

    /// Waits until all lines are written, for at most this time.
    pub(crate) fn finish(&self, timeout: Duration) {
        let Self(shared) = self;
        let mut queue = shared.queue.lock();
        if queue.has_thread {
            shared.changed.wait_while_for(&mut queue, |queue| !queue.is_done(), timeout);
        }
    }
}

impl WriterState {
    fn run(&self) {
        let mut queue = self.queue.lock();
        loop {
            while queue.waiting.is_empty() && queue.lost == 0 {
                self.changed.wait(&mut queue);
            }
            let (bytes, lost) = (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.lost));
            queue.is_writing = true;
            drop(queue);
            (self.write)(&bytes);
            if lost > 0 {
                let text = format!("{lost} log lines are lost: they were written faster than they were read");
                (self.write)(self.form.line_of_log(&text).as_bytes());
            }
            queue = self.queue.lock();
            queue.is_writing = false;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn finish_waits_until_all_lines_are_written_in_order() {
        let written = Arc::new(Mutex::new(vec![]));
        let lines = LogWriter::new(JsonSwitch::default(), {
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
    fn push_does_not_wait_and_lost_lines_are_counted() {
        let (free, freed) = mpsc::channel::<()>();
        let (freed, written) = (Mutex::new(freed), Arc::new(Mutex::new(vec![])));
        let lines = LogWriter::new(JsonSwitch::default(), {
            let written = Arc::clone(&written);
            move |bytes| {
                // Until the other end is dropped.
                let _ = freed.lock().recv();
                written.lock().extend_from_slice(bytes);
            }
        });
        let line = [b'x'; 1 << 10];
        // The thread may have taken some of the lines out of the queue already.
        (0..3 * (MAX_QUEUE_BYTES >> 10)).for_each(|_| lines.push(&line));
        lines.finish(Duration::from_millis(10));
        assert!(written.lock().is_empty());
        drop(free);
        lines.finish(Duration::from_secs(10));
        let written = written.lock();
        let xs = memchr::memchr_iter(b'x', &written).count();
        let text = String::from_utf8_lossy(&written).into_owned();
        let lost: usize = text.split("kvs: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!((xs >> 10) + lost, 3 * (MAX_QUEUE_BYTES >> 10));
    }
}
