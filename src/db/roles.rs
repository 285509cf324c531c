//! Who the service is to the database: at best a role that owns nothing, and so cannot change what is
//! only ever appended to, whatever goes wrong in this program. The rights are in `roles/grants.sql`.

use super::pool::{DatabaseSettings, connect_once};
use super::{Connection, migrations};
use anyhow::{Context, ensure};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use secrecy::{ExposeSecret, SecretString};

/// The rights, as statements that may be repeated.
pub const GRANTS: &str = include_str!("roles/grants.sql");

/// A role for the service.
#[derive(Clone, Debug)]
pub struct ApplicationRole {
    pub name: String,
    /// Its password, should it have to be made; none where it signs in by other means.
    pub password: Option<SecretString>,
}

/// Who a connection works as.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Standing {
    #[diesel(sql_type = Text)]
    pub role: String,
    /// Whether it may do with the tables whatever it likes: it owns them, or is a superuser.
    #[diesel(sql_type = Bool)]
    pub owns: bool,
}

/// Gives the role its rights, after making it if there is none of that name. As the owner of the
/// tables, after the migrations. Answers with whether the role was made.
///
/// # Errors
/// A role that owns the tables itself; one that is to be made by somebody who may not make roles;
/// those of connecting and of the statements. Nothing is changed then.
#[expect(clippy::disallowed_methods, reason = "a tool's, once, with its own patience")]
pub async fn grant(settings: &DatabaseSettings, role: &ApplicationRole) -> anyhow::Result<bool> {
    let mut connection = connect_once(&migrations::patient(settings)).await?;
    connection
        .transaction(async |connection| {
            // Two at once would stumble over each other's rows of the catalogue.
            migrations::lock(connection).await?;
            let made = !exists(connection, &role.name).await?;
            if made {
                make(connection, role).await?;
            }
            ensure!(
                !owns(connection, &role.name).await?,
                "the role {} owns the tables or is a superuser: no right can be kept from it; \
                 choose another for database.application_role",
                role.name
            );
            diesel::sql_query("SELECT set_config('customer_service.application_role', $1, true)")
                .bind::<Text, _>(&role.name)
                .execute(connection)
                .await?;
            connection
                .batch_execute(GRANTS)
                .await
                .with_context(|| format!("the role {} cannot be given its rights", role.name))?;
            Ok(made)
        })
        .await
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

async fn exists(connection: &mut AsyncPgConnection, role: &str) -> QueryResult<bool> {
    let answer: Answer =
        diesel::sql_query("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS yes")
            .bind::<Text, _>(role)
            .get_result(connection)
            .await?;
    Ok(answer.yes)
}

async fn make(connection: &mut AsyncPgConnection, role: &ApplicationRole) -> anyhow::Result<()> {
    #[derive(QueryableByName)]
    struct Statement {
        #[diesel(sql_type = Text)]
        text: String,
    }
    // Quoted by the server: a statement of this kind takes no parameters.
    let statement: Statement = diesel::sql_query(
        "SELECT format('CREATE ROLE %I LOGIN', $1) || coalesce(format(' PASSWORD %L', $2), '') AS text",
    )
    .bind::<Text, _>(&role.name)
    .bind::<diesel::sql_types::Nullable<Text>, _>(
        role.password.as_ref().map(|password| password.expose_secret()),
    )
    .get_result(connection)
    .await?;
    // Its error would repeat nothing of the statement; the server's log may, as with every password.
    connection.batch_execute(&statement.text).await.with_context(|| {
        format!(
            "the role {} does not exist and cannot be made: make it (CREATE ROLE … LOGIN), or let \
             database.migration_url sign in as one that may",
            role.name
        )
    })
}

async fn owns(connection: &mut AsyncPgConnection, role: &str) -> QueryResult<bool> {
    let answer: Answer = diesel::sql_query(
        "SELECT pg_has_role($1, relowner, 'USAGE') AS yes FROM pg_class \
         WHERE oid = 'outbox_events'::regclass",
    )
    .bind::<Text, _>(role)
    .get_result(connection)
    .await?;
    Ok(answer.yes)
}

/// Who this connection works as.
///
/// # Errors
/// Those of the query.
pub async fn standing(mut conn: &Connection) -> QueryResult<Standing> {
    // Once, at the start.
    diesel::sql_query(
        "SELECT current_user::text AS role, pg_has_role(current_user, relowner, 'USAGE') AS owns \
         FROM pg_class WHERE oid = 'outbox_events'::regclass",
    )
    .get_result(&mut conn)
    .await
}
