//! The address book (rules D1, D2).

use super::*;
use AddressKind::{Billing, Shipping};
use serde_json::json;

#[track_caller]
fn holder(state: &State, kind: AddressKind) -> u128 {
    let mut holders = state.addresses.values().filter(|address| address.is_default(kind));
    let holder = holders.next().expect("a default").id.0.as_u128() - 3_000;
    assert!(holders.next().is_none(), "two defaults");
    holder
}

/// Who is the default for shipping and for billing.
#[track_caller]
fn defaults(state: &State) -> (u128, u128) {
    (holder(state, Shipping), holder(state, Billing))
}

fn version(state: &State, n: u128) -> i64 {
    state.addresses[&address_id(n)].version
}

#[test]
fn d1_the_first_address_becomes_both_defaults() {
    for wishes in [&[][..], &[Shipping], &[Shipping, Billing]] {
        let then = given(active()).when(add_address(1, wishes));
        assert!(
            matches!(then.outcome(), Outcome::Address(a) if a.default_shipping && a.default_billing)
        );
        let then =
            then.tells(&["address.created", "address.default_changed", "address.default_changed"]);
        assert_eq!(
            then.messages()[1].1,
            json!({ "customer_id": customer_id(), "kind": "shipping", "from": null,
                    "to": address_id(1) })
        );
        assert_eq!(defaults(&then.after), (1, 1));
    }
}

#[test]
fn d1_a_further_address_is_default_only_when_asked_to() {
    for (wishes, expected, versions) in [
        (&[][..], (1, 1), (3, 1)),
        (&[Shipping], (2, 1), (4, 2)),
        (&[Billing], (1, 2), (4, 2)),
        (&[Billing, Shipping], (2, 2), (5, 3)),
    ] {
        let then = given(with_addresses(1)).when(add_address(2, wishes));
        assert_eq!(defaults(&then.after), expected);
        assert_eq!((version(&then.after, 1), version(&then.after, 2)), versions);
        assert_eq!(then.messages().len(), 1 + wishes.len());
        for (_, data) in &then.messages()[1..] {
            assert_eq!(
                (&data["from"], &data["to"]),
                (&json!(address_id(1)), &json!(address_id(2)))
            );
        }
    }
}

#[test]
fn d1_changing_can_take_a_default_over() {
    let take = |shipping, billing| AddressChange {
        default_shipping: shipping,
        default_billing: billing,
        ..Default::default()
    };
    for (shipping, billing, expected) in [
        (Some(true), None, (2, 1)),
        (None, Some(true), (1, 2)),
        (Some(true), Some(true), (2, 2)),
        (Some(false), Some(false), (1, 1)),
        (Some(true), Some(false), (2, 1)),
    ] {
        let then = given(with_addresses(2)).when(change_address(2, take(shipping, billing)));
        assert_eq!(defaults(&then.after), expected);
        assert_eq!(
            then.messages().iter().filter(|(kind, _)| *kind == "address.default_changed").count(),
            usize::from(expected.0 == 2) + usize::from(expected.1 == 2)
        );
        assert_eq!(then.messages().len(), then.events().len(), "no address.updated without one");
    }
    given(with_addresses(2))
        .when(change_address(1, take(Some(true), Some(true))))
        .changes_nothing();
}

#[test]
fn d1_a_default_is_handed_over_not_given_up() {
    for (change, place) in [
        (
            AddressChange { default_shipping: Some(false), ..Default::default() },
            "#/default_shipping",
        ),
        (
            AddressChange {
                default_billing: Some(false),
                city: Some(line("Zcity2")),
                ..Default::default()
            },
            "#/default_billing",
        ),
    ] {
        let then = given(with_addresses(2)).when(change_address(1, change));
        let Err(Rejection::Invalid { pointer, fault }) = &then.decision else { panic!("{place}") };
        assert_eq!((*pointer, fault.code), (place, "default_required"));
    }
}

#[test]
fn d1_setting_a_default_takes_it_from_the_other() {
    let then = given(with_addresses(3)).when(set_default(2, Billing));
    assert!(matches!(then.outcome(), Outcome::Address(a) if a.id == address_id(2)));
    let then = then.happens(&["DefaultAddressChanged"]).tells(&["address.default_changed"]);
    assert_eq!(defaults(&then.after), (1, 2));
    assert_eq!([1, 2, 3].map(|n| version(&then.after, n)), [4, 2, 1], "both sides changed");
    for n in [1, 2] {
        assert_eq!(then.after.addresses[&address_id(n)].updated_at, at(1_000));
    }
    given(then.after).when(set_default(2, Billing)).changes_nothing();
}

#[test]
fn d1_deleting_a_default_hands_it_to_the_most_recently_used_other() {
    // Address 3 was added last, but 2 was changed after that.
    let used = AddressChange { city: Some(line("Zcity2")), ..Default::default() };
    let used = given(with_addresses(3)).at(500).when(change_address(2, used)).after;
    let then = given(used.clone()).when(delete_address(1));
    assert_eq!(then.outcome(), Outcome::Done);
    let then =
        then.tells(&["address.deleted", "address.default_changed", "address.default_changed"]);
    assert_eq!(defaults(&then.after), (2, 2));
    assert_eq!(version(&then.after, 2), 4);

    // A default, too, is a use: billing goes to 3, so 3 inherits shipping.
    let split = given(used).at(600).when(set_default(3, Billing)).after;
    let then =
        given(split).when(delete_address(1)).tells(&["address.deleted", "address.default_changed"]);
    assert_eq!(defaults(&then.after), (3, 3));
}

#[test]
fn d1_deleting_another_address_hands_nothing_over() {
    let then = given(with_addresses(2)).when(delete_address(2)).tells(&["address.deleted"]);
    assert_eq!(defaults(&then.after), (1, 1));
    assert_eq!(version(&then.after, 1), 3);
}

#[test]
fn d1_the_last_address_stays() {
    given(with_addresses(1)).when(delete_address(1)).refused(Rejection::LastAddress);
}

#[test]
fn d2_the_book_has_a_limit() {
    let with_limit = |n, limit| Command::AddAddress {
        id: address_id(n),
        fields: Box::new(address_fields("VN", None)),
        defaults: vec![],
        limits: AddressLimits { individual: limit, business: limit + 1 },
    };
    given(with_addresses(2))
        .when(with_limit(3, 2))
        .refused(Rejection::AddressLimitReached { limit: 2 });
    given(with_addresses(2)).when(with_limit(3, 3)).happens(&["AddressAdded"]);
    // A company has a limit of its own.
    let mut company = with_addresses(2);
    company.customer.as_mut().unwrap().customer_type = CustomerType::Business;
    given(company.clone()).when(with_limit(3, 2)).happens(&["AddressAdded"]);
    given(company).when(with_limit(3, 1)).refused(Rejection::AddressLimitReached { limit: 2 });
}

#[test]
fn d1_an_address_that_is_not_in_the_book_is_not_found() {
    for command in
        [change_address(9, AddressChange::default()), delete_address(9), set_default(9, Shipping)]
    {
        given(with_addresses(1)).when(command).refused(Rejection::NotFound);
    }
}

#[test]
fn l2_every_changed_field_of_an_address_is_named_and_no_other() {
    let everything = AddressChange {
        label: Change::Clear,
        recipient: Some(line("Zrecipient2")),
        company: Change::Clear,
        line1: Some(line("Zline12")),
        line2: Change::Clear,
        city: Some(line("Zcity2")),
        region: Change::Clear,
        postal_code: Change::Set("80331".into()),
        country: Some(country("DE")),
        phone: Change::Clear,
        default_shipping: None,
        default_billing: None,
    };
    let then = given(with_addresses(2)).when(change_address(2, everything.clone()));
    let then = then.happens(&["AddressUpdated"]).tells(&["address.updated"]);
    assert_eq!(
        then.messages()[0].1,
        json!({ "customer_id": customer_id(), "address_id": address_id(2), "version": 2,
                "changed": ["label", "recipient", "company", "line1", "line2", "city", "region",
                            "postal_code", "country", "phone"] })
    );
    assert_eq!(version(&then.after, 2), 2);
    let then = given(then.after).at(2_000).when(change_address(2, everything)).changes_nothing();
    assert_eq!(then.before, then.after);
}

#[test]
fn d2_postal_code_and_country_are_checked_together() {
    let patch = |postal_code, to: Option<&str>| AddressChange {
        postal_code,
        country: to.map(country),
        ..Default::default()
    };
    // The book has 700000 in VN.
    for (change, fits) in [
        (patch(Change::Keep, Some("DE")), false),
        (patch(Change::Set("80331".into()), Some("DE")), true),
        (patch(Change::Set("80331".into()), None), true),
        (patch(Change::Set("8033".into()), Some("DE")), false),
        (patch(Change::Set("ABC".into()), None), false),
        (patch(Change::Clear, Some("DE")), true),
        (patch(Change::Keep, Some("HK")), true),
    ] {
        let shown = format!("{change:?}");
        match given(with_addresses(1)).when(change_address(1, change)).decision {
            Ok(_) => assert!(fits, "{shown}"),
            Err(Rejection::Invalid { pointer, fault }) => {
                assert!(!fits, "{shown}");
                assert_eq!((pointer, fault.code), ("#/postal_code", "invalid_postal_code"));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn d2_a_new_address_has_the_postal_code_of_its_country() {
    let add = |country, postal_code| Command::AddAddress {
        id: address_id(1),
        fields: Box::new(address_fields(country, Some(postal_code))),
        defaults: vec![],
        limits: LIMITS,
    };
    let then = given(active()).when(add("GB", "sw1a 1aa"));
    let kept = &then.after.addresses[&address_id(1)].fields.postal_code;
    assert_eq!(kept.as_deref(), Some("SW1A 1AA"));
    let then = given(active()).when(add("DE", "700000"));
    let Err(Rejection::Invalid { pointer, .. }) = then.decision else { panic!("refused") };
    assert_eq!(pointer, "#/postal_code");
}

/// A code that was good when it was written does not stand in the way of another change.
#[test]
fn d2_a_code_that_does_not_change_is_not_checked_again() {
    let mut state = with_addresses(1);
    let address = state.addresses.get_mut(&address_id(1)).unwrap();
    address.fields.postal_code = Some("OLD".into());
    let change = AddressChange { city: Some(line("Zcity2")), ..Default::default() };
    let then = given(state).when(change_address(1, change)).happens(&["AddressUpdated"]);
    let kept = &then.after.addresses[&address_id(1)].fields.postal_code;
    assert_eq!(kept.as_deref(), Some("OLD"));
}

#[test]
fn d2_region_and_country_are_looked_up_together() {
    let patch = |region, to: Option<&str>| AddressChange {
        region,
        postal_code: Change::Clear,
        country: to.map(country),
        ..Default::default()
    };
    let set = |text| Change::Set(line(text));
    // The book has Zregion in VN, which does not insist on a list.
    for (change, kept) in [
        (patch(set("Hà Nội"), None), Ok(("Hà Nội", Some("VN-HN")))),
        (patch(set("vn-hn"), None), Ok(("Hà Nội", Some("VN-HN")))),
        (patch(set("Atlantis"), None), Ok(("Atlantis", None))),
        (patch(set("california"), Some("US")), Ok(("california", Some("US-CA")))),
        (patch(set("ca"), Some("US")), Ok(("CA", Some("US-CA")))),
        (patch(set("Atlantis"), Some("US")), Err("unknown_region")),
        // The kept region is none of the new country.
        (patch(Change::Keep, Some("US")), Err("unknown_region")),
        (patch(Change::Keep, Some("DE")), Ok(("Zregion", None))),
    ] {
        let shown = format!("{:?} {:?}", change.region, change.country);
        let then = given(with_addresses(1)).when(change_address(1, change));
        match then.decision {
            Ok(_) => {
                let fields = &then.after.addresses[&address_id(1)].fields;
                let region = fields.region.as_ref().map(Line::as_str).unwrap();
                let code = fields.region_code.as_ref().map(RegionCode::as_str);
                assert_eq!(Ok((region, code)), kept, "{shown}");
            }
            Err(Rejection::Invalid { pointer, fault }) => {
                assert_eq!((Err(fault.code), pointer), (kept, "#/region"), "{shown}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn l2_the_code_of_a_region_changes_by_name() {
    let then = |state, region: &str, to| {
        let change = AddressChange {
            region: Change::Set(line(region)),
            postal_code: Change::Clear,
            country: Some(country(to)),
            ..Default::default()
        };
        given(state).when(change_address(1, change)).happens(&["AddressUpdated"])
    };
    let washington = then(with_addresses(1), "WA", "US");
    let changed = ["region", "region_code", "postal_code", "country"];
    assert_eq!(washington.messages()[0].1["changed"], json!(changed));
    let western_australia = then(washington.after, "WA", "AU");
    assert_eq!(western_australia.messages()[0].1["changed"], json!(["region_code", "country"]));
}

#[test]
fn d2_a_phone_number_is_of_the_country_that_the_address_then_has() {
    let phone = |raw: &str, to: Option<&str>| AddressChange {
        phone: Change::Set(raw.to_owned()),
        postal_code: Change::Clear,
        country: to.map(country),
        ..Default::default()
    };
    for (change, kept) in [
        (phone("0987 654 321", None), Some("+84987654321")),
        (phone("030 901820", Some("DE")), Some("+4930901820")),
        (phone("+44 7400 123456", Some("DE")), Some("+447400123456")),
        (phone("030 901820", None), None),
    ] {
        let then = given(with_addresses(1)).when(change_address(1, change));
        match then.decision {
            Ok(_) => {
                let fields = &then.after.addresses[&address_id(1)].fields;
                assert_eq!(fields.phone.as_ref().map(PhoneNumber::as_str), kept);
            }
            Err(Rejection::Invalid { pointer, fault }) => {
                assert_eq!((None, pointer, fault.code), (kept, "#/phone", "invalid_phone"));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
