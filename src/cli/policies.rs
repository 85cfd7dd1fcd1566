//! What holds of buckets, as it is typed (`--policy 'shop: reads=secret, max_age=60s'`) and as it stands in the file
//! (`buckets: {shop: {reads: secret, max_age: 60s}}`).
//!
//! A field that a bucket is not given is that of the usual policy. What was typed of a bucket and what stands in the file
//! are mixed field by field.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::config::{Fault, Node, Setting};
use super::failure::Done;
use super::layers::Layers;
use super::nearest::no_such;
use super::units::{Size, Span};
use crate::model::Bucket;
use crate::service::{Cors, Origin, Policies, Policy, Reads, Timestamps};

const FIELDS: [&str; 4] = ["reads", "timestamps", "max_age", "max_value"];

/// Who may read what, and for how long caches.
#[derive(Args, Clone, Debug)]
pub(super) struct Rules {
    /// Who may read: `open` (who knows a key), `secret` (who has one), `listed` (everybody, also what keys there are)
    #[arg(long, env = "KVS_READS", hide_env_values = true, value_name = "open|secret|listed", default_value = "open")]
    pub(super) reads: Reads,
    /// How long shared caches may keep the value of a key; they must be told when it changes; 0s: not without asking
    #[arg(long, env = "KVS_MAX_AGE", hide_env_values = true, value_name = "TIME", default_value = "0s")]
    pub(super) max_age: Age,
    /// What holds of one bucket, as in `shop: reads=secret, timestamps=client, max_age=60s, max_value=64KiB`; may be given
    /// several times, in the environment with `;` between [default: none]
    #[arg(long = "policy", env = "KVS_POLICY", hide_env_values = true, value_name = "POLICY", value_delimiter = ';')]
    pub(super) buckets: Vec<Named>,
    /// Whose pages may read answers (CORS): origins as `https://app.example`, or `*` for all; may be given several times
    /// [default: none]
    #[arg(long, env = "KVS_CORS", hide_env_values = true, value_name = "ORIGIN", value_delimiter = ',')]
    pub(super) cors: Vec<Pages>,
}

/// A number of whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Age(Duration);

impl Age {
    /// None: caches may not keep it.
    fn checked(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Span(span) = text.parse().map_err(|e: crate::model::Error| e.to_string())?;
        let whole = span.subsec_nanos() == 0;
        whole.then_some(Self(span)).ok_or_else(|| format!("bad age {text:?}: caches count in whole seconds"))
    }
}

/// The pages of one origin, or all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    All,
    Of(Origin),
}

impl FromStr for Pages {
    type Err = crate::model::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::All) } else { text.parse().map(Self::Of) }
    }
}

/// What was said of a bucket.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Fields {
    reads: Option<Reads>,
    timestamps: Option<Timestamps>,
    max_age: Option<Age>,
    max_value: Option<Size>,
}

impl Fields {
    fn take(&mut self, name: &str, text: &str) -> Result<(), String> {
        fn put<T: FromStr<Err: fmt::Display>>(place: &mut Option<T>, name: &str, text: &str) -> Result<(), String> {
            let value = text.parse().map_err(|e| format!("{name}: {e}"))?;
            match place.replace(value) {
                None => Ok(()),
                Some(_) => Err(format!("`{name}` is given twice")),
            }
        }
        match name {
            "reads" => put(&mut self.reads, name, text),
            "timestamps" => put(&mut self.timestamps, name, text),
            "max_age" => put(&mut self.max_age, name, text),
            "max_value" => put(&mut self.max_value, name, text),
            _ => Err(no_such("field", name, &FIELDS)),
        }
    }

    /// These, and those of `other` where none was given.
    fn or(self, other: Self) -> Self {
        Self {
            reads: self.reads.or(other.reads),
            timestamps: self.timestamps.or(other.timestamps),
            max_age: self.max_age.or(other.max_age),
            max_value: self.max_value.or(other.max_value),
        }
    }

    fn over(self, usual: &Policy) -> Policy {
        Policy {
            reads: self.reads.unwrap_or(usual.reads),
            timestamps: self.timestamps.unwrap_or(usual.timestamps),
            max_age: self.max_age.map_or(usual.max_age, Age::checked),
            max_value: self.max_value.map(|Size(most)| most),
        }
    }
}

/// What was said of which bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    pub(super) bucket: Bucket,
    fields: Fields,
}

impl Named {
    fn new(name: &str) -> Result<Self, String> {
        match Bucket::new(name) {
            Ok(bucket) if bucket.is_reserved() => Err(format!("the bucket {bucket} is kvs' own")),
            Ok(bucket) => Ok(Self { bucket, fields: Fields::default() }),
            Err(e) => Err(e.to_string()),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it as `NAME: reads=secret, max_age=60s`";
        let (name, fields) = text.split_once(':').ok_or_else(|| format!("bad policy {text:?}: {form}"))?;
        let mut this = Self::new(name.trim())?;
        let fields = Some(fields).filter(|fields| !fields.trim().is_empty());
        for field in fields.into_iter().flat_map(|fields| fields.split(',')) {
            let (name, value) = field.split_once('=').ok_or_else(|| format!("bad policy {text:?}: {form}"))?;
            this.fields.take(name.trim(), value.trim())?;
        }
        Ok(this)
    }
}

/// The policies in the file, each with its line.
pub(super) fn in_file(setting: &Setting) -> Result<Vec<(usize, Named)>, Fault> {
    let form = "write buckets with their policies, as in `shop: {reads: secret}`";
    let buckets = match &setting.value {
        Node::Map(buckets) => buckets,
        Node::Nothing => return Ok(vec![]),
        _ => return Err(Fault::new(setting.line, format!("{}: {form}", setting.name))),
    };
    let mut all = vec![];
    for Setting { name, line, value } in buckets {
        let mut named = Named::new(name).map_err(|text| Fault::new(*line, text))?;
        let fields = match value {
            Node::Map(fields) => fields.as_slice(),
            Node::Nothing => &[],
            _ => return Err(Fault::new(*line, format!("{name}: {form}"))),
        };
        for Setting { name: field, line, value } in fields {
            let fault = |text: String| Fault::new(*line, format!("{name}: {text}"));
            let Node::Text(text) = value else { return Err(fault(format!("{field}: write one value"))) };
            named.fields.take(field, text).map_err(fault)?;
        }
        all.push((*line, named));
    }
    Ok(all)
}

impl Rules {
    /// The policies of all buckets. `most` is the largest value that the store takes.
    pub(super) fn policies(&self, layers: &Layers, most: usize) -> Done<Policies> {
        let usual = Policy { reads: self.reads, max_age: self.max_age.checked(), ..Policy::default() };
        let mut named: BTreeMap<Bucket, Fields> = BTreeMap::new();
        for Named { bucket, fields } in &self.buckets {
            if named.insert(bucket.clone(), fields.clone()).is_some() {
                return Err(layers.blame("buckets", format!("the bucket {bucket} is given twice")));
            }
        }
        let larger = |fields: &Fields| fields.max_value.filter(|Size(value)| *value > most);
        let too_large = |bucket: &Bucket, value: Size| {
            format!("{bucket}: max_value: {value} is more than {}, the largest value of all (max_value)", Size(most))
        };
        if let Some((bucket, value)) = named.iter().find_map(|(bucket, fields)| Some((bucket, larger(fields)?))) {
            return Err(layers.blame("buckets", too_large(bucket, value)));
        }
        for (line, Named { bucket, fields }) in &layers.buckets {
            if let Some(value) = larger(fields) {
                return Err(layers.blame_line(*line, &too_large(bucket, value)));
            }
            let typed = named.remove(bucket).unwrap_or_default();
            named.insert(bucket.clone(), typed.or(fields.clone()));
        }
        let named = named.into_iter().map(|(bucket, fields)| (bucket, fields.over(&usual))).collect();
        Ok(Policies { usual, named })
    }

    /// Whose pages may read answers.
    pub(super) fn cors(&self, layers: &Layers) -> Done<Cors> {
        let origins =
            self.cors.iter().filter_map(|pages| if let Pages::Of(origin) = pages { Some(origin) } else { None });
        let origins: Vec<_> = origins.cloned().collect();
        match (origins.is_empty(), origins.len() == self.cors.len()) {
            (true, true) => Ok(Cors::Off),
            (true, false) => Ok(Cors::Any),
            (false, true) => Ok(Cors::Of(origins)),
            (false, false) => Err(layers.blame("cors", "`*` means all origins; it stands alone")),
        }
    }
}

/// A policy as the file has it, on one line.
pub(super) fn shown(policy: &Policy, most: usize) -> String {
    let Policy { reads, timestamps, max_age, max_value } = policy;
    let max_age = max_age.map_or(0, |age| age.as_secs());
    let max_value = Size(max_value.unwrap_or(most));
    format!("{{reads: {reads}, timestamps: {timestamps}, max_age: {max_age}s, max_value: {max_value}}}")
}

#[cfg(test)]
mod tests {
    use super::super::config;
    use super::*;

    fn fields(text: &str) -> Fields {
        text.parse::<Named>().unwrap().fields
    }

    #[test]
    fn a_policy_is_typed_and_written_in_the_same_words() {
        let typed = "shop: reads=secret, timestamps = client,max_age=60s, max_value=64KiB".parse::<Named>().unwrap();
        let text =
            "buckets:\n  shop:\n    reads: secret\n    timestamps: client\n    max_age: 60s\n    max_value: 64KiB\n";
        let settings = config::parse(text).unwrap();
        assert_eq!(in_file(&settings[0]).unwrap(), [(2, typed.clone())]);
        assert_eq!(typed.fields.max_age, Some(Age(Duration::from_secs(60))));
        assert_eq!(fields("shop:"), Fields::default());
    }

    #[test]
    fn what_cannot_be_taken_is_named() {
        for (text, says) in [
            ("shop", "write it as"),
            ("", "write it as"),
            ("shop: reads", "write it as"),
            ("shop: reads=open,", "write it as"),
            ("a b: reads=open", "bad bucket name"),
            ("_kvs.x: reads=open", "kvs' own"),
            ("shop: red=open", "did you mean `reads`?"),
            ("shop: reads=closed", "reads: bad value \"closed\": write open, secret or listed"),
            ("shop: timestamps=mine", "server or client"),
            ("shop: reads=open, reads=open", "`reads` is given twice"),
            ("shop: max_age=1500ms", "whole seconds"),
            ("shop: max_value=big", "bad size"),
        ] {
            let error = text.parse::<Named>().unwrap_err();
            assert!(error.contains(says), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn a_fault_in_the_file_has_its_own_line() {
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
            ("buckets:\n  _kvs.throttle: {reads: open}\n", 2, "kvs' own"),
        ] {
            let fault = in_file(&config::parse(text).unwrap()[0]).unwrap_err();
            assert_eq!(fault.line, line, "{text:?} gave {fault:?}");
            assert!(fault.text.contains(says), "{text:?} gave {fault:?}");
        }
    }

    #[test]
    fn an_unset_field_is_the_usual_one() {
        let usual = Policy { reads: Reads::Secret, max_age: Some(Duration::from_secs(9)), ..Policy::default() };
        let policy = fields("a: max_age=0s").or(fields("a: max_age=5s, timestamps=client")).over(&usual);
        assert_eq!(policy, Policy { timestamps: Timestamps::Client, max_age: None, ..usual.clone() });
        assert_eq!(Fields::default().over(&usual), usual);
        assert_eq!(shown(&usual, 1 << 20), "{reads: secret, timestamps: server, max_age: 9s, max_value: 1 MiB}");
    }
}
