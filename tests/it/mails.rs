//! Mails over each transport: a folder, a small SMTP server on TCP, a real RabbitMQ.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use customer_service::clock::{Clock, SystemClock};
use customer_service::mail::{COMMAND, Mail, MailFault, MailKind, Settings, Transport};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::rabbit::{Reader, amqp_url, publisher};

const FROM: &str = "Shop <no-reply@shop.example>";
const RECIPIENT: &str = "lan.nguyen@example.com";

fn mail(locale: &str) -> Mail {
    let values = json!({
        "link": "https://shop.example/verify-email?token=t0ken",
        "valid_hours": 24,
    });
    Mail {
        id: SystemClock.new_id(),
        to: RECIPIENT.to_owned(),
        kind: MailKind::VerifyEmail,
        locale: locale.to_owned(),
        values: values.as_object().unwrap().clone(),
        created_at: DateTime::from_timestamp(1_800_000_000, 123_000).unwrap(),
    }
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("mails-{}", SystemClock.new_id())))
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[tokio::test]
async fn a_file_is_written_once_per_mail_and_can_be_read_by_eye() {
    let folder = Folder::new();
    let settings = Settings::Files { folder: folder.0.clone() };
    let transport = Transport::new(settings, FROM, None).unwrap();
    let mail = mail("en");
    transport.send(&mail).await.unwrap();
    transport.send(&mail).await.unwrap();
    let name = format!("20270115T080000.000123Z-{}.eml", mail.id);
    assert_eq!(folder.names(), std::slice::from_ref(&name));
    let text = std::fs::read_to_string(folder.0.join(name)).unwrap();
    for line in [
        "From: Shop <no-reply@shop.example>\r\n".to_owned(),
        "To: lan.nguyen@example.com\r\n".to_owned(),
        "Subject: Confirm your e-mail address for Shop\r\n".to_owned(),
        format!("Message-ID: <{}@shop.example>\r\n", mail.id),
        "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n".to_owned(),
        "Auto-Submitted: auto-generated\r\n".to_owned(),
        "\r\nhttps://shop.example/verify-email?token=t0ken\r\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line:?} in\n{text}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_a_transient_fault() {
    let file = std::env::temp_dir().join(format!("not-a-folder-{}", SystemClock.new_id()));
    std::fs::write(&file, "").unwrap();
    let settings = Settings::Files { folder: file.join("mails") };
    let transport = Transport::new(settings, FROM, None).unwrap();
    let fault = transport.send(&mail("en")).await.unwrap_err();
    assert!(matches!(fault, MailFault::Transient(_)), "{fault}");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_forged_recipient_makes_no_header() {
    let folder = Folder::new();
    let settings = Settings::Files { folder: folder.0.clone() };
    let transport = Transport::new(settings, FROM, None).unwrap();
    for to in ["a@example.com\r\nBcc: b@example.com", "a@example.com, b@example.com", "a", ""] {
        let fault = transport.send(&Mail { to: to.to_owned(), ..mail("en") }).await.unwrap_err();
        assert!(matches!(fault, MailFault::Permanent(_)), "{fault}");
        assert!(!fault.to_string().contains("example.com"), "{fault}");
    }
}

/// How the little server behaves.
#[derive(Clone, Copy)]
enum Manner {
    Accepts,
    /// 550 to the recipient, repeating the address as real servers do.
    RefusesRecipient,
    /// 451 to the recipient: greylisting.
    Defers,
    /// 554 instead of a greeting.
    Closed,
    /// Accepts the connection and says nothing.
    Hangs,
}

struct Server {
    url: String,
    received: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let mails = received.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner, mails.clone()));
            }
        });
        Self { url, received }
    }

    fn transport(&self) -> Transport {
        let timeout = Duration::from_millis(500);
        let settings = Settings::Smtp { url: self.url.clone().into(), timeout };
        Transport::new(settings, FROM, None).unwrap()
    }
}

async fn serve(
    stream: TcpStream,
    manner: Manner,
    mails: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    match manner {
        Manner::Hangs => return std::future::pending().await,
        Manner::Closed => return output.write_all(b"554 no service here\r\n").await,
        _ => output.write_all(b"220 test ESMTP\r\n").await?,
    }
    while let Some(line) = lines.next_line().await? {
        let answer = match (line.get(..4).unwrap_or_default(), manner) {
            ("RCPT", Manner::RefusesRecipient) => format!("550 5.1.1 <{RECIPIENT}> unknown"),
            ("RCPT", Manner::Defers) => "451 4.7.1 try later".to_owned(),
            ("DATA", _) => {
                output.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await?
                    && line != "."
                {
                    mail.push_str(&line);
                    mail.push('\n');
                }
                mails.lock().unwrap().push(mail);
                "250 taken".to_owned()
            }
            ("QUIT", _) => "221 bye".to_owned(),
            _ => "250 fine".to_owned(),
        };
        output.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn smtp_takes_a_mail_and_a_resend_is_recognisable() {
    let server = Server::start(Manner::Accepts).await;
    let (transport, mail) = (server.transport(), mail("vi-VN"));
    transport.send(&mail).await.unwrap();
    transport.send(&mail).await.unwrap();
    let received = server.received.lock().unwrap().clone();
    let id = format!("Message-ID: <{}@shop.example>", mail.id);
    assert_eq!(received.iter().filter(|mail| mail.contains(&id)).count(), 2);
    assert!(received[0].contains("Content-Language: vi"));
    assert!(received[0].contains("Subject: =?utf-8?"), "{}", received[0]);
}

#[tokio::test]
async fn a_refused_recipient_is_permanent_and_not_named() {
    let server = Server::start(Manner::RefusesRecipient).await;
    let fault = server.transport().send(&mail("en")).await.unwrap_err();
    assert_eq!(fault, MailFault::Permanent("the mail server answered 550".to_owned()));
}

#[tokio::test]
async fn a11_only_a_refusal_of_the_mail_counts_as_a_try() {
    let server = Server::start(Manner::Defers).await;
    let fault = server.transport().send(&mail("en")).await.unwrap_err();
    assert_eq!(fault, MailFault::Transient("the mail server answered 451".to_owned()));
    for manner in [Manner::Closed, Manner::Hangs] {
        let server = Server::start(manner).await;
        let fault = server.transport().send(&mail("en")).await.unwrap_err();
        assert!(matches!(fault, MailFault::Unreachable(_)), "{fault:?}");
    }
    let settings =
        Settings::Smtp { url: "smtp://127.0.0.1:1".into(), timeout: Duration::from_secs(1) };
    let nobody = Transport::new(settings, FROM, None).unwrap();
    assert!(matches!(nobody.send(&mail("en")).await, Err(MailFault::Unreachable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handed_over_mail_waits_for_its_reader() {
    let rabbit = publisher("mail", &amqp_url());
    let transport = Transport::new(Settings::Message, FROM, Some(rabbit.clone())).unwrap();
    let mail = mail("vi");
    let fault = transport.send(&mail).await.unwrap_err();
    assert!(matches!(fault, MailFault::Unreachable(_)), "{fault:?}");

    let mut reader = Reader::bind(rabbit.notifications_exchange(), COMMAND).await;
    transport.send(&mail).await.unwrap();
    let got = reader.next().await;
    assert_eq!(got.properties.message_id().as_ref().unwrap().as_str(), mail.id.to_string());
    let body: serde_json::Value = serde_json::from_slice(&got.data).unwrap();
    assert_eq!(body["to"], RECIPIENT);
    assert_eq!(body["template"], "verify_email");
    assert_eq!(body["locale"], "vi");
    assert_eq!(body["values"]["valid_hours"], 24);
    let contract: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/asyncapi.json")).unwrap();
    let schema = &contract["components"]["schemas"][COMMAND];
    let formats = jsonschema::options().should_validate_formats(true);
    let told = formats.build(schema).unwrap();
    told.validate(&body).unwrap_or_else(|error| panic!("{error}"));
    let channel = &contract["channels"][COMMAND]["bindings"]["amqp"]["exchange"];
    assert_eq!((&channel["type"], got.routing_key.as_str()), (&"direct".into(), COMMAND));
    rabbit.close().await;
}
