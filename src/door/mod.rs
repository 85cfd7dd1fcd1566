//! Bytes to requests and responses to bytes: FastCGI, CGI and plain HTTP, and the sockets they come over.
//!
//! A door knows no verb, no key and no store. It gives every request to the same Router in the same shape: the method,
//! the path below the place where the program is mounted and the query exactly as sent, the headers, a body that is
//! whole (or is never given), and who sent it. A body that may have been cut on its way is refused here; the Router never sees one.

pub mod cgi;
pub mod fastcgi;
pub mod http;

mod accept;
mod activated;
mod address;
mod awaited;
mod buffer;
mod call;
mod forwarded;
mod gateway;
mod head;
mod heads;
mod length;
mod limits;
mod listen;
mod mount;
mod output;
mod print;
mod recall;
mod records;
mod refusal;
mod serial;
mod spawned;
mod stop;
mod stream;
mod target;
mod variables;
mod wire;

pub use activated::Activated;
pub use address::Address;
pub use call::App;
pub use forwarded::Proxy;
pub use limits::{Limits, connections_allowed};
pub use listen::{Listener, SOCKET_MODE};
pub use mount::Mount;
pub use spawned::Spawned;
pub use stop::stop_on_signals;
