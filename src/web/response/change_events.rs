//! The changes of a bucket as Server-Sent Events.

use serde::Serialize;
use tokio::time::Instant;

use super::api_error::ApiError;
use super::entry_json;
use super::event_stream::EventSource;
use super::streamed::{Composer, Content};
use crate::model::{Error, KeyChange, Revision};
use crate::web::read::feed::{Feed, FeedFormat};
use crate::web::read::fetch::{Fetched, Wakeup};

/// Changes as events.
pub(crate) const FORMAT: FeedFormat = FeedFormat { name: "events", changes: events };

/// The data of the event `reset`.
#[derive(Serialize)]
struct Reset<'a> {
    event: &'a str,
    id: String,
    bucket: &'a str,
}

impl EventSource for Feed {
    /// The revision up to which the client has seen everything.
    type Position = Revision;

    async fn events(
        &self,
        since: Option<&Revision>,
        wakeup: Option<Wakeup>,
    ) -> Result<(Revision, Option<Content>), ApiError> {
        let fetched = match since {
            Some(since) => self.fetch(*since, wakeup).await?,
            None => None,
        };
        let Fetched { revision, representation, .. } = match fetched {
            Some(fetched) => fetched,
            None => self.begin_again(reset).await?,
        };
        Ok((revision, representation.map(|representation| representation.body)))
    }

    async fn changed(&self, since: &Revision) -> Result<Wakeup, Error> {
        let revision = self.store.changed(&self.bucket, *since).await?;
        Ok(Wakeup { at: Instant::now(), revision: Some(revision) })
    }
}

fn events(feed: &Feed, changes: &[KeyChange], _: Revision) -> Result<Content, ApiError> {
    let mut out = Composer::default();
    for change in changes {
        out.text(&format!("event: {}\nid: {}\ndata: ", entry_json::event_name(change), change.revision));
        entry_json::change(&mut out, &feed.bucket, change)?;
        out.text("\n\n");
    }
    out.finish(&feed.responses)
}

/// The event after which the client must read the list again.
fn reset(feed: &Feed, revision: Revision) -> Result<Content, ApiError> {
    let mut out = Composer::default();
    out.text(&format!("event: reset\nid: {revision}\ndata: "));
    out.json(&Reset { event: "reset", id: revision.to_string(), bucket: feed.bucket.as_str() })?;
    out.text("\n\n");
    out.finish(&feed.responses)
}
