//! What is heard of orders, and from where.

use super::choices::Switch;
use super::rules::broker_name;
use super::sections::{Config, Leaf, Node, Ranged, below, section};
use super::values::{Number as _, Seconds};
use super::{Fault, layers::Layers};

section! {
    /// Orders.
    OrdersConfig {
        intake: OrderIntakeConfig,
    }
}

section! {
    /// The intake of facts about orders.
    OrderIntakeConfig {
        enabled: Switch,
        exchange: String,
        queue: String,
        dead_letter_exchange: String,
        dead_letter_queue: String,
        dead_letters_max: u32 [100..=10_000_000],
        in_flight_max: u32 [1..=1_000],
        body_limit_bytes: usize [1_024..=1_048_576],
        give_up_after_seconds: Seconds [1..=2_592_000],
    }
}

pub(super) fn check(config: &Config, faults: &mut Vec<Fault>) {
    let intake = &config.orders.intake;
    for (key, name) in [
        ("orders.intake.exchange", &intake.exchange),
        ("orders.intake.queue", &intake.queue),
        ("orders.intake.dead_letter_exchange", &intake.dead_letter_exchange),
        ("orders.intake.dead_letter_queue", &intake.dead_letter_queue),
    ] {
        broker_name(key, name, faults);
    }
    if intake.queue == intake.dead_letter_queue {
        faults.push(Fault::new(
            "orders.intake.dead_letter_queue",
            "is the same as orders.intake.queue, so what nobody can use would come again and again",
            "choose another name",
        ));
    }
    let rabbit = &config.rabbit;
    let ours = [&rabbit.exchange, &rabbit.notifications_exchange, &intake.exchange];
    if ours.contains(&&intake.dead_letter_exchange) {
        faults.push(Fault::new(
            "orders.intake.dead_letter_exchange",
            "is the name of another exchange, whose messages would all become dead letters",
            "choose another name",
        ));
    }
    if intake.exchange == rabbit.notifications_exchange {
        faults.push(Fault::new(
            "orders.intake.exchange",
            "is the same as rabbit.notifications_exchange, which is of another kind",
            "name the exchange that the order service publishes to",
        ));
    }
}
