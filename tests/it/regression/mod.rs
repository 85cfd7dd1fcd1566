//! What was once wrong, found from outside: one file for each behaviour that these tests protect.

mod bodies;
mod dates;
mod descriptors;
mod fastcgi;
mod held_lock;
mod shares;
mod status;
mod stopping;
