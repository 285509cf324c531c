//! The command line. It reads the configuration, hands over to `app`, and turns the end of it into
//! an exit code: 0 done, 1 failed, 2 not configured or not called properly.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Parser, Subcommand};
use customer_service::actors::dead_letters::is_reason;
use customer_service::actors::imports::settings::{DELIMITERS, Format};
use customer_service::app;
use customer_service::config::{self, Config, Fault};
use customer_service::db::outbox_parked::State;
use customer_service::domain::audit_chain::Hash;
use customer_service::security::audit_seal::AuditPublicKey;
use customer_service::telemetry::{self, LogTarget};
use uuid::Uuid;

mod health;
mod progress;
mod segments;
mod top;

use segments::SegmentCommand;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration, or the way it is asked for, is at fault. clap uses the same code.
const EXIT_NOT_CONFIGURED: u8 = 2;

/// The service of a shop that knows its customers.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 configuration or command line at fault.\n\
                  Settings are listed in config/default.toml."
)]
struct Cli {
    /// Configuration file, above the defaults and below the environment
    #[arg(long, global = true, value_name = "FILE", env = "CUSTOMER_SERVICE_CONFIG")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service until it is told to stop
    Serve,
    /// Bring the database to the version that this binary needs
    Migrate,
    /// Show the effective configuration, or everything that is wrong with it
    CheckConfig,
    /// Ask the service that runs on this machine whether it takes requests; exit code 1 where it does not
    Health,
    /// Watch one node live: its queues, its actors, what waits; ends at ctrl-c
    Top(top::TopArguments),
    /// Keys of staff and of other services
    #[command(subcommand)]
    Key(KeyCommand),
    /// Import customers from a file. Killed and run again with the same file, it goes on where it was
    #[command(
        after_help = "Exit codes: 0 every row was imported, 1 failed (run it again to go on), \
        2 configuration, command line or file at fault, 3 done, but some rows were refused.\n\
        Fields and examples are in docs/imports.md."
    )]
    Import(ImportArguments),
    /// Compare what is kept of orders with what it comes from, and repair what differs. Killed and run
    /// again, it goes on where it was
    #[command(
        after_help = "Exit codes: 0 nothing differs any more, 1 failed or the order service could not be asked,\n\
        2 configuration or command line at fault, 3 done, but some differences were left.\n\
        docs/orders.md explains."
    )]
    Reconcile(ReconcileArguments),
    /// Write data of the service to standard output
    #[command(subcommand)]
    Export(ExportCommand),
    /// Messages that could not be published, and messages to be published once more
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Compute anew what figures about customers are judged by
    #[command(subcommand)]
    Analytics(AnalyticsCommand),
    /// Definitions of segments
    #[command(subcommand)]
    Segment(SegmentCommand),
    /// The sealed audit trail
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Who was erased, and is to stay so
    #[command(subcommand)]
    Privacy(progress::privacy::PrivacyCommand),
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Walk along the chain of checkpoints and tell what is broken first
    #[command(
        after_help = "Exit codes: 0 intact, 1 failed, 2 configuration or command line at fault, 3 broken.\n\
        docs/audit.md explains."
    )]
    Verify {
        /// Another public key that checkpoints may be signed by, such as that of a former root key
        #[arg(long, value_name = "KEY", value_parser = progress::audit::key)]
        trust: Vec<AuditPublicKey>,
        /// A checkpoint that was noted elsewhere and must be there, as verify prints it
        #[arg(long, value_name = "NUMBER:HASH", value_parser = progress::audit::noted)]
        checkpoint: Option<(i64, Hash)>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print what shows, without the database, that an entry is in the chain
    Proof {
        /// The entry's id
        entry: Uuid,
    },
    /// Print the public key that checkpoints are signed by
    Key,
}

#[derive(Subcommand)]
enum OutboxCommand {
    /// Who relays which shards, and how many messages are kept back
    Status,
    /// List messages that are kept back, in the order of their ids
    Parked {
        /// Only those in this state: trying, parked, behind, released, published, discarded
        #[arg(long, value_parser = progress::outbox::state)]
        state: Option<State>,
        /// Only messages of this type, such as customer.updated
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only those about this customer
        #[arg(long, value_name = "ID")]
        customer: Option<Uuid>,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show one message that is kept back
    Show {
        /// The message id
        message: Uuid,
    },
    /// Have one parked message published again, or all that fit
    Replay {
        /// The message id
        #[arg(required_unless_present = "all", conflicts_with_all = ["all", "kind", "customer"])]
        message: Option<Uuid>,
        /// All that are parked, up to 10 000
        #[arg(long)]
        all: bool,
        /// Of them, only messages of this type
        #[arg(long = "type", value_name = "TYPE", requires = "all")]
        kind: Option<String>,
        /// Of them, only those about this customer
        #[arg(long, value_name = "ID", requires = "all")]
        customer: Option<Uuid>,
    },
    /// Give one message up for good, so that later ones of its customer go on
    Discard {
        /// The message id
        message: Uuid,
        /// A word or two of a-z, 0-9, _ and -, for the audit
        #[arg(long, value_parser = reason)]
        reason: String,
    },
    /// Publish messages about a customer once more, to the queue of one consumer
    ReplayCustomer {
        /// The customer's id
        customer: Uuid,
        /// The first message, by its number among the customer's
        #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(1..))]
        from: i64,
        /// The last one; otherwise the latest
        #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(1..))]
        to: Option<i64>,
        /// One of those that outbox.replay_queues allows
        #[arg(long)]
        queue: String,
    },
}

#[derive(Subcommand)]
enum AnalyticsCommand {
    /// Fit the models of purchases (BG/NBD) and of their value (Gamma-Gamma) to all customers
    Refit,
    /// Compute the cut points of RFM scores
    Rfm,
}

#[derive(clap::Args)]
struct ImportArguments {
    /// CSV with a header, or NDJSON; UTF-8
    file: PathBuf,
    /// csv or ndjson; otherwise by the file's name
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// A column that stands for a field: --map 'First Name=first_name'; field - reads over it
    #[arg(long, value_name = "COLUMN=FIELD")]
    map: Vec<String>,
    /// Read over columns that are no field, instead of refusing the file
    #[arg(long)]
    ignore_unknown: bool,
    /// Between the columns of CSV: , ; | or tab
    #[arg(long, default_value = ",", value_parser = delimiter)]
    delimiter: char,
    /// For hashes of Firebase: ln=14,r=8,sep=Bw==,key=…
    #[arg(
        long,
        value_name = "PARAMETERS",
        env = "CUSTOMER_IMPORT_HASH_PARAMETERS",
        hide_env_values = true
    )]
    hash_parameters: Option<String>,
    /// Judge every row and import none
    #[arg(long)]
    dry_run: bool,
    /// Write what is wrong with which row to this file, .csv or .ndjson
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// Most rows a second; otherwise imports.rows_per_second
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Import a file that was imported before once more
    #[arg(long)]
    again: bool,
}

#[derive(clap::Args)]
struct ReconcileArguments {
    /// Of this customer only
    #[arg(long, value_name = "ID")]
    customer: Option<Uuid>,
    /// Say what differs, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// First hold the orders against what the order service says now
    #[arg(long)]
    orders: bool,
}

#[derive(Subcommand)]
enum ExportCommand {
    /// All customers with profile, preferences and addresses, by the names that an import reads
    Customers {
        /// ndjson or csv
        #[arg(long, default_value = "ndjson", value_parser = format)]
        format: Format,
    },
}

fn reason(text: &str) -> Result<String, String> {
    is_reason(text)
        .then(|| text.to_owned())
        .ok_or_else(|| "1 to 64 of a-z, 0-9, _ and -".to_owned())
}

fn format(text: &str) -> Result<Format, String> {
    Format::parse(text).ok_or_else(|| "csv or ndjson".to_owned())
}

fn delimiter(text: &str) -> Result<char, String> {
    match text {
        "tab" | "\\t" => Ok('\t'),
        _ => match text.chars().collect::<Vec<_>>()[..] {
            [sign] if DELIMITERS.contains(&sign) => Ok(sign),
            _ => Err("one of , ; | and tab".to_owned()),
        },
    }
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key and show it, once
    Create {
        /// What the key is for, to be recognised in the list and in the audit
        #[arg(long)]
        name: String,
        /// What the key may do, separated by commas: customers:read,customers:write
        #[arg(long, required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List all keys
    List,
    /// End a key; calls that use it are refused from then on
    Revoke {
        /// Identifier, as `key list` shows it
        id: String,
    },
    /// Give the running nodes a new key to sign access tokens with; no request fails by it
    RotateSigning {
        /// In an emergency: revoke every key so far, at once. All access tokens stop working
        #[arg(long)]
        now: bool,
    },
    /// Keys that sign access tokens
    #[command(subcommand)]
    Signing(SigningCommand),
    /// Wrap the keys of all customers by the first of secrets.wrapping_keys, while the service runs
    #[command(
        after_help = "First add the new key behind the others and restart every node, then put it first and \
        restart them again:\nno node meets a key that it cannot open. Killed and run again, this goes on. \
        When it is done, the old key can go."
    )]
    RotateCustomers,
    /// Keys that wrap the keys of customers
    #[command(subcommand)]
    Customers(CustomersCommand),
}

#[derive(Subcommand)]
enum CustomersCommand {
    /// List them, the one that wraps first, each with the number of keys that it wraps
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum SigningCommand {
    /// List them, the newest first
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Why a command did not end well.
enum Failure {
    NotConfigured(Vec<Fault>),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.into())
    }
}

fn main() -> ExitCode {
    // in a build for tests: faults at the places that the variable FAILPOINTS names
    let _faults = fail::has_failpoints().then(fail::FailScenario::setup);
    let cli = Cli::parse();
    // every TLS client asks for the process's provider; a second one cannot have been installed,
    // for nothing has run before this line
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(cli) {
        Ok(code) => code,
        Err(Failure::NotConfigured(faults)) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            let count = faults.len();
            eprintln!(
                "configuration is at fault in {count} place{}",
                if count == 1 { "" } else { "s" }
            );
            ExitCode::from(EXIT_NOT_CONFIGURED)
        }
        Err(Failure::Failed(error)) => {
            // the alternate form is one line: the error and its causes
            eprintln!("customer-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let environment = environment();
    let path = cli.config.as_deref();
    if let Command::CheckConfig = cli.command {
        let overview = config::overview(path, &environment).map_err(Failure::NotConfigured)?;
        io::stdout().write_all(overview.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Health = cli.command {
        return health::run(path, &environment);
    }
    if let Command::Top(arguments) = &cli.command {
        return top::run(path, &environment, arguments);
    }
    if let Command::Segment(command) = cli.command {
        return segments::run(path, &environment, command);
    }
    let config = Config::load(path, &environment).map_err(Failure::NotConfigured)?;
    match cli.command {
        // the service logs to standard output and starts that itself
        Command::Serve => return Ok(app::serve(config)?),
        Command::Migrate => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            app::migrate(&config)?;
        }
        Command::Key(command) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            key(&config, command)?;
        }
        Command::Import(arguments) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            return progress::import(&config, arguments);
        }
        Command::Reconcile(arguments) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            return progress::reconcile(&config, arguments);
        }
        Command::Export(ExportCommand::Customers { format }) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            app::imports::export(&config, format, &mut io::stdout().lock())?;
        }
        Command::Analytics(command) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            return progress::analytics::run(&config, command);
        }
        Command::Outbox(command) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            return progress::outbox::run(&config, command);
        }
        Command::Audit(command) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            return progress::audit::run(&config, command);
        }
        Command::Privacy(command) => {
            telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
            return progress::privacy::run(&config, command);
        }
        // done above: they may ask for less of the configuration
        Command::CheckConfig | Command::Health | Command::Top(_) | Command::Segment(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn key(config: &Config, command: KeyCommand) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        KeyCommand::Create { name, scopes, json } => {
            let created = app::keys::create(config, name, scopes)?;
            if json {
                let object = serde_json::json!({
                    "id": created.id, "name": created.name, "scopes": created.scopes,
                    "key": created.key,
                });
                writeln!(out, "{object}")?;
            } else {
                writeln!(out, "id      {}", created.id)?;
                writeln!(out, "name    {}", created.name)?;
                writeln!(out, "scopes  {}", created.scopes.join(","))?;
                writeln!(out, "key     {}", created.key)?;
                writeln!(out, "Keep the key now: only its hash is stored.")?;
            }
        }
        KeyCommand::List => {
            for key in app::keys::list(config)? {
                let state = if key.revoked { "revoked" } else { "active" };
                let scopes = key.scopes.join(",");
                writeln!(out, "{}  {state:<7}  {}  {scopes}", key.id, key.name)?;
            }
        }
        KeyCommand::Revoke { id } => {
            app::keys::revoke(config, &id)?;
            writeln!(out, "{id} is revoked")?;
        }
        KeyCommand::RotateSigning { now: false } => {
            let key = app::signing_keys::rotate(config)?;
            writeln!(out, "{}  is published now and signs from {}", key.kid, time(key.signs_from))?;
        }
        KeyCommand::RotateSigning { now: true } => replace_signing_keys(config, &mut out)?,
        KeyCommand::Signing(SigningCommand::List { json }) => {
            list_signing_keys(&app::signing_keys::list(config)?, json, &mut out)?;
        }
        KeyCommand::RotateCustomers => {
            let told = |done| eprintln!("{done} keys of customers are wrapped anew");
            let rotated = app::customer_keys::rotate(config, told)?;
            writeln!(
                out,
                "{}  wraps all keys of customers, {} anew",
                rotated.name, rotated.customers
            )?;
        }
        KeyCommand::Customers(CustomersCommand::List { json }) => {
            list_wrapping_keys(&app::customer_keys::list(config)?, json, &mut out)?;
        }
    }
    Ok(())
}

fn replace_signing_keys(config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    let cached = config.sessions.jwks_max_age_seconds.count();
    eprintln!(
        "WARNING: every signing key so far is revoked, and with it every access token.\n\
         Clients get 401 within a second and go on with their refresh tokens; sessions stay.\n\
         Whoever verifies tokens with a cached list of keys believes the revoked ones for up to \
         {cached} s more,\n\
         and refuses new tokens until the list is read anew. To change keys without any of this: \
         without --now."
    );
    let key = app::signing_keys::replace(config)?;
    for kid in &key.revoked {
        writeln!(out, "{kid}  is revoked from {}", time(key.signs_from))?;
    }
    writeln!(out, "{}  signs from {}", key.kid, time(key.signs_from))?;
    Ok(())
}

fn list_wrapping_keys(
    keys: &[app::customer_keys::ListedKey],
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if json {
        let object = |key: &app::customer_keys::ListedKey| serde_json::json!({ "name": key.name, "stage": key.stage, "customers": key.customers });
        let listed: Vec<_> = keys.iter().map(object).collect();
        writeln!(out, "{}", serde_json::Value::from(listed))?;
        return Ok(());
    }
    for key in keys {
        writeln!(out, "{}  {:<7}  wraps {}", key.name, key.stage, key.customers)?;
    }
    Ok(())
}

fn list_signing_keys(
    keys: &[app::signing_keys::ListedKey],
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if json {
        let listed: Vec<_> = keys
            .iter()
            .map(|key| {
                serde_json::json!({
                    "kid": key.kid, "stage": key.stage, "published_at": time(key.published_at),
                    "signs_from": time(key.signs_from), "retired_at": key.retired_at.map(time),
                    "ends_at": key.ends_at.map(time),
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::Value::from(listed))?;
        return Ok(());
    }
    for key in keys {
        let end = key.ends_at.map_or_else(String::new, |ends| format!("  ends {}", time(ends)));
        let from = time(key.signs_from);
        writeln!(out, "{}  {:<8}  signs from {from}{end}", key.kid, key.stage)?;
    }
    Ok(())
}

/// As the API writes instants, to the second.
fn time(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The environment as text. Variables that are no text cannot be settings; if one were meant to
/// be, its replaced characters make the value fail the checks.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect()
}
