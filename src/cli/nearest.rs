//! The name that somebody may have meant who wrote another.

/// The name that is nearest to what was written, if one is near enough to have been meant.
pub(super) fn nearest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let written = plain(written);
    let near = names.iter().map(|name| (distance(&written, &plain(name)), *name)).min()?;
    // Of a short name little is left after two changes.
    let most = if near.1.len() > 4 { near.1.len() / 3 + 1 } else { 1 };
    (near.0 <= most).then_some(near.1)
}

/// That there is no such name, and which one may have been meant or which there are.
pub(super) fn no_such(what: &str, written: &str, names: &[&str]) -> String {
    match nearest(written, names) {
        Some(name) => format!("there is no {what} `{written}`; did you mean `{name}`?"),
        None => format!("there is no {what} `{written}`; there are {}", names.join(", ")),
    }
}

/// How many characters must be added, removed, changed, or swapped with their neighbour to come from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    // The rows before: of all but the last two characters of `a` so far, and of all but the last.
    let mut before: Vec<usize> = vec![];
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    let mut last_a = None;
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        let mut last_b = None;
        for (j, cb) in b.chars().enumerate() {
            let at = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut least = (at(&row, j + 1) + 1).min(at(&next, j) + 1).min(at(&row, j) + usize::from(ca != cb));
            if j > 0 && last_a == Some(cb) && last_b == Some(ca) {
                least = least.min(at(&before, j - 1) + 1);
            }
            next.push(least);
            last_b = Some(cb);
        }
        before = std::mem::replace(&mut row, next);
        last_a = Some(ca);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_single_changes() {
        for (a, b, n) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("reads", "read", 1), ("shpo", "shop", 1)]
        {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_was_meant() {
        let names = ["reads", "max_value", "cors"];
        assert_eq!(nearest("max-value", &names), Some("max_value"));
        assert_eq!(nearest("Reds", &names), Some("reads"));
        assert_eq!(nearest("core", &names), Some("cors"));
        assert_eq!(nearest("my_shpo", &["My-Shop", "other"]), Some("My-Shop"));
        assert_eq!(nearest("port", &names), None);
        assert_eq!(no_such("setting", "port", &names), "there is no setting `port`; there are reads, max_value, cors");
    }
}
