//! Sockets: addresses, listeners, and connections.

pub(super) mod accept;
pub(super) mod address;
pub(super) mod listener;
pub(super) mod stream;
pub(super) mod systemd;
pub(super) mod workers;
