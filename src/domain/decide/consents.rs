//! Granting and withdrawing consent. What repeats what holds already changes nothing and tells
//! nobody; all else is one more entry of the ledger. Whoever may grant may withdraw; and withdrawing is
//! open at any time (GDPR, article 7), also while a deletion is scheduled.

use super::{Answer, Decision, check_version, decided, writable};
use crate::domain::command::Context;
use crate::domain::consent::{
    Channel, ConsentCommand, Consents, Entry, MarketingTerms, MarketingWish, Purpose, Reference,
    Source, Terms, Will,
};
use crate::domain::customer::Customer;
use crate::domain::event::Event;
use crate::domain::fault::Fault;
use crate::domain::outcome::Rejection;
use crate::domain::place::Locale;
use crate::domain::state::State;
use crate::domain::status::Status;

/// Carries out one wish about one purpose.
pub fn declare(state: &State, command: &ConsentCommand, context: &Context) -> Decision {
    let customer = match &command.will {
        Will::Grant { .. } => writable(state, context)?,
        Will::Withdraw => withdrawing(state, context)?,
    };
    let purpose = &command.purpose;
    if command.terms.is_none() && state.consents.version(purpose) == 0 {
        return Err(Rejection::NotFound);
    }
    check_version(command.if_match, state.consents.version(purpose))?;
    let channels = match &command.will {
        Will::Grant { text_version, .. } => {
            let terms = command.terms.as_ref().filter(|terms| terms.offered);
            let terms = terms.ok_or(Rejection::ConsentNotOffered)?;
            if *text_version != terms.text_version {
                let current = terms.text_version.clone();
                return Err(Rejection::ConsentTextOutdated { current });
            }
            terms.channels.clone()
        }
        Will::Withdraw => withdrawable(&state.consents, purpose, command.terms.as_ref()),
    };
    let channels = chosen(channels, command.channel)?;
    let words = Words {
        will: &command.will,
        source: Source::of(&context.actor),
        reference: command.reference.as_ref(),
        locale: state.locale(),
    };
    let entries = words.entries(&state.consents, purpose, &channels, context);
    decided(announced(state, customer, entries, context), Answer::Consents(purpose.clone()))
}

/// The customer, who may be frozen: to withdraw is the one change that a scheduled deletion bears.
fn withdrawing<'a>(state: &'a State, context: &Context) -> Result<&'a Customer, Rejection> {
    let frozen = state.customer.as_ref().filter(|it| it.status == Status::DeletionScheduled);
    frozen.map_or_else(|| writable(state, context), Ok)
}

/// What `accepts_marketing` of a change comes to. The flag that is shown already asks for nothing:
/// a form that is sent back as it was is no new consent.
pub(super) fn marketing(state: &State, wish: &MarketingWish, context: &Context) -> Vec<Entry> {
    let (consents, purpose) = (&state.consents, Purpose::marketing());
    if wish.accepts == consents.accepts_marketing() {
        return Vec::new();
    }
    let granted = consents.of(&purpose).filter(|(_, consent)| consent.granted);
    let (will, channels) = if wish.accepts {
        (granting(&wish.terms), wish.terms.channels.clone())
    } else {
        (Will::Withdraw, granted.map(|(channel, _)| channel).collect())
    };
    let source = Source::of(&context.actor);
    let words = Words { will: &will, source, reference: None, locale: state.locale() };
    words.entries(consents, &purpose, &channels, context)
}

/// The consents that a customer begins with.
pub(super) fn at_creation(
    terms: Option<&MarketingTerms>,
    locale: &Locale,
    source: Source,
    context: &Context,
) -> Vec<Event> {
    let Some(terms) = terms else { return Vec::new() };
    let will = granting(terms);
    let words = Words { will: &will, source, reference: None, locale: locale.clone() };
    let purpose = Purpose::marketing();
    let entries = words.entries(&Consents::default(), &purpose, &terms.channels, context);
    entries.into_iter().map(event).collect()
}

/// Whether the customer accepts marketing once these entries are written.
pub(super) fn accepts_marketing_after(consents: &Consents, entries: &[Entry]) -> bool {
    let mut after = consents.clone();
    entries.iter().for_each(|entry| after.record(entry));
    after.accepts_marketing()
}

pub(super) fn event(entry: Entry) -> Event {
    Event::Consent(Box::new(entry))
}

/// The entries as events, and before them the customer's own change where its flag turns.
fn announced(
    state: &State,
    customer: &Customer,
    entries: Vec<Entry>,
    context: &Context,
) -> Vec<Event> {
    // While a deletion is scheduled there is no advertising, whatever is left of the consents.
    let frozen = customer.status == Status::DeletionScheduled;
    let accepts_marketing = !frozen && accepts_marketing_after(&state.consents, &entries);
    let mut events = Vec::with_capacity(entries.len() + 1);
    if accepts_marketing != customer.accepts_marketing && !entries.is_empty() {
        let customer = Customer {
            accepts_marketing,
            version: customer.version + 1,
            updated_at: context.now,
            ..customer.clone()
        };
        let changed = vec!["accepts_marketing".to_owned()];
        events.push(Event::CustomerUpdated { customer: Box::new(customer), changed });
    }
    events.extend(entries.into_iter().map(event));
    events
}

fn granting(terms: &MarketingTerms) -> Will {
    Will::Grant { text_version: terms.text_version.clone(), locale: None }
}

/// The channels of the purpose, and those that something was said about: what is no longer asked
/// for may still be withdrawn.
fn withdrawable(consents: &Consents, purpose: &Purpose, terms: Option<&Terms>) -> Vec<Channel> {
    let asked = terms.into_iter().flat_map(|terms| terms.channels.iter().copied());
    let mut channels: Vec<_> =
        asked.chain(consents.of(purpose).map(|(channel, _)| channel)).collect();
    channels.sort();
    channels.dedup();
    channels
}

fn chosen(channels: Vec<Channel>, wanted: Channel) -> Result<Vec<Channel>, Rejection> {
    match wanted {
        Channel::All => Ok(channels),
        one if channels.contains(&one) => Ok(vec![one]),
        _ => {
            let fault = Fault::new("unknown_channel", "must be a channel of this purpose, or all");
            Err(Rejection::Invalid { pointer: "#/channel", fault })
        }
    }
}

/// What is said, whatever it is said about.
struct Words<'a> {
    will: &'a Will,
    source: Source,
    reference: Option<&'a Reference>,
    /// Of the customer.
    locale: Locale,
}

impl Words<'_> {
    /// The entries for those channels where another word holds so far.
    fn entries(
        &self,
        consents: &Consents,
        purpose: &Purpose,
        channels: &[Channel],
        context: &Context,
    ) -> Vec<Entry> {
        // A clock that is behind does not write history: the state at an instant is the newest
        // entry up to it.
        let at = consents.latest().map_or(context.now, |latest| latest.max(context.now));
        let (granted, text_version, locale) = match self.will {
            Will::Grant { text_version, locale } => {
                let locale = locale.clone().unwrap_or_else(|| self.locale.clone());
                (true, Some(text_version.clone()), Some(locale))
            }
            Will::Withdraw => (false, None, None),
        };
        let holds = |channel: &Channel| {
            consents.get(purpose, *channel).is_some_and(|consent| {
                consent.granted == granted && consent.text_version == text_version
            })
        };
        let differing = channels.iter().filter(|channel| !holds(channel));
        let entry = |(number, channel): (i64, &Channel)| Entry {
            number,
            purpose: purpose.clone(),
            channel: *channel,
            granted,
            text_version: text_version.clone(),
            locale: locale.clone(),
            source: self.source,
            reference: self.reference.cloned(),
            at,
        };
        (consents.entries() + 1..).zip(differing).map(entry).collect()
    }
}
