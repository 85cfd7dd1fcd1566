//! Following a bucket that has not been written yet: its position is 0.

use std::time::Duration;

use kvs::web::{ApiSettings, LongPollLimit, LongPollSettings};

use super::Stream;
use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    stream_of_a_new_bucket_continues_with_its_first_change,
    stream_of_a_key_of_a_new_bucket_has_no_other_keys,
    stream_since_zero_has_all_entries,
    short_stream_of_an_empty_bucket_waits,
}

async fn stream_of_a_new_bucket_continues_with_its_first_change(make: Make) {
    let kvs = Endpoint::new(make);
    let mut stream = Stream::open(&kvs, "/kv/new", &[]).await;
    assert_eq!(stream.expect("reset").await.id, "0");
    stream.assert_silent().await;
    kvs.put("/kv/new/a", "1").await;
    stream.expect("put a").await;
    kvs.put("/kv/new/b", "1").await;
    stream.expect("put b").await;
}

async fn stream_of_a_key_of_a_new_bucket_has_no_other_keys(make: Make) {
    let kvs = Endpoint::new(make);
    let mut stream = Stream::open(&kvs, "/kv/new/a", &[]).await;
    assert_eq!(stream.expect("delete a").await.id, "0");
    kvs.put("/kv/new/b", "1").await;
    stream.assert_silent().await;
    kvs.put("/kv/new/a", "1").await;
    stream.expect("put a").await;
}

async fn stream_since_zero_has_all_entries(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/new/a", "1").await;
    kvs.put("/kv/new/b", "1").await;
    let mut stream = Stream::open(&kvs, "/kv/new?since=0", &[]).await;
    stream.expect("put a").await;
    stream.expect("put b").await;
    stream.assert_silent().await;
}

async fn short_stream_of_an_empty_bucket_waits(make: Make) {
    let max_wait = Duration::from_secs(25);
    let long_polls = LongPollSettings { max_wait, limit: LongPollLimit::new(9), short_streams: true };
    let kvs = Endpoint::with(make, |settings| ApiSettings { long_polls, ..settings });
    let mut first = Stream::open(&kvs, "/kv/new", &[]).await;
    let id = first.expect("reset").await.id;
    let mut second = Stream::open(&kvs, "/kv/new", &[("last-event-id", &id)]).await;
    second.assert_silent().await;
    kvs.put("/kv/new/a", "1").await;
    second.expect("put a").await;
}
