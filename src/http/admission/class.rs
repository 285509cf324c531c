//! Which requests are kept up longest when more is asked than can be worked off: the class of every
//! route, stated here and nowhere else. A route that no rule names has none, and fails a test.

use actix_web::http::Method;

/// What a request is for, the most important first: a later one is refused before an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Whether and how the node works, and what mends it. Never refused.
    Health,
    /// What keeps those signed in who are.
    Refresh,
    Reads,
    Writes,
    /// Becoming a customer and proving to be one: a hash each, or somebody else's answer.
    SignIn,
    /// What asks for much at once, and nobody waits for before a screen.
    Export,
}

impl Class {
    /// All of them, the most important first.
    pub const ALL: [Class; 6] =
        [Class::Health, Class::Refresh, Class::Reads, Class::Writes, Class::SignIn, Class::Export];

    /// As metrics and the log name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Health => "health",
            Class::Refresh => "refresh",
            Class::Reads => "reads",
            Class::Writes => "writes",
            Class::SignIn => "sign_in",
            Class::Export => "export",
        }
    }

    /// The class of a request, by its path as it was asked for or by a route's template. `None`: no
    /// rule names it.
    pub fn of(method: &Method, path: &str) -> Option<Class> {
        RULES.iter().find(|rule| rule.means(method, path)).map(|rule| rule.class)
    }
}

/// The first rule that means a request is its own.
struct Rule {
    asked: Asked,
    place: Place,
    class: Class,
}

enum Asked {
    /// `GET`; `HEAD` has become one.
    Reading,
    /// Anything else.
    Changing,
    Anyhow,
}

enum Place {
    Is(&'static str),
    /// The path itself and whatever follows after a slash.
    Under(&'static str),
}

impl Rule {
    fn means(&self, method: &Method, path: &str) -> bool {
        let asked = match self.asked {
            Asked::Reading => method == Method::GET,
            Asked::Changing => method != Method::GET,
            Asked::Anyhow => true,
        };
        asked
            && match self.place {
                Place::Is(place) => path == place,
                Place::Under(place) => path
                    .strip_prefix(place)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            }
    }
}

const fn rule(asked: Asked, place: Place, class: Class) -> Rule {
    Rule { asked, place, class }
}

use Asked::{Anyhow, Changing, Reading};
use Place::{Is, Under};

static RULES: &[Rule] = &[
    rule(Anyhow, Under("/health"), Class::Health),
    rule(Anyhow, Is("/livez"), Class::Health),
    rule(Anyhow, Is("/readyz"), Class::Health),
    rule(Anyhow, Is("/metrics"), Class::Health),
    rule(Anyhow, Under("/ops"), Class::Health),
    // Who is refused here signs in anew, which costs the most of all.
    rule(Anyhow, Is("/v1/auth/refresh"), Class::Refresh),
    rule(Anyhow, Is("/v1/auth/logout"), Class::Refresh),
    // Other services look here before they believe a token.
    rule(Anyhow, Under("/.well-known"), Class::Refresh),
    rule(Anyhow, Under("/v1/admin/exports"), Class::Export),
    rule(Anyhow, Under("/v1/admin/analytics"), Class::Export),
    rule(Changing, Is("/v1/admin/imports"), Class::Export),
    rule(Changing, Is("/v1/admin/segments/preview"), Class::Export),
    rule(Anyhow, Under("/v1/me/privacy/export"), Class::Export),
    rule(Anyhow, Under("/v1/auth"), Class::SignIn),
    rule(Reading, Under("/v1/me"), Class::Reads),
    rule(Reading, Under("/v1/admin"), Class::Reads),
    rule(Reading, Under("/v1/wishlists"), Class::Reads),
    rule(Reading, Under("/v1/countries"), Class::Reads),
    // Texts that are made once, about the service itself.
    rule(Reading, Under("/docs"), Class::Reads),
    rule(Reading, Is("/openapi.json"), Class::Reads),
    rule(Reading, Is("/asyncapi.json"), Class::Reads),
    rule(Reading, Under("/schemas"), Class::Reads),
    rule(Reading, Under("/problems"), Class::Reads),
    rule(Changing, Under("/v1/me"), Class::Writes),
    rule(Changing, Under("/v1/admin"), Class::Writes),
];

#[cfg(test)]
pub(in crate::http) mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_request() {
        use Class::{Export, Health, Reads, Refresh, SignIn, Writes};
        for (method, path, class) in [
            ("GET", "/health/live", Some(Health)),
            ("GET", "/health/ready", Some(Health)),
            ("GET", "/ops", Some(Health)),
            ("GET", "/ops/stream", Some(Health)),
            ("POST", "/ops/actors/mailer/restart", Some(Health)),
            ("GET", "/operators", None),
            ("GET", "/healthy", None),
            ("POST", "/v1/auth/refresh", Some(Refresh)),
            ("POST", "/v1/auth/logout", Some(Refresh)),
            ("GET", "/.well-known/jwks.json", Some(Refresh)),
            ("POST", "/v1/auth/login", Some(SignIn)),
            ("POST", "/v1/auth/refreshing", Some(SignIn)),
            ("POST", "/v1/auth/register", Some(SignIn)),
            ("GET", "/v1/auth/social/example/authorize", Some(SignIn)),
            ("GET", "/v1/me", Some(Reads)),
            ("GET", "/v1/me/addresses/7", Some(Reads)),
            ("PATCH", "/v1/me", Some(Writes)),
            ("DELETE", "/v1/me/addresses/7", Some(Writes)),
            ("PUT", "/v1/me/addresses/7/default", Some(Writes)),
            ("POST", "/v1/me/password", Some(Writes)),
            ("GET", "/v1/me/privacy/export", Some(Export)),
            ("POST", "/v1/me/privacy/export", Some(Export)),
            ("GET", "/v1/me/privacy/export/7/download", Some(Export)),
            ("POST", "/v1/me/privacy/deletion", Some(Writes)),
            ("GET", "/v1/admin/customers", Some(Reads)),
            ("POST", "/v1/admin/customers/merge", Some(Writes)),
            ("GET", "/v1/admin/exports/customers", Some(Export)),
            ("GET", "/v1/admin/analytics/rfm", Some(Export)),
            ("POST", "/v1/admin/imports", Some(Export)),
            // what relieves the node stays possible for longer
            ("POST", "/v1/admin/imports/7/cancel", Some(Writes)),
            ("GET", "/v1/admin/imports/7", Some(Reads)),
            ("POST", "/v1/admin/segments/preview", Some(Export)),
            ("POST", "/v1/admin/segments", Some(Writes)),
            ("GET", "/v1/mexico", None),
            ("GET", "/", None),
            ("POST", "/docs", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Class::of(&method, path), class, "{method} {path}");
        }
    }

    #[test]
    fn classes_stand_in_the_order_in_which_they_are_kept_up() {
        assert!(Class::ALL.is_sorted());
        let names = Class::ALL.map(Class::as_str);
        assert_eq!(names, ["health", "refresh", "reads", "writes", "sign_in", "export"]);
    }

    /// Rules that none of these requests falls under: they name nothing that there is.
    pub(in crate::http) fn idle_rules(requests: &[(Method, String)]) -> Vec<usize> {
        let first = |(method, path): &(Method, String)| {
            RULES.iter().position(|rule| rule.means(method, path))
        };
        let used: Vec<_> = requests.iter().filter_map(first).collect();
        (0..RULES.len()).filter(|rule| !used.contains(rule)).collect()
    }
}
