//! Import cycles between files of `src/`: which file imports which, and the groups of files that import one another.

use std::collections::{BTreeMap, BTreeSet};

/// The path of a module below the crate, such as `["yaml", "file", "lock"]`.
type Module = Vec<String>;

/// The module of a file of `src/`, given its path there; none for `lib.rs` and `main.rs`.
fn module(path: &str) -> Option<Module> {
    let path = path.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let outside = path == "lib" || path == "main";
    (!outside).then(|| path.split('/').map(str::to_owned).collect())
}

/// The members of `a, b::{c, d}, e`, each whole.
fn members(list: &str) -> Vec<&str> {
    let (mut members, mut depth, mut from) = (vec![], 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    members.push(&list[from..]);
    members.into_iter().map(str::trim).filter(|member| !member.is_empty()).collect()
}

/// The paths of a `use`: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((before, group)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    members(group).into_iter().flat_map(leaves).map(|leaf| format!("{}{leaf}", before.trim())).collect()
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    let text = text.replace("#[cfg(test)]\nmod tests;", "").replace("#[cfg(test)]\npub(crate) mod tests;", "");
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let text = text.split("#[cfg(test)]\npub(crate) mod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// The places in the code where this text begins a line, after a visibility and white space.
fn at_line_starts<'c>(code: &'c str, text: &'c str) -> impl Iterator<Item = &'c str> {
    code.match_indices(text).filter_map(|(at, _)| {
        let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        let is_start = before.is_empty() || before.starts_with("pub");
        is_start.then(|| &code[at + text.len()..])
    })
}

/// Every path that the code of a file names, in a `use` or elsewhere.
fn paths(code: &str) -> Vec<String> {
    let trees = at_line_starts(code, "use ").filter_map(|rest| rest.split(';').next());
    let mut paths: Vec<String> = trees.flat_map(leaves).collect();
    // The names of its own modules begin a path as well.
    let children =
        at_line_starts(code, "mod ").filter_map(|rest| rest.split(';').next().map(|name| format!("{name}::")));
    for root in ["crate::", "super::", "self::"].map(str::to_owned).into_iter().chain(children) {
        for (at, _) in code.match_indices(&root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &code[at..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            // The group of a `use`, which is read above.
            if rest[end..].starts_with('{') {
                continue;
            }
            paths.push(rest[..end].trim_end_matches(':').to_owned());
        }
    }
    paths
}

/// The file that a path leads to from a module, if it is another one.
fn target(path: &str, from: &Module, files: &BTreeSet<Module>) -> Option<Module> {
    let mut segments = path.split("::").map(|segment| segment.split_whitespace().next().unwrap_or_default()).peekable();
    let mut base = match *segments.peek()? {
        "crate" => {
            segments.next();
            vec![]
        }
        "self" => {
            segments.next();
            from.clone()
        }
        "super" => {
            let mut base = from.clone();
            while segments.next_if_eq(&"super").is_some() {
                base.pop();
            }
            base
        }
        _ => from.clone(),
    };
    base.extend(segments.filter(|segment| *segment != "self").map(str::to_owned));
    while !base.is_empty() && !files.contains(&base) {
        base.pop();
    }
    (!base.is_empty() && base != *from).then_some(base)
}

/// The groups of files that import one another, directly or through others. `sources` has path and text of each file.
pub(super) fn cycles(sources: &[(String, String)]) -> Vec<Vec<String>> {
    let files: BTreeSet<Module> = sources.iter().filter_map(|(path, _)| module(path)).collect();
    let mut imports: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (path, text) in sources {
        let Some(from) = module(path) else { continue };
        let named = paths(&code(text));
        imports.entry(from.clone()).or_default().extend(named.iter().filter_map(|path| target(path, &from, &files)));
    }
    let reachable = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = open.pop() {
            for next in imports.get(&module).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&Module, BTreeSet<Module>> = imports.keys().map(|from| (from, reachable(from))).collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, ends) in &reach {
        if ends.contains(*from) {
            let group = reach.iter().filter(|(other, back)| ends.contains(**other) && back.contains(*from));
            groups.insert(group.map(|(module, _)| module.join("/")).collect());
        }
    }
    groups.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<Vec<String>> {
        let sources: Vec<_> = sources.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        cycles(&sources)
    }

    #[test]
    fn a_cycle_is_found_however_it_is_written() {
        for (a, b) in [
            ("use super::b::B;", "use crate::x::a::A;"),
            ("use super::{\n    c::C,\n    b::{B, D},\n};", "fn f() { super::a::f() }"),
            ("pub(crate) use super::b::B as E;", "struct B;\nuse super::a;\n"),
            ("fn f() { crate::x::b::g() }", "use std::io;\nuse crate::{y, x::{a, c}};"),
        ] {
            let files = [("x/mod.rs", "mod a;\nmod b;"), ("x/a.rs", a), ("x/b.rs", b), ("x/c.rs", ""), ("y.rs", "")];
            assert_eq!(found(&files), [["x/a", "x/b"]], "{a} {b}");
        }
        let through_mod = [("x/mod.rs", "mod a;\nuse self::a::A;\npub struct X;"), ("x/a.rs", "use super::X;")];
        assert_eq!(found(&through_mod), [["x", "x/a"]]);
        let child = [("x/mod.rs", "mod a;\npub use a::A;\npub struct X;"), ("x/a.rs", "use super::X;")];
        assert_eq!(found(&child), [["x", "x/a"]]);
        let called = [("x/mod.rs", "mod a;\npub struct X;\nfn f() { a::run() }"), ("x/a.rs", "use super::X;")];
        assert_eq!(found(&called), [["x", "x/a"]]);
    }

    #[test]
    fn tests_and_comments_import_nothing() {
        let b = "/// See [`A`](super::a::A).\nstruct B;\n\n#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}\n";
        assert!(found(&[("x/a.rs", "use super::b::B;"), ("x/b.rs", b)]).is_empty());
    }
}
