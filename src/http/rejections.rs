//! The only place where what the inside refuses becomes an answer: a domain [`Rejection`], a
//! [`SubmitError`], a failed read, a refused value.

use super::catalogue::Code;
use super::field::FieldFault;
use super::problem::Problem;
use crate::actors::customers::SubmitError;
use crate::db;
use crate::deadline;
use crate::domain::Fault;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::status::Status;
use std::time::Duration;

/// When to come again after a dependency was found gone: long enough not to storm it, short
/// enough to notice its return.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(2);

/// A refused value, in the words of answers: a sentence.
impl From<Fault> for FieldFault {
    fn from(fault: Fault) -> Self {
        let mut words = fault.detail.chars();
        let first = words.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        let stop = if fault.detail.ends_with('.') { "" } else { "." };
        FieldFault::new(fault.code, format!("{first}{}{stop}", words.as_str()))
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound | Rejection::FactorNotFound => Problem::new(Code::NotFound),
            Rejection::NoSuchCustomer { field } => Problem::new(Code::NotFound)
                .detail(format!("There is no customer of the id in `{field}`.")),
            Rejection::MergeNotAllowed { from, into } => Problem::new(Code::MergeNotAllowed)
                .detail(format!("From is {}, into is {}.", from.as_str(), into.as_str())),
            // Of what the order service says; no request does.
            Rejection::CustomerGone | Rejection::CustomerMerged { .. } => {
                Problem::new(Code::NotFound)
            }
            Rejection::OrderOfAnotherCustomer => Problem::new(Code::Conflict),
            Rejection::EmailTaken => Problem::new(Code::EmailTaken),
            Rejection::FactorEnabled => Problem::new(Code::MfaEnabled),
            Rejection::FactorNotStarted => Problem::new(Code::MfaNotStarted),
            Rejection::NoSecondFactor => Problem::new(Code::MfaNotEnabled),
            Rejection::PhoneTaken => Problem::new(Code::PhoneTaken),
            Rejection::IdentityTaken => Problem::new(Code::IdentityTaken),
            Rejection::ProviderLinked => Problem::new(Code::ProviderAlreadyLinked),
            Rejection::LinkRequired => Problem::new(Code::LinkRequired),
            Rejection::LastSignInMethod => Problem::new(Code::LastSignInMethod),
            Rejection::FlowInvalid => Problem::new(Code::FlowInvalid),
            Rejection::VersionMismatch => Problem::new(Code::PreconditionFailed),
            Rejection::TransitionNotAllowed { from, to } => {
                Problem::new(Code::TransitionNotAllowed).detail(format!(
                    "There is no way from {} to {}.",
                    from.as_str(),
                    to.as_str()
                ))
            }
            Rejection::PhoneAlreadyVerified => Problem::new(Code::PhoneAlreadyVerified),
            Rejection::AddressLimitReached { limit } => Problem::new(Code::AddressLimitReached)
                .detail(format!("There are {limit} addresses, which is the limit.")),
            Rejection::TagLimitReached => Problem::new(Code::TagLimitReached),
            Rejection::NoteLimitReached { limit } => Problem::new(Code::NoteLimitReached)
                .detail(format!("There are {limit} notes, which is the limit.")),
            Rejection::LastAddress => Problem::new(Code::LastAddress),
            Rejection::WishlistLimitReached { limit } => Problem::new(Code::WishlistLimitReached)
                .detail(format!("There are {limit} wishlists, which is the limit.")),
            Rejection::WishlistFull { limit } => Problem::new(Code::WishlistFull)
                .detail(format!("There are {limit} items on the list, which is the limit.")),
            Rejection::PasskeyLimitReached { limit } => Problem::new(Code::PasskeyLimitReached)
                .detail(format!("A customer may keep {limit} passkeys.")),
            Rejection::PasskeyKnown => Problem::new(Code::PasskeyKnown),
            Rejection::PasskeyRefused => Problem::new(Code::PasskeyRefused),
            Rejection::ConsentNotOffered => Problem::new(Code::ConsentNotOffered),
            Rejection::ConsentTextOutdated { current } => Problem::new(Code::ConsentTextOutdated)
                .detail(format!("The text in use is version {}.", current.as_str())),
            Rejection::NotActive(status) => not_active(status),
            Rejection::TokenInvalid => Problem::new(Code::TokenInvalid),
            Rejection::DeletionScheduled { due_at } => Problem::new(Code::DeletionScheduled)
                .detail(format!("It is due on {}.", due_at.format("%Y-%m-%d"))),
            Rejection::ErasureBegun => Problem::new(Code::ErasureBegun),
            Rejection::ActiveOrders => Problem::new(Code::ActiveOrders),
            Rejection::LegalHoldExists => Problem::new(Code::LegalHoldExists),
            Rejection::RefreshInvalid => Problem::new(Code::RefreshInvalid),
            Rejection::UnknownGroup => invalid(
                "#/group",
                FieldFault::new("unknown_group", "There is no group of this code."),
            ),
            Rejection::GroupExists => Problem::new(Code::GroupExists),
            Rejection::GroupInUse => Problem::new(Code::GroupInUse),
            Rejection::GroupIsDefault => Problem::new(Code::GroupIsDefault),
            Rejection::AttributeExists => Problem::new(Code::AttributeExists),
            Rejection::AttributeLimitReached { limit } => Problem::new(Code::AttributeLimitReached)
                .detail(format!("There are {limit} attributes, which is the limit.")),
            Rejection::AttributeInUse { narrowed: None } => Problem::new(Code::AttributeInUse),
            Rejection::AttributeInUse { narrowed: Some(limit) } => {
                Problem::new(Code::AttributeInUse)
                    .detail(format!("Customers hold values that another {limit} may not allow."))
            }
            Rejection::SegmentExists => Problem::new(Code::SegmentExists),
            Rejection::SegmentLimitReached { limit } => Problem::new(Code::SegmentLimitReached)
                .detail(format!("There are {limit} segments, which is the limit.")),
            Rejection::SegmentIsDefault => Problem::new(Code::SegmentIsDefault),
            Rejection::SegmentInUse { by } => {
                let by: Vec<_> = by.iter().map(|code| code.as_str()).collect();
                Problem::new(Code::SegmentInUse).detail(format!("Named by {}.", by.join(", ")))
            }
            Rejection::InvalidFields(faults) => {
                let field = |(pointer, fault): (String, Fault)| FieldFault::from(fault).at(pointer);
                Problem::invalid(faults.into_iter().map(field).collect())
            }
            Rejection::Invalid { pointer, fault } => invalid(pointer, fault.into()),
            Rejection::ExportRunning { id } => Problem::new(Code::ExportRunning).detail(format!(
                "The export {id} is under way: look at it until it is ready or failed, then ask again."
            )),
            Rejection::ExportLimitReached { per_day, wait_seconds } => {
                Problem::new(Code::ExportLimitReached)
                    .detail(format!(
                        "Within 24 hours {per_day} may be asked for. What was made can be downloaded \
                         until it expires."
                    ))
                    .retry_after(Duration::from_secs(wait_seconds.unsigned_abs()))
            }
            Rejection::ExportNotReady => Problem::new(Code::ExportNotReady),
            Rejection::ExportExpired => Problem::new(Code::ExportExpired),
            Rejection::IdempotencyKeyReused => Problem::new(Code::IdempotencyKeyReused),
            Rejection::Conflict => Problem::new(Code::Conflict),
        }
    }
}

fn invalid(pointer: &str, fault: FieldFault) -> Problem {
    Problem::invalid(vec![fault.at(pointer)])
}

/// The account's status does not let its owner, or with a scheduled deletion anybody, change it.
fn not_active(status: Status) -> Problem {
    match status {
        Status::Pending => Problem::new(Code::EmailUnverified)
            .detail("Verify the e-mail address before changing anything."),
        Status::Suspended => Problem::new(Code::AccountSuspended)
            .detail("The account is suspended: nothing can be changed."),
        Status::Inactive => Problem::new(Code::AccountInactive)
            .detail("The account is inactive: nothing can be changed."),
        Status::DeletionScheduled => Problem::new(Code::AccountFrozen),
        Status::Erased => Problem::new(Code::NotFound),
        Status::Active => Problem::new(Code::Conflict),
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Rejected(rejection) => rejection.into(),
            SubmitError::InProgress => Problem::new(Code::IdempotencyInProgress),
            SubmitError::Overloaded { retry_after } => {
                Problem::new(Code::Overloaded).retry_after(retry_after)
            }
            SubmitError::Unavailable => unavailable(),
            SubmitError::Unknown => Problem::new(Code::OutcomeUnknown),
        }
    }
}

/// A read that failed. What the database said goes to the log, the caller learns what to do.
impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Unavailable(_) => {
                tracing::warn!(%error, "a read found no database");
                unavailable()
            }
            // The request's own limit is over in the same moment: one answer, whichever is noticed first.
            db::Error::Transient(_) if deadline::is_over() => Problem::new(Code::TimedOut),
            db::Error::Transient(_) => {
                tracing::warn!(%error, "a read was given up");
                Problem::new(Code::Overloaded)
                    .detail("The database gave up on the question. Try again after Retry-After.")
            }
            db::Error::Constraint(_) | db::Error::Internal(_) => {
                tracing::error!(%error, "a read failed");
                Problem::new(Code::Internal)
            }
        }
    }
}

fn unavailable() -> Problem {
    Problem::new(Code::Unavailable).retry_after(UNAVAILABLE_RETRY)
}

/// The answer to an outcome that its command cannot have: a mistake of ours, recorded by its kind
/// alone, since an outcome holds personal values.
pub fn unexpected(outcome: &Outcome) -> Problem {
    let kind = match outcome {
        Outcome::Done => "done",
        Outcome::Customer(_) => "customer",
        Outcome::Profile(_) => "profile",
        Outcome::Preferences(_) => "preferences",
        Outcome::Address(_) => "address",
        Outcome::Identity(_) => "identity",
        Outcome::Passkey(_) => "passkey",
        Outcome::Consents(_) => "consents",
        Outcome::Wishlist(_) => "wishlist",
        Outcome::Note(_) => "note",
        Outcome::PrivacyExport(_) => "privacy_export",
        Outcome::Group(_) => "group",
        Outcome::Segment(_) => "segment",
        Outcome::Attribute(_) => "attribute",
        Outcome::Merged(_) => "merged",
        Outcome::Deletion(_) => "deletion",
        Outcome::LegalHold(_) => "legal_hold",
        Outcome::Order { .. } => "order",
        Outcome::Reconciled { .. } => "reconciled",
        Outcome::Admission(_) => "admission",
        Outcome::AttemptFailed { .. } => "attempt_failed",
        Outcome::SignedIn(_) => "signed_in",
        Outcome::SecondFactorRequired { .. } => "second_factor_required",
        Outcome::SignInRefused(_) => "sign_in_refused",
        Outcome::ProofRefused(_) => "proof_refused",
        Outcome::FlowTaken { .. } => "flow_taken",
        Outcome::Refreshed { .. } => "refreshed",
        Outcome::RefreshReused { .. } => "refresh_reused",
        Outcome::Revoked { .. } => "revoked",
    };
    tracing::error!(kind, "a command came to an outcome that it cannot have");
    Problem::new(Code::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PrivacyExportId;
    use crate::domain::consent::TextVersion;
    use crate::domain::segment::record::SegmentCode;
    use actix_web::http::header::{HeaderMap, RETRY_AFTER};
    use uuid::Uuid;

    fn told(problem: &Problem) -> (u16, &'static str) {
        (problem.status().as_u16(), problem.code().as_str())
    }

    #[test]
    fn every_rejection_has_its_answer() {
        let fault = || Fault::new("too_long", "must have at most 3 characters");
        for (rejection, status, code) in [
            (Rejection::NotFound, 404, "not_found"),
            (Rejection::NoSuchCustomer { field: "from" }, 404, "not_found"),
            (
                Rejection::MergeNotAllowed { from: Status::Suspended, into: Status::Active },
                409,
                "merge_not_allowed",
            ),
            (Rejection::CustomerGone, 404, "not_found"),
            (Rejection::OrderOfAnotherCustomer, 409, "conflict"),
            (Rejection::EmailTaken, 409, "email_taken"),
            (Rejection::VersionMismatch, 412, "precondition_failed"),
            (
                Rejection::TransitionNotAllowed { from: Status::Pending, to: Status::Suspended },
                409,
                "transition_not_allowed",
            ),
            (Rejection::AddressLimitReached { limit: 50 }, 409, "address_limit_reached"),
            (Rejection::PhoneAlreadyVerified, 409, "phone_already_verified"),
            (Rejection::GroupExists, 409, "group_exists"),
            (Rejection::GroupInUse, 409, "group_in_use"),
            (Rejection::GroupIsDefault, 409, "group_is_default"),
            (Rejection::AttributeExists, 409, "attribute_exists"),
            (Rejection::AttributeLimitReached { limit: 200 }, 409, "attribute_limit_reached"),
            (Rejection::AttributeInUse { narrowed: None }, 409, "attribute_in_use"),
            (Rejection::AttributeInUse { narrowed: Some("maximum") }, 409, "attribute_in_use"),
            (Rejection::SegmentExists, 409, "segment_exists"),
            (Rejection::SegmentLimitReached { limit: 1_000 }, 409, "segment_limit_reached"),
            (Rejection::SegmentIsDefault, 409, "segment_is_default"),
            (
                Rejection::SegmentInUse { by: vec![SegmentCode::from_stored("vip".to_owned())] },
                409,
                "segment_in_use",
            ),
            (
                Rejection::InvalidFields(vec![("#/custom/a".to_owned(), fault())]),
                422,
                "validation_failed",
            ),
            (Rejection::ExportRunning { id: PrivacyExportId(Uuid::nil()) }, 409, "export_running"),
            (
                Rejection::ExportLimitReached { per_day: 1, wait_seconds: 7 },
                429,
                "export_limit_reached",
            ),
            (Rejection::ExportNotReady, 409, "export_not_ready"),
            (Rejection::ExportExpired, 404, "export_expired"),
            (Rejection::TagLimitReached, 409, "tag_limit_reached"),
            (Rejection::NoteLimitReached { limit: 1_000 }, 409, "note_limit_reached"),
            (Rejection::LastAddress, 409, "last_address"),
            (
                Rejection::DeletionScheduled { due_at: chrono::DateTime::UNIX_EPOCH },
                409,
                "deletion_scheduled",
            ),
            (Rejection::ErasureBegun, 409, "erasure_begun"),
            (Rejection::ActiveOrders, 409, "active_orders"),
            (Rejection::LegalHoldExists, 409, "legal_hold_exists"),
            (Rejection::LinkRequired, 409, "link_required"),
            (Rejection::ProviderLinked, 409, "provider_already_linked"),
            (Rejection::IdentityTaken, 409, "identity_taken"),
            (Rejection::PasskeyLimitReached { limit: 20 }, 409, "passkey_limit_reached"),
            (Rejection::WishlistLimitReached { limit: 20 }, 409, "wishlist_limit_reached"),
            (Rejection::WishlistFull { limit: 250 }, 409, "wishlist_full"),
            (Rejection::PasskeyKnown, 409, "passkey_known"),
            (Rejection::PasskeyRefused, 422, "passkey_refused"),
            (Rejection::LastSignInMethod, 409, "last_sign_in_method"),
            (Rejection::ConsentNotOffered, 409, "consent_not_offered"),
            (
                Rejection::ConsentTextOutdated { current: TextVersion::parse("2").unwrap() },
                409,
                "consent_text_outdated",
            ),
            (Rejection::NotActive(Status::Pending), 403, "email_unverified"),
            (Rejection::NotActive(Status::Suspended), 403, "account_suspended"),
            (Rejection::NotActive(Status::Inactive), 403, "account_inactive"),
            (Rejection::NotActive(Status::DeletionScheduled), 409, "account_frozen"),
            (Rejection::NotActive(Status::Erased), 404, "not_found"),
            (Rejection::FactorNotFound, 404, "not_found"),
            (Rejection::FactorEnabled, 409, "mfa_enabled"),
            (Rejection::FactorNotStarted, 409, "mfa_not_started"),
            (Rejection::NoSecondFactor, 409, "mfa_not_enabled"),
            (Rejection::TokenInvalid, 422, "token_invalid"),
            (Rejection::RefreshInvalid, 401, "refresh_invalid"),
            (Rejection::UnknownGroup, 422, "validation_failed"),
            (
                Rejection::Invalid { pointer: "#/postal_code", fault: fault() },
                422,
                "validation_failed",
            ),
            (Rejection::IdempotencyKeyReused, 422, "idempotency_key_reused"),
            (Rejection::Conflict, 409, "conflict"),
        ] {
            let shown = format!("{rejection:?}");
            assert_eq!(told(&Problem::from(rejection)), (status, code), "{shown}");
        }
    }

    #[test]
    fn refused_values_are_named_with_their_place() {
        let problem = Problem::from(Rejection::UnknownGroup);
        assert_eq!(problem.errors()[0].pointer.as_deref(), Some("#/group"));
        assert_eq!(problem.errors()[0].code, "unknown_group");
        let fault = Fault::new("invalid_postal_code", "does not have the format of VN");
        let problem = Problem::from(Rejection::Invalid { pointer: "#/postal_code", fault });
        assert_eq!(problem.errors()[0].pointer.as_deref(), Some("#/postal_code"));
        assert_eq!(problem.errors()[0].detail, "Does not have the format of VN.");
    }

    #[test]
    fn every_submit_error_has_its_answer_and_says_when_to_come_again() {
        let retry_after = Duration::from_millis(2_500);
        for (error, status, code, wait) in [
            (SubmitError::Rejected(Rejection::LastAddress), 409, "last_address", None),
            (SubmitError::InProgress, 409, "idempotency_in_progress", None),
            (SubmitError::Overloaded { retry_after }, 503, "overloaded", Some("3")),
            (SubmitError::Unavailable, 503, "unavailable", Some("2")),
            (SubmitError::Unknown, 503, "outcome_unknown", Some("1")),
        ] {
            let problem = Problem::from(error);
            assert_eq!(told(&problem), (status, code));
            let mut headers = HeaderMap::new();
            problem.write_headers(&mut headers);
            assert_eq!(headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap()), wait);
        }
    }

    #[test]
    fn a_failed_read_tells_nothing_of_the_inside() {
        let secret = || "host=10.0.0.7 user=secret".to_owned();
        for (error, status, code) in [
            (db::Error::Unavailable(secret()), 503, "unavailable"),
            (db::Error::Transient(secret()), 503, "overloaded"),
            (db::Error::Constraint(Some(secret())), 500, "internal"),
            (db::Error::Internal(secret()), 500, "internal"),
        ] {
            let problem = Problem::from(error);
            assert_eq!(told(&problem), (status, code));
            let document = String::from_utf8(problem.document(None)).unwrap();
            assert!(!document.contains("secret"), "{document}");
        }
    }

    #[tokio::test]
    async fn a_read_given_up_since_its_caller_s_time_is_over_is_told_as_that() {
        let given_up = async || told(&Problem::from(db::Error::Transient(String::new())));
        let now = tokio::time::Instant::now();
        assert_eq!(deadline::within(now, given_up()).await, (503, "timed_out"));
        let later = now + Duration::from_secs(60);
        assert_eq!(deadline::within(later, given_up()).await, (503, "overloaded"));
    }

    #[test]
    fn faults_become_sentences() {
        for (detail, sentence) in [
            ("must not be empty", "Must not be empty."),
            ("Stands already.", "Stands already."),
            ("é", "É."),
            ("", "."),
        ] {
            assert_eq!(FieldFault::from(Fault::new("x", detail)).detail, sentence);
        }
    }
}
