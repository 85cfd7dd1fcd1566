//! The settings that only a server needs, checked as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use super::flags::{ListenFlags, LogFlags, MemoryCopy, PolicyFlags, ServeFlags};
use super::policies::{AllowedOrigin, BucketPolicy, FilePolicy, PolicyFields, PolicyTarget};
use super::sources::Sources;
use super::units::{Percent, Size};
use crate::cli::exit::CliResult;
use crate::layers::ReadPolicy;
use crate::server;
use crate::server::BasePath;
use crate::store::Limits;
use crate::web::{Budget, Cors, MetricsAccess, Policies, Policy, Shares};

/// The maximum length of the values of one answer, in bytes, unless a single value may be larger.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// The maximum number of bytes of a form for one byte of a value, as `%XX`.
const FORM_BYTES_PER_BYTE: usize = 3;

#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) listen: ListenFlags,
    pub(crate) policies: Policies,
    pub(crate) cors: Cors,
    /// Read from a copy in memory, which is at most this old.
    pub(crate) memory_copy: Option<ReadPolicy>,
    /// The longest time a read may wait.
    pub(crate) max_wait: Duration,
    pub(crate) max_waiters: usize,
    pub(crate) metrics: MetricsAccess,
    /// The share of the connections and waiting reads that one address may use.
    pub(crate) address_share: Percent,
    /// The memory of all answers.
    pub(crate) responses: Budget,
    pub(crate) limits: server::ServerLimits,
    pub(crate) log: LogFlags,
}

impl ServerSettings {
    /// `in_file` are the policies in the settings file, `max_value` the largest value of the store in bytes.
    pub(crate) fn resolve(
        flags: ServeFlags,
        sources: &Sources,
        in_file: &[FilePolicy],
        max_value: usize,
    ) -> CliResult<Self> {
        let ServeFlags { listen, limits: limit_flags, policies, log } = flags;
        let default = server::ServerLimits::default();
        if limit_flags.max_connections == 0 {
            return Err(sources.error_at("max_connections", "must be at least 1"));
        }
        let in_memory = max_value.min(Limits::MAX_VALUE_LIMIT);
        let body = in_memory.saturating_mul(FORM_BYTES_PER_BYTE).saturating_add(default.body);
        let share = limit_flags.address_share;
        let budget = |bytes: usize, largest| Budget::new(bytes, largest).sharing(share.of(bytes));
        let limits = server::ServerLimits {
            body,
            piecewise_body: max_value as u64,
            bodies: budget(limit_flags.body_memory.0, body),
            connections: limit_flags.max_connections,
            shares: Shares::new(share.of(limit_flags.max_connections)),
            header_timeout: limit_flags.header_timeout.0,
            body_timeout: limit_flags.body_timeout.0,
            response_time: limit_flags.response_time.0,
            ..default
        };
        Ok(Self {
            listen,
            policies: bucket_policies(&policies, in_file, sources, max_value)?,
            cors: cors(&policies, sources)?,
            memory_copy: policies.memory_copy.map(|MemoryCopy(policy)| policy),
            max_wait: limit_flags.max_wait.0,
            max_waiters: limit_flags.max_waiters,
            metrics: policies.metrics,
            address_share: share,
            responses: budget(limit_flags.response_memory.0, in_memory.max(MAX_RESPONSE_BYTES)),
            limits,
            log,
        })
    }

    /// The mount at the base path of the settings, if there is one.
    pub(crate) fn mounted(&self, mount: BasePath) -> BasePath {
        match &self.listen.base_path {
            Some(path) => mount.at(path),
            None => mount,
        }
    }
}

/// The policies of all buckets. The fields of a flag override those of the file.
fn bucket_policies(
    flags: &PolicyFlags,
    in_file: &[FilePolicy],
    sources: &Sources,
    max_value: usize,
) -> CliResult<Policies> {
    let PolicyFlags { reads, writes, timestamps, .. } = *flags;
    let default = Policy { reads, writes, timestamps, max_age: flags.max_age.as_policy(), max_value: None };
    let mut by_target: BTreeMap<PolicyTarget, PolicyFields> = BTreeMap::new();
    for BucketPolicy { target, fields } in &flags.buckets {
        if by_target.insert(target.clone(), fields.clone()).is_some() {
            return Err(
                sources.error_at("buckets", format!("the bucket {target} is given twice; write one policy for it"))
            );
        }
    }
    let too_large = |target: &PolicyTarget, fields: &PolicyFields| {
        let own = fields.max_value_above(max_value)?;
        Some(format!("{target}: max_value: {own} is more than {}, the max_value of all buckets", Size(max_value)))
    };
    if let Some(text) = by_target.iter().find_map(|(target, fields)| too_large(target, fields)) {
        return Err(sources.error_at("buckets", text));
    }
    for FilePolicy { line, policy: BucketPolicy { target, fields } } in in_file {
        if let Some(text) = too_large(target, fields) {
            return Err(sources.error_at_line(*line, &text));
        }
        let flag = by_target.remove(target).unwrap_or_default();
        by_target.insert(target.clone(), flag.or(fields.clone()));
    }
    Ok(combined(&by_target, default))
}

/// The policies with the fields of the patterns that match, longer ones first.
fn combined(by_target: &BTreeMap<PolicyTarget, PolicyFields>, default: Policy) -> Policies {
    let mut prefixes: Vec<(&str, &PolicyFields)> = vec![];
    for (target, fields) in by_target {
        if let PolicyTarget::Prefix(prefix) = target {
            prefixes.push((prefix, fields));
        }
    }
    prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    let mut policies = Policies { default, ..Policies::default() };
    for (target, fields) in by_target {
        let matching = prefixes.iter().filter(|(prefix, _)| target.is_below(prefix));
        let fields = matching.fold(fields.clone(), |fields, (_, others)| fields.or((*others).clone()));
        let policy = fields.with_default(&policies.default);
        match target {
            PolicyTarget::Bucket(bucket) => drop(policies.by_bucket.insert(bucket.clone(), policy)),
            PolicyTarget::Prefix(prefix) => policies.by_prefix.push((prefix.clone(), policy)),
        }
    }
    policies.by_prefix.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    policies
}

fn cors(flags: &PolicyFlags, sources: &Sources) -> CliResult<Cors> {
    let origin = |allowed: &AllowedOrigin| match allowed {
        AllowedOrigin::Any => None,
        AllowedOrigin::One(origin) => Some(origin.clone()),
    };
    let origins: Vec<_> = flags.cors.iter().filter_map(origin).collect();
    match (origins.is_empty(), origins.len() == flags.cors.len()) {
        (true, true) => Ok(Cors::Off),
        (true, false) => Ok(Cors::Any),
        (false, true) => Ok(Cors::Of(origins)),
        (false, false) => Err(sources.error_at("cors", "`*` means all origins; give no others with it")),
    }
}
