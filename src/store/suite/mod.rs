//! The suite that every store and every layer must pass: the contract, case by case.
//!
//! The tests of a store call [`run`] with a function that makes an empty store. Each case gets a store of its own. The
//! suite does not test what only some stores can do, such as keeping data after the end of the process or sharing it
//! with other processes.
//!
//! Every case is a function in one of the files of this folder; a failure names it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is test code; it lives in the library so that stores elsewhere can run it"
)]

mod batches;
mod cases;
mod clock;
mod concurrency;
mod dates;
mod expectations;
mod hostile_strings;
mod limits;
mod maintenance_cases;
mod optional_parts;
mod restores;
mod runner;
mod scans;
mod store_under_test;
mod text;
mod waiting;
mod writes;

pub use self::clock::TestClock;
pub use self::hostile_strings::{hostile_keys, hostile_strings};
pub use self::runner::run;
pub use self::store_under_test::Setup;
