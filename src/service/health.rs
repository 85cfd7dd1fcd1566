//! `/livez` and `/readyz`: for what watches over the process and decides whether to send it requests. Cheap, open to all,
//! and silent about why; `/status` tells that.

use axum::response::Response;

use super::Service;
use super::reply::{self, Cache, Refusal};
use crate::model::{Bucket, Kind};
use crate::store::Task;

/// Answers `GET /livez`: that the process answers. Touches no store.
pub(crate) fn live() -> Response {
    reply::text("ok", Cache::Never)
}

/// Answers `GET /readyz`: whether requests may be sent here.
pub(crate) async fn ready(service: &Service) -> Result<Response, Refusal> {
    if service.settings.stop.is_cancelled() {
        return Err(Refusal::not_ready("this process is about to end; another one takes over"));
    }
    let (store, bucket) = (&service.store, Bucket::default());
    let read = match store.get(&bucket, &[]).await {
        // What is in memory can be read when nothing else can be any more.
        Ok(_) => store.upkeep(&bucket, Task::Status).await.map(drop),
        Err(error) => Err(error),
    };
    match read {
        // A full disk can still be read, and emptied.
        Err(error) if error.kind() != Kind::Full => {
            if error.kind() == Kind::Damaged {
                reply::report_damage(&error);
            } else {
                tracing::error!("not ready: {error}");
            }
            Err(Refusal::not_ready("the store cannot be used; the log says why"))
        }
        _ => Ok(reply::text("ok", Cache::Never)),
    }
}
