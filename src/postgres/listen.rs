//! Hears what other processes tell of their changes: one connection, which is made anew whenever it breaks.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_postgres::{AsyncMessage, Error};

use super::engine::Place;
use super::wait::Waits;
use crate::model::{Bucket, Revision};

/// How long to wait before a connection is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Listens until those who wait are no more.
pub(super) async fn listen(place: Arc<Place>, waits: Weak<Waits>) {
    let mut pause = PAUSES.0;
    while waits.strong_count() > 0 {
        let ended = hear(&place, &waits).await;
        let heard = waits.upgrade().is_some_and(|waits| waits.hears.swap(false, Ordering::Relaxed));
        if heard {
            pause = PAUSES.0;
        }
        if let Err(error) = ended {
            tracing::debug!("listening for changes: {error}");
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(PAUSES.1);
    }
}

/// Listens on one connection until it ends.
async fn hear(place: &Place, waits: &Weak<Waits>) -> Result<(), Error> {
    let (client, mut connection) = place.url.config.connect(place.tls.clone()).await?;
    let sql = format!("LISTEN \"{}\"", place.url.names.channel);
    let mut beginning = std::pin::pin!(client.batch_execute(&sql));
    let mut begun = false;
    loop {
        tokio::select! {
            done = &mut beginning, if !begun => {
                done?;
                begun = true;
                let Some(waits) = waits.upgrade() else { return Ok(()) };
                waits.hears.store(true, Ordering::Relaxed);
                // What was told before nobody has heard.
                waits.nudge();
            }
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                Some(Ok(AsyncMessage::Notification(word))) => {
                    let Some(waits) = waits.upgrade() else { return Ok(()) };
                    if let Some((bucket, revision)) = read(word.payload()) {
                        waits.tell(&bucket, revision);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    }
}

/// Bucket and revision as they are told.
fn read(word: &str) -> Option<(Bucket, Revision)> {
    let (bucket, revision) = word.split_once(' ')?;
    Some((Bucket::new(bucket).ok()?, revision.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_passed_over() {
        assert_eq!(read("a.b 10"), Some((Bucket::new("a.b").unwrap(), Revision::new(36))));
        for other in ["", "a", "a ", "a b c", " 1", "a/b 1", "a -1"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
