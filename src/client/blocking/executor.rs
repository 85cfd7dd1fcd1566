//! Runs futures to their end on a thread that may block, and refuses to do so in async code.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::coop::poll_proceed;

use crate::model::{Error, ErrorKind, Result};

/// The runtime that futures run on.
#[derive(Clone)]
pub(super) enum Executor {
    Own(Arc<OwnRuntime>),
    Shared(Handle),
}

/// A runtime that can be dropped anywhere.
pub(super) struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Dropping a runtime waits for its blocking tasks, which tokio does not allow in async code.
        if is_in_async_code()
            && let Some(runtime) = self.0.take()
        {
            runtime.shutdown_background();
        }
    }
}

impl Executor {
    /// A runtime without threads of its own: it runs on the threads that wait.
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("cannot start a runtime for the blocking client", error))?;
        Ok(Self::Own(Arc::new(OwnRuntime(Some(runtime)))))
    }

    /// Waits for the result of a future.
    ///
    /// # Errors
    /// Those of the future; `Invalid` in async code, where waiting would block other tasks.
    pub(super) fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        match self {
            _ if is_in_async_code() => {}
            Self::Own(own) => {
                if let Some(runtime) = &own.0 {
                    return runtime.block_on(future);
                }
            }
            Self::Shared(handle) => return handle.block_on(future),
        }
        let text = "the blocking client cannot be used inside a tokio runtime; use kvs::client::Client with .await, \
                    or call it from tokio::task::spawn_blocking";
        Err(Error::new(ErrorKind::Invalid, text))
    }
}

/// Whether this thread is running a task of tokio, which must not block. False within `spawn_blocking`.
///
/// Tokio offers no way to ask that, and panics if code blocks in a task. But a task has a budget of polls and a thread
/// that may block has none, so this uses the budget up. The task gets a new one when it is next scheduled.
fn is_in_async_code() -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let mut is_exhausted = || match poll_proceed(&mut context) {
        Poll::Ready(unit) => {
            unit.made_progress();
            false
        }
        Poll::Pending => true,
    };
    Handle::try_current().is_ok() && (0..=u8::MAX).any(|_| is_exhausted())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wait(executor: &Executor) -> Result<u8> {
        executor.wait(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(7)
        })
    }

    fn assert_refused(executor: &Executor) {
        let error = wait(executor).unwrap_err();
        assert!(error.is_invalid(), "{error}");
        assert!(error.to_string().contains("spawn_blocking"), "{error}");
    }

    #[test]
    fn it_waits_outside_of_a_runtime_and_in_an_entered_one() {
        let executor = Executor::new().unwrap();
        assert_eq!(wait(&executor).unwrap(), 7);
        let runtime = Runtime::new().unwrap();
        let _entered = runtime.enter();
        assert_eq!(wait(&executor).unwrap(), 7);
        assert_eq!(wait(&Executor::Shared(runtime.handle().clone())).unwrap(), 7);
    }

    async fn assert_refused_in_a_task_and_not_in_spawn_blocking() {
        let executor = Executor::new().unwrap();
        assert_refused(&executor);
        assert_refused(&executor);
        assert_refused(&Executor::Shared(Handle::current()));
        let of_task = executor.clone();
        tokio::spawn(async move { assert_refused(&of_task) }).await.unwrap();
        let of_thread = executor.clone();
        assert_eq!(tokio::task::spawn_blocking(move || wait(&of_thread)).await.unwrap().unwrap(), 7);
        drop(executor);
        // The task goes on with a new budget.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_refused_on_a_multi_thread_runtime() {
        assert_refused_in_a_task_and_not_in_spawn_blocking().await;
        let executor = Executor::new().unwrap();
        let worker = tokio::spawn(async move { tokio::task::block_in_place(|| wait(&executor)) });
        assert_eq!(worker.await.unwrap().unwrap(), 7);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_is_refused_on_a_current_thread_runtime() {
        assert_refused_in_a_task_and_not_in_spawn_blocking().await;
    }
}
