//! The bounds of a scan, for stores with ordered keys.

use std::cmp::Ordering;
use std::ops::Bound;

use super::entries::Entries;
use crate::model::{Page, Projection, Scan, Time};

/// The page of entries for a query, without the entries that have expired at `now`. The caller sets the
/// revision. Small values share the memory of the entries next to them.
#[must_use]
pub fn page(entries: &Entries, query: &Scan, now: Time) -> Page {
    let Some((low, high)) = bounds(query) else {
        return Page { count: (query.projection == Projection::Count).then_some(0), ..Page::default() };
    };
    let (low, high) = (low.as_ref().map(String::as_str), high.as_ref().map(String::as_str));
    let views: Box<dyn Iterator<Item = _>> =
        if query.reverse { Box::new(entries.range_rev(low, high)) } else { Box::new(entries.range(low, high)) };
    let mut live = views.filter(|view| view.is_live(now));
    if query.projection == Projection::Count {
        return Page { count: Some(live.count() as u64), ..Page::default() };
    }
    let mut page = Page::default();
    for view in live.by_ref().take(query.limit) {
        page.entries.push((view.to_key(), (query.projection == Projection::Entries).then(|| view.to_shared_entry())));
    }
    if live.next().is_some() {
        page.cursor = page.entries.last().map(|(key, _)| key.clone());
    }
    page
}

/// The bounds of a query over the bytes of its keys, prefix included. `None` if no key can be within them.
#[must_use]
pub fn bounds(query: &Scan) -> Option<(Bound<String>, Bound<String>)> {
    let mut low = Bound::Included(query.prefix.clone());
    let mut high = after_prefix(&query.prefix).map_or(Bound::Unbounded, Bound::Excluded);
    if let Some(start) = &query.start {
        low = narrower(low, Bound::Included(start.clone()), Ordering::Greater);
    }
    if let Some(end) = &query.end {
        high = narrower(high, Bound::Excluded(end.clone()), Ordering::Less);
    }
    if let Some(after) = &query.after {
        let cursor = Bound::Excluded(after.clone());
        if query.reverse {
            high = narrower(high, cursor, Ordering::Less);
        } else {
            low = narrower(low, cursor, Ordering::Greater);
        }
    }
    let empty = match (&low, &high) {
        (Bound::Included(l), Bound::Included(h)) => l > h,
        (Bound::Included(l) | Bound::Excluded(l), Bound::Included(h) | Bound::Excluded(h)) => l >= h,
        _ => false,
    };
    (!empty).then_some((low, high))
}

/// The least text that is greater than every text with this prefix, if there is one.
///
/// It raises the last character that has a successor and drops the characters after it. UTF-8 bytes have the order of
/// their code points, so this is exact for valid text.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            c => char::from_u32(u32::from(c) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// The narrower of two bounds on the same side. `closer` is the order of the narrower text to the other one: `Greater`
/// for lower bounds, `Less` for upper bounds.
fn narrower(a: Bound<String>, b: Bound<String>, closer: Ordering) -> Bound<String> {
    let order = match (&a, &b) {
        (Bound::Unbounded, _) => return b,
        (_, Bound::Unbounded) => return a,
        (Bound::Included(x) | Bound::Excluded(x), Bound::Included(y) | Bound::Excluded(y)) => x.cmp(y),
    };
    if order == closer || (order.is_eq() && matches!(a, Bound::Excluded(_))) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_of_a_prefix_follows_all_its_keys() {
        assert_eq!(after_prefix(""), None);
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
    }

    #[test]
    fn the_narrower_bound_wins_and_empty_ranges_have_no_bounds() {
        let query = |prefix: &str, start: Option<&str>, end: Option<&str>| Scan {
            prefix: prefix.into(),
            start: start.map(Into::into),
            end: end.map(Into::into),
            ..Scan::default()
        };
        let (low, high) = bounds(&query("a", Some("ab"), Some("b"))).unwrap();
        assert_eq!((low, high), (Bound::Included("ab".into()), Bound::Excluded("b".into())));
        assert_eq!(bounds(&query("a", Some("b"), None)), None);
        assert_eq!(bounds(&query("", Some("c"), Some("b"))), None);
        assert_eq!(bounds(&Scan { after: Some("x".into()), end: Some("x".into()), ..Scan::default() }), None);
    }
}
