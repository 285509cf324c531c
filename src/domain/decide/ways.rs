//! The ways in: with what of its own a customer can sign in. The last one cannot be removed.

use crate::domain::command::Needs;
use crate::domain::handle::HandleKind;
use crate::domain::state::State;

/// What counting the ways in reads.
pub fn needed() -> Needs {
    Needs { password: true, handles: true, passkeys: true, ..Needs::default() }
}

/// How many ways in there are: the password, each linked account, each passkey.
pub fn ways_in(state: &State) -> usize {
    let linked = state.handles.iter().filter(|(handle, held_until)| {
        matches!(handle.kind, HandleKind::Social(_)) && held_until.is_none()
    });
    usize::from(state.password_hash.is_some()) + linked.count() + state.passkeys.len()
}
