//! Starts Redis, and in front of it Webdis, which speaks HTTP, as a peer.

use std::fs;
use std::process::Command;

use super::{Servers, free_port};

/// When Redis writes to the disk.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Durability {
    /// Never: for reads.
    Memory,
    /// Before each response, as kvs does.
    Always,
}

impl Servers {
    /// Webdis over Redis, with the settings that their packages bring, except for ports, logs and durability.
    pub(crate) fn webdis(durability: Durability) -> Self {
        let mut this = Self::new();
        let (port, redis_port) = (this.port, free_port());
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &redis_port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        redis.arg("--dir").arg(this.path("run"));
        if durability == Durability::Always {
            redis.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        this.spawn(redis);
        this.wait_for(redis_port);
        let log = this.path("run/webdis.log");
        let config = format!(
            r#"{{"redis_host": "127.0.0.1", "redis_port": {redis_port}, "redis_auth": null, "http_host": "127.0.0.1",
                "http_port": {port}, "threads": 2, "daemonize": false, "database": 0,
                "acl": [{{"disabled": ["DEBUG"]}}], "verbosity": 3, "logfile": "{}"}}"#,
            log.display()
        );
        fs::write(this.path("run/webdis.json"), config).unwrap();
        this.start_webdis();
        this
    }

    /// Starts Webdis again. It may crash when its clients disconnect, as `wrk` does at the end of each turn.
    pub(crate) fn restart_webdis(&mut self) {
        self.stop_last();
        self.start_webdis();
    }

    fn start_webdis(&mut self) {
        let mut webdis = Command::new("webdis");
        webdis.arg(self.path("run/webdis.json"));
        self.spawn(webdis);
        self.wait();
    }
}
