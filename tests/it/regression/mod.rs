//! What was once wrong, found from outside: one file for each behaviour that these tests protect.

mod bodies;
mod data_file_locks;
mod dates;
mod descriptors;
mod fastcgi;
mod full_disk;
mod held_lock;
mod many_watched;
mod rights;
mod shares;
mod status;
mod stopping;
mod unfit_files;
