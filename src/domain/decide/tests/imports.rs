//! Rows of imports (rules L1, D1): whole customers in one decision, and no mail.

use super::*;
use crate::domain::address::AddressKind;
use crate::domain::consent;
use crate::domain::event::Source;
use crate::domain::import::{ImportAddress, ImportCustomer};
use crate::domain::profile::date;

fn row() -> ImportCustomer {
    ImportCustomer {
        id: customer_id(),
        email: EmailAddress::parse("zmail@example.org").unwrap(),
        email_verified: false,
        first_name: person("Zfirst"),
        last_name: person("Zlast"),
        phone: Some(phone()),
        customer_type: CustomerType::Individual,
        group: group("individual"),
        status: Status::Inactive,
        tags: Tags::parse(&["Ztag".into()]).unwrap(),
        marketing: None,
        locale: Locale::parse("de").unwrap(),
        timezone: TimeZone::parse("UTC").unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        profile: ProfileChange::default(),
        addresses: Vec::new(),
        address_limits: AddressLimits { individual: 2, business: 3 },
        password_hash: None,
        created_at: None,
    }
}

fn address(n: u128, defaults: &[AddressKind]) -> ImportAddress {
    ImportAddress {
        id: address_id(n),
        fields: address_fields("VN", Some("700000")),
        defaults: defaults.to_vec(),
    }
}

fn import(row: ImportCustomer) -> Then {
    let command = Command::Import(Box::new(row));
    given(State { attributes: super::attributes::defined(), ..State::default() })
        .by(Actor::Operator)
        .at(100)
        .when(command)
}

#[test]
fn l1_a_row_becomes_a_whole_customer_with_one_message() {
    let then = import(row()).happens(&["Created"]).tells(&["customer.created"]);
    assert_eq!(then.messages()[0].1["source"], "import");
    let made = customer(&then.after);
    assert_eq!((made.status, made.version, made.email_verified_at), (Status::Inactive, 1, None));
    assert_eq!(made.created_at, at(100));
    assert_eq!(then.after.profile.as_ref().unwrap().version, 1);
    assert_eq!(then.after.preferences.as_ref().unwrap().currency.as_str(), "EUR");
}

#[test]
fn l1_a_full_row_brings_its_parts_and_no_mail() {
    let mut full = row();
    full.email_verified = true;
    full.created_at = Some(at(-5_000));
    full.marketing = Some(marketing_terms());
    full.password_hash = Some(PasswordHash::new(PASSWORD_HASH));
    full.profile.custom.insert("hat_size".into(), 42.into());
    full.addresses = vec![address(1, &[]), address(2, &[AddressKind::Billing])];
    let then = import(full).tells(&[
        "customer.created",
        "consent.granted",
        "address.created",
        "address.default_changed",
        "address.default_changed",
        "address.created",
        "address.default_changed",
    ]);
    let made = customer(&then.after);
    assert!(made.accepts_marketing && made.email_verified_at == Some(at(-5_000)));
    assert_eq!(made.created_at, at(-5_000));
    assert_eq!(then.after.password_hash.as_deref(), Some(PASSWORD_HASH));
    assert_eq!(then.after.profile.as_ref().unwrap().custom["hat_size"], 42);
    let (first, second) =
        (&then.after.addresses[&address_id(1)], &then.after.addresses[&address_id(2)]);
    assert!(first.default_shipping && !first.default_billing && second.default_billing);
    let entries = then.events().iter().filter_map(|event| match event {
        Event::Consent(entry) => Some(entry.source),
        _ => None,
    });
    assert_eq!(entries.collect::<Vec<_>>(), [consent::Source::Import]);
    assert!(!then.events().iter().any(|event| matches!(event, Event::MailQueued(_))));
    let source = |event: &Event| matches!(event, Event::Created(it) if it.source == Source::Import);
    assert!(source(&then.events()[0]));
}

#[test]
fn what_staff_may_not_write_no_row_may() {
    let mut future = row();
    future.profile.date_of_birth = Change::Set(date("9999-01-01").unwrap());
    let refused = import(future).decision.unwrap_err();
    assert!(matches!(refused, Rejection::Invalid { pointer: "#/date_of_birth", .. }));
    let mut crowded = row();
    crowded.addresses = (1..=3).map(|n| address(n, &[])).collect();
    import(crowded).refused(Rejection::AddressLimitReached { limit: 2 });
    let command = Command::Import(Box::new(row()));
    given(active()).by(Actor::Operator).when(command).refused(Rejection::Conflict);
}
