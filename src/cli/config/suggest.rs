//! "Did you mean": the known name that is most similar to an unknown one.

/// The most similar name, if it is similar enough to be a likely typo. Case, `-` and `_` do not count.
pub(crate) fn nearest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let written = plain(written);
    let (distance, name) = names.iter().map(|name| (strsim::osa_distance(&written, &plain(name)), *name)).min()?;
    // Two changes in a short name make it another name.
    let max_distance = if name.len() > 4 { name.len() / 3 + 1 } else { 1 };
    (distance <= max_distance).then_some(name)
}

/// The error for an unknown name.
pub(crate) fn no_such(what: &str, written: &str, names: &[&str]) -> String {
    match nearest(written, names) {
        Some(name) => format!("there is no {what} `{written}`; did you mean `{name}`?"),
        None => format!("there is no {what} `{written}`; the names are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_name_is_suggested() {
        let names = ["reads", "max_value", "cors"];
        assert_eq!(nearest("max-value", &names), Some("max_value"));
        assert_eq!(nearest("Reds", &names), Some("reads"));
        assert_eq!(nearest("core", &names), Some("cors"));
        assert_eq!(nearest("my_shpo", &["My-Shop", "other"]), Some("My-Shop"));
        assert_eq!(nearest("port", &names), None);
        let text = "there is no setting `port`; the names are reads, max_value, cors";
        assert_eq!(no_such("setting", "port", &names), text);
    }
}
