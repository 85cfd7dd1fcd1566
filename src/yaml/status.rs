//! What a person must mend, found at a glance and without a lock: a file that has not changed is not read again, and of
//! what is read nothing is kept but the fault in it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bucket::BucketStore;
use super::disk::{Hold, Open, Stat};
use super::file::{durable, ensure_one_name, is_want_of_files, loss, was_there};
use super::hand::Fault;
use super::image::Image;
use super::load::faults;
use super::lock::{self, Record};
use super::place::Place;
use super::store::YamlStore;
use crate::model::{Bucket, Error, Kind, Result};
use crate::store::{Finding, Report};

/// What is said of a file with what somebody overwrote.
pub(super) const OVERWRITTEN: &str =
    "entries that were overwritten when the file was saved; take them back with `kvs import`, or remove this file";

/// So often a file that is being changed is looked at.
const LOOKS: usize = 3;

/// What was found in data files, each in the state that it had then.
pub(super) type Glances = Mutex<HashMap<Bucket, (Stat, Option<Fault>)>>;

/// The files with what somebody overwrote, and when the folder was listed.
pub(super) type Listed = Mutex<Option<(Instant, BTreeSet<String>)>>;

impl YamlStore {
    /// What is wrong with the bucket, as far as is known without waiting for anybody.
    ///
    /// # Errors
    /// If nothing can be said of it, because no file can be opened.
    pub(super) fn status(&self, bucket: &Bucket) -> Result<Report> {
        let place = Place::new(&self.folder, bucket);
        let known = self.known(bucket);
        let mut report = Report::default();
        report.findings.extend(self.overwritten(&place)?);
        let mut found = |line: Option<u64>, text: String| {
            let file = Some(place.data.clone());
            report.findings.push(Finding { file, line, text, harmless: false });
        };
        let glance = self.glance(&place, known.as_deref());
        let can_be_read = glance.is_ok();
        match glance {
            Ok(None) => {}
            Ok(Some(fault)) => {
                found(Some(fault.line), format!("{}. Nothing is written to it until it is mended", fault.text));
            }
            Err(Glance::Unable(error)) => return Err(error),
            Err(Glance::Unreadable(text)) => found(None, text),
        }
        match self.hindrance(&place, known.as_deref()) {
            Some(error) if matches!(error.kind(), Kind::Full | Kind::PermissionDenied) => return Err(error),
            Some(error) if can_be_read => found(None, error.to_string()),
            _ => {}
        }
        if known.is_some_and(|bucket| bucket.is_held()) {
            let wait = self.options.lock_wait.as_secs_f32();
            let text = format!("others have held its lock for more than {wait} s; `lslocks` says which program does");
            found(None, text);
        }
        Ok(report)
    }

    /// The files with what somebody overwrote. The folder is listed once a second at most, for however many buckets.
    fn overwritten(&self, place: &Place) -> Result<Vec<Finding>> {
        let mut listed = self.listed.lock();
        let is_fresh = |(at, _): &(Instant, BTreeSet<String>)| at.elapsed() < Duration::from_secs(1);
        if !listed.as_ref().is_some_and(is_fresh) {
            let names = self.options.disk.list(&self.folder).map_err(|e| place.failed("look beside", e))?;
            let kept = names.into_iter().filter(|name| name.contains(".yaml.overwritten-")).collect();
            *listed = Some((Instant::now(), kept));
        }
        let prefix = format!("{}.yaml.overwritten-", place.bucket);
        let names = listed.iter().flat_map(|(_, names)| names.range(prefix.clone()..));
        let found = names.take_while(|name| name.starts_with(&prefix)).map(|name| Finding {
            file: Some(self.folder.join(name)),
            line: None,
            text: OVERWRITTEN.into(),
            harmless: true,
        });
        Ok(found.collect())
    }

    /// What hinders a write.
    fn hindrance(&self, place: &Place, known: Option<&BucketStore>) -> Option<Error> {
        let disk = &*self.options.disk;
        let place = match place.resolved(disk) {
            Ok(place) => place,
            Err(e) => return Some(place.failed("open", e)),
        };
        if let Err(e) = disk.may_write(&place.folder) {
            return Some(place.failed("write beside", e));
        }
        match disk.open(&place.data, Open::Append) {
            Ok(file) => {
                let last = || known.and_then(|bucket| bucket.file.try_lock()?.hindrance());
                // It can be appended to, if not replaced.
                let milder = |e: Error| if e.kind() == Kind::PermissionDenied { e.of_kind(Kind::Damaged) } else { e };
                ensure_one_name(&place, &*file).err().or_else(last).map(milder)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound || is_want_of_files(&e) => None,
            Err(e) => Some(place.failed("write to", e)),
        }
    }

    /// The fault of the data file as it is now.
    fn glance(&self, place: &Place, known: Option<&BucketStore>) -> Result<Option<Fault>, Glance> {
        let disk = &self.options.disk;
        for _ in 0..LOOKS {
            let stat = disk.stat(&place.data).map_err(|e| Glance::of(place, e))?;
            let record = self.record(place)?;
            let Some(stat) = stat.filter(|stat| stat.len > 0) else {
                self.glances.lock().remove(&place.bucket);
                // That anything can be opened at all.
                disk.list(&self.folder).map_err(|e| Glance::of(place, e))?;
                let is_lost = known.map_or_else(
                    || was_there(&Image::default(), record),
                    |bucket| was_there(&bucket.image.read(), record),
                );
                return Ok(is_lost.then(|| loss(stat)));
            };
            let file = disk.open(&place.data, Open::Read).map_err(|e| Glance::of(place, e))?;
            if let Some(image) = known.map(|bucket| bucket.image.read()).filter(|image| image.stat == Some(stat)) {
                return Ok(image.damage.as_ref().and_then(|damage| damage.faults.first().cloned()));
            }
            if let Some((_, fault)) = self.glances.lock().get(&place.bucket).filter(|(then, _)| *then == stat) {
                return Ok(fault.clone());
            }
            let bytes = file.read(0, stat.len).map_err(|e| Glance::of(place, e))?;
            if bytes.len() as u64 != stat.len || file.stat().map_err(|e| Glance::of(place, e))? != stat {
                continue;
            }
            let fault = faults(&bytes, durable(record, &stat, &bytes)).into_iter().next();
            self.glances.lock().insert(place.bucket.clone(), (stat, fault.clone()));
            return Ok(fault);
        }
        // It is written again and again, so it works; the next look may find a quieter moment.
        Ok(None)
    }
}

impl YamlStore {
    /// What the last writer left in the lock file. It is read before the data, so that it does not speak of later writes.
    fn record(&self, place: &Place) -> Result<Option<Record>, Glance> {
        let disk = &self.options.disk;
        if disk.stat(&place.lock).map_err(|e| Glance::of(place, e))?.is_none() {
            return Ok(None);
        }
        let file = disk.open(&place.lock, Open::Read).map_err(|e| Glance::of(place, e))?;
        lock::read(&*file).map_err(|e| Glance::of(place, e))
    }
}

/// Why a file could not be looked at.
enum Glance {
    /// As many files are open as may be, so nothing is known.
    Unable(Error),
    /// This one cannot be read.
    Unreadable(String),
}

impl Glance {
    fn of(place: &Place, e: std::io::Error) -> Self {
        if is_want_of_files(&e) {
            return Self::Unable(place.failed("open", e));
        }
        Self::Unreadable(format!("it cannot be read: {e}"))
    }
}

impl BucketStore {
    /// Whether others held the bucket for longer than one waits, and still do.
    fn is_held(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        if self.held.load(Relaxed) && matches!(self.try_turn(Hold::Shared), Ok(Some(_))) {
            self.held.store(false, Relaxed);
        }
        self.held.load(Relaxed)
    }
}
