//! Shared by the tests: file systems and stores that fail, servers, certificates, and clients.

pub(crate) mod certificate;
pub(crate) mod disks;
pub(crate) mod doubles;
pub(crate) mod endpoint;
pub(crate) mod receiver;
pub(crate) mod served;
pub(crate) mod tally;
pub(crate) mod wait_until;
