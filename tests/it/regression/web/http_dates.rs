//! HTTP dates of any age and in all three forms are valid, in each header and row that accepts one.

use serde_json::json;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, JSON, cases};

cases! {
    date_before_1970_is_a_precondition,
    leap_second_is_a_valid_date,
    latest_possible_date_is_valid,
    two_digit_years_are_in_the_nearest_century,
    invalid_dates_are_ignored_by_reads_and_rejected_by_writes,
    client_timestamps_can_have_any_age,
    rows_accept_dates_of_any_age,
}

/// Dates long before the clock of an endpoint, 20 Nov 2026.
const PAST: [&str; 8] = [
    "Mon, 01 Jan 1900 00:00:00 GMT",
    "Mon Jan  1 00:00:00 1900",
    "Wed, 31 Dec 1969 23:59:59 GMT",
    "Wednesday, 31-Dec-80 23:59:59 GMT",
    "Sat, 01 Jan 0000 00:00:00 GMT",
    "Fri, 31 Dec 1971 23:59:60 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
];
const FUTURE: [&str; 5] = [
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Fri Dec 31 23:59:60 9999",
    "Sat, 12 Apr 2262 00:00:00 GMT",
    "Friday, 20-Nov-76 11:59:59 GMT",
    "Fri, 20 Nov 2026 12:59:60 GMT",
];
const NO_DATES: [&str; 7] = [
    "yesterday",
    "0",
    "-1",
    "Sun, 06 Nov 1994 08:49:61 GMT",
    "Wed, 30 Feb 2022 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37",
    "1994-11-06T08:49:37Z",
];

async fn date_before_1970_is_a_precondition(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for date in PAST {
        let since = [("if-unmodified-since", date)];
        for uri in ["/kv/default/a", "/?k=a", "/kv/default/a?meta"] {
            assert_eq!(kvs.plain("GET", uri, &since).await.status, 412, "{uri} {date}");
            assert_eq!(kvs.plain("GET", uri, &[("if-modified-since", date)]).await.status, 200, "{uri} {date}");
        }
        for (method, uri) in [
            ("PUT", "/kv/default/a"),
            ("POST", "/kv/default/a"),
            ("POST", "/kv/default/a?op=append"),
            ("POST", "/kv/default/a?op=touch&ttl=60"),
            ("DELETE", "/kv/default/a"),
        ] {
            assert_eq!(kvs.ask(method, uri, &since, "2").await.status, 412, "{method} {uri} {date}");
        }
    }
    assert_eq!(kvs.get("/kv/default/a").await.text(), "1");
}

async fn leap_second_is_a_valid_date(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    // The clock shows a quarter of a second after noon.
    for (date, status) in [("Fri, 20 Nov 2026 11:59:60 GMT", 200), ("Fri, 20 Nov 2026 11:58:60 GMT", 412)] {
        assert_eq!(kvs.plain("GET", "/kv/default/a", &[("if-unmodified-since", date)]).await.status, status, "{date}");
        let status = if status == 200 { 304 } else { 200 };
        assert_eq!(kvs.plain("GET", "/kv/default/a", &[("if-modified-since", date)]).await.status, status, "{date}");
    }
    let late = [("if-unmodified-since", "Fri, 20 Nov 2026 11:59:60 GMT")];
    assert_eq!(kvs.ask("PUT", "/kv/default/a", &late, "2").await.status, 200);
}

async fn latest_possible_date_is_valid(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for date in FUTURE {
        assert_eq!(kvs.plain("GET", "/kv/default/a", &[("if-unmodified-since", date)]).await.status, 200, "{date}");
        assert_eq!(kvs.plain("GET", "/kv/default/a", &[("if-modified-since", date)]).await.status, 304, "{date}");
        let put = kvs.ask("PUT", "/kv/default/a", &[("if-unmodified-since", date)], "1").await;
        assert_eq!(put.status, 200, "{date}");
    }
}

async fn two_digit_years_are_in_the_nearest_century(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    // A date more than 50 years in the future is in the past (RFC 9110, section 5.6.7).
    for (date, status) in [("Friday, 20-Nov-76 11:00:00 GMT", 200), ("Saturday, 21-Nov-76 12:00:00 GMT", 412)] {
        assert_eq!(kvs.plain("GET", "/kv/default/a", &[("if-unmodified-since", date)]).await.status, status, "{date}");
    }
}

async fn invalid_dates_are_ignored_by_reads_and_rejected_by_writes(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for date in NO_DATES {
        for name in ["if-unmodified-since", "if-modified-since"] {
            assert_eq!(kvs.plain("GET", "/kv/default/a", &[(name, date)]).await.status, 200, "{name}: {date}");
        }
        let answer = kvs.ask("PUT", "/kv/default/a", &[("if-unmodified-since", date)], "2").await;
        assert_eq!(answer.status, 400, "{date}");
        assert!(answer.text().contains("If-Unmodified-Since") && answer.text().contains("nothing was stored"));
        let rows = json!([{"key": "a", "data": "2", "modified_at": date}]).to_string();
        assert_eq!(kvs.ask("PUT", "/multi/default", &[JSON], rows).await.status, 400, "{date}");
    }
    assert_eq!(kvs.get("/kv/default/a").await.text(), "1");
}

async fn client_timestamps_can_have_any_age(make: Make) {
    let kvs = Endpoint::new(make);
    for date in ["Mon, 01 Jan 1900 00:00:00 GMT", "Mon Jan  1 00:00:00 1900"] {
        let uri = "/kv/poky/old";
        assert_eq!(kvs.ask("PUT", uri, &[("if-unmodified-since", date)], "1").await.status, 200, "{date}");
        let answer = kvs.get(uri).await;
        assert_eq!(answer.header("last-modified"), "Mon, 01 Jan 1900 00:00:00 GMT");
        assert_eq!(answer.tag(), "\"Mon, 01 Jan 1900 00:00:00 GMT\"");
        for other in [date.to_owned(), format!("\"{date}\"")] {
            assert_eq!(kvs.plain("GET", uri, &[("if-match", &other)]).await.status, 200, "{other}");
            assert_eq!(kvs.plain("GET", uri, &[("if-none-match", &other)]).await.status, 304, "{other}");
            assert_eq!(kvs.ask("PUT", uri, &[("if-match", &other)], "1").await.status, 200, "{other}");
        }
        let seen = percent_encoding::utf8_percent_encode(date, percent_encoding::NON_ALPHANUMERIC).to_string();
        assert_eq!(kvs.get(&format!("{uri}?seen={seen}")).await.status, 304, "{date}");
        let older = [("if-unmodified-since", "Sun, 31 Dec 1899 23:59:60 GMT")];
        assert_eq!(kvs.ask("PUT", uri, &older, "1").await.status, 200, "the leap second is the next");
        let older = [("if-unmodified-since", "Sun, 31 Dec 1899 23:59:59 GMT")];
        assert_eq!(kvs.ask("PUT", uri, &older, "2").await.status, 412, "{date}");
        assert_eq!(kvs.plain("GET", uri, &[("if-match", "Fri, 31 Dec 9999 23:59:59 GMT")]).await.status, 412);
    }
    assert_eq!(kvs.ask("PUT", "/kv/poky/far", &[("if-unmodified-since", FUTURE[0])], "1").await.status, 200);
    assert_eq!(kvs.plain("GET", "/kv/poky/far", &[("if-match", FUTURE[0])]).await.status, 200);
}

async fn rows_accept_dates_of_any_age(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for (date, result) in PAST.map(|date| (date, "rejected")).into_iter().chain(FUTURE.map(|date| (date, "updated"))) {
        let rows = json!([{"key": "a", "data": "1", "modified_at": date}]);
        assert_eq!(kvs.json("PUT", "/multi/default", rows).await.json(), json!([{"result": result}]), "{date}");
        let rows = json!([{"key": "a", "modified_at": date}]);
        assert_eq!(kvs.json("POST", "/multi/default", rows).await.json(), json!({}), "{date}");
    }
}
