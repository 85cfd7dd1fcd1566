//! Faults of the YAML store.

mod data_file_locks;
mod descriptors;
mod durable_data;
mod file_permissions;
mod full_disk;
mod hand_written;
mod held_lock;
mod invalid_files;
mod lost_records;
mod many_watched;
mod reported_faults;
mod unrecorded_edits;
mod yaml_values;
