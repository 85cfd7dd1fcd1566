//! The contract that every store keeps, what stores share to keep it, and the suite that proves they do.
//!
//! A store is one folder beside this one; it names `model` and `store` only. So does a layer.

mod contract;
mod judge;
mod range;
mod source;
pub mod suite;

pub use contract::{Finding, Report, Store, Task};
pub use judge::{Judged, Limits, Moment, judge};
pub use range::{bounds, page};
pub use source::{Row, Rows, Source, Unfit};
