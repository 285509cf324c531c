//! Two customers become one (rule L10). Everything that `from` has moves to the customer that the
//! command is about, or is named in the report as what ends or gives way; nothing is lost silently.
//!
//! Each part is one function: it says what happens to the customer that goes on, and notes it in
//! the report. A part that customers get is one function more.

mod record;

use super::{Answer, Decided, Decision, check_version, consents, sessions};
use crate::domain::address::{Address, AddressKind};
use crate::domain::command::{Actor, Context};
use crate::domain::consent::{Consents, Entry, Reference, Source};
use crate::domain::customer::Customer;
use crate::domain::event::{Event, OrderEvent, WishlistEvent};
use crate::domain::fault::Fault;
use crate::domain::ids::{AddressId, CustomerId, MailId};
use crate::domain::mail::{Mail, MailBody};
use crate::domain::merge::{
    ConsentOutcome, Ended, MergeCommand, MergeReport, Moved, Strictness, allows,
};
use crate::domain::message::MembershipCause;
use crate::domain::note::NoteEvent;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::segment::membership::{Held, MembershipEvent, Memberships, leave_all};
use crate::domain::session::RevocationReason;
use crate::domain::state::State;
use crate::domain::status::Status;
use crate::domain::wishlist::{Wishlist, WishlistItem};
use record::Record;

/// Merges the customer that the state was lent. One that was merged into this customer before is
/// answered as it was then, so that a lost answer can be asked for again.
pub fn merge(state: &State, command: &MergeCommand, context: &Context) -> Decision {
    if !matches!(context.actor, Actor::Staff(_)) {
        return Err(Rejection::NotFound);
    }
    let unknown = |field| Rejection::NoSuchCustomer { field };
    let into = living(state).ok_or(unknown("into"))?;
    if into.id == command.from {
        let fault = Fault::new("same_customer", "must be another customer");
        return Err(Rejection::Invalid { pointer: "#/from", fault });
    }
    let other = state.other.as_deref().ok_or(unknown("from"))?;
    if let Some(before) = other.merged.as_ref().filter(|report| report.into == into.id) {
        return answered(before);
    }
    let from = living(other).ok_or(unknown("from"))?;
    if !allows(from.status, into.status) {
        return Err(Rejection::MergeNotAllowed { from: from.status, into: into.status });
    }
    check_version(command.if_match, into.version)?;
    let both = Both { into: state, from: other, ids: (into.id, from.id), context };
    let mut report = both.report();
    let events = both.events(into, from, command, &mut report)?;
    if command.dry_run {
        return answered(&MergeReport { merged_at: None, ..report });
    }
    let all = other.sessions.values().collect();
    let (_, mut of_other) = sessions::revocations(all, RevocationReason::CustomerDeleted, context);
    of_other.extend(leave_all(&other.memberships, MembershipCause::Change));
    of_other.push(Event::CustomerDeleted { at: context.now, merged_into: Some(into.id) });
    Ok(Decided { events, of_other, answer: Answer::Now(Outcome::Merged(Box::new(report))) })
}

fn living(state: &State) -> Option<&Customer> {
    state.customer.as_ref().filter(|customer| customer.status != Status::Erased)
}

fn answered(report: &MergeReport) -> Decision {
    super::decided(Vec::new(), Answer::Now(Outcome::Merged(Box::new(report.clone()))))
}

/// The two, and the circumstances.
struct Both<'a> {
    into: &'a State,
    from: &'a State,
    ids: (CustomerId, CustomerId),
    context: &'a Context,
}

impl Both<'_> {
    fn report(&self) -> MergeReport {
        let live =
            |session: &&_| crate::domain::session::Session::is_live(session, self.context.now);
        let open = |token: &&crate::domain::token::OneTimeToken| {
            token.used_at.is_none()
                && token.voided_at.is_none()
                && self.context.now < token.expires_at
        };
        let ended = Ended {
            password: self.from.password_hash.is_some(),
            authenticator: self.from.totp.is_some(),
            backup_codes: self.from.backup_codes.len(),
            passkeys: self.from.passkeys.len(),
            sessions: self.from.sessions.values().filter(live).count(),
            devices: self.from.devices.len(),
            open_links: self.from.tokens.values().filter(open).count(),
            identities: Vec::new(),
        };
        let (into, from) = self.ids;
        MergeReport {
            from,
            into,
            merged_at: Some(self.context.now),
            moved: Moved::default(),
            defaults: Vec::new(),
            changed: Vec::new(),
            kept: Vec::new(),
            consents: Vec::new(),
            ended,
            version: 0,
        }
    }

    /// What happens to the customer that goes on, part by part. Its own change comes first, since
    /// the event holds the customer whole.
    fn events(
        &self,
        into: &Customer,
        from: &Customer,
        command: &MergeCommand,
        report: &mut MergeReport,
    ) -> Result<Vec<Event>, Rejection> {
        let entries = self.consents(report);
        let accepts = consents::accepts_marketing_after(&self.into.consents, &entries);
        let record = Record { both: self, into, from, mails: &command.mails };
        let mut events = record.events(accepts, report)?;
        events.extend(entries.into_iter().map(consents::event));
        events.extend(self.addresses(report));
        events.extend(self.wishlists(report));
        events.extend(self.identities(command.mails.identity, report));
        events.extend(self.notes(report));
        events.extend(self.orders(report)?);
        events.extend(self.segments(report));
        events.extend(self.farewell(from, command.mails.farewell));
        events.push(Event::Merged(Box::new(report.clone())));
        Ok(events)
    }

    /// The stricter of both words, for each purpose and channel that either said something about.
    /// The ledger of `from` stays where it was written; a line here names it as its proof.
    fn consents(&self, report: &mut MergeReport) -> Vec<Entry> {
        let (ours, theirs) = (&self.into.consents, &self.from.consents);
        let mut about: Vec<_> = ours
            .all()
            .chain(theirs.all())
            .map(|(purpose, channel, _)| (purpose, channel))
            .collect();
        about.sort();
        about.dedup();
        let at = ours.latest().map_or(self.context.now, |latest| latest.max(self.context.now));
        let mut entries = Vec::new();
        for (purpose, channel) in about {
            let granted = |of: &Consents| of.get(purpose, channel).map(|consent| consent.granted);
            let Some(outcome) = Strictness::of(granted(ours), granted(theirs)) else { continue };
            let purpose = purpose.clone();
            report.consents.push(ConsentOutcome { purpose: purpose.clone(), channel, outcome });
            if outcome.is_written() {
                entries.push(Entry {
                    number: ours.entries() + 1 + entries.len() as i64,
                    purpose,
                    channel,
                    granted: false,
                    text_version: None,
                    locale: None,
                    source: Source::Merge,
                    reference: Reference::parse(&format!("customer:{}", self.ids.1)).ok(),
                    at,
                });
            }
        }
        entries
    }

    /// All of them, also above the limit, which is for those that are added (rule D1: the defaults
    /// of `into` win).
    fn addresses(&self, report: &mut MergeReport) -> Vec<Event> {
        let mut events = Vec::new();
        for address in self.from.addresses.values() {
            let moved = Address {
                default_shipping: false,
                default_billing: false,
                version: address.version + 1,
                updated_at: self.context.now,
                ..address.clone()
            };
            report.moved.addresses.push(address.id);
            events.push(Event::AddressAdded { address: Box::new(moved) });
        }
        for kind in AddressKind::ALL {
            if let (None, Some(to)) = (holder(self.into, kind), holder(self.from, kind)) {
                report.defaults.push(kind);
                let at = self.context.now;
                events.push(Event::DefaultAddressChanged { kind, from: None, to, at });
            }
        }
        events
    }

    /// As if each were made and filled anew, but for its id, its link and those of its items.
    fn wishlists(&self, report: &mut MergeReport) -> Vec<Event> {
        let mut events = Vec::new();
        for list in self.from.wishlists.lists.values() {
            report.moved.wishlists.push(list.id);
            let empty = Wishlist { item_count: 0, version: list.version + 1, ..list.clone() };
            events.push(WishlistEvent::Created(Box::new(empty)));
            let items = self.from.wishlists.items.values();
            for item in items.filter(|item| item.wishlist_id == list.id) {
                report.moved.wishlist_items += 1;
                let moved = WishlistItem { version: item.version + 1, ..item.clone() };
                events.push(WishlistEvent::ItemAdded(Box::new(moved)));
            }
        }
        events.into_iter().map(Event::Wishlist).collect()
    }

    /// One account of each provider: where `into` has one, that of `from` is nobody's any more. Of a
    /// new way in the owner is told.
    fn identities(&self, mail: MailId, report: &mut MergeReport) -> Vec<Event> {
        let mut events = Vec::new();
        for (provider, identity) in &self.from.identities {
            if self.into.identities.contains_key(provider) {
                report.ended.identities.push(provider.clone());
            } else {
                report.moved.identities.push(provider.clone());
                events.push(Event::IdentityLinked(Box::new(identity.clone())));
            }
        }
        if !events.is_empty() {
            events.push(self.mail(mail, MailBody::IdentityLinked));
        }
        events
    }

    fn notes(&self, report: &mut MergeReport) -> Vec<Event> {
        let notes = self.from.notes.named.values();
        let events: Vec<_> =
            notes.map(|note| Event::Note(NoteEvent::Added(Box::new(note.clone())))).collect();
        report.moved.notes = events.len();
        events
    }

    /// They are moved as they are, by their number unread; what they come to is added up.
    fn orders(&self, report: &mut MergeReport) -> Result<Vec<Event>, Rejection> {
        report.moved.orders = self.from.orders.count;
        let joined = self.into.orders.joined(&self.from.orders, self.context.now);
        let joined = joined.map_err(|fault| Rejection::Invalid { pointer: "#/from", fault })?;
        let counted = |one| Event::Order(OrderEvent::Counted(Box::new(one)));
        Ok(joined.into_iter().map(counted).collect())
    }

    /// Those that somebody was put into by hand; to which others the customer belongs from now on is
    /// judged as after every change.
    fn segments(&self, report: &mut MergeReport) -> Vec<Event> {
        let Memberships { held, codes, .. } = &self.from.memberships;
        let mut events = Vec::new();
        for (segment, theirs) in held {
            let by_hand = theirs.cause == MembershipCause::Manual;
            let Some(code) = codes.get(segment).filter(|_| by_hand) else { continue };
            if self.into.memberships.held.contains_key(segment) {
                continue;
            }
            report.moved.segments.push(code.clone());
            let held = Held { since: self.context.now, cause: MembershipCause::Manual };
            let (segment, code) = (*segment, code.clone());
            events.push(Event::Membership(MembershipEvent::Joined { segment, code, held }));
        }
        events
    }

    /// To the mailbox that ends, if it was somebody's proven own: whoever was merged by mistake, or
    /// by fraud, hears of it.
    fn farewell(&self, from: &Customer, mail: MailId) -> Option<Event> {
        from.email_verified_at?;
        let mail = Mail {
            id: mail,
            customer_id: self.ids.0,
            to: Some(from.email.clone()),
            body: MailBody::Merged,
            locale: self.from.locale(),
        };
        Some(Event::MailQueued(Box::new(mail)))
    }

    fn mail(&self, id: MailId, body: MailBody) -> Event {
        let (customer_id, locale) = (self.ids.0, self.into.locale());
        Event::MailQueued(Box::new(Mail { id, customer_id, to: None, body, locale }))
    }
}

fn holder(state: &State, kind: AddressKind) -> Option<AddressId> {
    state.addresses.values().find(|address| address.is_default(kind)).map(|address| address.id)
}
