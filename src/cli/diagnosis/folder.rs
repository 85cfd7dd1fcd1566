//! Checks of the folder of a site or a server: rights, disk, locks, clock and data.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use fs2::FileExt as _;

use super::{Diagnosis, Finding, note_if, problem_if, site_files};
use crate::cli::config::settings::CliSettings;
use crate::cli::exit::CliResult;
use crate::model::{Clock as _, Revision, SystemClock, Time};
use crate::store::{Severity, Store, Task, all_buckets};
use crate::yaml::fs::folder_of;

/// Free space below which a warning makes sense: 100 MiB.
const MIN_FREE_BYTES: u64 = 100 << 20;
const MIN_FREE_FILES: u64 = 1_000;
/// The smallest limit of open files with which any number of buckets works.
const MIN_OPEN_FILES: u64 = 64;
/// A clock that shows an earlier time is wrong: 2026-01-01.
const EARLIEST: Time = Time::from_nanos(1_767_225_600_000_000_000);
/// Revisions may be this far ahead of the clock.
const MAX_AHEAD: Duration = Duration::from_secs(5);
/// The kinds of file systems that are on other machines, by the number that the system gives them.
const NETWORK: [(i64, &str); 5] =
    [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB2"), (0x517B, "SMB"), (0x0102_1997, "9P")];

/// Checks the folder of `auth.txt`, the store and the machine.
pub(crate) async fn check(settings: &CliSettings, diagnosis: &mut Diagnosis) -> CliResult {
    check_machine(diagnosis);
    check_secrets(settings, diagnosis);
    site_files::check(folder_of(&settings.auth.path), diagnosis);
    if let Some(folder) = settings.store.folder() {
        if !folder.exists() {
            diagnosis.check(check_writing(folder_of(&folder)));
            diagnosis
                .check(Some(Finding::Note(format!("there is no {} yet; the first write makes it", folder.display()))));
            return Ok(());
        }
        check_folder(&folder, diagnosis);
    }
    check_data(settings, diagnosis).await;
    Ok(())
}

fn check_machine(diagnosis: &mut Diagnosis) {
    let now = SystemClock.now();
    diagnosis.check(problem_if(now < EARLIEST, || {
        format!("the clock of this machine shows {now}; correct it (NTP), because revisions are times")
    }));
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    diagnosis.check(problem_if(files < MIN_OPEN_FILES, || {
        format!("only {files} files may be open (ulimit -n); kvs needs {MIN_OPEN_FILES}, and one for each connection")
    }));
}

fn check_secrets(settings: &CliSettings, diagnosis: &mut Diagnosis) {
    let path = &settings.auth.path;
    let text = fs::read_to_string(path);
    let name = path.display();
    diagnosis.check(match &text {
        Ok(text) if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) => Some(
            Finding::Problem(format!("{name} has no secret, so nobody can write; `kvs passcode --write` makes one")),
        ),
        Ok(_) => None,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Some(Finding::Problem(format!("there is no {name}, so nobody can write; `kvs passcode --write` makes it")))
        }
        Err(e) => Some(Finding::Problem(format!("{name} cannot be read by this user: {e}"))),
    });
    diagnosis.check(settings.exposure().map(Finding::Problem));
}

fn check_folder(folder: &Path, diagnosis: &mut Diagnosis) {
    diagnosis.check(check_writing(folder));
    let name = folder.display();
    let Ok(system) = rustix::fs::statfs(folder) else { return };
    let kind = NETWORK.iter().find(|(number, _)| *number == system.f_type);
    diagnosis.check(kind.map(|(_, kind)| {
        let text = format!(
            "{name} is on another machine ({kind}), whose locks and syncs cannot be relied on; use a local disk"
        );
        Finding::Problem(text)
    }));
    let free = system.f_bavail.saturating_mul(u64::try_from(system.f_bsize).unwrap_or(0));
    diagnosis.check(problem_if(free < MIN_FREE_BYTES, || {
        format!("the disk of {name} has only {} MiB left; free some space, or writes get 507", free >> 20)
    }));
    diagnosis.check(problem_if(system.f_files > 0 && system.f_ffree < MIN_FREE_FILES, || {
        format!("the disk of {name} has room for only {} more files; remove some, or writes get 507", system.f_ffree)
    }));
    let rights = folder.metadata().ok();
    diagnosis.check(
        rights
            .as_ref()
            .filter(|rights| rights.permissions().mode() & 0o002 != 0)
            .map(|_| Finding::Problem(format!("every user of this machine can change {name}: chmod o-w {name}"))),
    );
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, file) = (entry.path(), entry.metadata());
        let is_data = path.extension().is_some_and(|ending| ending == "yaml" || ending == "lock");
        if let (true, Ok(file)) = (is_data, file) {
            check_file(&path, &file, rights.as_ref().map(MetadataExt::uid), diagnosis);
        }
    }
}

fn check_file(path: &Path, file: &fs::Metadata, owner: Option<u32>, diagnosis: &mut Diagnosis) {
    let name = path.display();
    let usable = fs::OpenOptions::new().read(true).append(true).open(path);
    diagnosis.check(usable.err().map(|e| {
        let text = format!(
            "{name} cannot be written by this user ({e}); give it to the user who runs kvs: chown, or chmod u+rw"
        );
        Finding::Problem(text)
    }));
    diagnosis.check(problem_if(file.permissions().mode() & 0o002 != 0, || {
        format!("every user of this machine can change {name}: chmod o-w {name}")
    }));
    diagnosis.check(note_if(owner.is_some_and(|owner| owner != file.uid()), || {
        format!("{name} and its folder have different owners; if kvs runs as the owner of the folder, it cannot change the file's rights")
    }));
    diagnosis.check(problem_if(file.is_file() && file.nlink() > 1, || {
        format!(
            "{name} has a second name (a hard link), so kvs does not write to it; copy the file and remove the link"
        )
    }));
}

/// Creates, writes, syncs, renames, locks and removes a file in the folder.
fn check_writing(folder: &Path) -> Option<Finding> {
    let path = folder.join(format!(".kvs-doctor-{}", std::process::id()));
    let renamed = folder.join(format!(".kvs-doctor-{}.new", std::process::id()));
    let tried = (|| -> Result<bool, (&str, std::io::Error)> {
        let mut file = File::create(&path).map_err(|e| ("create a file", e))?;
        file.write_all(b"kvs doctor\n").map_err(|e| ("write a file", e))?;
        file.sync_all().map_err(|e| ("sync a file", e))?;
        rustix::fs::rename(&path, &renamed).map_err(|e| ("rename a file", e.into()))?;
        let other = File::open(&renamed).map_err(|e| ("open a file", e))?;
        file.try_lock_exclusive().map_err(|e| ("lock a file", e))?;
        Ok(other.try_lock_exclusive().is_err())
    })();
    let _ = fs::remove_file(&path);
    let _ = fs::remove_file(&renamed);
    match tried {
        Ok(true) => None,
        Ok(false) => Some(Finding::Problem(format!(
            "locks have no effect in {}, so two processes can damage the data; use a local disk",
            folder.display()
        ))),
        Err((doing, e)) => Some(Finding::Problem(format!(
            "this user cannot {doing} in {} ({e}); give the folder to the user who runs kvs, and check the disk",
            folder.display()
        ))),
    }
}

/// Reads all data, and compares its times with the clock.
async fn check_data(settings: &CliSettings, diagnosis: &mut Diagnosis) {
    let store = match settings.open() {
        Ok(opened) => opened.store,
        Err(failure) => return diagnosis.check(Some(Finding::Problem(failure.text().to_owned()))),
    };
    let buckets = match all_buckets(&*store).await {
        Ok(buckets) => buckets,
        Err(error) => return diagnosis.check(Some(Finding::Problem(format!("{}: {error}", settings.store)))),
    };
    let now = SystemClock.now();
    for bucket in buckets {
        match store.maintain(&bucket, Task::Check).await {
            Ok(report) => {
                let of = |finding: &crate::store::Finding| {
                    let place = finding.file.as_ref().map_or(String::new(), |file| file.display().to_string());
                    let line = finding.line.map_or(String::new(), |line| format!(", line {line}"));
                    let text = format!(
                        "{}{line}: {}",
                        if place.is_empty() { bucket.to_string() } else { place },
                        finding.text
                    );
                    if finding.severity == Severity::Damage { Finding::Problem(text) } else { Finding::Note(text) }
                };
                diagnosis.checks += 1;
                diagnosis.findings.extend(report.findings.iter().map(of));
            }
            Err(error) => diagnosis.check(Some(Finding::Problem(format!("bucket {bucket}: {error}")))),
        }
        let revision = revision(&*store, &bucket).await;
        diagnosis.check(problem_if(revision.time() > now.plus(MAX_AHEAD), || {
            format!(
                "bucket {bucket} was written at {}, but it is {now} on this machine; if the clock is right now, new \
                 writes get later times until then",
                revision.time()
            )
        }));
    }
}

async fn revision(store: &dyn Store, bucket: &crate::model::Bucket) -> Revision {
    store.get(bucket, &[]).await.map_or(Revision::ZERO, |snapshot| snapshot.revision)
}
