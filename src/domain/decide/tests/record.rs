//! Changing the record (rule L2).

use super::*;
use crate::domain::preferences::Topics;
use crate::domain::profile::date;
use serde_json::json;

/// The names in the `customer.updated` message, and the version it names.
#[track_caller]
fn updated(then: &Then) -> (Vec<String>, i64) {
    let messages = then.messages();
    let (_, data) = messages.iter().find(|(kind, _)| *kind == "customer.updated").unwrap();
    let names = data["changed"].as_array().unwrap().iter();
    (
        names.map(|name| name.as_str().unwrap().to_owned()).collect(),
        data["version"].as_i64().unwrap(),
    )
}

fn whole_profile() -> ProfileChange {
    ProfileChange {
        date_of_birth: Change::Set(date("1987-06-05").unwrap()),
        gender: Change::Set("Zgender".into()),
        avatar_url: Change::Set("https://zavatar.example.org/".into()),
        company: Change::Set(line("Zcompany")),
        tax_id: Change::Set("Ztax".into()),
        bio: Change::Set("Zbio".into()),
        custom: custom(&[("shoe_size", json!("Zvalue")), ("vip", json!(true))]),
    }
}

fn whole_preferences() -> PreferencesChange {
    PreferencesChange {
        locale: Some(Locale::parse("en-GB").unwrap()),
        timezone: Some(TimeZone::parse("Europe/London").unwrap()),
        currency: Some(Currency::parse("GBP").unwrap()),
        email: Some(true),
        sms: Some(true),
        push: Some(true),
        topics: Some(Topics::parse(&["Ztopic".into()]).unwrap()),
        custom: custom(&[("theme", json!("Zvalue"))]),
    }
}

fn whole_customer() -> CustomerChange {
    CustomerChange {
        first_name: Some(person("Zfirsta")),
        last_name: Some(person("Zlasta")),
        marketing: marketing(true),
        phone: Change::Clear,
        mail_id: None,
        customer_type: Some(CustomerType::Business),
        group: Some(group("business")),
        tags: Some(Tags::parse(&["Ztag".into()]).unwrap()),
    }
}

#[test]
fn l2_every_changed_field_of_the_customer_is_named() {
    let rows: [(CustomerChange, &[&str], &[&str]); 7] = [
        (
            CustomerChange { first_name: Some(person("Zfirsta")), ..Default::default() },
            &["first_name"],
            &["customer.updated"],
        ),
        (
            CustomerChange { last_name: Some(person("Zlasta")), ..Default::default() },
            &["last_name"],
            &["customer.updated"],
        ),
        (
            CustomerChange { marketing: marketing(true), ..Default::default() },
            &["accepts_marketing"],
            &["customer.updated", "consent.granted"],
        ),
        (
            CustomerChange { group: Some(group("business")), ..Default::default() },
            &["group"],
            &["customer.updated", "customer.group_changed"],
        ),
        (
            CustomerChange { phone: Change::Clear, ..Default::default() },
            &["phone"],
            &["customer.updated", "customer.phone_changed"],
        ),
        (
            CustomerChange { customer_type: Some(CustomerType::Business), ..Default::default() },
            &["customer_type"],
            &["customer.updated"],
        ),
        (
            whole_customer(),
            &[
                "first_name",
                "last_name",
                "accepts_marketing",
                "customer_type",
                "group",
                "tags",
                "phone",
            ],
            &[
                "customer.updated",
                "consent.granted",
                "customer.group_changed",
                "customer.phone_changed",
            ],
        ),
    ];
    for (change, names, messages) in rows {
        let then = given(active()).by(staff()).when(update_customer(change)).tells(messages);
        let (before, after) = then.versions();
        assert_eq!(after, before + 1);
        assert_eq!(updated(&then), (names.iter().map(|&n| n.to_owned()).collect(), after));
        assert_eq!(customer(&then.after).updated_at, at(1_000));
        assert!(matches!(then.outcome(), Outcome::Customer(c) if c.version == after));
    }
}

#[test]
fn l2_another_phone_is_not_verified() {
    let mut state = active();
    state.customer.as_mut().unwrap().phone_verified_at = Some(at(5));
    let kept = CustomerChange { first_name: Some(person("Zfirsta")), ..Default::default() };
    let then = given(state).by(staff()).when(update_customer(kept));
    assert_eq!(customer(&then.after).phone_verified_at, Some(at(5)));
    let cleared = CustomerChange { phone: Change::Clear, ..Default::default() };
    let then = given(then.after).by(staff()).when(update_customer(cleared));
    assert_eq!(customer(&then.after).phone, None);
    assert_eq!(customer(&then.after).phone_verified_at, None);
}

#[test]
fn l2_every_changed_field_of_the_profile_is_named() {
    let then = given(active()).when(update_profile(whole_profile()));
    let then = then.happens(&["ProfileUpdated"]).tells(&["customer.updated"]);
    let (before, after) = then.versions();
    assert_eq!(after, before + 1);
    let names = [
        "profile.date_of_birth",
        "profile.gender",
        "profile.avatar_url",
        "profile.company",
        "profile.tax_id",
        "profile.bio",
        "profile.custom.shoe_size",
        "profile.custom.vip",
    ];
    assert_eq!(updated(&then), (names.map(str::to_owned).to_vec(), after));
    assert_eq!(then.after.profile.as_ref().unwrap().version, 2);
    assert_eq!(customer(&then.after).updated_at, at(1_000));
}

#[test]
fn l2_every_changed_field_of_the_preferences_is_named_in_both_messages() {
    let then = given(active()).when(update_preferences(whole_preferences()));
    let then = then
        .happens(&["PreferencesUpdated", "PreferencesNoted"])
        .tells(&["preferences.updated", "customer.updated"]);
    let names = [
        "locale",
        "timezone",
        "currency",
        "channels.email",
        "channels.sms",
        "channels.push",
        "topics",
        "custom.theme",
    ];
    assert_eq!(then.messages()[0].1["changed"], json!(names));
    assert_eq!(then.messages()[0].1["version"], 2);
    let (before, after) = then.versions();
    assert_eq!(after, before + 1);
    let noted = names.map(|name| format!("preferences.{name}")).to_vec();
    assert_eq!(updated(&then), (noted, after));
}

#[test]
fn l2_custom_keys_are_merged_one_by_one() {
    let filled = given(active()).when(update_profile(whole_profile())).after;
    let patch = custom(&[
        ("shoe_size", Value::Null),
        ("vip", json!(true)),
        ("hat_size", json!(58)),
        ("never_there", Value::Null),
    ]);
    let change = ProfileChange { custom: patch, ..Default::default() };
    let then = given(filled).when(update_profile(change));
    assert_eq!(updated(&then).0, ["profile.custom.hat_size", "profile.custom.shoe_size"]);
    let kept = &then.after.profile.as_ref().unwrap().custom;
    assert_eq!(*kept, custom(&[("vip", json!(true)), ("hat_size", json!(58))]));
}

#[test]
fn l2_a_change_that_changes_nothing_emits_nothing_and_keeps_the_version() {
    let filled = given(active()).by(staff()).when(update_customer(whole_customer())).after;
    let filled = given(filled).when(update_profile(whole_profile())).after;
    let filled = given(filled).when(update_preferences(whole_preferences())).after;
    let commands = [
        update_customer(CustomerChange::default()),
        update_profile(ProfileChange::default()),
        update_preferences(PreferencesChange::default()),
        update_customer(whole_customer()),
        update_profile(whole_profile()),
        update_preferences(whole_preferences()),
    ];
    for command in commands {
        let shown = format!("{command:?}");
        let then = given(filled.clone()).at(2_000).when(command).changes_nothing();
        assert_eq!(then.before, then.after, "{shown}");
        let shows = matches!(
            then.outcome(),
            Outcome::Customer(_) | Outcome::Profile(_) | Outcome::Preferences(_)
        );
        assert!(shows, "the answer shows the resource as it is: {shown}");
    }
}

#[test]
fn l2_clearing_is_a_change() {
    let filled = given(active()).when(update_profile(whole_profile())).after;
    let change = ProfileChange { bio: Change::Clear, ..Default::default() };
    let then = given(filled).when(update_profile(change));
    assert_eq!(updated(&then).0, ["profile.bio"]);
    assert_eq!(then.after.profile.as_ref().unwrap().bio, None);
}

#[test]
fn l2_what_cannot_be_is_refused_with_its_place() {
    let born = |raw| ProfileChange {
        date_of_birth: Change::Set(date(raw).unwrap()),
        ..Default::default()
    };
    let many: Vec<_> = (0..65).map(|n| (format!("key_{n}"), json!(n))).collect();
    let many = ProfileChange { custom: many.into_iter().collect(), ..Default::default() };
    for change in [born("2027-01-16"), born("1890-01-01")] {
        let then = given(active()).when(update_profile(change));
        let Err(Rejection::Invalid { pointer, fault }) = &then.decision else { panic!("taken") };
        assert_eq!((*pointer, fault.code), ("#/date_of_birth", "not_in_past"));
    }
    let then = given(active()).when(update_profile(many));
    assert_eq!(super::attributes::faults(&then), [("#/custom".to_owned(), "too_many")]);
}
