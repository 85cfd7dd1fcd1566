//! Sweeping, for programs without `async`.

use std::time::Duration;

use super::client::Client;
use crate::client::sweep_old::Sweep;
use crate::model::{Key, Result};

impl Client {
    /// See [`Client::older_than`](crate::client::client::Client::older_than).
    #[must_use]
    pub fn older_than(&self, age: Duration) -> Sweep {
        self.inner.older_than(age)
    }

    /// See [`Client::find_swept`](crate::client::client::Client::find_swept).
    pub fn find_swept(&self, sweep: &Sweep) -> Result<Vec<Key>> {
        self.wait(self.inner.find_swept(sweep))
    }

    /// See [`Client::sweep`](crate::client::client::Client::sweep).
    pub fn sweep(&self, sweep: &Sweep) -> Result<Vec<Key>> {
        self.wait(self.inner.sweep(sweep))
    }
}
