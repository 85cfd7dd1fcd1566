//! Work that is done to its end although its caller may give up.
//!
//! A client that disconnects drops the future of its write, but the write may still be committed.

use tokio::runtime::Handle;

use crate::model::{Error, ErrorKind, Result};

/// Runs work as a task of its own, if there is a runtime.
pub(super) async fn detached<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else { return work.await };
    match runtime.spawn(work).await {
        Ok(outcome) => outcome,
        Err(join_error) => {
            if let Ok(panic) = join_error.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
            let text = "the program ended before the write was acknowledged; it may have been stored, so read the key \
                        before you write again";
            Err(Error::new(ErrorKind::Unavailable, text))
        }
    }
}
