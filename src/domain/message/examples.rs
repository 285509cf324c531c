//! One believable message of each type, for those who read the contract.

use super::*;
use uuid::Uuid;

const CUSTOMER: CustomerId = CustomerId(Uuid::from_u128(0x01a2_027b_d680_7c3a_9d41_5b0e_2f7a_8801));
const SESSION: SessionId = SessionId(Uuid::from_u128(0x01a2_0280_1c10_7d52_8e06_93c1_d4af_1702));
const HOME: AddressId = AddressId(Uuid::from_u128(0x01a2_0281_7e20_7a11_b35c_7702_e9d8_4403));
const OFFICE: AddressId = AddressId(Uuid::from_u128(0x01a2_0282_0d30_7f86_a2f9_1c4d_60b5_9e04));
const PASSKEY: PasskeyId = PasskeyId(Uuid::from_u128(0x01a2_0284_5140_7b64_8c17_e8a3_3bd2_7505));

fn names(names: &[&str]) -> FieldNames {
    FieldNames(names.iter().map(|name| (*name).to_owned()).collect())
}

fn group(code: &str) -> GroupCode {
    GroupCode::from_stored(code.to_owned())
}

impl Data for CustomerCreated {
    const SEALS: Option<&'static str> = Some(
        "For who has the customer's key: email, names, phone, profile and preferences, as far as they are filled in.",
    );

    fn example() -> Self {
        Self {
            customer_id: CUSTOMER,
            customer_type: CustomerType::Individual,
            group: group("individual"),
            source: Source::Registration,
        }
    }
}

impl Data for CustomerUpdated {
    const SEALS: Option<&'static str> = Some(
        "For who has the customer's key: the fields that changed, by name; a preference's stands in preferences.updated.",
    );

    fn example() -> Self {
        Self { customer_id: CUSTOMER, changed: names(&["first_name", "last_name"]), version: 4 }
    }
}

impl Data for CustomerDeleted {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, merged_into: None }
    }
}

impl Data for StatusChanged {
    fn example() -> Self {
        Self {
            customer_id: CUSTOMER,
            from: Status::Pending,
            to: Status::Active,
            reason: ReasonCode::email_verified(),
        }
    }
}

impl Data for GroupChanged {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, from: group("individual"), to: group("business") }
    }
}

impl Data for Verified {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: phone, where one was shown.");

    fn example() -> Self {
        Self { customer_id: CUSTOMER, channel: Channel::Email }
    }
}

impl Data for EmailChanged {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the addresses from and to.");

    fn example() -> Self {
        Self { customer_id: CUSTOMER, cause: EmailChangeCause::Confirmed }
    }
}

impl Data for PhoneChanged {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the numbers from and to, null where there is none.");

    fn example() -> Self {
        Self { customer_id: CUSTOMER }
    }
}

impl Data for SignedIn {
    const SEALS: Option<&'static str> = Some(
        "For who has the customer's key: device_name, user_agent and client_address, as far as they are known.",
    );

    fn example() -> Self {
        Self {
            customer_id: CUSTOMER,
            session_id: SESSION,
            method: SignInMethod::Password,
            second_factor: Some(SecondFactor::Totp),
        }
    }
}

impl Data for SessionRevoked {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, session_id: SESSION, reason: RevocationReason::SignedOut }
    }
}

impl Data for SignInLocked {
    fn example() -> Self {
        // half past nine on a morning
        let until = DateTime::from_timestamp(1_795_339_800, 0).unwrap_or_default();
        Self { customer_id: CUSTOMER, factor: Factor::Password, until }
    }
}

impl Data for PasswordChanged {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, cause: PasswordCause::Reset }
    }
}

impl Data for MfaChanged {
    fn example() -> Self {
        Self::Passkey { customer_id: CUSTOMER, passkey_id: PASSKEY, change: PasskeyChange::Added }
    }
}

impl Data for IdentityLinked {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: subject and email, as the provider tells them.");

    fn example() -> Self {
        Self { customer_id: CUSTOMER, provider: "google".to_owned() }
    }
}

impl Data for IdentityUnlinked {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, provider: "google".to_owned() }
    }
}

impl Data for PreferencesUpdated {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the preferences that changed, by name.");

    fn example() -> Self {
        Self { customer_id: CUSTOMER, changed: names(&["locale", "channels.sms"]), version: 2 }
    }
}

impl Data for AddressCreated {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the fields of the address, but empty ones.");

    fn example() -> Self {
        Self { customer_id: CUSTOMER, address_id: HOME, version: 1 }
    }
}

impl Data for AddressUpdated {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the fields that changed, by name.");

    fn example() -> Self {
        let changed = names(&["line1", "postal_code"]);
        Self { customer_id: CUSTOMER, address_id: HOME, changed, version: 2 }
    }
}

impl Data for AddressDeleted {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, address_id: HOME }
    }
}

impl Data for AddressDefaultChanged {
    fn example() -> Self {
        let kind = AddressKind::Shipping;
        Self { customer_id: CUSTOMER, kind, from: Some(HOME), to: OFFICE }
    }
}

impl Data for ConsentGranted {
    fn example() -> Self {
        Self {
            customer_id: CUSTOMER,
            purpose: consent::Purpose::marketing(),
            channel: consent::Channel::Email,
            text_version: consent::TextVersion::from_stored("2026-11".to_owned()),
            locale: Some("vi-VN".to_owned()),
            source: consent::Source::SelfService,
            entry: 1,
        }
    }
}

impl Data for ConsentWithdrawn {
    fn example() -> Self {
        Self {
            customer_id: CUSTOMER,
            purpose: consent::Purpose::marketing(),
            channel: consent::Channel::Email,
            source: consent::Source::Staff,
            entry: 2,
        }
    }
}
