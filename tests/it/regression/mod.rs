//! What was once wrong, found from outside: one file for each behaviour that these tests protect.

mod held_lock;
