//! Access to a server: URL, TLS, connection pool, and the checks of the database and the role.

pub(super) mod encoding;
pub(super) mod permission;
pub(super) mod pool;
pub(super) mod store_config;
pub(super) mod tls;
pub(super) mod url;
