//! The life of a customer (rule L3): one state machine, no other way from one status to another.

use super::fault::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a customer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Registered, e-mail not yet verified.
    Pending,
    Active,
    /// Closed by the shop without blame.
    Inactive,
    /// Blocked by the shop.
    Suspended,
    /// Asked to be erased; still within the grace period.
    DeletionScheduled,
    /// Erased. Final.
    Erased,
}

impl Status {
    pub const ALL: [Status; 6] = [
        Self::Pending,
        Self::Active,
        Self::Inactive,
        Self::Suspended,
        Self::DeletionScheduled,
        Self::Erased,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
            Self::DeletionScheduled => "deletion_scheduled",
            Self::Erased => "erased",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// Why a status was moved: a code, since it travels in messages and the audit trail, where free
/// text would carry names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[a-z0-9_]{1,64}$"))]
pub struct ReasonCode(String);

impl ReasonCode {
    /// # Errors
    /// `invalid_reason` unless 1–64 of `a-z 0-9 _`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let ok = (1..=64).contains(&raw.len())
            && raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if ok {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Fault::new(
                "invalid_reason",
                "must be a code of 1 to 64 of a-z, 0-9 and _, e.g. fraud_suspected",
            ))
        }
    }

    /// The reason of the move from pending to active when the owner confirms the address.
    pub fn email_verified() -> Self {
        Self("email_verified".to_owned())
    }

    /// Of the move that freezes an account.
    pub fn deletion_requested() -> Self {
        Self("deletion_requested".to_owned())
    }

    /// Of the move that thaws it.
    pub fn deletion_cancelled() -> Self {
        Self("deletion_cancelled".to_owned())
    }

    /// Of the last move: the grace is over.
    pub fn deletion_due() -> Self {
        Self("deletion_due".to_owned())
    }

    /// As it was kept.
    pub fn from_stored(code: String) -> Self {
        Self(code)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `from → to` is allowed. `before_deletion` is the status that a scheduled deletion
/// remembers, the only one that cancelling it may restore.
pub fn allows(from: Status, to: Status, before_deletion: Option<Status>) -> bool {
    use Status::{Active, DeletionScheduled, Erased, Inactive, Pending, Suspended};
    match (from, to) {
        (DeletionScheduled, Erased) => true,
        (DeletionScheduled, to) => before_deletion == Some(to),
        (Pending, Active)
        | (Active, Inactive | Suspended)
        | (Inactive | Suspended, Active)
        | (Pending | Active | Inactive | Suspended, DeletionScheduled) => true,
        (Pending | Active | Inactive | Suspended | Erased, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Status::*, *};

    #[test]
    fn l3_exactly_these_moves_are_allowed() {
        let allowed = [
            (Pending, Active),
            (Active, Inactive),
            (Active, Suspended),
            (Inactive, Active),
            (Suspended, Active),
            (Pending, DeletionScheduled),
            (Active, DeletionScheduled),
            (Inactive, DeletionScheduled),
            (Suspended, DeletionScheduled),
            (DeletionScheduled, Inactive),
            (DeletionScheduled, Erased),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                let before = (from == DeletionScheduled).then_some(Inactive);
                assert_eq!(
                    allows(from, to, before),
                    allowed.contains(&(from, to)),
                    "{from:?} → {to:?}"
                );
            }
        }
    }

    #[test]
    fn every_status_has_one_name() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(Status::parse("deleted"), None);
    }
}
