//! A consumer of customer-service's messages: which addresses does each customer have? It drops
//! copies, lets a message that comes before its turn wait, and asks for those before it again.
//!
//! ```text
//! cargo run --example consumer -- RUN_JSON STATE_FILE [QUEUE]
//! ```

mod journal;
mod sealed;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use journal::{Book, Gap, Message};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use reqwest::{Method, StatusCode};
use sealed::{Key, Unsealer};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

const EXCHANGE: &str = "customer.events";
/// Messages that the broker hands out before it hears of the first one's end.
const PREFETCH: u16 = 100;
/// Until messages that were asked for again are asked for once more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Then the customer is read instead, as at once where the service says that it keeps them no more.
const TRIES: u32 = 3;
/// Between two looks at what is missing.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A gap whose messages were asked for. What comes of them makes its first number higher, and leaves
/// the last.
struct Asked {
    last: i64,
    since: Instant,
    tries: u32,
}

struct Consumer {
    base_url: String,
    /// Of the scopes `customers:read`, `ops:write` and, for what is sealed, `customers:unseal`.
    key: String,
    http: reqwest::Client,
    queue: String,
    book: Book,
    unsealer: Unsealer,
    /// By customer; after a restart: none.
    asked: HashMap<String, Asked>,
    told: Value,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // lapin and reqwest ask for the process's provider of TLS; nothing has installed one before
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, state, rest @ ..] = arguments.as_slice() else {
        bail!("usage: consumer RUN_JSON STATE_FILE [QUEUE]");
    };
    let run: Value = serde_json::from_str(&std::fs::read_to_string(run)?)?;
    let setting = |name: &str| {
        run[name].as_str().map(str::to_owned).with_context(|| format!("run.json lacks {name}"))
    };
    let mut consumer = Consumer {
        base_url: setting("base_url")?,
        key: setting("staff_key")?,
        http: reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?,
        queue: rest.first().cloned().unwrap_or_else(|| "example.rust".to_owned()),
        book: Book::open(Path::new(state)).context("the state file")?,
        unsealer: Unsealer::default(),
        asked: HashMap::new(),
        told: Value::Null,
    };
    let amqp_url = setting("amqp_url")?;
    let mut end = signal(SignalKind::terminate())?;
    while let Err(trouble) = consumer.run(&amqp_url, &mut end).await {
        // A broker or service that is away comes back; a full disk does not mend itself.
        if !trouble.is::<lapin::Error>() && !trouble.is::<reqwest::Error>() {
            return Err(trouble);
        }
        println!("the broker or the service is away: {trouble}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

impl Consumer {
    /// Until told to stop. A message is acknowledged when what it changed is durable.
    async fn run(&mut self, amqp_url: &str, end: &mut Signal) -> Result<()> {
        let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        self.declare(&channel).await?;
        let (queue, name) = (self.queue.as_str().into(), "example".into());
        let options = BasicConsumeOptions::default();
        let mut messages =
            channel.basic_consume(queue, name, options, FieldTable::default()).await?;
        println!("ready");
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = end.recv() => break,
                _ = looks.tick() => self.look().await?,
                message = messages.next() => match message {
                    Some(message) => {
                        let message = message?;
                        self.take(&message).await?;
                        message.acker.ack(BasicAckOptions::default()).await?;
                    }
                    None => bail!("the queue was deleted"),
                },
            }
        }
        // What was handed out and not begun goes back.
        connection.close(200, "OK".into()).await?;
        Ok(())
    }

    /// A queue of our own with every type: a number that was left out by the binding would look
    /// like a message that was lost.
    async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(self.queue.as_str().into(), durable, arguments).await?;
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let (topic, nothing) = (ExchangeKind::Topic, FieldTable::default);
        channel.exchange_declare(EXCHANGE.into(), topic, durable, nothing()).await?;
        let (queue, all) = (self.queue.as_str().into(), QueueBindOptions::default());
        channel.queue_bind(queue, EXCHANGE.into(), "#".into(), all, nothing()).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await
    }

    async fn take(&mut self, delivery: &Delivery) -> Result<()> {
        let headers =
            delivery.properties.headers().as_ref().context("a message without headers")?;
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => Ok(text.to_string()),
            _ => bail!("a message without {name}"),
        };
        let Some(AMQPValue::LongLongInt(sequence)) = headers.inner().get("cloudEvents:sequence")
        else {
            bail!("a message without a number");
        };
        let (customer, kind) = (text("cloudEvents:subject")?, text("cloudEvents:type")?);
        let data: Value = serde_json::from_slice(&delivery.data)?;
        // Some messages are about a definition that staff keeps; they have numbers of their own.
        if data["customer_id"] == customer.as_str() {
            // Looked at and not kept: whoever keeps personal values has to erase them, too.
            if self.unsealer.lacks(&customer, &data) {
                let key = self.key_of(&customer).await?;
                self.unsealer.learn(&customer, key);
            }
            self.unsealer.values(&customer, &text("cloudEvents:id")?, &data)?;
            self.book.take(Message { customer, sequence: *sequence, kind, data })?;
        }
        Ok(())
    }

    /// The key of a customer; `None` where we may not have it, and where the customer was erased.
    async fn key_of(&self, customer: &str) -> Result<Option<Key>> {
        let path = format!("{}/v1/admin/customers/{customer}/data_key", self.base_url);
        let answer = self.http.get(path).bearer_auth(&self.key).send().await?;
        if [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&answer.status()) {
            return Ok(None);
        }
        Key::of(&answer.error_for_status()?.json().await?).map(Some)
    }

    /// Mends what is missing, and tells what is known.
    async fn look(&mut self) -> Result<()> {
        let gaps = self.book.gaps();
        self.asked.retain(|customer, _| gaps.iter().any(|gap| gap.customer == *customer));
        for gap in gaps {
            self.mend(gap).await?;
        }
        let mut state = self.book.state();
        state["opened"] = self.unsealer.opened.len().into();
        state["shut"] = self.unsealer.shut.len().into();
        if state != self.told {
            println!("{state}");
            self.told = state;
        }
        Ok(())
    }

    /// Asks for what is missing; reads the customer where asking does not help. Refused or not
    /// reached, the next try mends it.
    async fn mend(&mut self, gap: Gap) -> Result<()> {
        let Gap { customer, first, last } = &gap;
        // Another gap of the customer's is not to blame for the one before.
        let tries = match self.asked.get(customer).filter(|asked| asked.last == *last) {
            Some(asked) if asked.since.elapsed() < PATIENCE => return Ok(()),
            Some(asked) => asked.tries,
            None => 0,
        };
        let asked = Asked { last: *last, since: Instant::now(), tries: (tries + 1).min(TRIES) };
        self.asked.insert(customer.clone(), asked);
        if tries < TRIES {
            println!("gap: {customer} lacks {first} to {last}: asked for again");
            match self.replay(&gap).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(trouble) => {
                    println!("gap: asking failed: {trouble}");
                    return Ok(());
                }
            }
        }
        println!("gap: {customer} lacks {first} to {last} for good: read anew");
        match self.addresses(customer).await {
            Ok(addresses) => self.book.start_anew(&gap, addresses)?,
            Err(trouble) => println!("gap: reading failed: {trouble}"),
        }
        Ok(())
    }

    /// Messages of one customer once more, to our queue and nobody else's. False where some of
    /// them are no longer kept.
    async fn replay(&self, gap: &Gap) -> Result<bool> {
        let Gap { customer, first, last } = gap;
        let body = json!({ "from_sequence": first, "to_sequence": last, "queue": self.queue });
        let path = format!("/v1/admin/customers/{customer}/messages/replay");
        let told = self.ask(Method::POST, &path, Some(body)).await?.unwrap_or_default();
        Ok(told["missing"].as_array().is_none_or(Vec::is_empty))
    }

    /// The addresses that a customer has now; none where it was deleted.
    async fn addresses(&self, customer: &str) -> Result<BTreeSet<String>> {
        let path = format!("/v1/admin/customers/{customer}/addresses?limit=100");
        let mut addresses = BTreeSet::new();
        let mut page = self.ask(Method::GET, &path, None).await?.unwrap_or_default();
        loop {
            let items = page["items"].as_array().into_iter().flatten();
            addresses.extend(items.filter_map(|item| item["id"].as_str().map(str::to_owned)));
            let Some(cursor) = page["next_cursor"].as_str() else { return Ok(addresses) };
            let next = format!("{path}&cursor={cursor}");
            page = self.ask(Method::GET, &next, None).await?.unwrap_or_default();
        }
    }

    /// The service's answer; `None` where there is no such thing.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>> {
        let mut request = self.http.request(method, format!("{}{path}", self.base_url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.bearer_auth(&self.key).send().await?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(status.is_success(), "it was answered {status}");
        let text = answer.text().await?;
        Ok(if text.is_empty() { None } else { Some(serde_json::from_str(&text)?) })
    }
}
