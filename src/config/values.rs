//! The types that settings may have: each is parsed once, from a file or from the environment,
//! and knows how to show itself without giving a secret away.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::TimeDelta;
use ipnet::IpNet;
use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::hosts::{each_host, with_hosts_of};

/// A value as it was found, before its key's type is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// From the environment, where everything is text: `"16"` may be a number, `"a,b"` a list.
    Environment(String),
    /// A quoted string of a file.
    Text(String),
    Number(i64),
    List(Vec<String>),
    /// A kind that no key takes; the text names it ("a fraction").
    Other(&'static str),
}

/// Why a value was refused: `wrong` says what is the matter, `fix` what to write instead.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub wrong: String,
    pub fix: String,
}

pub(super) fn wrong<T>(wrong: impl Into<String>, fix: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { wrong: wrong.into(), fix: fix.into() })
}

impl Raw {
    pub(super) fn text(&self) -> Result<&str, Wrong> {
        match self {
            Raw::Environment(text) | Raw::Text(text) => Ok(text),
            other => wrong(format!("is {}", other.kind()), "write a text in quotes"),
        }
    }

    fn number(&self) -> Result<u64, Wrong> {
        let fix = "write a whole number of zero or more";
        match self {
            Raw::Number(number) => {
                u64::try_from(*number).or_else(|_| wrong(format!("is {number}"), fix))
            }
            Raw::Environment(text) => {
                text.trim().parse().or_else(|_| wrong(format!("is \"{text}\""), fix))
            }
            Raw::Text(_) => wrong("is a text", "write the number without quotes"),
            other => wrong(format!("is {}", other.kind()), fix),
        }
    }

    fn list(&self) -> Result<Vec<&str>, Wrong> {
        match self {
            Raw::List(items) => Ok(items.iter().map(String::as_str).collect()),
            Raw::Environment(text) => {
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
            }
            other => wrong(format!("is {}", other.kind()), "write a list: [\"a\", \"b\"]"),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Raw::Environment(_) | Raw::Text(_) => "a text",
            Raw::Number(_) => "a number",
            Raw::List(_) => "a list",
            Raw::Other(kind) => kind,
        }
    }
}

/// A type that one key may have.
pub(super) trait Setting: Sized {
    /// Secret values are never quoted in a fault and may be given as a file (`…_FILE`).
    const SECRET: bool = false;

    fn parse(raw: &Raw) -> Result<Self, Wrong>;

    /// The value for people to read; secrets are hidden.
    fn show(&self) -> String;
}

/// A type that one entry of a list may have.
pub(super) trait ListItem: Sized {
    fn parse_item(text: &str) -> Result<Self, Wrong>;
    fn show_item(&self) -> String;
}

impl<T: ListItem> Setting for Vec<T> {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        raw.list()?.into_iter().map(T::parse_item).collect()
    }

    fn show(&self) -> String {
        let items: Vec<_> = self.iter().map(T::show_item).collect();
        format!("[{}]", items.join(", "))
    }
}

/// An empty text means "not set".
impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;

    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        match raw {
            Raw::Environment(text) | Raw::Text(text) if text.trim().is_empty() => Ok(None),
            given => T::parse(given).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "(not set)".to_owned(), T::show)
    }
}

impl Setting for String {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        raw.text().map(str::to_owned)
    }

    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl ListItem for String {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        match text.trim() {
            "" => wrong("contains an empty text", "remove it"),
            text => Ok(text.to_owned()),
        }
    }

    fn show_item(&self) -> String {
        self.clone()
    }
}

impl Setting for PathBuf {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        raw.text().map(PathBuf::from)
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// A setting whose range is declared with its key.
pub(super) trait Number {
    fn number(&self) -> u64;
}

macro_rules! numbers {
    ($($kind:ty),*) => { $(
        impl Setting for $kind {
            fn parse(raw: &Raw) -> Result<Self, Wrong> {
                let number = raw.number()?;
                <$kind>::try_from(number)
                    .or_else(|_| wrong(format!("is {number}"), "write a smaller number"))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }

        impl Number for $kind {
            fn number(&self) -> u64 {
                // lossless: no target of this service has pointers wider than 64 bits
                *self as u64
            }
        }
    )* };
}
numbers!(u16, u32, u64, usize);

/// A length of time, counted in the unit that the key's name ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span<const UNIT_MS: u64>(u64);

pub type Millis = Span<1>;
pub type Seconds = Span<1_000>;
pub type Minutes = Span<60_000>;
pub type Hours = Span<3_600_000>;
pub type Days = Span<86_400_000>;

impl<const UNIT_MS: u64> Span<UNIT_MS> {
    /// A span of `count` units; for tests and for values that are derived from settings.
    pub const fn of(count: u64) -> Self {
        Span(count)
    }

    /// How many units of the key's own name: 15 for `window_minutes = 15`.
    pub const fn count(self) -> u64 {
        self.0
    }

    /// For timers and deadlines.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0.saturating_mul(UNIT_MS))
    }

    /// For arithmetic with instants of the calendar.
    pub fn delta(self) -> TimeDelta {
        // a count that chrono cannot hold is beyond every range that config.rs allows
        TimeDelta::from_std(self.duration()).unwrap_or(TimeDelta::MAX)
    }
}

impl<const UNIT_MS: u64> Setting for Span<UNIT_MS> {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        raw.number().map(Span)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl<const UNIT_MS: u64> Number for Span<UNIT_MS> {
    fn number(&self) -> u64 {
        self.0
    }
}

impl Setting for SocketAddr {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let text = raw.text()?;
        text.parse().or_else(|_| {
            wrong(
                format!("is \"{text}\", which is no address with a port"),
                "write an IP address and a port, like 0.0.0.0:8080 or [::]:8080",
            )
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl ListItem for IpNet {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        network.or_else(|_| {
            wrong(
                format!("contains \"{text}\", which is no network"),
                "write networks as 10.0.0.0/8 or fd00::/8, or single addresses",
            )
        })
    }

    fn show_item(&self) -> String {
        self.to_string()
    }
}

impl Setting for Url {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        web_address(raw.text()?)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

pub(super) fn web_address(text: &str) -> Result<Url, Wrong> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => wrong(
            format!("is \"{text}\", which is no web address"),
            "write a full address that begins with https:// (or http://)",
        ),
    }
}

/// An origin that browsers may call from: scheme, host and port, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As a browser sends it in the `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ListItem for Origin {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        let fix = "write scheme, host and port only, like https://shop.example";
        if text == "*" {
            return wrong("allows every origin with \"*\"", "list the front ends one by one");
        }
        let url = web_address(text)
            .or_else(|_| wrong(format!("contains \"{text}\", which is no origin"), fix))?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return wrong(format!("contains \"{text}\", which is more than an origin"), fix);
        }
        Ok(Origin(url.origin().ascii_serialization()))
    }

    fn show_item(&self) -> String {
        self.0.clone()
    }
}

/// The address of a server, which may carry a password: it is handed out only by `expose`.
#[derive(Clone)]
pub struct ServerUrl(SecretString);

impl ServerUrl {
    /// The address with its password, for the client that connects.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// `postgres` of `postgres://…`.
    pub(super) fn scheme(&self) -> &str {
        self.expose().split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// True where nothing was configured.
    pub(super) fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl Setting for ServerUrl {
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let text = raw.text()?.trim();
        if !text.is_empty() && !text.contains("://") {
            return wrong("is no address", "write it as scheme://user:password@host:port/name");
        }
        Ok(ServerUrl(text.into()))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Shows everything but passwords; an address that cannot be taken apart shows its scheme only.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(not set)");
        }
        // where several hosts are listed, the first stands for all
        let one = each_host(self.expose()).swap_remove(0);
        let parts = Url::parse(&one).ok().and_then(|mut url| {
            if url.password().is_some() {
                url.set_password(Some("***")).ok()?;
            }
            // parameters can hold passwords and key files as well
            if url.query().is_some() {
                url.set_query(Some("***"));
            }
            url.set_fragment(None);
            Some(url.to_string())
        });
        match parts {
            Some(text) => f.write_str(&with_hosts_of(self.expose(), &text)),
            None => write!(f, "{}://***", self.scheme()),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A password, a key or a token: handed out only by `expose`, never shown.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// The secret, for the client that presents it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Setting for SecretText {
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        // where a variable cannot hold line breaks, keys in PEM are written with \n
        Ok(SecretText(raw.text()?.trim().replace("\\n", "\n").into()))
    }

    fn show(&self) -> String {
        "[hidden]".to_owned()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// The key that every other key is derived from. It never prints and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// The 32 bytes, as input of a key derivation only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// True where nothing was configured: 32 zero bytes are no key.
    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; 32]
    }
}

impl Setting for RootKey {
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let fix = "write 32 random bytes in base64: openssl rand -base64 32";
        let text = raw.text()?.trim();
        if text.is_empty() {
            return Ok(RootKey([0; 32]));
        }
        let mut bytes = BASE64.decode(text).or_else(|_| wrong("is not written in base64", fix))?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map(RootKey);
        let length = bytes.len();
        bytes.zeroize();
        key.or_else(|_| wrong(format!("is {length} bytes long instead of 32"), fix))
    }

    fn show(&self) -> String {
        if self.is_empty() { "(not set)".to_owned() } else { "[hidden]".to_owned() }
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Keys of 256 bits each, in an order that means something. They never print and are wiped when
/// dropped.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct KeyList(Vec<[u8; 32]>);

impl KeyList {
    /// Most that may be configured: one that wraps, and those that wrapped before.
    const MAX: usize = 8;

    /// The keys, to be handed to what encrypts with them only.
    pub fn expose(&self) -> &[[u8; 32]] {
        &self.0
    }
}

impl Setting for KeyList {
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let fix = "write keys of 32 random bytes in base64 (openssl rand -base64 32), separated by \
                   commas or spaces, each once, the one that is to be used first";
        let mut keys = KeyList::default();
        let texts = raw.text()?.split([',', ' ', '\t', '\r', '\n']);
        for text in texts.filter(|text| !text.is_empty()) {
            let number = keys.0.len() + 1;
            let mut bytes = BASE64.decode(text).or_else(|_| {
                wrong(format!("has a key {number} that is not written in base64"), fix)
            })?;
            let key = <[u8; 32]>::try_from(bytes.as_slice());
            let length = bytes.len();
            bytes.zeroize();
            let key = key.or_else(|_| {
                wrong(format!("has a key {number} of {length} bytes instead of 32"), fix)
            })?;
            if key == [0; 32] || keys.0.contains(&key) {
                return wrong(format!("has a key {number} that is empty, or there already"), fix);
            }
            keys.0.push(key);
        }
        if keys.0.len() > Self::MAX {
            return wrong(format!("has more than {} keys", Self::MAX), fix);
        }
        Ok(keys)
    }

    fn show(&self) -> String {
        match self.0.len() {
            0 => "(not set)".to_owned(),
            count => format!("[{count} hidden]"),
        }
    }
}

impl fmt::Debug for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A link of a mail: a web address with one place for the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTemplate(String);

impl LinkTemplate {
    const PLACE: &str = "{token}";

    /// The link for one token. Tokens consist of letters, digits, `-` and `_`, so that nothing
    /// has to be escaped.
    pub fn with_token(&self, token: &str) -> String {
        self.0.replace(Self::PLACE, token)
    }
}

impl Setting for LinkTemplate {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let text = raw.text()?;
        let fix = "write a web address that contains {token} once, like \
                   https://shop.example/verify-email?token={token}";
        let places = text.matches(Self::PLACE).count();
        if places != 1 {
            return wrong(format!("contains {{token}} {places} times"), fix);
        }
        let rest = text.replace(Self::PLACE, "");
        if rest.contains(['{', '}']) {
            return wrong("contains braces besides {token}", fix);
        }
        web_address(&rest).map_err(|refused| Wrong { fix: fix.to_owned(), ..refused })?;
        Ok(LinkTemplate(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Setting for Mailbox {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let text = raw.text()?;
        text.parse().or_else(|_| {
            wrong(
                format!("is \"{text}\", which is no sender"),
                "write a name and an address: Shop <no-reply@shop.example>",
            )
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for chrono_tz::Tz {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let text = raw.text()?;
        text.parse().or_else(|_| {
            wrong(
                format!("is \"{text}\", which is no time zone"),
                "write a name of the IANA database, like UTC or Asia/Ho_Chi_Minh",
            )
        })
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}
