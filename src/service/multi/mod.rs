//! `/multi/{bucket}`: many keys in one request, as Poky has it: POST gets, PUT sets, DELETE deletes; or POST with `?op=`
//! for hosts that let no other method through.
//!
//! A request is understood as a whole before anything is done; then each row is judged by itself, and what passes is one
//! commit.

mod get;
mod rows;
mod set;

use axum::body::Body;
use axum::response::Response;
use http::Method;

use super::demand::Demand;
use super::reply::{self, Refusal};
use super::{Asked, body, guard, number};
use crate::model::{Batch, Bucket, Outcome, Write};

/// Rows in one request.
const MOST: usize = 10_000;

/// What is done with the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Get,
    Set,
    Delete,
}

impl Verb {
    fn asked(asked: Asked<'_>) -> Result<Self, Refusal> {
        let said = match asked.question.text("op")?.as_deref() {
            None => None,
            Some("get") => Some(Self::Get),
            Some("set") => Some(Self::Set),
            Some("delete") => Some(Self::Delete),
            Some(other) => {
                let other = number::shown(other);
                return Err(Refusal::invalid(format!("op must be get, set or delete, got {other}")));
            }
        };
        let meant = if asked.parts.method == Method::PUT {
            Self::Set
        } else if asked.parts.method == Method::DELETE {
            Self::Delete
        } else {
            return Ok(said.unwrap_or(Self::Get));
        };
        if said.is_none_or(|said| said == meant) {
            Ok(meant)
        } else {
            Err(Refusal::invalid("op and the method say different things; use POST with op"))
        }
    }
}

/// Whether a request with this method is answered here.
pub(crate) fn knows(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::DELETE].contains(method)
}

/// Answers `/multi/{bucket}`.
pub(crate) async fn answer(asked: Asked<'_>, bucket: &Bucket, body: Body) -> Result<Response, Refusal> {
    let verb = Verb::asked(asked)?;
    match verb {
        Verb::Get => drop(guard::reader(asked, bucket).await?),
        Verb::Set | Verb::Delete => {
            guard::writer(asked, bucket).await?;
            Demand::none(asked)?;
        }
    }
    let body = body::json(asked, body).await?;
    match verb {
        Verb::Get => get::answer(asked, bucket, rows::keys(&body, asked.now())?).await,
        Verb::Set => set::answer(asked, bucket, rows::values(&body, asked.most(bucket), asked.now())?).await,
        Verb::Delete => delete(asked, bucket, rows::keys(&body, asked.now())?).await,
    }
}

async fn delete(asked: Asked<'_>, bucket: &Bucket, rows: Vec<rows::Named>) -> Result<Response, Refusal> {
    if let Some(number) = rows.iter().position(|row| row.modified.is_some()) {
        return Err(rows::fault(number, "it has modified_at, and a row to delete has a key alone"));
    }
    let writes = rows.into_iter().map(|row| Write::Delete { key: row.key }).collect();
    match asked.service.store.apply(bucket, Batch::of(writes)).await? {
        Outcome::Committed { changes, .. } => {
            let result = |was: bool| serde_json::json!({ "result": if was { "deleted" } else { "missing" } });
            reply::json(&changes.iter().map(|change| result(change.before.is_some())).collect::<Vec<_>>())
        }
        Outcome::Refused { .. } => Err(Refusal::internal("a batch that expects nothing was refused")),
    }
}
