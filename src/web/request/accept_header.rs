//! The media types that a client accepts by name in `Accept` (RFC 9110, section 12.5.1). Wildcards are ignored.

use http::HeaderMap;
use http::header::ACCEPT;

/// Whether `Accept` lists one of these types by name, with a weight above zero.
///
/// Wildcards do not count, because every simple client sends `*/*`.
pub(crate) fn lists(headers: &HeaderMap, types: &[&str]) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().unwrap_or("");
        types.iter().any(|t| named.eq_ignore_ascii_case(t)) && parts.all(|p| !is_zero_weight(p))
    })
}

/// Whether an error is sent as `application/problem+json` (RFC 9457).
pub(crate) fn accepts_problem(headers: &HeaderMap) -> bool {
    lists(headers, &["application/json", "application/problem+json"])
}

fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_listed_by_name_are_accepted() {
        let cases = [
            ("text/html", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("*/*, TEXT/HTML;q=0.1", true),
            ("text/html;charset=utf-8", true),
            ("*/*", false),
            ("text/*", false),
            ("text/html;q=0", false),
            ("text/html ; q=0.000", false),
            ("application/json", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(lists(&headers, &["text/html"]), expected, "{accept}");
        }
        assert!(!lists(&HeaderMap::new(), &["text/html"]));
    }
}
