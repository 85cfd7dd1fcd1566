//! Shared by the targets: an API over a store in memory, requests as lines of text, servers on sockets, a file system in
//! memory, and the comparison with other YAML readers. The targets are in `bin/`.

pub mod api;
pub mod disk;
pub mod served;
pub mod yaml_readers;
