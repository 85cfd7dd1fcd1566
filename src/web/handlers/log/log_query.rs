//! `from`, `since` and `limit` in a query: the part of a log that a client wants.

use crate::model::{LogQuery, LogStart, Time, parse_since};
use crate::web::request::form::QueryString;
use crate::web::response::api_error::ApiError;

/// The largest `limit`, and the one if the client sends none.
const MAX_LIMIT: i64 = 100_000;
const DEFAULT_LIMIT: i64 = 1_000;

/// The part of a log that a query asks for.
pub(super) fn parse(query: QueryString<'_>, now: Time) -> Result<LogQuery, ApiError> {
    let start = match query.number("from", -i64::MAX..=i64::MAX)?.unwrap_or(0) {
        from @ 0.. => LogStart::Index(from.unsigned_abs()),
        from => LogStart::FromEnd(from.unsigned_abs()),
    };
    let since = query.text("since")?.map(|text| parse_since(&text, now)).transpose();
    let since = since.map_err(|error| ApiError::invalid(format!("since: {error}")))?;
    let limit = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(LogQuery { start, since, limit })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn queries_are_parsed_or_rejected() {
        let now = Time::from_secs(1_000_000);
        let parse = |text| parse(QueryString::new(Some(text)).unwrap(), now);
        assert_eq!(parse("from=-3&limit=2").unwrap(), LogQuery { limit: 2, ..LogQuery::last(3) });
        assert_eq!(parse("").unwrap(), LogQuery::default());
        assert_eq!(parse("since=1h").unwrap().since, Some(now.minus(Duration::from_secs(3_600))));
        for bad in
            ["from=x", "from=1.5", "since=", "since=x", "since=-1", "since=2026-13-01", "limit=0", "limit=100001"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
