//! `make demo`: the whole story against the service that `make run` started, step by step, with
//! each message as a consumer on RabbitMQ receives it.
//!
//! Reads `.local/run.json` (or that of `RUN_STATE`, where `make run` keeps things). Ends with an error when a step fails, a message is missing, or the
//! sequence of the customer's messages has a gap.

use anyhow::{Context, bail, ensure};
use customer_service::clock::{Clock, SystemClock};
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties, Consumer};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for a mail or a message: a node that takes over from a frozen one needs up to 12 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for a node's word that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let state =
        std::env::var_os("RUN_STATE").map_or_else(|| PathBuf::from(".local"), PathBuf::from);
    let mut run = Run::read(&state.join("run.json"))?;
    run.choose_node().await?;
    let mut story = Story::begin(run).await?;
    story.register().await?;
    story.confirm().await?;
    story.sign_in().await?;
    story.change_the_record().await?;
    story.keep_addresses().await?;
    story.staff_looks_after().await?;
    story.leave().await?;
    println!(
        "\nThe story is told: {} messages, sequence 1 to {} without a gap.",
        story.sequence, story.sequence
    );
    Ok(())
}

/// What `make run` wrote down.
struct Run {
    /// The node that hears the story.
    base_url: String,
    nodes: Vec<String>,
    staff_key: String,
    mail_dir: PathBuf,
    amqp_url: String,
}

impl Run {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} is not there: start `make run` first", path.display()))?;
        let run: Value = serde_json::from_str(&text)?;
        let field = |name: &str| {
            run[name].as_str().map(str::to_owned).with_context(|| format!("run.json lacks {name}"))
        };
        let nodes = run["nodes"].as_array().into_iter().flatten();
        let nodes = nodes.filter_map(|node| node["base_url"].as_str().map(str::to_owned));
        Ok(Self {
            base_url: field("base_url")?,
            nodes: nodes.collect(),
            staff_key: field("staff_key")?,
            mail_dir: field("mail_dir")?.into(),
            amqp_url: field("amqp_url")?,
        })
    }

    /// The first node that says it is ready: one may be frozen, as a balancer would notice.
    async fn choose_node(&mut self) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().timeout(READY_WITHIN).build()?;
        for base_url in &self.nodes {
            match http.get(format!("{base_url}/health/ready")).send().await {
                Ok(answer) if answer.status().is_success() => {
                    self.base_url.clone_from(base_url);
                    return Ok(());
                }
                _ => println!("{base_url} is not ready"),
            }
        }
        bail!("no node of {:?} is ready", self.nodes)
    }
}

struct Story {
    run: Run,
    http: reqwest::Client,
    consumer: Option<Consumer>,
    /// Keeps the consumer's queue alive.
    _connection: Option<Connection>,
    email: String,
    customer_id: String,
    access: String,
    refresh: String,
    /// The last sequence number received for our customer.
    sequence: i64,
}

const PASSWORD: &str = "seven green lanterns over Hoi An";

impl Story {
    async fn begin(run: Run) -> anyhow::Result<Self> {
        let (consumer, connection) = match run.amqp_url.as_str() {
            "" => {
                println!("RabbitMQ is not configured: the messages wait in the outbox.");
                (None, None)
            }
            url => {
                let (consumer, connection) = subscribe(url).await?;
                (Some(consumer), Some(connection))
            }
        };
        Ok(Self {
            run,
            http: reqwest::Client::new(),
            consumer,
            _connection: connection,
            email: format!("lan.{}@shop-demo.example", SystemClock.new_id().simple()),
            customer_id: String::new(),
            access: String::new(),
            refresh: String::new(),
            sequence: 0,
        })
    }

    async fn register(&mut self) -> anyhow::Result<()> {
        let body = json!({
            "email": self.email, "password": PASSWORD, "first_name": "Lan", "last_name": "Nguyễn",
            "locale": "vi-VN", "timezone": "Asia/Ho_Chi_Minh", "accepts_marketing": true,
        });
        self.step("A shopper registers", Method::POST, "/v1/auth/register", Some(body), 202)
            .await?;
        self.hear(&["customer.created", "consent.granted"]).await
    }

    async fn confirm(&mut self) -> anyhow::Result<()> {
        let token = self.token_from_mail().await?;
        println!("  mail  the confirmation arrived in {}", self.run.mail_dir.display());
        let path = "/v1/auth/email/verify";
        let pair = self
            .step(
                "She confirms her address",
                Method::POST,
                path,
                Some(json!({"token": token})),
                200,
            )
            .await?;
        self.take_tokens(&pair)?;
        self.hear(&["customer.verified", "customer.status_changed", "customer.signed_in"]).await
    }

    async fn sign_in(&mut self) -> anyhow::Result<()> {
        let body = json!({"email": self.email, "password": PASSWORD, "device_name": "Lan's phone"});
        let pair =
            self.step("She signs in", Method::POST, "/v1/auth/login", Some(body), 200).await?;
        self.take_tokens(&pair)?;
        self.hear(&["customer.signed_in"]).await?;
        let body = json!({"refresh_token": self.refresh});
        let pair = self
            .step("Her app renews its tokens", Method::POST, "/v1/auth/refresh", Some(body), 200)
            .await?;
        self.take_tokens(&pair)
    }

    async fn change_the_record(&mut self) -> anyhow::Result<()> {
        let body = json!({"date_of_birth": "1994-05-17", "bio": "Phở, sách và mèo."});
        self.step("She fills in her profile", Method::PATCH, "/v1/me/profile", Some(body), 200)
            .await?;
        self.hear(&["customer.updated"]).await?;
        let body = json!({"currency": "VND", "channels": {"email": true}});
        self.step("She sets her preferences", Method::PATCH, "/v1/me/preferences", Some(body), 200)
            .await?;
        self.hear(&["preferences.updated", "customer.updated"]).await
    }

    async fn keep_addresses(&mut self) -> anyhow::Result<()> {
        let home = json!({"label": "Nhà", "recipient": "Nguyễn Thị Lan", "line1": "12 Trần Phú",
            "city": "Hội An", "postal_code": "560000", "country": "VN", "phone": "+84 912 345 678"});
        let path = "/v1/me/addresses";
        let home = self.step("She adds her home", Method::POST, path, Some(home), 201).await?;
        self.hear(&["address.created", "address.default_changed", "address.default_changed"])
            .await?;
        let office = json!({"label": "Office", "recipient": "Lan Nguyễn", "line1": "5 Bạch Đằng",
            "city": "Đà Nẵng", "country": "VN"});
        let office =
            self.step("She adds her office", Method::POST, path, Some(office), 201).await?;
        self.hear(&["address.created"]).await?;
        let path = format!("/v1/me/addresses/{}/default", id(&office)?);
        let body = json!({"kind": "shipping"});
        self.step("Parcels shall go to the office", Method::PUT, &path, Some(body), 200).await?;
        self.hear(&["address.default_changed"]).await?;
        let path = format!("/v1/me/addresses/{}", id(&home)?);
        self.step("She moves out of her home", Method::DELETE, &path, None, 204).await?;
        self.hear(&["address.deleted", "address.default_changed"]).await?;
        let me = self
            .step(
                "Her page shows it all",
                Method::GET,
                "/v1/me?expand=profile,preferences,addresses",
                None,
                200,
            )
            .await?;
        let both = &me["addresses"][0];
        ensure!(both["default_shipping"] == true && both["default_billing"] == true, "{me}");
        Ok(())
    }

    async fn staff_looks_after(&mut self) -> anyhow::Result<()> {
        let customer_token = std::mem::replace(&mut self.access, self.run.staff_key.clone());
        let path = format!("/v1/admin/customers/{}", self.customer_id);
        let body = json!({"tags": ["vip"], "group": "business"});
        self.step("Staff tags her and moves her group", Method::PATCH, &path, Some(body), 200)
            .await?;
        self.hear(&["customer.updated", "customer.group_changed"]).await?;
        let body = json!({"to": "suspended", "reason": "payment_disputed"});
        self.step("Staff suspends her", Method::POST, &format!("{path}/status"), Some(body), 200)
            .await?;
        self.hear(&[
            "customer.status_changed",
            "customer.session_revoked",
            "customer.session_revoked",
        ])
        .await?;
        let staff_key = std::mem::replace(&mut self.access, customer_token);
        self.step("Her access ends at once", Method::GET, "/v1/me", None, 401).await?;
        self.access = staff_key;
        let body = json!({"to": "active", "reason": "dispute_settled"});
        self.step(
            "Staff lets her back in",
            Method::POST,
            &format!("{path}/status"),
            Some(body),
            200,
        )
        .await?;
        self.hear(&["customer.status_changed"]).await
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        let body = json!({"email": self.email, "password": PASSWORD});
        let pair = self
            .step("She signs in again", Method::POST, "/v1/auth/login", Some(body), 200)
            .await?;
        self.take_tokens(&pair)?;
        self.hear(&["customer.signed_in"]).await?;
        let body = json!({"refresh_token": self.refresh});
        self.step("She signs out", Method::POST, "/v1/auth/logout", Some(body), 204).await?;
        self.hear(&["customer.session_revoked"]).await
    }

    /// One request; prints it, and fails unless the answer has the expected status.
    async fn step(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        expected: u16,
    ) -> anyhow::Result<Value> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.run.base_url));
        if !self.access.is_empty() {
            request = request.bearer_auth(&self.access);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let started = Instant::now();
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let took = started.elapsed().as_millis();
        println!("\n{what}\n  http  {method} {} → {status} in {took} ms", shown(path));
        ensure!(status == expected, "expected {expected}, got {status}: {text}");
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    fn take_tokens(&mut self, pair: &Value) -> anyhow::Result<()> {
        let field = |name: &str| {
            pair[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"))
        };
        self.access = field("access_token")?;
        self.refresh = field("refresh_token")?;
        self.customer_id = field("customer_id")?;
        Ok(())
    }

    /// Waits for these messages about our customer, in this order and without a gap.
    async fn hear(&mut self, kinds: &[&str]) -> anyhow::Result<()> {
        let Some(consumer) = &mut self.consumer else { return Ok(()) };
        for expected in kinds {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            loop {
                let delivery = tokio::time::timeout_at(deadline, consumer.next())
                    .await
                    .with_context(|| format!("{expected} did not arrive"))?
                    .context("the consumer ended")??;
                delivery.ack(BasicAckOptions::default()).await?;
                let message = Message::of(&delivery)?;
                // Until she is confirmed we know her only by her first message.
                if self.customer_id.is_empty() && message.kind == "customer.created" {
                    self.customer_id.clone_from(&message.subject);
                }
                if message.subject != self.customer_id || message.sequence <= self.sequence {
                    continue;
                }
                println!("  msg   #{} {} {}", message.sequence, message.kind, message.data);
                ensure!(message.kind == *expected, "expected {expected}");
                ensure!(message.sequence == self.sequence + 1, "a gap after {}", self.sequence);
                self.sequence = message.sequence;
                break;
            }
        }
        Ok(())
    }

    async fn token_from_mail(&self) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for entry in std::fs::read_dir(&self.run.mail_dir).into_iter().flatten().flatten() {
                let mail = std::fs::read_to_string(entry.path()).unwrap_or_default();
                // Quoted-printable breaks long lines with "=" at their ends and escapes "=".
                let mail = mail.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=");
                if mail.contains(&self.email)
                    && let Some((_, rest)) = mail.split_once("token=")
                {
                    let end =
                        rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
                    return Ok(rest[..end.unwrap_or(rest.len())].to_owned());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("no mail arrived in {}", self.run.mail_dir.display())
    }
}

/// A message as a consumer sees it.
struct Message {
    kind: String,
    subject: String,
    sequence: i64,
    data: String,
}

impl Message {
    fn of(delivery: &lapin::message::Delivery) -> anyhow::Result<Self> {
        let headers = delivery.properties.headers().as_ref().context("no headers")?;
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => Ok(text.to_string()),
            other => bail!("header {name}: {other:?}"),
        };
        let sequence = match headers.inner().get("cloudEvents:sequence") {
            Some(AMQPValue::LongLongInt(number)) => *number,
            Some(AMQPValue::LongInt(number)) => i64::from(*number),
            Some(AMQPValue::LongString(text)) => text.to_string().parse()?,
            other => bail!("header sequence: {other:?}"),
        };
        Ok(Self {
            kind: text("cloudEvents:type")?,
            subject: text("cloudEvents:subject")?,
            sequence,
            data: String::from_utf8(delivery.data.clone())?,
        })
    }
}

/// A queue of our own, bound to every message, gone when we leave.
async fn subscribe(url: &str) -> anyhow::Result<(Consumer, Connection)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let name = queue.name().clone();
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(name.clone(), "customer.events".into(), "#".into(), bind, FieldTable::default())
        .await?;
    let consume = BasicConsumeOptions::default();
    let consumer =
        channel.basic_consume(name, "demo".into(), consume, FieldTable::default()).await?;
    Ok((consumer, connection))
}

fn id(resource: &Value) -> anyhow::Result<&str> {
    resource["id"].as_str().context("the resource has no id")
}

/// A path with ids shortened, for reading.
fn shown(path: &str) -> String {
    path.split('/')
        .map(|part| if part.len() == 36 { &part[..8] } else { part })
        .collect::<Vec<_>>()
        .join("/")
}
