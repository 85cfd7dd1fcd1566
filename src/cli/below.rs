//! Plain HTTP below a path: takes off again what a web server has put before ours. Over FastCGI the door does it, which
//! knows the names that the server gives; what does not lie below the path is left whole there as here.

use axum::Router;
use axum::extract::Request;
use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use tower::ServiceExt;

/// The same service below that path, written as `/kvs`, `/kvs/` or `/my%20files`.
pub(super) fn below(base: &str, app: Router) -> Router {
    let segments = base.split('/').filter(|segment| !segment.is_empty());
    let base: Vec<Vec<u8>> = segments.map(|segment| percent_decode_str(segment).collect()).collect();
    if base.is_empty() {
        return app;
    }
    Router::new().fallback(move |mut request: Request| {
        if let Some(rest) = rest(request.uri(), &base) {
            *request.uri_mut() = rest;
        }
        let app = app.clone();
        async move {
            match app.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    })
}

/// What follows the segments in a raw target, as it was sent.
fn rest(uri: &Uri, base: &[Vec<u8>]) -> Option<Uri> {
    let mut rest = uri.path();
    for wanted in base {
        let after = rest.strip_prefix('/')?;
        let (segment, left) = after.find('/').map_or((after, ""), |end| after.split_at(end));
        if !percent_decode_str(segment).eq(wanted.iter().copied()) {
            return None;
        }
        rest = left;
    }
    let path = if rest.is_empty() { "/" } else { rest };
    let target = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    // Only a path and a query: `//x` must never be taken for a host.
    target.parse::<PathAndQuery>().ok().map(Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seen(base: &str, target: &str) -> String {
        let app = Router::new().fallback(async |request: Request| request.uri().to_string());
        let request = Request::get(target).body(axum::body::Body::empty()).unwrap();
        let response = below(base, app).oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_path_in_front_is_taken_off_and_the_rest_is_left_as_it_was() {
        for (base, target, expected) in [
            ("/kvs", "/kvs/?k=a", "/?k=a"),
            ("/kvs/", "/kvs?k=a/b", "/?k=a/b"),
            ("kvs", "/kvs/kv/default/a%2Fb", "/kv/default/a%2Fb"),
            ("/my%20files", "/my%20files/status", "/status"),
            ("/a/b", "/a/b/", "/"),
            ("/a", "/%61/x", "/x"),
            ("/a", "/a//x", "//x"),
            ("/kvs", "/kvstore/x", "/kvstore/x"),
            ("/kvs", "/", "/"),
            ("/", "/x?y", "/x?y"),
        ] {
            assert_eq!(seen(base, target).await, expected, "{base} {target}");
        }
    }
}
