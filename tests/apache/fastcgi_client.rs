//! `cgi-fcgi` of libfcgi, a client of another project. It takes a request from its environment and standard input.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::Answer;

/// Sends a request as a web server passes it on.
pub(crate) fn send(socket: &Path, request: &[u8]) -> Answer {
    let end = request.windows(4).position(|w| w == b"\r\n\r\n").expect("the end of the headers");
    let (head, body) = (&request[..end], &request[end + 4..]);
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
    let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("request line {line}") };

    let mut command = Command::new("/usr/bin/cgi-fcgi");
    command.args(["-bind", "-connect"]).arg(socket).env_clear();
    command.env("REQUEST_METHOD", method).env("REQUEST_URI", target).env("SERVER_PROTOCOL", version);
    command.env("QUERY_STRING", target.split_once('?').map_or("", |(_, query)| query));
    command.env("GATEWAY_INTERFACE", "CGI/1.1").env("REMOTE_ADDR", "127.0.0.1").env("SERVER_NAME", "kvs.test");
    for header in lines {
        set_variable(&mut command, header);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // It stops reading after the response.
    _ = child.stdin.take().unwrap().write_all(body);
    let output = child.wait_with_output().unwrap();
    if output.stdout.is_empty() {
        // No program listens yet.
        return Answer::default();
    }
    Answer::from_gateway(&output.stdout)
}

fn set_variable(command: &mut Command, header: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let colon = header.iter().position(|b| *b == b':').expect("a header");
    let name = String::from_utf8(header[..colon].to_ascii_uppercase()).unwrap().replace('-', "_");
    let value = std::ffi::OsStr::from_bytes(header[colon + 1..].trim_ascii());
    match name.as_str() {
        "CONTENT_LENGTH" | "CONTENT_TYPE" => command.env(name, value),
        _ => command.env(format!("HTTP_{name}"), value),
    };
}
