//! What the configuration takes for granted of the database: looked at before anything starts, so that a
//! mistake is told once and at once, and not by every registration.

use super::settings;
use crate::config::Config;
use crate::db::{self, Database};
use anyhow::{bail, ensure};

/// # Errors
/// What is missing, in words for whoever configures the service; those of the database.
pub async fn check(config: &Config, database: &Database) -> anyhow::Result<()> {
    tell_standing(database).await?;
    check_groups(config, database).await?;
    check_default_segments(config, database).await
}

/// Says so where nothing but this program keeps messages and audit trail as they are.
async fn tell_standing(database: &Database) -> anyhow::Result<()> {
    let standing = database.read(|conn| Box::pin(db::roles::standing(conn))).await?;
    if standing.owns {
        tracing::warn!(
            role = standing.role,
            "the service works as the owner of its tables; see database.application_role"
        );
    }
    Ok(())
}

/// Rule L6: a default that does not exist would refuse every registration.
async fn check_groups(config: &Config, database: &Database) -> anyhow::Result<()> {
    let customers = &config.customers;
    let defaults = [
        ("customers.default_group_individual", &customers.default_group_individual),
        ("customers.default_group_business", &customers.default_group_business),
    ];
    for (key, code) in defaults {
        let code = code.clone();
        let asked = code.clone();
        let exists = database
            .read(move |connection| {
                let code = asked.clone();
                Box::pin(async move { db::groups::exists(connection, &code).await })
            })
            .await?;
        ensure!(exists, "{key} names the group {code:?}, which does not exist in customer_groups");
    }
    Ok(())
}

/// Rule L9: so would a default segment.
async fn check_default_segments(config: &Config, database: &Database) -> anyhow::Result<()> {
    let connection = database.get().await?;
    let fault = settings::default_segments(config).fault(&connection).await;
    match fault.map_err(db::Error::from)? {
        Some(fault) => bail!(fault),
        None => Ok(()),
    }
}
