//! `GET /kv/{bucket}/{key}`: the value, byte for byte, or with `?meta` all that is known of it.

use async_trait::async_trait;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::super::meta;
use super::super::reply::Refusal;
use super::super::view::{self, Look, Manner, Shown, View};
use super::super::{Asked, Service, address, guard, media};
use super::Name;
use crate::model::{Bucket, Key};

struct One<'a> {
    asked: Asked<'a>,
    bucket: &'a Bucket,
    key: &'a Key,
    meta: bool,
}

/// Answers `GET /kv/{bucket}/{key}`.
pub(crate) async fn answer(asked: Asked<'_>, (bucket, key): Name<'_>) -> Result<Response, Refusal> {
    super::refuse_path(asked)?;
    let cache = address::kept(asked, (bucket, key), guard::reader(asked, bucket).await?);
    let one = One { asked, bucket, key, meta: asked.question.flag("meta")? };
    let timestamps = asked.service.settings.policies.of(bucket).timestamps;
    view::answer(asked, bucket, Manner { cache, timestamps }, &one).await
}

#[async_trait]
impl Look for One<'_> {
    async fn look(&self, service: &Service) -> Result<View, Refusal> {
        let mut snapshot =
            service.store.get(self.bucket, std::slice::from_ref(self.key)).await.map_err(Refusal::unread)?;
        let Some(entry) = snapshot.entries.pop().flatten() else {
            return Ok(View { moved: snapshot.revision, ends: None, shown: None });
        };
        let tag = super::tag(self.asked, self.bucket, &entry);
        let (modified, ends) = (Some(entry.last_modified()), entry.expires);
        let (headers, body) = if self.meta {
            let json = HeaderValue::from_static("application/json");
            (vec![(CONTENT_TYPE, json)], meta::alone((self.bucket, self.key), &entry, &self.asked.responses())?)
        } else {
            (media::headers(&entry.content_type), entry.value.into())
        };
        Ok(View { moved: snapshot.revision, ends, shown: Some(Shown { tag, modified, headers, body }) })
    }
}
