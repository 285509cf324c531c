//! Identity providers, each a section that the operator names: any number of them, by
//! configuration alone, and what must hold for each kind.

use std::collections::BTreeMap;

use p256::pkcs8::DecodePrivateKey as _;
use url::Url;

use super::choices::choice;
use super::layers::Layers;
use super::rules::is_local;
use super::sections::{Leaf, Node, Ranged, below, section};
use super::values::{
    Millis, Minutes, Number as _, Raw, Seconds, SecretText, Setting, Wrong, wrong,
};
use super::{Fault, HttpConfig};

/// What a provider's section starts from; `config/default.toml` explains each key.
pub(super) const PROVIDER_DEFAULTS: &str = r#"
kind = "oidc"
issuer = ""
client_id = ""
client_secret = ""
team_id = ""
key_id = ""
private_key = ""
scopes = []
redirect_uris = []
audiences = []
trust_email = "never"
authorize_url = ""
graph_url = ""
"#;

section! {
    /// Signing in through other services.
    SocialConfig {
        /// For all calls to a provider that one request needs.
        timeout_ms: Millis [100..=30_000],
        retry_seconds: Seconds [1..=300],
        clock_skew_seconds: Seconds [0..=300],
        state_minutes: Minutes [1..=60],
        /// By name, as it stands in the routes.
        providers: BTreeMap<String, ProviderConfig>,
    }
}

section! {
    /// One identity provider. Which keys it needs depends on its kind.
    ProviderConfig {
        kind: ProviderKind,
        /// As the provider writes it in its tokens, byte for byte.
        issuer: String,
        client_id: String,
        /// `None`: a public client, or Apple, whose secret is made from the key.
        client_secret: Option<SecretText>,
        team_id: String,
        key_id: String,
        /// PKCS#8 in PEM.
        private_key: Option<SecretText>,
        /// Empty: those of the kind, see [`ProviderConfig::scopes_or_usual`].
        scopes: Vec<String>,
        /// Compared exactly. Empty: native apps only.
        redirect_uris: Vec<String>,
        /// Client ids of native apps, whose tokens count as well.
        audiences: Vec<String>,
        trust_email: TrustEmail,
        /// `None`: Facebook's own.
        authorize_url: Option<Url>,
        /// `None`: Facebook's own.
        graph_url: Option<Url>,
    }
}

choice! {
    /// How a provider speaks.
    ProviderKind {
        /// OpenID Connect with discovery: Google, Microsoft, Keycloak and most others.
        Oidc = "oidc",
        /// OpenID Connect with a client secret that is signed by a key of the developer.
        Apple = "apple",
        /// OAuth 2 and the Graph API.
        Facebook = "facebook",
    }
}

choice! {
    /// Whether an address counts as verified that the provider does not say to have verified.
    TrustEmail {
        Never = "never",
        Always = "always",
    }
}

/// Apple's issuer, the same for everybody.
const APPLE_ISSUER: &str = "https://appleid.apple.com";
const FACEBOOK_AUTHORIZE: &str = "https://www.facebook.com/v23.0/dialog/oauth";
const FACEBOOK_GRAPH: &str = "https://graph.facebook.com/v23.0";

impl ProviderConfig {
    /// The issuer, of Apple also where none is configured.
    pub fn issuer_or_usual(&self) -> &str {
        match self.kind {
            ProviderKind::Apple if self.issuer.is_empty() => APPLE_ISSUER,
            _ => &self.issuer,
        }
    }

    /// What a user is asked to agree to.
    pub fn scopes_or_usual(&self) -> Vec<String> {
        let usual: &[&str] = match self.kind {
            _ if !self.scopes.is_empty() => return self.scopes.clone(),
            ProviderKind::Oidc => &["openid", "email", "profile"],
            ProviderKind::Apple => &["openid", "email", "name"],
            ProviderKind::Facebook => &["email", "public_profile"],
        };
        usual.iter().map(|scope| (*scope).to_owned()).collect()
    }

    /// Facebook's page that asks the user.
    pub fn authorize_url_or_usual(&self) -> Url {
        or_usual(&self.authorize_url, FACEBOOK_AUTHORIZE)
    }

    /// Facebook's API.
    pub fn graph_url_or_usual(&self) -> Url {
        or_usual(&self.graph_url, FACEBOOK_GRAPH)
    }
}

fn or_usual(given: &Option<Url>, usual: &str) -> Url {
    given.clone().unwrap_or_else(|| Url::parse(usual).expect("a constant address, tested"))
}

/// Adds a fault for each rule that a provider breaks.
pub(super) fn check(social: &SocialConfig, http: &HttpConfig, faults: &mut Vec<Fault>) {
    if social.timeout_ms.duration() >= http.request_timeout_ms.duration() {
        faults.push(Fault::new(
            "social.timeout_ms",
            "is not shorter than http.request_timeout_ms, so a slow provider would look like a \
             slow service",
            "make it shorter",
        ));
    }
    for (name, provider) in &social.providers {
        let mut rules = Rules { section: format!("social.providers.{name}"), provider, faults };
        rules.check();
    }
}

/// The rules of one provider.
struct Rules<'a> {
    section: String,
    provider: &'a ProviderConfig,
    faults: &'a mut Vec<Fault>,
}

impl Rules<'_> {
    fn fault(&mut self, key: &str, wrong: impl Into<String>, fix: impl Into<String>) {
        self.faults.push(Fault::new(&below(&self.section, key), wrong, fix));
    }

    fn check(&mut self) {
        let provider = self.provider;
        if provider.client_id.trim().is_empty() {
            self.fault("client_id", "is not set", "write the id that the provider gave this shop");
        }
        match provider.kind {
            ProviderKind::Oidc => {
                self.issuer();
                self.unused(&["team_id", "key_id", "private_key", "authorize_url", "graph_url"]);
                self.openid();
            }
            ProviderKind::Apple => {
                self.issuer();
                self.apple_key();
                self.unused(&["client_secret", "authorize_url", "graph_url"]);
                self.openid();
            }
            ProviderKind::Facebook => {
                self.facebook();
                self.unused(&["issuer", "team_id", "key_id", "private_key", "audiences"]);
            }
        }
        if provider.trust_email == TrustEmail::Always && provider.kind != ProviderKind::Facebook {
            let fix = "remove it; tokens of this kind say whether an address is verified";
            self.fault("trust_email", "is always, which is for kind facebook only", fix);
        }
        for uri in &provider.redirect_uris {
            self.redirect_uri(uri);
        }
    }

    /// Anyone on the way could put words into the mouth of a provider without TLS.
    fn issuer(&mut self) {
        let issuer = self.provider.issuer_or_usual();
        if issuer.is_empty() {
            let fix = "write the provider's issuer, like https://accounts.google.com";
            return self.fault("issuer", "is not set", fix);
        }
        let fix = "write it as the provider's tokens do, beginning with https://";
        match Url::parse(issuer) {
            Ok(url) if !is_safe_page(&url) => {
                let wrong = format!("is \"{issuer}\", which is neither https nor on this machine");
                self.fault("issuer", wrong, fix);
            }
            Ok(url) if url.query().is_none() && url.fragment().is_none() => {}
            _ => self.fault("issuer", format!("is \"{issuer}\", which is no issuer"), fix),
        }
    }

    fn openid(&mut self) {
        let scopes = self.provider.scopes_or_usual();
        if !scopes.iter().any(|scope| scope == "openid") {
            let fix = "add it: without it there is no token that tells who signed in";
            self.fault("scopes", "lacks openid", fix);
        }
    }

    /// The key signs the client secret of the web flow; native apps bring tokens without it.
    fn apple_key(&mut self) {
        let provider = self.provider;
        if provider.redirect_uris.is_empty() && provider.private_key.is_none() {
            return;
        }
        for (key, value) in [("team_id", &provider.team_id), ("key_id", &provider.key_id)] {
            if value.is_empty() {
                let fix = "write the ten characters that Apple's developer pages show";
                self.fault(key, "is not set", fix);
            }
        }
        let fix = "write the text of the .p8 file, or name the file by …__PRIVATE_KEY_FILE";
        match &provider.private_key {
            None => self.fault("private_key", "is not set", fix),
            Some(key) if p256::SecretKey::from_pkcs8_pem(key.expose()).is_err() => {
                self.fault("private_key", "is no P-256 key in PKCS#8 PEM", fix);
            }
            Some(_) => {}
        }
    }

    fn facebook(&mut self) {
        let provider = self.provider;
        if provider.client_secret.is_none() {
            let fix = "write the app secret, or name its file by …__CLIENT_SECRET_FILE";
            self.fault("client_secret", "is not set", fix);
        }
        if provider.redirect_uris.is_empty() {
            let fix = "list the pages that the provider may send people back to";
            self.fault("redirect_uris", "is empty", fix);
        }
        for (key, url) in
            [("authorize_url", &provider.authorize_url), ("graph_url", &provider.graph_url)]
        {
            if url.as_ref().is_some_and(|url| !is_safe(url)) {
                let fix = "write an https:// address without a query";
                self.fault(key, "is neither https nor on this machine, or has a query", fix);
            }
        }
    }

    /// A key that a kind does not read would look as if it did something.
    fn unused(&mut self, keys: &[&str]) {
        let provider = self.provider;
        let given = |key: &str| match key {
            "issuer" => !provider.issuer.is_empty(),
            "client_secret" => provider.client_secret.is_some(),
            "team_id" => !provider.team_id.is_empty(),
            "key_id" => !provider.key_id.is_empty(),
            "private_key" => provider.private_key.is_some(),
            "audiences" => !provider.audiences.is_empty(),
            "authorize_url" => provider.authorize_url.is_some(),
            _ => provider.graph_url.is_some(),
        };
        for key in keys.iter().filter(|key| given(key)) {
            let kind = provider.kind.show();
            self.fault(key, format!("is set, but has no use for kind {kind}"), "remove it");
        }
    }

    /// https, http on this machine, or an app's own scheme (RFC 8252: a reversed domain name).
    fn redirect_uri(&mut self, uri: &str) {
        let sound = Url::parse(uri).is_ok_and(|url| {
            let own = !matches!(url.scheme(), "http" | "https") && url.scheme().contains('.');
            (own || is_safe_page(&url)) && url.fragment().is_none()
        });
        if !sound {
            self.fault(
                "redirect_uris",
                format!("contains \"{uri}\", to which nobody may be sent with a code"),
                "write full https:// addresses without a fragment, as registered at the provider",
            );
        }
    }
}

fn is_safe(url: &Url) -> bool {
    is_safe_page(url) && url.query().is_none() && url.fragment().is_none()
}

fn is_safe_page(url: &Url) -> bool {
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && is_local(url)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use p256::pkcs8::EncodePrivateKey as _;

    use super::super::layers::{DEFAULTS, variable};
    use super::super::{Config, overview};
    use super::*;

    fn environment(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let must = [("database.url", "postgres://db/x"), ("secrets.root_key", key)];
        let all = must.iter().chain(more);
        all.map(|(key, value)| (variable(key), (*value).to_owned())).collect()
    }

    fn faults(file: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let found = Config::from_sources(Some(file), &environment(more)).expect_err("is refused");
        found.into_iter().map(|fault| (fault.key.clone(), fault.to_string())).collect()
    }

    fn pem() -> String {
        let key = p256::SecretKey::from_slice(&[7; 32]).expect("a scalar");
        key.to_pkcs8_pem(Default::default()).expect("a key").to_string()
    }

    const GOOGLE: &str = "[social.providers.google]\nissuer = \"https://accounts.google.com\"\n\
                          client_id = \"shop\"\nclient_secret = \"hunter2\"\n\
                          redirect_uris = [\"https://shop.example/cb\", \"com.shop.app:/cb\"]\n";

    #[test]
    fn any_number_of_providers_comes_from_file_and_environment() {
        let pem = pem().replace('\n', "\\n");
        let more = [
            ("social.providers.google.client_id", "from the environment"),
            ("social.providers.apple.kind", "apple"),
            ("social.providers.apple.client_id", "example.shop"),
            ("social.providers.apple.team_id", "TEAM"),
            ("social.providers.apple.key_id", "KEY"),
            ("social.providers.apple.private_key", &pem),
            ("social.providers.apple.redirect_uris", "https://a.example/x,https://b.example/y"),
            ("social.providers.fb_2.kind", "facebook"),
            ("social.providers.fb_2.client_id", "1"),
            ("social.providers.fb_2.client_secret", "hunter2"),
            ("social.providers.fb_2.redirect_uris", "http://localhost:3000/cb"),
            ("social.providers.fb_2.graph_url", "http://127.0.0.1:1/graph"),
        ];
        let environment = environment(&more);
        let config = Config::from_sources(Some(GOOGLE), &environment).expect("is valid");
        let providers = &config.social.providers;
        assert_eq!(providers.keys().collect::<Vec<_>>(), ["apple", "fb_2", "google"]);
        let google = &providers["google"];
        assert_eq!(google.client_id, "from the environment");
        assert_eq!(google.client_secret.as_ref().map(SecretText::expose), Some("hunter2"));
        assert_eq!(google.scopes_or_usual(), ["openid", "email", "profile"]);
        assert_eq!(providers["apple"].issuer_or_usual(), "https://appleid.apple.com");
        assert_eq!(providers["apple"].redirect_uris.len(), 2);
        assert!(providers["fb_2"].authorize_url_or_usual().as_str().contains("facebook.com"));
        assert_eq!(providers["fb_2"].graph_url_or_usual().as_str(), "http://127.0.0.1:1/graph");
        let shown = format!("{config:?}{}", overview(None, &environment).expect_or_show());
        assert!(!shown.contains("hunter2") && !shown.contains("PRIVATE"), "{shown}");
    }

    trait Shown {
        fn expect_or_show(self) -> String;
    }

    impl Shown for Result<String, Vec<Fault>> {
        fn expect_or_show(self) -> String {
            self.unwrap_or_else(|faults| format!("{faults:?}"))
        }
    }

    #[test]
    fn secrets_come_from_files_too() {
        let path = std::env::temp_dir().join(format!("social-secret-{}", std::process::id()));
        std::fs::write(&path, "from a file\n").expect("a file");
        let named = path.display().to_string();
        let with = |key: &str, value: &str| {
            let mut all = environment(&[(key, value)]);
            all.insert(variable("social.providers.google.client_secret_file"), named.clone());
            Config::from_sources(Some(&GOOGLE.replace("client_secret", "#")), &all)
        };
        let config = with("http.workers", "1").expect("is valid");
        let secret = config.social.providers["google"].client_secret.clone().expect("is set");
        assert_eq!(secret.expose(), "from a file");
        let twice = with("social.providers.google.client_secret", "x").expect_err("is refused");
        assert!(twice[0].wrong.contains("twice"), "{twice:?}");
        std::fs::remove_file(path).expect("is removed");
    }

    #[test]
    fn every_fault_of_a_provider_names_its_key() {
        let google = |old: &str, new: &str| GOOGLE.replace(old, new);
        let section = "[social.providers.x]\n";
        let facebook = format!("{section}kind = \"facebook\"\nclient_id = \"1\"\n");
        let apple = format!(
            "{section}kind = \"apple\"\nclient_id = \"a\"\nredirect_uris = [\"https://a.b/c\"]\n"
        );
        let cases: Vec<(String, &[&str], &str)> = vec![
            (format!("{section}kind = \"saml\""), &["kind"], "choose one of"),
            (google("\"shop\"", "\"\""), &["client_id"], "not set"),
            (google("https://acc", "http://acc"), &["issuer"], "neither https"),
            (google("google.com\"", "google.com?a=b\""), &["issuer"], "no issuer"),
            (google("https://accounts.google.com", ""), &["issuer"], "not set"),
            (format!("{GOOGLE}scopes = [\"email\"]"), &["scopes"], "openid"),
            (format!("{GOOGLE}team_id = \"T\""), &["team_id"], "no use"),
            (format!("{GOOGLE}trust_email = \"always\""), &["trust_email"], "facebook only"),
            (google("com.shop.app:/cb", "javascript:alert(1)"), &["redirect_uris"], "nobody"),
            (google("com.shop.app:/cb", "http://shop.example/"), &["redirect_uris"], "nobody"),
            (google("com.shop.app:/cb", "https://shop.example/#x"), &["redirect_uris"], "nobody"),
            (facebook, &["client_secret", "redirect_uris"], "is"),
            (apple, &["team_id", "key_id", "private_key"], "is not set"),
            (google("google]", "Google]"), &[], "name the section"),
            (format!("{GOOGLE}client = \"x\""), &["client"], "google.client_id"),
            (format!("{GOOGLE}private_key_file = \"x\""), &["private_key_file"], "private_key"),
        ];
        for (text, keys, words) in cases {
            let found = faults(&text, &[]);
            for key in keys {
                let of_key = found.iter().find(|(found, _)| found.ends_with(&format!(".{key}")));
                let (_, said) = of_key.unwrap_or_else(|| panic!("{key}: {text}: {found:?}"));
                assert!(said.contains(words), "{said}");
                assert!(!said.contains("hunter2"), "{said}");
            }
            let expected = if keys.is_empty() { 4 } else { keys.len() };
            let distinct: BTreeSet<_> = found.iter().map(|(key, _)| key).collect();
            assert!(distinct.len() == expected || text.contains("saml"), "{text}: {found:?}");
        }
        assert!(faults("[social]\ntimeout_ms = 10000", &[])[0].1.contains("slow provider"));
    }

    #[test]
    fn default_toml_explains_every_key_of_a_provider() {
        for line in PROVIDER_DEFAULTS.lines().filter(|line| !line.is_empty()) {
            let key = line.split(' ').next().expect("a key");
            assert!(DEFAULTS.contains(&format!("\n# {key} = ")), "{key} is not explained");
        }
    }
}
