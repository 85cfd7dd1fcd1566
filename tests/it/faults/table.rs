//! What a fault is, and what is documented about it: which responses writers and readers get, what the log and `/status`
//! name, and whether the server is ready. The faults are in `disk_faults`, `call_faults`, `file_faults` and `other_faults`.

use super::clients::End;
use super::machine::{Disk, Machine};

/// The response to a client during a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    /// Everything is done.
    Works,
    /// This status, and that nothing was stored.
    Refused(u16),
    /// It is done or refused with 507; some are refused.
    IfThereIsRoom,
    /// Nothing is acknowledged.
    Fails,
    Any,
}

impl Expected {
    pub(super) fn fits(self, end: &End) -> bool {
        match (self, end) {
            (Self::Any, _) | (Self::Works, End::Done(_)) => true,
            (Self::Refused(status), End::Refused(answer)) => answer.status == status,
            (Self::IfThereIsRoom, End::Refused(answer)) => answer.status == 507,
            (Self::IfThereIsRoom, End::Done(_)) => true,
            (Self::Fails, end) => !matches!(end, End::Done(_)),
            _ => false,
        }
    }
}

/// Ends a fault.
pub(super) type Undo = Box<dyn FnOnce(&Machine) + Send>;

/// A fault and what is documented about it.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) disk: Disk,
    pub(super) begin: fn(&Machine) -> Undo,
    /// The responses to writers of small values.
    pub(super) puts: Expected,
    pub(super) appends: Expected,
    pub(super) large: Expected,
    pub(super) reads: Expected,
    /// The status of `/status`, and words of its text.
    pub(super) status: (u16, &'static [&'static str]),
    /// The status of `/readyz`; 0 if it may be any.
    pub(super) ready: u16,
    /// How many requests of each kind are awaited.
    pub(super) requests: usize,
    /// Words of one line of the log.
    pub(super) log: &'static [&'static str],
}

/// How many requests of each kind are made in each phase.
pub(super) const REQUESTS: usize = 4;

/// The process can say nothing about itself.
pub(super) const NOT_CHECKED: (u16, &[&str]) = (0, &[]);

/// Nothing happens, so everything works.
pub(super) const NONE: Fault = Fault {
    name: "nothing",
    disk: Disk::Shared,
    begin: |_| Box::new(|_| {}),
    puts: Expected::Works,
    appends: Expected::Works,
    large: Expected::Works,
    reads: Expected::Works,
    status: (200, &["ok"]),
    ready: 200,
    requests: REQUESTS,
    log: &[],
};

/// Lets calls fail until the end of the fault.
pub(super) fn calls(machine: &Machine, lines: &str) -> Undo {
    machine.fail(lines);
    Box::new(Machine::mend)
}
