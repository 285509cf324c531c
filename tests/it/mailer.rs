//! The mailer against a real PostgreSQL, with mails as files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use customer_service::actors::worker::Worker;
use customer_service::actors::workers::mailer::{Link, Mailer, Settings};
use customer_service::clock::{Clock, ManualClock, SystemClock};
use customer_service::mail::{self, Transport};
use customer_service::security::keys::RootSecret;
use customer_service::security::tokens::OneTimeTokens;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::config::defaults;
use crate::harness::db::{TestDatabase, insert_customer};

const NONCE: [u8; 32] = [7; 32];

struct Post {
    database: TestDatabase,
    client: Client,
    clock: Arc<ManualClock>,
    folder: PathBuf,
    customer: Uuid,
}

impl Post {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let client = database.client().await;
        let customer = SystemClock.new_id();
        insert_customer(&client, customer, "lan@example.com").await;
        let folder = std::env::temp_dir().join(format!("mailer-{customer}"));
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        Self { database, client, clock, folder, customer }
    }

    fn mailer(&self, folder: PathBuf) -> Mailer {
        self.mailer_by(mail::Settings::Files { folder })
    }

    fn mailer_by(&self, settings: mail::Settings) -> Mailer {
        let transport = Transport::new(settings, "Shop <no-reply@shop.example>", None).unwrap();
        let root = RootSecret::new([1; 32]);
        let links = defaults().mail.links;
        let settings = Settings {
            batch_max: 50,
            tries_max: 3,
            verify_email: Link { page: links.verify_email, life: TimeDelta::hours(24) },
            reset_password: Link { page: links.reset_password, life: TimeDelta::hours(1) },
            change_email: Link { page: links.change_email, life: TimeDelta::hours(24) },
            undo_email_change: Link { page: links.undo_email_change, life: TimeDelta::hours(72) },
            sign_in: links.sign_in,
            welcome: Default::default(),
        };
        let tokens = Arc::new(OneTimeTokens::new(&root));
        let clock = self.clock.clone();
        Mailer::new(self.database.database(), Arc::new(transport), tokens, clock, settings)
    }

    async fn write(&self, kind: &str, locale: &str, nonce: Option<[u8; 32]>) -> Uuid {
        let id = SystemClock.new_id();
        let nonce = nonce.map_or("NULL".to_owned(), |nonce| {
            let hex: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{hex}'")
        });
        let (customer, now) = (self.customer, self.clock.now().to_rfc3339());
        let insert = format!(
            "INSERT INTO mails (id, customer_id, kind, locale, nonce, created_at, due_at) \
             VALUES ('{id}', '{customer}', '{kind}', '{locale}', {nonce}, '{now}', '{now}')"
        );
        self.client.batch_execute(&insert).await.unwrap();
        id
    }

    /// sent, given up, tries, last error, seconds until due.
    async fn state(&self, id: Uuid) -> (bool, bool, i32, Option<String>, i64) {
        let now = self.clock.now().to_rfc3339();
        let query = format!(
            "SELECT sent_at IS NOT NULL, given_up_at IS NOT NULL, tries, last_error, \
             extract(epoch FROM due_at - '{now}'::timestamptz)::bigint FROM mails WHERE id = '{id}'"
        );
        let row = self.client.query_one(&query, &[]).await.unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
    }

    fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(entry.unwrap().path()).unwrap()
        };
        entries.map(read).collect()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_a_mail_is_sent_in_its_language_with_the_token_of_its_nonce() {
    let post = Post::new().await;
    let mut mailer = post.mailer(post.folder.clone());
    let id = post.write("verify_email", "vi-VN", Some(NONCE)).await;
    assert_eq!(mailer.run_once().await.unwrap().handled, 1);
    let (sent, given_up, tries, error, _) = post.state(id).await;
    assert_eq!((sent, given_up, tries, error), (true, false, 0, None));

    let [file] = &post.files()[..] else { panic!("one mail") };
    let token = OneTimeTokens::new(&RootSecret::new([1; 32])).issue("verify_email", NONCE).token;
    let flat = file.replace("=\r\n", "").replace("=3D", "=");
    assert!(flat.contains(&format!("token={}", token.as_str())), "{file}");
    assert!(file.contains("To: lan@example.com\r\n") && file.contains("Content-Language: vi"));
    assert_eq!(mailer.run_once().await.unwrap().handled, 0, "it is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_that_of_the_moment_of_sending() {
    let post = Post::new().await;
    let id = post.write("already_registered", "en", None).await;
    let change =
        "UPDATE customers SET email = 'new@example.com', email_canonical = 'new@example.com'";
    post.client.batch_execute(change).await.unwrap();
    post.mailer(post.folder.clone()).run_once().await.unwrap();
    assert!(post.files()[0].contains("To: new@example.com\r\n"));
    assert!(post.state(id).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_a_failing_server_delays_a_mail_ever_longer_and_gives_it_up_at_last() {
    let post = Post::new().await;
    std::fs::write(&post.folder, "a file where the folder should be").unwrap();
    let mut mailer = post.mailer(post.folder.join("below"));
    let id = post.write("already_registered", "en", None).await;
    for (tries, rest) in [(1, 30), (2, 60)] {
        assert_eq!(mailer.run_once().await.unwrap().handled, 1);
        let (sent, given_up, failed, error, due) = post.state(id).await;
        assert_eq!((sent, given_up, failed, due), (false, false, tries, rest));
        assert!(!error.unwrap().contains("lan@example.com"));
        assert_eq!(mailer.run_once().await.unwrap().handled, 0, "not before it is due");
        post.clock.advance(TimeDelta::seconds(rest));
    }
    mailer.run_once().await.unwrap();
    let (sent, given_up, tries, error, _) = post.state(id).await;
    assert_eq!((sent, given_up, tries, error.is_some()), (false, true, 3, true));
    std::fs::remove_file(&post.folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_a_server_that_is_away_delays_a_mail_and_costs_it_no_try() {
    let post = Post::new().await;
    let timeout = Duration::from_secs(1);
    let nobody = mail::Settings::Smtp { url: "smtp://127.0.0.1:1".into(), timeout };
    let mut mailer = post.mailer_by(nobody);
    let id = post.write("already_registered", "en", None).await;
    for rest in [30, 30, 60, 120, 240, 300, 300] {
        assert_eq!(mailer.run_once().await.unwrap().handled, 1);
        let (sent, given_up, tries, error, due) = post.state(id).await;
        assert_eq!((sent, given_up, tries, due), (false, false, 0, rest));
        assert_eq!(error.as_deref(), Some("the mail server cannot be reached"));
        post.clock.advance(TimeDelta::seconds(rest));
    }
    post.mailer(post.folder.clone()).run_once().await.unwrap();
    assert!(post.state(id).await.0, "it leaves once the server is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_mail_tells_the_hours_that_remain_and_never_carries_a_dead_link() {
    let post = Post::new().await;
    let mut mailer = post.mailer(post.folder.clone());
    let [late, later] = [
        post.write("verify_email", "en", Some(NONCE)).await,
        post.write("already_registered_pending", "en", Some([8; 32])).await,
    ];
    let hold = format!("UPDATE mails SET due_at = due_at + interval '1 day' WHERE id = '{later}'");
    post.client.batch_execute(&hold).await.unwrap();
    post.clock.advance(TimeDelta::minutes(20 * 60 + 30));
    mailer.run_once().await.unwrap();
    assert!(post.state(late).await.0);
    assert!(post.files()[0].contains(" 3 hours"), "{}", post.files()[0]);

    post.clock.advance(TimeDelta::minutes(3 * 60 + 30));
    mailer.run_once().await.unwrap();
    let (sent, given_up, _, error, _) = post.state(later).await;
    assert_eq!((sent, given_up), (false, true));
    assert_eq!(error.as_deref(), Some("its link has expired"));
    assert_eq!(post.files().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_sent_is_given_up_and_keeps_nobody_waiting() {
    let post = Post::new().await;
    let broken = post.write("verify_email", "en", None).await;
    let good = post.write("already_registered", "en", None).await;
    let mut mailer = post.mailer(post.folder.clone());
    mailer.run_once().await.unwrap();
    assert!(post.state(broken).await.1);
    assert!(post.state(good).await.0);
    let late = post.write("already_registered", "en", None).await;
    post.client.batch_execute("UPDATE customers SET deleted_at = now()").await.unwrap();
    mailer.run_once().await.unwrap();
    let (_, given_up, _, error, _) = post.state(late).await;
    assert_eq!((given_up, error.as_deref()), (true, Some("the customer is gone")));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mailers_never_take_the_same_mail_and_a_dead_ones_mails_come_back() {
    let post = Post::new().await;
    for _ in 0..60 {
        post.write("already_registered", "en", None).await;
    }
    let (mut one, mut two) = (post.mailer(post.folder.clone()), post.mailer(post.folder.clone()));
    let (first, second) = tokio::join!(one.run_once(), two.run_once());
    assert_eq!(first.unwrap().handled + second.unwrap().handled, 60, "none was taken twice");
    assert_eq!(post.files().len(), 60);

    // A mailer that died after taking its mail: the lease runs out.
    let id = post.write("already_registered", "en", None).await;
    let connection = post.database.database().get().await.unwrap();
    let now = post.clock.now();
    let lease = now + TimeDelta::seconds(120);
    let taken = customer_service::db::mails::claim(&connection, now, lease, 10).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(one.run_once().await.unwrap().handled, 0);
    post.clock.advance(TimeDelta::seconds(120));
    assert_eq!(one.run_once().await.unwrap().handled, 1);
    assert!(post.state(id).await.0);
}
