//! The store on PostgreSQL, or on what speaks its language: for several machines, or more than one file can carry.
//!
//! A bucket has a row in `<table>_buckets`, which holds its revision, and its entries in `<table>`. Who writes changes that
//! row first, so the writes of a bucket go one after another, its revision never goes back, and one statement reads
//! entries and revision of the same moment. Every statement begins with the bucket, so that clusters which distribute
//! tables by it find all of a bucket on one node.
//!
//! From the outside in: `store` answers the contract; `queue` gathers the batches that wait, `commit` and `once`
//! carry them out, `judged` decides; `gather`, `get` and `read` are for reads, `wait`, `listen` and `upkeep` are the
//! rest; `engine`, `encoding`, `permission` and `fault` are about connections, `statements`, `row` and `schema` about SQL, `url` and `tls` about
//! settings. `foreign` reads the tables of other programs. What it does is described in `docs/postgres.md`.

mod commit;
mod encoding;
mod engine;
mod fault;
mod foreign;
mod gather;
mod get;
mod judged;
mod listen;
mod once;
mod permission;
mod queue;
mod read;
mod row;
mod schema;
mod statements;
mod store;
mod tls;
mod upkeep;
mod url;
mod wait;

pub use foreign::{ForeignTable, Layout};
pub use store::{Options, PostgresStore};
pub use url::{check_url, place_of, without_password};
