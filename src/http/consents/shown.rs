//! Consents and entries of their ledger as answers show them.

use crate::db::consents::Record;
use crate::domain::consent::{Channel, PurposeConsents, Terms};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// What a customer agreed to for one purpose.
#[derive(Serialize, ToSchema)]
#[schema(as = Consent)]
pub struct ConsentView {
    #[schema(example = "marketing")]
    pub purpose: String,
    /// Whether the shop asks for it at present. What is not asked for can still be withdrawn.
    pub offered: bool,
    /// Of the text in use, which a grant must name; `null` where the purpose is unknown by now.
    #[schema(example = "2026-11")]
    pub text_version: Option<String>,
    /// Whether it is granted on at least one channel.
    pub granted: bool,
    /// Each way that is consented to by itself; `all` alone where the purpose knows none.
    pub channels: Vec<ChannelConsentView>,
    /// Rises with each entry of this purpose; its `ETag`. 0 where there is none.
    pub version: i64,
}

/// What a customer agreed to for one purpose by one channel.
#[derive(Serialize, ToSchema)]
#[schema(as = ChannelConsent)]
pub struct ChannelConsentView {
    /// `email`, `sms`, `push` or `all`.
    #[schema(example = "email")]
    pub channel: &'static str,
    pub granted: bool,
    /// Of the text that was agreed to.
    #[schema(example = "2026-11")]
    pub text_version: Option<String>,
    /// Whether that is another text than the one in use. The grant stays in force.
    pub outdated: bool,
    /// In which language it was read.
    #[schema(example = "vi-VN")]
    pub locale: Option<String>,
    /// `self_service`, `staff`, `registration`, `import` or `merge`; `null` where nothing was ever
    /// said.
    #[schema(example = "self_service")]
    pub source: Option<&'static str>,
    /// `null`: nothing was ever said, neither yes nor no.
    pub decided_at: Option<DateTime<Utc>>,
}

impl ConsentView {
    pub fn new(consents: &PurposeConsents, terms: Option<&Terms>) -> ConsentView {
        let asked = terms.map_or(&[][..], |terms| &terms.channels);
        let said = |channel: Channel| {
            consents.channels.iter().find(|(known, _)| *known == channel).map(|(_, said)| said)
        };
        let mut all: BTreeSet<Channel> =
            consents.channels.iter().map(|(known, _)| *known).collect();
        all.extend(asked);
        let channel = |channel: Channel| {
            let said = said(channel);
            let version = said.and_then(|said| said.text_version.as_ref());
            ChannelConsentView {
                channel: channel.as_str(),
                granted: said.is_some_and(|said| said.granted),
                text_version: version.map(|version| version.as_str().to_owned()),
                outdated: version.is_some_and(|version| {
                    terms.is_none_or(|terms| terms.text_version != *version)
                }),
                locale: said.and_then(|said| Some(said.locale.as_ref()?.as_str().to_owned())),
                source: said.map(|said| said.source.as_str()),
                decided_at: said.map(|said| said.at),
            }
        };
        let version = consents.channels.iter().map(|(_, said)| said.number).max();
        ConsentView {
            purpose: consents.purpose.as_str().to_owned(),
            offered: terms.is_some_and(|terms| terms.offered),
            text_version: terms.map(|terms| terms.text_version.as_str().to_owned()),
            granted: consents.channels.iter().any(|(_, said)| said.granted),
            channels: all.into_iter().map(channel).collect(),
            version: version.unwrap_or(0),
        }
    }
}

/// One line of the ledger.
#[derive(Serialize, ToSchema)]
#[schema(as = ConsentEntry)]
pub struct EntryView {
    /// From 1, per customer, without a gap over all purposes.
    pub number: i64,
    /// `email`, `sms`, `push` or `all`.
    #[schema(example = "email")]
    pub channel: &'static str,
    pub granted: bool,
    /// Of a grant.
    #[schema(example = "2026-11")]
    pub text_version: Option<String>,
    /// Of a grant.
    #[schema(example = "vi-VN")]
    pub locale: Option<String>,
    /// `self_service`, `staff`, `registration`, `import` or `merge`.
    #[schema(example = "self_service")]
    pub source: &'static str,
    /// Where the proof is kept.
    #[schema(example = "form:2026/117")]
    pub reference: Option<String>,
    /// The request by which it was said.
    pub request_id: String,
    /// For staff: `anonymous`, `customer`, `staff`, `operator` or `service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub actor_kind: Option<String>,
    /// For staff: the id of customer or key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub actor_id: Option<String>,
    pub decided_at: DateTime<Utc>,
}

impl EntryView {
    pub fn new(record: Record, for_staff: bool) -> EntryView {
        EntryView {
            number: record.number,
            channel: record.channel.as_str(),
            granted: record.granted,
            text_version: record.text_version,
            locale: record.locale,
            source: record.source.as_str(),
            reference: record.reference,
            request_id: record.request_id,
            actor_kind: for_staff.then_some(record.actor_kind),
            actor_id: record.actor_id.filter(|_| for_staff),
            decided_at: record.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::consent::{Consent, Purpose, Source, TextVersion};

    #[test]
    fn every_channel_is_shown_with_what_was_said_of_it() {
        let consent = |granted, number, version: Option<&str>| Consent {
            granted,
            text_version: version.map(|version| TextVersion::parse(version).unwrap()),
            locale: None,
            source: Source::Staff,
            number,
            at: DateTime::UNIX_EPOCH,
        };
        let consents = PurposeConsents {
            purpose: Purpose::marketing(),
            channels: vec![
                (Channel::Email, consent(true, 4, Some("1"))),
                (Channel::Push, consent(false, 7, None)),
            ],
        };
        let terms = Terms {
            offered: true,
            text_version: TextVersion::parse("2").unwrap(),
            channels: vec![Channel::Email, Channel::Sms],
        };
        let view = ConsentView::new(&consents, Some(&terms));
        let shown: Vec<_> = view
            .channels
            .iter()
            .map(|one| (one.channel, one.granted, one.outdated, one.decided_at.is_some()))
            .collect();
        let expected = [
            ("email", true, true, true),
            ("sms", false, false, false),
            // no longer asked for, and still told
            ("push", false, false, true),
        ];
        assert_eq!((shown, view.granted, view.version), (expected.to_vec(), true, 7));
        let gone = ConsentView::new(&consents, None);
        assert_eq!((gone.offered, gone.text_version, gone.channels.len()), (false, None, 2));
    }
}
