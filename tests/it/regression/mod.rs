//! What was once wrong, found from outside: one file for each behaviour that these tests protect.

mod auth_file;
mod bodies;
mod cross_site;
mod data_file_locks;
mod dates;
mod descriptors;
mod durable_data;
mod encoding;
mod fastcgi;
mod full_disk;
mod guessing;
mod hand_written;
mod held_lock;
mod http_dates;
mod many_watched;
mod media_types;
mod numbers;
mod programs;
mod replies;
mod responses;
mod rights;
mod shares;
mod status;
mod stopping;
mod trusted_proxies;
mod unfit_files;
