//! Faults of the store on PostgreSQL.

mod encoding;
mod privileges;
