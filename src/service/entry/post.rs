//! `POST /kv/{bucket}/{key}?op=`: changes of a value that need not know it; without an operation the same as PUT.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;

use super::super::demand::Demand;
use super::super::form::Question;
use super::super::reply::{self, Cache, Refusal};
use super::super::{Asked, body, commit, expiry, guard, number};
use super::{Name, done, is_by_date, old, put, tagged};
use crate::model::{Change, Edge, Write};

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Increment { by: i64 },
    Append(Edge),
    Touch,
    Persist,
}

impl Operation {
    /// The operation asked for, if one is.
    fn asked(question: Question<'_>) -> Result<Option<Self>, Refusal> {
        Ok(Some(match question.text("op")?.as_deref() {
            None => return Ok(None),
            Some("incr") => Self::Increment { by: question.number("by", i64::MIN..=i64::MAX)?.unwrap_or(1) },
            Some("append") => Self::Append(Edge::Back),
            Some("prepend") => Self::Append(Edge::Front),
            Some("touch") => Self::Touch,
            Some("persist") => Self::Persist,
            Some(other) => {
                let other = number::shown(other);
                return Err(Refusal::invalid(format!(
                    "op must be incr, append, prepend, touch or persist, got {other}"
                )));
            }
        }))
    }
}

/// Answers `POST /kv/{bucket}/{key}`.
pub(crate) async fn answer(asked: Asked<'_>, name: Name<'_>, body: Body) -> Result<Response, Refusal> {
    match Operation::asked(asked.question)? {
        None => put::answer(asked, name, body).await,
        Some(operation) => operate(asked, name, operation, body).await,
    }
}

async fn operate(asked: Asked<'_>, name: Name<'_>, operation: Operation, body: Body) -> Result<Response, Refusal> {
    let (bucket, key) = name;
    super::refuse_path(asked)?;
    guard::writer(asked, bucket).await?;
    let demand = Demand::new(asked, bucket)?;
    let return_old = old::asked(asked, bucket).await?;
    let expires = expiry::asked(asked.question, asked.now())?;
    let touch = Write::Touch { key: key.clone(), expires };
    let value = match operation {
        Operation::Append(_) => body::collect(asked, body, asked.most(bucket)).await?,
        _ => body::pass_over(asked, body).await.map(|()| Bytes::new())?,
    };
    let first = match operation {
        Operation::Increment { by } => Write::Increment { key: key.clone(), by },
        Operation::Append(edge) => Write::Append { key: key.clone(), value, edge },
        Operation::Touch if expires.is_none() => {
            return Err(Refusal::invalid("touch needs ttl=SECONDS or expires=UNIX; persist makes a key stay"));
        }
        Operation::Persist if expires.is_some() => {
            return Err(Refusal::invalid("persist takes neither ttl nor expires; use touch"));
        }
        Operation::Touch | Operation::Persist => touch.clone(),
    };
    let mut writes = vec![first];
    if expires.is_some() && operation != Operation::Touch {
        writes.push(touch);
    }
    let changes = commit::commit(asked, bucket, writes, demand).await?;
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return Err(Refusal::internal("the store told of no change"));
    };
    let change = Change { before: first.before.clone(), after: last.after.clone() };
    let is_new = change.before.is_none();
    let response = match operation {
        Operation::Touch | Operation::Persist if is_new => {
            return Err(Refusal::missing("there is no such key", Cache::Never).silent(is_by_date(asked, bucket)));
        }
        _ if return_old => old::answer(change.before),
        Operation::Increment { .. } => {
            let number = first.after.as_ref().map(|entry| entry.value.clone()).unwrap_or_default();
            reply::text(number, Cache::Never)
        }
        _ => done(asked, bucket, is_new),
    };
    Ok(tagged(asked, bucket, change.after.as_ref(), response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_or_refused() {
        let ask = |q| Operation::asked(Question::new(Some(q)).unwrap());
        assert_eq!(ask("ttl=5").unwrap(), None);
        assert_eq!(ask("op=incr").unwrap(), Some(Operation::Increment { by: 1 }));
        assert_eq!(ask("op=incr&by=-9223372036854775808").unwrap(), Some(Operation::Increment { by: i64::MIN }));
        assert_eq!(ask("op=prepend").unwrap(), Some(Operation::Append(Edge::Front)));
        for bad in [
            "op=",
            "op=INCR",
            "op=del",
            "op=incr&by=",
            "op=incr&by=1.5",
            "op=incr&by=%2B5",
            "op=incr&by=9223372036854775808",
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }
}
