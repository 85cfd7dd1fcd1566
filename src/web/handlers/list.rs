//! `GET /kv/{bucket}`: a page of the keys of a bucket, in the order of their bytes. A list needs a secret, unless the
//! policy of the bucket is `listed`.

use http::header::{CONTENT_TYPE, HeaderValue};
use sha2::{Digest, Sha256};

use crate::model::{Bucket, Key, Page, Projection, Scan};
use crate::web::auth::authorize;
use crate::web::body::{Body, Response};
use crate::web::context::{ApiState, RequestContext};
use crate::web::read::conditional_get;
use crate::web::read::fetch::{Fetch, Fetched, Representation, Wakeup};
use crate::web::read::page_limits;
use crate::web::read::page_limits::MAX_PAGE_BYTES;
use crate::web::request::body;
use crate::web::request::form::QueryString;
use crate::web::response::api_error::ApiError;
use crate::web::response::list_format::ListFormat;
use crate::web::response::response;
use crate::web::response::response::{Cache, KVS_REVISION};
use crate::web::response::streamed;
use crate::web::response::streamed::Content;

/// A long poll fetches again after this time at the latest, because entries that the page does not show may expire too.
const MAX_POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// The parameters of a list.
const PARAMETERS: [&str; 10] =
    ["prefix", "start", "end", "after", "limit", "reverse", "keys", "values", "count", "format"];

/// The longest form with parameters, in bytes.
const MAX_FORM_BYTES: usize = 64 << 10;

struct ListFetch<'a> {
    state: &'a ApiState,
    bucket: Bucket,
    query: Scan,
    format: ListFormat,
}

pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<Response, ApiError> {
    let prefix = ctx.query.text("prefix")?.unwrap_or_default();
    let cache = authorize::require_list(ctx, bucket, &prefix).await?;
    page(ctx, bucket, cache).await
}

/// `POST /kv/{bucket}` with a form: the same list. Its parameters may be too long for a URL.
pub(crate) async fn answer_form(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<Response, ApiError> {
    authorize::require_list_in_body(ctx, bucket).await?;
    if body::essence(&ctx.parts.headers) != body::FORM_TYPE {
        let text =
            "POST to a bucket lists it: send the parameters of the list as a form; to store a value, add its key";
        return Err(ApiError::unsupported_media_type(text));
    }
    let form = body::collect(ctx, body, MAX_FORM_BYTES).await?;
    let form = std::str::from_utf8(&form).map_err(|_| ApiError::invalid("the form is not UTF-8"))?;
    let query = QueryString::new(Some(form))?;
    if let Some(other) = query.other_than(&PARAMETERS) {
        let text =
            format!("{other} is no parameter of a list; nothing was stored; to store a value, add its key to the path");
        return Err(ApiError::invalid(text));
    }
    answer(RequestContext { query, ..ctx }, bucket).await
}

async fn page(ctx: RequestContext<'_>, bucket: &Bucket, cache: Cache) -> Result<Response, ApiError> {
    let (query, format) = query(ctx.query)?;
    let list = ListFetch { state: ctx.state, bucket: bucket.clone(), query, format };
    conditional_get::answer(ctx, bucket, cache.into(), &list).await
}

/// The scan for a query, and the format of its page.
fn query(query: QueryString<'_>) -> Result<(Scan, ListFormat), ApiError> {
    let format = ListFormat::new(query.text("format")?.as_deref())?;
    let is_keys_only = match format {
        // Keys alone are the older form.
        ListFormat::Text => !query.flag("values")?,
        ListFormat::Json | ListFormat::Csv => query.flag("keys")?,
    };
    let projection = match is_keys_only {
        _ if query.flag("count")? => Projection::Count,
        true => Projection::Keys,
        false => Projection::Entries,
    };
    let query = Scan {
        prefix: query.text("prefix")?.unwrap_or_default(),
        start: query.text("start")?,
        end: query.text("end")?,
        after: query.text("after")?,
        limit: page_limits::limit(query)?,
        reverse: query.flag("reverse")?,
        projection,
    };
    Ok((query, format))
}

impl Fetch for ListFetch<'_> {
    async fn fetch(&self) -> Result<Fetched, ApiError> {
        let page = self.state.store.scan(&self.bucket, self.query.clone()).await.map_err(ApiError::from_read)?;
        let page = limit_size(page);
        let next_fetch = self.state.settings.clock.now().plus(MAX_POLL_INTERVAL);
        let expiry = page.entries.iter().filter_map(|(_, entry)| entry.as_ref()?.expires).min();
        let body = self.format.body(&self.bucket, self.query.projection, &page, &self.state.settings.responses)?;
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(self.format.content_type()))];
        headers.extend(HeaderValue::try_from(page.revision.to_string()).ok().map(|value| (KVS_REVISION, value)));
        if self.format != ListFormat::Json
            && let Some(cursor) = &page.cursor
        {
            headers.extend(response::cursor(cursor));
        }
        let representation = Representation { tag: tag(&page, &body), modified: None, headers, body };
        Ok(Fetched {
            revision: page.revision,
            expires: Some(expiry.map_or(next_fetch, |expiry| expiry.min(next_fetch))),
            representation: Some(representation),
        })
    }

    async fn fetch_after(&self, wakeup: Wakeup) -> Result<Fetched, ApiError> {
        let name = format!("{} {:?} {:?}", self.bucket, self.format, self.query);
        let now = self.state.settings.clock.now();
        self.state.coalescer.fetch(name, wakeup, now, self.fetch()).await
    }
}

/// The page, cut off at the size limit. It keeps at least one entry.
fn limit_size(mut page: Page) -> Page {
    let mut bytes = 0_u64;
    let fits = page.entries.iter().take_while(|(_, entry)| {
        let before = bytes;
        bytes = bytes.saturating_add(entry.as_ref().map_or(0, |e| streamed::length_in_json(&e.value)));
        before == 0 || bytes <= MAX_PAGE_BYTES
    });
    let fits = fits.count();
    if fits < page.entries.len() {
        page.entries.truncate(fits);
        page.cursor = page.entries.last().map(|(key, _)| key.clone());
    }
    page
}

/// The tag of a page: a hash of its content. The revision of the bucket would not work as a tag, because it does not
/// change when an entry expires, and because writes to other parts of the bucket would end a long poll.
fn tag(page: &Page, body: &Content) -> String {
    let mut hash = Sha256::new();
    body.for_each_part(|part| hash.update(part));
    hash.update(page.cursor.as_ref().map_or("", Key::as_str));
    let hash: [u8; 32] = hash.finalize().into();
    let half = hash.first_chunk::<16>().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Entry, Revision, Time};
    use bytes::Bytes;

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
    fn page_of_large_values_ends_early() {
        let large = Bytes::from(vec![b'x'; 9 << 20]);
        let cut = limit_size(page(vec![large.clone(), large.clone(), large.clone()]));
        assert_eq!((cut.entries.len(), cut.cursor.unwrap().as_str()), (1, "k0"));
        let whole = limit_size(page(vec![Bytes::from(vec![b'x'; 40 << 20])]));
        assert_eq!((whole.entries.len(), whole.cursor), (1, None));
    }

    #[test]
    fn queries_are_parsed_or_rejected() {
        let parse = |q| query(QueryString::new(Some(q)).unwrap());
        let (query, format) = parse("prefix=a%2F&limit=1000&reverse&keys=0&_=1").unwrap();
        assert_eq!((query.prefix.as_str(), query.limit, query.reverse), ("a/", 1000, true));
        assert_eq!((query.projection, format), (Projection::Entries, ListFormat::Json));
        assert_eq!(parse("format=text&values").unwrap().0.projection, Projection::Entries);
        assert_eq!(parse("format=csv").unwrap().0.projection, Projection::Entries);
        assert_eq!(parse("format=csv&keys").unwrap().0.projection, Projection::Keys);
        assert_eq!(parse("format=text").unwrap().0.projection, Projection::Keys);
        assert_eq!(parse("count").unwrap().0.projection, Projection::Count);
        for bad in ["limit=1001", "limit=0", "limit=-1", "limit=x", "format=xml", "prefix=%ff", "after=%zz"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
