//! `GET /livez` and `GET /readyz`: health checks for supervisors and load balancers. They are cheap, need no secret and
//! give no reasons; `/status` gives the reasons.

use crate::model::{Bucket, Error, ErrorKind};
use crate::store::Task;
use crate::web::body::Response;
use crate::web::context::ApiState;
use crate::web::response::api_error;
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;

/// `GET /livez`: the process responds. Does not access the store.
pub(crate) fn live() -> Response {
    response::text("ok", Cache::Never)
}

/// `GET /readyz`: the process is ready for requests.
pub(crate) async fn ready(state: &ApiState) -> Result<Response, ApiError> {
    if state.settings.stop.is_cancelled() {
        return Err(ApiError::not_ready("this process is shutting down; another one takes over"));
    }
    let Err(error) = check(state).await else { return Ok(response::text("ok", Cache::Never)) };
    if error.kind() == ErrorKind::Corrupt {
        api_error::report_damage(&error);
    } else {
        tracing::error!("not ready: {error}");
    }
    Err(ApiError::not_ready("the store cannot be used; see the log of the server"))
}

/// Whether the store as a whole can be used. The metrics do not count it.
pub(crate) async fn check(state: &ApiState) -> Result<(), Error> {
    let (store, bucket) = (state.store.uncounted(), Bucket::default());
    let read = match store.get(&bucket, &[]).await {
        // If only this bucket cannot be used, the list of buckets is complete.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::PermissionDenied) => {
            store.buckets().await.map(drop)
        }
        read => read.map(drop),
    };
    let checked = match read {
        // The read may have come from memory, so the folder is checked too.
        Ok(()) => store.maintain(&bucket, Task::Status).await.map(drop),
        failed => failed,
    };
    // With a full disk, reads and deletions still work.
    checked.or_else(|error| if error.kind() == ErrorKind::StorageFull { Ok(()) } else { Err(error) })
}
