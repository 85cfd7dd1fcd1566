//! `DELETE /kv/{bucket}/{key}`.

use axum::body::Body;
use axum::response::Response;

use super::super::demand::Demand;
use super::super::reply::{Cache, Refusal};
use super::super::{Asked, body, commit, guard};
use super::{Name, done, is_by_date, old};
use crate::model::Write;

/// Answers `DELETE /kv/{bucket}/{key}`.
pub(crate) async fn answer(asked: Asked<'_>, (bucket, key): Name<'_>, body: Body) -> Result<Response, Refusal> {
    super::refuse_path(asked)?;
    super::refuse_operation(asked)?;
    guard::writer(asked, bucket).await?;
    let demand = Demand::new(asked, bucket)?;
    let return_old = old::asked(asked, bucket).await?;
    body::pass_over(asked, body).await?;
    let changes = commit::commit(asked, bucket, vec![Write::Delete { key: key.clone() }], demand).await?;
    match changes.into_iter().next().and_then(|change| change.before) {
        None => Err(Refusal::missing("there is no such key", Cache::Never).silent(is_by_date(asked, bucket))),
        Some(before) if return_old => Ok(old::answer(Some(before))),
        Some(_) => Ok(done(asked, bucket, false)),
    }
}
