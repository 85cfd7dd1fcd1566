//! `DELETE /kv/{bucket}?prefix=`: all keys that begin so, at once.

use axum::body::Body;
use axum::response::Response;
use std::collections::BTreeMap;

use super::demand::Demand;
use super::reply::{self, Refusal};
use super::{Asked, body, guard};
use crate::model::{Batch, Bucket, Key, Outcome, Query, Shape, Write};

/// Keys of a page.
const PAGE: usize = 10_000;

/// Answers `DELETE /kv/{bucket}?prefix=`.
pub(crate) async fn answer(asked: Asked<'_>, bucket: &Bucket, body: Body) -> Result<Response, Refusal> {
    guard::writer(asked, bucket).await?;
    let Some(prefix) = asked.question.text("prefix")? else {
        let text = "say what to delete: ?prefix=TEXT for the keys that begin so, ?prefix= for all of them";
        return Err(Refusal::invalid(text));
    };
    Demand::none(asked)?;
    body::pass_over(asked, body).await?;
    let store = &asked.service.store;
    let mut writes = vec![];
    let mut query = Query { prefix, limit: PAGE, shape: Shape::Keys, ..Query::default() };
    loop {
        let page = store.scan(bucket, query.clone()).await.map_err(Refusal::unread)?;
        writes.extend(page.entries.into_iter().map(|(key, _)| Write::Delete { key }));
        let Some(cursor) = page.cursor else { break };
        query.after = Some(Key::as_str(&cursor).to_owned());
    }
    let deleted = match store.apply(bucket, Batch::of(writes)).await? {
        Outcome::Committed { changes, .. } => changes.iter().filter(|change| change.before.is_some()).count(),
        Outcome::Refused { .. } => return Err(Refusal::internal("a batch that expects nothing was refused")),
    };
    reply::json(&BTreeMap::from([("deleted", deleted)]))
}
