//! What is told of customers; how they are deleted, and which other services are told to forget them.

use super::Fault;
use super::choices::Switch;
use super::layers::Layers;
use super::rules::broker_name;
use super::sections::{Config, Leaf, Node, Ranged, below, section};
use super::values::{Days, Hours, ListItem, Minutes, Number as _, Seconds, Wrong, wrong};

section! {
    /// What is told of persons, and how they are deleted.
    PrivacyConfig {
        seal_values: Switch,
        grace_days: Days [0..=365],
        commands: Vec<ErasureCommand>,
        exchange: String,
        answer_queue: String,
        answer_minutes: Minutes [1..=10_080],
        retry_first_seconds: Seconds [1..=3_600],
        retry_most_minutes: Minutes [1..=1_440],
        overdue_hours: Hours [1..=720],
        period_seconds: Seconds [1..=3_600],
    }
}

/// A command to another service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureCommand {
    AnonymizeOrders,
    DeletePaymentMethods,
    ForgetNotifications,
}

impl ErasureCommand {
    const ALL: [Self; 3] =
        [Self::AnonymizeOrders, Self::DeletePaymentMethods, Self::ForgetNotifications];

    /// The type of its message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnonymizeOrders => "order.anonymize",
            Self::DeletePaymentMethods => "payment.delete_methods",
            Self::ForgetNotifications => "notification.forget",
        }
    }
}

impl ListItem for ErasureCommand {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        let text = text.trim();
        match Self::ALL.into_iter().find(|command| command.as_str() == text) {
            Some(command) => Ok(command),
            None => wrong(
                format!("contains \"{text}\", which is no command"),
                "choose of order.anonymize, payment.delete_methods and notification.forget",
            ),
        }
    }

    fn show_item(&self) -> String {
        (*self).as_str().to_owned()
    }
}

pub(super) fn check(config: &Config, faults: &mut Vec<Fault>) {
    let (privacy, rabbit, intake) = (&config.privacy, &config.rabbit, &config.orders.intake);
    broker_name("privacy.exchange", &privacy.exchange, faults);
    broker_name("privacy.answer_queue", &privacy.answer_queue, faults);
    let taken = [
        &rabbit.exchange,
        &rabbit.notifications_exchange,
        &intake.exchange,
        &intake.dead_letter_exchange,
    ];
    if taken.contains(&&privacy.exchange) {
        faults.push(Fault::new(
            "privacy.exchange",
            "is the name of another exchange, whose readers would receive commands",
            "choose another name",
        ));
    }
    if taken.contains(&&privacy.answer_queue) || privacy.answer_queue == privacy.exchange {
        faults.push(Fault::new(
            "privacy.answer_queue",
            "is the name of an exchange; answers have one of the queue's name",
            "choose another name",
        ));
    }
    if [&intake.queue, &intake.dead_letter_queue].contains(&&privacy.answer_queue) {
        faults.push(Fault::new(
            "privacy.answer_queue",
            "is the name of another queue, whose messages are no answers",
            "choose another name",
        ));
    }
    let mut seen = Vec::new();
    for command in &privacy.commands {
        if seen.contains(command) {
            faults.push(Fault::new(
                "privacy.commands",
                format!("contains \"{}\" twice", command.as_str()),
                "name each command once",
            ));
        }
        seen.push(*command);
    }
}
