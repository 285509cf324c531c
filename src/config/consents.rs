//! What customers are asked consent for, and the welcome series that may depend on it: both are
//! sections that the operator names, and what must hold for each.

use std::collections::{BTreeMap, BTreeSet};

use super::Fault;
use super::choices::{Switch, choice};
use super::layers::Layers;
use super::sections::{Leaf, Node, Ranged, below, section};
use super::values::{ListItem, Number as _, Raw, Seconds, Setting, Wrong, wrong};

/// What the section of a purpose starts from; `config/default.toml` explains each key.
pub(super) const PURPOSE_DEFAULTS: &str = r#"
offer = "on"
text_version = "1"
channels = []
"#;

/// What the section of a welcome mail starts from; `config/default.toml` explains each key.
pub(super) const WELCOME_MAIL_DEFAULTS: &str = r#"
template = "welcome"
delay_seconds = 0
condition = "always"
"#;

/// The purpose that `accepts_marketing` tells.
const MARKETING: &str = "marketing";

/// Each is a row a customer, and a few in every answer.
const PURPOSES_MAX: usize = 32;

/// All of them are decided on in one transaction.
const WELCOME_MAILS_MAX: usize = 20;

/// Of a version of a text; it stands in rows and messages.
const VERSION_BYTES_MAX: usize = 32;

section! {
    /// What customers are asked consent for.
    ConsentsConfig {
        /// What `accepts_marketing = true` grants.
        flag_channels: Vec<ConsentChannel>,
        /// By name, as it stands in the routes.
        purposes: BTreeMap<String, PurposeConfig>,
    }
}

section! {
    /// One purpose.
    PurposeConfig {
        /// Off: no more grants; what was given may be withdrawn.
        offer: Switch,
        text_version: String,
        /// Empty: the purpose knows no channels.
        channels: Vec<ConsentChannel>,
    }
}

section! {
    /// Mails after the first verification of an address.
    WelcomeConfig {
        /// By the name of the step, which a customer gets once.
        mails: BTreeMap<String, WelcomeMailConfig>,
    }
}

section! {
    /// One mail of the series.
    WelcomeMailConfig {
        template: WelcomeTemplate,
        /// From the verification.
        delay_seconds: Seconds [0..=31_536_000],
        condition: WelcomeCondition,
    }
}

choice! {
    /// A way to reach somebody for a purpose.
    ConsentChannel {
        Email = "email",
        Sms = "sms",
        Push = "push",
    }
}

impl ListItem for ConsentChannel {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        Setting::parse(&Raw::Text(text.to_owned())).map_err(|fault: Wrong| Wrong {
            wrong: format!("contains \"{text}\", which is no channel"),
            fix: fault.fix,
        })
    }

    fn show_item(&self) -> String {
        self.show()
    }
}

choice! {
    /// The text of a welcome mail.
    WelcomeTemplate {
        /// A greeting.
        Welcome = "welcome",
        /// What one can do with an account.
        Guide = "welcome_guide",
        /// News and offers.
        Offers = "welcome_offers",
    }
}

choice! {
    /// What must hold when a welcome mail is due, beside an active account and a verified address.
    WelcomeCondition {
        Always = "always",
        /// Marketing by e-mail is consented to.
        MarketingConsent = "marketing_consent",
    }
}

/// Adds a fault for each rule that purposes break.
pub(super) fn check(consents: &ConsentsConfig, faults: &mut Vec<Fault>) {
    let purposes = &consents.purposes;
    if purposes.len() > PURPOSES_MAX {
        let fix = "name at most 32";
        faults.push(Fault::new("consents.purposes", "names too many purposes", fix));
    }
    for (name, purpose) in purposes {
        let key = |field: &str| format!("consents.purposes.{name}.{field}");
        let version = &purpose.text_version;
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=VERSION_BYTES_MAX).contains(&version.len()) || !version.bytes().all(sound) {
            let fix = "write 1 to 32 letters, digits, dots, hyphens and underscores, like 2026-11";
            let wrong = format!("is \"{version}\", which is no version of a text");
            faults.push(Fault::new(&key("text_version"), wrong, fix));
        }
        if has_doubles(&purpose.channels) {
            faults.push(Fault::new(&key("channels"), "names a channel twice", "name it once"));
        }
    }
    let Some(marketing) = purposes.get(MARKETING) else { return };
    if marketing.offer == Switch::Off {
        faults.push(Fault::new(
            "consents.purposes.marketing.offer",
            "is off, but accepts_marketing of registrations and changes is a consent to it",
            "leave it on; where nobody is asked, nobody sets accepts_marketing",
        ));
    }
    let flag = &consents.flag_channels;
    if flag.is_empty() != marketing.channels.is_empty()
        || flag.iter().any(|channel| !marketing.channels.contains(channel))
        || has_doubles(flag)
    {
        faults.push(Fault::new(
            "consents.flag_channels",
            "does not name channels of consents.purposes.marketing.channels",
            "name one or more of them, each once; none where marketing knows no channels",
        ));
    }
}

fn has_doubles(channels: &[ConsentChannel]) -> bool {
    let names: BTreeSet<_> = channels.iter().map(ListItem::show_item).collect();
    names.len() < channels.len()
}

/// Adds a fault for each rule that the welcome series breaks.
pub(super) fn check_welcome(welcome: &WelcomeConfig, faults: &mut Vec<Fault>) {
    if welcome.mails.len() > WELCOME_MAILS_MAX {
        faults.push(Fault::new("welcome.mails", "names too many mails", "name at most 20"));
    }
    for (name, mail) in &welcome.mails {
        let advertising = mail.template == WelcomeTemplate::Offers;
        if advertising && mail.condition == WelcomeCondition::Always {
            faults.push(Fault::new(
                &format!("welcome.mails.{name}.condition"),
                "is always, but its template is advertising, for which consent is needed",
                "write marketing_consent",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::layers::{DEFAULTS, variable};
    use super::*;

    fn environment(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let must = [("database.url", "postgres://db/x"), ("secrets.root_key", key)];
        let all = must.iter().chain(more);
        all.map(|(key, value)| (variable(key), (*value).to_owned())).collect()
    }

    fn faults(file: &str) -> Vec<(String, String)> {
        let found = Config::from_sources(Some(file), &environment(&[])).expect_err("is refused");
        found.into_iter().map(|fault| (fault.key.clone(), fault.to_string())).collect()
    }

    #[test]
    fn purposes_are_those_that_ship_and_those_that_are_named() {
        let file = "[consents.purposes.research]\ntext_version = \"2026-11\"\n\
                    [consents.purposes.analytics]\noffer = \"off\"\n";
        let more = [("consents.purposes.marketing.channels", "email,sms")];
        let config = Config::from_sources(Some(file), &environment(&more)).expect("is valid");
        let purposes = &config.consents.purposes;
        let names: Vec<_> = purposes.keys().map(String::as_str).collect();
        assert_eq!(names, ["analytics", "marketing", "personalisation", "research"]);
        assert_eq!(purposes["analytics"].offer, Switch::Off);
        assert_eq!(purposes["research"].text_version, "2026-11");
        assert!(purposes["research"].channels.is_empty());
        let channels = [ConsentChannel::Email, ConsentChannel::Sms];
        assert_eq!(purposes["marketing"].channels, channels);
        assert_eq!(config.consents.flag_channels, [ConsentChannel::Email]);
        assert!(config.welcome.mails.is_empty(), "nobody is written to unasked");
    }

    #[test]
    fn a_series_is_named_step_by_step() {
        let file = "[welcome.mails.offers]\ntemplate = \"welcome_offers\"\n\
                    delay_seconds = 60\ncondition = \"marketing_consent\"\n";
        let more = [("welcome.mails.hello.template", "welcome")];
        let config = Config::from_sources(Some(file), &environment(&more)).expect("is valid");
        let mails = &config.welcome.mails;
        assert_eq!(mails.keys().collect::<Vec<_>>(), ["hello", "offers"]);
        assert_eq!(mails["offers"].delay_seconds.delta().num_seconds(), 60);
        assert_eq!(mails["hello"].condition, WelcomeCondition::Always);
    }

    #[test]
    fn every_broken_rule_names_its_key() {
        let purpose = |name: &str, line: &str| format!("[consents.purposes.{name}]\n{line}\n");
        let mail = |line: &str| format!("[welcome.mails.x]\n{line}\n");
        for (file, key, words) in [
            (purpose("marketing", "offer = \"off\""), "marketing.offer", "accepts_marketing"),
            (purpose("x", "text_version = \"\""), "x.text_version", "no version"),
            (purpose("x", "text_version = \"a b\""), "x.text_version", "no version"),
            (purpose("x", "channels = [\"fax\"]"), "x.channels", "no channel"),
            (purpose("x", "channels = [\"sms\", \"sms\"]"), "x.channels", "twice"),
            (purpose("x", "text = \"1\""), "x.text", "not a key"),
            (purpose("marketing", "channels = [\"sms\"]"), "flag_channels", "marketing"),
            (purpose("marketing", "channels = []"), "flag_channels", "marketing"),
            ("[consents]\nflag_channels = []".to_owned(), "flag_channels", "marketing"),
            (mail("template = \"hello\""), "x.template", "choose one of"),
            (mail("template = \"welcome_offers\""), "x.condition", "advertising"),
            (mail("delay_seconds = 31536001"), "x.delay_seconds", "31536001"),
            (mail("condition = \"never\""), "x.condition", "choose one of"),
        ] {
            let found = faults(&file);
            let of_key = found.iter().find(|(found, _)| found.ends_with(key));
            let (_, said) = of_key.unwrap_or_else(|| panic!("{file}: {found:?}"));
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn default_toml_explains_every_key_of_a_welcome_mail() {
        for line in WELCOME_MAIL_DEFAULTS.lines().filter(|line| !line.is_empty()) {
            let key = line.split(' ').next().expect("a key");
            assert!(DEFAULTS.contains(&format!("\n# {key} = ")), "{key} is not explained");
        }
    }
}
