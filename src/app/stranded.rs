//! A word to operators at the start: whom a change of `passkeys.rp_id` leaves out.
//!
//! A browser offers a passkey at the domain it was made for and nowhere else. Nobody is let in for
//! want of one: who has nothing else chooses a password by the mailed link, and a second factor
//! that is gone is staff's to take away. So the change is not refused, but told with its price.

use crate::db::passkeys::Stranded;
use crate::db::{self, Database};

/// Counts the customers concerned and warns of them, beside the service: the start does not wait.
pub fn tell(rp_id: Option<String>, database: &Database) {
    let asked = database.clone();
    database.spawn(async move {
        let read = asked.read(move |connection| {
            let rp_id = rp_id.clone();
            Box::pin(async move { db::passkeys::stranded(connection, rp_id.as_deref()).await })
        });
        match read.await {
            Ok(Stranded { without_way_in: 0, without_second_factor: 0 }) => {}
            Ok(Stranded { without_way_in, without_second_factor }) => tracing::warn!(
                without_way_in,
                without_second_factor,
                "passkeys were made for another passkeys.rp_id than today's: customers without any \
                 other way in need the mail of a forgotten password, those asked for a passkey \
                 after the password need staff to take it away"
            ),
            Err(error) => tracing::warn!(%error, "it is not known whom passkeys.rp_id leaves out"),
        }
    });
}
