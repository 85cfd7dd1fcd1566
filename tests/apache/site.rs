//! The folder of a site as the documentation describes it, and the processes that run its program.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A secret with all rights.
pub(crate) const SECRET: &str = "Secret-that-may-do-all-7Qx2";
/// A secret that allows only reading.
pub(crate) const READER: &str = "Secret-that-may-read-9Kd4";
/// A wrong secret, which is in no file.
pub(crate) const WRONG: &str = "Secret-of-nobody-3Vb8";
/// Content of files that must not be served.
pub(crate) const MARK: &str = "Text-that-must-not-be-served-5Jw1";

/// A folder with `site/` and `run/` in it, removed at the end.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// A folder with `.htaccess`, `auth.txt` and the program under both its names.
    pub(crate) fn new() -> Self {
        // Not below the home of the user who runs the tests, because the web server runs as another user.
        let folder = tempfile::Builder::new().prefix("kvs-test-").tempdir_in("/tmp").unwrap();
        open_to_all(folder.path());
        let this = Self { folder };
        fs::create_dir(this.root()).unwrap();
        fs::create_dir(this.run()).unwrap();
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::copy(top.join(".htaccess"), this.root().join(".htaccess")).unwrap();
        fs::copy(top.join("auth_sample.txt"), this.root().join("auth_sample.txt")).unwrap();
        fs::write(this.root().join("auth.txt"), format!("# {MARK}\n{SECRET}\n{READER} read\n")).unwrap();
        for name in ["kvs.fcgi", "kvs.cgi"] {
            fs::copy(env!("CARGO_BIN_EXE_kvs"), this.root().join(name)).unwrap();
            open_to_all(&this.root().join(name));
        }
        for dir in [this.root(), this.run()] {
            open_to_all(&dir);
            give_to_server(&dir);
        }
        this
    }

    /// The folder of `kvs init`, uploaded by a plain copy to a host that runs programs as the owner of the folder, and
    /// the secret that was printed.
    pub(crate) fn of_init() -> (Self, String) {
        let this = Self::new();
        fs::remove_dir_all(this.root()).unwrap();
        let made = this.run().join("made");
        let init = Command::new(env!("CARGO_BIN_EXE_kvs")).arg("init").arg(&made).output().unwrap();
        assert!(init.status.success(), "{init:?}");
        assert!(Command::new("cp").arg("-r").args([&made, &this.root()]).status().unwrap().success());
        fs::remove_dir_all(made).unwrap();
        let uploaded = fs::read_dir(this.root()).unwrap().map(|entry| entry.unwrap().path());
        uploaded.chain([this.root()]).for_each(|path| give_to_server(&path));
        (this, String::from_utf8(init.stdout).unwrap().trim_end().to_owned())
    }

    /// The served folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// The folder of logs, sockets and locks.
    pub(crate) fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// All logs and output of the servers.
    pub(crate) fn logs(&self) -> String {
        let mut parts = vec![];
        for entry in fs::read_dir(self.run()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "log") {
                let bytes = fs::read(&path).unwrap();
                parts.push(format!("--- {}\n{}\n", path.display(), String::from_utf8_lossy(&bytes)));
            }
        }
        parts.concat()
    }

    /// The processes that run a program of this folder: their ids and programs.
    pub(crate) fn programs(&self) -> Vec<(i32, String)> {
        let root = self.root().display().to_string();
        let program = |process: fs::DirEntry| {
            let exe = fs::read_link(process.path().join("exe")).ok()?.display().to_string();
            let id = process.file_name().to_str()?.parse().ok()?;
            exe.starts_with(&root).then_some((id, exe))
        };
        fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(program).collect()
    }
}

/// Makes a file readable and executable for everyone.
pub(crate) fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes `www-data` the owner of a file: if root starts the web servers, they run as this user and must be able to
/// write.
pub(crate) fn give_to_server(path: &Path) {
    if am_root() {
        let (user, group) = server_ids();
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Whether the tests run as root.
pub(crate) fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The names of the user and the group of Apache.
pub(crate) fn server_names() -> (String, String) {
    if am_root() {
        return ("www-data".into(), "www-data".into());
    }
    // If another user starts Apache, it keeps this user and only checks that the names exist.
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    (format!("#{user}"), format!("#{group}"))
}

fn server_ids() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|l| l.starts_with("www-data:")).expect("the user www-data");
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}
