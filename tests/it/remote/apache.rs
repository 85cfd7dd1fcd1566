//! One private Apache with TLS for all tests of this process. `https://127.0.0.1:PORT/N/...` is the HTTP server on port
//! N of this machine.
//!
//! It cannot outlive the process: a shell supervises it, and the standard input of the shell is a pipe from this process.

use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::certificate;

/// Starts Apache, waits for the end of its input, stops Apache, and removes the folder `$1`.
const SUPERVISOR: &str = r#"
/usr/sbin/apache2 -f "$1/apache.conf" -D FOREGROUND >>"$1/log" 2>&1 </dev/null &
server=$!
trap '' INT TERM HUP
cat >/dev/null
kill -TERM $server 2>/dev/null
wait $server
rm -rf "$1"
"#;

const CONFIGURATION: &str = r#"
ServerRoot "FOLDER"
ServerName 127.0.0.1
Listen 127.0.0.1:PORT
PidFile "FOLDER/apache.pid"
DefaultRuntimeDir "FOLDER"
Mutex "file:FOLDER" default
ErrorLog "FOLDER/error.log"
LogLevel warn
LoadModule mpm_event_module "/usr/lib/apache2/modules/mod_mpm_event.so"
LoadModule authz_core_module "/usr/lib/apache2/modules/mod_authz_core.so"
LoadModule ssl_module "/usr/lib/apache2/modules/mod_ssl.so"
LoadModule proxy_module "/usr/lib/apache2/modules/mod_proxy.so"
LoadModule proxy_http_module "/usr/lib/apache2/modules/mod_proxy_http.so"
User www-data
Group www-data
AllowEncodedSlashes NoDecode
StartServers 2
ServerLimit 2
ThreadLimit 400
ThreadsPerChild 400
MaxRequestWorkers 800
MaxSpareThreads 800
MaxKeepAliveRequests 0
KeepAliveTimeout 5
SSLEngine on
SSLCertificateFile "FOLDER/server.crt"
SSLCertificateKeyFile "FOLDER/server.key"
ProxyPassMatch "^/([0-9]+)/(.*)$" "http://127.0.0.1:$1/$2" nocanon
"#;

pub(crate) struct Apache {
    folder: PathBuf,
    port: u16,
    /// Its standard input is the pipe.
    _supervisor: Child,
}

impl Apache {
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Apache> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The address of the HTTP server on a port.
    pub(crate) fn address(&self, port: u16) -> String {
        format!("https://127.0.0.1:{}/{port}/", self.port)
    }

    /// The file with its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("kvs-tls-").tempdir().unwrap().keep();
        certificate::make(&folder);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = CONFIGURATION.replace("FOLDER", &folder.display().to_string()).replace("PORT", &port.to_string());
        let mut file = File::create(folder.join("apache.conf")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(30), "Apache does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { folder, port, _supervisor: supervisor }
    }
}
