//! The request log and the log as JSON: each request has a line and an id, damage is logged once, and nothing that a
//! client sends looks like a line of kvs.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::served::{SECRET, Served};

fn post(server: &Served, form: &str, headers: &str) -> String {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
    server.ask(&format!("{head}\r\n{headers}Content-Length: {}\r\n\r\n{form}", form.len()))
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

/// The lines of the log after the server has ended.
fn lines(mut server: Served) -> Vec<String> {
    server.terminate();
    assert!(server.ended(Duration::from_secs(40)).is_some_and(|status| status.success()), "{}", server.log());
    server.log().lines().map(str::to_owned).collect()
}

fn objects(server: Served) -> Vec<Value> {
    let lines = lines(server);
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn each_request_is_an_object_with_the_id_of_its_response() {
    let server = Served::start(&["--request-log", "on", "--log-format", "json"]);
    let answers = [
        post(&server, &format!("a=the-value&auth={SECRET}"), ""),
        server.get("/?k=a"),
        server.get("/kv/default/none?auth=the-query"),
        server.get("/?k=a"),
    ];
    let ids: Vec<&str> = answers.iter().map(|answer| header(answer, "x-request-id").unwrap()).collect();
    let objects = objects(server);
    let of = |id: &str| objects.iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    for ((id, method), (path, status)) in ids.iter().zip(["POST", "GET", "GET", "GET"]).zip([
        ("/", 200),
        ("/", 200),
        ("/kv/default/none", 400),
        ("/", 200),
    ]) {
        let lines = of(id);
        let [line] = lines[..] else { panic!("{id}: {lines:?}") };
        assert_eq!(
            (&line["method"], &line["path"], &line["status"]),
            (&method.into(), &path.into(), &status.into()),
            "{line}"
        );
        assert_eq!(
            (&line["client"], &line["target"], &line["level"]),
            (&"127.0.0.1".into(), &"kvs::request".into(), &"info".into())
        );
        assert!(line["seconds"].as_f64().unwrap() > 0.0 && line["bytes"].is_u64(), "{line}");
        assert!(
            line["time"].as_str().unwrap().ends_with('Z') && line["message"].as_str().unwrap().contains(method),
            "{line}"
        );
    }
    let text = format!("{objects:?}");
    assert!(!text.contains(SECRET) && !text.contains("the-value") && !text.contains("the-query"), "{text}");
}

#[test]
fn ids_of_web_servers_are_kept_and_others_are_replaced() {
    let server = Served::start(&["--request-log", "on"]);
    let id = |sent: &str| {
        let answer =
            server.ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: {sent}\r\nConnection: close\r\n\r\n"));
        header(&answer, "x-request-id").unwrap().to_owned()
    };
    assert_eq!(id("Zx8@host-1.2:3/4+="), "Zx8@host-1.2:3/4+=");
    for bad in ["a b", "a\"b", "x}: kvs::auth: wrong", &"a".repeat(65), ""] {
        let new = id(bad);
        assert!(new != bad && new.len() > 8, "{bad}: {new}");
    }
    let log = lines(server).join("\n");
    assert!(log.contains("request{id=Zx8@host-1.2:3/4+=}: kvs::request: GET / 200 in "), "{log}");
    assert!(!log.contains("kvs::auth"), "{log}");
}

#[test]
fn requests_have_no_line_and_no_id_by_default() {
    let server = Served::start(&["--log-format", "json"]);
    let answers = [post(&server, &format!("a=1&auth={SECRET}"), ""), server.get("/?k=a")];
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200") && header(&answer, "x-request-id").is_none(), "{answer}");
    }
    let objects = objects(server);
    assert!(objects.iter().all(|line| line["target"] != "kvs::request"), "{objects:?}");
}

#[test]
fn lines_of_a_request_have_its_id() {
    let server = Served::start(&["--request-log", "on", "--log-format", "json"]);
    let wrong = post(&server, "a=1&auth=no-such-secret", "X-Request-Id: guess-1\r\n");
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    let objects = objects(server);
    let warning = objects.iter().find(|line| line["target"] == "kvs::auth").unwrap();
    assert_eq!((&warning["request_id"], &warning["level"]), (&"guess-1".into(), &"warn".into()));
    assert_eq!(warning["message"], "wrong secret from 127.0.0.1, number 1");
}

#[test]
fn damage_is_logged_once_as_json_too() {
    let server = Served::start(&["--log-format", "json"]);
    server.put("/kv/default/a", "1");
    let mut file = std::fs::File::options().append(true).open(server.file("default")).unwrap();
    file.write_all(b"b: &c 1\n").unwrap();
    for _ in 0..4 {
        assert!(server.get("/?k=a").ends_with("\r\n\r\n1"));
        let write = post(&server, &format!("a=2&auth={SECRET}"), "");
        assert!(write.starts_with("HTTP/1.1 500"), "{write}");
        server.get("/readyz");
    }
    let objects = objects(server);
    let about = objects.iter().filter(|line| line["message"].as_str().unwrap().contains("anchors"));
    assert_eq!(about.count(), 1, "{objects:?}");
}

#[test]
fn line_feeds_of_clients_make_no_lines() {
    for format in ["text", "json"] {
        let server = Served::start(&["--request-log", "on", "--log-format", format]);
        let targets =
            ["/kv/default/a%0Akvs::auth:%20wrong", "/x%0D%0Ay", "/%1B%5B31mred", "/kv/default/\u{9b}31m\u{2028}"];
        for target in targets {
            server.get(target);
        }
        let lines = lines(server);
        assert!(lines.iter().all(|line| line.contains("kvs::")), "{lines:?}");
        assert!(!lines.concat().contains(['\u{1b}', '\u{9b}', '\u{2028}', '\r']), "{lines:?}");
        for target in &targets[..3] {
            let of_target = lines.iter().filter(|line| line.contains(&format!("GET {target} ")));
            assert_eq!(of_target.count(), 1, "{target}: {lines:?}");
        }
    }
}

#[test]
fn request_whose_client_has_left_has_a_line() {
    let server = Served::start(&["--request-log", "on"]);
    let mut socket = server.connect();
    let head = format!("PUT /kv/default/a HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: 9\r\n\r\n123");
    socket.write_all(head.as_bytes()).unwrap();
    drop(socket);
    let begin = Instant::now();
    while !server.log().contains("PUT /kv/default/a 499 in ") {
        assert!(begin.elapsed() < Duration::from_secs(30), "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn settings_of_the_log_can_be_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let check = |config: &str| {
        let mut file = std::fs::File::create(folder.path().join("config.yaml")).unwrap();
        file.write_all(config.as_bytes()).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.env_clear().env("KVS_HOME", folder.path()).current_dir(folder.path()).args(["serve", "--check-config"]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, text) = check("log_format: json\nrequest_log: on\n");
    assert!(
        code == Some(0) && text.contains("log_format: json") && text.contains("request_log: on"),
        "{code:?} {text}"
    );
    for (config, advice) in [("log_format: xml\n", "write text or json"), ("request_log: maybe\n", "write on or off")] {
        let (code, text) = check(config);
        assert!(code == Some(2) && text.contains(advice) && text.contains("line 1"), "{code:?} {text}");
    }
}
