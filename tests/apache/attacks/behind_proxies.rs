//! Request smuggling: kvs behind a proxy that speaks HTTP to it over connections that it keeps. Whatever the proxy passes
//! on, kvs and the proxy agree where each request ends: no request hides in another, and each client gets the response to
//! its own request.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{self, connect, printable, send_and_close};
use crate::rest::hostile::framing;
use crate::servers::{Server, Way, free_port};
use crate::site::{SECRET, server_names};

/// A name, and the bytes of a request.
type Case = (String, Vec<u8>);

/// The number of keys of which each request names one, to notice a response that belongs to another request.
const KEYS: usize = 7;

/// A request with the secret, over a connection that the client keeps.
fn message(line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\n{headers}\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

/// Requests that some proxies pass on although they have another end for some servers.
fn more() -> Vec<Case> {
    let hidden =
        format!("PUT /kv/default/smuggled HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: 3\r\n\r\nbad");
    let put = |headers: &str, body: &str| {
        (format!("more: {headers:?}"), message("PUT /kv/default/a", headers, format!("{body}{hidden}")))
    };
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let mut all: Vec<Case> = [
        "Transfer-Encoding: chunked\nContent-Length: 5\r\n",
        "Content-Length: 5\nTransfer-Encoding: chunked\r\n",
        "Foo: bar\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Foo: bar\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n",
        "Content Length: 5\r\nContent-Length: 50\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 5\r\nConnection: Content-Length\r\n",
        "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n",
        "Content-Length: 5\r\nConnection: close, X-KVS-Auth\r\n",
        "Content-Length: 0\r\nExpect: 100-continue\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 5\r\n",
    ]
    .iter()
    .map(|headers| put(headers, if headers.contains("chunked") { chunked } else { "hello" }))
    .collect();
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\nhello\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n00\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
    ] {
        all.push(put("Transfer-Encoding: chunked\r\n", chunks));
    }
    // A body where usually none is.
    for line in ["GET /kv/default/k1", "HEAD /kv/default/k1", "DELETE /kv/default/none", "OPTIONS *"] {
        let headers = format!("Content-Length: {}\r\n", hidden.len());
        all.push((format!("body of {line}"), message(line, &headers, &hidden)));
        let body = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
        all.push((format!("chunks of {line}"), message(line, "Transfer-Encoding: chunked\r\n", body)));
    }
    // A line end that the proxy decodes, or passes on as it is.
    let encoded = hidden.replace('\r', "%0d").replace('\n', "%0a").replace(' ', "%20");
    for target in [format!("/kv/default/{encoded}"), format!("/?k={encoded}"), format!("/{encoded}")] {
        all.push((format!("target {target}"), message(&format!("GET {target}"), "", "")));
    }
    all
}

/// Several clients, one after another and on one connection, get each its own value. Returns what is wrong.
fn fault(port: u16, round: usize) -> Option<String> {
    let request = |n: usize, connection: &str| {
        format!("GET /kv/default/k{n} HTTP/1.1\r\nHost: h\r\nConnection: {connection}\r\n\r\n")
    };
    let numbers = [round % KEYS, (round + 3) % KEYS, (round + 5) % KEYS];
    for n in numbers {
        let answer = client::send(port, request(n, "close").as_bytes());
        if (answer.status, answer.text()) != (200, format!("value {n}")) {
            return Some(format!("{} {}", answer.status, answer.text()));
        }
    }
    let mut stream = connect(port).unwrap();
    let all = request(numbers[0], "keep-alive") + &request(numbers[1], "keep-alive") + &request(numbers[2], "close");
    stream.write_all(all.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let values: Vec<_> = text.match_indices("value ").map(|(at, _)| text[at..].chars().nth(6).unwrap()).collect();
    let expected: Vec<_> = numbers.iter().map(|n| char::from_digit(u32::try_from(*n).unwrap(), 10).unwrap()).collect();
    (values != expected).then(|| format!("{expected:?}, not {values:?}: {text}"))
}

fn assert_no_request_is_smuggled(server: &Server, port: u16) {
    for n in 0..KEYS {
        let value = format!("value {n}");
        let headers = format!("Connection: close\r\nContent-Length: {}\r\n", value.len());
        let put = client::send(port, &message(&format!("PUT /kv/default/k{n}"), &headers, &value));
        assert!([200, 201].contains(&put.status), "{}\n{}", put.text(), server.site.logs());
    }
    let cases: Vec<Case> =
        framing::cases().into_iter().chain(more()).filter(|(_, bytes)| bytes.len() < 1 << 18).collect();
    assert!(cases.len() > 120, "{}", cases.len());
    for (round, (name, request)) in cases.iter().enumerate() {
        let answer = send_and_close(port, request);
        if let Some(answer) = answer {
            // A proxy that cannot read a body answers itself. Every response of kvs has this header.
            let from_kvs = answer.header("x-content-type-options").is_some();
            assert!(answer.status < 500 || answer.status == 501 || !from_kvs, "{name}: {answer:?}");
        }
        if let Some(fault) = fault(port, round) {
            panic!("{name}: {fault}\nafter {}\n{}", printable(request), server.site.logs());
        }
    }
}

#[test]
fn no_request_is_smuggled_past_nginx_with_kept_connections() {
    let server = Server::start(Way::NginxProxy);
    assert_no_request_is_smuggled(&server, server.port);
    // Apache answers what follows a valid request on the connection of the same client, so only nginx shows this.
    let hidden = b"GET /kv/default/smuggled HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(client::send(server.port, hidden).status, 404);
}

/// A web server in front of another. Stopped when dropped.
struct Front(Child);

impl Drop for Front {
    fn drop(&mut self) {
        _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        _ = self.0.wait();
    }
}

/// Apache with `mod_proxy_http` in front of `kvs serve --http`, with one kept connection.
fn apache_before(server: &Server) -> (Front, u16) {
    let (port, run) = (free_port(), server.site.run().join("front"));
    fs::create_dir(&run).unwrap();
    crate::site::give_to_server(&run);
    let (user, group) = server_names();
    let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let text = format!(
        "ServerRoot {run}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\nPidFile {run}/pid\nMutex file:{run} default\n\
         ErrorLog {run}/error.log\nUser {user}\nGroup {group}\n{modules}AllowEncodedSlashes NoDecode\n\
         StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\nKeepAliveTimeout 2\n\
         ProxyPass / http://127.0.0.1:{}/ nocanon max=1 keepalive=on\n",
        server.port,
        run = run.display(),
    );
    let config = run.join("httpd.conf");
    fs::write(&config, text).unwrap();
    let log = File::create(server.site.run().join("front-stderr.log")).unwrap();
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-f").arg(config).args(["-D", "FOREGROUND"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let front = Front(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; see tests/packages.sh")));
    let status = b"GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let start = Instant::now();
    while client::try_send(port, status).is_none_or(|answer| answer.status != 200) {
        assert!(start.elapsed() < Duration::from_secs(30), "no response\n{}", server.site.logs());
        std::thread::sleep(Duration::from_millis(30));
    }
    (front, port)
}

#[test]
fn no_request_is_smuggled_past_apache_with_one_kept_connection() {
    let server = Server::start(Way::Http);
    let (front, port) = apache_before(&server);
    assert_no_request_is_smuggled(&server, port);
    drop(front);
}
