//! The servers: HTTP/1, FastCGI and CGI, and the sockets that they listen on.
//!
//! They turn bytes into requests and responses into bytes, and know no API method, key or store. Every request reaches
//! the [`Handler`] in the same form: the method, the path below the base path and the query exactly as sent, the
//! headers, the client's address, and a body that is complete or never arrives. A body that may have been cut short is
//! rejected here.

mod body_buffer;
pub mod cgi;
mod error_response;
pub mod fastcgi;
mod handler;
pub mod http1;
mod launch;
mod lazy_body;
mod limits;
mod net;
mod request_target;
mod response_cache;
mod shutdown;

pub use self::cgi::base_path::BasePath;
pub use self::handler::Handler;
pub use self::http1::forwarded::Proxy;
pub use self::launch::Launch;
pub use self::limits::{ServerLimits, connections_allowed};
pub use self::net::address::Address;
pub use self::net::listener::{Listener, SOCKET_MODE};
pub use self::net::systemd::Activated;
pub use self::net::workers::{WorkerRuntimes, Workers};
pub use self::shutdown::stop_on_signals;
