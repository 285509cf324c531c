//! What may be used once (rules L7, A7–A10): every such thing is used 64 times at the same moment,
//! on two nodes of one database, round after round, and works exactly once.
//!
//! Each test prints a line of its rounds; `make single-use` runs all of them with 50 rounds and
//! collects the lines.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::identity::{NATIVE_CLIENT_ID, Person};
use crate::harness::race::{Race, USES, Written, all_at_once, rounds, shop_with_two_nodes};
use crate::harness::shopper::{PASSWORD, address, refresh, register, sign_in, verify};
use crate::harness::{Api, Authenticator, IdentityProvider, Node, Shop, Shopper};
use crate::second_factors::{Guarded, codes, second_step, steady};
use crate::{email_change, passkeys, passwords, phones, second_factors, social};

/// What a sign-in writes on a device that is not the customer's first.
const SIGNED_IN_ON_ANOTHER_DEVICE: [&str; 4] = [
    "entry device.remembered",
    "entry mail.queued",
    "entry sign_in.succeeded",
    "message customer.signed_in",
];

/// A sign-in on another device, and what else was written with it.
fn signed_in_with(more: &[&'static str]) -> Vec<&'static str> {
    let mut written = [&SIGNED_IN_ON_ANOTHER_DEVICE, more].concat();
    // By name, as `Written` lists them: a number may stand in front.
    written.sort_by_key(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' '));
    written
}

/// The same by a backup code, of whose use the owner is told by another mail.
fn signed_in_by_backup_code(more: &[&'static str]) -> Vec<&'static str> {
    let by_code = ["entry mfa.backup_code_used", "message customer.mfa_changed"];
    let mut written = signed_in_with(&[&by_code[..], more].concat());
    for line in written.iter_mut().filter(|line| **line == "entry mail.queued") {
        *line = "2 entry mail.queued";
    }
    written
}

/// How many links of this customer were used, and are not void.
async fn links_used(shop: &Shop, customer: &str, purpose: &str) -> i64 {
    let used = format!(
        "SELECT count(*) FROM one_time_tokens WHERE customer_id = '{customer}' \
         AND purpose = '{purpose}' AND used_at IS NOT NULL AND voided_at IS NULL"
    );
    shop.database.count(&used).await
}

/// How many flows of this kind are finished.
async fn flows_used(shop: &Shop, kind: &str) -> i64 {
    let used =
        format!("SELECT count(*) FROM sign_in_flows WHERE kind = '{kind}' AND used_at IS NOT NULL");
    shop.database.count(&used).await
}

async fn sessions(shop: &Shop, customer: &str) -> i64 {
    let sessions = format!("SELECT count(*) FROM sessions WHERE customer_id = '{customer}'");
    shop.database.count(&sessions).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a8_a_verification_link_works_once() {
    let (shop, nodes) = shop_with_two_nodes(&[]).await;
    let mut race = Race::new("verification link", "200", "422 token_invalid");
    for _ in 0..rounds() {
        let email = address();
        register(&nodes[0], &email).await.expect(202);
        let token = &shop.mail_to(&email, 1).await.token();
        let whose = format!("SELECT id FROM customers WHERE email = '{email}'");
        let id = shop.database.one(&whose).await;
        let written = Written::about(&shop, &id).await;
        let (_, answer) = race.round(&nodes, |node, _| verify(node, token)).await;
        assert_eq!(Shopper::of(&email, &answer).id, id);
        let expected = [
            "entry customer.status_changed",
            "entry customer.verified",
            "entry device.remembered",
            "entry sign_in.succeeded",
            "entry token.used",
            "message customer.signed_in",
            "message customer.status_changed",
            "message customer.verified",
        ];
        assert_eq!(written.since().await, expected);
        assert_eq!(links_used(&shop, &id, "verify_email").await, 1);
        assert_eq!(sessions(&shop, &id).await, 1);
    }
    race.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_a_reset_link_works_once() {
    let (shop, nodes) = shop_with_two_nodes(&[]).await;
    let mut race = Race::new("reset link", "204", "422 token_invalid");
    for round in 0..rounds() {
        let shopper = Shopper::new(&shop, &nodes[0]).await;
        passwords::forgot(&nodes[round % 2], &shopper.email).await.expect(202);
        let token = &shop.mail_to(&shopper.email, 2).await.token();
        let password = |number: usize| format!("{} {number}", passwords::OTHER);
        let written = Written::about(&shop, &shopper.id).await;
        let (number, _) = race
            .round(&nodes, |node, number| async move {
                passwords::reset(node, token, &password(number)).await
            })
            .await;
        let expected = [
            "entry customer.password_changed",
            "entry device.forgotten",
            "entry mail.queued",
            "entry session.revoked",
            "entry token.used",
            "message customer.password_changed",
            "message customer.session_revoked",
        ];
        assert_eq!(written.since().await, expected);
        assert_eq!(links_used(&shop, &shopper.id, "reset_password").await, 1);
        let another = password((number + 1) % USES);
        sign_in(&nodes[0], &shopper.email, &another).await.problem(401, "invalid_credentials");
        sign_in(&nodes[1], &shopper.email, &password(number)).await.expect(200);
    }
    race.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a8_the_links_of_a_changed_address_work_once_there_and_once_back() {
    let (shop, nodes) = shop_with_two_nodes(&[]).await;
    let mut there = Race::new("link to confirm a changed address", "204", "422 token_invalid");
    let mut back = Race::new("link to undo a changed address", "204", "422 token_invalid");
    let changed = [
        "entry customer.email_changed",
        "entry customer.updated",
        "entry customer.verified",
        "entry mail.queued",
        "entry token.issued",
        "entry token.used",
        "message customer.email_changed",
        "message customer.updated",
        "message customer.verified",
    ];
    for round in 0..rounds() {
        let shopper = Shopper::new(&shop, &nodes[0]).await;
        let new = address();
        email_change::ask(&nodes[round % 2], &shopper, &new).await.expect(202);
        let token = &email_change::mail(&shop, &new, "change_email").await.token();
        let written = Written::about(&shop, &shopper.id).await;
        there.round(&nodes, |node, _| email_change::confirm(node, token)).await;
        assert_eq!(written.since().await, changed);
        assert_eq!(links_used(&shop, &shopper.id, "change_email").await, 1);

        let token = &email_change::mail(&shop, &shopper.email, "email_changed").await.token();
        let written = Written::about(&shop, &shopper.id).await;
        back.round(&nodes, |node, _| email_change::undo(node, token)).await;
        let mut expected = changed.to_vec();
        expected.extend([
            "entry customer.password_changed",
            "entry device.forgotten",
            "entry session.revoked",
            "message customer.password_changed",
            "message customer.session_revoked",
        ]);
        expected.sort_unstable();
        assert_eq!(written.since().await, expected);
        assert_eq!(links_used(&shop, &shopper.id, "undo_email_change").await, 1);
    }
    there.report();
    back.report();
}

/// Within its grace a refresh token may be shown again, for an answer that was lost: all uses get
/// one and the same child, and the token is rotated once. After its grace it is a copy: its session
/// ends, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_refresh_token_has_one_child_and_a_copy_ends_its_session_once() {
    let (shop, nodes) = shop_with_two_nodes(&[]).await;
    let owner = Shopper::new(&shop, &nodes[0]).await;
    let mut children = 0;
    let mut copy = Race::new("rotated refresh token", "401 refresh_reused", "401 refresh_invalid");
    for round in 0..rounds() {
        let shopper = owner.again(&nodes[round % 2]).await;
        let written = Written::about(&shop, &owner.id).await;
        let answers = all_at_once(&nodes, |node, _| refresh(node, &shopper.refresh)).await;
        let pairs = answers.into_iter().map(|answer| Shopper::of("", &answer.expect(200)));
        let tokens: BTreeSet<_> = pairs.map(|pair| pair.refresh).collect();
        assert_eq!(tokens.len(), 1, "round {round}");
        children += tokens.len();
        assert_eq!(written.since().await, ["entry session.refreshed"]);
        let generation =
            format!("SELECT generation FROM sessions WHERE id = '{}'", shopper.session);
        assert_eq!(shop.database.count(&generation).await, 1);

        let age = format!(
            "UPDATE sessions SET rotated_at = rotated_at - interval '61 seconds' WHERE id = '{}'",
            shopper.session
        );
        shop.database.execute(&age).await;
        let written = Written::about(&shop, &owner.id).await;
        copy.round(&nodes, |node, _| refresh(node, &shopper.refresh)).await;
        let expected = ["entry session.revoked", "message customer.session_revoked"];
        assert_eq!(written.since().await, expected);
        for child in tokens {
            refresh(&nodes[round % 2], &child).await.problem(401, "refresh_invalid");
        }
    }
    let (rounds, again) = (rounds(), rounds() * USES - children);
    println!(
        "refresh token: {rounds} rounds of {USES} uses over two nodes, {children} successes, \
         0 refused, {again} given the same child again"
    );
    copy.report();
}

/// The code that ends the setting up hands out backup codes: one set, to one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_the_first_code_of_an_authenticator_works_once() {
    let (shop, nodes) = shop_with_two_nodes(&[]).await;
    let mut race = Race::new("first code of an authenticator", "200", "409 mfa_enabled");
    for round in 0..rounds() {
        let shopper = &Shopper::new(&shop, &nodes[0]).await;
        steady(8).await;
        let setup = second_factors::start(&nodes[round % 2], shopper).await.expect(200).json();
        let code = &second_factors::Authenticator::new(&setup).code(0);
        let written = Written::about(&shop, &shopper.id).await;
        let (_, answer) =
            race.round(&nodes, |node, _| second_factors::confirm(node, shopper, code)).await;
        let expected = [
            "entry mail.queued",
            "entry mfa.backup_codes_issued",
            "entry mfa.totp_enabled",
            "2 message customer.mfa_changed",
        ];
        assert_eq!(written.since().await, expected);
        let challenge = sign_in(&nodes[0], &shopper.email, PASSWORD).await;
        let challenge = challenge.expect(200).json()["challenge"].as_str().unwrap().to_owned();
        let code = &codes(&answer.json())[9];
        second_step(&nodes[1], &challenge, "backup_code", code).await.expect(200);
    }
    race.report();
}

/// A customer with an authenticator, and a challenge for each use.
struct Challenged {
    shop: Shop,
    nodes: [Node; 2],
    guarded: Guarded,
    challenges: Vec<String>,
}

impl Challenged {
    async fn new() -> Self {
        let (shop, nodes) = shop_with_two_nodes(&[]).await;
        let guarded = Guarded::new(&shop, &nodes[0]).await;
        shop.database.execute("CREATE TABLE all_codes AS SELECT * FROM backup_codes").await;
        let mut challenges = Vec::new();
        for number in 0..USES {
            challenges.push(guarded.challenge(&nodes[number % 2]).await);
        }
        Self { shop, nodes, guarded, challenges }
    }

    /// Undoes what a round left behind: used steps, codes and challenges, failures, sessions.
    async fn begin_anew(&self) -> Written<'_> {
        let statements = "DELETE FROM sign_in_throttles; \
             UPDATE customer_totp SET last_step = 0; \
             INSERT INTO backup_codes SELECT * FROM all_codes ON CONFLICT DO NOTHING; \
             UPDATE sign_in_flows SET failures = 0, used_at = NULL; \
             DELETE FROM sessions WHERE second_factor IS NOT NULL; \
             DELETE FROM devices WHERE id NOT IN (SELECT device_id FROM sessions)";
        self.shop.database.execute(statements).await;
        Written::about(&self.shop, &self.guarded.shopper.id).await
    }

    /// One session more than the owner's, one challenge finished, this many codes left.
    async fn assert_one_use(&self, codes_left: i64) {
        assert_eq!(sessions(&self.shop, &self.guarded.shopper.id).await, 2);
        assert_eq!(flows_used(&self.shop, "second_factor").await, 1);
        let left = "SELECT count(*) FROM backup_codes";
        assert_eq!(self.shop.database.count(left).await, codes_left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_a_step_of_an_authenticator_works_once() {
    let all = Challenged::new().await;
    let challenges = &all.challenges;
    let mut race = Race::new("step of an authenticator", "200", "401 invalid_credentials");
    for _ in 0..rounds() {
        let written = all.begin_anew().await;
        steady(8).await;
        let code = &all.guarded.app.code(0);
        race.round(&all.nodes, |node, number| second_step(node, &challenges[number], "totp", code))
            .await;
        assert_eq!(written.since().await, signed_in_with(&["63 entry sign_in.failed"]));
        all.assert_one_use(10).await;
    }
    race.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_a_backup_code_works_once() {
    let all = Challenged::new().await;
    let challenges = &all.challenges;
    let mut race = Race::new("backup code", "200", "401 invalid_credentials");
    for round in 0..rounds() {
        let written = all.begin_anew().await;
        let code = &all.guarded.backup_codes[round % 10];
        race.round(&all.nodes, |node, number| {
            second_step(node, &challenges[number], "backup_code", code)
        })
        .await;
        let expected = signed_in_by_backup_code(&["63 entry sign_in.failed"]);
        assert_eq!(written.since().await, expected);
        all.assert_one_use(9).await;
    }
    race.report();
}

/// Every use is right by itself: ten backup codes and a code of the authenticator, in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_the_challenge_of_a_second_step_works_once() {
    let all = Challenged::new().await;
    let backup_codes = &all.guarded.backup_codes;
    let mut race = Race::new("challenge of a second step", "200", "401 flow_invalid");
    for round in 0..rounds() {
        let written = all.begin_anew().await;
        steady(8).await;
        let (challenge, totp) = (&all.challenges[round % USES], &all.guarded.app.code(0));
        let (number, _) = race
            .round(&all.nodes, |node, number| match backup_codes.get(number % 11) {
                Some(code) => second_step(node, challenge, "backup_code", code),
                None => second_step(node, challenge, "totp", totp),
            })
            .await;
        let (expected, codes_left) = match number % 11 {
            0..10 => (signed_in_by_backup_code(&[]), 9),
            _ => (signed_in_with(&[]), 10),
        };
        assert_eq!(written.since().await, expected);
        all.assert_one_use(codes_left).await;
    }
    race.report();
}

/// A customer and its device, which counts nothing: nothing but the challenge tells one use from the
/// next.
async fn with_passkey(shop: &Shop, node: &Api) -> (Shopper, Authenticator, String) {
    let shopper = Shopper::new(shop, node).await;
    let mut device = Authenticator { counts: false, ..passkeys::device() };
    let id = passkeys::enrol(&shopper, node, &mut device).await;
    (shopper, device, id)
}

/// Forgets the sessions of earlier rounds: there is a limit to them.
async fn forget_sessions(shop: &Shop, keep: &str) {
    let statements = format!(
        "DELETE FROM sessions WHERE id <> '{keep}'; \
         DELETE FROM devices WHERE id NOT IN (SELECT device_id FROM sessions)"
    );
    shop.database.execute(&statements).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_the_challenge_of_a_passkey_works_once() {
    let (shop, nodes) = shop_with_two_nodes(&passkeys::SETTINGS).await;
    let (shopper, mut device, _) = with_passkey(&shop, &nodes[0]).await;
    let mut race = Race::new("challenge of a passkey, to sign in", "200", "401 flow_invalid");
    for round in 0..rounds() {
        forget_sessions(&shop, &shopper.session).await;
        let asked = &passkeys::ask(&nodes[round % 2]).await;
        let credential = &device.get(&asked["public_key"], None);
        let written = Written::about(&shop, &shopper.id).await;
        race.round(&nodes, |node, _| passkeys::answer(node, asked, credential)).await;
        assert_eq!(written.since().await, signed_in_with(&["entry passkey.used"]));
        assert_eq!(sessions(&shop, &shopper.id).await, 2);
        assert_eq!(flows_used(&shop, "passkey_sign_in").await, round as i64 + 1);
    }
    race.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_the_challenge_of_a_new_passkey_works_once() {
    let (shop, nodes) = shop_with_two_nodes(&passkeys::SETTINGS).await;
    let shopper = &Shopper::new(&shop, &nodes[0]).await;
    let mut race = Race::new("challenge of a passkey, to register", "201", "401 flow_invalid");
    for round in 0..rounds() {
        // There is a limit to how many one customer has.
        shop.database.execute("DELETE FROM passkeys").await;
        let asked = &passkeys::begin(shopper, &nodes[round % 2]).await;
        let credential = &passkeys::device().create(&asked["public_key"], None);
        let written = Written::about(&shop, &shopper.id).await;
        race.round(&nodes, |node, _| passkeys::finish(shopper, node, asked, credential.clone()))
            .await;
        let expected = ["entry mail.queued", "entry passkey.added", "message customer.mfa_changed"];
        assert_eq!(written.since().await, expected);
        assert_eq!(shop.database.count("SELECT count(*) FROM passkeys").await, 1);
        assert_eq!(flows_used(&shop, "passkey_registration").await, round as i64 + 1);
    }
    race.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_a9_the_answer_of_a_passkey_as_second_factor_works_once() {
    let (shop, nodes) = shop_with_two_nodes(&passkeys::SETTINGS).await;
    let (shopper, mut device, id) = with_passkey(&shop, &nodes[0]).await;
    passkeys::switch(&shopper, &nodes[0], &id, true).await.expect(200);
    let mut race = Race::new("challenge of a passkey, as second factor", "200", "401 flow_invalid");
    for round in 0..rounds() {
        forget_sessions(&shop, &shopper.session).await;
        let email = &shopper.email;
        let asked = sign_in(&nodes[round % 2], email, PASSWORD).await;
        let asked = &asked.expect(200).json();
        let credential = &device.get(&asked["public_key"], None);
        let written = Written::about(&shop, &shopper.id).await;
        race.round(&nodes, |node, _| passkeys::second_step(node, asked, credential)).await;
        assert_eq!(written.since().await, signed_in_with(&["entry passkey.used"]));
        assert_eq!(sessions(&shop, &shopper.id).await, 2);
        assert_eq!(flows_used(&shop, "second_factor").await, round as i64 + 1);
    }
    race.report();
}

/// Comes back from a provider 64 times with the bodies that `way` brings. Each round somebody new,
/// who becomes one customer.
async fn come_back(
    mut race: Race,
    flow: &str,
    way: impl AsyncFn(&IdentityProvider, &Api, &Person) -> Vec<Value>,
) {
    let provider = IdentityProvider::start().await;
    let settings = provider.settings("google");
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let (shop, nodes) = shop_with_two_nodes(&settings).await;
    for round in 0..rounds() {
        let person = Person::new();
        let bodies = &way(&provider, &nodes[round % 2], &person).await;
        let (_, answer) = race
            .round(&nodes, |node, number| social::post(node, "google", bodies[number].clone()))
            .await;
        let shopper = Shopper::of(&person.email, &answer);
        let expected = [
            "entry customer.created",
            "entry customer.identity_linked",
            "entry customer.verified",
            "entry device.remembered",
            "entry mail.queued",
            "entry sign_in.succeeded",
            "message customer.created",
            "message customer.identity_linked",
            "message customer.signed_in",
            "message customer.verified",
        ];
        assert_eq!(Written::nothing_about(&shop, &shopper.id).since().await, expected);
        let customers = "SELECT count(*) FROM customers";
        assert_eq!(shop.database.count(customers).await, round as i64 + 1);
        assert_eq!(sessions(&shop, &shopper.id).await, 1);
        assert_eq!(flows_used(&shop, flow).await, round as i64 + 1);
    }
    race.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_the_state_of_a_way_to_a_provider_works_once() {
    let race = Race::new("social state", "200", "401 identity_invalid");
    come_back(race, "social", async |provider, node, person| {
        let begun = node.get(&social::path("google")).send().await;
        let (url, state) = social::begin(&begun);
        // A provider takes each of its codes once: with one for each use, only the state is spent.
        let codes = (0..USES).map(|_| provider.agree(&url, person));
        codes.map(|code| json!({ "code": code, "state": state })).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_a_token_from_an_app_works_once() {
    let race = Race::new("token of a provider from an app", "200", "401 identity_invalid");
    come_back(race, "spent", async |provider, _, person| {
        let id_token = provider.id_token(person, NATIVE_CLIENT_ID, social::NONCE);
        vec![json!({ "id_token": id_token, "nonce": social::NONCE }); USES]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a8_a_phone_code_works_once() {
    let (shop, nodes) = shop_with_two_nodes(&[]).await;
    let shopper = &Shopper::new(&shop, &nodes[0]).await;
    let mut race = Race::new("phone code", "200", "422 token_invalid");
    for round in 0..rounds() {
        let number = format!("+8491234{:04}", 1000 + round);
        phones::ask(&nodes[round % 2], shopper, &number).await.expect(202);
        let code = &shop.text_to(&number, 1).await.code();
        let written = Written::about(&shop, &shopper.id).await;
        race.round(&nodes, |node, _| phones::confirm(node, shopper, code)).await;
        let expected = [
            "entry customer.phone_changed",
            "entry customer.updated",
            "entry customer.verified",
            "entry mail.queued",
            "message customer.phone_changed",
            "message customer.updated",
            "message customer.verified",
        ];
        assert_eq!(written.since().await, expected);
        let waiting = "SELECT count(*) FROM phone_confirmations";
        assert_eq!(shop.database.count(waiting).await, 0);
        let handles =
            "SELECT string_agg(value, ' ') FROM customer_identifiers WHERE kind = 'phone'";
        assert_eq!(shop.database.one(handles).await, number, "the older numbers are free again");
    }
    race.report();
}
