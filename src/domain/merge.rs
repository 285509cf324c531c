//! Two customers become one (rule L10): what is asked, who may become whom, and what came of it.
//!
//! The one that goes on is `into`: it keeps its address, its password, its group, its status. What
//! `from` has moves to it, as the same rows under the same ids; `from` departs as a deleted customer
//! does. A report tells all of it in ids, counts and names, so that it can be kept, shown before and
//! after, and told again to whoever asks again.

use super::address::AddressKind;
use super::consent::{Channel, Purpose};
use super::ids::{AddressId, CustomerId, MailId, WishlistId};
use super::segment::record::SegmentCode;
use super::status::Status;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Merges `from` into the customer that the command is about.
#[derive(Debug, Clone)]
pub struct MergeCommand {
    pub from: CustomerId,
    /// Says what would happen, and lets nothing happen.
    pub dry_run: bool,
    /// A version of the customer that goes on.
    pub if_match: Option<i64>,
    pub mails: MergeMails,
}

/// The ids of the mails that a merge may send.
#[derive(Debug, Clone, Copy)]
pub struct MergeMails {
    /// To the one that goes on: one can sign in by another phone number.
    pub phone: MailId,
    /// To the same: one can sign in by an account elsewhere.
    pub identity: MailId,
    /// To the address that ends.
    pub farewell: MailId,
}

/// Whether a customer of status `from` may become one of status `into`.
///
/// The merged one stands where `into` does. So a suspended customer becomes a suspended one only,
/// who has proven nothing gets nothing of somebody who has, and a deletion that is scheduled is
/// carried out or cancelled first.
pub fn allows(from: Status, into: Status) -> bool {
    use Status::{Active, DeletionScheduled, Erased, Inactive, Pending, Suspended};
    match (from, into) {
        (Pending, Pending | Active | Inactive | Suspended)
        | (Active | Inactive, Active | Inactive | Suspended)
        | (Suspended, Suspended) => true,
        (Active | Inactive | Suspended, Pending)
        | (Suspended, Active | Inactive)
        | (DeletionScheduled | Erased, _)
        | (_, DeletionScheduled | Erased) => false,
    }
}

/// What a merge did, or would do. Ids, counts and names, never a personal value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MergeReport {
    pub from: CustomerId,
    pub into: CustomerId,
    /// `None`: it was only asked what would happen.
    pub merged_at: Option<DateTime<Utc>>,
    pub moved: Moved,
    /// The kinds of which `into` had no default address, and that of `from` is it now.
    pub defaults: Vec<AddressKind>,
    /// Fields of `into` that are others now.
    pub changed: Vec<String>,
    /// Fields in which both said something else: those of `into` stay.
    pub kept: Vec<String>,
    pub consents: Vec<ConsentOutcome>,
    pub ended: Ended,
    /// Of `into`, from then on.
    pub version: i64,
}

/// What belongs to `into` now. A part that is added to customers is added here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    pub addresses: Vec<AddressId>,
    pub wishlists: Vec<WishlistId>,
    pub wishlist_items: usize,
    /// None in the reports of those who were merged before there were any.
    #[serde(default)]
    pub orders: usize,
    /// The providers at which an account came along.
    pub identities: Vec<String>,
    /// Notes of staff.
    pub notes: usize,
    /// Tags that `into` did not bear.
    pub tags: usize,
    /// Static segments that `into` was not in.
    #[serde(default)]
    pub segments: Vec<SegmentCode>,
}

/// What of `from` nobody has any more: all that let somebody in by it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub password: bool,
    pub authenticator: bool,
    pub backup_codes: usize,
    pub passkeys: usize,
    pub sessions: usize,
    pub devices: usize,
    /// Links in mails that could still be used.
    pub open_links: usize,
    /// Providers at which `into` has an account of its own.
    pub identities: Vec<String>,
}

/// A purpose and channel about which the two did not agree, or that one of them was silent about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsentOutcome {
    pub purpose: Purpose,
    pub channel: Channel,
    pub outcome: Strictness,
}

/// Which of two words was the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strictness {
    /// `into` had granted it and `from` withdrawn it: withdrawn.
    WithdrawnByFrom,
    /// `into` had granted it and `from` never did: withdrawn.
    NeverGivenByFrom,
    /// `into` had said nothing and `from` no: no.
    RefusedByFrom,
    /// `from` had granted it and `into` withdrawn it: it stays withdrawn.
    WithdrawnByInto,
    /// `from` had granted it and `into` never did: it is not granted.
    NeverGivenByInto,
}

impl Strictness {
    /// The outcome of two words, `None` where nothing was ever said; `None` where they agree.
    pub fn of(into: Option<bool>, from: Option<bool>) -> Option<Self> {
        match (into, from) {
            (Some(true), Some(false)) => Some(Self::WithdrawnByFrom),
            (Some(true), None) => Some(Self::NeverGivenByFrom),
            (None, Some(false)) => Some(Self::RefusedByFrom),
            (Some(false), Some(true)) => Some(Self::WithdrawnByInto),
            (None, Some(true)) => Some(Self::NeverGivenByInto),
            (Some(true), Some(true)) | (Some(false), Some(false) | None) | (None, None) => None,
        }
    }

    /// Whether the ledger of `into` has one more line for it, which says no.
    pub fn is_written(self) -> bool {
        match self {
            Self::WithdrawnByFrom | Self::NeverGivenByFrom | Self::RefusedByFrom => true,
            Self::WithdrawnByInto | Self::NeverGivenByInto => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Status::*, *};

    #[test]
    fn l10_who_may_become_whom() {
        let allowed = [
            (Pending, Pending),
            (Pending, Active),
            (Pending, Inactive),
            (Pending, Suspended),
            (Active, Active),
            (Active, Inactive),
            (Active, Suspended),
            (Inactive, Active),
            (Inactive, Inactive),
            (Inactive, Suspended),
            (Suspended, Suspended),
        ];
        for from in Status::ALL {
            for into in Status::ALL {
                assert_eq!(
                    allows(from, into),
                    allowed.contains(&(from, into)),
                    "{from:?} into {into:?}"
                );
            }
        }
    }

    #[test]
    fn l10_granted_is_only_what_both_granted() {
        let words = [None, Some(false), Some(true)];
        for into in words {
            for from in words {
                let written = Strictness::of(into, from).is_some_and(Strictness::is_written);
                let after = if written { Some(false) } else { into };
                let both = into == Some(true) && from == Some(true);
                assert_eq!(after == Some(true), both, "{into:?} and {from:?}");
                // A no that was said once is never forgotten.
                let no = into == Some(false) || from == Some(false);
                assert!(!no || after == Some(false), "{into:?} and {from:?}");
                // Nothing happens where nothing changes, and whatever of `from` does not come is told.
                assert_eq!(written, after != into);
                let lost = from == Some(true) && into != Some(true);
                assert_eq!(Strictness::of(into, from).is_some(), written || lost);
            }
        }
    }
}
