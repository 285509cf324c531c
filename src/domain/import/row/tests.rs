//! Rows as other shops write them, sound and broken.

use super::*;
use crate::domain::consent::Channel;
use serde_json::json;

fn rules() -> Rules {
    Rules {
        group_individual: GroupCode::from_stored("individual".into()),
        group_business: GroupCode::from_stored("business".into()),
        locale: Locale::from_stored("en".into()),
        timezone: TimeZone::from_stored("UTC".into()),
        currency: Currency::from_stored("USD".into()),
        marketing: MarketingTerms {
            text_version: TextVersion::from_stored("unrecorded".into()),
            channels: vec![Channel::Email],
        },
        address_limits: AddressLimits { individual: 50, business: 50 },
        hash_parameters: Some("$firebase-scrypt$ln=14,r=8,sep=Bw==,key=a".into()),
        readable: |hash| hash.starts_with('$') && !hash.contains("bad"),
        now: "2026-11-22T00:00:00Z".parse().unwrap(),
    }
}

fn ids() -> impl FnMut() -> Uuid {
    let mut n = 0;
    move || {
        n += 1;
        Uuid::from_u128(n)
    }
}

fn of_texts(cells: &[(&str, &str)]) -> Result<ImportCustomer, Vec<(String, &'static str)>> {
    let fields: Vec<_> = cells.iter().map(|(name, _)| Field::parse(name).unwrap()).collect();
    let cells = fields.iter().zip(cells).map(|(field, (_, text))| (field, Cell::Text(text)));
    told(read(cells, &rules(), CustomerId(Uuid::from_u128(9)), &mut ids()))
}

fn of_object(object: &Value) -> Result<ImportCustomer, Vec<(String, &'static str)>> {
    let object = object.as_object().unwrap();
    let fields: Vec<_> = object.keys().map(|name| Field::parse(name).unwrap()).collect();
    let cells = fields.iter().zip(object.values()).map(|(field, it)| (field, Cell::Value(it)));
    told(read(cells, &rules(), CustomerId(Uuid::from_u128(9)), &mut ids()))
}

fn told<T>(read: Result<T, Vec<RowFault>>) -> Result<T, Vec<(String, &'static str)>> {
    read.map_err(|faults| {
        faults.into_iter().map(|it| (it.field.unwrap_or_default(), it.fault.code)).collect()
    })
}

const NAMED: [(&str, &str); 3] =
    [("email", "Anh@Example.org"), ("first_name", "Ánh"), ("last_name", "Nguyễn")];

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&NAMED[..], more].concat()
}

#[test]
fn a_row_of_names_takes_the_defaults() {
    let asked = of_texts(&with(&[("phone", " "), ("tags", ""), ("custom.vip", "")])).unwrap();
    assert_eq!((asked.email.canonical(), asked.status), ("anh@example.org", Status::Active));
    assert_eq!((asked.group.as_str(), asked.locale.as_str()), ("individual", "en"));
    assert!(asked.marketing.is_none() && asked.addresses.is_empty() && !asked.email_verified);
    assert!(asked.profile.custom.is_empty() && asked.password_hash.is_none());
    let business = of_texts(&with(&[("customer_type", "business")])).unwrap();
    assert_eq!(business.group.as_str(), "business");
}

#[test]
fn csv_and_ndjson_say_the_same() {
    let texts = of_texts(&with(&[
        ("email_verified", "Yes"),
        ("phone", "+84 912 345 678"),
        ("status", "inactive"),
        ("tags", "vip, early"),
        ("accepts_marketing", "1"),
        ("marketing_text_version", "2019"),
        ("date_of_birth", "1990-02-28"),
        ("company", "Sen Co"),
        ("custom.shoe_size", "42"),
        ("custom.vip", "true"),
        ("custom.code", "007"),
        ("address.line1", "12 Lê Lợi"),
        ("address.city", "Huế"),
        ("address.country", "vn"),
        ("address2.recipient", "Mẹ"),
        ("address2.line1", "1"),
        ("address2.city", "Đà Lạt"),
        ("address2.country", "VN"),
        ("address2.default_billing", "true"),
        ("created_at", "2019-05-01 10:00:00"),
    ]));
    let object = of_object(&json!({
        "email": "Anh@Example.org", "first_name": "Ánh", "last_name": "Nguyễn",
        "email_verified": true, "phone": "+84912345678", "status": "inactive",
        "tags": ["early", "vip"], "accepts_marketing": true, "marketing_text_version": "2019",
        "date_of_birth": "1990-02-28", "company": "Sen Co",
        "custom": { "shoe_size": 42, "vip": true, "code": "007", "gone": null },
        "addresses": [
            { "line1": "12 Lê Lợi", "city": "Huế", "country": "VN", "id": "x", "label": null },
            { "recipient": "Mẹ", "line1": "1", "city": "Đà Lạt", "country": "VN",
              "default_billing": true },
        ],
        "created_at": "2019-05-01T10:00:00Z", "updated_at": "any", "gender": null,
    }));
    let (texts, object) = (texts.unwrap(), object.unwrap());
    for asked in [&texts, &object] {
        assert_eq!(asked.tags.as_slice(), ["early", "vip"]);
        assert_eq!(asked.marketing.as_ref().unwrap().text_version.as_str(), "2019");
        let custom = json!({ "code": "007", "shoe_size": 42, "vip": true });
        assert_eq!(Value::Object(asked.profile.custom.clone()), custom);
        let [first, second] = &asked.addresses[..] else { panic!("{}", asked.addresses.len()) };
        // an address that names nobody is the customer's own
        assert_eq!(first.fields.recipient.as_str(), "Ánh Nguyễn");
        assert_eq!(second.defaults, [AddressKind::Billing]);
        assert_eq!(asked.created_at.unwrap().to_rfc3339(), "2019-05-01T10:00:00+00:00");
    }
    assert_eq!(texts.phone, object.phone);
}

#[test]
fn every_fault_of_a_row_is_told_with_its_field() {
    let told = of_texts(&[
        ("email", "anna"),
        ("first_name", ""),
        ("phone", "0912"),
        ("status", "erased"),
        ("accepts_marketing", "maybe"),
        ("date_of_birth", "2027-01-01"),
        ("custom.size", "\u{7}"),
        ("address.line1", "1"),
        ("address.country", "Atlantis"),
        ("address.postal_code", "x"),
        ("password_hash", "$bad$hash$of$nobody$$$"),
        ("created_at", "-5"),
        ("locale", "-1"),
    ]);
    let expected = [
        ("email", "invalid_email"),
        ("phone", "invalid_phone"),
        ("status", "unknown_value"),
        ("accepts_marketing", "wrong_type"),
        ("custom.size", "control_character"),
        ("address.country", "unknown_country"),
        ("created_at", "invalid_instant"),
        ("locale", "invalid_locale"),
        ("date_of_birth", "not_in_past"),
        ("address.recipient", "required"),
        ("address.city", "required"),
        ("password_hash", "unknown_hash"),
        ("first_name", "required"),
        ("last_name", "required"),
    ];
    let expected: Vec<_> = expected.iter().map(|(f, code)| ((*f).to_owned(), *code)).collect();
    assert_eq!(told.unwrap_err(), expected);
    for (object, field, code) in [
        (json!({ "tags": [1] }), "tags", "wrong_type"),
        (json!({ "email_verified": "true" }), "email_verified", "wrong_type"),
        (json!({ "phone": 84912345678_u64 }), "phone", "wrong_type"),
        (json!({ "addresses": [{ "street": "x" }] }), "addresses", "unknown_field"),
        (json!({ "addresses": {} }), "addresses", "wrong_type"),
        (json!({ "custom": { "A B": 1 } }), "custom", "invalid_key"),
        (json!({ "custom": { "a": [] } }), "custom.a", "wrong_type"),
        (json!({ "created_at": "2030-01-01" }), "created_at", "not_in_past"),
    ] {
        let told = of_object(&object).unwrap_err();
        assert!(told.contains(&(field.to_owned(), code)), "{object}: {told:?}");
    }
}

#[test]
fn hashes_of_firebase_get_the_parameters_of_their_import() {
    let hash = |cells: &[(&'static str, &'static str)]| {
        of_texts(&with(cells)).unwrap().password_hash.unwrap().as_str().to_owned()
    };
    assert_eq!(
        hash(&[("password_hash", "ab-_"), ("password_salt", "c_==")]),
        "$firebase-scrypt$ln=14,r=8,sep=Bw==,key=a$c/==$ab+/"
    );
    // one that names its own stays as it is
    let own = "$2b$04$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK";
    assert_eq!(hash(&[("password_hash", own), ("password_salt", "x")]), own);
}
