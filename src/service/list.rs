//! `GET /kv/{bucket}`: a page of the keys of a bucket, in the order of their bytes. No secret, no list, unless the policy
//! of the bucket says otherwise.

use std::collections::BTreeMap;

use async_trait::async_trait;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::budget::Budget;
use super::compose::{self, Composer, Content};
use super::form::Question;
use super::meta;
use super::number;
use super::reply::Refusal;
use super::view::{self, Look, News, Shown, View};
use super::{Asked, Service, guard};
use crate::model::{Bucket, Key, Page, Query, Shape};

/// The most entries of a page.
const MOST: i64 = 1000;
/// The same if the client does not say.
const USUAL: usize = 100;
/// A page ends early once its values have so many bytes as JSON.
const MOST_BYTES: u64 = 16 << 20;
/// Who waits looks again after this many seconds at the latest: entries that are not shown may end as well.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);
/// Where the next page begins, percent-encoded, for a page of plain text.
const KVS_CURSOR: HeaderName = HeaderName::from_static("kvs-cursor");

struct List {
    bucket: Bucket,
    query: Query,
    lines: bool,
}

/// Answers `GET /kv/{bucket}`.
pub(crate) async fn answer(asked: Asked<'_>, bucket: &Bucket) -> Result<Response, Refusal> {
    let cache = guard::lister(asked, bucket).await?;
    let (query, lines) = query(asked.question)?;
    let list = List { bucket: bucket.clone(), query, lines };
    view::answer(asked, bucket, cache.into(), &list).await
}

/// What is asked for, and whether as lines of text.
fn query(question: Question<'_>) -> Result<(Query, bool), Refusal> {
    let lines = match question.text("format")?.as_deref() {
        None | Some("json") => false,
        Some("text") => true,
        Some(other) => {
            return Err(Refusal::invalid(format!("format must be json or text, got {}", number::shown(other))));
        }
    };
    let limit = question.number("limit", 1..=MOST)?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(USUAL);
    let shape = if question.flag("count")? {
        Shape::Count
    } else if question.flag("keys")? || lines {
        Shape::Keys
    } else {
        Shape::Entries
    };
    let query = Query {
        prefix: question.text("prefix")?.unwrap_or_default(),
        start: question.text("start")?,
        end: question.text("end")?,
        after: question.text("after")?,
        limit,
        reverse: question.flag("reverse")?,
        shape,
    };
    Ok((query, lines))
}

#[async_trait]
impl Look for List {
    async fn look(&self, service: &Service) -> Result<View, Refusal> {
        let page = service.store.scan(&self.bucket, self.query.clone()).await.map_err(Refusal::unread)?;
        let page = bounded(page);
        let again = service.settings.clock.now().plus(LOOK_AGAIN);
        let ends = page.entries.iter().filter_map(|(_, entry)| entry.as_ref()?.expires).min();
        let (content_type, body) = if self.lines {
            ("text/plain; charset=utf-8", text(&page).into())
        } else {
            ("application/json", json(&self.bucket, self.query.shape, &page, &service.settings.responses)?)
        };
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        if self.lines
            && let Some(cursor) = &page.cursor
        {
            let cursor = utf8_percent_encode(cursor.as_str(), NON_ALPHANUMERIC).to_string();
            headers.extend(HeaderValue::try_from(cursor).ok().map(|value| (KVS_CURSOR, value)));
        }
        let shown = Shown { tag: tag(&page, &body), modified: None, headers, body };
        Ok(View { moved: page.revision, ends: Some(ends.map_or(again, |end| end.min(again))), shown: Some(shown) })
    }

    async fn look_again(&self, service: &Service, news: News) -> Result<View, Refusal> {
        let name = format!("{} {} {:?}", self.bucket, self.lines, self.query);
        let now = service.settings.clock.now();
        service.together.look(name, (news, now), self.look(service)).await
    }
}

/// The page, cut where its entries become too large. At least one stays.
fn bounded(mut page: Page) -> Page {
    let mut bytes = 0_u64;
    let fits = page.entries.iter().take_while(|(_, entry)| {
        let before = bytes;
        bytes = bytes.saturating_add(entry.as_ref().map_or(0, |e| compose::length_in_json(&e.value)));
        before == 0 || bytes <= MOST_BYTES
    });
    let fits = fits.count();
    if fits < page.entries.len() {
        page.entries.truncate(fits);
        page.cursor = page.entries.last().map(|(key, _)| key.clone());
    }
    page
}

/// The tag of a page is made from what it shows. The revision of the bucket would not do: entries end without moving it,
/// and writes elsewhere in the bucket would wake who waits for this part.
fn tag(page: &Page, body: &Content) -> String {
    let mut hash = Sha256::new();
    body.each(|part| hash.update(part));
    hash.update(page.cursor.as_ref().map_or("", Key::as_str));
    let hash: [u8; 32] = hash.finalize().into();
    let half = hash.first_chunk::<16>().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

fn text(page: &Page) -> Bytes {
    if let Some(count) = page.count {
        return format!("{count}\n").into();
    }
    page.entries.iter().flat_map(|(key, _)| [key.as_str(), "\n"]).collect::<String>().into()
}

#[derive(Serialize)]
struct Keys<'a> {
    keys: Vec<&'a str>,
    cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct Rest<'a> {
    cursor: Option<&'a str>,
}

fn json(bucket: &Bucket, shape: Shape, page: &Page, budget: &Budget) -> Result<Content, Refusal> {
    let cursor = page.cursor.as_ref().map(Key::as_str);
    match shape {
        Shape::Count => Ok(meta::json(&BTreeMap::from([("count", page.count.unwrap_or(0))]))?.into()),
        Shape::Keys => {
            let keys = page.entries.iter().map(|(key, _)| key.as_str()).collect();
            Ok(meta::json(&Keys { keys, cursor })?.into())
        }
        Shape::Entries => {
            let mut out = Composer::default();
            out.text("{\"entries\":[");
            let entries = page.entries.iter().filter_map(|(key, entry)| Some((key, entry.as_ref()?)));
            for (number, (key, entry)) in entries.enumerate() {
                out.text(if number == 0 { "" } else { "," });
                meta::hold(&mut out, &entry.value);
                meta::entry(&mut out, (bucket, key), entry)?;
            }
            out.text("]");
            out.close(&Rest { cursor })?;
            out.finish(budget)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Entry, Revision, Time};

    fn entry(value: impl Into<Bytes>) -> Entry {
        Entry {
            value: value.into(),
            content_type: ContentType::default(),
            revision: Revision::new(1_000_000_000),
            created: Time::from_secs(1),
            modified: None,
            expires: Some(Time::from_secs(2)),
        }
    }

    fn page(values: Vec<Bytes>) -> Page {
        let entries = values.into_iter().enumerate();
        let entries = entries.map(|(i, v)| (Key::new(&format!("k{i}")).unwrap(), Some(entry(v)))).collect();
        Page { entries, ..Page::default() }
    }

    #[test]
    fn entries_are_told_in_full() {
        let page = page(vec!["ä\"".into(), Bytes::from_static(b"\xff")]);
        let mut body = vec![];
        let made = json(&Bucket::default(), Shape::Entries, &page, &Budget::default()).unwrap();
        made.each(|part| body.extend_from_slice(part));
        let first = r#"{"bucket":"default","key":"k0","value":"ä\"","type":"text/plain; charset=utf-8","revision":"gjdgxs","updated":"1970-01-01T00:00:01Z","created":"1970-01-01T00:00:01Z","modified":null,"expires":"1970-01-01T00:00:02Z"}"#;
        let text = String::from_utf8(body).unwrap();
        assert!(text.contains(first), "{text}");
        assert!(text.contains(r#""key":"k1","base64":"/w==""#), "{text}");
        assert!(text.ends_with(r#"],"cursor":null}"#), "{text}");
    }

    #[test]
    fn a_page_of_large_values_ends_early() {
        let large = Bytes::from(vec![b'x'; 9 << 20]);
        let cut = bounded(page(vec![large.clone(), large.clone(), large.clone()]));
        assert_eq!((cut.entries.len(), cut.cursor.unwrap().as_str()), (1, "k0"));
        let whole = bounded(page(vec![Bytes::from(vec![b'x'; 40 << 20])]));
        assert_eq!((whole.entries.len(), whole.cursor), (1, None));
    }

    #[test]
    fn questions_are_read_or_refused() {
        let ask = |q| query(Question::new(Some(q)).unwrap());
        let (query, lines) = ask("prefix=a%2F&limit=1000&reverse&keys=0&_=1").unwrap();
        assert_eq!((query.prefix.as_str(), query.limit, query.reverse, lines), ("a/", 1000, true, false));
        assert_eq!(query.shape, Shape::Entries);
        assert_eq!(ask("format=text").unwrap().0.shape, Shape::Keys);
        assert_eq!(ask("count").unwrap().0.shape, Shape::Count);
        for bad in ["limit=1001", "limit=0", "limit=-1", "limit=x", "format=xml", "prefix=%ff", "after=%zz"] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }
}
