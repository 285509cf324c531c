//! Ways for a mail to leave: files in a folder (development, and shops that collect them), SMTP,
//! a command to a notification service, or nowhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::SecondsFormat;
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Language, Mail, MailFault, Values, render};
use crate::brokers::rabbit::{FaultClass, OutgoingMessage, PublishFault, Rabbit};

/// Type and routing key of a handed-over mail.
pub const COMMAND: &str = "mail.send";

/// How mails leave, as configured.
#[derive(Clone, Debug)]
pub enum Settings {
    /// One `.eml` file per mail.
    Files { folder: PathBuf },
    /// `smtp://user:password@host:587?tls=required`, `smtps://…`. The `timeout` is for one mail:
    /// connection, TLS, sign-in and dialogue.
    Smtp { url: SecretString, timeout: Duration },
    /// A notification service renders and sends.
    Message,
    /// Mails are dropped: for tests and for shops that verify addresses elsewhere.
    None,
}

/// The mail settings do not fit.
#[derive(Debug, thiserror::Error)]
pub enum SetupFault {
    #[error("mail.from is not a mailbox such as `Shop <no-reply@shop.example>`")]
    From,
    #[error("mail.smtp_url is not a valid address (smtp://user:password@host:587?tls=required)")]
    SmtpUrl,
    #[error("mail.transport = \"message\" needs rabbit.url")]
    NoRabbit,
}

/// Sends mails; see [`Settings`] for the ways.
pub struct Transport {
    from: Mailbox,
    way: Way,
}

enum Way {
    Files(PathBuf),
    Smtp(SmtpServer),
    Message(Rabbit),
    None,
}

impl Transport {
    /// Checks the settings; nothing is connected yet. Call it inside the tokio runtime that sends.
    pub fn new(settings: Settings, from: &str, rabbit: Option<Rabbit>) -> Result<Self, SetupFault> {
        let from = from.parse().map_err(|_| SetupFault::From)?;
        let way = match settings {
            Settings::Files { folder } => Way::Files(folder),
            Settings::Smtp { url, timeout } => {
                let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
                    .map_err(|_| SetupFault::SmtpUrl)?;
                let pool = builder.timeout(Some(timeout)).build();
                Way::Smtp(SmtpServer { pool, timeout })
            }
            Settings::Message => Way::Message(rabbit.ok_or(SetupFault::NoRabbit)?),
            Settings::None => Way::None,
        };
        Ok(Self { from, way })
    }

    /// Sends one mail; sending the same mail again is harmless.
    ///
    /// # Errors
    /// [`MailFault::Unreachable`] and [`MailFault::Transient`] to try later, where only the latter
    /// counts as a try; [`MailFault::Permanent`] to give up.
    pub async fn send(&self, mail: &Mail) -> Result<(), MailFault> {
        match &self.way {
            Way::Files(folder) => write_file(folder, mail, &self.compose(mail)?.formatted()).await,
            Way::Smtp(server) => server.send(&self.compose(mail)?).await,
            Way::Message(rabbit) => hand_over(rabbit, mail).await,
            Way::None => Ok(()),
        }
    }

    /// Builds the MIME message. Its `Message-ID` and `Date` come from the mail, so that a resend
    /// after a crash is recognised as the same mail.
    fn compose(&self, mail: &Mail) -> Result<Message, MailFault> {
        let to: Address = mail.to.parse().map_err(|_| permanent("the recipient is no address"))?;
        let mut values: Values = mail.values.clone();
        values.entry("shop").or_insert_with(|| self.shop_name().into());
        let rendered = render(mail.kind, &mail.locale, &values)?;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.clone()])
            .map_err(|_| permanent("the envelope is not valid"))?;
        let language = Language::of(&mail.locale).as_str();
        Message::builder()
            .envelope(envelope)
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .date(mail.created_at.into())
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(rendered.subject)
            // Asks out-of-office robots not to answer.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("Content-Language", language))
            .raw_header(header("X-Template", mail.kind.as_str()))
            .multipart(
                MultiPart::alternative()
                    .singlepart(part(ContentType::TEXT_PLAIN, rendered.text))
                    .singlepart(part(ContentType::TEXT_HTML, rendered.html)),
            )
            .map_err(|_| permanent("the message cannot be built"))
    }

    fn shop_name(&self) -> String {
        let name = self.from.name.clone();
        name.unwrap_or_else(|| self.from.email.domain().to_owned())
    }
}

/// Plain ASCII goes as it is, so that links can be read and copied from a raw mail: lettre would
/// rather write `=3D` for each `=` as soon as one line is longer than 75 bytes.
fn part(content_type: ContentType, body: String) -> SinglePart {
    const LINE_BYTES_MAX: usize = 998;
    let part = SinglePart::builder().header(content_type);
    if !body.is_ascii() || body.lines().any(|line| line.len() > LINE_BYTES_MAX) {
        return part.body(body);
    }
    let body = body.replace('\n', "\r\n").into_bytes();
    // Not `new_with_encoding`: it refuses 7bit from 76 bytes a line on, which a link often has.
    part.body(Body::dangerous_pre_encoded(body, ContentTransferEncoding::SevenBit))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn permanent(text: &str) -> MailFault {
    MailFault::Permanent(text.to_owned())
}

/// Writes beside the target and renames, so that a reader never sees half a mail. The name sorts
/// by time and is the same on every attempt.
async fn write_file(folder: &Path, mail: &Mail, content: &[u8]) -> Result<(), MailFault> {
    let time = mail.created_at.format("%Y%m%dT%H%M%S%.6fZ");
    let name = format!("{time}-{}.eml", mail.id);
    let target = folder.join(&name);
    let write = async {
        if tokio::fs::try_exists(&target).await? {
            return Ok(());
        }
        tokio::fs::create_dir_all(folder).await?;
        // Two processes on one folder do not write the same draft.
        let draft = folder.join(format!(".{name}.{}", std::process::id()));
        let mut file = tokio::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .await?;
        file.write_all(content).await?;
        file.sync_all().await?;
        tokio::fs::rename(&draft, &target).await
    };
    let written: std::io::Result<()> = write.await;
    written.map_err(|error| MailFault::Transient(format!("mail folder: {}", error.kind())))
}

struct SmtpServer {
    pool: AsyncSmtpTransport<Tokio1Executor>,
    /// lettre's own timeout ends with the connection; a server that falls silent later would
    /// hold the worker for ever.
    timeout: Duration,
}

impl SmtpServer {
    async fn send(&self, message: &Message) -> Result<(), MailFault> {
        let content = message.formatted();
        let sending = self.pool.send_raw(message.envelope(), &content);
        let error = match tokio::time::timeout(self.timeout, sending).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(MailFault::Unreachable("the mail server is too slow".to_owned())),
        };
        let text = describe(&error);
        Err(if error.is_client() || error.is_transient() {
            MailFault::Transient(text)
        } else if error.is_permanent() && self.accepts_us().await {
            MailFault::Permanent(text)
        } else {
            MailFault::Unreachable(text)
        })
    }

    /// A 5xx also comes from a server that is closed or dislikes our password: that is trouble
    /// of the installation and must not condemn every mail. So it is asked without a recipient.
    async fn accepts_us(&self) -> bool {
        let test = tokio::time::timeout(self.timeout, self.pool.test_connection()).await;
        matches!(test, Ok(Ok(true)))
    }
}

/// Kind and code only: servers repeat the recipient's address in their texts.
fn describe(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None if error.is_tls() => "TLS with the mail server failed".to_owned(),
        None if error.is_client() => "the mail server lacks what the mail needs".to_owned(),
        None => "the mail server cannot be reached".to_owned(),
    }
}

/// Publishes the mail as a command. A broker without a notification service keeps it waiting:
/// unlike an event, a mail has exactly one reader, and it must get it.
async fn hand_over(rabbit: &Rabbit, mail: &Mail) -> Result<(), MailFault> {
    let body = json!({
        "mail_id": mail.id,
        "to": mail.to,
        "template": mail.kind.as_str(),
        "locale": mail.locale,
        "values": mail.values,
        "created_at": mail.created_at.to_rfc3339_opts(SecondsFormat::Micros, true),
    });
    let message = OutgoingMessage {
        exchange: rabbit.notifications_exchange().to_owned(),
        routing_key: COMMAND.to_owned(),
        id: mail.id,
        message_type: COMMAND.to_owned(),
        time: mail.created_at,
        subject: None,
        sequence: None,
        schema: None,
        traceparent: None,
        body: body.to_string().into_bytes(),
    };
    rabbit.publish_one(message).await.map_err(|fault: PublishFault| match fault.class() {
        FaultClass::Message => MailFault::Permanent(fault.to_string()),
        FaultClass::Broker | FaultClass::Topology | FaultClass::Suspect => {
            MailFault::Unreachable(fault.to_string())
        }
    })
}
