//! Authorization: secrets, bucket policies, and a rate limit on wrong secrets.

pub(super) mod authorize;
pub(super) mod place;
pub(super) mod policy;
pub(super) mod rate_limit;
pub(super) mod secrets;
