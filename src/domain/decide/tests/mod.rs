//! The rules as tables: given a state, when a command, then these events, this outcome or this
//! refusal. Each test bears the number of the rule that it proves.

mod addresses;
mod attributes;
mod consents;
mod deletions;
mod email_change;
mod groups;
mod identities;
mod imports;
mod lifecycle;
mod merges;
mod messages;
mod notes;
mod orders;
mod passkeys;
mod passwords;
mod people;
mod permissions;
mod personal;
mod phones;
mod privacy_exports;
mod random;
mod reconciliation;
mod record;
mod second_factor;
mod secrets;
mod segments;
mod sessions;
mod sign_in;
mod strangers;
mod wishlists;

use crate::domain::address::{AddressFields, AddressKind, AddressLimits};
use crate::domain::command::*;
use crate::domain::consent::{
    Channel as ConsentChannel, MarketingTerms, MarketingWish, TextVersion,
};
use crate::domain::credential::PasswordHash;
use crate::domain::customer::{Customer, CustomerType, GroupCode, Tags};
use crate::domain::decide::{Decision, decide};
use crate::domain::email::EmailAddress;
use crate::domain::event::Event;
use crate::domain::evolve::evolve;
use crate::domain::identity::Account;
use crate::domain::ids::*;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::phone::PhoneNumber;
use crate::domain::place::{Country, Currency, Locale, TimeZone};
use crate::domain::proof::Proof;
use crate::domain::region::RegionCode;
use crate::domain::session::{Client, Device, SecretHash, SessionPolicy};
use crate::domain::state::State;
use crate::domain::status::{ReasonCode, Status};
use crate::domain::text::{Label, Line, PersonName};
use crate::domain::throttle::{Bucket, Factor, Guard, ThrottlePolicy};
use crate::domain::token::FreshToken;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

// --- given, when, then ------------------------------------------------------------------------

struct Given {
    state: State,
    actor: Actor,
    now: DateTime<Utc>,
}

/// A state, looked at by its owner a thousand seconds after the beginning.
fn given(state: State) -> Given {
    Given { state, actor: owner(), now: at(1_000) }
}

impl Given {
    fn by(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }

    fn at(self, seconds: i64) -> Self {
        Self { now: at(seconds), ..self }
    }

    fn when(self, command: Command) -> Then {
        let context = Context {
            actor: self.actor,
            now: self.now,
            request_id: "request".into(),
            traceparent: None,
        };
        let decision = decide(&self.state, &command, &context);
        let mut after = self.state.clone();
        if let Ok(decided) = &decision {
            decided.events.iter().for_each(|event| evolve(&mut after, event));
            if let Some(other) = &mut after.other {
                decided.of_other.iter().for_each(|event| evolve(other, event));
            }
        }
        Then { before: self.state, after, decision }
    }
}

struct Then {
    before: State,
    after: State,
    decision: Decision,
}

impl Then {
    #[track_caller]
    fn events(&self) -> &[Event] {
        match &self.decision {
            Ok(decided) => &decided.events,
            Err(rejection) => panic!("refused: {rejection:?}"),
        }
    }

    /// Exactly these events, by their names, in this order.
    #[track_caller]
    fn happens(self, names: &[&str]) -> Self {
        assert_eq!(self.events().iter().map(name).collect::<Vec<_>>(), names);
        self
    }

    /// Exactly these messages, in this order.
    #[track_caller]
    fn tells(self, kinds: &[&str]) -> Self {
        assert_eq!(self.messages().iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), kinds);
        self
    }

    #[track_caller]
    fn messages(&self) -> Vec<(&'static str, Value)> {
        let messages = self.events().iter().filter_map(|event| event.message(customer_id()));
        messages.map(|message| (message.kind(), message.data())).collect()
    }

    /// No event, so nothing is saved and nobody is told.
    #[track_caller]
    fn changes_nothing(self) -> Self {
        self.happens(&[])
    }

    #[track_caller]
    fn refused(self, expected: Rejection) {
        assert_eq!(self.decision.expect_err("was not refused"), expected);
    }

    #[track_caller]
    fn outcome(&self) -> Outcome {
        match &self.decision {
            Ok(decided) => decided.answer.clone().outcome(&self.after),
            Err(rejection) => panic!("refused: {rejection:?}"),
        }
    }

    /// The customer's version, before and after.
    #[track_caller]
    fn versions(&self) -> (i64, i64) {
        (customer(&self.before).version, customer(&self.after).version)
    }
}

/// The name of an event's variant.
fn name(event: &Event) -> String {
    let text = format!("{event:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[track_caller]
fn customer(state: &State) -> &crate::domain::customer::Customer {
    state.customer.as_ref().expect("there is a customer")
}

// --- who and when -----------------------------------------------------------------------------

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

const DAY: i64 = 86_400;

fn customer_id() -> CustomerId {
    CustomerId(Uuid::from_u128(1))
}

fn owner() -> Actor {
    Actor::Customer(customer_id())
}

fn staff() -> Actor {
    Actor::Staff("key".into())
}

fn session_id(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(1_000 + n))
}

fn device_id(n: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(2_000 + n))
}

fn address_id(n: u128) -> AddressId {
    AddressId(Uuid::from_u128(3_000 + n))
}

fn claim_id(n: u128) -> ClaimId {
    ClaimId(Uuid::from_u128(4_000 + n))
}

fn mail_id(n: u128) -> MailId {
    MailId(Uuid::from_u128(5_000 + n))
}

fn hash(n: u8) -> SecretHash {
    [n; 32]
}

const BUCKET: Bucket = [7; 32];
/// The challenge that a sign-in is prepared with.
const CHALLENGE: u8 = 0xcc;

const GUARD: Guard = Guard { bucket: BUCKET, factor: Factor::Password, policy: LOCKS };

const LOCKS: ThrottlePolicy = ThrottlePolicy {
    max_failures: 5,
    window: TimeDelta::minutes(15),
    lock: TimeDelta::minutes(15),
    lock_max: TimeDelta::hours(24),
    claim_timeout: TimeDelta::seconds(30),
};

const SESSIONS: SessionPolicy = SessionPolicy {
    sliding: TimeDelta::days(30),
    absolute: TimeDelta::days(180),
    reuse_grace: TimeDelta::seconds(10),
};

// --- values -----------------------------------------------------------------------------------

/// Every personal value that the commands of these tests give, as it would show in a text.
const PERSONAL: &[&str] = &[
    "Zfirst",
    "Zlast",
    "zmail",
    "912345678",
    "Zlabel",
    "Zrecipient",
    "Zcompany",
    "Zline",
    "Zcity",
    "Zregion",
    "Z1P",
    "Zgender",
    "zavatar",
    "Ztax",
    "Zbio",
    "Zvalue",
    "Ztag",
    "Ztopic",
    "Zagent",
    "Zdevice",
    "203.0.113.77",
    "1987-06-05",
    "$argon2id$Z",
    "zaccount",
    "zsubject",
    "Zlist",
    "Znote",
];

const PASSWORD_HASH: &str = "$argon2id$Zpassword";

fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}

fn person(text: &str) -> PersonName {
    PersonName::parse(text).unwrap()
}

fn country(code: &str) -> Country {
    Country::parse(code).unwrap()
}

fn phone() -> PhoneNumber {
    PhoneNumber::parse("+84 912 345 678").unwrap()
}

fn group(code: &str) -> GroupCode {
    GroupCode::parse(code).unwrap()
}

fn reason() -> ReasonCode {
    ReasonCode::parse("fraud_suspected").unwrap()
}

fn custom(pairs: &[(&str, Value)]) -> serde_json::Map<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

/// A confirmation token for a day from `seconds`.
fn token(n: u8, seconds: i64) -> FreshToken {
    FreshToken { nonce: [n; 32], hash: hash(n), expires_at: at(seconds + DAY) }
}

fn fresh_session(n: u128) -> FreshSession {
    FreshSession {
        id: session_id(n),
        refresh_hash: hash(100),
        client: Client {
            device_name: Some("Zdevice".into()),
            user_agent: Some("Zagent".into()),
            address: Some("203.0.113.77".parse().unwrap()),
        },
        device: SessionDevice::New(Device {
            id: device_id(n),
            secret_hash: hash(101),
            created_at: at(0),
            last_used_at: at(0),
        }),
        policy: SESSIONS,
    }
}

const LIMITS: AddressLimits = AddressLimits { individual: 50, business: 50 };

fn address_fields(country_code: &str, postal_code: Option<&str>) -> AddressFields {
    AddressFields {
        label: Some(Label::parse("Zlabel").unwrap()),
        recipient: line("Zrecipient"),
        company: Some(line("Zcompany")),
        line1: line("Zline1"),
        line2: Some(line("Zline2")),
        city: line("Zcity"),
        region: Some(line("Zregion")),
        region_code: None,
        postal_code: postal_code.map(str::to_owned),
        country: country(country_code),
        phone: Some(phone()),
    }
}

// --- commands ---------------------------------------------------------------------------------

fn register() -> Command {
    Command::Register(Box::new(Register {
        id: customer_id(),
        email: EmailAddress::parse("zmail@example.org").unwrap(),
        password_hash: PASSWORD_HASH.into(),
        first_name: person("Zfirst"),
        last_name: person("Zlast"),
        phone: Some(phone()),
        customer_type: CustomerType::Individual,
        group: group("individual"),
        marketing: None,
        locale: Locale::parse("vi-VN").unwrap(),
        timezone: TimeZone::parse("Asia/Ho_Chi_Minh").unwrap(),
        currency: Currency::parse("VND").unwrap(),
        mail_id: mail_id(1),
        token: token(1, 0),
    }))
}

fn marketing_terms() -> MarketingTerms {
    MarketingTerms {
        text_version: TextVersion::parse("1").unwrap(),
        channels: vec![ConsentChannel::Email],
    }
}

fn marketing(accepts: bool) -> Option<MarketingWish> {
    Some(MarketingWish { accepts, terms: marketing_terms() })
}

fn create_by_staff() -> Command {
    Command::CreateByStaff(Box::new(CreateByStaff {
        id: customer_id(),
        email: EmailAddress::parse("zmail@example.org").unwrap(),
        first_name: person("Zfirst"),
        last_name: person("Zlast"),
        phone: None,
        customer_type: CustomerType::Business,
        group: group("business"),
        tags: Tags::parse(&["Ztag".into()]).unwrap(),
        marketing: Some(marketing_terms()),
        locale: Locale::parse("de").unwrap(),
        timezone: TimeZone::parse("UTC").unwrap(),
        currency: Currency::parse("EUR").unwrap(),
    }))
}

fn verify(token: u8, session: u128) -> Command {
    Command::VerifyEmail { token_hash: hash(token), session: Box::new(fresh_session(session)) }
}

fn resend(n: u8, seconds: i64) -> Command {
    Command::ResendVerification { mail_id: mail_id(n.into()), token: token(n, seconds) }
}

fn sign_in(claim: u128, session: u128) -> Command {
    Command::SignIn(Box::new(SignIn {
        proof: Proof::Password {
            guard: GUARD,
            claim: claim_id(claim),
            verified_hash: PasswordHash::new(PASSWORD_HASH),
        },
        rehash: None,
        session: fresh_session(session),
        challenge: Some(challenge(CHALLENGE)),
    }))
}

/// By the link with token `n`.
fn reset_password(n: u8) -> Command {
    Command::ResetPassword(Box::new(ResetPassword {
        token_hash: hash(n),
        password_hash: PasswordHash::new("$argon2id$Zreset"),
        buckets: vec![BUCKET],
        mail_id: mail_id(70),
    }))
}

fn change_password(claim: u128, keep: u128) -> Command {
    Command::ChangePassword(Box::new(ChangePassword {
        proof: Proof::Password {
            guard: GUARD,
            claim: claim_id(claim),
            verified_hash: PasswordHash::new(PASSWORD_HASH),
        },
        password_hash: PasswordHash::new("$argon2id$Zchange"),
        keep: session_id(keep),
        mail_id: mail_id(71),
    }))
}

/// A challenge of five minutes, made at second 1,000.
fn challenge(n: u8) -> FreshChallenge {
    FreshChallenge { hash: hash(n), payload: vec![n], expires_at: at(1_300) }
}

fn account(provider: &str, subject: &str) -> Account {
    let email = Some(EmailAddress::parse("zaccount@example.org").unwrap());
    Account { provider: provider.into(), subject: format!("zsubject{subject}"), email }
}

fn link_identity(provider: &str, subject: &str) -> Command {
    let account = Box::new(account(provider, subject));
    Command::LinkIdentity { account, mail_id: mail_id(71) }
}

/// Proven by the age of a session.
fn unlink_identity(provider: &str, session: u128) -> Command {
    Command::UnlinkIdentity {
        provider: provider.into(),
        proof: Proof::RecentSession {
            session: session_id(session),
            max_age: TimeDelta::minutes(10),
        },
        mail_id: mail_id(72),
    }
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

/// Asked for by who signed in as session 1 lately.
fn request_email(to: &str, token: FreshToken) -> RequestEmailChange {
    RequestEmailChange {
        proof: Proof::RecentSession { session: session_id(1), max_age: TimeDelta::minutes(10) },
        email: email(to),
        letter: Letter::Confirmation,
        letter_id: mail_id(72),
        notice_id: mail_id(73),
        token,
    }
}

fn confirm_email(token_hash: SecretHash, undo: FreshToken) -> Command {
    let mail_id = mail_id(74);
    Command::ConfirmEmailChange(Box::new(ConfirmEmailChange { token_hash, mail_id, undo }))
}

fn undo_email(token_hash: SecretHash, reset: FreshToken) -> Command {
    let mail_id = mail_id(75);
    let reach = TimeDelta::seconds(DAY);
    Command::UndoEmailChange(Box::new(UndoEmailChange { token_hash, mail_id, reset, reach }))
}

fn claim(n: u128) -> Command {
    Command::ClaimAttempt { guard: GUARD, claim: claim_id(n) }
}

fn fail(n: u128) -> Command {
    Command::FailAttempt { guard: GUARD, claim: claim_id(n) }
}

fn release(n: u128) -> Command {
    Command::ReleaseAttempt { bucket: BUCKET, claim: claim_id(n) }
}

fn refresh(session: u128, presented: u8, child: u8) -> Command {
    Command::Refresh {
        session_id: session_id(session),
        presented: hash(presented),
        child: hash(child),
        policy: SESSIONS,
    }
}

fn move_status(to: Status) -> Command {
    Command::MoveStatus { to, reason: reason() }
}

fn update_customer(change: CustomerChange) -> Command {
    Command::UpdateCustomer { change: Box::new(change), if_match: None }
}

fn update_profile(change: ProfileChange) -> Command {
    Command::UpdateProfile { change: Box::new(change), if_match: None }
}

fn update_preferences(change: PreferencesChange) -> Command {
    Command::UpdatePreferences { change: Box::new(change), if_match: None }
}

fn add_address(n: u128, defaults: &[AddressKind]) -> Command {
    Command::AddAddress {
        id: address_id(n),
        fields: Box::new(address_fields("VN", Some("700000"))),
        defaults: defaults.to_vec(),
        limits: LIMITS,
    }
}

fn change_address(n: u128, change: AddressChange) -> Command {
    Command::ChangeAddress { id: address_id(n), change: Box::new(change), if_match: None }
}

fn delete_address(n: u128) -> Command {
    Command::DeleteAddress { id: address_id(n), if_match: None }
}

fn set_default(n: u128, kind: AddressKind) -> Command {
    Command::SetDefaultAddress { id: address_id(n), kind, if_match: None }
}

// --- states -----------------------------------------------------------------------------------

/// Registered at the beginning; token 1 is in the mail. The shop has some custom attributes.
fn pending() -> State {
    let state = State { attributes: attributes::defined(), ..State::default() };
    given(state).by(Actor::Anonymous).at(0).when(register()).after
}

/// Registered, confirmed ten seconds later and signed in as session 1 with refresh token 100.
fn signed_in() -> State {
    given(pending()).by(Actor::Anonymous).at(10).when(verify(1, 1)).after
}

/// Active and confirmed, nowhere signed in.
fn active() -> State {
    let mut state = signed_in();
    state.sessions.clear();
    state.devices.clear();
    state
}

/// A customer of any status, by the moves that lead there from `active` where there are any.
fn with_status(status: Status) -> State {
    match status {
        Status::Pending => pending(),
        Status::Active => active(),
        Status::Erased => {
            let mut state = active();
            if let Some(customer) = &mut state.customer {
                customer.status = Status::Erased;
            }
            state
        }
        Status::DeletionScheduled => {
            given(active()).by(staff()).at(20).when(deletions::request(1)).after
        }
        status => given(active()).by(staff()).at(20).when(move_status(status)).after,
    }
}

/// Active, with addresses 1 to `count` added a second apart; the first is both defaults.
fn with_addresses(count: u128) -> State {
    (1..=count)
        .fold(active(), |state, n| given(state).at(100 + n as i64).when(add_address(n, &[])).after)
}
