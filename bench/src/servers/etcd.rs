//! Starts etcd as a peer: one member, which speaks JSON over HTTP through its gateway.

use std::process::Command;

use super::{Servers, free_port};
use crate::client;

impl Servers {
    pub(crate) fn etcd() -> Self {
        let mut this = Self::new();
        let url = format!("http://127.0.0.1:{}", this.port);
        let peers = format!("http://127.0.0.1:{}", free_port());
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(this.path("run/etcd"));
        etcd.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        etcd.args(["--initial-cluster", &format!("default={peers}"), "--logger", "zap", "--log-level", "error"]);
        this.spawn(etcd);
        let port = this.port;
        this.wait();
        this.until("etcd", || client::try_answer(port, &client::get("/health")).is_some_and(|a| a.contains("true")));
        this
    }
}
