//! The name that somebody may have meant who wrote another.

/// The name that is nearest to what was written, if one is near enough to have been meant.
pub(super) fn nearest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    let near = names.iter().map(|name| (distance(&written, name), *name)).min()?;
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

/// How many characters must be added, removed or changed to come from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut corner = i;
        let mut next = vec![left];
        for (cb, above) in b.chars().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(corner + usize::from(ca != cb));
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_single_changes() {
        for (a, b, n) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("reads", "read", 1)] {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_was_meant() {
        let names = ["reads", "max_value", "cors"];
        assert_eq!(nearest("max-value", &names), Some("max_value"));
        assert_eq!(nearest("Reds", &names), Some("reads"));
        assert_eq!(nearest("core", &names), Some("cors"));
        assert_eq!(nearest("port", &names), None);
        assert_eq!(no_such("setting", "port", &names), "there is no setting `port`; there are reads, max_value, cors");
    }
}
