//! A limit of the memory of a process by the kernel, as containers and `MemoryMax=` of systemd set it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::machine::save;

/// Where groups of processes are limited: the second version of cgroups, else the first one.
const HIERARCHIES: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// The folder and the file of the limit, where this user may limit memory.
static HIERARCHY: LazyLock<Option<(&'static Path, &'static str)>> = LazyLock::new(|| {
    HIERARCHIES.into_iter().map(|(folder, file)| (Path::new(folder), file)).find(|(folder, file)| {
        let probe = folder.join(format!("kvs-probe-{}", std::process::id()));
        let is_limited =
            fs::create_dir(&probe).is_ok() && fs::File::options().write(true).open(probe.join(file)).is_ok();
        let _ = fs::remove_dir(&probe);
        is_limited
    })
});

/// Whether this user may limit the memory of a process.
pub(super) fn may_limit() -> bool {
    HIERARCHY.is_some()
}

/// A group of processes with a limit, until dropped.
pub(super) struct Container {
    parent: &'static Path,
    folder: PathBuf,
}

impl Container {
    /// Limits a process to this number of bytes: its own memory, and what it reads and writes of files.
    pub(super) fn around(id: i32, bytes: u64) -> Self {
        let (parent, limit) = HIERARCHY.expect("see may_limit");
        let folder = parent.join(format!("kvs-{id}"));
        fs::create_dir(&folder).unwrap();
        let container = Self { parent, folder };
        save(&container.folder.join(limit), bytes.to_string());
        save(&container.folder.join("cgroup.procs"), id.to_string());
        container
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let ids = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for id in ids.lines() {
            // A process may have ended meanwhile.
            let all = fs::File::options().write(true).open(self.parent.join("cgroup.procs"));
            let _ = all.and_then(|mut file| std::io::Write::write_all(&mut file, id.as_bytes()));
        }
        let _ = fs::remove_dir(&self.folder);
    }
}
