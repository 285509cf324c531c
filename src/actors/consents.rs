//! What customers may be asked consent for, and by which words: the configuration in the words of the
//! rules.

use crate::config::{Config, ConsentChannel, Switch, WelcomeTemplate};
use crate::domain::consent::{Channel, MarketingTerms, MarketingWish, Purpose, Terms, TextVersion};
use crate::domain::welcome::{Series, Step, Template};
use std::collections::BTreeMap;

/// The purposes of this shop.
#[derive(Debug, Clone)]
pub struct Purposes {
    terms: BTreeMap<Purpose, Terms>,
    marketing: MarketingTerms,
}

impl From<&Config> for Purposes {
    /// The configuration was checked at start: names and versions are sound, and marketing is there.
    fn from(config: &Config) -> Self {
        let terms: BTreeMap<_, _> = config
            .consents
            .purposes
            .iter()
            .map(|(name, purpose)| {
                let terms = Terms {
                    offered: purpose.offer == Switch::On,
                    text_version: TextVersion::from_stored(purpose.text_version.clone()),
                    channels: channels(&purpose.channels),
                };
                (Purpose::from_stored(name.clone()), terms)
            })
            .collect();
        let marketing = &terms[&Purpose::marketing()];
        let marketing = MarketingTerms {
            text_version: marketing.text_version.clone(),
            channels: channels(&config.consents.flag_channels),
        };
        Self { terms, marketing }
    }
}

impl Purposes {
    /// The names of all, with the ways that are consented to one by one.
    pub fn channels(&self) -> BTreeMap<String, Vec<Channel>> {
        let of = |(purpose, terms): (&Purpose, &Terms)| {
            let single = terms.channels.iter().filter(|channel| **channel != Channel::All);
            (purpose.as_str().to_owned(), single.copied().collect())
        };
        self.terms.iter().map(of).collect()
    }

    /// How a purpose is asked for; `None` where none is called so.
    pub fn terms(&self, purpose: &Purpose) -> Option<&Terms> {
        self.terms.get(purpose)
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = (&Purpose, &Terms)> {
        self.terms.iter()
    }

    /// What it means that somebody accepts marketing, or does not.
    pub fn marketing(&self, accepts: bool) -> MarketingWish {
        MarketingWish { accepts, terms: self.marketing.clone() }
    }

    /// The same for somebody who is about to become a customer, of whom nothing is known yet.
    pub fn marketing_at_creation(&self, accepts: bool) -> Option<MarketingTerms> {
        accepts.then(|| self.marketing.clone())
    }
}

/// Never empty: a purpose without channels is consented to as a whole.
fn channels(configured: &[ConsentChannel]) -> Vec<Channel> {
    if configured.is_empty() {
        return vec![Channel::All];
    }
    let channel = |channel: &ConsentChannel| match channel {
        ConsentChannel::Email => Channel::Email,
        ConsentChannel::Sms => Channel::Sms,
        ConsentChannel::Push => Channel::Push,
    };
    configured.iter().map(channel).collect()
}

/// The welcome series of this shop, the soonest first.
pub fn welcome_series(config: &Config) -> Series {
    let step = |(name, mail): (&String, &crate::config::WelcomeMailConfig)| Step {
        name: name.clone(),
        template: match mail.template {
            WelcomeTemplate::Welcome => Template::Welcome,
            WelcomeTemplate::Guide => Template::Guide,
            WelcomeTemplate::Offers => Template::Offers,
        },
        delay: mail.delay_seconds.delta(),
    };
    let mut steps: Vec<_> = config.welcome.mails.iter().map(step).collect();
    steps.sort_by_key(|step| step.delay);
    Series::new(steps)
}
