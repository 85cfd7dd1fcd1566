//! Starts nginx as a peer.

use std::fs;
use std::process::Command;

use super::Servers;

impl Servers {
    /// nginx, with a file of this content at `/value`.
    pub(crate) fn nginx(value: &str) -> Self {
        let mut this = Self::new();
        let (run, site, port) = (this.path("run"), this.path("site"), this.port);
        fs::write(site.join("value"), value).unwrap();
        let (run, site) = (run.display(), site.display());
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders: String = folders.iter().map(|name| format!("{name}_temp_path {run}/{name};\n")).collect();
        let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
        let config = format!(
            "{user}daemon off;\npid {run}/nginx.pid;\nerror_log stderr;\nworker_processes auto;\nevents {{}}\nhttp {{\n\
             {folders}access_log off;\nkeepalive_requests 1000000000;\ndefault_type text/plain;\n\
             open_file_cache max=10;\nserver {{ listen 127.0.0.1:{port} reuseport; root {site}; }}\n}}\n"
        );
        fs::write(this.path("run/nginx.conf"), config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(this.path("run/nginx.conf"));
        this.spawn(command);
        this.wait();
        this
    }
}
