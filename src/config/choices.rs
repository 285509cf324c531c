//! Settings that take one of a few words.

use super::values::{Raw, Setting, Wrong, wrong};

/// Declares a setting that takes one of a few words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$case_doc])* $case,)* }

        impl Setting for $name {
            fn parse(raw: &Raw) -> Result<Self, Wrong> {
                match raw.text()? {
                    $($word => Ok(Self::$case),)*
                    other => wrong(
                        format!("is \"{other}\""),
                        concat!("choose one of:" $(, " ", $word)*),
                    ),
                }
            }

            fn show(&self) -> String {
                match self { $(Self::$case => $word.to_owned(),)* }
            }
        }
    };
}

pub(super) use choice;

choice! {
    /// What a request limit does while Redis does not answer.
    OnRedisFailure {
        /// The call is refused with 503.
        Closed = "closed",
        /// Each node gives half of the budget from its own memory.
        Local = "local",
    }
}

choice! {
    /// What an access token is worth while the list of revoked sessions cannot be refreshed.
    OnRevocationUnknown {
        /// Nothing: the call is refused with 503.
        Closed = "closed",
        /// As much as its signature says.
        Open = "open",
    }
}

choice! {
    /// What becomes of a customer's later messages when one is parked.
    AfterParking {
        /// They wait behind it.
        Wait = "wait",
        /// They are published.
        Pass = "pass",
    }
}

choice! {
    /// What stands between the service and the replica at `database.read_url`.
    ReadPooler {
        /// Nothing, or something that lends whole sessions.
        None = "none",
        /// A pooler that lends a session for one transaction at a time.
        Transaction = "transaction",
    }
}

choice! {
    /// The way a mail leaves the service.
    MailTransport {
        /// One `.eml` file a mail, in `mail.folder`.
        Files = "files",
        /// Through the server at `mail.smtp_url`.
        Smtp = "smtp",
        /// As a message to a notification service, over RabbitMQ.
        Message = "message",
        /// It does not: mails are written off as sent. For load tests.
        None = "none",
    }
}

choice! {
    /// Something that can be left out.
    Switch {
        On = "on",
        Off = "off",
    }
}

choice! {
    /// How log records are written.
    LogFormat {
        /// One readable line a record.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
