//! What is heard of orders, and from where; how what is kept of them is held against that.

use url::Url;

use super::choices::Switch;
use super::rules::broker_name;
use super::sections::{Config, Leaf, Node, Ranged, below, section};
use super::values::{Hours, Millis, Number as _, Seconds, SecretText};
use super::{Fault, layers::Layers};

section! {
    /// Orders.
    OrdersConfig {
        intake: OrderIntakeConfig,
        reconciliation: ReconciliationConfig,
        service: OrderServiceConfig,
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
        parked_max: u32 [100..=1_000_000],
    }
}

section! {
    /// The scheduled comparison of what is kept of orders with where it comes from.
    ReconciliationConfig {
        /// 0: never.
        every_hours: Hours [0..=8_760],
        page: u32 [1..=10_000],
        pause_ms: Millis [0..=60_000],
    }
}

section! {
    /// The order service, where it can be asked over HTTP.
    OrderServiceConfig {
        url: Option<Url>,
        token: Option<SecretText>,
        timeout_ms: Millis [100..=20_000],
    }
}

pub(super) fn check(config: &Config, faults: &mut Vec<Fault>) {
    service(&config.orders.service, faults);
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

fn service(service: &OrderServiceConfig, faults: &mut Vec<Fault>) {
    let Some(url) = &service.url else {
        if service.token.is_some() {
            faults.push(Fault::new(
                "orders.service.token",
                "is set, but orders.service.url is not, so nobody would ever be shown it",
                "set the address, or remove the token",
            ));
        }
        return;
    };
    if !url.username().is_empty() || url.password().is_some() {
        faults.push(Fault::new(
            "orders.service.url",
            "holds a name or a password, which would be shown wherever settings are",
            "remove it, and set orders.service.token",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        faults.push(Fault::new(
            "orders.service.url",
            "has a query or a fragment, to which no path can be added",
            "end it after the host or after a path",
        ));
    }
}
