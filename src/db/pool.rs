//! The connection pool and the runtime it lives on.

use super::Error;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;

/// A connection on loan from the pool. To be held inside work spawned on the database's runtime.
pub type PooledConnection =
    bb8::PooledConnection<'static, AsyncDieselConnectionManager<AsyncPgConnection>>;

/// How to reach the database and how long to wait for it.
#[derive(Clone)]
pub struct DatabaseSettings {
    pub url: String,
    pub pool_size: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    pub connect_timeout: Duration,
    /// Longest run of one statement; enforced by the server.
    pub statement_timeout: Duration,
    /// Longest wait for one lock; enforced by the server.
    pub lock_timeout: Duration,
    /// Age at which a connection is replaced, so that its plans and memory do not go stale.
    pub max_connection_age: Duration,
}

/// The database: a pool whose connections live on one runtime.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    runtime: Handle,
    settings: DatabaseSettings,
}

/// What a read is: work with one connection, run on the database's runtime.
pub type Work<'c, T> = BoxFuture<'c, Result<T, diesel::result::Error>>;

impl Database {
    /// A pool that opens connections as they are needed; the server need not be up.
    /// Must be called on `runtime`.
    pub fn new(settings: DatabaseSettings, runtime: Handle) -> Self {
        let mut config = ManagerConfig::default();
        // A stale connection is met by one retry where nothing has begun (see `begin`), which
        // spares every other checkout a round trip.
        config.recycling_method = RecyclingMethod::Fast;
        let for_setup = settings.clone();
        config.custom_setup = Box::new(move |_| {
            let settings = for_setup.clone();
            async move { establish(&settings, "customer-service").await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(settings.url.clone(), config);
        let pool = Pool::builder()
            .max_size(settings.pool_size)
            .connection_timeout(settings.acquire_timeout)
            .max_lifetime(Some(settings.max_connection_age))
            .idle_timeout(None)
            .build_unchecked(manager);
        Self { pool, runtime, settings }
    }

    /// Runs `work` on the database's runtime with a connection of the pool. A connection that turns
    /// out to be dead is replaced once: `work` only reads, so running it again is harmless.
    ///
    /// # Errors
    /// Those of the query; [`Error::Unavailable`] when no connection can be had in time.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: for<'c> Fn(&'c mut AsyncPgConnection) -> Work<'c, T> + Send + Sync + 'static,
        T: Send + 'static,
    {
        let database = self.clone();
        let task = self.runtime.spawn(async move {
            let first = database.attempt(&work).await;
            match first {
                Err(Error::Unavailable(_)) => database.attempt(&work).await,
                other => other,
            }
        });
        task.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
    }

    async fn attempt<T, F>(&self, work: &F) -> Result<T, Error>
    where
        F: for<'c> Fn(&'c mut AsyncPgConnection) -> Work<'c, T> + Sync,
    {
        let mut connection = self.get().await?;
        Ok(work(&mut connection).await?)
    }

    /// Whether a connection can be had and answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.read(|connection| {
            async move {
                diesel_async::SimpleAsyncConnection::batch_execute(connection, "SELECT 1").await
            }
            .boxed()
        })
        .await
    }

    /// A connection of the pool. Only inside work spawned with [`Database::spawn`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none can be had in time.
    pub async fn get(&self) -> Result<PooledConnection, Error> {
        self.pool.get_owned().await.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// A connection of one's own, outside the pool: for who holds session-level locks.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn dedicated(&self, application_name: &str) -> Result<AsyncPgConnection, Error> {
        establish(&self.settings, application_name)
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Runs `work` on the database's runtime.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }

    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Open and idle connections, for metrics.
    pub fn connections(&self) -> (u32, u32) {
        let state = self.pool.state();
        (state.connections, state.idle_connections)
    }
}

/// Opens a connection with this service's session settings.
async fn establish(
    settings: &DatabaseSettings,
    application_name: &str,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    let bad = |error: String| diesel::ConnectionError::BadConnection(error);
    let mut config: tokio_postgres::Config = settings
        .url
        .parse()
        .map_err(|_| bad("database.url is not a PostgreSQL address".to_owned()))?;
    config.connect_timeout(settings.connect_timeout).application_name(application_name).options(format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=5000 \
         -c timezone=UTC",
        settings.statement_timeout.as_millis(),
        settings.lock_timeout.as_millis(),
    ));
    config.keepalives_idle(Duration::from_secs(5));
    let connecting = connect(config);
    match tokio::time::timeout(settings.connect_timeout, connecting).await {
        Ok(connection) => connection,
        Err(_) => Err(bad("timed out while connecting".to_owned())),
    }
}

async fn connect(config: tokio_postgres::Config) -> diesel::ConnectionResult<AsyncPgConnection> {
    // The driver's texts may quote the address with its password: only their kind is passed on.
    let bad = |error: tokio_postgres::Error| {
        let text =
            error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
        diesel::ConnectionError::BadConnection(text)
    };
    if config.get_ssl_mode() == SslMode::Disable || is_local(&config) {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(bad)?;
        return AsyncPgConnection::try_from_client_and_connection(client, connection).await;
    }
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
    let (client, connection) = config.connect(tls).await.map_err(bad)?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// Sockets and loopback carry no TLS unless the address asks for it (`sslmode=require`).
fn is_local(config: &tokio_postgres::Config) -> bool {
    use tokio_postgres::config::Host;
    config.get_ssl_mode() == SslMode::Prefer
        && config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
            Host::Unix(_) => true,
        })
}

/// For tools that run before the pool exists: one connection to `url`.
///
/// # Errors
/// Those of connecting.
pub async fn connect_once(
    settings: &DatabaseSettings,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    establish(settings, "customer-service-tool").await
}

const _: fn() = || {
    fn is_connection<C: AsyncConnection>() {}
    is_connection::<AsyncPgConnection>();
};
