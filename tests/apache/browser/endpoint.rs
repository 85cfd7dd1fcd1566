//! The program under test, which serves plain HTTP from a YAML store in a temporary folder, and its other clients.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kvs");

/// The only secret of the endpoint. It is not ASCII, to test that a header can carry it.
pub(super) const SECRET: &str = "open sesame, pässword";

/// A running `kvs serve`. It is stopped on drop.
pub(super) struct Endpoint {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
    flags: &'static [&'static str],
}

impl Endpoint {
    /// Starts the program with these flags, on a store whose file begins with these lines.
    pub(super) async fn start(lines: &str, flags: &'static [&'static str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("data")).expect("a folder for the store");
        if !lines.is_empty() {
            put_file(folder.path().join("data/default.yaml"), &format!("# kvs bucket: default\n{lines}...\n"));
        }
        put_file(folder.path().join("auth.txt"), &format!("sha256:{}\n", sha256(SECRET)));
        let address = free_address();
        let mut endpoint = Self { process: serve(&folder, address, flags), address, folder, flags };
        endpoint.ready().await;
        endpoint
    }

    /// Kills the program. Its folder and address are kept.
    pub(super) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts the program again in the same folder, at the same address.
    pub(super) async fn start_again(&mut self) {
        self.process = serve(&self.folder, self.address, self.flags);
        self.ready().await;
    }

    async fn ready(&mut self) {
        for _ in 0..200 {
            if TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            let ended = self.process.try_wait().expect("the state of the program");
            assert!(ended.is_none(), "kvs serve ended at once: {ended:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("kvs serve does not listen on {} after 10 s", self.address);
    }

    /// The address of the index page.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Another client: posts a form and returns the status of the response.
    pub(super) async fn post(&self, pairs: &[(&str, &str)]) -> u16 {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.request("POST /", "Content-Type: application/x-www-form-urlencoded", &form).await
    }

    /// Another client that knows the secret: stores a value of this type under a key of this bucket.
    pub(super) async fn put(&self, bucket: &str, key: &str, media_type: &str, value: &str) {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("key", key).finish();
        let headers = format!("X-KVS-Auth: {SECRET}\r\nContent-Type: {media_type}");
        let status = self.request(&format!("PUT /kv/{bucket}?{query}"), &headers, value).await;
        assert!(matches!(status, 200 | 201), "{key}: {status}");
    }

    async fn request(&self, line: &str, headers: &str, body: &str) -> u16 {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.expect("a response");
        let status = response.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", String::from_utf8_lossy(&response)))
    }

    /// Another client that knows the secret: stores one value.
    pub(super) async fn store(&self, key: &str, value: &str) {
        assert_eq!(self.post(&[(key, value), ("auth", SECRET)]).await, 200, "{key}");
    }

    /// Another process on the same files: runs a command of the program to its end.
    pub(super) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) {
        let done = program(&self.folder)
            .args(arguments)
            .arg("--quiet")
            .stdout(Stdio::null())
            .status()
            .expect("the program runs");
        assert!(done.success(), "{done}");
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(folder: &TempDir, address: SocketAddr, flags: &[&str]) -> Child {
    program(folder)
        .args(["serve", "--http", &address.to_string(), "--auth"])
        .arg(folder.path().join("auth.txt"))
        .args(flags)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// The program in its folder, on its store, without the settings of the user who runs the tests.
fn program(folder: &TempDir) -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KVS_")) {
        command.env_remove(name);
    }
    command.env("KVS_STORE", format!("yaml:{}", folder.path().join("data").display()));
    command.current_dir(folder.path()).stdin(Stdio::null());
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    format!("{:x}", sha2::Sha256::digest(text))
}

#[expect(clippy::disallowed_methods, reason = "written before the tested program runs")]
fn put_file(path: PathBuf, text: &str) {
    std::fs::write(path, text).expect("a file can be written");
}
