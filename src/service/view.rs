//! What a read shows, and how it becomes an answer: the way every read goes, of one key or of a list.

use async_trait::async_trait;
use axum::response::Response;
use http::header::{ETAG, HeaderName, HeaderValue, LAST_MODIFIED};
use tokio::time::Instant;

use super::compose::Content;
use super::condition::{self, Conditions, Seen, Verdict};
use super::repeat::Basis;
use super::reply::{self, Cache, Refusal};
use super::wait::{self, Hold};
use super::{Asked, Service, Timestamps};
use crate::model::{Bucket, Revision, Time};

/// What a read of a bucket whose times clients give depends on beside its address.
const DATES: &str = "If-Match, X-If-Match";

/// What a read that caches keep depends on: they would answer without judging these.
const DEMANDS: &str = "If-Match, If-Unmodified-Since, X-If-Match";

/// What was found at one moment.
#[derive(Clone)]
pub(crate) struct View {
    /// The revision of the bucket at that moment: a later change is one after it.
    pub(crate) moved: Revision,
    /// When it ends by itself, if it does.
    pub(crate) ends: Option<Time>,
    /// What there is to show.
    pub(crate) shown: Option<Shown>,
}

/// Something to show.
#[derive(Clone)]
pub(crate) struct Shown {
    /// Its tag, without quotes. It differs whenever anything else here differs.
    pub(crate) tag: String,
    /// When it was modified, if that can be told.
    pub(crate) modified: Option<Time>,
    /// The headers that say what it is.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The bytes.
    pub(crate) body: Content,
}

/// What made somebody who waits look again.
#[derive(Clone, Copy)]
pub(crate) struct News {
    /// When that was.
    pub(crate) woken: Instant,
    /// The revision of a write, if it was one.
    pub(crate) revision: Option<Revision>,
}

/// Something that can be looked at again and again, while a client waits for it to change.
#[async_trait]
pub(crate) trait Look: Send + Sync {
    /// What is there now.
    async fn look(&self, service: &Service) -> Result<View, Refusal>;

    /// The same for somebody who has waited, as many others may have: what they find may be shared.
    async fn look_again(&self, service: &Service, _news: News) -> Result<View, Refusal> {
        self.look(service).await
    }
}

/// How an answer is given.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// What caches may do with it.
    pub(crate) cache: Cache,
    /// Whose times it tells.
    pub(crate) timestamps: Timestamps,
}

impl Manner {
    /// What the answer depends on beside its address, where a cache must know.
    fn varies(self) -> Option<&'static str> {
        match (self.timestamps, self.cache) {
            (_, Cache::Shared(_)) => Some(DEMANDS),
            (Timestamps::Client, _) => Some(DATES),
            (Timestamps::Server, _) => None,
        }
    }
}

impl From<Cache> for Manner {
    /// Our times.
    fn from(cache: Cache) -> Self {
        Self { cache, timestamps: Timestamps::Server }
    }
}

/// Looks, waits if the client wants to, and answers.
pub(crate) async fn answer(
    asked: Asked<'_>,
    bucket: &Bucket,
    manner: Manner,
    looking: &dyn Look,
) -> Result<Response, Refusal> {
    let answered = answer_for(asked, bucket, manner, looking).await;
    let Some(names) = manner.varies() else { return answered };
    // Whatever the answer is: none is for who asked otherwise.
    let mut response = answered.unwrap_or_else(|refusal| refusal.answer(&asked.parts.headers));
    reply::vary(&mut response, names);
    Ok(response)
}

async fn answer_for(
    asked: Asked<'_>,
    bucket: &Bucket,
    Manner { cache, timestamps }: Manner,
    looking: &dyn Look,
) -> Result<Response, Refusal> {
    let Asked { service, parts, question, .. } = asked;
    let arrived = service.settings.clock.now();
    let seen = Seen::asked(question)?;
    let by_date = timestamps == Timestamps::Client;
    let conditions = if by_date {
        Conditions::by_date(&parts.headers, seen.as_ref(), arrived)
    } else {
        Conditions::new(&parts.headers, seen.as_ref(), arrived)
    };
    let until_there = matches!(seen, Some(Seen::Nothing));
    let is_news = |view: &View| match &view.shown {
        Some(shown) => conditions.judge(&shown.tag, shown.modified) != Verdict::Same,
        None => !until_there,
    };
    // Who did not say what it has seen is answered at once, but not misunderstood.
    let span = wait::asked(parts, question)?.filter(|_| conditions.has_seen());
    let (view, hold) = wait::hold(asked, bucket, span, looking, is_news).await?;
    let cache = cache.until(view.ends.map(|end| end.since(service.settings.clock.now()).as_secs()));
    // A secret is judged each time, and what ends or lies ahead depends on the hour.
    let is_past = view.shown.as_ref().and_then(|shown| shown.modified).is_none_or(|modified| modified <= arrived);
    let lasts = span.is_none() && cache != Cache::Private && view.ends.is_none() && is_past;
    let basis = lasts.then(|| Basis { bucket: bucket.clone(), revision: view.moved });

    let Some(shown) = view.shown else {
        if by_date && conditions.demand_presence() {
            return Err(Refusal::condition(cache).silent(by_date));
        }
        let response = Refusal::missing("no such key", cache).silent(by_date).answer(&parts.headers);
        return Ok(completed(response, hold, basis));
    };
    let verdict = conditions.judge(&shown.tag, shown.modified);
    let mut headers: Vec<(HeaderName, HeaderValue)> = vec![];
    headers.extend(condition::quoted(&shown.tag).map(|tag| (ETAG, tag)));
    // Not later than the Date of the answer (RFC 9110 section 8.8.2.1), for which Apache takes the arrival of the request.
    // What a client gave is told as it gave it.
    let modified = shown.modified.map(|m| if by_date { m } else { m.min(arrived) });
    headers.extend(modified.and_then(condition::format_date).map(|date| (LAST_MODIFIED, date)));
    let response = match verdict {
        Verdict::Fails => return Err(Refusal::condition(cache).silent(by_date)),
        Verdict::Same => reply::same(cache, headers),
        Verdict::Send => {
            headers.extend(shown.headers);
            reply::content(shown.body.held(&asked.responses())?, cache, headers)
        }
    };
    Ok(completed(response, hold, basis))
}

/// The answer with what became of the wish to wait, and what it stands on.
fn completed(mut response: Response, hold: Hold, basis: Option<Basis>) -> Response {
    if let Hold::Declined { retry_after } = hold {
        reply::retry_after(&mut response, retry_after);
    }
    if let Some(basis) = basis {
        response.extensions_mut().insert(basis);
    }
    response
}
