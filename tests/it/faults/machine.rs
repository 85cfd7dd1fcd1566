//! A server on a machine with faults: its process runs as an ordinary user, so that modes of files matter, with
//! `faulty_calls.c` loaded, and if a fault needs it on a file system of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::support::served::Served;

/// The user and the group of the server, if the tests run as root.
const NOBODY: u32 = 65_534;

/// The size of the file system of its own.
const DISK: &str = "6m";

/// The library of `faulty_calls.c`, compiled once.
static FAULTY_CALLS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("faulty_calls.c"), folder.path().join("faulty_calls.so"));
    save(&source, include_str!("faulty_calls.c"));
    let mut compiler = Command::new("gcc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let output = compiler.output().expect("gcc; see tests/packages.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(&library).unwrap()
});

/// Whether this user may mount a file system, in a namespace of its own.
pub(super) static MAY_MOUNT: LazyLock<bool> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(namespace()).args(["mount", "-t", "tmpfs", "none"]).arg(folder.path());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
});

fn namespace() -> &'static [&'static str] {
    if geteuid().is_root() { &["-m"] } else { &["-r", "-m"] }
}

/// Whether the data is on a file system of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disk {
    Shared,
    Own,
}

/// A running server and what can be done to it.
pub(super) struct Machine {
    pub(super) served: Served,
    disk: Disk,
}

/// Opens the program as the present user, who may read it, and runs it as another one.
const START: &str = r#"
exec 3<"$1"; shift
mkdir -p "$KVS_HOME/data"
if [ -n "$OWN_DISK" ]; then mount -t tmpfs -o size=$OWN_DISK,mode=700 none "$KVS_HOME/data"; fi
become=
if [ "$(id -u)" = 0 ] && [ -n "$BECOME" ]; then
  chown "$BECOME:$BECOME" "$KVS_HOME/data"
  become="setpriv --reuid=$BECOME --regid=$BECOME --clear-groups"
fi
exec $become env LD_PRELOAD="$KVS_HOME/faulty_calls.so" /proc/self/fd/3 "$@"
"#;

impl Machine {
    /// Starts a server, and waits until it is ready.
    pub(super) fn start(disk: Disk, flags: &[&str]) -> Self {
        let served = Served::started(|folder| prepare(folder, disk), flags);
        Self { served, disk }
    }

    /// Starts a server on the same data after this one has ended.
    pub(super) fn start_again(&mut self, flags: &[&str]) {
        let disk = self.disk;
        self.served.start_again(|folder| prepare(folder, disk), flags);
    }

    /// The folder of the data, as this process finds it.
    pub(super) fn data(&self) -> PathBuf {
        let data = self.served.folder().join("data");
        match self.disk {
            Disk::Shared => data,
            Disk::Own => PathBuf::from(format!("/proc/{}/root{}", self.id(), data.display())),
        }
    }

    pub(super) fn id(&self) -> i32 {
        self.served.id().as_raw_nonzero().get()
    }

    /// Lets calls fail: each line is `CALL ERRNO PART`, as `faulty_calls.c` describes.
    pub(super) fn fail(&self, lines: &str) {
        let (new, control) = (self.served.folder().join("faults.new"), self.served.folder().join("faults"));
        save(&new, lines);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        rename(&new, &control);
    }

    /// Ends what [`fail`](Self::fail) began.
    pub(super) fn mend(&self) {
        let _ = fs::remove_file(self.served.folder().join("faults"));
    }

    /// Runs a command in the mount namespace of the server.
    pub(super) fn inside(&self, command: &[&str]) {
        let id = self.id().to_string();
        let mut all = Command::new("nsenter");
        all.args(["-t", &id, "-m"]);
        if !geteuid().is_root() {
            all.args(["-U", "--preserve-credentials"]);
        }
        let output = all.args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Sets a limit of the process, named as by `prlimit`; `None` is as much as it may have.
    pub(super) fn limit(&self, name: &str, value: Option<u64>) {
        // Only its user may, if root lacks the right CAP_SYS_RESOURCE.
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "prlimit"]);
            command
        } else {
            Command::new("prlimit")
        };
        let file = fs::read_to_string(format!("/proc/{}/limits", self.id())).unwrap();
        let title = match name {
            "nofile" => "Max open files",
            "nproc" => "Max processes",
            "as" => "Max address space",
            "data" => "Max data size",
            _ => "Max file size",
        };
        let line = file.lines().find_map(|line| line.strip_prefix(title)).unwrap();
        let most = line.split_whitespace().nth(1).unwrap();
        let value = value.map_or(most.to_owned(), |value| value.to_string());
        let output = command.arg(format!("--pid={}", self.id())).arg(format!("--{name}={value}:")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The files of the blobs of the bucket `default`.
    pub(super) fn blobs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data().join("blobs/default")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_none() && !path.ends_with("lock")).collect()
    }
}

fn prepare(folder: &TempDir, disk: Disk) -> Command {
    let folder = folder.path();
    save(&folder.join("faulty_calls.so"), &*FAULTY_CALLS);
    let auth = folder.join("auth.txt");
    // The server reads it when it starts; the folder stays that of the tests, so that only they remove it.
    for path in [folder, &auth] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        if geteuid().is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let mut command = Command::new(if disk == Disk::Own { "unshare" } else { "sh" });
    if disk == Disk::Own {
        command.args(namespace()).arg("sh").env("OWN_DISK", DISK);
    }
    if geteuid().is_root() {
        command.env("BECOME", NOBODY.to_string());
    }
    command.args(["-ec", START, "sh", env!("CARGO_BIN_EXE_kvs")]);
    command.current_dir(folder).stdin(Stdio::null());
    command.env("KVS_HOME", folder).env("FAULTS_FILE", folder.join("faults"));
    command
}

/// Writes a file as other programs do.
pub(super) fn save(path: &Path, content: impl AsRef<[u8]>) {
    use std::io::Write as _;
    fs::File::create(path).unwrap().write_all(content.as_ref()).unwrap();
}

/// Renames a file as other programs do.
pub(super) fn rename(from: &Path, to: &Path) {
    kvs::yaml::FileSystem::rename(&kvs::yaml::RealFileSystem, from, to).unwrap();
}

/// Sets the mode of a file.
pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
