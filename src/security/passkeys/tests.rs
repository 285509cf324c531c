//! The ceremonies with an authenticator in software that can lie.

use std::collections::BTreeMap;

use super::*;
use crate::config::Config;

#[path = "../../../tests/it/harness/authenticator.rs"]
mod authenticator;

use authenticator::{Authenticator, Lie};

const ORIGIN: &str = "https://www.shop.example";

fn configured(file: &str) -> Config {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment = BTreeMap::from([
        set("DATABASE_URL", "postgres://shop@db/customers"),
        set("CUSTOMER_SERVICE__SECRETS__ROOT_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ]);
    Config::from_sources(Some(file), &environment).unwrap()
}

fn shop() -> RelyingParty {
    let file = "[passkeys]\nrp_id = \"shop.example\"\nrp_name = \"The shop\"\norigins = \
        [\"https://shop.example\", \"https://www.shop.example\", \
        \"android:apk-key-hash:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"]";
    RelyingParty::new(&configured(file).passkeys).unwrap()
}

fn owner() -> Owner<'static> {
    Owner { handle: Uuid::from_u128(7), name: "anh@example.com", display_name: "Ánh" }
}

fn authenticator() -> Authenticator {
    Authenticator::new([1; 32], ORIGIN)
}

/// A whole registration with one lie.
fn register(device: &mut Authenticator, lie: Option<Lie>) -> Result<NewPasskey, CeremonyError> {
    let begun = shop().begin_registration(owner(), Vec::new()).unwrap();
    let answer = Attestation::parse(device.create(&begun.options, lie)).unwrap();
    shop().finish_registration(&begun.state, &answer)
}

/// A whole sign-in with one lie.
fn sign_in(
    device: &mut Authenticator,
    passkey: &NewPasskey,
    lie: Option<Lie>,
) -> Result<Verified, CeremonyError> {
    let begun = shop().begin_sign_in().unwrap();
    let answer = Assertion::parse(device.get(&begun.options, lie)).unwrap();
    shop().finish_sign_in(&begun.state, &answer, &passkey.credential)
}

fn why<T: std::fmt::Debug>(result: Result<T, CeremonyError>) -> Refused {
    match result.unwrap_err() {
        CeremonyError::Refused(refused) => refused,
        CeremonyError::Unexpected(text) => panic!("{text}"),
    }
}

#[test]
fn without_a_domain_there_are_no_passkeys() {
    assert!(RelyingParty::new(&configured("").passkeys).is_none());
}

#[test]
fn the_options_ask_for_a_discoverable_credential_of_a_verified_user() {
    let begun = shop().begin_registration(owner(), vec![vec![1, 2, 3]]).unwrap();
    let options = &begun.options;
    assert_eq!(options["rp"], json!({ "id": "shop.example", "name": "The shop" }));
    let handle = URL_SAFE_NO_PAD.encode(Uuid::from_u128(7).as_bytes());
    assert_eq!(
        options["user"],
        json!({ "id": handle, "name": "anh@example.com", "displayName": "Ánh" })
    );
    let selection = &options["authenticatorSelection"];
    assert_eq!(selection["residentKey"], "required");
    assert_eq!(selection["requireResidentKey"], true);
    assert_eq!(selection["userVerification"], "required");
    assert_eq!(options["excludeCredentials"], json!([{ "type": "public-key", "id": "AQID" }]));
    assert_eq!((&options["attestation"], &options["timeout"]), (&json!("none"), &json!(300_000)));
    assert_eq!(URL_SAFE_NO_PAD.decode(options["challenge"].as_str().unwrap()).unwrap().len(), 32);
    assert_eq!(options["pubKeyCredParams"][0]["alg"], -7);

    let nameless = Owner { display_name: "", ..owner() };
    let begun = shop().begin_registration(nameless, Vec::new()).unwrap();
    assert_eq!(begun.options["user"]["displayName"], "anh@example.com");
}

#[test]
fn a_passkey_is_made_and_signs_in() {
    let mut device = authenticator();
    let passkey = register(&mut device, None).unwrap();
    assert_eq!(passkey.credential_id, device.credential_id);
    assert_eq!((passkey.counter, passkey.backup_eligible, passkey.backed_up), (0, false, false));

    let begun = shop().begin_sign_in().unwrap();
    assert_eq!(begun.options["allowCredentials"], json!([]));
    assert_eq!(begun.options["userVerification"], "required");
    assert_eq!(begun.options["rpId"], "shop.example");
    let answer = Assertion::parse(device.get(&begun.options, None)).unwrap();
    assert_eq!(answer.credential_id(), device.credential_id);
    assert_eq!(answer.user_handle(), Ok(Some(Uuid::from_u128(7))));
    let verified = shop().finish_sign_in(&begun.state, &answer, &passkey.credential).unwrap();
    let expected = Verified { credential_id: device.credential_id, counter: 1, backed_up: false };
    assert_eq!(verified, expected);
}

#[test]
fn as_a_second_factor_the_credentials_are_listed_and_the_handle_may_be_left_out() {
    let mut device = authenticator();
    let passkey = register(&mut device, None).unwrap();
    let begun = shop().begin_sign_in().unwrap();
    let allowed = std::slice::from_ref(&passkey.credential);
    let options = RelyingParty::restrict(begun.options, allowed).unwrap();
    let id = URL_SAFE_NO_PAD.encode(&device.credential_id);
    let listed = json!([{ "type": "public-key", "id": id, "transports": ["internal", "hybrid"] }]);
    assert_eq!(options["allowCredentials"], listed);
    let mut answer = device.get(&options, None);
    answer["response"].as_object_mut().unwrap().remove("userHandle");
    let answer = Assertion::parse(answer).unwrap();
    assert_eq!(answer.user_handle(), Ok(None));
    shop().finish_sign_in(&begun.state, &answer, &passkey.credential).unwrap();
}

#[test]
fn the_counter_is_told_and_not_judged() {
    let mut device = authenticator();
    device.counter = 41;
    let passkey = register(&mut device, None).unwrap();
    assert_eq!(passkey.counter, 41);
    assert_eq!(sign_in(&mut device, &passkey, None).unwrap().counter, 42);
    device.counter = 2;
    assert_eq!(sign_in(&mut device, &passkey, None).unwrap().counter, 3);
    device.counts = false;
    device.counter = 0;
    assert_eq!(sign_in(&mut device, &passkey, None).unwrap().counter, 0);
}

#[test]
fn a_synchronised_passkey_is_welcome() {
    let mut device = Authenticator { synchronised: true, counts: false, ..authenticator() };
    let passkey = register(&mut device, None).unwrap();
    assert!(passkey.backup_eligible && passkey.backed_up);
    assert!(sign_in(&mut device, &passkey, None).unwrap().backed_up);
    // and stays one: eligibility never changes
    device.synchronised = false;
    assert_eq!(why(sign_in(&mut device, &passkey, None)), Refused::Backup);
}

#[test]
fn every_lie_of_a_registration_is_refused() {
    for (lie, expected) in [
        (Lie::Challenge, Refused::Challenge),
        (Lie::Origin, Refused::Origin),
        (Lie::Frame, Refused::Origin),
        (Lie::RelyingParty, Refused::RelyingParty),
        (Lie::Absent, Refused::UserAbsent),
        (Lie::Unverified, Refused::UserUnverified),
        (Lie::Ceremony, Refused::Ceremony),
    ] {
        assert_eq!(why(register(&mut authenticator(), Some(lie))), expected, "{lie:?}");
    }
    // RS256 for an elliptic curve, EdDSA which was not offered, ES512
    for algorithm in [-8, -36, -37] {
        let mut device = Authenticator { algorithm, ..authenticator() };
        let refused = why(register(&mut device, None));
        assert!(matches!(refused, Refused::Algorithm | Refused::Damaged), "{algorithm}: {refused}");
    }
}

#[test]
fn a_key_that_is_no_point_of_the_curve_never_signs_in() {
    let mut device = authenticator();
    match register(&mut device, Some(Lie::Signature)) {
        Err(error) => assert!(matches!(error, CeremonyError::Refused(Refused::Damaged))),
        Ok(passkey) => {
            assert!(matches!(sign_in(&mut device, &passkey, None), Err(CeremonyError::Refused(_))));
        }
    }
}

#[test]
fn every_lie_of_a_sign_in_is_refused() {
    let mut device = authenticator();
    let passkey = register(&mut device, None).unwrap();
    for (lie, expected) in [
        (Lie::Challenge, Refused::Challenge),
        (Lie::Origin, Refused::Origin),
        (Lie::Frame, Refused::Origin),
        (Lie::RelyingParty, Refused::RelyingParty),
        (Lie::Absent, Refused::UserAbsent),
        (Lie::Unverified, Refused::UserUnverified),
        (Lie::Signature, Refused::Signature),
        (Lie::Key, Refused::Signature),
        (Lie::Ceremony, Refused::Ceremony),
        (Lie::Synchronised, Refused::Backup),
    ] {
        assert_eq!(why(sign_in(&mut device, &passkey, Some(lie))), expected, "{lie:?}");
    }
    // the account is not this module's to know: it is told as the authenticator says it
    let begun = shop().begin_sign_in().unwrap();
    let answer = Assertion::parse(device.get(&begun.options, Some(Lie::Handle))).unwrap();
    assert_eq!(answer.user_handle(), Ok(Some(Uuid::from_bytes([7; 16]))));
    assert_eq!(Lie::ALL.len(), 11, "each lie stands in the list above");
}

#[test]
fn an_answer_to_another_challenge_or_by_another_passkey_is_refused() {
    let mut device = authenticator();
    let passkey = register(&mut device, None).unwrap();
    let (first, second) = (shop().begin_sign_in().unwrap(), shop().begin_sign_in().unwrap());
    assert_ne!(first.options["challenge"], second.options["challenge"]);
    let answer = Assertion::parse(device.get(&first.options, None)).unwrap();
    let result = shop().finish_sign_in(&second.state, &answer, &passkey.credential);
    assert_eq!(why(result), Refused::Challenge);

    let mut foreign = Authenticator::new([2; 32], ORIGIN);
    let other = register(&mut foreign, None).unwrap();
    let answer = Assertion::parse(device.get(&first.options, None)).unwrap();
    let result = shop().finish_sign_in(&first.state, &answer, &other.credential);
    assert_eq!(why(result), Refused::Damaged);
    // the foreign key under the name of ours
    foreign.credential_id = device.credential_id.clone();
    let answer = Assertion::parse(foreign.get(&first.options, None)).unwrap();
    let result = shop().finish_sign_in(&first.state, &answer, &passkey.credential);
    assert_eq!(why(result), Refused::Signature);
}

/// The whole answer is signed: no bit of it may change.
#[test]
fn every_flipped_bit_of_authenticator_data_client_data_and_signature_is_refused() {
    let mut device = authenticator();
    let passkey = register(&mut device, None).unwrap();
    let begun = shop().begin_sign_in().unwrap();
    let answer = device.get(&begun.options, None);
    for member in ["authenticatorData", "clientDataJSON", "signature"] {
        let whole = URL_SAFE_NO_PAD.decode(answer["response"][member].as_str().unwrap()).unwrap();
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1 << (byte % 8);
            let mut answer = answer.clone();
            answer["response"][member] = json!(URL_SAFE_NO_PAD.encode(damaged));
            let answer = Assertion::parse(answer).unwrap();
            let result = shop().finish_sign_in(&begun.state, &answer, &passkey.credential);
            assert!(matches!(result, Err(CeremonyError::Refused(_))), "{member} byte {byte}");
        }
    }
}

#[test]
fn a_credential_that_is_not_discoverable_or_known_is_refused() {
    let mut device = authenticator();
    let begun = shop().begin_registration(owner(), Vec::new()).unwrap();
    let mut answer = device.create(&begun.options, None);
    answer["clientExtensionResults"] = json!({ "credProps": { "rk": false } });
    let answer = Attestation::parse(answer).unwrap();
    let result = shop().finish_registration(&begun.state, &answer);
    assert_eq!(why(result), Refused::NotDiscoverable);

    let known = vec![device.credential_id.clone()];
    let begun = shop().begin_registration(owner(), known).unwrap();
    let answer = Attestation::parse(device.create(&begun.options, None)).unwrap();
    let refused = why(shop().finish_registration(&begun.state, &answer));
    assert!(matches!(refused, Refused::Known | Refused::Algorithm), "{refused}");
}

#[test]
fn what_is_no_credential_is_malformed() {
    let mut device = authenticator();
    let begun = shop().begin_registration(owner(), Vec::new()).unwrap();
    let sound = device.create(&begun.options, None);
    Attestation::parse(sound.clone()).unwrap();
    for (member, value) in [
        ("type", json!("password")),
        ("id", json!("AAAA")),
        ("rawId", json!("not base64!")),
        ("rawId", json!("")),
        ("response", json!({})),
        ("response", json!("text")),
        ("response", json!(null)),
    ] {
        let mut damaged = sound.clone();
        damaged[member] = value.clone();
        assert_eq!(Attestation::parse(damaged.clone()).unwrap_err(), Malformed, "{member} {value}");
        assert_eq!(Assertion::parse(damaged).unwrap_err(), Malformed, "{member} {value}");
    }
    for value in [json!(null), json!([]), json!("x"), json!(7), json!({})] {
        assert_eq!(Assertion::parse(value.clone()).unwrap_err(), Malformed, "{value}");
    }
    // an attestation object that is no CBOR, and client data that is no JSON
    for member in ["attestationObject", "clientDataJSON"] {
        let mut damaged = sound.clone();
        damaged["response"][member] = json!("AAAA");
        let answer = Attestation::parse(damaged).unwrap();
        assert_eq!(why(shop().finish_registration(&begun.state, &answer)), Refused::Damaged);
    }
}

#[test]
fn what_is_kept_holds_no_attestation_and_states_of_one_kind_do_not_pass_for_the_other() {
    let mut device = authenticator();
    let passkey = register(&mut device, None).unwrap();
    assert_eq!(passkey.credential["counter"], 0);
    assert_eq!(passkey.credential["attestation"]["data"], "None");
    let begun = shop().begin_registration(owner(), Vec::new()).unwrap();
    let answer = Assertion::parse(device.get(&shop().begin_sign_in().unwrap().options, None));
    let result = shop().finish_sign_in(&begun.state, &answer.unwrap(), &passkey.credential);
    assert!(matches!(result, Err(CeremonyError::Unexpected(_))));
}
