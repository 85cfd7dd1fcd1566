//! Starts kvs, directly or behind a web server, on a free port of 127.0.0.1, and stops it again.
//!
//! What always holds: when a [`Server`] is dropped, also during a panic, its processes are stopped and its folder is
//! removed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{self, Answer};
use crate::fastcgi_client;
use crate::site::{Site, am_root, server_names};

/// A request that shows whether the server responds.
const STATUS: &[u8] = b"GET /status HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n";

/// A way to reach kvs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// `kvs serve --http`: the reference for all others.
    Http,
    ModFcgid,
    ModCgid,
    ModProxyFcgi,
    NginxFastcgi,
    NginxProxy,
    /// nginx with a cache, in front of `kvs serve --http`.
    NginxCache,
    /// `cgi-fcgi` of libfcgi as the client of `kvs serve --fastcgi`.
    CgiFcgi,
}

impl Way {
    /// Whether Apache is in front.
    pub(crate) fn is_apache(self) -> bool {
        matches!(self, Self::ModFcgid | Self::ModCgid | Self::ModProxyFcgi)
    }

    /// Whether the web server starts the program in the folder of the site.
    pub(crate) fn is_spawned(self) -> bool {
        matches!(self, Self::ModFcgid | Self::ModCgid)
    }
}

/// A running kvs and the web server in front of it.
pub(crate) struct Server {
    pub(crate) way: Way,
    pub(crate) port: u16,
    pub(crate) site: Site,
    /// In the order in which they are stopped: the web server first.
    children: Vec<Child>,
}

impl Server {
    /// Starts a server and waits until it responds.
    pub(crate) fn start(way: Way) -> Self {
        Self::start_in(Site::new(), way)
    }

    /// The same in an existing folder.
    pub(crate) fn start_in(site: Site, way: Way) -> Self {
        let mut this = Self { way, port: free_port(), site, children: vec![] };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/apache");
        match way {
            Way::Http => this.start_kvs(&["--http", &format!("127.0.0.1:{}", this.port)]),
            Way::ModFcgid => this.start_apache(&deploy, "mod_fcgid"),
            Way::ModCgid => this.start_apache(&deploy, "mod_cgid"),
            Way::ModProxyFcgi => {
                this.start_kvs_on_socket();
                this.start_apache(&deploy, "mod_proxy_fcgi");
            }
            Way::NginxFastcgi => {
                this.start_kvs_on_socket();
                let socket = this.socket().display().to_string();
                this.start_nginx("kvs-fastcgi.conf", "/run/kvs/kvs.sock", &socket);
            }
            Way::NginxProxy => {
                let upstream = format!("127.0.0.1:{}", free_port());
                this.start_kvs(&["--http", &upstream]);
                this.start_nginx("kvs-proxy.conf", "127.0.0.1:8080;", &format!("{upstream};"));
            }
            Way::NginxCache => {
                let upstream = format!("127.0.0.1:{}", free_port());
                this.start_kvs(&["--http", &upstream]);
                this.start_nginx("cache.conf", "127.0.0.1:8080;", &format!("{upstream};"));
            }
            Way::CgiFcgi => this.start_kvs_on_socket(),
        }
        this.wait_until_it_responds();
        this
    }

    /// Starts Apache with `mod_fcgid` and these directives after its own.
    pub(crate) fn start_fcgid(directives: &[&str]) -> Self {
        let mut this = Self { way: Way::ModFcgid, port: free_port(), site: Site::new(), children: vec![] };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/apache");
        this.start_apache_with(&deploy, "mod_fcgid", directives);
        this.wait_until_it_responds();
        this
    }

    /// Starts Apache as on a shared host, whose configuration does not mention kvs: there is only `.htaccess`.
    pub(crate) fn start_as_shared_host(site: Site, way: Way) -> Self {
        let mut this = Self { way, port: free_port(), site, children: vec![] };
        let module = if way == Way::ModFcgid { "mod_fcgid" } else { "mod_cgid" };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/apache");
        let copy = this.site.run().join("deploy");
        fs::create_dir(&copy).unwrap();
        for file in ["private.conf", &format!("{module}.conf")] {
            let text = fs::read_to_string(deploy.join(file)).unwrap();
            let bare = text.replace("\nAllowEncodedSlashes NoDecode", "");
            assert!(file == "private.conf" || bare != text, "{file} has another form");
            fs::write(copy.join(file), bare).unwrap();
        }
        this.start_apache(&copy, module);
        this.wait_until_it_responds();
        this
    }

    /// Starts `kvs serve --http` on the same data, waits until it responds, and returns its port. It is stopped with
    /// this server at the latest.
    pub(crate) fn serve_second(&self) -> (u16, Child) {
        let (root, port) = (self.site.root(), free_port());
        let log = File::create(self.site.run().join("second-stderr.log")).unwrap();
        let mut command = Command::new(root.join("kvs.fcgi"));
        command.args(["serve", "--http", &format!("127.0.0.1:{port}")]).stdin(Stdio::null()).stdout(Stdio::null());
        // The program looks for auth.txt and data in its own folder.
        let child = command.env_remove("KVS_HOME").stderr(log).spawn().unwrap();
        let start = Instant::now();
        while client::try_send(port, STATUS).is_none_or(|answer| answer.status != 200) {
            assert!(start.elapsed() < Duration::from_secs(30), "no response\n{}", self.site.logs());
            sleep(Duration::from_millis(10));
        }
        (port, child)
    }

    /// Sends a request, which must ask to close the connection, and returns the response.
    pub(crate) fn send(&self, request: &[u8]) -> Answer {
        match self.way {
            Way::CgiFcgi => fastcgi_client::send(&self.socket(), request),
            _ => client::send(self.port, request),
        }
    }

    /// The process in front: Apache, nginx or kvs.
    pub(crate) fn front(&mut self) -> &mut Child {
        &mut self.children[0]
    }

    /// Sends a signal to the process in front.
    pub(crate) fn signal(&mut self, signal: Signal) {
        let id = Pid::from_child(self.front());
        kill_process(id, signal).unwrap();
    }

    /// Stops all processes as an administrator does. Returns the programs that still run after half a minute.
    pub(crate) fn stop(&mut self) -> Vec<(i32, String)> {
        for mut child in self.children.drain(..) {
            stop(&mut child);
        }
        let start = Instant::now();
        loop {
            let left = self.site.programs();
            if left.is_empty() || start.elapsed() > Duration::from_secs(30) {
                return left;
            }
            sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.site.run().join("kvs.sock")
    }

    fn start_kvs(&mut self, listen: &[&str]) {
        let root = self.site.root();
        let mut command = Command::new(root.join("kvs.fcgi"));
        command.arg("serve").args(listen);
        command.arg("--store").arg(format!("yaml:{}", root.join("data").display()));
        command.arg("--auth").arg(root.join("auth.txt"));
        self.spawn(command, "kvs");
    }

    fn start_kvs_on_socket(&mut self) {
        let socket = self.socket();
        // The web server runs as another user.
        self.start_kvs(&["--fastcgi", &format!("unix:{}", socket.display()), "--socket-mode", "777"]);
        self.wait_for("its socket", || socket.exists());
    }

    fn start_apache(&mut self, deploy: &Path, module: &str) {
        self.start_apache_with(deploy, module, &[]);
    }

    fn start_apache_with(&mut self, deploy: &Path, module: &str, directives: &[&str]) {
        let (user, group) = server_names();
        let defines = [
            ("KVS_DEPLOY", deploy.display().to_string()),
            ("KVS_RUN", self.site.run().display().to_string()),
            ("KVS_SITE", self.site.root().display().to_string()),
            ("KVS_SOCKET", self.socket().display().to_string()),
            ("KVS_PORT", self.port.to_string()),
            ("KVS_USER", user),
            ("KVS_GROUP", group),
        ];
        let mut command = Command::new("/usr/sbin/apache2");
        command.arg("-f").arg(deploy.join("private.conf")).args(["-D", module, "-D", "FOREGROUND"]);
        if module == "mod_fcgid" {
            // By default it starts at most three programs a second after some were killed, and a test kills many.
            command.args(["-c", "FcgidSpawnScoreUpLimit 1000"]);
        }
        for directive in directives {
            command.args(["-c", directive]);
        }
        for (name, value) in defines {
            command.arg("-C").arg(format!("Define {name} \"{value}\""));
        }
        self.spawn(command, "apache");
    }

    /// Starts nginx with a file of `deploy/nginx/` in which `from` is replaced by `to`.
    fn start_nginx(&mut self, file: &str, from: &str, to: &str) {
        let block = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx").join(file);
        let block = fs::read_to_string(block).unwrap();
        assert!(block.contains(from) && block.contains("listen 80;"), "{file} has another form");
        let block = block.replace(from, to).replace("listen 80;", &format!("listen 127.0.0.1:{};", self.port));
        let run = self.site.run();
        let block = block.replace("/var/cache/nginx/kvs", &run.join("nginx_cache").display().to_string());
        let run_text = run.display();
        let user = if am_root() { "user www-data;" } else { "" };
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {run_text}/nginx_{what};\n"))
            .concat();
        let whole = format!(
            "{user}\ndaemon off;\npid {run_text}/nginx.pid;\nerror_log {run_text}/nginx-error.log;\nevents {{}}\n\
             http {{\naccess_log {run_text}/nginx-access.log;\n{scratch}{block}}}\n"
        );
        let path = run.join("nginx.conf");
        fs::write(&path, whole).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-e").arg(run.join("nginx-error.log")).arg("-c").arg(path);
        self.spawn(command, "nginx");
    }

    fn spawn(&mut self, mut command: Command, name: &str) {
        let log = File::create(self.site.run().join(format!("{name}-stderr.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.env_remove("KVS_HOME");
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; see tests/packages.sh"));
        self.children.insert(0, child);
    }

    fn wait_until_it_responds(&mut self) {
        let (way, port, socket) = (self.way, self.port, self.socket());
        self.wait_for("a response to /status", || match way {
            Way::CgiFcgi => fastcgi_client::send(&socket, STATUS).status == 200,
            _ => client::try_send(port, STATUS).is_some_and(|answer| answer.status == 200),
        });
    }

    fn wait_for(&mut self, what: &str, mut happened: impl FnMut() -> bool) {
        let start = Instant::now();
        while !happened() {
            let dead = self.children.iter_mut().any(|child| child.try_wait().unwrap().is_some());
            let late = start.elapsed() > Duration::from_secs(30);
            assert!(!dead && !late, "{:?}: timed out waiting for {what}\n{}", self.way, self.site.logs());
            sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for mut child in self.children.drain(..) {
            stop(&mut child);
        }
        for (id, _) in self.site.programs() {
            if let Some(id) = Pid::from_raw(id) {
                _ = kill_process(id, Signal::KILL);
            }
        }
    }
}

/// Stops a process, and kills it after fifteen seconds.
fn stop(child: &mut Child) {
    if child.try_wait().ok().flatten().is_none() {
        _ = kill_process(Pid::from_child(child), Signal::TERM);
    }
    let start = Instant::now();
    while child.try_wait().ok().flatten().is_none() {
        if start.elapsed() > Duration::from_secs(15) {
            _ = child.kill();
            _ = child.wait();
            return;
        }
        sleep(Duration::from_millis(20));
    }
}

/// A port that is not in use. It is below the ports of outgoing connections, and each run has a range of its own, so
/// that no other program takes it before the server does.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = 20_000 + u16::try_from(std::process::id() % 150).unwrap() * 80;
    loop {
        let port = range + NEXT.fetch_add(1, Ordering::Relaxed) % 80;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
