//! Where values come from: the embedded defaults, below a file, below the environment. Gathers
//! them, refuses names that no key has, and remembers the origin of each value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use config::{File, FileFormat, Source as _, Value, ValueKind};

use super::Fault;
use super::consents::{PURPOSE_DEFAULTS, WELCOME_MAIL_DEFAULTS};
use super::social::PROVIDER_DEFAULTS;
use super::values::{Raw, Setting, Wrong};

/// The defaults, part of the binary: a service started without any file has them all.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Variables of the service begin with this. Two underscores, because Kubernetes puts
/// `CUSTOMER_SERVICE_PORT` and the like into every pod beside a service of this name.
const PREFIX: &str = "CUSTOMER_SERVICE__";

/// Names that hosting platforms use, taken where the service's own variable is not set.
const FALLBACKS: [(&str, &str); 3] =
    [("DATABASE_URL", "database.url"), ("REDIS_URL", "redis.url"), ("AMQP_URL", "rabbit.url")];

/// The keys that a configuration file may not hold: files are copied, committed and shown.
const NEVER_IN_A_FILE: [&str; 2] = ["secrets.root_key", "secrets.wrapping_keys"];

/// Places below which an operator names sections of the same keys, which have these defaults.
const NAMED: [(&str, &str); 3] = [
    ("social.providers", PROVIDER_DEFAULTS),
    ("consents.purposes", PURPOSE_DEFAULTS),
    ("welcome.mails", WELCOME_MAIL_DEFAULTS),
];

/// Longest name of such a section: it stands in addresses, in rows and in labels of metrics.
const NAME_CHARS_MAX: usize = 32;

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The embedded `config/default.toml`.
    Default,
    /// The configuration file of this name.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The file that the environment variable of this name points to.
    SecretFile(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the default"),
            Origin::File(name) | Origin::Environment(name) => f.write_str(name),
            Origin::SecretFile(variable) => write!(f, "the file named by {variable}"),
        }
    }
}

/// All values before they are typed, the uppermost of each key with its origin.
pub(super) struct Layers {
    defaults: BTreeMap<String, Raw>,
    /// By place, the defaults of the keys of each named section.
    named: BTreeMap<&'static str, BTreeMap<String, Raw>>,
    above: BTreeMap<String, (Raw, Origin)>,
    pub faults: Vec<Fault>,
}

impl Layers {
    /// Puts `file` (its name and its text) and the environment above the defaults.
    pub fn gather(file: Option<(&str, &str)>, environment: &BTreeMap<String, String>) -> Self {
        let defaults = parse(DEFAULTS).expect("the embedded default.toml is read by every test");
        let named = NAMED.map(|(place, text)| {
            (place, parse(text).expect("the defaults of named sections are read by every test"))
        });
        let mut layers =
            Layers { defaults, named: named.into(), above: BTreeMap::new(), faults: Vec::new() };
        if let Some((name, text)) = file {
            layers.add_file(name, text);
        }
        let given = layers.add_environment(environment);
        layers.add_fallbacks(environment, &given);
        layers
    }

    /// The typed value of a key. A value that does not fit is a fault; the default stands in for
    /// it, so that the checks after it can still speak about the other keys.
    pub fn read<T: Setting>(&mut self, key: &str) -> T {
        if let Some((raw, origin)) = self.above.get(key) {
            let parsed = match origin {
                Origin::SecretFile(_) if !T::SECRET => Err(Wrong {
                    wrong: "is no secret, so it is not read from a file of its own".to_owned(),
                    fix: format!("set {} itself", variable(key)),
                }),
                _ => T::parse(raw),
            };
            match parsed {
                Ok(value) => return value,
                Err(Wrong { wrong, fix }) => {
                    self.faults.push(Fault::new(key, wrong, fix).from(origin.clone()));
                }
            }
        }
        let raw = self.default_of(key).expect("a test compares the keys with default.toml");
        T::parse(raw).expect("every default fits its type, which the tests read one by one")
    }

    /// The names of the sections below `place`: those that were given, and those that ship.
    pub fn names(&self, place: &str) -> BTreeSet<String> {
        let below = |key: &String| {
            let (name, _) = key.strip_prefix(place)?.strip_prefix('.')?.split_once('.')?;
            Some(name.to_owned())
        };
        self.above.keys().chain(self.defaults.keys()).filter_map(below).collect()
    }

    /// The default of a key; `None` where no key is called so.
    fn default_of(&self, key: &str) -> Option<&Raw> {
        self.defaults.get(key).or_else(|| {
            let (section, field) = key.rsplit_once('.')?;
            let (place, name) = section.rsplit_once('.')?;
            self.named.get(place).filter(|_| is_name(name))?.get(field)
        })
    }

    fn is_known(&self, key: &str) -> bool {
        self.default_of(key).is_some()
    }

    /// Where the effective value of a key came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.above.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    #[cfg(test)]
    pub fn default_keys(&self) -> impl Iterator<Item = &String> {
        self.defaults.keys()
    }

    fn add_file(&mut self, name: &str, text: &str) {
        let origin = Origin::File(name.to_owned());
        let values = match parse(text) {
            Ok(values) => values,
            Err(reason) => {
                let fix = "correct the line; config/default.toml shows the form";
                self.faults.push(Fault::new("(file)", reason, fix).from(origin));
                return;
            }
        };
        for (key, raw) in values {
            if NEVER_IN_A_FILE.contains(&key.as_str()) {
                let fix = format!(
                    "remove it there, set {0} or {0}_FILE, and make a new key if the file was \
                     ever shared",
                    variable(&key)
                );
                let wrong = "stands in a configuration file";
                self.faults.push(Fault::new(&key, wrong, fix).from(origin.clone()));
            } else if self.is_known(&key) {
                self.above.insert(key, (raw, origin.clone()));
            } else {
                let fix = self.advice(&key, str::to_owned);
                self.faults.push(
                    Fault::new(&key, "is not a key of this service", fix).from(origin.clone()),
                );
            }
        }
    }

    /// Returns the keys that the environment set.
    fn add_environment(&mut self, environment: &BTreeMap<String, String>) -> BTreeSet<String> {
        let mut given = BTreeSet::new();
        for (name, text) in environment {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let key = path.to_ascii_lowercase().replace("__", ".");
            let filed = key.strip_suffix("_file").filter(|key| self.is_known(key));
            let (key, found) = match filed {
                Some(key) => (key.to_owned(), self.secret_file(key, name, text)),
                None => {
                    let raw = Raw::Environment(text.clone());
                    (key, Some((raw, Origin::Environment(name.clone()))))
                }
            };
            if !self.is_known(&key) {
                let fix = self.advice(&key, variable);
                self.faults.push(
                    Fault::new(&key, "is not a key of this service", fix)
                        .from(Origin::Environment(name.clone())),
                );
                continue;
            }
            if !given.insert(key.clone()) {
                let fix = format!("keep one of {0} and {0}_FILE", variable(&key));
                self.faults.push(Fault::new(&key, "is set twice in the environment", fix));
            }
            if let Some(found) = found {
                self.above.insert(key, found);
            }
        }
        given
    }

    fn secret_file(&mut self, key: &str, name: &str, path: &str) -> Option<(Raw, Origin)> {
        let origin = Origin::SecretFile(name.to_owned());
        match std::fs::read_to_string(path) {
            // editors and `openssl rand` end the file with a line break
            Ok(text) => Some((Raw::Environment(text.trim().to_owned()), origin)),
            Err(error) => {
                let wrong = format!("cannot be read from {path}: {error}");
                let fix = "name a file that this process may read";
                self.faults.push(Fault::new(key, wrong, fix).from(origin));
                None
            }
        }
    }

    fn add_fallbacks(&mut self, environment: &BTreeMap<String, String>, given: &BTreeSet<String>) {
        for (name, key) in FALLBACKS {
            match environment.get(name) {
                Some(text) if !text.is_empty() && !given.contains(key) => {
                    let found =
                        (Raw::Environment(text.clone()), Origin::Environment(name.to_owned()));
                    self.above.insert(key.to_owned(), found);
                }
                _ => {}
            }
        }
    }

    /// What to do about an unknown key: the nearest known one, written by `spell`.
    fn advice(&self, unknown: &str, spell: impl Fn(&str) -> String) -> String {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let candidates = match self.named_section(unknown) {
            Some((_, name, _)) if !is_name(name) => {
                return format!(
                    "name the section with at most {NAME_CHARS_MAX} of a–z, 0–9, - and _, \
                     beginning with a letter"
                );
            }
            Some((place, name, keys)) => {
                keys.keys().map(|key| format!("{place}.{name}.{key}")).collect::<Vec<_>>()
            }
            None => self.defaults.keys().cloned().collect(),
        };
        // the right name in the wrong section is nearer than any misspelling
        let moved = candidates.iter().find(|key| last(key) == last(unknown));
        let nearest = moved.or_else(|| {
            candidates
                .iter()
                .map(|key| (strsim::normalized_damerau_levenshtein(key, unknown), key))
                .filter(|(likeness, _)| *likeness >= 0.6)
                .max_by(|(one, _), (other, _)| one.total_cmp(other))
                .map(|(_, key)| key)
        });
        match nearest {
            Some(key) => format!("did you mean {}?", spell(key)),
            None => "remove it; config/default.toml lists every key".to_owned(),
        }
    }

    /// Place, name and keys of the named section that a key would be in.
    fn named_section<'a>(
        &'a self,
        key: &'a str,
    ) -> Option<(&'a str, &'a str, &'a BTreeMap<String, Raw>)> {
        self.named.iter().find_map(|(place, keys)| {
            let (name, _) = key.strip_prefix(place)?.strip_prefix('.')?.split_once('.')?;
            Some((*place, name, keys))
        })
    }
}

/// Whether a section may be called so.
fn is_name(name: &str) -> bool {
    let sound = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(sound)
}

/// `http.bind` → `CUSTOMER_SERVICE__HTTP__BIND`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// A TOML text as dotted keys with raw values.
fn parse(text: &str) -> Result<BTreeMap<String, Raw>, String> {
    let table = File::from_str(text, FileFormat::Toml)
        .collect()
        .map_err(|error| without_excerpt(&error.to_string()))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        flatten(key, value, &mut values);
    }
    Ok(values)
}

/// The parser quotes the faulty line, which may hold a password; its place and reason suffice.
fn without_excerpt(message: &str) -> String {
    let told = message.lines().filter(|line| !line.contains('|') && !line.trim().is_empty());
    format!("is no TOML: {}", told.collect::<Vec<_>>().join(": "))
}

fn flatten(key: String, value: Value, values: &mut BTreeMap<String, Raw>) {
    let raw = match value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, values);
            }
            return;
        }
        ValueKind::Array(items) => list(items),
        ValueKind::String(text) => Raw::Text(text),
        ValueKind::I64(number) => Raw::Number(number),
        ValueKind::Boolean(_) => Raw::Other("true or false"),
        ValueKind::Float(_) => Raw::Other("a fraction"),
        ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            Raw::Other("a number beyond all ranges")
        }
        ValueKind::Nil => Raw::Other("nothing"),
    };
    values.insert(key, raw);
}

fn list(items: Vec<Value>) -> Raw {
    let texts = items.into_iter().map(|item| match item.kind {
        ValueKind::String(text) => Some(text),
        _ => None,
    });
    match texts.collect::<Option<Vec<_>>>() {
        Some(texts) => Raw::List(texts),
        None => Raw::Other("a list that holds more than texts"),
    }
}
