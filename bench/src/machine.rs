//! The machine that the measurement ran on, for the report.

use std::fs;
use std::path::Path;

use crate::places;
use crate::turns::float;

/// Names and values: processor, memory, system and disk.
pub(crate) fn describe(sync_seconds: f64) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kilobytes: usize = field("/proc/meminfo", "MemTotal:").trim_end_matches(" kB").parse().unwrap_or(0);
    vec![
        ("processor", format!("{}, {cores} cores", field("/proc/cpuinfo", "model name\t:"))),
        ("memory", format!("{:.0} GiB", float(kilobytes) / float(1 << 20))),
        ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease").trim())),
        ("distribution", field("/etc/os-release", "PRETTY_NAME=").trim_matches('"').to_owned()),
        ("file system of the data", file_system(&places::target())),
        ("append and fdatasync, median", format!("{:.2} ms", sync_seconds * 1000.0)),
    ]
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The rest of the first line that begins with this name.
fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or("unknown").trim().to_owned()
}

/// The type of the file system of a path: that of the longest mount point above it.
fn file_system(path: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounted.filter(|(folder, _)| path.starts_with(folder));
    above.max_by_key(|(folder, _)| folder.len()).map_or("unknown", |(_, kind)| kind).to_owned()
}
