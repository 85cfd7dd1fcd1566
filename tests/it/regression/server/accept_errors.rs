//! A server that cannot accept connections for a while continues afterwards.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_are_served_again_once_descriptors_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    command.args(["serve", "--http", "127.0.0.1:0"]).current_dir(folder.path()).env("KVS_HOME", folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut program = Program(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(program.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let ask = |wait: Duration| {
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.set_read_timeout(Some(wait)).unwrap();
        socket.write_all(b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map(|_| answer)
    };
    assert!(ask(Duration::from_secs(10)).unwrap().starts_with("HTTP/1.1 200"));

    let pid = Pid::from_child(&program.0);
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(3), maximum: limit.maximum };
    let before = prlimit(Some(pid), Resource::Nofile, few).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        assert!(ask(Duration::from_millis(300)).is_err(), "there was a descriptor");
    }
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    assert!(ask(Duration::from_secs(10)).unwrap().starts_with("HTTP/1.1 200"));
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("cannot accept").count(), 1, "logged once in a while: {log}");
}
