//! kvs and its peers behind one Apache: the same settings, the same `.htaccess`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Servers, give_to_web_server};
use crate::{client, places};

/// The number of connections, and the most processes of each program under `mod_fcgid`.
pub(crate) const CONNECTIONS: usize = 16;

/// The threads of the C program behind `mod_proxy_fcgi`: with reuse one for each connection that Apache may keep.
const THREADS: usize = 128;

/// How Apache runs the programs.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// As CGI programs, by `mod_cgid`.
    Cgi,
    /// Apache starts FastCGI processes, by `mod_fcgid`.
    Fcgid,
    /// The programs are servers on Unix sockets, with a connection for each request, by `mod_proxy_fcgi`.
    Proxy,
    /// The same, and Apache uses a connection again.
    ProxyWithReuse,
}

impl Mode {
    fn module(self) -> &'static str {
        match self {
            Self::Cgi => "mod_cgid",
            Self::Fcgid => "mod_fcgid",
            Self::Proxy | Self::ProxyWithReuse => "mod_proxy_fcgi",
        }
    }
}

impl Servers {
    /// Apache with kvs below `/ours/`, which has this number of entries.
    pub(crate) fn site(entries: usize) -> Self {
        // Not below the home of the user, because Apache runs as another user.
        let folder = tempfile::Builder::new().prefix("kvs-bench-").tempdir_in("/tmp").unwrap();
        let this = Self::in_folder(folder);
        this.place("ours", &places::kvs());
        fs::create_dir(this.data()).unwrap();
        if entries > 0 {
            crate::data::write_store(&this.data(), entries);
            give_to_web_server(&this.data().join("default.yaml"));
        }
        give_to_web_server(&this.data());
        this
    }

    /// Adds a program below `/NAME/`, under the names that `.htaccess` looks for.
    pub(crate) fn place(&self, name: &str, program: &Path) {
        let folder = self.path("site").join(name);
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
        }
        give_to_web_server(&folder);
        fs::copy(places::repository().join(".htaccess"), folder.join(".htaccess")).unwrap();
        for name in ["kvs.cgi", "kvs.fcgi"] {
            places::copy_program(program, &folder.join(name));
        }
    }

    /// The processes of a program that was placed.
    pub(crate) fn processes(&self, name: &str) -> Vec<PathBuf> {
        let program = self.path("site").join(name).join("kvs.fcgi");
        let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        entries.filter(|process| fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)).collect()
    }

    /// Starts Apache with the programs that were placed: kvs, and these peers.
    pub(crate) fn start_apache(&mut self, mode: Mode, peers: &[&str]) {
        let lines = match mode {
            Mode::Cgi => vec![],
            // Without the second line it starts one process per second.
            Mode::Fcgid => {
                vec![format!("FcgidMaxProcessesPerClass {CONNECTIONS}"), "FcgidSpawnScoreUpLimit 1000".to_owned()]
            }
            Mode::Proxy | Mode::ProxyWithReuse => {
                let names = ["ours"].iter().chain(peers);
                names.flat_map(|name| self.start_behind_proxy(name, mode)).collect()
            }
        };
        self.spawn_apache(mode.module(), &lines);
        self.wait();
        let port = self.port;
        let answers = || client::try_answer(port, &client::get("/ours/status")).is_some();
        self.until("kvs behind Apache", answers);
    }

    /// Starts a program on a Unix socket. Returns the lines of Apache for it.
    fn start_behind_proxy(&mut self, name: &str, mode: Mode) -> [String; 3] {
        let socket = self.path("run").join(format!("{name}.sock"));
        let program = self.path("site").join(name).join("kvs.fcgi");
        match name {
            "ours" => {
                let mut kvs = self.serve(&program);
                kvs.args(["--fastcgi", &format!("unix:{}", socket.display()), "--base-path", "/ours"]);
                kvs.args(["--socket-mode", "777"]);
                self.spawn(kvs);
                self.until("the socket of kvs", || socket.exists());
            }
            "c" => {
                let mut peer = Command::new(program);
                peer.arg(&socket).arg(if mode == Mode::Proxy { CONNECTIONS } else { THREADS }.to_string());
                self.spawn(peer);
                self.until("the socket of the C program", || socket.exists());
            }
            _ => {
                let listener = UnixListener::bind(&socket).unwrap();
                let mut peer = Command::new(program);
                peer.stdin(OwnedFd::from(listener));
                self.spawn_with_input(peer);
            }
        }
        fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let reuse = if mode == Mode::ProxyWithReuse { " enablereuse=on" } else { "" };
        let pass = format!("ProxyPass \"unix:{}|fcgi://{name}/{name}/\"{reuse} timeout=60", socket.display());
        [format!("<Location \"/{name}/\">"), pass, "</Location>".into()]
    }

    /// Starts the Apache of `deploy/apache/private.conf` with additional lines.
    fn spawn_apache(&mut self, module: &str, lines: &[String]) {
        let deploy = places::repository().join("deploy/apache");
        let user = match rustix::process::geteuid() {
            root if root.is_root() => "www-data".to_owned(),
            user => format!("#{}", user.as_raw()),
        };
        let defines = [
            ("KVS_DEPLOY", deploy.display().to_string()),
            ("KVS_RUN", self.path("run").display().to_string()),
            ("KVS_SITE", self.path("site").display().to_string()),
            ("KVS_SOCKET", self.path("run/ours.sock").display().to_string()),
            ("KVS_PORT", self.port.to_string()),
            ("KVS_USER", user.clone()),
            ("KVS_GROUP", user),
        ];
        let mut command = Command::new("/usr/sbin/apache2");
        command.arg("-f").arg(deploy.join("private.conf")).args(["-D", module, "-D", "FOREGROUND"]);
        for (name, value) in defines {
            command.arg("-C").arg(format!("Define {name} \"{value}\""));
        }
        // A connection stays open during the whole measurement.
        for line in ["MaxKeepAliveRequests 0"].into_iter().chain(lines.iter().map(String::as_str)) {
            command.arg("-c").arg(line);
        }
        self.spawn(command);
    }
}
