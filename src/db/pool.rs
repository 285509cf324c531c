//! The connection pool and the runtime it lives on.
//!
//! Of a server that takes no writes the pool wants no connection: it opens none, and one whose server
//! has become such (a primary that was demoted, a balancer that points elsewhere) is dropped when it
//! is next asked for; so is one that fell silent (a server that is frozen, a network that is cut).

use super::caller::{Caller, note_abandoned};
use super::hosts::{Hosts, is_local};
use super::replica::{Replica, is_of_the_replica};
use super::{Error, transactions};
use diesel::QueryResult;
use diesel::connection::{CacheSize, InstrumentationEvent};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::SimpleAsyncConnection;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolableConnection, RecyclingMethod,
};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, TransactionManager,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::{counter, gauge};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::CancelToken;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

/// How long after a server refused a write or fell silent every connection is looked at before use.
const DOUBT: Duration = Duration::from_secs(10);

/// For that look.
const LOOK: Duration = Duration::from_secs(1);

/// How long a statement that nobody waits for any more may go on before it is cancelled: most are over
/// by then, and cancelling takes a connection of its own.
const MOMENT: Duration = Duration::from_millis(100);

/// What the network may take beside the server's own time limit before a read is given up.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// After this long without an acknowledgement of the network the connection is given up.
const DEAD_PEER: Duration = Duration::from_secs(10);

/// A connection on loan from the pool. To be held inside work spawned on the database's runtime.
pub type PooledConnection =
    bb8::PooledConnection<'static, AsyncDieselConnectionManager<AsyncPgConnection>>;

/// What is done through a pool, and so which server it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Everything: of the hosts that the address lists, the one that takes writes.
    Writes,
    /// Reads alone: any that answers.
    Reads,
    /// Reads alone, through a pooler that lends a session for one transaction at a time (PgBouncer):
    /// each read is one transaction, which brings its settings and leaves nothing behind.
    PooledReads,
}

/// How to reach the database and how long to wait for it.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// May list several hosts: `postgres://user:password@one:5432,two:5432/name`.
    pub url: String,
    pub purpose: Purpose,
    pub pool_size: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// For each host of the address.
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
    opener: Arc<Opener>,
    /// Where [`Database::read`] looks first.
    replica: Option<Arc<Replica>>,
}

/// Opens the connections of one pool.
struct Opener {
    settings: DatabaseSettings,
    hosts: Hosts,
    doubts: Arc<Doubts>,
}

/// When a server last refused a write because it takes none, or gave no answer.
#[derive(Default)]
struct Doubts(Mutex<Option<Instant>>);

impl Doubts {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn any_lately(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() < DOUBT)
    }
}

/// What a read is: work with one connection, run on the database's runtime.
pub type Work<'c, T> = BoxFuture<'c, Result<T, diesel::result::Error>>;

impl Database {
    /// A pool that opens connections as they are needed; the server need not be up.
    /// Must be called on `runtime`.
    pub fn new(settings: DatabaseSettings, runtime: Handle) -> Self {
        let hosts = Hosts::of(&settings.url);
        let doubts = Arc::new(Doubts::default());
        let opener = Arc::new(Opener { settings, hosts, doubts: doubts.clone() });
        let writes = opener.settings.purpose == Purpose::Writes;
        let mut config = ManagerConfig::default();
        // Asks the server nothing, save in doubt. A connection that is stale unnoticed is met by one
        // retry where nothing has begun (see `begin`), which spares every checkout a round trip.
        config.recycling_method = RecyclingMethod::CustomFunction(Box::new(move |connection| {
            check(connection, writes, doubts.any_lately())
        }));
        let for_setup = opener.clone();
        config.custom_setup = Box::new(move |_| {
            let opener = for_setup.clone();
            async move { opener.open("customer-service").await }.boxed()
        });
        let settings = &opener.settings;
        let manager = AsyncDieselConnectionManager::new_with_config(settings.url.clone(), config);
        let pool = Pool::builder()
            .max_size(settings.pool_size)
            .connection_timeout(settings.acquire_timeout)
            .max_lifetime(Some(settings.max_connection_age))
            .idle_timeout(None)
            .build_unchecked(manager);
        Self { pool, runtime, opener, replica: None }
    }

    /// The same pool, whose [`Database::read`] looks at a replica first.
    #[must_use]
    pub fn reading_from(self, replica: Option<Replica>) -> Self {
        Self { replica: replica.map(Arc::new), ..self }
    }

    /// Runs `work` on the database's runtime with a connection of the pool. A connection that turns
    /// out to be dead is replaced once: `work` only reads, so running it again is harmless.
    ///
    /// Dropping the future, or the end of the caller's time ([`crate::deadline`]), gives up the wait for
    /// a connection, and has the server cancel a statement that does not end by itself in a moment.
    ///
    /// # Errors
    /// Those of the query; [`Error::Unavailable`] when no connection can be had in time.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: for<'c> Fn(&'c mut AsyncPgConnection) -> Work<'c, T> + Send + Sync + 'static,
        T: Send + 'static,
    {
        let database = self.clone();
        let (mut caller, _waits) = Caller::new();
        let task = self.runtime.spawn(async move {
            if let Some(replica) = &database.replica {
                match database.attempt_at(replica, &work, &mut caller).await {
                    Err(error) if is_of_the_replica(&error) => Replica::answered("primary"),
                    answer => {
                        Replica::answered("replica");
                        return answer;
                    }
                }
            }
            let first = database.attempt(&work, &mut caller).await;
            match first {
                Err(error @ Error::Unavailable(_)) if !error.is_silence() => {
                    database.attempt(&work, &mut caller).await
                }
                other => other,
            }
        });
        task.await.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
    }

    async fn attempt<T, F>(&self, work: &F, caller: &mut Caller) -> Result<T, Error>
    where
        F: for<'c> Fn(&'c mut AsyncPgConnection) -> Work<'c, T> + Sync,
    {
        let connection = tokio::select! {
            biased;
            connection = self.get() => connection?,
            () = caller.gone() => {
                note_abandoned("waiting");
                return Err(Error::abandoned());
            }
        };
        let connection = self.prepared(connection, caller).await?;
        self.carry_out(connection, work, caller).await
    }

    /// The server ends a statement that takes too long; one that cannot say so is given up here. One
    /// that nobody waits for any more mostly ends in a moment; otherwise the server is told.
    async fn carry_out<T, F>(
        &self,
        mut connection: PooledConnection,
        work: &F,
        caller: &mut Caller,
    ) -> Result<T, Error>
    where
        F: for<'c> Fn(&'c mut AsyncPgConnection) -> Work<'c, T> + Sync,
    {
        let limit = self.opener.settings.statement_timeout + ON_THE_WAY;
        let token = connection.cancel_token();
        let mut cancelled = false;
        let done = {
            let mut running = std::pin::pin!(tokio::time::timeout(limit, work(&mut connection)));
            tokio::select! {
                biased;
                done = &mut running => done,
                () = caller.gone() => match tokio::time::timeout(MOMENT, &mut running).await {
                    Ok(done) => done,
                    Err(_) => {
                        note_abandoned("running");
                        cancelled = true;
                        self.opener.cancel(token).await;
                        running.await
                    }
                }
            }
        };
        if cancelled {
            // The server may carry the cancelling out only after the statement has ended by itself, and
            // would then hit the next one on this connection, whosever it is: there must be none.
            let status = AnsiTransactionManager::transaction_manager_status_mut(&mut *connection);
            status.set_in_error();
        }
        let Ok(done) = done else {
            self.opener.doubts.note();
            return Err(Error::silent());
        };
        if !cancelled {
            self.close(&mut connection).await;
        }
        Ok(done?)
    }

    async fn attempt_at<T, F>(
        &self,
        replica: &Replica,
        work: &F,
        caller: &mut Caller,
    ) -> Result<T, Error>
    where
        F: for<'c> Fn(&'c mut AsyncPgConnection) -> Work<'c, T> + Sync,
    {
        let connection = tokio::select! {
            biased;
            connection = replica.caught_up(self) => connection?,
            () = caller.gone() => {
                note_abandoned("waiting");
                return Err(Error::abandoned());
            }
        };
        replica.database().carry_out(connection, work, caller).await
    }

    /// A connection to read with: behind a pooler, one with a transaction open.
    pub(super) async fn open(&self) -> Result<PooledConnection, Error> {
        let (caller, _waits) = Caller::new();
        self.prepared(self.get().await?, &caller).await
    }

    /// Where a transaction is opened anyway, its statements get no more time than the caller has left.
    async fn prepared(
        &self,
        mut connection: PooledConnection,
        caller: &Caller,
    ) -> Result<PooledConnection, Error> {
        let settings = &self.opener.settings;
        if settings.purpose == Purpose::PooledReads {
            let limit = caller.at_most(settings.statement_timeout);
            let begin = format!(
                "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
                 SET LOCAL timezone = 'UTC'",
                // 0 would be none
                limit.as_millis().max(1),
                settings.lock_timeout.as_millis(),
            );
            AnsiTransactionManager::begin_transaction_sql(&mut *connection, &begin).await?;
        }
        Ok(connection)
    }

    /// Ends what [`Database::open`] began. Nothing was written, so there is nothing to keep.
    pub(super) async fn close(&self, connection: &mut PooledConnection) {
        if self.opener.settings.purpose == Purpose::PooledReads {
            transactions::rollback(connection).await;
        }
    }

    /// Whether a connection can be had and answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.read(|connection| async move { connection.batch_execute("SELECT 1").await }.boxed())
            .await
    }

    /// A connection of the pool. Only inside work spawned with [`Database::spawn`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none can be had in time.
    pub async fn get(&self) -> Result<PooledConnection, Error> {
        self.pool.get_owned().await.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// A connection of one's own, outside the pool: for who holds session-level locks, or reads for long.
    /// Of a database that reads from a replica it is the replica's, however far that has come; never a
    /// pooler's, which has no sessions to lend.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn dedicated(&self, application_name: &str) -> Result<AsyncPgConnection, Error> {
        if let Some(opener) = self.replica.as_ref().map(|replica| &replica.database().opener)
            && opener.settings.purpose == Purpose::Reads
            && let Ok(connection) = opener.open(application_name).await
        {
            return Ok(connection);
        }
        self.opener
            .open(application_name)
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

    /// How long callers have waited for a connection of this pool so far.
    pub fn waits(&self) -> PoolWaits {
        let gets = self.pool.state().statistics;
        let callers = gets.get_direct + gets.get_waited + gets.get_timed_out;
        PoolWaits { callers, waited: gets.get_wait_time }
    }

    /// Sets the metrics of this pool, and of its replica's, as they are now.
    pub fn measure(&self, name: &'static str, replica_name: &'static str) {
        measure(&self.pool.state(), self.opener.settings.pool_size, name);
        if let Some(replica) = self.replica.as_ref().map(|replica| replica.database()) {
            measure(&replica.pool.state(), replica.opener.settings.pool_size, replica_name);
        }
    }
}

/// How long callers have waited for a connection since the pool was made.
#[derive(Clone, Copy, Debug)]
pub struct PoolWaits {
    callers: u64,
    waited: Duration,
}

impl PoolWaits {
    /// How long one waited on average since an earlier look; nothing where nobody asked.
    pub fn mean_since(&self, earlier: &PoolWaits) -> Duration {
        let callers =
            u32::try_from(self.callers.saturating_sub(earlier.callers)).unwrap_or(u32::MAX);
        let waited = self.waited.saturating_sub(earlier.waited);
        waited.checked_div(callers).unwrap_or_default()
    }
}

/// Named as OpenTelemetry names them.
fn measure(state: &bb8::State, size: u32, name: &'static str) {
    const POOL: &str = "db_client_connection_pool_name";
    const STATE: &str = "db_client_connection_state";
    let (idle, gets) = (state.idle_connections, &state.statistics);
    let used = state.connections.saturating_sub(idle);
    gauge!("db_client_connection_count", POOL => name, STATE => "idle").set(f64::from(idle));
    gauge!("db_client_connection_count", POOL => name, STATE => "used").set(f64::from(used));
    gauge!("db_client_connection_max", POOL => name).set(f64::from(size));
    counter!("db_client_connection_waits_total", POOL => name).absolute(gets.get_waited);
    counter!("db_client_connection_timeouts_total", POOL => name).absolute(gets.get_timed_out);
}

impl Opener {
    /// Opens a connection with this service's session settings, to the first host that serves.
    async fn open(&self, application_name: &str) -> diesel::ConnectionResult<AsyncPgConnection> {
        let bad = |error: &str| diesel::ConnectionError::BadConnection(error.to_owned());
        let mut last = bad("the address is not one of PostgreSQL");
        for (index, mut config) in self.hosts.in_order() {
            self.prepare(&mut config, application_name);
            let connecting = connect(config, self.settings.purpose);
            match tokio::time::timeout(self.settings.connect_timeout, connecting).await {
                Ok(Ok(mut connection)) => {
                    self.hosts.served(index);
                    self.listen(&mut connection);
                    return Ok(connection);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = bad("timed out while connecting"),
            }
        }
        Err(last)
    }

    fn prepare(&self, config: &mut tokio_postgres::Config, application_name: &str) {
        let settings = &self.settings;
        config.connect_timeout(settings.connect_timeout).application_name(application_name);
        config
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(DEAD_PEER);
        if settings.purpose == Purpose::Writes {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // A pooler knows of no such options, and would have to give each of its sessions ours.
        if settings.purpose != Purpose::PooledReads {
            config.options(format!(
                "-c statement_timeout={} -c lock_timeout={} \
                 -c idle_in_transaction_session_timeout=5000 -c timezone=UTC",
                settings.statement_timeout.as_millis(),
                settings.lock_timeout.as_millis(),
            ));
        }
    }

    /// Has the server end what a connection is at. Whether it did shows there.
    async fn cancel(&self, token: CancelToken) {
        let plain = self.hosts.in_order().all(|(_, config)| is_plain(&config));
        let told = async {
            match plain {
                true => token.cancel_query(tokio_postgres::NoTls).await,
                false => token.cancel_query(tls()).await,
            }
        };
        match tokio::time::timeout(LOOK, told).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => tracing::debug!("a statement could not be cancelled"),
        }
    }

    /// Prepares what lives as long as the connection.
    fn listen(&self, connection: &mut AsyncPgConnection) {
        if self.settings.purpose == Purpose::PooledReads {
            // A statement that was prepared in one transaction is not there in the next.
            connection.set_prepared_statement_cache_size(CacheSize::Disabled);
        }
        let doubts = self.doubts.clone();
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::FinishQuery { error: Some(error), .. } = event
                && is_read_only(error)
            {
                doubts.note();
            }
        });
    }
}

fn is_read_only(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _))
}

/// Whether a connection of the pool is still one to have: alive as far as this side knows, and, in
/// doubt, to a server that answers and takes writes.
fn check(
    connection: &mut AsyncPgConnection,
    writes: bool,
    in_doubt: bool,
) -> BoxFuture<'_, QueryResult<()>> {
    async move {
        if connection.is_broken() {
            return Err(DieselError::BrokenTransactionManager);
        }
        if !in_doubt {
            return Ok(());
        }
        let look = async {
            match writes {
                true => reads_only(connection).await,
                // In one message, since behind a pooler no transaction is open.
                false => connection.batch_execute("SELECT 1").await.map(|()| false),
            }
        };
        match tokio::time::timeout(LOOK, look).await {
            Ok(Ok(false)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(true)) | Err(_) => Err(DieselError::NotFound),
        }
    }
    .boxed()
}

async fn reads_only(connection: &mut AsyncPgConnection) -> QueryResult<bool> {
    #[derive(diesel::QueryableByName)]
    struct Mode {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        reads_only: bool,
    }
    let sql = "SELECT current_setting('transaction_read_only')::bool AS reads_only";
    let mode: Mode = diesel::sql_query(sql).get_result(connection).await?;
    Ok(mode.reads_only)
}

async fn connect(
    config: tokio_postgres::Config,
    purpose: Purpose,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    if is_plain(&config) {
        let (client, driver) = config.connect(tokio_postgres::NoTls).await.map_err(bad)?;
        return adopt(client, driver, purpose).await;
    }
    let (client, driver) = config.connect(tls()).await.map_err(bad)?;
    adopt(client, driver, purpose).await
}

/// Whether this host is spoken to without TLS.
fn is_plain(config: &tokio_postgres::Config) -> bool {
    config.get_ssl_mode() == SslMode::Disable || is_local(config)
}

fn tls() -> tokio_postgres_rustls::MakeRustlsConnect {
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tokio_postgres_rustls::MakeRustlsConnect::new(tls)
}

/// Makes it diesel's, which prepares statements for it. A pooler must not lend another session for each
/// of their halves: they are put into one transaction, and with it go from that session.
async fn adopt<S>(
    client: tokio_postgres::Client,
    driver: tokio_postgres::Connection<tokio_postgres::Socket, S>,
    purpose: Purpose,
) -> diesel::ConnectionResult<AsyncPgConnection>
where
    S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    if purpose != Purpose::PooledReads {
        return AsyncPgConnection::try_from_client_and_connection(client, driver).await;
    }
    tokio::spawn(driver);
    client.batch_execute("BEGIN").await.map_err(bad)?;
    let mut connection = AsyncPgConnection::try_from(client).await?;
    let ended = connection.batch_execute("ROLLBACK").await;
    ended.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// The driver's texts may quote the address with its password: only their kind is passed on.
fn bad(error: tokio_postgres::Error) -> diesel::ConnectionError {
    let text = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
    diesel::ConnectionError::BadConnection(text)
}

/// For tools that run before the pool exists: one connection to `url`.
///
/// # Errors
/// Those of connecting.
pub async fn connect_once(
    settings: &DatabaseSettings,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    let hosts = Hosts::of(&settings.url);
    let opener = Opener { settings: settings.clone(), hosts, doubts: Arc::default() };
    opener.open("customer-service-tool").await
}

const _: fn() = || {
    fn is_connection<C: AsyncConnection>() {}
    is_connection::<AsyncPgConnection>();
};
