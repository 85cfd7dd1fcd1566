//! `kvs serve --check-config`: every setting that is in force, and where it comes from. Nothing is opened but the files
//! of settings and secrets, and no secret is shown.

use super::failure::{Done, Failure};
use super::hooks;
use super::layers::{Given, Layers, Source};
use super::output::Output;
use super::policies::{self, Named};
use super::settings::Settings;
use super::units::counted;
use crate::model::Bucket;

/// Shows the settings, or says with exit code 2 what is wrong with them.
pub(super) fn run(settings: Done<Settings>) -> Done {
    let wrong = |failure: Failure| match failure {
        Failure::Failed(text) => Failure::Usage(text),
        other => other,
    };
    let settings = settings.map_err(wrong)?;
    let secrets = settings.auth.read().map_err(wrong)?.len();
    let mut output = Output::new();
    for given in settings.layers.given() {
        let source = settings.layers.words(given);
        match given.name.as_str() {
            "buckets" => buckets(&settings, given, &mut output)?,
            "auth" => {
                let secrets = counted(secrets as u64, "secret", "secrets");
                output.line(&format!("auth: {}  # {source}; {secrets}", value(given, &settings)))?;
            }
            name => output.line(&format!("{name}: {}  # {source}", value(given, &settings)))?,
        }
    }
    output.done()
}

/// One line for each bucket that has a policy of its own.
fn buckets(settings: &Settings, given: &Given, output: &mut Output) -> Done {
    let policies = &settings.serving.policies;
    if policies.named.is_empty() {
        return output.line("buckets: none  # default");
    }
    for (bucket, policy) in &policies.named {
        let policy = policies::shown(policy, settings.opening.limits.value);
        let sources = sources(&settings.layers, given, bucket).join(", ");
        output.line(&format!("buckets.{bucket}: {policy}  # {sources}"))?;
    }
    Ok(())
}

/// Who spoke of that bucket.
fn sources(layers: &Layers, given: &Given, bucket: &Bucket) -> Vec<String> {
    let names = given.texts.iter().filter_map(|text| text.to_str()?.parse::<Named>().ok());
    let typed = names.filter(|named| named.bucket == *bucket).map(|_| layers.words(given));
    let written = layers.buckets.iter().filter(|(_, named)| named.bucket == *bucket);
    typed.chain(written.map(|(line, _)| layers.line(*line))).collect()
}

/// The value as it would stand in the file; `none` if there is none.
fn value(given: &Given, settings: &Settings) -> String {
    if given.is_secret() && given.source != Source::Default {
        return "(not shown)".to_owned();
    }
    let shown = |text: String| if given.name == "purge" { hooks::shown(&text) } else { text };
    let texts: Vec<_> = given.texts.iter().map(|text| shown(text.to_string_lossy().into_owned())).collect();
    match (given.name.as_str(), texts.as_slice()) {
        ("store", _) => scalar(&settings.store.to_string()),
        ("auth", _) => scalar(&settings.auth.path.display().to_string()),
        ("http", []) if settings.serving.places.fastcgi.is_empty() => scalar("127.0.0.1:8080"),
        (_, []) => "none".to_owned(),
        (_, [one]) => scalar(one),
        (_, several) => format!("[{}]", several.iter().map(|text| scalar(text)).collect::<Vec<_>>().join(", ")),
    }
}

/// A text as YAML has it, in quotes only if it must be.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.ends_with(':')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/:+~%@-".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_in_quotes_where_yaml_needs_them() {
        for (text, shown) in [
            ("yaml:/srv/data", "yaml:/srv/data"),
            ("[::1]:80", "'[::1]:80'"),
            ("*", "'*'"),
            ("it's", "'it''s'"),
            ("a b", "'a b'"),
            ("a:", "'a:'"),
            ("", "''"),
        ] {
            assert_eq!(scalar(text), shown);
        }
    }
}
