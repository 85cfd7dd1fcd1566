//! Policies of buckets, as a flag (`--policy 'shop: reads=secret, max_age=60s'`) and in the file
//! (`buckets: {shop: {reads: secret, max_age: 60s}}`).
//!
//! The name may end in `*`: then the policy is that of all buckets whose names begin so. A field that is not written is
//! that of the longest such name, else that of the default policy. If both the flag and the file have a policy for a
//! bucket, they are merged field by field.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::file::{ConfigError, FileSetting, FileValue};
use super::suggest::no_such;
use super::units::{Size, TimeSpan};
use crate::model::Bucket;
use crate::web::{Origin, Policy, Reads, Timestamps, Writes};

const FIELDS: [&str; 5] = ["reads", "writes", "timestamps", "max_age", "max_value"];

/// How long shared caches may keep a value, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MaxAge(Duration);

impl MaxAge {
    /// Zero means none: caches may not keep the value.
    pub(crate) fn as_policy(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl FromStr for MaxAge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let TimeSpan(span) = text.parse().map_err(|e: crate::model::Error| e.to_string())?;
        let whole = span.subsec_nanos() == 0;
        whole.then_some(Self(span)).ok_or_else(|| format!("bad max_age {text:?}: write whole seconds"))
    }
}

/// An origin whose pages may read answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AllowedOrigin {
    Any,
    One(Origin),
}

impl FromStr for AllowedOrigin {
    type Err = crate::model::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::One) }
    }
}

/// The policy fields that are set for a bucket.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct PolicyFields {
    reads: Option<Reads>,
    writes: Option<Writes>,
    timestamps: Option<Timestamps>,
    max_age: Option<MaxAge>,
    max_value: Option<Size>,
}

impl PolicyFields {
    fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        fn parse<T: FromStr<Err: fmt::Display>>(field: &mut Option<T>, name: &str, text: &str) -> Result<(), String> {
            let value = text.parse().map_err(|e| format!("{name}: {e}"))?;
            match field.replace(value) {
                None => Ok(()),
                Some(_) => Err(format!("`{name}` is given twice; remove one")),
            }
        }
        match name {
            "reads" => parse(&mut self.reads, name, text),
            "writes" => parse(&mut self.writes, name, text),
            "timestamps" => parse(&mut self.timestamps, name, text),
            "max_age" => parse(&mut self.max_age, name, text),
            "max_value" => parse(&mut self.max_value, name, text),
            _ => Err(no_such("field", name, &FIELDS)),
        }
    }

    /// These fields, and those of `other` that are missing here.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            reads: self.reads.or(other.reads),
            writes: self.writes.or(other.writes),
            timestamps: self.timestamps.or(other.timestamps),
            max_age: self.max_age.or(other.max_age),
            max_value: self.max_value.or(other.max_value),
        }
    }

    /// The value of `max_value`, if that is more than so many bytes.
    pub(crate) fn max_value_above(&self, bytes: usize) -> Option<Size> {
        self.max_value.filter(|Size(own)| *own > bytes)
    }

    /// The policy with the fields of `default` that are missing here.
    pub(crate) fn with_default(self, default: &Policy) -> Policy {
        Policy {
            reads: self.reads.unwrap_or(default.reads),
            writes: self.writes.unwrap_or(default.writes),
            timestamps: self.timestamps.unwrap_or(default.timestamps),
            max_age: self.max_age.map_or(default.max_age, MaxAge::as_policy),
            max_value: self.max_value.map(|Size(bytes)| bytes),
        }
    }
}

/// The buckets of a policy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum PolicyTarget {
    /// One bucket.
    Bucket(Bucket),
    /// `NAME*`: all buckets whose names begin so.
    Prefix(String),
}

impl PolicyTarget {
    /// Whether all buckets of this policy are also among those with a prefix.
    pub(crate) fn is_below(&self, prefix: &str) -> bool {
        match self {
            Self::Bucket(bucket) => bucket.as_str().starts_with(prefix),
            Self::Prefix(own) => own != prefix && own.starts_with(prefix),
        }
    }
}

impl FromStr for PolicyTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Prefix(String::new()));
        }
        let prefix = text.strip_suffix('*');
        match Bucket::new(prefix.unwrap_or(text)) {
            Ok(bucket) if bucket.is_reserved() => {
                Err(format!("the bucket {bucket} is reserved for kvs; use another name"))
            }
            Ok(bucket) if prefix.is_some() => Ok(Self::Prefix(bucket.as_str().to_owned())),
            Ok(bucket) => Ok(Self::Bucket(bucket)),
            Err(e) => Err(e.to_string()),
        }
    }
}

impl fmt::Display for PolicyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(bucket) => fmt::Display::fmt(bucket, f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// The policy of some buckets as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BucketPolicy {
    pub(crate) target: PolicyTarget,
    pub(crate) fields: PolicyFields,
}

impl BucketPolicy {
    fn new(name: &str) -> Result<Self, String> {
        Ok(Self { target: name.parse()?, fields: PolicyFields::default() })
    }
}

impl FromStr for BucketPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it as `NAME: reads=secret, max_age=60s`";
        let (name, fields) = text.split_once(':').ok_or_else(|| format!("bad policy {text:?}: {form}"))?;
        let mut this = Self::new(name.trim())?;
        let fields = Some(fields).filter(|fields| !fields.trim().is_empty());
        for field in fields.into_iter().flat_map(|fields| fields.split(',')) {
            let (name, value) = field.split_once('=').ok_or_else(|| format!("bad policy {text:?}: {form}"))?;
            this.fields.set(name.trim(), value.trim())?;
        }
        Ok(this)
    }
}

/// A policy in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FilePolicy {
    /// The line of the bucket, from 1.
    pub(crate) line: usize,
    pub(crate) policy: BucketPolicy,
}

/// The value of `buckets` in the file.
pub(crate) fn in_file(setting: &FileSetting) -> Result<Vec<FilePolicy>, ConfigError> {
    let form = "write buckets with their policies, as in `shop: {reads: secret}`";
    let buckets = match &setting.value {
        FileValue::Mapping(buckets) => buckets,
        FileValue::Empty => return Ok(vec![]),
        _ => return Err(ConfigError::new(setting.line, format!("{}: {form}", setting.name))),
    };
    let mut all = vec![];
    for FileSetting { name, line, value } in buckets {
        let mut policy = BucketPolicy::new(name).map_err(|text| ConfigError::new(*line, text))?;
        let fields = match value {
            FileValue::Mapping(fields) => fields.as_slice(),
            FileValue::Empty => &[],
            _ => return Err(ConfigError::new(*line, format!("{name}: {form}"))),
        };
        for FileSetting { name: field, line, value } in fields {
            let error = |text: String| ConfigError::new(*line, format!("{name}: {text}"));
            let FileValue::Text(text) = value else { return Err(error(format!("{field}: write one value"))) };
            policy.fields.set(field, text).map_err(error)?;
        }
        all.push(FilePolicy { line: *line, policy });
    }
    Ok(all)
}

/// A policy as it is written in the file. `max_value` is that of buckets without their own, in bytes.
pub(crate) fn in_file_form(policy: &Policy, max_value: usize) -> String {
    let Policy { reads, writes, timestamps, max_age, max_value: own } = policy;
    let max_age = max_age.map_or(0, |age| age.as_secs());
    let max_value = Size(own.unwrap_or(max_value));
    format!(
        "{{reads: {reads}, writes: {writes}, timestamps: {timestamps}, max_age: {max_age}s, max_value: {max_value}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::file;

    fn fields(text: &str) -> PolicyFields {
        text.parse::<BucketPolicy>().unwrap().fields
    }

    #[test]
    fn a_policy_is_the_same_as_flag_and_in_the_file() {
        let typed =
            "shop: reads=secret, timestamps = client,max_age=60s, max_value=64KiB".parse::<BucketPolicy>().unwrap();
        let text =
            "buckets:\n  shop:\n    reads: secret\n    timestamps: client\n    max_age: 60s\n    max_value: 64KiB\n";
        let settings = file::parse(text).unwrap();
        assert_eq!(in_file(&settings[0]).unwrap(), [FilePolicy { line: 2, policy: typed.clone() }]);
        assert_eq!(typed.fields.max_age, Some(MaxAge(Duration::from_secs(60))));
        assert_eq!(fields("shop:"), PolicyFields::default());
    }

    #[test]
    fn errors_in_a_policy_are_named() {
        for (text, says) in [
            ("shop", "write it as"),
            ("", "write it as"),
            ("shop: reads", "write it as"),
            ("shop: reads=open,", "write it as"),
            ("a b: reads=open", "bad bucket name"),
            ("_kvs.x: reads=open", "reserved for kvs"),
            ("_kvs*: reads=open", "reserved for kvs"),
            ("a*b: reads=open", "bad bucket name"),
            ("shop: writes=all", "secret or open"),
            ("shop: red=open", "did you mean `reads`?"),
            ("shop: reads=closed", "reads: bad value \"closed\": write open, secret or listed"),
            ("shop: timestamps=mine", "server or client"),
            ("shop: reads=open, reads=open", "`reads` is given twice"),
            ("shop: max_age=1500ms", "whole seconds"),
            ("shop: max_value=big", "bad size"),
        ] {
            let error = text.parse::<BucketPolicy>().unwrap_err();
            assert!(error.contains(says), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn an_error_in_the_file_has_its_line() {
        for (text, line, says) in [
            ("buckets: shop\n", 1, "write buckets"),
            ("buckets:\n  shop: open\n", 2, "shop: write buckets"),
            (
                "buckets:\n  shop:\n    max_age: 1s\n    raeds: open\n",
                4,
                "shop: there is no field `raeds`; did you mean `reads`?",
            ),
            ("buckets:\n  shop:\n    reads: [open]\n", 3, "shop: reads: write one value"),
            ("buckets:\n  a: {}\n  ../b: {}\n", 3, "bad bucket name"),
            ("buckets:\n  _kvs.throttle: {reads: open}\n", 2, "reserved for kvs"),
        ] {
            let error = in_file(&file::parse(text).unwrap()[0]).unwrap_err();
            assert_eq!(error.line, line, "{text:?} gave {error:?}");
            assert!(error.text.contains(says), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn a_missing_field_is_that_of_the_default_policy() {
        let default = Policy { reads: Reads::Secret, max_age: Some(Duration::from_secs(9)), ..Policy::default() };
        let policy = fields("a: max_age=0s").or(fields("a: max_age=5s, timestamps=client")).with_default(&default);
        assert_eq!(policy, Policy { timestamps: Timestamps::Client, max_age: None, ..default.clone() });
        assert_eq!(PolicyFields::default().with_default(&default), default);
        assert_eq!(
            in_file_form(&default, 1 << 20),
            "{reads: secret, writes: secret, timestamps: server, max_age: 9s, max_value: 1 MiB}"
        );
    }
}
