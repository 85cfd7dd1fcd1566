//! The revision of a bucket as its waiters see it. It only grows, no matter who reports it.

use tokio::sync::watch;

use crate::model::Revision;

/// Raises the watched revision and wakes its waiters. An older revision changes nothing and wakes nobody.
pub fn raise_revision(watched: &watch::Sender<Revision>, revision: Revision) {
    watched.send_if_modified(|known| {
        let is_later = revision > *known;
        *known = revision.max(*known);
        is_later
    });
}
