//! `GET /openapi.json`: the API description for programs (OpenAPI 3.1). It is written by hand. Tests compare it with
//! the routes, and compare every response of the HTTP tests with it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::web::body::Response;
use crate::web::response::response;
use crate::web::response::response::Cache;

const DOCUMENT: &str = include_str!("assets/openapi.json");

pub(crate) fn answer() -> Response {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    response::bytes(Bytes::from_static(DOCUMENT.as_bytes()), Cache::Never, headers)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;
    use crate::web::request::form::QueryString;
    use crate::web::route::Route;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// A URL for every route, and its path in the document.
    const ROUTES: [(&str, &str); 18] = [
        ("/", "/"),
        ("/status", "/status"),
        ("/help", "/help"),
        ("/livez", "/livez"),
        ("/readyz", "/readyz"),
        ("/metrics", "/metrics"),
        ("/openapi.json", "/openapi.json"),
        ("/kv", "/kv"),
        ("/log", "/log"),
        ("/maintenance/b", "/maintenance/{bucket}"),
        ("/kv/b", "/kv/{bucket}"),
        ("/kv/b?key=k", "/kv/{bucket}"),
        ("/kv/b/k", "/kv/{bucket}/{key}"),
        ("/multi/b", "/multi/{bucket}"),
        ("/txn/b", "/txn/{bucket}"),
        ("/log/b", "/log/{bucket}"),
        ("/log/b?key=k", "/log/{bucket}"),
        ("/log/b/k", "/log/{bucket}/{key}"),
    ];

    fn route(url: &str) -> Route {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Route::new(path, QueryString::new(Some(query)).unwrap()).unwrap()
    }

    #[test]
    fn document_has_exactly_the_routes_and_their_methods() {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (url, path) in ROUTES {
            let methods = route(url).allow().split(", ").map(str::to_ascii_lowercase);
            expected.entry(path.to_owned()).or_default().extend(methods);
        }
        let document = document();
        let documented = document["paths"].as_object().unwrap().iter().map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|name| *name != "parameters");
            (path.clone(), methods.cloned().collect())
        });
        assert_eq!(documented.collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn routes_above_are_complete() {
        let source = include_str!("../route.rs");
        let (_, variants) = source.split_once("pub(crate) enum Route {\n").unwrap();
        let (variants, _) = variants.split_once("\n}").unwrap();
        let names = variants.lines().filter(|line| line.trim_start().starts_with(char::is_uppercase));
        let routes: Vec<_> = ROUTES.iter().map(|(url, _)| std::mem::discriminant(&route(url))).collect();
        let distinct = routes.iter().collect::<std::collections::HashSet<_>>().len();
        // `*` names no resource.
        assert_eq!(names.filter(|name| !name.contains("Server,")).count(), distinct);
    }

    /// Collects every `$ref` in a value.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn references_exist_and_all_components_are_used() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        for kind in ["parameters", "headers", "responses", "schemas"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(found.contains(reference.as_str()), "{reference} is not used");
            }
        }
    }

    #[test]
    fn document_has_this_version_and_fits_any_base_path() {
        let document = document();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(document["servers"][0]["url"], ".");
    }
}
