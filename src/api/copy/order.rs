//! In what order entries are written, under which revisions, and how many together.

use super::compare::{Compared, Wanted};
use super::{BYTES, KEYS};
use crate::model::Revision;

/// Entries in the order in which they are to be written.
pub(super) struct Order {
    /// Those that can be written as they are, by their revisions.
    pub(super) plain: Vec<Wanted>,
    /// Those in whose place a later one stands, which has to go first.
    pub(super) displacing: Vec<Wanted>,
}

impl Order {
    /// The order of what a comparison found. `exact`: the source has revisions of its own, which are kept.
    pub(super) fn of(found: &mut Compared, exact: bool) -> Self {
        let mut wanted = std::mem::take(&mut found.wanted);
        wanted.sort_unstable_by(|a, b| (a.told, &a.key).cmp(&(b.told, &b.key)));
        if !exact {
            give_revisions(&mut wanted, found);
        }
        let (displacing, plain) = wanted.into_iter().partition(is_displacing);
        Self { plain, displacing }
    }
}

/// Gives each entry a revision of its own: that of its time, raised above the one before and past those that are taken. Where
/// nothing but the expiry or the type is another, the one that stands is kept.
fn give_revisions(wanted: &mut [Wanted], found: &mut Compared) {
    let kept = |wanted: &Wanted| {
        wanted.instead.filter(|(_, fields)| !fields.has_value() && !fields.has_updated()).map(|(revision, _)| revision)
    };
    found.taken.extend(wanted.iter().filter_map(kept));
    // Another value must not have the revision of the one that stands: clients know that by its tag.
    let replaced = |wanted: &Wanted| wanted.instead.filter(|(_, fields)| fields.has_value()).map(|(stands, _)| stands);
    found.taken.extend(wanted.iter().filter_map(replaced));
    let mut last = Revision::ZERO;
    for wanted in wanted {
        wanted.revision = kept(wanted).unwrap_or_else(|| {
            let mut revision = wanted.told.max(last.following());
            while found.taken.contains(&revision) {
                revision = revision.following();
            }
            last = revision;
            revision
        });
    }
}

fn is_displacing(wanted: &Wanted) -> bool {
    wanted
        .instead
        .is_some_and(|(stands, fields)| stands > wanted.revision || stands == wanted.revision && fields.has_value())
}

/// The entries cut into batches.
pub(super) fn batches(wanted: &[Wanted]) -> impl Iterator<Item = &[Wanted]> {
    let mut rest = wanted;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |wanted: &&Wanted| {
            bytes += wanted.size;
            bytes <= BYTES
        };
        // One always goes, however large it is.
        let count = rest.iter().take(KEYS).take_while(fits).count().max(1).min(rest.len());
        let (batch, after) = rest.split_at_checked(count)?;
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    fn wanted(name: &str, told: u64, size: usize) -> Wanted {
        let (key, told) = (Key::new(name).unwrap(), Revision::new(told));
        Wanted { key, told, revision: told, size, instead: None }
    }

    #[test]
    fn batches_are_bounded_in_keys_and_in_bytes() {
        let sizes = |wanted: Vec<Wanted>| batches(&wanted).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..2500).map(|n| wanted("k", n, 1)).collect()), [KEYS, KEYS, 2500 - 2 * KEYS]);
        assert_eq!(sizes((0..3).map(|n| wanted("k", n, BYTES / 2 + 1)).collect()), [1, 1, 1]);
        assert_eq!(sizes((0..4).map(|n| wanted("k", n, BYTES / 2)).collect()), [2, 2]);
        assert_eq!(sizes(vec![wanted("k", 1, 3 * BYTES), wanted("l", 2, 1)]), [1, 1]);
        assert_eq!(sizes(vec![]), Vec::<usize>::new());
    }

    #[test]
    fn entries_of_one_time_get_revisions_of_their_own_past_those_that_are_taken() {
        let mut found = Compared {
            wanted: ["d", "b", "a"].map(|name| wanted(name, 50, 1)).into_iter().chain([wanted("c", 51, 1)]).collect(),
            taken: [Revision::new(51)].into(),
            ..Compared::default()
        };
        let order = Order::of(&mut found, false);
        let given: Vec<_> = order.plain.iter().map(|w| (w.key.as_str(), w.revision.number())).collect();
        assert_eq!(given, [("a", 50), ("b", 52), ("d", 53), ("c", 54)]);
    }
}
