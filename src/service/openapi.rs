//! `GET /openapi.json`: the contract for programs (OpenAPI 3.1). Written by hand; tests hold it against the routes, and
//! every answer of the tests against it.

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::reply::{self, Cache};

const DOCUMENT: &str = include_str!("openapi.json");

/// Answers `GET /openapi.json`.
pub(crate) fn answer() -> Response {
    let what = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    reply::bytes(Bytes::from_static(DOCUMENT.as_bytes()), Cache::Never, what)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::super::form::Question;
    use super::super::route::Route;
    use super::*;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// An address of every route there is, and under which path of the document it stands.
    const ROUTES: [(&str, &str); 12] = [
        ("/", "/"),
        ("/status", "/status"),
        ("/help", "/help"),
        ("/livez", "/livez"),
        ("/readyz", "/readyz"),
        ("/metrics", "/metrics"),
        ("/openapi.json", "/openapi.json"),
        ("/kv/b", "/kv/{bucket}"),
        ("/kv/b?key=k", "/kv/{bucket}"),
        ("/kv/b/k", "/kv/{bucket}/{key}"),
        ("/multi/b", "/multi/{bucket}"),
        ("/txn/b", "/txn/{bucket}"),
    ];

    fn route(address: &str) -> Route {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        Route::new(path, Question::new(Some(query)).unwrap()).unwrap()
    }

    #[test]
    fn every_route_is_in_the_document_with_its_methods_and_nothing_else_is() {
        let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (address, path) in ROUTES {
            let methods = route(address).allow().split(", ").map(str::to_ascii_lowercase);
            there.entry(path.to_owned()).or_default().extend(methods);
        }
        let told = document();
        let told = told["paths"].as_object().unwrap().iter().map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|name| *name != "parameters");
            (path.clone(), methods.cloned().collect())
        });
        assert_eq!(told.collect::<BTreeMap<_, _>>(), there);
    }

    #[test]
    fn no_route_is_forgotten_above() {
        let source = include_str!("route.rs");
        let (_, variants) = source.split_once("pub(crate) enum Route {\n").unwrap();
        let (variants, _) = variants.split_once("\n}").unwrap();
        let names = variants.lines().filter(|line| line.trim_start().starts_with(char::is_uppercase));
        let routes: Vec<_> = ROUTES.iter().map(|(address, _)| std::mem::discriminant(&route(address))).collect();
        let distinct = routes.iter().collect::<std::collections::HashSet<_>>().len();
        // `*` names no resource.
        assert_eq!(names.filter(|name| !name.contains("Server,")).count(), distinct);
    }

    /// Every `$ref` below.
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
    fn what_is_referred_to_is_there_and_nothing_is_left_over() {
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
    fn it_is_of_this_version_and_fits_any_base_path() {
        let document = document();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(document["servers"][0]["url"], ".");
    }
}
