//! Real faults of the machine under a real server: the disk, its calls, the files, the clock, and the limits of the
//! system.
//!
//! `table` says what a fault is, and the files that end in `_faults` list them with what is documented for each.
//! `scenario` runs one of them under writers and readers, `machine` is the server with what can be done to it,
//! `clients` write and read and remember what they were told, `nothing_lost` runs all faults, and `soak` repeats random
//! ones. `idle` has many connections at once, and in `memory` there is little memory (`container`), or no more.

mod call_faults;
mod clients;
mod container;
mod disk_faults;
mod file_faults;
mod idle;
mod kept_connection;
mod machine;
mod memory;
mod nothing_lost;
mod other_faults;
mod scenario;
mod soak;
mod table;
