//! Plans the writes: their order and their revisions.

use super::compare::{BucketDiff, MissingEntry};
use crate::model::Revision;

/// Entries in the order in which they are written.
pub(crate) struct WriteOrder {
    /// Entries that can be written directly, in the order of their revisions.
    pub(crate) plain: Vec<MissingEntry>,
    /// Entries that replace a newer one. That one is deleted first.
    pub(crate) delete_first: Vec<MissingEntry>,
}

impl WriteOrder {
    /// The order of the missing entries, which it takes out of `diff`. `has_revisions`: the source has revisions, which
    /// are kept.
    pub(crate) fn new(diff: &mut BucketDiff, has_revisions: bool) -> Self {
        let mut missing = std::mem::take(&mut diff.missing);
        missing.sort_unstable_by(|a, b| (a.source_revision, &a.key).cmp(&(b.source_revision, &b.key)));
        if !has_revisions {
            assign_revisions(&mut missing, diff);
        }
        let (delete_first, plain) = missing.into_iter().partition(replaces_newer);
        Self { plain, delete_first }
    }
}

/// Assigns a unique revision to each entry: that of its time, raised above the previous one and past those in use. If
/// only the expiry or the content type differs, the revision in the target is kept.
fn assign_revisions(missing: &mut [MissingEntry], diff: &mut BucketDiff) {
    let kept_revision = |missing: &MissingEntry| {
        missing
            .replaces
            .filter(|(_, fields)| !fields.has_value() && !fields.has_updated())
            .map(|(revision, _)| revision)
    };
    diff.used_revisions.extend(missing.iter().filter_map(kept_revision));
    // A new value must not get the revision of the old one, because clients identify values by it.
    let replaced_revision = |missing: &MissingEntry| {
        missing.replaces.filter(|(_, fields)| fields.has_value()).map(|(revision, _)| revision)
    };
    diff.used_revisions.extend(missing.iter().filter_map(replaced_revision));
    let mut last = Revision::ZERO;
    for missing in missing {
        missing.revision = kept_revision(missing).unwrap_or_else(|| {
            let mut revision = missing.source_revision.max(last.following());
            while diff.used_revisions.contains(&revision) {
                revision = revision.following();
            }
            last = revision;
            revision
        });
    }
}

fn replaces_newer(missing: &MissingEntry) -> bool {
    missing.replaces.is_some_and(|(replaced_revision, fields)| {
        replaced_revision > missing.revision || replaced_revision == missing.revision && fields.has_value()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    fn missing(name: &str, revision: u64, size: usize) -> MissingEntry {
        let (key, revision) = (Key::new(name).unwrap(), Revision::new(revision));
        MissingEntry { key, source_revision: revision, revision, size, replaces: None }
    }

    #[test]
    fn entries_of_one_time_get_different_unused_revisions() {
        let mut diff = BucketDiff {
            missing: ["d", "b", "a"]
                .map(|name| missing(name, 50, 1))
                .into_iter()
                .chain([missing("c", 51, 1)])
                .collect(),
            used_revisions: [Revision::new(51)].into(),
            ..BucketDiff::default()
        };
        let order = WriteOrder::new(&mut diff, false);
        let given: Vec<_> = order.plain.iter().map(|w| (w.key.as_str(), w.revision.number())).collect();
        assert_eq!(given, [("a", 50), ("b", 52), ("d", 53), ("c", 54)]);
    }
}
