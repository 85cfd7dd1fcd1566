//! Maintenance of a log: removing what is no longer kept, removing leftovers, and checking all lines.

use super::log_store::{Group, LogStore};
use super::page;
use crate::model::Result;
use crate::yaml::fs::LockMode;

impl LogStore {
    /// Removes the entries that are no longer kept from the file, and returns their number.
    pub(crate) fn trim(&self) -> Result<u64> {
        let Some(file) = self.locker().lock(LockMode::Exclusive, false)? else { return Ok(0) };
        let Some(known) = self.inspect(&file)? else { return Ok(0) };
        let first = page::first_kept(&*file, &self.path, &known, self.now())?;
        let removed = page::count(&*file, &self.path, &known, 0..first)?;
        if removed > 0 {
            let nothing = Group::empty(known.bounds);
            self.learn(Some(self.store_anew(file, Some(known), &nothing)?));
        }
        Ok(removed)
    }

    /// Removes a new file that was never put in the place of the log, and returns whether there was one.
    pub(crate) fn remove_unfinished(&self) -> Result<bool> {
        let (path, fs) = (self.path.unfinished(), &self.options.file_system);
        let Some(_locked) = self.locker().lock(LockMode::Exclusive, false)? else { return Ok(false) };
        let failed = |e| self.path.failed("remove the unfinished file of", e);
        let exists = fs.stat(&path).map_err(failed)?.is_some();
        if exists {
            fs.remove(&path).map_err(failed)?;
        }
        Ok(exists)
    }

    /// Reads all entries.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(crate) fn check(&self) -> Result<()> {
        let Some((file, known)) = self.current()? else { return Ok(()) };
        page::count(&*file, &self.path, &known, 0..u64::MAX).map(drop)
    }
}
