//! kvs and its peer, a C program on libfcgi (`peer.c`), behind one Apache: the same settings, the same `.htaccess`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::servers::{Servers, open_to_all, until};

/// The number of connections, and the most processes or threads of each program.
pub(crate) const CONNECTIONS: usize = 16;

impl Servers {
    /// Apache with `mod_fcgid`: kvs below `/ours/`, the peer below `/peer/`.
    pub(crate) fn mod_fcgid() -> Self {
        let mut this = Self::new();
        for (place, program) in
            [("ours", PathBuf::from(env!("CARGO_BIN_EXE_kvs"))), ("peer", compile_peer(&this.path("run")))]
        {
            let place = this.path("site").join(place);
            fs::copy(top().join(".htaccess"), place.join(".htaccess")).unwrap();
            fs::copy(program, place.join("kvs.fcgi")).unwrap();
            open_to_all(&place.join("kvs.fcgi"));
        }
        this.apache("mod_fcgid", &[format!("FcgidMaxProcessesPerClass {CONNECTIONS}")]);
        this.wait();
        this
    }

    /// The same with `mod_proxy_fcgi`. Both serve on a Unix socket, the peer with a thread for each connection.
    /// Connections are not reused: sometimes libfcgi closes one that Apache is about to use, and Apache returns 503.
    pub(crate) fn mod_proxy_fcgi() -> Self {
        let mut this = Self::new();
        let (ours, theirs) = (this.path("run/kvs.sock"), this.path("run/peer.sock"));
        this.serve(&["--fastcgi", &format!("unix:{}", ours.display()), "--base-path", "/ours"]);
        let mut peer = Command::new(compile_peer(&this.path("run")));
        peer.arg(&theirs).arg(CONNECTIONS.to_string());
        this.spawn(peer);
        for socket in [&ours, &theirs] {
            until("a socket", || socket.exists());
            fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let to = |place: &str, socket: &Path| {
            let pass = format!("ProxyPass \"unix:{}|fcgi://{place}/{place}/\" timeout=60", socket.display());
            [format!("<Location \"/{place}/\">"), pass, "</Location>".into()]
        };
        this.apache("mod_proxy_fcgi", &[to("ours", &ours), to("peer", &theirs)].concat());
        this.wait();
        this
    }

    /// Starts the Apache of `deploy/apache/private.conf` with additional lines.
    fn apache(&mut self, module: &str, lines: &[String]) {
        let deploy = top().join("deploy/apache");
        let user = if rustix::process::geteuid().is_root() { "www-data".to_owned() } else { own_user() };
        let defines = [
            ("KVS_DEPLOY", deploy.display().to_string()),
            ("KVS_RUN", self.path("run").display().to_string()),
            ("KVS_SITE", self.path("site").display().to_string()),
            ("KVS_SOCKET", self.path("run/kvs.sock").display().to_string()),
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

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn own_user() -> String {
    format!("#{}", rustix::process::geteuid().as_raw())
}

/// Compiles `peer.c` into this folder.
pub(crate) fn compile_peer(folder: &Path) -> PathBuf {
    let program = folder.join("peer");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-Wall", "-pthread", "-o"]).arg(&program).arg(top().join("bench/peer.c")).arg("-lfcgi");
    assert!(gcc.status().unwrap().success(), "{gcc:?}: see tests/packages.sh");
    program
}
