//! A person and clients at one file, in random scenarios: posts by several processes, `sed -i`, editors that save in
//! place or by rename, an old copy that is put back as FTP clients do, mistakes and their repair, `kill -9`; through a
//! server, through programs as `mod_fcgid` spawns them, and as CGI.
//!
//! At rest the file is one document in which `PyYAML` finds what HTTP returns. Every comment of the person is there, in
//! order. Every acknowledged value is served or set aside. Every change of a value has another `ETag`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use kvs::yaml::{FileSystem as _, RealFileSystem};

use crate::cli::Place;
use crate::cli::serving::{Server, cgi, fastcgi, spawn_fastcgi};
use crate::support::disks::seed::Seed;

const SECRET: &str = "the-secret-of-the-person";
const KEYS: usize = 6;
const HEADER: &str = "# kvs bucket: ";

/// How requests reach kvs.
enum Front {
    Served(Server),
    Spawned(PathBuf, Child),
    Cgi,
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Self::Spawned(_, child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Front {
    fn start(kind: u64, place: &Place) -> Self {
        match kind % 3 {
            0 => Self::Served(Server::start(place, &["--http", "127.0.0.1:0", "--tidy-after", "100ms"])),
            1 => {
                let socket = place.path("socket");
                let child = spawn_fastcgi(place, &socket);
                Self::Spawned(socket, child)
            }
            _ => Self::Cgi,
        }
    }

    fn get(&self, place: &Place, key: &str) -> String {
        let query = format!("k={key}");
        match self {
            Self::Served(server) => server.get(&format!("/?{query}")),
            Self::Spawned(socket, _) => fastcgi(socket, ("GET", &query), ""),
            Self::Cgi => cgi(place, &query).text().to_owned(),
        }
    }

    /// Returns whether the post was acknowledged. For CGI the command line posts, which is a process of its own too.
    fn post(&self, place: &Place, key: &str, value: &str) -> bool {
        let form = format!("{key}={}&auth={SECRET}", value.replace(' ', "+"));
        match self {
            Self::Served(server) => server.post(&form).starts_with("HTTP/1.1 200"),
            Self::Spawned(socket, _) => fastcgi(socket, ("POST", ""), &form).contains("Status: 200"),
            Self::Cgi => place.run(&["set", key, value]).code == 0,
        }
    }
}

/// What a client got for a key: its `ETag` and its value.
type Answer = Option<(String, String)>;

struct World {
    place: Place,
    front: Front,
    seed: Seed,
    number: u64,
    /// Acknowledged values that no person has changed since.
    acknowledged: BTreeMap<String, String>,
    /// Earlier versions of the file.
    old: Vec<String>,
    comments: Vec<String>,
    /// The value for each `ETag` of a key.
    tags: HashMap<(String, String), String>,
    log: Vec<String>,
}

impl World {
    fn new(number: u64) -> Self {
        let place = Place::new();
        place.file("auth.txt", format!("{SECRET}\n"));
        place.file("config.yaml", "tidy_after: 100ms\n");
        let mut seed = Seed::new(number);
        if seed.below(2) == 0 {
            std::fs::create_dir(place.path("data")).unwrap();
            place.file(
                "data/default.yaml",
                "# My house\n\nk0: cold   # in winter\n# the hall\nk1: 'it''s dark'\n\n# end\n",
            );
        } else {
            place.run(&["set", "k0", "first"]).ok();
        }
        let front = Front::start(number, &place);
        let mut world = Self {
            place,
            front,
            seed,
            number,
            acknowledged: BTreeMap::new(),
            old: vec![],
            comments: vec![],
            tags: HashMap::new(),
            log: vec![format!("scenario {number}")],
        };
        world.comments = world.comments_now();
        world
    }

    fn data(&self) -> PathBuf {
        self.place.path("data/default.yaml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.data()).unwrap()
    }

    fn comments_now(&self) -> Vec<String> {
        let text = self.text();
        // A comment after a value gets a line of its own when the value takes several lines.
        let others = ["# kvs", "# You", "# in winter"];
        let is_note = |line: &&str| line.starts_with('#') && !others.iter().any(|other| line.starts_with(other));
        text.lines().filter(is_note).map(str::to_owned).collect()
    }

    /// Waits until no process has anything to tidy.
    fn rest(&self) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            // A killed program leaves its work to the next one.
            self.front.get(&self.place, "k0");
            let text = self.text();
            if !text.lines().any(|line| line.starts_with("---") || line.starts_with("...")) {
                return text;
            }
            assert!(Instant::now() < end, "not at rest: {:#?}\n{text}", self.log);
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn save(&mut self, text: &str) {
        if self.seed.below(2) == 0 {
            self.place.file("data/default.yaml", text);
        } else {
            let copy = self.place.file("data/.default.yaml.swp", text);
            RealFileSystem.rename(copy.as_ref(), &self.data()).unwrap();
        }
    }

    fn step(&mut self, n: usize) {
        let key = format!("k{}", self.seed.below(KEYS));
        let what = self.seed.below(12);
        self.log.push(format!("{n}: {what} of {key}"));
        match what {
            0..=3 => {
                let value = format!("posted {n}");
                assert!(self.front.post(&self.place, &key, &value), "{:#?}", self.log);
                self.acknowledged.insert(key, value);
            }
            4 => {
                self.place.run(&["set", &key, &format!("set {n}\nin two lines")]).ok();
                self.acknowledged.insert(key, format!("set {n}\nin two lines"));
            }
            5 | 6 => self.change_value(&key, n),
            7 => {
                let text = self.rest();
                let end = if text.ends_with('\n') { "" } else { "\n" };
                let comment = format!("# note {n}");
                self.save(&format!("{text}{end}{comment}\nnew{n}: by hand\n"));
                self.comments.push(comment);
            }
            8 => {
                let text = self.text();
                self.old.push(text);
            }
            9 => self.put_back(),
            10 => self.make_a_mistake(&key),
            _ => {
                // Drop kills.
                self.front = Front::Cgi;
                self.front = Front::start(self.number, &self.place);
            }
        }
    }

    /// Like `sed -i 's/^k1: .*/k1: .../'`.
    fn change_value(&mut self, key: &str, n: usize) {
        let text = self.rest();
        let lines: Vec<&str> = text.lines().collect();
        let Some(at) = lines.iter().position(|line| line.starts_with(&format!("{key}: "))) else { return };
        let (line, value) = (lines[at], format!("by hand {n}"));
        let new = match line.split_once("{value: ").and_then(|(_, rest)| rest.split_once(", updated: ")) {
            // The person does not change the time.
            Some((_, rest)) if n.is_multiple_of(2) => format!("{key}: {{value: {value}, updated: {rest}"),
            _ => format!("{key}: {value}"),
        };
        let text: String =
            lines.iter().enumerate().map(|(n, line)| format!("{}\n", if n == at { &new } else { *line })).collect();
        self.save(&text);
        self.acknowledged.remove(key);
        let found = self.look(key);
        assert_eq!(found.map(|(_, value)| value).as_deref(), Some(value.as_str()), "{:#?}\n{text}", self.log);
    }

    fn put_back(&mut self) {
        let Some(text) = self.old.last().cloned() else { return };
        // An editor that had the file open the whole time.
        self.save(&text);
        self.check();
        self.comments = self.comments_now();
    }

    fn make_a_mistake(&mut self, key: &str) {
        let good = self.rest();
        let before = self.look(key);
        self.save(&format!("{good}hello world\n"));
        assert_eq!(self.look(key), before, "the last good state is served: {:#?}", self.log);
        assert!(!self.front.post(&self.place, key, "refused"), "{:#?}", self.log);
        let check = self.place.run(&["check"]);
        assert!(check.code == 1 && check.text().contains("`hello world` has no colon"), "{check:?}");
        self.save(&good);
        assert_eq!(self.look(key), before, "{:#?}", self.log);
    }

    /// Checks that one `ETag` identifies one value.
    fn look(&mut self, key: &str) -> Answer {
        let answer = self.front.get(&self.place, key);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}: {:#?}", self.log));
        if head.contains(" 404") {
            return None;
        }
        assert!(head.contains(" 200"), "{answer}: {:#?}", self.log);
        let tag =
            head.lines().find_map(|line| line.get(..6)?.eq_ignore_ascii_case("etag: ").then(|| &line[6..])).unwrap();
        let known = self.tags.entry((key.to_owned(), tag.to_owned())).or_insert_with(|| body.to_owned()).clone();
        assert_eq!(known, body, "{key} has the old {tag}: {:#?}\n{}", self.log, self.text());
        Some((tag.to_owned(), body.to_owned()))
    }

    /// Checks that every acknowledged value is served or set aside. The person knows of those that are set aside.
    fn check(&mut self) {
        let mut lost = vec![];
        for n in 0..KEYS {
            let key = format!("k{n}");
            let served = self.look(&key).map(|(_, value)| value);
            if self.acknowledged.get(&key).is_some_and(|value| served.as_ref() != Some(value)) {
                lost.push(key);
            }
        }
        if lost.is_empty() {
            return;
        }
        let mut aside = vec![];
        for file in std::fs::read_dir(self.place.path("data")).unwrap().map(|file| file.unwrap().path()) {
            if file.to_string_lossy().contains(".yaml.overwritten-") {
                let text = std::fs::read_to_string(&file).unwrap();
                let entries = kvs::yaml::read_text(&text).unwrap();
                aside.extend(entries.into_iter().map(|(key, given)| (key.to_string(), given.value)));
            }
        }
        for key in lost {
            let value = self.acknowledged.remove(&key).unwrap();
            assert!(aside.contains(&(key.clone(), value.clone().into())), "{key}: {value} is lost: {:#?}", self.log);
        }
    }

    fn end(mut self) -> (String, BTreeMap<String, String>) {
        self.check();
        let text = self.rest();
        assert_eq!(self.comments_now(), self.comments, "{:#?}\n{text}", self.log);
        assert!(!text.contains(HEADER) || text.starts_with(HEADER), "{text}");
        let served = (0..KEYS).filter_map(|n| {
            let key = format!("k{n}");
            Some((key.clone(), self.look(&key)?.1))
        });
        let served = served.collect();
        (text, served)
    }
}

/// What `PyYAML` reads from each of these files.
fn safe_load(files: &[String]) -> Vec<BTreeMap<String, String>> {
    const SCRIPT: &str = "\
import json, sys, yaml
def value(entry):
    entry = entry.get('value', entry.get('json')) if isinstance(entry, dict) else entry
    return entry if isinstance(entry, str) else json.dumps(entry)
print(json.dumps([{k: value(v) for k, v in (yaml.safe_load(t) or {}).items()} for t in json.load(sys.stdin)]))";
    let mut python = std::process::Command::new("/usr/bin/python3");
    python.args(["-c", SCRIPT]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = python.spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), files).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn scenarios(numbers: std::ops::Range<u64>) {
    let (mut texts, mut served) = (vec![], vec![]);
    for number in numbers {
        let mut world = World::new(number);
        for n in 0..12 {
            world.step(n);
            world.check();
        }
        let (text, values) = world.end();
        texts.push(text);
        served.push(values);
    }
    for ((text, values), mut found) in texts.iter().zip(served).zip(safe_load(&texts)) {
        found.retain(|key, _| !key.starts_with("new"));
        assert_eq!(found, values, "{text}");
    }
}

#[test]
fn clients_and_a_person_lose_nothing_in_first_scenarios() {
    scenarios(0..100);
}

#[test]
fn clients_and_a_person_lose_nothing_in_last_scenarios() {
    scenarios(100..200);
}
