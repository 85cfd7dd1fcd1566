//! Converts a row of another program's table to an entry.

use std::error::Error as StdError;

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type, accepts};

use crate::model::{ContentType, Entry, Result, Revision, Time};
use crate::postgres::sql::row::column;

/// The time from 1970 to 2000, the epoch of PostgreSQL, in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A time as PostgreSQL sends it: microseconds since 2000. The greatest and the least numbers stand for infinity.
struct Timestamp(i64);

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMPTZ, TIMESTAMP);
}

impl Timestamp {
    /// The time, if it is in the range of kvs: the years 1677 to 2262.
    fn time(&self) -> Option<Time> {
        self.0.checked_add(EPOCH_MICROS)?.checked_mul(1000).map(Time::from_nanos)
    }
}

/// Converts a row. The inner error says why kvs cannot store it.
///
/// The revision is the time of the write, but not later than `now`. Other rows may have the same.
pub(crate) fn entry(row: &Row, now: Time) -> Result<Result<Entry, String>> {
    let value: &[u8] = column(row, 1)?;
    let (created, written): (Timestamp, Timestamp) = (column(row, 2)?, column(row, 3)?);
    let (modified, expires): (Option<Timestamp>, Option<Timestamp>) = (column(row, 4)?, column(row, 5)?);
    let out_of_range = |what: &str| Ok(Err(format!("its {what} time is outside of the years 1677 to 2262")));
    let Some(created) = created.time() else { return out_of_range("creation") };
    let Some(written) = written.time() else { return out_of_range("write") };
    let modified = match modified.map(|timestamp| timestamp.time()) {
        Some(None) => return out_of_range("modification"),
        Some(time) => time,
        None => None,
    };
    Ok(Ok(Entry {
        content_type: content_type(value),
        value: Bytes::copy_from_slice(value),
        // A time before 1970 cannot be a revision.
        revision: Revision::from(written.min(now)).max(Revision::new(1)),
        created,
        modified,
        // An expiry after the range means that the entry never expires. One before it means that it has expired.
        expires: expires.and_then(|timestamp| {
            let is_before_range = timestamp.0 < 0 && timestamp.time().is_none();
            if is_before_range { Some(Time::from_nanos(i64::MIN)) } else { timestamp.time() }
        }),
    }))
}

/// The content type for a value without one: plain text if it is UTF-8.
fn content_type(value: &[u8]) -> ContentType {
    let binary = std::str::from_utf8(value).is_err();
    let kind = binary.then(|| ContentType::new("application/octet-stream").ok()).flatten();
    kind.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_exact_and_infinity_is_out_of_range() {
        assert_eq!(Timestamp(0).time().unwrap().to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(Timestamp(-EPOCH_MICROS - 1).time().unwrap().to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp(848_000_000_123_456).time().unwrap().to_string(), "2026-11-14T19:33:20.123456Z");
        for beyond in [i64::MAX, i64::MIN, 9_000_000_000_000_000, -11_000_000_000_000_000] {
            assert!(Timestamp(beyond).time().is_none(), "{beyond}");
        }
    }

    #[test]
    fn values_that_are_not_utf_8_are_binary() {
        assert!(content_type("é".as_bytes()).is_default() && content_type(b"").is_default());
        assert_eq!(content_type(b"\xff").as_str(), "application/octet-stream");
    }
}
