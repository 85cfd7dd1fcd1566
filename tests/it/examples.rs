//! Runs the code of README.md and examples/ against the program.
//!
//! Examples for devices are not run, except the one in `MicroPython`, which Python can run. Node replaces a browser.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

const SECRET: &str = "secret-of-the-examples";

/// A running `kvs serve`, stopped at the end.
struct Endpoint {
    server: Child,
    url: String,
    folder: TempDir,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Endpoint {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut auth = std::fs::File::create(folder.path().join("auth.txt")).unwrap();
        auth.write_all(SECRET.as_bytes()).unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_kvs"));
        server.args(["serve", "--http", "127.0.0.1:0"]).current_dir(folder.path()).env("KVS_HOME", folder.path());
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        Self { server, url, folder }
    }

    /// A command with the environment of the examples.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.folder.path());
        command.env("KVS_URL", &self.url).env("KVS_SECRET", SECRET);
        command
    }

    #[track_caller]
    fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> String {
        let output = self.command(program, args).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}: {out}{err}");
        out.into_owned()
    }

    fn store(&self, key: &str, value: &str) {
        self.run(example("client.sh"), &["set", key, value]);
    }

    /// The code block of README.md in this language below this heading, with the URL and secret of this endpoint.
    fn recipe(&self, heading: &str, language: &str) -> String {
        let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
        let (_, below) = readme.split_once(&format!("\n### {heading}\n")).unwrap();
        let (_, block) = below.split_once(&format!("```{language}\n")).unwrap();
        let (block, _) = block.split_once("\n```\n").unwrap();
        assert!(block.contains("http://127.0.0.1:8080/") && block.contains("SECRET"));
        let block = block.replace("http://127.0.0.1:8080/", &self.url);
        // Replaces values, but not names of variables.
        block
            .replace("=SECRET", &format!("={SECRET}"))
            .replace(": SECRET'", &format!(": {SECRET}'"))
            .replace("\"SECRET\"", &format!("\"{SECRET}\""))
    }
}

/// A program that prints a line for each change; killed on drop.
struct Watching {
    program: Child,
    lines: Receiver<String>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Watching {
    fn start(mut command: Command) -> Self {
        let mut program = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(program.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { program, lines }
    }

    #[track_caller]
    fn sees(&self, expected: &str) {
        assert_eq!(self.lines.recv_timeout(Duration::from_secs(20)).as_deref(), Ok(expected));
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

#[track_caller]
fn watches(endpoint: &Endpoint, command: Command, key: &str) {
    endpoint.store(key, "one");
    let watching = Watching::start(command);
    watching.sees("one");
    for value in ["two", "three"] {
        endpoint.store(key, value);
        watching.sees(value);
    }
}

#[test]
fn the_shell_example_stores_reads_and_watches() {
    let endpoint = Endpoint::start();
    let odd = "a b/ä%+&=\"'\\";
    endpoint.run(example("client.sh"), &["set", odd, "50% off & = +", "other", ""]);
    assert_eq!(endpoint.run(example("client.sh"), &["get", odd]), "50% off & = +");
    endpoint.store("later", "last");
    assert_eq!(endpoint.run(example("client.sh"), &["get", odd, "later", "nothing"]), "last");
    watches(&endpoint, endpoint.command(example("client.sh"), &["watch", "w"]), "w");
}

#[test]
fn the_python_example_stores_and_watches() {
    let endpoint = Endpoint::start();
    let poll = example("poll.py").display().to_string();
    assert_eq!(endpoint.run("python3", &[&poll, &endpoint.url, "a=50% & +"]), "OK\n");
    assert_eq!(endpoint.run(example("client.sh"), &["get", "a"]), "50% & +");
    watches(&endpoint, endpoint.command("python3", &["-u", &poll, &endpoint.url, "w"]), "w");
}

#[test]
fn the_micropython_example_stores_and_watches() {
    let endpoint = Endpoint::start();
    let (host, port) = endpoint.url.trim_start_matches("http://").trim_end_matches('/').split_once(':').unwrap();
    let board = format!(
        "import sys\nsys.path.insert(0, {:?})\nfrom kvs import Kvs\nkvs = Kvs({host:?}, {port}, secret={SECRET:?})\n\
         kvs.store({{'a b': '50% & +', 'n': 12.5}})\n\
         kvs.put('\u{e4}//b', '\u{e4}', 60)\nassert kvs.get('\u{e4}//b') == '\u{e4}'.encode()\n\
         assert kvs.increment('boots') == 1 and kvs.increment('boots', -3) == -2\n\
         assert kvs.append('log/ä', '21.5') == 0 and kvs.append('log/ä', 'x', keep=1) == 1\n\
         readings = kvs.readings('r', keep=3)\n\
         assert [readings.add(n) for n in (1.5, 2, 3, 4)] == [0, 0, 0, 0]\n\
         readings.index -= 2\nreadings.waiting = [3, 4]\n\
         assert readings.add(5) == 1 and readings.add(6) == 0\n\
         status, headers, body = kvs.request('GET', 'log/default/r?format=text')\n\
         assert (body, headers['kvs-end']) == (b'4\\n5\\n6\\n', '6'), (body, headers)\n\
         assert kvs.get('a b', 'nothing') == b'50% & +' and kvs.get('n') == b'12.5' and kvs.get('nothing') is None\n\
         for value in kvs.watch('w'):\n    print(value.decode())\n",
        example("").display()
    );
    watches(&endpoint, endpoint.command("python3", &["-u", "-B", "-c", &board]), "w");
}

#[test]
fn a_board_downloads_its_firmware_in_blocks() {
    let endpoint = Endpoint::start();
    let image: Vec<u8> =
        (0..300_001_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes().into_iter().take(1)).collect();
    let save = |name: &str, bytes: &[u8]| {
        std::fs::File::create(endpoint.folder.path().join(name)).unwrap().write_all(bytes).unwrap();
    };
    save("firmware.bin", &image);
    let publish = |file: &str| {
        let url = format!("{}kv/firmware/esp32", endpoint.url);
        let secret = format!("X-KVS-Auth: {SECRET}");
        let octets = "Content-Type: application/octet-stream";
        assert_eq!(endpoint.run("curl", &["-sS", "-X", "PUT", "-H", &secret, "-H", octets, "-T", file, &url]), "OK");
    };
    publish("firmware.bin");
    let (host, port) = endpoint.url.trim_start_matches("http://").trim_end_matches('/').split_once(':').unwrap();
    let board = format!(
        "import sys\nsys.path.insert(0, {:?})\nimport ota\n\
         firmware = ota.Firmware({host:?}, {port}, 'firmware/esp32')\n\
         flash = bytearray()\n\
         def write(number, block):\n    assert number * 4096 == len(flash) and len(block) == 4096\n    flash.extend(block)\n\
         firmware.download(write)\n\
         image = open('firmware.bin', 'rb').read()\n\
         assert flash[:firmware.size] == image and set(flash[firmware.size:]) == {{255}} and firmware.digest\n\
         firmware.digest = 'sha-256=:AAAA:'\nflash.clear()\n\
         try:\n    firmware.download(write)\n    sys.exit('a wrong hash was accepted')\n\
         except ota.Changed as changed:\n    assert 'the hash' in str(changed)\n\
         print('published', flush=True)\ninput()\nflash.clear()\n\
         try:\n    firmware.download(write)\n    sys.exit('a mixture was accepted')\n\
         except ota.Changed as changed:\n    assert 'another' in str(changed) and not flash\n\
         assert ota.Firmware({host:?}, {port}, 'firmware/esp32').version != firmware.version\n\
         print('done')\n",
        example("").display()
    );
    let mut command = endpoint.command("python3", &["-u", "-B", "-c", &board]);
    let mut board = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(board.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "published");
    save("new.bin", &image[1..]);
    publish("new.bin");
    board.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "done");
    assert!(board.wait().unwrap().success());
}

#[test]
fn the_javascript_example_stores_and_watches() {
    let endpoint = Endpoint::start();
    let poll = example("poll.js").display().to_string();
    assert_eq!(endpoint.run("node", &[&poll, &endpoint.url, "a=50% & +"]), "OK\n");
    assert_eq!(endpoint.run(example("client.sh"), &["get", "a"]), "50% & +");
    watches(&endpoint, endpoint.command("node", &[&poll, &endpoint.url, "w"]), "w");
}

/// The three REST clients, which take the same arguments.
fn rest_clients(endpoint: &Endpoint) -> [Vec<String>; 3] {
    let path = |name| example(name).display().to_string();
    [
        vec!["sh".to_owned(), path("rest.sh")],
        vec!["python3".to_owned(), "-u".to_owned(), path("rest.py"), endpoint.url.clone()],
        vec!["node".to_owned(), path("rest.js"), endpoint.url.clone()],
    ]
}

fn arguments<'a>(client: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    client[1..].iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn the_rest_examples_store_count_and_move() {
    let endpoint = Endpoint::start();
    for client in rest_clients(&endpoint) {
        let run = |args: &[&str]| endpoint.run(&client[0], &arguments(&client, args)).trim_end().to_owned();
        let fails =
            |args: &[&str]| !endpoint.command(&client[0], &arguments(&client, args)).output().unwrap().status.success();
        let odd = "a//b \u{e4}?&#\"'\\%";
        run(&["put", odd, "50% & +"]);
        assert_eq!(run(&["get", odd]), "50% & +");
        run(&["put", "short", "1", "60"]);
        assert!(
            endpoint
                .run("curl", &["-s", &format!("{}kv/default/short?meta", endpoint.url)])
                .contains("\"expires\":\"2")
        );
        assert_eq!((run(&["incr", "n"]), run(&["incr", "n", "41"])), ("1".to_owned(), "42".to_owned()));
        run(&["move", "n", "m", "12"]);
        assert_eq!(run(&["many", "m", "n", "nothing"]), r#"{"m":"12","n":"30"}"#);
        assert!(fails(&["move", "n", "m", "31"]), "{client:?} moved more than the value");
        for key in ["n", "m", odd] {
            run(&["delete", key]);
            assert!(fails(&["get", key]) && fails(&["delete", key]), "{client:?}: {key} is still there");
        }
    }
}

#[test]
fn the_rest_examples_change_one_value_together() {
    let endpoint = Endpoint::start();
    let add = endpoint.folder.path().join("add.sh");
    std::fs::File::create(&add).unwrap().write_all(b"read n || :\necho $((n + 1))\n").unwrap();
    let add = add.display().to_string();
    std::thread::scope(|scope| {
        for client in rest_clients(&endpoint) {
            let (endpoint, add) = (&endpoint, &add);
            scope.spawn(move || {
                let shell = ["update", "sum", "sh", add.as_str()];
                let args = if client[0] == "sh" { &shell[..] } else { &["add", "sum", "1"] };
                for _ in 0..8 {
                    endpoint.run(&client[0], &arguments(&client, args));
                }
            });
        }
    });
    assert_eq!(endpoint.run(example("rest.sh"), &["get", "sum"]).trim(), "24");
}

#[test]
fn the_rest_examples_watch() {
    let endpoint = Endpoint::start();
    for client in rest_clients(&endpoint) {
        let key = format!("w {}", client[0]);
        let watching = Watching::start(endpoint.command(&client[0], &arguments(&client, &["watch", &key])));
        for value in ["one", "two", "three"] {
            endpoint.run(example("rest.sh"), &["put", &key, value]);
            watching.sees(value);
        }
    }
}

/// Tests have no Roku, so this only checks that blocks are closed and that the addresses are those of the API.
#[test]
fn the_roku_example_has_closed_blocks_and_valid_addresses() {
    let text = std::fs::read_to_string(example("roku.brs")).unwrap();
    let mut open = vec![];
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('\'')) {
        let first = line.split_whitespace().next().unwrap_or("");
        match first {
            "end" => assert_eq!(open.pop(), line.split_whitespace().nth(1), "{line}"),
            "function" | "sub" | "while" | "for" => open.push(first),
            // An `if` on one line has no end.
            "if" if line.ends_with("then") => open.push(first),
            _ => {}
        }
        assert_eq!(line.matches('"').count() % 2, 0, "{line}");
        assert_eq!(line.matches('(').count(), line.matches(')').count(), "{line}");
    }
    assert!(open.is_empty(), "{open:?}");
    for address in ["base + \"?k=\"", "base + \"kv/default?key=\"", "&op=incr&by=", "&ttl=", "&wait=25&seen="] {
        assert!(text.contains(address), "{address}");
    }
}

/// The library recipe of README.md, with the store at this URL.
fn the_recipe_for_rust(url: &str) -> kvs::model::Result<()> {
    let client = kvs::blocking::open(url)?;

    client.set("kitchen/temp", "21.5")?;
    client.increment("visits", 1)?;
    client.transaction(|mut t| {
        let last = t.get("kitchen/temp")?.unwrap_or_default();
        t.set("kitchen/yesterday", last)
    })?;
    assert_eq!(client.get_string("kitchen/yesterday")?.as_deref(), Some("21.5"));
    Ok(())
}

#[test]
fn the_recipe_for_rust_compiles_and_works() {
    let readme = include_str!("../../README.md");
    let (_, block) = readme.split_once("```rust\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let here = include_str!("examples.rs");
    for line in block.lines() {
        let line = line.replace("\"yaml:data\"", "url");
        assert!(here.contains(line.trim()), "README.md shows {line:?}, which is not compiled here");
    }
    let folder = tempfile::tempdir().unwrap();
    the_recipe_for_rust(&format!("yaml:{}", folder.path().join("data").display())).unwrap();
}

#[test]
fn the_recipes_for_curl_work_when_pasted() {
    let endpoint = Endpoint::start();
    let recipe = endpoint.recipe("curl", "sh");
    let out = endpoint.run("sh", &["-euc", &recipe]);
    for expected in [
        "OKOKOKOKOK21.5",
        "KVS-Key: attic",
        "no such key",
        "304 Not Modified",
        "OKOK1{\"revision\"",
        "\"deleted\":true",
        "\"type\":\"application/json\"",
        "\"key\":\"kitchen/temp\"",
    ] {
        assert!(out.to_lowercase().contains(&expected.to_lowercase()), "{expected:?} is not in {out}");
    }
    let requests = recipe.matches("\ncurl").count() + recipe.matches("$(curl").count();
    assert!(requests >= 16, "{requests} requests found");
}

#[test]
fn the_recipe_for_python_works_when_pasted() {
    let endpoint = Endpoint::start();
    let recipe = endpoint.recipe("Python", "python");
    assert_eq!(endpoint.run("python3", &["-c", &recipe]), "b'OK'\nb'19.5'\n");
}

#[test]
fn the_recipe_for_browsers_works_when_pasted() {
    let endpoint = Endpoint::start();
    let recipe = endpoint.recipe("JavaScript in a browser", "js");
    let mut file = std::fs::File::create(endpoint.folder.path().join("recipe.mjs")).unwrap();
    file.write_all(recipe.as_bytes()).unwrap();
    let watching = Watching::start(endpoint.command("node", &["recipe.mjs"]));
    watching.sees("19.5");
    endpoint.store("hall", "20");
    watching.sees("20");
}
