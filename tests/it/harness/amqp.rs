//! AMQP 0-9-1 by hand, as far as it takes to publish what no library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// A connection with one channel in confirm mode.
pub struct Wire(TcpStream);

/// A property list: its flags and what they announce.
pub struct Properties {
    pub flags: u16,
    pub values: Vec<u8>,
}

/// AMQP's short text, whatever its bytes are.
pub fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("a short text is short");
    [&[length], bytes].concat()
}

/// Bytes behind their number.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

fn method(class: u16, method: u16, arguments: &[&[u8]]) -> Vec<u8> {
    [&class.to_be_bytes()[..], &method.to_be_bytes()[..], &arguments.concat()].concat()
}

impl Wire {
    pub async fn open(url: &str) -> Self {
        let url: Url = url.parse().unwrap();
        let address = (url.host_str().unwrap(), url.port().unwrap_or(5672));
        let mut wire = Self(TcpStream::connect(address).await.unwrap());
        wire.0.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
        wire.heard(10, 10).await;
        let secret = format!("\0{}\0{}", url.username(), url.password().unwrap());
        let (plain, secret) = (short(b"PLAIN"), long(secret.as_bytes()));
        wire.tell(0, &method(10, 11, &[&long(b""), &plain, &secret, &short(b"en_US")])).await;
        let tune = wire.heard(10, 30).await;
        // Channels and frames as the broker likes; no heartbeats.
        wire.tell(0, &method(10, 31, &[&tune[4..10], &[0, 0]])).await;
        wire.tell(0, &method(10, 40, &[&short(b"/"), &short(b""), &[0]])).await;
        wire.heard(10, 41).await;
        wire.tell(1, &method(20, 10, &[&short(b"")])).await;
        wire.heard(20, 11).await;
        wire.tell(1, &method(85, 10, &[&[0]])).await;
        wire.heard(85, 11).await;
        wire
    }

    /// Publishes and waits until the broker has it.
    pub async fn publish(
        &mut self,
        exchange: &str,
        routing_key: &[u8],
        properties: &Properties,
        body: &[u8],
    ) {
        let (exchange, key) = (short(exchange.as_bytes()), short(routing_key));
        self.tell(1, &method(60, 40, &[&[0, 0], &exchange, &key, &[0]])).await;
        let size = (body.len() as u64).to_be_bytes();
        let flags = properties.flags.to_be_bytes();
        let header = [&[0, 60, 0, 0], &size[..], &flags, &properties.values].concat();
        self.frame(2, 1, &header).await;
        self.frame(3, 1, body).await;
        self.heard(60, 80).await;
    }

    async fn tell(&mut self, channel: u16, payload: &[u8]) {
        self.frame(1, channel, payload).await;
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let frame = [&[kind], &channel.to_be_bytes()[..], &long(payload), &[0xCE]].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next method, which must be this one.
    async fn heard(&mut self, class: u16, method: u16) -> Vec<u8> {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).await.unwrap();
        let size = u32::from_be_bytes(head[3..].try_into().unwrap()) as usize;
        let mut payload = vec![0; size + 1];
        self.0.read_exact(&mut payload).await.unwrap();
        let said = [&class.to_be_bytes()[..], &method.to_be_bytes()[..]].concat();
        assert_eq!(payload[..4], said, "the broker says {:?}", String::from_utf8_lossy(&payload));
        payload
    }
}
