//! What can go wrong with the database, sorted by what the caller can do about it. Never holds a
//! value of a row: PostgreSQL's detail text does, so only its code and constraint are kept.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// What is said of a server that neither answers nor fails.
const SILENT: &str = "the server gave no answer";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be had, or it broke. Nothing was done unless it broke during a commit.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The server gave up on the statement: time limit, lock limit, deadlock, serialisation.
    #[error("the database gave up: {0}")]
    Transient(String),
    /// A constraint refused the change.
    #[error("constraint {0:?} refused the change")]
    Constraint(Option<String>),
    /// A mistake of ours.
    #[error("database error: {0}")]
    Internal(String),
}

impl Error {
    /// The server gave neither an answer nor an error in its time.
    pub(super) fn silent() -> Self {
        Self::Unavailable(SILENT.to_owned())
    }

    /// Nobody waits for the answer any more.
    pub(super) fn abandoned() -> Self {
        Self::Transient("nobody waits for it any more".to_owned())
    }

    /// Whether it was waited for in vain, so that to ask again would be to wait again.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Unavailable(text) if text == SILENT)
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, information) => {
                let message = information.message();
                match kind {
                    DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::NotNullViolation
                    | DatabaseErrorKind::ExclusionViolation
                    | DatabaseErrorKind::RestrictViolation => {
                        Self::Constraint(information.constraint_name().map(str::to_owned))
                    }
                    DatabaseErrorKind::SerializationFailure => Self::Transient(message.to_owned()),
                    // The server became a standby, or was told to take no writes: as good as away.
                    DatabaseErrorKind::ReadOnlyTransaction
                    | DatabaseErrorKind::ClosedConnection
                    | DatabaseErrorKind::UnableToSendCommand => {
                        Self::Unavailable(message.to_owned())
                    }
                    _ => by_message(message),
                }
            }
            DieselError::BrokenTransactionManager => {
                Self::Unavailable("broken connection".to_owned())
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

/// Diesel passes most server errors on as text only. These are the ones worth telling apart, by
/// PostgreSQL's own texts. A server that speaks another language (`lc_messages`, which only a
/// superuser may set) loses the distinction, and with it one retry: such errors are then
/// [`Error::Internal`], after which nothing was changed either.
fn by_message(message: &str) -> Error {
    const TRANSIENT: [&str; 5] = [
        "deadlock detected",
        "canceling statement due to statement timeout",
        "canceling statement due to lock timeout",
        // by us, because nobody waits for it any more, or by who runs the server
        "canceling statement due to user request",
        "could not serialize access",
    ];
    const UNAVAILABLE: [&str; 10] = [
        // of the server's disk: nothing was changed, and there may be room in a moment
        "No space left on device",
        "terminating connection",
        "the database system is",
        "connection closed",
        "error communicating with the server",
        "unexpected message from server",
        "broken pipe",
        "Connection reset",
        "sorry, too many clients",
        "remaining connection slots",
    ];
    if TRANSIENT.iter().any(|known| message.contains(known)) {
        Error::Transient(message.to_owned())
    } else if UNAVAILABLE.iter().any(|known| message.contains(known)) {
        Error::Unavailable(message.to_owned())
    } else {
        Error::Internal(message.to_owned())
    }
}
