//! The peer of the relay: a bare publisher with confirms. It makes up the messages that row j puts
//! into the outbox, property by property as a consumer sees them, hands them to lapin with as many
//! under way as the relay has, and waits for each confirmation. No database, no order of customers,
//! no retries: what the relay adds to it is what the row shows.

use super::broker::EXCHANGE;
use super::database::{CUSTOMERS, id_of};
use super::rows::Bench;
use anyhow::{Context, Result, ensure};
use chrono::SecondsFormat;
use customer_service::clock::{Clock, SystemClock};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, PublisherConfirm};
use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};

/// The argument that makes this program the publisher.
pub const ARGUMENT: &str = "publish";
/// How many, in the environment.
const MESSAGES: &str = "BENCH_MESSAGES";
/// `outbox.window_max`, as it is by default.
const WINDOW: usize = 512;

/// A request's trace context, as every message over HTTP has one.
pub const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Stands in [`body`] where the customer's version goes.
pub const BODY_VERSION: &str = "VERSION";

/// What `customer.updated` says of a changed profile, to the letter of PostgreSQL's `jsonb`.
pub fn body(customer: &str) -> String {
    format!(
        "{{\"changed\": [\"profile.bio\"], \"version\": {BODY_VERSION}, \"customer_id\": \"{customer}\"}}"
    )
}

/// The publisher's process; killed when dropped, if it has not ended.
pub struct Publisher(Child);

/// Starts the publisher.
pub fn start(bench: &Bench, messages: u32) -> Result<Publisher> {
    let log = std::fs::File::create(bench.folder.join("publisher.log"))?;
    let child = Command::new(std::env::current_exe()?)
        .arg(ARGUMENT)
        .env(MESSAGES, messages.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("the bare publisher does not start")?;
    Ok(Publisher(child))
}

impl Publisher {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end; fails when a message was not confirmed.
    pub fn ended(mut self) -> Result<()> {
        let status = self.0.wait()?;
        ensure!(status.success(), "the bare publisher ended with {status}; see publisher.log");
        Ok(())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // It is ours and still runs; whether it could be killed changes nothing any more.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Publishes, in a process of its own.
pub fn publish() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let messages: u32 = std::env::var(MESSAGES).context(MESSAGES)?.parse()?;
    // The kind of runtime that the service publishes on.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let publishing = runtime.spawn(publish_all(messages));
    runtime.block_on(publishing)?
}

async fn publish_all(messages: u32) -> Result<()> {
    let url = std::env::var("BENCH_AMQP_URL").context("BENCH_AMQP_URL")?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let mut waiting = VecDeque::with_capacity(WINDOW);
    for number in 0..messages {
        if waiting.len() == WINDOW
            && let Some(confirm) = waiting.pop_front()
        {
            confirmed(confirm).await?;
        }
        let customer = id_of(number % CUSTOMERS).to_string();
        let body = body(&customer).replace(BODY_VERSION, &(number / CUSTOMERS + 2).to_string());
        let properties = properties(&customer, i64::from(number / CUSTOMERS + 1));
        let (exchange, key) = (EXCHANGE.into(), "customer.updated".into());
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        waiting.push_back(sent.await?);
    }
    for confirm in waiting {
        confirmed(confirm).await?;
    }
    Ok(())
}

async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    let confirmation = confirm.await?;
    ensure!(confirmation.is_ack(), "a message was refused");
    ensure!(confirmation.take_message().is_none(), "a message was returned");
    Ok(())
}

fn properties(customer: &str, sequence: i64) -> BasicProperties {
    let (now, id) = (SystemClock.now(), SystemClock.new_id().to_string());
    let time = now.to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:id", &id),
        ("cloudEvents:type", "customer.updated"),
        ("cloudEvents:source", "/customer-service"),
        ("cloudEvents:time", &time),
        ("cloudEvents:subject", customer),
        ("cloudEvents:partitionkey", customer),
        ("cloudEvents:dataschema", "http://127.0.0.1:8080/schemas/customer.updated.json"),
        ("cloudEvents:traceparent", TRACE),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    headers.insert("cloudEvents:sequence".into(), AMQPValue::LongLongInt(sequence));
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(id.as_str().into())
        .with_type("customer.updated".into())
        .with_content_type("application/json".into())
        .with_timestamp(now.timestamp().unsigned_abs())
        .with_headers(headers)
}
