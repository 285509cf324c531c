//! A customer's audit trail in plain words, for the customer: what happened, and who did it.

use serde_json::Value;

/// What an entry is of that staff keeps for itself: notes, which the customer never sees.
pub const KEPT_FROM_OWNERS: &str = "note.";

/// What happened, for who is asked to trust it: a sentence, without names and values. `None`: not for
/// the customer, or of a later version.
#[must_use]
pub fn words(action: &str, data: &Value) -> Option<&'static str> {
    let is = |name: &str, value: &str| data.get(name).and_then(Value::as_str) == Some(value);
    Some(match action {
        "customer.created" => "The account was opened.",
        "customer.updated" => "Details of the account were changed.",
        "profile.updated" => "The profile was changed.",
        "preferences.updated" => "Language, currency, channels or other preferences were changed.",
        "customer.group_changed" => "The account was moved to another customer group.",
        "customer.status_changed" => "The status of the account was changed.",
        "customer.deleted" => "The account was deleted.",
        "customer.merged" => "Another account of the same person was merged into this one.",
        "customer.verified" if is("channel", "phone") => "The phone number was confirmed.",
        "customer.verified" => "The e-mail address was confirmed.",
        "customer.email_changed" => "The e-mail address was changed.",
        "customer.phone_changed" => "The phone number was changed.",
        "phone.requested" => "A code to confirm a phone number was asked for.",
        "phone.code_failed" => "A wrong code for a phone number was entered.",
        "phone.request_dropped" => "A phone number was not confirmed any more.",
        "text_message.queued" => "A text message was sent.",
        "mail.queued" => "A mail was sent.",
        "token.issued" => "A link was made to be sent by mail.",
        "token.used" => "A link from a mail was used.",
        "token.voided" => "A link from a mail was made useless.",
        "sign_in.succeeded" => "Somebody signed in.",
        "sign_in.failed" => "Somebody tried to sign in and did not succeed.",
        "sign_in.locked" => "Signing in was locked after several failures.",
        "sign_in.unlocked" => "Signing in was unlocked.",
        "sign_in.refused" => "Somebody showed the right password and was not let in.",
        "sign_in.second_factor_asked" => "A second factor was asked for.",
        "session.refreshed" => "A signed-in device went on using its session.",
        "session.revoked" => "A session was ended.",
        "device.remembered" => "A new device was remembered.",
        "device.forgotten" => "A device was forgotten.",
        "password.chosen" | "customer.password_changed" => "The password was changed.",
        "password.rehashed" => "The password was stored in a newer form.",
        "mfa.totp_started" => "An authenticator app was set up and not confirmed yet.",
        "mfa.totp_enabled" => "An authenticator app was enabled.",
        "mfa.totp_removed" => "An authenticator app was removed.",
        "mfa.backup_codes_issued" => "New backup codes were made.",
        "mfa.backup_code_used" => "A backup code was used.",
        "mfa.backup_codes_removed" => "The backup codes were removed.",
        "mfa.reset" => "All second factors were removed.",
        "passkey.added" => "A passkey was added.",
        "passkey.changed" => "A passkey was renamed or set differently.",
        "passkey.removed" => "A passkey was removed.",
        "passkey.used" => "A passkey was used.",
        "passkey.suspected" => "A passkey that may have been copied was refused.",
        "customer.identity_linked" => "An account elsewhere was linked for signing in.",
        "customer.identity_unlinked" => "An account elsewhere was unlinked.",
        "address.created" => "An address was added.",
        "address.updated" => "An address was changed.",
        "address.deleted" => "An address was deleted.",
        "address.default_changed" => "Another address was made the default.",
        "consent.granted" => "A consent was given.",
        "consent.withdrawn" => "A consent was withdrawn.",
        "wishlist.created" => "A wishlist was made.",
        "wishlist.updated" => "A wishlist was changed.",
        "wishlist.deleted" => "A wishlist was deleted.",
        "wishlist.item_added" => "Something was put on a wishlist.",
        "wishlist.item_changed" => "Something on a wishlist was changed.",
        "wishlist.item_removed" => "Something was taken off a wishlist.",
        "order.recorded" => "News of an order was recorded.",
        "statistics.updated" => "The summary of the orders was changed.",
        "privacy.deletion_requested" => "The deletion of the account was asked for.",
        "privacy.deletion_hastened" => "The deletion of the account was asked for at once.",
        "privacy.deletion_cancelled" => "The deletion of the account was cancelled.",
        "privacy.deletion_put_off" => "The deletion of the account was put off.",
        "privacy.erasure_started" => "All that was kept here was deleted.",
        "privacy.erasure_repeated" => {
            "A backup that was restored had brought the account back; it is deleted again."
        }
        "privacy.erasure_commanded" => "Another service was told to delete what it keeps.",
        "privacy.erasure_step_failed" => "Another service did not delete what it keeps.",
        "privacy.erasure_step_done" => "Another service deleted what it kept.",
        "privacy.erasure_completed" => "The deletion of the account was completed.",
        "message.replayed"
        | "messages.replayed"
        | "messages.replayed_to_queue"
        | "message.discarded" => {
            "A message to other services of the shop was sent anew or given up."
        }
        "customer_key.told" => {
            "Another service of the shop was let read what it is told of the account."
        }
        "personal_values.opened" => {
            "Somebody of the shop looked at what was changed in the account."
        }
        "privacy.export_requested" => "A copy of all data was asked for.",
        "privacy.export_ready" => "A copy of all data was made.",
        "privacy.export_failed" => "A copy of all data could not be made.",
        "privacy.export_downloaded" => "A copy of all data was downloaded.",
        "personal_data.read" => "Somebody of the shop looked at the account.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What makes entries about customers.
    const SOURCES: [&str; 6] = [
        include_str!("event/trace.rs"),
        include_str!("event/erasure.rs"),
        include_str!("event/order.rs"),
        include_str!("event/wishlist.rs"),
        include_str!("note.rs"),
        include_str!("privacy_export.rs"),
    ];

    /// Texts of the form `word.word` that are actions and not names of fields.
    fn actions() -> Vec<&'static str> {
        let code = SOURCES.iter().map(|text| text.split("#[cfg(test)]").next().unwrap_or(text));
        let texts = code.flat_map(|text| text.split('"').skip(1).step_by(2));
        let is_action = |text: &&str| {
            let parts: Vec<_> = text.split('.').collect();
            let word = |part: &&str| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            };
            parts.len() == 2 && parts.iter().all(word) && parts[0] != "orders"
        };
        texts.filter(is_action).collect()
    }

    #[test]
    fn p5_every_entry_about_a_customer_has_words_or_is_kept_from_it() {
        let actions = actions();
        assert!(actions.len() > 60, "only {} actions were found", actions.len());
        for action in actions {
            let about_nobody = action.starts_with("group.");
            // A duty to keep may be a secret of who imposes it.
            let kept = action.starts_with(KEPT_FROM_OWNERS) || action.starts_with("legal_hold.");
            let told = words(action, &Value::Null);
            assert_eq!(told.is_none(), about_nobody || kept, "{action}: {told:?}");
        }
    }

    #[test]
    fn words_follow_the_data_where_it_tells_more() {
        let phone = serde_json::json!({ "channel": "phone" });
        assert_eq!(words("customer.verified", &phone), Some("The phone number was confirmed."));
        let email = serde_json::json!({ "channel": "email" });
        assert_eq!(words("customer.verified", &email), Some("The e-mail address was confirmed."));
        assert_eq!(words("customer.eaten", &Value::Null), None);
    }
}
