//! `make run` in a copy of the source tree: the printed commands can be pasted, and Ctrl-C leaves no process and no
//! file.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::servers::{Server, Way, free_port};
use crate::site::{am_root, open_to_all};

/// The last line of the output.
const LAST: &str = "Ctrl-C stops it";

/// A copy of the source tree, and an empty folder for the files of the script.
struct Tree {
    folder: TempDir,
}

impl Tree {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kvs-tree-").tempdir_in("/tmp").unwrap();
        open_to_all(folder.path());
        let this = Self { folder };
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::create_dir(this.root()).unwrap();
        for name in ["Makefile", ".htaccess", "auth_sample.txt", "deploy"] {
            let copied = Command::new("cp").arg("-a").arg(from.join(name)).arg(this.root()).status().unwrap();
            assert!(copied.success(), "{name}");
        }
        fs::copy(env!("CARGO_BIN_EXE_kvs"), this.program()).unwrap();
        fs::create_dir(this.scratch()).unwrap();
        fs::set_permissions(this.scratch(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
        this
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("the tree")
    }

    /// A built program, so that the script does not build it again with other settings.
    fn program(&self) -> PathBuf {
        self.root().join("kvs")
    }

    fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// `make run` in a process group of its own, as a terminal starts it.
    fn make_run(&self, port: u16) -> Command {
        // A shell that starts the tests in the background makes them ignore SIGINT.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", "make", "run"])
            .arg(format!("PORT={port}"))
            .current_dir(self.root())
            .process_group(0);
        command.env("PROGRAM", self.program()).env("TMPDIR", self.scratch()).env_remove("SITE").env_remove("KVS_HOME");
        command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Processes that run a program of this tree or of its scratch folder, or have a path in it among their arguments.
    fn processes(&self) -> Vec<String> {
        let inside = self.folder.path().display().to_string();
        let describe = |process: fs::DirEntry| {
            let id = process.file_name().into_string().ok().filter(|name| name.parse::<u32>().is_ok())?;
            let exe = fs::read_link(process.path().join("exe")).unwrap_or_default().display().to_string();
            let line = String::from_utf8_lossy(&fs::read(process.path().join("cmdline")).ok()?).replace('\0', " ");
            (exe.contains(&inside) || line.contains(&inside)).then(|| format!("{id}: {exe}: {line}"))
        };
        fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(describe).collect()
    }

    fn assert_left_nothing(&self) {
        let start = Instant::now();
        while !self.processes().is_empty() && start.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.processes(), Vec::<String>::new());
        let left: Vec<_> = fs::read_dir(self.scratch()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A running `make run`.
struct Running {
    child: Child,
    printed: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self { child, printed: String::new() };
        while !this.printed.contains(LAST) {
            if lines.read_line(&mut this.printed).unwrap() == 0 {
                let mut errors = String::new();
                this.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("it ended: {}\n{errors}", this.printed);
            }
        }
        this
    }

    /// The line after a comment, which contains only a command.
    fn line(&self, label: &str) -> &str {
        let mut lines = self.printed.lines().skip_while(|line| *line != format!("# {label}"));
        lines.nth(1).unwrap_or_else(|| panic!("no line {label:?} in {}", self.printed))
    }

    fn paste(&self, label: &str) -> String {
        let output = Command::new("bash").arg("-c").arg(self.line(label)).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", self.line(label));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal as a terminal does: INT on Ctrl-C, HUP when it is closed. Returns the time until the end.
    fn signal(&mut self, signal: Signal) -> Duration {
        let start = Instant::now();
        kill_process_group(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap();
        start.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            _ = kill_process_group(Pid::from_child(&self.child), Signal::TERM);
            _ = self.child.wait();
        }
    }
}

/// Checks that every printed command, in order, does what its label says.
fn assert_lines_work(running: &Running) {
    assert_eq!(running.paste("Store a value"), "OK");
    assert_eq!(running.paste("Read it"), "21.5");
    assert_eq!(running.paste("Store several together"), "OK");
    let latest = running.paste("Read the one of several that was stored last");
    assert!(latest.starts_with("HTTP/1.1 200") && latest.ends_with("\r\n\r\n12"), "{latest}");
    let unchanged = running.paste("Read only what has changed");
    assert!(unchanged.starts_with("HTTP/1.1 304"), "{unchanged}");
    let (start, waited) = (Instant::now(), running.paste("Wait for a key that appears after 3 seconds"));
    assert!(waited.contains("HTTP/1.1 200") && waited.contains("open"), "{waited}");
    assert!((2..10).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let list = running.paste("List all keys");
    assert!(["kitchen/temp", "hall", "attic", "door"].iter().all(|key| list.contains(key)), "{list}");
    let commands: Vec<_> = running.printed.lines().filter(|line| line.contains("curl")).collect();
    assert_eq!(commands.len(), 7, "a line is not tested: {}", running.printed);
    for line in commands {
        assert!(line.starts_with("curl ") || line.starts_with("(sleep 3; curl "), "more than a command: {line}");
    }
    // All lines can be pasted at once: each is a command or a comment.
    let from = running.printed.find("# Store a value").unwrap();
    let block = running.printed.get(from..).and_then(|rest| rest.split("\n\n").next()).unwrap();
    assert!(block.lines().all(|line| line.starts_with("# ") || line.contains("curl ")), "{block}");
}

#[test]
fn printed_commands_work_and_ctrl_c_removes_everything() {
    let tree = Tree::new();
    let mut running = Running::start(tree.make_run(free_port()));
    assert!(running.printed.contains("(Apache and mod_fcgid)"), "{}", running.printed);
    assert_lines_work(&running);
    let took = running.signal(Signal::INT);
    assert!(took < Duration::from_secs(12), "{took:?}");
    tree.assert_left_nothing();
}

#[test]
fn closing_the_terminal_removes_everything() {
    let tree = Tree::new();
    let mut running = Running::start(tree.make_run(free_port()));
    running.signal(Signal::HUP);
    tree.assert_left_nothing();
}

#[test]
fn it_runs_as_an_ordinary_user_next_to_another_apache() {
    let other = Server::start(Way::ModFcgid);
    let tree = Tree::new();
    let mut command = tree.make_run(free_port());
    if am_root() {
        command.uid(65534).gid(65534).env("HOME", "/nonexistent");
    }
    let mut running = Running::start(command);
    assert!(running.printed.contains("(Apache and mod_fcgid)"), "{}", running.printed);
    assert_lines_work(&running);
    running.signal(Signal::INT);
    tree.assert_left_nothing();
    assert_eq!(other.send(&crate::script::form("still=here")).status, 200, "the other Apache has gone");
}

#[test]
fn data_is_kept_in_the_given_folder() {
    let tree = Tree::new();
    let (kept, port) = (tree.folder.path().join("my-site"), free_port());
    let start = || {
        let mut command = tree.make_run(port);
        Running::start({
            command.env("SITE", &kept);
            command
        })
    };
    let mut first = start();
    assert_eq!(first.paste("Store a value"), "OK");
    let (read, secret) = (first.line("Read it").to_owned(), fs::read(kept.join("auth.txt")).unwrap());
    first.signal(Signal::INT);
    let mut second = start();
    assert_eq!((second.line("Read it"), second.paste("Read it")), (read.as_str(), "21.5".to_owned()));
    assert_eq!(fs::read(kept.join("auth.txt")).unwrap(), secret);
    assert_eq!(second.paste("Store several together"), "OK");
    second.signal(Signal::INT);
    tree.assert_left_nothing();
    let data = fs::read_to_string(kept.join("data/default.yaml")).unwrap();
    assert!(data.contains("kitchen/temp:") && data.contains("attic:"), "{data}");
}

#[test]
fn a_folder_with_a_space_in_its_name_is_refused() {
    let tree = Tree::new();
    let output = tree.make_run(free_port()).env("SITE", tree.folder.path().join("my site")).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && errors.contains("a folder with a space in its name"), "{errors}");
    tree.assert_left_nothing();
}

/// A command on a machine without Apache where nothing can be installed.
fn without_apache(tree: &Tree, port: u16) -> Command {
    let script = tree.root().join("deploy/run.sh");
    let text = fs::read_to_string(&script).unwrap();
    assert!(text.contains("/usr/lib/apache2/modules"), "the script looks in another folder");
    fs::write(&script, text.replace("/usr/lib/apache2/modules", "/usr/lib/no-such-folder")).unwrap();
    let tools = tree.folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    for folder in ["/usr/bin", "/bin"] {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("apt") && name != "sudo" && !tools.join(&name).exists() {
                _ = symlink(entry.path(), tools.join(&name));
            }
        }
    }
    let mut command = tree.make_run(port);
    command.env("PATH", tools);
    command
}

#[test]
fn without_apache_kvs_serves_http_itself() {
    let tree = Tree::new();
    let mut running = Running::start(without_apache(&tree, free_port()));
    assert!(running.printed.contains("Apache with mod_fcgid is missing"), "{}", running.printed);
    assert!(running.printed.contains("(without Apache)"), "{}", running.printed);
    assert_lines_work(&running);
    let took = running.signal(Signal::INT);
    assert!(took < Duration::from_secs(5), "{took:?}");
    tree.assert_left_nothing();
}

#[test]
fn a_port_in_use_is_reported_with_a_suggestion() {
    let other = Server::start(Way::Http);
    let tree = Tree::new();
    let output = tree.make_run(other.port).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(errors.contains(&format!("port {} is taken; choose another: make run PORT=", other.port)), "{errors}");
    tree.assert_left_nothing();
}
