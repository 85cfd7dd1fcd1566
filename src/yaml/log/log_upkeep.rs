//! Maintenance of a log: removing what is no longer kept, and checking all lines.

use super::group_append::Group;
use super::log_store::LogStore;
use super::page;
use crate::model::Result;
use crate::yaml::fs::LockMode;

impl LogStore {
    /// Removes the entries that are no longer kept from the file, and returns their number.
    pub(crate) fn trim(&self) -> Result<u64> {
        let Some(file) = self.locker().lock(LockMode::Exclusive)? else { return Ok(0) };
        let (file, Some(known)) = self.inspect_for_change(file)? else { return Ok(0) };
        let first = page::first_kept(&*file, &self.path, &known, self.now())?;
        let removed = page::count(&*file, &self.path, &known, 0..first)?;
        if removed > 0 {
            let (_new, known) = self.store_anew(&file, &known, &Group::empty(known.bounds))?;
            self.learn(Some(known));
        }
        Ok(removed)
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
