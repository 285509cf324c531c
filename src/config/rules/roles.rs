//! Who is who to the database.

use super::{DatabaseConfig, Fault, ServerUrl, postgres};

/// PostgreSQL cuts longer names off.
const NAME_BYTES_MAX: usize = 63;

pub(super) fn check(database: &DatabaseConfig, faults: &mut Vec<Fault>) {
    if let Some(url) = &database.migration_url {
        postgres("database.migration_url", url, faults);
    }
    let role = database.application_role.as_str();
    if role.is_empty() {
        return;
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if role.len() > NAME_BYTES_MAX || !role.bytes().all(plain) || role.starts_with("pg_") {
        faults.push(Fault::new(
            "database.application_role",
            "is no name that needs no quotes",
            "write 1 to 63 of a-z 0-9 _, not beginning with pg_",
        ));
    }
    // Without an address of the owner, url is the owner's: the environment of a migrate.
    let Some(owner) = &database.migration_url else { return };
    if user(&database.url).is_some_and(|user| user != role) {
        faults.push(Fault::new(
            "database.url",
            "signs in as another role than database.application_role, whose rights it is to have",
            "sign in as that role, or name the one of database.url",
        ));
    }
    if user(owner).is_some_and(|user| user == role) {
        faults.push(Fault::new(
            "database.migration_url",
            "signs in as database.application_role, which cannot give itself rights",
            "sign in as the owner of the tables",
        ));
    }
}

fn user(url: &ServerUrl) -> Option<String> {
    let parsed = url.expose().parse::<tokio_postgres::Config>().ok()?;
    parsed.get_user().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The keys at fault, of the database's roles.
    fn faults(url: &str, owner: &str, role: &str) -> Vec<String> {
        let file = format!(
            "[database]\nurl = \"{url}\"\nmigration_url = \"{owner}\"\napplication_role = \"{role}\"\n"
        );
        let faults = Config::from_sources(Some(&file), &Default::default()).unwrap_err();
        let keys = faults.into_iter().map(|fault| fault.key);
        keys.filter(|key| key.starts_with("database.")).collect()
    }

    #[test]
    fn owner_and_application_role_are_two() {
        let (app, own) = ("postgres://app:a@db/shop", "postgres://own:b@db/shop");
        assert!(faults(app, own, "app").is_empty());
        assert!(faults(app, "", "app").is_empty());
        assert!(faults(own, "", "app").is_empty(), "where migrate runs, url may be the owner's");
        assert_eq!(faults(own, own, "app"), ["database.url"]);
        assert_eq!(faults(app, app, "app"), ["database.migration_url"]);
        for name in ["", "shop_1"] {
            assert!(faults("postgres://db/shop", "postgres://db/shop", name).is_empty(), "{name}");
        }
        for name in ["App", "pg_app", "a-b", "a b", &"a".repeat(64)] {
            assert!(faults(app, "", name).contains(&"database.application_role".to_owned()));
        }
    }
}
