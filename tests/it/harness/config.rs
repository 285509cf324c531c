//! The configuration that nobody changed.

use customer_service::config::Config;

/// The defaults, with what has none.
pub fn defaults() -> Config {
    let needed = [
        ("CUSTOMER_SERVICE__DATABASE__URL", "postgres://localhost/none"),
        ("CUSTOMER_SERVICE__SECRETS__ROOT_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    let environment = needed.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Config::from_sources(None, &environment.into()).unwrap()
}
