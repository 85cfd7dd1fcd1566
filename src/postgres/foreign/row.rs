//! A row of another program's table as an entry.

use std::error::Error as StdError;

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type, accepts};

use super::super::row::column;
use crate::model::{ContentType, Entry, Result, Revision, Time};

/// From 1970 to 2000, where PostgreSQL begins to count, in microseconds.
const EPOCH: i64 = 946_684_800_000_000;

/// A moment as PostgreSQL has it: microseconds since 2000, the greatest and the least of all numbers for infinity.
struct Moment(i64);

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMPTZ, TIMESTAMP);
}

impl Moment {
    /// The same, if it lies in the years that kvs can tell, 1677 to 2262.
    fn time(&self) -> Option<Time> {
        self.0.checked_add(EPOCH)?.checked_mul(1000).map(Time::from_nanos)
    }
}

/// The entry in a row or, within, why it can be none.
///
/// Its revision is the time when it was written, which other rows may share, and not later than `now`.
pub(super) fn entry(row: &Row, now: Time) -> Result<Result<Entry, String>> {
    let value: &[u8] = column(row, 1)?;
    let (created, written): (Moment, Moment) = (column(row, 2)?, column(row, 3)?);
    let (modified, expires): (Option<Moment>, Option<Moment>) = (column(row, 4)?, column(row, 5)?);
    let beyond = |what: &str| Ok(Err(format!("its time of {what} lies beyond the years 1677 to 2262")));
    let Some(created) = created.time() else { return beyond("creation") };
    let Some(written) = written.time() else { return beyond("writing") };
    let modified = match modified.map(|moment| moment.time()) {
        Some(None) => return beyond("modification"),
        Some(time) => time,
        None => None,
    };
    Ok(Ok(Entry {
        content_type: content_type(value),
        value: Bytes::copy_from_slice(value),
        // A time before 1970 is no revision.
        revision: Revision::from(written.min(now)).max(Revision::new(1)),
        created,
        modified,
        // What ends after all times does not end.
        expires: expires.and_then(|moment| {
            if moment.0 < 0 && moment.time().is_none() { Some(Time::from_nanos(i64::MIN)) } else { moment.time() }
        }),
    }))
}

/// What a value without a type is served as: text if it is one.
fn content_type(value: &[u8]) -> ContentType {
    let binary = std::str::from_utf8(value).is_err();
    let kind = binary.then(|| ContentType::new("application/octet-stream").ok()).flatten();
    kind.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_to_the_microsecond_and_infinity_is_none() {
        assert_eq!(Moment(0).time().unwrap().to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(Moment(-EPOCH - 1).time().unwrap().to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Moment(848_000_000_123_456).time().unwrap().to_string(), "2026-11-14T19:33:20.123456Z");
        for beyond in [i64::MAX, i64::MIN, 9_000_000_000_000_000, -11_000_000_000_000_000] {
            assert!(Moment(beyond).time().is_none(), "{beyond}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_told_from_text() {
        assert!(content_type("é".as_bytes()).is_default() && content_type(b"").is_default());
        assert_eq!(content_type(b"\xff").as_str(), "application/octet-stream");
    }
}
