//! The FastCGI server over TCP or Unix sockets: started by `mod_fcgid`, or called by `mod_proxy_fcgi`, nginx and
//! others.
//!
//! A connection answers one request at a time; there may be any number of connections. The handler is called when the
//! head of a request is complete, and gets the body when all of it has arrived. A panic of the handler is answered with
//! an error response. A web server that closes a connection ends that connection and nothing else.

pub(super) mod connection;
pub(super) mod decoder;
pub(super) mod encoder;
pub(super) mod fcgid_loop;
pub(super) mod reply;
mod responder;

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::responder::Responder;
use super::cgi::base_path::BasePath;
use super::handler::Handler;
use super::limits::ServerLimits;
use super::net::accept;
use super::net::listener::Listener;

/// Answers FastCGI on `listener` until `stop`, then drains. `base_path` also says whether the web server started the
/// program.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: H,
    base_path: BasePath,
    limits: ServerLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    let is_spawned = base_path.is_spawned();
    let responder = Arc::new(Responder::new(handler, base_path, limits, stop));
    if is_spawned {
        return fcgid_loop::run(listener, responder).await;
    }
    let (limits, stop) = (responder.limits.clone(), responder.stop.clone());
    accept::run(listener, limits, stop, move |stream| Arc::clone(&responder).serve_stream(stream)).await
}
