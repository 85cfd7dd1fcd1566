//! Who needs a blob says so from time to time: no lock is held between statements.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::blob_rows::BlobRows;

/// A hold lasts an hour in the table.
const HOLD_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// Ten minutes after a blob has lost its name, its parts can be deleted.
const KEEP_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Keeps a blob that nothing refers to until it is dropped.
pub(crate) struct Hold {
    rows: BlobRows,
    upload: i64,
    renewal: Option<AbortHandle>,
}

impl Hold {
    /// Renews the hold that the blob has.
    pub(crate) fn new(rows: BlobRows, upload: i64) -> Self {
        let renewed = rows.clone();
        let renew = async move {
            loop {
                tokio::time::sleep(HOLD_AGAIN_AFTER).await;
                if let Err(error) = renewed.query(&renewed.statements().hold, &[&upload]).await {
                    tracing::warn!("cannot hold a blob of bucket {}; it may be removed: {error}", renewed.bucket);
                }
            }
        };
        let renewal = Handle::try_current().ok().map(|runtime| runtime.spawn(renew).abort_handle());
        Self { rows, upload, renewal }
    }
}

impl Drop for Hold {
    /// If the statement fails, the hold ends by itself.
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
        let (rows, upload) = (self.rows.clone(), self.upload);
        in_background(async move {
            if let Err(error) = rows.query(&rows.statements().release, &[&upload]).await {
                tracing::debug!("a blob of bucket {} is held for up to an hour: {error}", rows.bucket);
            }
        });
    }
}

/// Runs this to its end, if the current thread belongs to a runtime.
pub(super) fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work);
    }
}

/// Keeps the parts of an upload while somebody writes or reads them.
pub(super) struct Kept(Mutex<Instant>);

impl Kept {
    /// Somebody has just begun.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Whether to say so again. The caller then does.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock();
        let is_due = last.elapsed() >= KEEP_AGAIN_AFTER;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }
}
