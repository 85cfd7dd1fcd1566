//! `kvs serve --check-config`: prints every setting and its source. It reads only `config.yaml` and `auth.txt`, and
//! shows no secret.

use crate::cli::config::policies;
use crate::cli::config::policies::{BucketPolicy, PolicyTarget};
use crate::cli::config::settings::CliSettings;
use crate::cli::config::sources::{SettingSource, SourcedSetting};
use crate::cli::config::units::count_noun;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::cli::serving::hook_runtime;

/// Prints the settings. Any error has exit code 2.
pub(crate) fn run(settings: CliResult<CliSettings>) -> CliResult {
    let as_usage = |failure: Failure| match failure {
        Failure::Failed(text) => Failure::Usage(text),
        other => other,
    };
    let settings = settings.map_err(as_usage)?;
    let secrets = settings.auth.read().map_err(as_usage)?.len();
    let mut output = Output::new();
    for setting in settings.sources.settings() {
        let source = settings.sources.describe(setting);
        match setting.name.as_str() {
            "buckets" => buckets(&settings, setting, &mut output)?,
            "auth" => {
                let secrets = count_noun(secrets as u64, "secret", "secrets");
                output.line(&format!("auth: {}  # {source}; {secrets}", value(setting, &settings)))?;
            }
            name => output.line(&format!("{name}: {}  # {source}", value(setting, &settings)))?,
        }
    }
    output.finish()
}

/// Prints a line for each bucket with its own policy.
fn buckets(settings: &CliSettings, setting: &SourcedSetting, output: &mut Output) -> CliResult {
    let policies = &settings.server.policies;
    if policies.by_bucket.is_empty() && policies.by_prefix.is_empty() {
        return output.line("buckets: none  # default");
    }
    let by_bucket = policies.by_bucket.iter().map(|(bucket, policy)| (PolicyTarget::Bucket(bucket.clone()), policy));
    let by_prefix = policies.by_prefix.iter().map(|(prefix, policy)| (PolicyTarget::Prefix(prefix.clone()), policy));
    for (target, policy) in by_bucket.chain(by_prefix) {
        let policy = policies::in_file_form(policy, settings.store_options.limits.max_value_bytes);
        let sources = sources(settings, setting, &target).join(", ");
        let name = target.to_string();
        let name = if name.ends_with('*') { scalar(&name) } else { name };
        output.line(&format!("buckets.{name}: {policy}  # {sources}"))?;
    }
    Ok(())
}

/// The sources of a policy.
fn sources(settings: &CliSettings, setting: &SourcedSetting, target: &PolicyTarget) -> Vec<String> {
    let policies = setting.texts.iter().filter_map(|text| text.to_str()?.parse::<BucketPolicy>().ok());
    let flags = policies.filter(|policy| policy.target == *target).map(|_| settings.sources.describe(setting));
    let in_file = settings.file_policies.iter().filter(|other| other.policy.target == *target);
    flags.chain(in_file.map(|other| settings.sources.line(other.line))).collect()
}

/// Anyone who knows the URL of a webhook can often post to it.
fn is_secret(setting: &SourcedSetting) -> bool {
    setting.name.ends_with("secret") || setting.name == "webhook"
}

/// The value as in the file; `none` if there is none.
fn value(setting: &SourcedSetting, settings: &CliSettings) -> String {
    if is_secret(setting) && setting.source != SettingSource::Default {
        return "(not shown)".to_owned();
    }
    let shown = |text: String| if setting.name == "purge" { hook_runtime::without_path(&text) } else { text };
    let texts: Vec<_> = setting.texts.iter().map(|text| shown(text.to_string_lossy().into_owned())).collect();
    match (setting.name.as_str(), texts.as_slice()) {
        ("store", _) => scalar(&settings.store.to_string()),
        ("auth", _) => scalar(&settings.auth.path.display().to_string()),
        ("http", []) if settings.server.listen.fastcgi.is_empty() => scalar("127.0.0.1:8080"),
        (_, []) => "none".to_owned(),
        (_, [one]) => scalar(one),
        (_, several) => format!("[{}]", several.iter().map(|text| scalar(text)).collect::<Vec<_>>().join(", ")),
    }
}

/// A YAML scalar, in quotes only if necessary.
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
    fn a_value_is_in_quotes_only_where_yaml_needs_them() {
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
