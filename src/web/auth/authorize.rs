//! Authorizes a request by its secrets, the policy of the bucket, and the rate limit of its client.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::place::Place;
use super::policy::{Reads, Writes};
use super::rate_limit::{AttemptOutcome, SecretAttempt};
use super::secrets::{Permission, Right};
use crate::model::{Bucket, Key};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::metrics::counters;
use crate::web::request::cross_site;
use crate::web::response::api_error::ApiError;
use crate::web::response::response::Cache;

/// A header for the secret. Some web servers do not pass `Authorization` to programs.
const KVS_AUTH: &str = "x-kvs-auth";

/// The secrets of a request. Empty ones are ignored, so a form that was not filled in does not count as a guess.
#[derive(Default)]
pub(crate) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// The secrets in `Authorization: Bearer`, in the password of `Authorization: Basic`, and in `X-KVS-Auth`.
    ///
    /// Other schemes and malformed headers are ignored; they may be meant for the web server in front.
    pub(crate) fn in_headers(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        for value in headers.get_all(AUTHORIZATION) {
            if let Some(secret) = credentials(value.as_bytes()) {
                this.add(secret);
            }
        }
        for value in headers.get_all(KVS_AUTH) {
            this.add(value.as_bytes().trim_ascii().to_vec());
        }
        this
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, secret: Vec<u8>) {
        if !secret.is_empty() {
            self.0.push(secret);
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

fn credentials(value: &[u8]) -> Option<Vec<u8>> {
    let at = value.iter().position(|b| *b == b' ')?;
    let (scheme, rest) = value.split_at(at);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|b| *b == b':')?;
    pair.get(colon + 1..).map(<[u8]>::to_vec)
}

/// Checks that the secrets of a request allow it.
///
/// If there are several, each must have the permission: a valid secret does not make up for a wrong one. A valid secret
/// without the permission is not a guess and is not counted. A secret from a page of another site is not checked,
/// because such a page could otherwise cause a pause for its visitor.
pub(crate) async fn authorize(
    ctx: RequestContext<'_>,
    secrets: &Secrets,
    right: Right,
    place: Place<'_>,
) -> Result<(), ApiError> {
    if right == Right::Write && is_open_to_writes(ctx, place.bucket())? {
        return Ok(());
    }
    let known = &ctx.state.settings.secrets;
    let permission = |secret: &[u8]| known.permission(secret, right, place);
    authorize_if(ctx, secrets, right, &permission).await?.map_err(|NotPermitted| forbidden(right, place))
}

/// Whether everybody may write to the bucket, and no page of another site sends the request for its visitor.
fn is_open_to_writes(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<bool, ApiError> {
    let settings = &ctx.state.settings;
    if settings.policies.for_bucket(bucket).writes != Writes::Open {
        return Ok(false);
    }
    if cross_site::is_cross_site(&ctx.parts.headers, &settings.cors) {
        let text =
            "pages of other sites may not write; nothing was stored; to allow a site, add it to the setting cors";
        return Err(ApiError::forbidden(text));
    }
    Ok(true)
}

/// The error if a valid secret does not permit a request.
fn forbidden(right: Right, place: Place<'_>) -> ApiError {
    let bucket = place.bucket();
    let doing = match right {
        Right::Write => "writing to",
        Right::Read => "reading",
    };
    // The same text for each key, whether it exists or not.
    ApiError::forbidden(match place {
        Place::Prefix(_, prefix) if !prefix.is_empty() => {
            format!("this secret does not allow {doing} the keys that begin with {prefix:?} in bucket {bucket}")
        }
        _ => format!("this secret does not allow {doing} bucket {bucket}, or not this part of it"),
    })
}

/// All secrets of a request are valid, but one of them does not permit it.
struct NotPermitted;

/// Checks that `permission` permits each of the secrets, and that there is one.
async fn authorize_if(
    ctx: RequestContext<'_>,
    secrets: &Secrets,
    right: Right,
    permission: &(dyn Fn(&[u8]) -> Permission + Sync),
) -> Result<Result<(), NotPermitted>, ApiError> {
    let RequestContext { state, client, .. } = ctx;
    let known = &state.settings.secrets;
    if known.is_unreadable() {
        return Err(ApiError::needs_operator(
            "the auth file cannot be read, so no secret is accepted; nothing was done; see the log of the server"
                .to_owned(),
        ));
    }
    if known.is_empty() {
        return Err(ApiError::forbidden(match right {
            Right::Write => "writes are off: no secret is set; put one into auth.txt (kvs passcode makes one)",
            Right::Read => "this needs a secret, but no secret is set; put one into auth.txt (kvs passcode makes one)",
        }));
    }
    if !secrets.0.is_empty() && cross_site::is_cross_site(&ctx.parts.headers, &state.settings.cors) {
        return Err(ApiError::forbidden(
            "pages of other sites may not send secrets; nothing was done; to allow a site, add it to the setting cors",
        ));
    }
    let mut worst = Permission::Permitted;
    let attempt = SecretAttempt { address: client.0, secrets: &secrets.0 };
    let check = state.rate_limiter.check(&attempt, || {
        for secret in &secrets.0 {
            worst = match (worst, permission(secret)) {
                (Permission::Unknown, _) | (_, Permission::Unknown) => Permission::Unknown,
                (Permission::NotPermitted, _) | (_, Permission::NotPermitted) => Permission::NotPermitted,
                (Permission::Permitted, Permission::Permitted) => Permission::Permitted,
            };
        }
        worst != Permission::Unknown
    });
    let outcome = check.await.map_err(ApiError::rate_limit_failed)?;
    let counters = state.settings.metrics.counters();
    if worst == Permission::Unknown {
        counters::add(&counters.wrong_secrets);
    }
    if matches!(outcome, AttemptOutcome::Paused { .. }) {
        counters::add(&counters.rejected_during_pause);
    }
    match outcome {
        AttemptOutcome::Paused { seconds } => Err(ApiError::too_many_wrong_secrets(seconds)),
        AttemptOutcome::Wrong => Err(ApiError::unauthorized("wrong secret")),
        AttemptOutcome::Pass if secrets.0.is_empty() => Err(ApiError::unauthorized(match right {
            Right::Write => "a secret is needed; send it in the form field auth or in the header X-KVS-Auth",
            Right::Read => "a secret is needed; send it in the header X-KVS-Auth",
        })),
        AttemptOutcome::Pass if worst == Permission::Permitted => Ok(Ok(())),
        AttemptOutcome::Pass => Ok(Err(NotPermitted)),
    }
}

/// Requires a secret in the headers that allows writing.
pub(crate) async fn require_write(ctx: RequestContext<'_>, place: Place<'_>) -> Result<(), ApiError> {
    authorize(ctx, &Secrets::in_headers(&ctx.parts.headers), Right::Write, place).await
}

/// Requires a secret in the headers with a right to the whole bucket, even if the policy of the bucket needs none: for
/// what costs much, or concerns all keys.
pub(crate) async fn require_owner(ctx: RequestContext<'_>, right: Right, bucket: &Bucket) -> Result<(), ApiError> {
    let (secrets, place) = (Secrets::in_headers(&ctx.parts.headers), Place::Bucket(bucket));
    let permission = |secret: &[u8]| ctx.state.settings.secrets.permission(secret, right, place);
    authorize_if(ctx, &secrets, right, &permission).await?.map_err(|NotPermitted| forbidden(right, place))
}

/// Requires the permission to read keys by name. Returns the cache policy of the response.
pub(crate) async fn require_read(ctx: RequestContext<'_>, place: Place<'_>) -> Result<Cache, ApiError> {
    match ctx.state.settings.policies.for_bucket(place.bucket()).reads {
        Reads::Open | Reads::PublicList => Ok(Cache::Revalidate),
        Reads::Secret => with_secret(ctx, place).await,
    }
}

/// Requires the permission to list the keys with a prefix. Returns the cache policy of the response.
pub(crate) async fn require_list(ctx: RequestContext<'_>, bucket: &Bucket, prefix: &str) -> Result<Cache, ApiError> {
    match ctx.state.settings.policies.for_bucket(bucket).reads {
        Reads::PublicList => Ok(Cache::Revalidate),
        Reads::Open | Reads::Secret => with_secret(ctx, Place::Prefix(bucket, prefix)).await,
    }
}

/// The same for a list whose prefix is in the body. The caller checks the prefix when it has read the body.
pub(crate) async fn require_list_in_body(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<(), ApiError> {
    match ctx.state.settings.policies.for_bucket(bucket).reads {
        Reads::PublicList => Ok(()),
        Reads::Open | Reads::Secret => with_secret(ctx, Place::KeysInBody(bucket)).await.map(drop),
    }
}

/// Checks that the secrets of a request, which are valid, allow writing to the keys in its body.
pub(crate) fn check_write<'k>(
    ctx: RequestContext<'_>,
    secrets: &Secrets,
    bucket: &Bucket,
    keys: impl IntoIterator<Item = &'k Key>,
) -> Result<(), ApiError> {
    if ctx.state.settings.policies.for_bucket(bucket).writes == Writes::Open {
        return Ok(());
    }
    check_keys(ctx, secrets, Right::Write, bucket, keys)
}

/// The same for reading.
pub(crate) fn check_read<'k>(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    keys: impl IntoIterator<Item = &'k Key>,
) -> Result<(), ApiError> {
    match ctx.state.settings.policies.for_bucket(bucket).reads {
        Reads::Open | Reads::PublicList => Ok(()),
        Reads::Secret => check_keys(ctx, &Secrets::in_headers(&ctx.parts.headers), Right::Read, bucket, keys),
    }
}

fn check_keys<'k>(
    ctx: RequestContext<'_>,
    secrets: &Secrets,
    right: Right,
    bucket: &Bucket,
    keys: impl IntoIterator<Item = &'k Key>,
) -> Result<(), ApiError> {
    let known = &ctx.state.settings.secrets;
    // Comparing secrets takes a while, and most are not limited to keys.
    if secrets.0.iter().all(|secret| known.permission(secret, right, Place::Bucket(bucket)) == Permission::Permitted) {
        return Ok(());
    }
    for key in keys {
        let place = Place::Key(EntryName { bucket, key });
        if secrets.0.iter().any(|secret| known.permission(secret, right, place) != Permission::Permitted) {
            return Err(forbidden(right, place));
        }
    }
    Ok(())
}

/// Requires the permission to list the keys of any bucket. Returns whether a bucket is one of them.
pub(crate) async fn require_list_of_buckets(ctx: RequestContext<'_>) -> Result<impl Fn(&Bucket) -> bool, ApiError> {
    let secrets = Secrets::in_headers(&ctx.parts.headers);
    let settings = &ctx.state.settings;
    if !secrets.is_empty() || !settings.policies.have_public_list() {
        let permission = |secret: &[u8]| settings.secrets.permission_in_any_bucket(secret, Right::Read);
        authorize_if(ctx, &secrets, Right::Read, &permission)
            .await?
            .map_err(|NotPermitted| ApiError::forbidden("this secret does not allow reading any bucket"))?;
    }
    let is_permitted = move |bucket: &Bucket| {
        let is_read = |secret: &Vec<u8>| settings.secrets.permission(secret, Right::Read, Place::KeysInBody(bucket));
        !secrets.is_empty() && secrets.0.iter().all(|secret| is_read(secret) == Permission::Permitted)
    };
    Ok(move |bucket: &Bucket| settings.policies.for_bucket(bucket).reads == Reads::PublicList || is_permitted(bucket))
}

async fn with_secret(ctx: RequestContext<'_>, place: Place<'_>) -> Result<Cache, ApiError> {
    authorize(ctx, &Secrets::in_headers(&ctx.parts.headers), Right::Read, place).await?;
    Ok(Cache::Private)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(name: &'static str, value: &str) -> Vec<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Secrets::in_headers(&headers).0
    }

    #[test]
    fn secrets_are_found_in_headers() {
        assert_eq!(secrets("authorization", "Bearer s3cret"), [b"s3cret"]);
        assert_eq!(secrets("authorization", "bearer  s3cret "), [b"s3cret"]);
        // me:s3:cret
        assert_eq!(secrets("authorization", "Basic bWU6czM6Y3JldA=="), [b"s3:cret"]);
        assert_eq!(secrets("x-kvs-auth", "s3cret"), [b"s3cret"]);
        for none in ["Basic !!", "Basic bWU=", "Digest x", "Bearer", "Bearer ", "s3cret"] {
            assert!(secrets("authorization", none).is_empty(), "{none}");
        }
        assert!(secrets("x-kvs-auth", " ").is_empty());
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut secrets = Secrets::default();
        secrets.add(b"hunter2".to_vec());
        secrets.add(vec![]);
        assert_eq!(format!("{secrets:?}"), "Secrets(1)");
    }
}
