//! What was issued is read back; everything one step away from it is not.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn root(seed: u8) -> RootSecret {
    RootSecret::new([seed; 32])
}

fn session() -> Uuid {
    Uuid::from_u128(0x0198_1234_5678_7abc_8def_0123_4567_89ab)
}

/// Every text that differs from `text` in one character, by another of base64's, or in length.
fn neighbours(text: &str) -> impl Iterator<Item = String> {
    let replaced = (0..text.len()).flat_map(move |at| {
        "AQgwz09-_+/=. \n\0é".chars().map(move |c| format!("{}{c}{}", &text[..at], &text[at + 1..]))
    });
    let resized = [
        String::new(),
        text[1..].to_owned(),
        text[..text.len() - 1].to_owned(),
        format!("{text}="),
        format!("{text}A"),
        format!(" {text}"),
        format!("{text}\n"),
        text.repeat(2),
    ];
    replaced.chain(resized).filter(move |other| other != text)
}

#[test]
fn a8_one_time_tokens_are_a_keyed_function_of_purpose_and_nonce() {
    let tokens = OneTimeTokens::new(&root(1));
    let issued = tokens.issue("verify_email", [7; 32]);
    assert_eq!(issued.token, tokens.issue("verify_email", [7; 32]).token);
    assert_eq!(issued.token.as_str().len(), 43);
    assert_eq!(OneTimeTokens::token_hash(issued.token.as_str()), Some(issued.hash));
    let others = [
        tokens.issue("reset_password", [7; 32]),
        tokens.issue("verify_email", [8; 32]),
        OneTimeTokens::new(&root(2)).issue("verify_email", [7; 32]),
    ];
    for other in others {
        assert_ne!(issued.token, other.token);
        assert_ne!(issued.hash, other.hash);
    }
    // neither the nonce nor the hash, as found at rest, is the token
    for at_rest in [[7; 32], issued.hash] {
        assert_ne!(OneTimeTokens::token_hash(&URL_SAFE_NO_PAD.encode(at_rest)), Some(issued.hash));
    }
}

#[test]
fn a8_no_other_spelling_of_a_one_time_token_has_its_hash() {
    let issued = OneTimeTokens::new(&root(1)).issue("verify_email", [7; 32]);
    for other in neighbours(issued.token.as_str()) {
        assert_ne!(OneTimeTokens::token_hash(&other), Some(issued.hash), "{other:?}");
    }
}

#[test]
fn a7_a_lost_reply_is_answered_with_the_same_child() {
    let tokens = RefreshTokens::new(&root(1));
    let first = tokens.first(session(), [3; 32]);
    let presented = tokens.parse(first.token.as_str()).unwrap();
    assert_eq!(
        (presented.session_id, presented.generation, presented.hash),
        (session(), 0, first.hash)
    );
    let child = tokens.child(&presented);
    assert_eq!(child.token, tokens.child(&presented).token);
    let presented_child = tokens.parse(child.token.as_str()).unwrap();
    assert_eq!((presented_child.generation, presented_child.hash), (1, child.hash));
    assert_eq!(child.token.as_str().len(), 91);
}

#[test]
fn a7_a_chain_never_repeats_and_each_link_stays_recognisable() {
    let tokens = RefreshTokens::new(&root(1));
    let mut issued = tokens.first(session(), [3; 32]);
    let mut seen = HashSet::new();
    for generation in 0..100 {
        assert!(seen.insert(issued.hash));
        let presented = tokens.parse(issued.token.as_str()).unwrap();
        assert_eq!(presented.generation, generation);
        issued = tokens.child(&presented);
    }
}

#[test]
fn a7_a_forged_or_foreign_refresh_token_is_not_recognised() {
    let tokens = RefreshTokens::new(&root(1));
    let issued = tokens.first(session(), [3; 32]);
    for other in neighbours(issued.token.as_str()) {
        assert!(tokens.parse(&other).is_none(), "{other:?}");
    }
    let bytes = URL_SAFE_NO_PAD.decode(issued.token.as_str()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(tokens.parse(&URL_SAFE_NO_PAD.encode(flipped)).is_none(), "bit {bit}");
    }
    assert!(RefreshTokens::new(&root(2)).parse(issued.token.as_str()).is_none());
}

#[test]
fn a4_device_tokens_name_their_device() {
    let issued = device_token(session(), [9; 32]);
    assert_eq!(issued.token.as_str().len(), 64);
    let presented = parse_device_token(issued.token.as_str()).unwrap();
    assert_eq!(presented, PresentedDevice { device_id: session(), hash: issued.hash });
    for other in neighbours(issued.token.as_str()) {
        let hash = parse_device_token(&other).map(|presented| presented.hash);
        assert_ne!(hash, Some(issued.hash), "{other:?}");
    }
}

#[test]
fn staff_keys_are_read_back_and_nothing_near_them() {
    let issued = staff_key([0xff; 10], [0xab; 32]);
    assert_eq!(issued.id, "zzzzzzzzzzzzzzzz");
    let key = issued.key.as_str();
    assert_eq!(key, format!("csk_zzzzzzzzzzzzzzzz_{}", "ab".repeat(32)));
    let expected = PresentedStaffKey { id: issued.id.clone(), hash: issued.hash };
    assert_eq!(parse_staff_key(key), Some(expected.clone()));
    for other in neighbours(key).chain([key.to_uppercase(), key.replace("ab", "AB")]) {
        assert_ne!(parse_staff_key(&other), Some(expected.clone()), "{other:?}");
    }
    assert_eq!(staff_key([0; 10], [0; 32]).id, "0000000000000000");
    let counting = [0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf];
    assert_eq!(staff_key(counting, [0; 32]).id, "0123456789abcdef");
}

#[test]
fn throttle_buckets_depend_on_kind_identifier_and_key() {
    let keys = ThrottleKeys::new(&root(1));
    let buckets = HashSet::from([
        keys.bucket("sign_in", "a@example.com"),
        keys.bucket("sign_in", "b@example.com"),
        keys.bucket("mail", "a@example.com"),
        keys.bucket("sign_ina", "@example.com"),
        ThrottleKeys::new(&root(2)).bucket("sign_in", "a@example.com"),
    ]);
    assert_eq!(buckets.len(), 5);
    assert!(buckets.contains(&keys.bucket("sign_in", "a@example.com")));
}

#[test]
fn hashes_compare_whole() {
    assert!(same_hash(&[1; 32], &[1; 32]));
    for stored in [&[][..], &[1; 31], &[1; 33], &[2; 32]] {
        assert!(!same_hash(stored, &[1; 32]));
    }
}

#[test]
fn debug_shows_no_token() {
    let issued = device_token(session(), [9; 32]);
    let key = staff_key([1; 10], [2; 32]);
    let presented = RefreshTokens::new(&root(1)).first(session(), [3; 32]).token;
    let presented = RefreshTokens::new(&root(1)).parse(presented.as_str());
    let shown = format!("{issued:?} {key:?} {presented:?}");
    assert!(!shown.contains(issued.token.as_str()) && !shown.contains("0202"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("3, 3"), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in any::<String>()) {
        let _ = OneTimeTokens::token_hash(&text);
        prop_assert!(RefreshTokens::new(&root(1)).parse(&text).is_none());
        let _ = parse_device_token(&text);
        let _ = parse_staff_key(&text);
        let _ = parse_staff_key(&format!("csk_{text}"));
    }

    #[test]
    fn every_issued_token_is_read_back(
        session in any::<u128>(), random in any::<[u8; 32]>(), id in any::<[u8; 10]>()
    ) {
        let session = Uuid::from_u128(session);
        let refresh = RefreshTokens::new(&root(1));
        let first = refresh.first(session, random);
        prop_assert_eq!(refresh.parse(first.token.as_str()).unwrap().hash, first.hash);
        let key = staff_key(id, random);
        let read = parse_staff_key(key.key.as_str()).unwrap();
        prop_assert_eq!((read.id, read.hash), (key.id, key.hash));
        let device = device_token(session, random);
        prop_assert_eq!(parse_device_token(device.token.as_str()).unwrap().device_id, session);
    }
}
