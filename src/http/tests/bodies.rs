//! How each request body is read: what the description of the API is compared with.

use crate::http::form::Form;
use crate::http::problem::FieldError;
use crate::http::{
    addresses, attributes, auth, consents, customers, dead_letters, deletions, email_change,
    groups, log_levels, me, merges, mfa, notes, ops, passkeys, passwords, phone, preferences,
    profile, segments, social, tags, wishlists,
};
use crate::security::password_policy::PasswordPolicy;
use serde_json::Value;
use std::collections::BTreeMap;

/// A body as it is read: its faults, and the names that its reader knows.
pub type Body = (fn(&Value) -> Vec<FieldError>, fn() -> Vec<&'static str>);

macro_rules! bodies {
    ($($name:literal $read:expr)*) => {
        BTreeMap::from([$((
            $name,
            (
                (|value| {
                    let read = Form::read(value, |form| $read(form).map(drop));
                    read.err().map_or(Vec::new(), |problem| problem.errors().to_vec())
                }) as fn(&Value) -> Vec<FieldError>,
                (|| Form::fields_of(|form| $read(form).map(drop))) as fn() -> Vec<&'static str>,
            ),
        )),*])
    };
}

/// Every documented request body, by the name of its schema.
pub fn bodies() -> BTreeMap<&'static str, Body> {
    bodies! {
        "RegisterBody" (|form| auth::read_applicant(form, &PasswordPolicy::default()))
        "VerifyEmailBody" auth::read_token
        "ResendBody" auth::read_email
        "LoginBody" auth::Login::read
        "RefreshBody" auth::read_refresh_token
        "ProofBody" mfa::read_evidence
        "TotpCodeBody" mfa::read_totp_code
        "SecondStepBody" mfa::Answer::read
        "SocialSignIn" social::Bringing::read
        "LinkBody" social::LinkWish::read
        "SocialLink" social::read_link
        "PhoneBody" phone::read_phone
        "PhoneCodeBody" phone::read_code
        "ForgotBody" auth::read_email
        "ResetBody" passwords::Reset::read
        "CheckBody" passwords::Check::read
        "ChangePasswordBody" passwords::Change::read
        "NewEmailBody" email_change::Wish::read
        "EmailTokenBody" auth::read_token
        "MePatch" me::MePatch::read
        "ProfilePatch" profile::ProfilePatch::read
        "PreferencesPatch" preferences::PreferencesPatch::read
        "NewAddress" addresses::NewAddress::read
        "AddressPatch" addresses::AddressPatch::read
        "DefaultKind" addresses::DefaultKind::read
        "NewCustomer" customers::NewCustomer::read
        "CustomerPatch" customers::CustomerPatch::read
        "StatusMove" customers::StatusMove::read
        "MergeOrder" merges::MergeOrder::read
        "DeletionBody" deletions::Wish::read
        "StaffDeletion" deletions::StaffDeletion::read
        "NewLegalHold" deletions::NewLegalHold::read
        "RestartOrder" ops::actions::RestartOrder::read
        "PauseOrder" ops::actions::PauseOrder::read
        "LogLevelsChange" log_levels::LogLevelsChange::read
        "DiscardOrder" dead_letters::DiscardOrder::read
        "DeadLetterFilter" dead_letters::DeadLetterFilter::read
        "MessageReplay" dead_letters::MessageReplay::read
        "NewTag" tags::NewTag::read
        "SegmentTrial" segments::preview::TrialForm::read
        "NewNote" notes::NewNote::read
        "ConsentChange" consents::ConsentChange::read
        "NewGroup" groups::NewGroup::read
        "GroupPatch" groups::GroupPatch::read
        "NewSegment" (|form| segments::forms::NewSegmentForm::read(form, &super::shop::schema()))
        "SegmentPatch" (|form| segments::forms::SegmentPatch::read(form, Some(&super::shop::rule()), &super::shop::schema()))
        "SegmentMembersChange" segments::members::ManyForm::read
        "NewAttribute" attributes::NewAttribute::read
        "AttributePatch" attributes::AttributePatch::read
        "NewPasskey" passkeys::read_finish
        "PasskeyPatch" passkeys::Change::read
        "PasskeySignIn" passkeys::Answer::read
        "NewWishlist" wishlists::NewWishlist::read
        "WishlistPatch" wishlists::WishlistPatch::read
        "NewWishlistItem" wishlists::items::Wish::read
        "WishlistItemPatch" wishlists::items::read_patch
        "WishlistItemMove" wishlists::items::WishlistItemMove::read
    }
}
