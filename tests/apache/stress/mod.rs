//! Apache in front of kvs under stress: restarts under load, all processes busy, slow and broken clients, and processes
//! that `mod_fcgid` ends.
//!
//! `load` has the clients and the check that each increment was done exactly once.

mod broken_clients;
mod ended_programs;
mod full_class;
mod load;
mod restarts;
mod soak;
