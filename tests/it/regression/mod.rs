//! What was once wrong, found from outside: one file for each behaviour that these tests protect.

mod descriptors;
mod fastcgi;
mod held_lock;
mod status;
mod stopping;
