//! What can happen to a queue, for `make consumers`: takes the messages that are in it, loses every
//! fifth (but never the last of a customer), brings every seventh twice, and puts the others back in
//! their order.
//!
//! ```text
//! cargo run --example disturb -- AMQP_URL QUEUE
//! ```

use anyhow::{Result, bail, ensure};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use std::collections::HashMap;

const LOSE_EVERY: usize = 5;
const DOUBLE_EVERY: usize = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, queue] = arguments.as_slice() else { bail!("usage: disturb AMQP_URL QUEUE") };
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let found =
        channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await?;
    let mut taken = Vec::new();
    for _ in 0..found.message_count() {
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await?;
        let Some(message) = got else { bail!("somebody else reads the queue") };
        taken.push(message.delivery);
    }
    let mut last = HashMap::new();
    for (at, delivery) in taken.iter().enumerate() {
        last.insert(subject(delivery), at);
    }
    let (mut lost, mut doubled) = (0, 0);
    for (at, delivery) in taken.iter().enumerate() {
        // Nobody can miss the last message of a customer before there is another one.
        let can_be_missed = last.get(&subject(delivery)) != Some(&at);
        let copies = match at + 1 {
            n if n % LOSE_EVERY == 0 && can_be_missed => 0,
            n if n % DOUBLE_EVERY == 0 => 2,
            _ => 1,
        };
        put_back(&channel, queue, delivery, copies).await?;
        lost += u32::from(copies == 0);
        doubled += u32::from(copies == 2);
    }
    println!("{queue}: of {} messages {lost} lost, {doubled} doubled", taken.len());
    ensure!(lost > 0, "there were too few messages to lose one");
    connection.close(200, "OK".into()).await?;
    Ok(())
}

/// Whom a message is about.
fn subject(delivery: &Delivery) -> Option<String> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get("cloudEvents:subject") {
        Some(AMQPValue::LongString(subject)) => Some(subject.to_string()),
        _ => None,
    }
}

async fn put_back(channel: &Channel, queue: &str, message: &Delivery, copies: usize) -> Result<()> {
    for _ in 0..copies {
        let (to, options) = (queue.into(), BasicPublishOptions::default());
        let properties = message.properties.clone();
        let sent = channel.basic_publish("".into(), to, options, &message.data, properties);
        ensure!(sent.await?.await?.is_ack(), "the broker refused a message");
    }
    message.acker.ack(BasicAckOptions::default()).await?;
    Ok(())
}
