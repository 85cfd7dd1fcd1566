//! Whether a request is let in: which secrets it carries, what they are worth, and whether its address is paused.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::access::{Right, Standing};
use super::metrics;
use super::reply::{Cache, Refusal};
use super::throttle::{Attempt, Verdict};
use super::{Asked, Reads, foreign};
use crate::model::Bucket;

/// The header for a secret that a web server does not hide from us.
const KVS_AUTH: &str = "x-kvs-auth";

/// The secrets a request carries. An empty one is none: a form that was not filled in is no guess.
#[derive(Default)]
pub(crate) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Those in `Authorization: Bearer`, in the password of `Authorization: Basic`, and in `X-KVS-Auth`.
    ///
    /// Another scheme, or a malformed one, carries none; it may be meant for the web server before us.
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

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more.
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

/// Lets a request in, or says why not.
///
/// Of several secrets all must be good for this: a second one never makes up for a wrong one. A secret that is right but
/// short of the right is no guess and is not counted. A secret that a page of another site sends is not looked at: its
/// visitor would be paused for what others try.
pub(crate) async fn admit(
    asked: Asked<'_>,
    secrets: &Secrets,
    (right, bucket): (Right, &Bucket),
) -> Result<(), Refusal> {
    let Asked { service, caller, .. } = asked;
    let access = &service.settings.access;
    if access.is_unreadable() {
        return Err(Refusal::damaged(
            "the secrets cannot be read, so none is accepted; nothing was done, and the server's log says why"
                .to_owned(),
        ));
    }
    if access.is_empty() {
        return Err(Refusal::forbidden(match right {
            Right::Write => "writes are off: no secret is set; put one into auth.txt (kvs passcode makes one)",
            Right::Read => "this needs a secret, and none is set; put one into auth.txt (kvs passcode makes one)",
        }));
    }
    if !secrets.0.is_empty() && foreign::is_foreign(&asked.parts.headers, &service.settings.cors) {
        return Err(Refusal::forbidden(
            "a page of another site may not send a secret here; nothing was done (the setting cors names sites that may)",
        ));
    }
    let mut worst = Standing::Good;
    let attempt = Attempt { address: caller.address, secrets: &secrets.0 };
    let judged = service.throttle.judge(&attempt, || {
        for secret in &secrets.0 {
            worst = match (worst, access.judge(secret, (right, bucket))) {
                (Standing::Wrong, _) | (_, Standing::Wrong) => Standing::Wrong,
                (Standing::Short, _) | (_, Standing::Short) => Standing::Short,
                (Standing::Good, Standing::Good) => Standing::Good,
            };
        }
        worst != Standing::Wrong
    });
    let verdict = judged.await.map_err(Refusal::uncounted)?;
    let counters = service.settings.metrics.counters();
    if worst == Standing::Wrong {
        metrics::add(&counters.wrong_secrets);
    }
    if matches!(verdict, Verdict::Paused { .. }) {
        metrics::add(&counters.paused);
    }
    match verdict {
        Verdict::Paused { seconds } => Err(Refusal::paused(seconds)),
        Verdict::Wrong => Err(Refusal::unauthorized("wrong secret")),
        Verdict::Pass if secrets.0.is_empty() => Err(Refusal::unauthorized(match right {
            Right::Write => "a secret is needed; send it as form field auth or as header X-KVS-Auth",
            Right::Read => "a secret is needed; send it as header X-KVS-Auth",
        })),
        Verdict::Pass if worst == Standing::Good => Ok(()),
        Verdict::Pass => Err(Refusal::forbidden(match right {
            Right::Write => "this secret may not write here",
            Right::Read => "this secret may not read here",
        })),
    }
}

/// Lets a request write whose secret stands in its headers.
pub(crate) async fn writer(asked: Asked<'_>, bucket: &Bucket) -> Result<(), Refusal> {
    admit(asked, &Secrets::in_headers(&asked.parts.headers), (Right::Write, bucket)).await
}

/// Lets a request read keys that it names; what caches may do with the answer.
pub(crate) async fn reader(asked: Asked<'_>, bucket: &Bucket) -> Result<Cache, Refusal> {
    match asked.service.settings.policies.of(bucket).reads {
        Reads::Open | Reads::Listed => Ok(Cache::Revalidate),
        Reads::Secret => with_secret(asked, bucket).await,
    }
}

/// Lets a request see what keys there are; what caches may do with the answer.
pub(crate) async fn lister(asked: Asked<'_>, bucket: &Bucket) -> Result<Cache, Refusal> {
    match asked.service.settings.policies.of(bucket).reads {
        Reads::Listed => Ok(Cache::Revalidate),
        Reads::Open | Reads::Secret => with_secret(asked, bucket).await,
    }
}

async fn with_secret(asked: Asked<'_>, bucket: &Bucket) -> Result<Cache, Refusal> {
    admit(asked, &Secrets::in_headers(&asked.parts.headers), (Right::Read, bucket)).await?;
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
    fn what_carries_a_secret() {
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
