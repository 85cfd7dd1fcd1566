//! nginx in front of two processes, with its configuration of `deploy/nginx/`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::{SECRET, Served, StopOnDrop, get};

/// A private nginx, killed on drop.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Nginx {
    /// Starts it in front of these two sockets, on this port.
    fn start(folder: &Path, sockets: [&str; 2], port: u16) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx/kvs-machines.conf");
        let mut block = std::fs::read_to_string(file).unwrap();
        for (from, to) in [
            ("10.0.0.11:9000 max", format!("unix:{} max", sockets[0])),
            ("10.0.0.12:9000 max", format!("unix:{} max", sockets[1])),
            ("listen 80;", format!("listen 127.0.0.1:{port};")),
        ] {
            assert!(block.contains(from), "{from}");
            block = block.replace(from, &to);
        }
        let place = folder.display();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {place}/nginx_{what};\n"))
            .concat();
        // With only one process, so that killing it stops nginx completely.
        let whole = format!(
            "{user}\ndaemon off;\nmaster_process off;\npid {place}/nginx.pid;\nerror_log {place}/nginx.log;\nevents {{}}\n\
             http {{\naccess_log off;\n{scratch}{block}}}\n"
        );
        let path = folder.join("nginx.conf");
        let file = std::fs::File::create(&path);
        std::io::Write::write_all(&mut file.unwrap(), whole.as_bytes()).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(path).stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("nginx: tests/packages.sh installs it"))
    }
}

/// The complete response; empty if no program listens.
fn ask(port: u16, request: &str) -> String {
    use std::io::{Read, Write};
    let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![];
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn clients_of_nginx_get_no_errors_when_a_process_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let url = crate::postgres::empty("");
    let sockets = ["one.sock", "two.sock"].map(|name| folder.path().join(name).display().to_string());
    let start = |n: usize| Served::start(&["--fastcgi", &format!("unix:{}", sockets[n]), "--store", &url]);
    let (mut one, two) = (start(0), start(1));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _nginx = Nginx::start(folder.path(), [&sockets[0], &sockets[1]], port);
    let start_time = Instant::now();
    while ask(port, "GET /readyz HTTP/1.0\r\n\r\n").is_empty() {
        assert!(start_time.elapsed() < Duration::from_secs(20), "nginx does not start");
        sleep(Duration::from_millis(50));
    }
    let stop = AtomicBool::new(false);
    scope(|scope| {
        let stop = &stop;
        let guard = StopOnDrop(stop);
        let clients = [0, 1, 2, 3].map(|client| {
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    let head = format!("HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n");
                    let value = n.to_string();
                    let put = format!("PUT /kv/default/c{client} {head}Content-Length: {}\r\n\r\n{value}", value.len());
                    let stored = ask(port, &put);
                    assert!(stored.starts_with("HTTP/1.1 20"), "{stored}");
                    let found = ask(port, &format!("GET /?k=c{client} {head}\r\n"));
                    assert!(
                        found.starts_with("HTTP/1.1 200") && found.ends_with(&format!("\r\n\r\n{value}")),
                        "{found}"
                    );
                }
                n
            })
        });
        sleep(Duration::from_millis(700));
        one.terminate();
        assert!(one.ended(Duration::from_secs(20)).is_some_and(|status| status.success()));
        sleep(Duration::from_millis(700));
        let again = start(0);
        sleep(Duration::from_millis(1500));
        drop(guard);
        let counts = clients.map(|client| client.join().unwrap());
        println!("{counts:?} writes and reads");
        assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
        let has_writes =
            |kvs: &Served| get(kvs, "/metrics").body.contains("kvs_requests_total{route=\"entry\",method=\"PUT\"");
        assert!(has_writes(&two) && has_writes(&again), "only one process got requests");
    });
}
