//! What a message says of its customer, as far as conditions care (rule S2).
//!
//! Every change writes its message in its transaction, in the order of commits. So the outbox is the
//! list of all changes, and whoever reads it after a cursor forgets none: nothing else is written to
//! tell that a customer is to be judged.

use super::attributes::Mark;
use serde_json::Value;
use std::collections::BTreeSet;

/// What a message marks; `None`: the type is not known here, so all may have changed.
pub fn of_message(kind: &str, data: &Value) -> Option<BTreeSet<Mark>> {
    let marks: &[Mark] = match kind {
        "customer.created" | "customer.merged"
        // It left all of them with the wish to be deleted.
        | "privacy.deletion_cancelled" => &[Mark::Created],
        "customer.updated" => return Some(of_fields(data)),
        "customer.status_changed" => &[Mark::Status],
        "customer.group_changed" => &[Mark::Group],
        "customer.verified" => &[Mark::EmailVerified, Mark::PhoneVerified],
        "customer.email_changed" => &[Mark::Email, Mark::EmailVerified],
        "customer.phone_changed" => &[Mark::PhoneVerified],
        "customer.signed_in" => &[Mark::SignIn],
        "customer.mfa_changed" => &[Mark::SecondFactor],
        "consent.granted" | "consent.withdrawn" => &[Mark::Consents],
        "address.created" | "address.updated" | "address.deleted" => &[Mark::Addresses],
        "wishlist.deleted" | "wishlist.item_added" | "wishlist.item_removed" => &[Mark::Wishlists],
        "statistics.updated" => &[Mark::Orders],
        "segment.assigned" | "segment.removed" => return Some(of_membership(data)),
        // It has left its segments with its own end.
        "customer.deleted"
        // Told again as fields of a `customer.updated`.
        | "preferences.updated"
        // Nothing that a condition may ask about.
        | "customer.session_revoked"
        | "customer.sign_in_locked"
        | "customer.password_changed"
        | "customer.identity_linked"
        | "customer.identity_unlinked"
        | "address.default_changed"
        | "wishlist.created"
        | "wishlist.updated"
        | "wishlist.item_changed"
        | "privacy.export_ready"
        // Told as a move of the status.
        | "privacy.deletion_requested"
        | "privacy.erasure_started"
        | "privacy.erasure_completed"
        // Of no customer.
        | "order.anonymize"
        | "payment.delete_methods"
        | "notification.forget"
        | "attribute.created"
        | "attribute.updated"
        | "attribute.deleted"
        | "segment.created"
        | "segment.updated"
        | "segment.deleted" => &[],
        _ => return None,
    };
    Some(marks.iter().cloned().collect())
}

/// By the names of fields in `changed`.
fn of_fields(data: &Value) -> BTreeSet<Mark> {
    let names = data.get("changed").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).flat_map(of_field).collect()
}

fn of_field(name: &str) -> Vec<Mark> {
    for custom in ["profile.custom.", "preferences.custom."] {
        if let Some(key) = name.strip_prefix(custom) {
            return vec![Mark::Custom(key.to_owned())];
        }
    }
    match name {
        "customer_type" => vec![Mark::CustomerType],
        "group" => vec![Mark::Group],
        "tags" => vec![Mark::Tags],
        "email" => vec![Mark::Email, Mark::EmailVerified],
        "phone" => vec![Mark::PhoneVerified],
        "accepts_marketing" => vec![Mark::Consents],
        "profile.date_of_birth" => vec![Mark::DateOfBirth],
        "preferences.locale" => vec![Mark::Locale],
        "preferences.timezone" => vec![Mark::TimeZone],
        "preferences.currency" => vec![Mark::Currency],
        "preferences.topics" => vec![Mark::Topics],
        "preferences.channels.email" | "preferences.channels.sms" | "preferences.channels.push" => {
            vec![Mark::Channels]
        }
        _ => Vec::new(),
    }
}

/// Those who ask about a segment were judged with it where the customer was judged; not where staff or
/// a walk over all customers said who belongs to it.
fn of_membership(data: &Value) -> BTreeSet<Mark> {
    let text = |name| data.get(name).and_then(Value::as_str);
    let judged = matches!(text("cause"), Some("change" | "time"));
    let code = text("segment").filter(|_| !judged);
    code.map(|code| Mark::Segment(code.to_owned())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::TYPES;
    use serde_json::json;

    #[test]
    fn s2_every_type_of_message_says_what_it_marks() {
        for message in TYPES {
            let marks = of_message(message.kind, &(message.example)());
            assert!(marks.is_some(), "{} is not told apart", message.kind);
        }
        assert_eq!(of_message("customer.teleported", &json!({})), None);
    }

    #[test]
    fn s2_fields_mark_what_conditions_read() {
        let marks = |names: &[&str]| {
            let marks = of_message("customer.updated", &json!({ "changed": names })).unwrap();
            marks.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(marks(&["first_name", "profile.bio"]), []);
        assert_eq!(marks(&["profile.custom.pet"]), [Mark::Custom("pet".to_owned())]);
        assert_eq!(marks(&["preferences.channels.sms", "tags"]), [Mark::Tags, Mark::Channels]);
    }

    #[test]
    fn s2_a_membership_marks_unless_the_customer_was_judged() {
        let marks = |cause: &str| {
            let data = json!({ "segment": "vip", "cause": cause });
            of_message("segment.assigned", &data).unwrap().into_iter().collect::<Vec<_>>()
        };
        let vip = || vec![Mark::Segment("vip".to_owned())];
        assert_eq!((marks("manual"), marks("definition")), (vip(), vip()));
        assert_eq!((marks("change"), marks("time")), (vec![], vec![]));
    }
}
