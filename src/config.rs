//! Configuration: typed, documented key by key in `config/default.toml`, and checked as a whole
//! before anything starts, so that an operator sees every fault at once.
//!
//! `sections` lists the keys, `values` and `choices` the types they may have, `layers` where values
//! come from (defaults, file, environment), `rules` what must hold between keys.

mod body_template;
mod choices;
mod consents;
mod hosts;
mod layers;
mod orders;
mod passkey_origin;
mod privacy;
mod rules;
mod sections;
mod sms_values;
mod social;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

pub use body_template::{BodyTemplate, Filling};
pub use choices::{
    AfterParking, LogFormat, MailTransport, OnRedisFailure, OnRevocationUnknown, ReadPooler, Switch,
};
pub use consents::{
    ConsentChannel, ConsentsConfig, PurposeConfig, WelcomeCondition, WelcomeConfig,
    WelcomeMailConfig, WelcomeTemplate,
};
pub use hosts::each_host;
pub use layers::Origin as ValueOrigin;
pub use orders::{OrderIntakeConfig, OrderServiceConfig, OrdersConfig, ReconciliationConfig};
pub use passkey_origin::PasskeyOrigin;
pub use privacy::{ErasureCommand, PrivacyConfig};
pub use sections::{
    AnalyticsConfig, AuditConfig, Config, CustomersConfig, DatabaseConfig, HashingConfig,
    HttpConfig, IdempotencyConfig, ImportsConfig, LimitsConfig, MailConfig, MailLinks,
    OutboxConfig, OverloadConfig, PasskeysConfig, RabbitConfig, RedisConfig, RetentionConfig,
    SecretsConfig, SessionsConfig, ShardsConfig, SignInConfig, SmsConfig, StuffingConfig,
    TelemetryConfig, TokensConfig,
};
pub use sms_values::{Country, HttpStatus, SmsTransport};
pub use social::{ProviderConfig, ProviderKind, SocialConfig, TrustEmail};
pub use values::{
    Days, Hours, LinkTemplate, Millis, Minutes, Origin, RootKey, Seconds, SecretText, ServerUrl,
    Span,
};

use layers::Layers;
use sections::Node as _;

/// One thing that keeps the service from starting. Secret values never appear in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, as `section.name`; `(file)` where the file itself is at fault.
    pub key: String,
    /// What is the matter, to be read after the key: "is 0".
    pub wrong: String,
    /// What to do about it.
    pub fix: String,
    /// Where the value came from, where one was given.
    pub origin: Option<ValueOrigin>,
}

impl Fault {
    fn new(key: &str, wrong: impl Into<String>, fix: impl Into<String>) -> Self {
        Fault { key: key.to_owned(), wrong: wrong.into(), fix: fix.into(), origin: None }
    }

    fn from(self, origin: ValueOrigin) -> Self {
        Fault { origin: Some(origin), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.wrong)?;
        match &self.origin {
            None | Some(ValueOrigin::Default) => {}
            Some(origin) => write!(f, " (from {origin})")?,
        }
        write!(f, "\n    → {}", self.fix)
    }
}

/// What is wrong with a key that must be given and was not.
const NOT_SET: &str = "is not set";

/// A service may start like this, but the operator should know what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub key: &'static str,
    pub text: String,
}

impl Config {
    /// Reads the defaults, above them the text of a configuration file, above it the
    /// environment, and checks the whole.
    ///
    /// The environment is a parameter, so that tests need not touch their process.
    ///
    /// # Errors
    /// All faults at once: names that no key has, values that do not fit, broken rules.
    pub fn from_sources(
        file: Option<&str>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Config, Vec<Fault>> {
        build(file.map(|text| ("the configuration file", text)), environment, &[])
            .map(|(config, _)| config)
    }

    /// As [`Config::from_sources`], with the file read from `path`.
    ///
    /// # Errors
    /// All faults at once; a file that cannot be read is one.
    pub fn load(
        path: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Config, Vec<Fault>> {
        Self::load_without(&[], path, environment)
    }

    /// As [`Config::load`], for a command that does without some required keys: that they are not set
    /// is no fault of theirs. Where one is set, its value must be in order.
    ///
    /// # Errors
    /// All other faults at once.
    pub fn load_without(
        spared: &[&str],
        path: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Config, Vec<Fault>> {
        read_and_build(path, environment, spared).map(|(config, _)| config)
    }

    /// Every rule that this configuration breaks: ranges of numbers and relations between keys.
    pub fn validate(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.ranges("", &mut |ranged| {
            if !ranged.range.contains(&ranged.number) {
                let (least, most) = ranged.range.into_inner();
                faults.push(Fault::new(
                    &ranged.key,
                    format!("is {}", ranged.number),
                    format!("choose a number from {least} to {most}"),
                ));
            }
        });
        let mut broken = Vec::new();
        rules::check(self, &mut broken);
        // a number outside its range has been named; its relations add nothing
        broken.retain(|fault| faults.iter().all(|named| named.key != fault.key));
        faults.append(&mut broken);
        faults
    }

    /// What an operator should know about a valid configuration.
    pub fn notes(&self) -> Vec<Note> {
        rules::notes(self)
    }
}

/// The effective configuration for people: every key with its value (secrets hidden), the origin
/// of each that is not the default, and the notes.
///
/// # Errors
/// All faults at once, as [`Config::load`].
pub fn overview(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<String, Vec<Fault>> {
    let (config, layers) = read_and_build(path, environment, &[])?;
    let mut text = String::from("configuration is valid\n");
    let mut section = String::new();
    config.visit("", &mut |leaf| {
        let (head, name) = leaf.key.split_once('.').unwrap_or(("", &leaf.key));
        if section != head {
            section = head.to_owned();
            text.push_str(&format!("\n[{section}]\n"));
        }
        let line = format!("{name} = {}", leaf.shown);
        match layers.origin(&leaf.key) {
            ValueOrigin::Default => text.push_str(&format!("  {line}\n")),
            origin => text.push_str(&format!("  {line:<48}  # {origin}\n")),
        }
    });
    let notes = config.notes();
    if !notes.is_empty() {
        text.push_str("\nto know:\n");
    }
    for note in notes {
        text.push_str(&format!("  {}: {}\n", note.key, note.text));
    }
    Ok(text)
}

fn read_and_build(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
    spared: &[&str],
) -> Result<(Config, Layers), Vec<Fault>> {
    let Some(path) = path else { return build(None, environment, spared) };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => build(Some((&name, &text)), environment, spared),
        Err(error) => {
            let unreadable = Fault::new(
                "(file)",
                format!("cannot be read: {error}"),
                "correct --config or CUSTOMER_SERVICE_CONFIG, or leave it out",
            );
            // the environment may be at fault as well; the file's keys are unknown, though, so
            // nothing is said about what is missing
            let mut faults = vec![unreadable.from(ValueOrigin::File(name))];
            faults.extend(Layers::gather(None, environment).faults);
            Err(faults)
        }
    }
}

fn build(
    file: Option<(&str, &str)>,
    environment: &BTreeMap<String, String>,
    spared: &[&str],
) -> Result<(Config, Layers), Vec<Fault>> {
    let mut layers = Layers::gather(file, environment);
    let config = Config::read(&mut layers, "");
    let not_understood: BTreeSet<String> =
        layers.faults.iter().map(|fault| fault.key.clone()).collect();
    for fault in config.validate() {
        let is_spared = fault.wrong == NOT_SET && spared.contains(&fault.key.as_str());
        // a value that was not understood has been named already; its default is not to blame
        if !is_spared && !not_understood.contains(&fault.key) {
            let origin = layers.origin(&fault.key);
            layers.faults.push(fault.from(origin));
        }
    }
    if layers.faults.is_empty() { Ok((config, layers)) } else { Err(layers.faults) }
}
