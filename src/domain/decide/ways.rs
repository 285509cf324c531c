//! The ways in: with what of its own a customer can sign in. The last one cannot be removed.

use crate::domain::command::Needs;
use crate::domain::handle::HandleKind;
use crate::domain::state::State;

/// What counting the ways in reads.
pub const WAYS_IN: Needs = Needs {
    profile: false,
    preferences: false,
    password: true,
    addresses: false,
    sessions: false,
    devices: false,
    tokens: false,
    handles: true,
    factors: false,
    identities: false,
    phone_confirmation: false,
};

/// How many ways in there are: the password and each linked account.
pub fn ways_in(state: &State) -> usize {
    let linked = state.handles.iter().filter(|(handle, held_until)| {
        matches!(handle.kind, HandleKind::Social(_)) && held_until.is_none()
    });
    usize::from(state.password_hash.is_some()) + linked.count()
}
