//! What a command touches: the parts of the state it reads, the buckets and the flow it locks.

use super::*;
use crate::domain::erasure::Asking;

/// The part of a state that a command reads, so that a batch loads no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    pub profile: bool,
    pub preferences: bool,
    pub password: bool,
    pub addresses: bool,
    pub sessions: bool,
    pub devices: bool,
    pub tokens: bool,
    pub handles: bool,
    pub phone_confirmation: bool,
    /// Second factors and backup codes.
    pub factors: bool,
    pub identities: bool,
    pub passkeys: bool,
    pub consents: bool,
    /// The heads of the wishlists; of their items only those of [`Command::wishlist_item`].
    pub wishlists: bool,
    /// All items of all of them.
    pub wishlist_items: bool,
    /// How many notes there are; of the notes only that of [`Command::note`].
    pub note_count: bool,
    /// All notes.
    pub notes: bool,
    /// Whether the customer was merged into another, and how.
    pub merged: bool,
    /// What the orders come to; of the orders themselves only that of [`Command::order`].
    pub statistics: bool,
    /// How many orders there are.
    pub order_count: bool,
    /// The segments it belongs to, and when it may flip.
    pub memberships: bool,
    /// All that conditions may ask about.
    pub facts: bool,
    /// What the orders come to, counted anew.
    pub recount: bool,
    /// Copies of all that is kept of it.
    pub privacy_exports: bool,
    /// Its deletion, and what stands against it; of who was deleted, too.
    pub deletion: bool,
}

impl Needs {
    /// What a linked account lets somebody in by, and in which language the owner is told.
    fn of_linking() -> Self {
        Self { handles: true, identities: true, preferences: true, ..Self::default() }
    }

    /// With the old password end the sessions, devices and links that it may have opened.
    fn of_new_password() -> Self {
        Self {
            preferences: true,
            password: true,
            sessions: true,
            devices: true,
            tokens: true,
            ..Self::default()
        }
    }

    /// All that lets somebody in, or finds the customer.
    fn of_deletion() -> Self {
        Self {
            password: true,
            sessions: true,
            devices: true,
            tokens: true,
            handles: true,
            phone_confirmation: true,
            factors: true,
            identities: true,
            passkeys: true,
            memberships: true,
            ..Self::default()
        }
    }

    /// What freezing an account ends.
    fn of_freezing() -> Self {
        Self {
            deletion: true,
            preferences: true,
            sessions: true,
            tokens: true,
            phone_confirmation: true,
            memberships: true,
            statistics: true,
            ..Self::default()
        }
    }

    /// What a step of a deletion looks at.
    fn of_step(command: &DeletionCommand) -> Self {
        let deletion = Self { deletion: true, ..Self::default() };
        match command {
            DeletionCommand::Request(wish) => match &wish.asking {
                Asking::Owner(proof) => Self::of_freezing().and(proof.needs()),
                Asking::Staff => Self::of_freezing(),
            },
            DeletionCommand::Cancel { .. } => {
                let parts = Self { sessions: true, preferences: true, ..deletion };
                Self { consents: true, memberships: true, ..parts }
            }
            DeletionCommand::Begin(_) => Self { sessions: true, statistics: true, ..deletion },
            DeletionCommand::EraseAgain(_) => Self { sessions: true, ..deletion },
            DeletionCommand::PlaceHold { .. }
            | DeletionCommand::ReleaseHold
            | DeletionCommand::Resend { .. }
            | DeletionCommand::Answer { .. } => deletion,
        }
    }

    /// What moves to another customer, and what ends with this one.
    pub fn of_the_merged() -> Self {
        let moving = Self {
            addresses: true,
            wishlists: true,
            wishlist_items: true,
            note_count: true,
            notes: true,
            merged: true,
            order_count: true,
            ..Self::default()
        };
        Self::of_taking_in().and(Self::of_deletion()).and(moving)
    }

    /// What another customer's things are held against.
    fn of_taking_in() -> Self {
        Self {
            memberships: true,
            profile: true,
            preferences: true,
            addresses: true,
            handles: true,
            identities: true,
            consents: true,
            note_count: true,
            statistics: true,
            ..Self::default()
        }
    }

    /// What either needs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            profile: self.profile || other.profile,
            preferences: self.preferences || other.preferences,
            password: self.password || other.password,
            addresses: self.addresses || other.addresses,
            sessions: self.sessions || other.sessions,
            devices: self.devices || other.devices,
            tokens: self.tokens || other.tokens,
            handles: self.handles || other.handles,
            phone_confirmation: self.phone_confirmation || other.phone_confirmation,
            factors: self.factors || other.factors,
            identities: self.identities || other.identities,
            passkeys: self.passkeys || other.passkeys,
            consents: self.consents || other.consents,
            wishlists: self.wishlists || other.wishlists,
            wishlist_items: self.wishlist_items || other.wishlist_items,
            note_count: self.note_count || other.note_count,
            notes: self.notes || other.notes,
            merged: self.merged || other.merged,
            statistics: self.statistics || other.statistics,
            order_count: self.order_count || other.order_count,
            memberships: self.memberships || other.memberships,
            facts: self.facts || other.facts,
            recount: self.recount || other.recount,
            privacy_exports: self.privacy_exports || other.privacy_exports,
            deletion: self.deletion || other.deletion,
        }
    }
}

impl Command {
    /// What of the customer must be loaded and locked; the customer itself always is.
    pub fn needs(&self) -> Needs {
        let none = Needs::default();
        match self {
            Self::Register(_) | Self::CreateByStaff(_) | Self::Import(_) | Self::Segment(_) => none,
            // Its failure may lock, and the owner is told in its language.
            Self::FailAttempt { .. } => Needs { preferences: true, ..none },
            Self::ClaimAttempt { .. }
            | Self::ReleaseAttempt { .. }
            | Self::OpenFlow { .. }
            | Self::TakeFlow { .. }
            | Self::Group(_)
            | Self::Attribute(_)
            | Self::Tag(_)
            | Self::Unlock { .. } => none,
            Self::UpdateCustomer { change, .. } => {
                let phone = change.phone != Change::Keep;
                let consents = change.marketing.is_some();
                Needs { handles: phone, preferences: phone || consents, consents, ..none }
            }
            Self::RequestPhone { .. } => {
                Needs { phone_confirmation: true, preferences: true, ..none }
            }
            Self::ConfirmPhone { proof, .. } | Self::RemovePhone { proof, .. } => {
                let own =
                    Needs { phone_confirmation: true, handles: true, preferences: true, ..none };
                own.and(proof.needs())
            }
            Self::RemindOfAccount { .. }
            | Self::ResendVerification { .. }
            | Self::RequestPasswordReset { .. } => {
                Needs { tokens: true, preferences: true, ..none }
            }
            Self::ResetPassword(_) => Needs::of_new_password(),
            Self::ChangePassword(change) => Needs::of_new_password().and(change.proof.needs()),
            Self::RequestEmailChange(request) => request.needs(),
            Self::ConfirmEmailChange(_) => ConfirmEmailChange::needs(),
            Self::UndoEmailChange(_) => UndoEmailChange::needs(),
            Self::VerifyEmail { .. } => {
                Needs { tokens: true, sessions: true, devices: true, factors: true, ..none }
            }
            Self::SignIn(sign_in) => Needs { sessions: true, devices: true, factors: true, ..none }
                .and(sign_in.proof.needs()),
            Self::AnswerChallenge(answer) => {
                let opening = Needs { sessions: true, devices: true, ..none };
                let judging = Needs { password: true, factors: true, preferences: true, ..none };
                opening.and(judging).and(answer.proof.needs())
            }
            Self::StartTotp { proof, .. } => Needs { factors: true, ..none }.and(proof.needs()),
            Self::ConfirmTotp { .. } => Needs { factors: true, preferences: true, ..none },
            Self::RemoveTotp { proof, .. } | Self::RenewBackupCodes { proof, .. } => {
                Needs { factors: true, preferences: true, ..none }.and(proof.needs())
            }
            Self::ResetFactors { .. } => {
                Needs { factors: true, sessions: true, preferences: true, ..none }
            }
            Self::RegisterByIdentity(_) => none,
            Self::SignInByIdentity(_) => {
                let opening = Needs { sessions: true, devices: true, factors: true, ..none };
                opening.and(Needs::of_linking())
            }
            Self::BeginLinking { proof, .. } => proof.needs(),
            Self::LinkIdentity { .. } => Needs::of_linking(),
            Self::UnlinkIdentity { proof, .. } => {
                let unlinking = Needs { identities: true, preferences: true, ..none };
                unlinking.and(ways::needed()).and(proof.needs())
            }
            Self::Refresh { .. }
            | Self::SignOut { .. }
            | Self::RevokeSession { .. }
            | Self::RevokeOtherSessions { .. }
            | Self::RevokeAllSessions
            | Self::MoveStatus { .. } => Needs { sessions: true, ..none },
            Self::BeginPasskey { proof, .. } => Needs { passkeys: true, ..none }.and(proof.needs()),
            Self::AddPasskey(_) => Needs { passkeys: true, preferences: true, ..none },
            Self::ChangePasskey(change) => {
                let proof = change.proof.as_ref().map_or(none, Proof::needs);
                Needs { passkeys: true, factors: true, preferences: true, ..none }.and(proof)
            }
            Self::RemovePasskey { proof, .. } => ways::needed()
                .and(Needs { factors: true, preferences: true, ..none })
                .and(proof.needs()),
            Self::SignInByPasskey(sign_in) => {
                Needs { sessions: true, devices: true, ..none }.and(sign_in.proof.needs())
            }
            Self::Consent(_) => ConsentCommand::needs(),
            Self::PrivacyExport(command) => command.needs(),
            Self::DeleteCustomer { .. } => Needs::of_deletion(),
            Self::Merge(_) => Needs::of_taking_in(),
            Self::Deletion(command) => Needs::of_step(command),
            Self::UpdateProfile { .. } => Needs { profile: true, ..none },
            Self::UpdatePreferences { .. } => Needs { preferences: true, ..none },
            Self::AddAddress { .. }
            | Self::ChangeAddress { .. }
            | Self::DeleteAddress { .. }
            | Self::SetDefaultAddress { .. } => Needs { addresses: true, ..none },
            Self::Wishlist(_) => Needs { wishlists: true, ..none },
            Self::Note(command) => Needs { note_count: command.adds(), ..none },
            Self::Membership(of) => Needs { memberships: true, facts: of.judges(), ..none },
            Self::Order(command) => Needs { statistics: true, recount: command.recounts(), ..none },
        }
    }

    /// The customer whose row must be locked with the one that the command is about, and of whom
    /// [`Needs::of_the_merged`] is loaded.
    pub fn merges(&self) -> Option<CustomerId> {
        match self {
            Self::Merge(command) => Some(command.from),
            _ => None,
        }
    }

    /// Whether it has a transaction of its own: what it reads must not be what another command of
    /// its batch has yet to write.
    pub fn stands_alone(&self) -> bool {
        match self {
            Self::Merge(_) => true,
            Self::Order(command) => command.recounts(),
            _ => false,
        }
    }

    /// The buckets whose rows must be locked with the customer.
    pub fn buckets(&self) -> Vec<Bucket> {
        match self {
            Self::ClaimAttempt { guard, .. } | Self::FailAttempt { guard, .. } => {
                vec![guard.bucket]
            }
            Self::ReleaseAttempt { bucket, .. } => vec![*bucket],
            Self::Unlock { buckets } => buckets.clone(),
            Self::SignIn(sign_in) => sign_in.proof.bucket().into_iter().collect(),
            Self::ConfirmPhone { proof, .. } | Self::RemovePhone { proof, .. } => {
                proof.bucket().into_iter().collect()
            }
            Self::ResetPassword(reset) => reset.buckets.clone(),
            Self::ChangePassword(change) => change.proof.bucket().into_iter().collect(),
            Self::AnswerChallenge(answer) => answer.proof.bucket().into_iter().collect(),
            Self::StartTotp { proof, .. }
            | Self::RemoveTotp { proof, .. }
            | Self::BeginLinking { proof, .. }
            | Self::RenewBackupCodes { proof, .. }
            | Self::UnlinkIdentity { proof, .. } => proof.bucket().into_iter().collect(),
            Self::RequestEmailChange(request) => request.proof.bucket().into_iter().collect(),
            Self::BeginPasskey { proof, .. } | Self::RemovePasskey { proof, .. } => {
                proof.bucket().into_iter().collect()
            }
            Self::ChangePasskey(change) => {
                change.proof.as_ref().and_then(Proof::bucket).into_iter().collect()
            }
            Self::SignInByPasskey(sign_in) => sign_in.proof.bucket().into_iter().collect(),
            Self::PrivacyExport(command) => {
                command.proof().and_then(Proof::bucket).into_iter().collect()
            }
            Self::Deletion(DeletionCommand::Request(wish)) => match &wish.asking {
                Asking::Owner(proof) => proof.bucket().into_iter().collect(),
                Asking::Staff => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// The items of wishlists that are looked at.
    pub fn wishlist_item(&self) -> Option<ItemSought> {
        match self {
            Self::Wishlist(command) => command.item_sought(),
            _ => None,
        }
    }

    /// The note that is looked at.
    pub fn note(&self) -> Option<NoteId> {
        match self {
            Self::Note(command) => command.named(),
            _ => None,
        }
    }

    /// The order that is looked at.
    pub fn order(&self) -> Option<&OrderId> {
        match self {
            Self::Order(command) => command.order(),
            _ => None,
        }
    }

    /// The flow whose row must be locked with the customer.
    pub fn flow(&self) -> Option<SecretHash> {
        match self {
            Self::OpenFlow { flow } => Some(flow.hash),
            Self::TakeFlow { hash, .. } => Some(*hash),
            Self::AnswerChallenge(answer) => Some(answer.challenge),
            Self::BeginPasskey { flow, .. } | Self::BeginLinking { flow, .. } => Some(flow.hash),
            Self::AddPasskey(add) => Some(add.flow),
            Self::SignInByPasskey(sign_in) => Some(sign_in.flow),
            _ => None,
        }
    }

    /// The definitions of custom attributes that are looked at: whose rows must be locked.
    pub fn attributes(&self) -> Vec<AttributeKey> {
        let named = |custom: &serde_json::Map<String, serde_json::Value>| {
            custom.keys().cloned().map(AttributeKey::from_stored).collect()
        };
        match self {
            Self::Attribute(command) => vec![command.key().clone()],
            Self::Segment(command) => command.attributes(),
            Self::UpdateProfile { change, .. } => named(&change.custom),
            Self::Import(import) => named(&import.profile.custom),
            Self::UpdatePreferences { change, .. } => named(&change.custom),
            _ => Vec::new(),
        }
    }

    /// Whether it may make a customer.
    pub fn creates(&self) -> bool {
        matches!(
            self,
            Self::Register(_)
                | Self::CreateByStaff(_)
                | Self::RegisterByIdentity(_)
                | Self::Import(_)
        )
    }

    /// Whether all segments must be locked.
    pub fn is_about_segments(&self) -> bool {
        matches!(self, Self::Segment(_))
    }

    /// Whether it reads what any other command may write: all that conditions may ask about.
    pub fn reads_all(&self) -> bool {
        matches!(self, Self::Membership(command) if command.judges())
    }

    /// Whether it writes memberships alone.
    pub fn is_about_membership(&self) -> bool {
        matches!(self, Self::Membership(_))
    }

    /// Whether what is in force of segments must be held as it is.
    pub fn holds_segments(&self) -> bool {
        match self {
            Self::Membership(command) => command.judges() || command.puts_into().is_some(),
            _ => false,
        }
    }

    /// The group whose row must be locked.
    pub fn group(&self) -> Option<&GroupCode> {
        match self {
            Self::Group(command) => Some(command.code()),
            _ => None,
        }
    }
}
