//! The servers over real sockets: HTTP, FastCGI, and a program under `mod_fcgid`.

mod costs;
pub(crate) mod echo;
mod fastcgi;
pub(crate) mod fastcgi_client;
mod http;
mod response_cache;
mod under_fcgid;
