//! What the broker passes on and the client library cannot read. AMQP's short texts are bytes to
//! RabbitMQ; to the library they are UTF-8, and over one that is not it gives the connection up. Such a
//! message would come again with every connection, and nothing behind it ever would.
//!
//! So what comes in is looked at a frame at a time before the library sees it. A message whose
//! properties cannot be read comes without any; in a routing key `?` stands for what is no text. The
//! body, which is all that counts, is passed on as it is.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::protocol::basic::parse_properties;
use lapin::tcp::{AMQPUriTcpExt, TLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};

/// Type (1 byte), channel (2) and size of the payload (4) of a frame.
const HEAD: usize = 7;

/// Types of frames.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// Stands behind each payload.
const END: u8 = 0xCE;

/// Class, weight and size of the body, in front of the properties of a header.
const BEFORE_PROPERTIES: usize = 12;

/// Class and method of a delivery; and its tag with the sign of a redelivery, behind the first text.
const DELIVERY: [u8; 4] = [0, 60, 0, 60];
const DELIVERY_TAG: usize = 9;

/// A longer frame is passed on as it is: RabbitMQ's are of 128 KiB at most, unless it is told otherwise.
const LOOKED_AT_MAX: usize = 1 << 20;

/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// A connection that reads what the library cannot. On the runtime of the caller.
pub(super) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let kit = RuntimeParts::new(Tokio::current(), Sockets(Tokio::current()));
    Connection::connector(
        uri,
        Runtime::new(kit),
        async |uri: AMQPUri, _| {
            let tokio = Runtime::tokio_current();
            let stream = uri.connect_with_config_async(TLSConfig::default(), &tokio).await?;
            Ok(AsyncTcpStream::Plain(Mending::of(stream)))
        },
        properties,
    )
    .await
}

type Socket = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Tokio's sockets, mended; for the library, which wants to know what its own are.
#[derive(Clone, Debug)]
struct Sockets(Tokio);

impl Reactor for Sockets {
    type TcpStream = Mending<Socket>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Mending::of(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

/// A stream whose incoming frames are mended; what goes out is not looked at.
pub(super) struct Mending<S> {
    stream: S,
    frames: Frames,
}

impl<S> Mending<S> {
    fn of(stream: S) -> Self {
        Self { stream, frames: Frames::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mending<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let given = this.frames.give(out);
            if given > 0 || out.is_empty() {
                return Poll::Ready(Ok(given));
            }
            let mut chunk = [0; CHUNK];
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            this.frames.take(&chunk[..read]);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mending<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(context)
    }
}

/// Bytes of frames: those that came, and those that may go on.
#[derive(Default)]
struct Frames {
    /// The beginning of a frame that is looked at.
    held: Vec<u8>,
    /// The length of that frame, once its head is there.
    whole: Option<usize>,
    /// So many bytes more are nobody's affair.
    passing: usize,
    /// This is no AMQP; the library shall say so.
    foreign: bool,
    ready: Vec<u8>,
    /// How much of what is ready was given.
    given: usize,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.foreign {
                self.ready.extend_from_slice(bytes);
                return;
            }
            if self.passing > 0 {
                let (now, rest) = bytes.split_at(self.passing.min(bytes.len()));
                self.ready.extend_from_slice(now);
                self.passing -= now.len();
                bytes = rest;
                continue;
            }
            let missing = self.whole.unwrap_or(HEAD) - self.held.len();
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            self.held.extend_from_slice(now);
            bytes = rest;
            if now.len() == missing {
                self.look();
            }
        }
    }

    /// What is held is a head, or a frame.
    fn look(&mut self) {
        if self.whole.take().is_some() {
            mend(&mut self.held);
        } else if let [kind, _, _, size @ ..] = &self.held[..]
            && let Ok(size) = <[u8; 4]>::try_from(size)
        {
            let size = u32::from_be_bytes(size) as usize;
            match *kind {
                METHOD | HEADER if size <= LOOKED_AT_MAX => {
                    self.whole = Some(HEAD + size + 1);
                    return;
                }
                METHOD | HEADER | BODY | HEARTBEAT => self.passing = size + 1,
                _ => self.foreign = true,
            }
        }
        self.ready.append(&mut self.held);
    }

    fn give(&mut self, out: &mut [u8]) -> usize {
        let left = &self.ready[self.given..];
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        self.given += count;
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
        }
        count
    }
}

/// Makes a whole frame one that the library can read, if it is a delivery or its header.
fn mend(frame: &mut Vec<u8>) {
    let payload = &frame[HEAD..frame.len() - 1];
    match frame[0] {
        HEADER
            if payload
                .get(BEFORE_PROPERTIES..)
                .is_some_and(|all| parse_properties(all).is_err()) =>
        {
            tracing::warn!("a message has properties that are no text: it is taken without any");
            frame.truncate(HEAD + BEFORE_PROPERTIES);
            // None of the flags that say what follows.
            frame.extend([0, 0, END]);
            let size = (BEFORE_PROPERTIES + 2) as u32;
            frame[3..HEAD].copy_from_slice(&size.to_be_bytes());
        }
        METHOD if payload.starts_with(&DELIVERY) => {
            let mut texts = &mut frame[HEAD + DELIVERY.len()..];
            // Who reads, the exchange, the routing key.
            for behind in [DELIVERY_TAG, 0, 0] {
                let Some(rest) = mend_text(texts).and_then(|rest| rest.get_mut(behind..)) else {
                    return;
                };
                texts = rest;
            }
        }
        _ => {}
    }
}

/// Puts `?` in the place of what is no UTF-8 in the short text at the beginning; answers with the
/// rest. `None`: there is none.
fn mend_text(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let (length, rest) = bytes.split_first_mut()?;
    let (text, rest) = rest.split_at_mut_checked(usize::from(*length))?;
    while let Err(fault) = std::str::from_utf8(text) {
        let from = fault.valid_up_to();
        let count = fault.error_len().unwrap_or(text.len() - from);
        text[from..from + count].fill(b'?');
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 1];
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame.push(END);
        frame
    }

    fn text(text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![text.len() as u8];
        bytes.extend(text);
        bytes
    }

    /// A header with a type (bit 5) and nothing else.
    fn header(kind: &[u8]) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1 << 5];
        payload.extend(text(kind));
        frame(HEADER, &payload)
    }

    fn delivery(routing_key: &[u8]) -> Vec<u8> {
        let mut payload = DELIVERY.to_vec();
        payload.extend(text(b"reader"));
        payload.extend([0, 0, 0, 0, 0, 0, 0, 7, 1]);
        payload.extend([text(b"order.events"), text(routing_key)].concat());
        frame(METHOD, &payload)
    }

    /// What comes out of bytes that come in pieces.
    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        for bytes in bytes.chunks(piece) {
            frames.take(bytes);
            let mut some = [0; 5];
            loop {
                match frames.give(&mut some) {
                    0 => break,
                    count => out.extend(&some[..count]),
                }
            }
        }
        out
    }

    #[test]
    fn o3_properties_that_are_no_text_are_left_out_and_all_else_passes() {
        let body = frame(BODY, b"\xff\xfe{}");
        let bare = frame(HEADER, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0]);
        let good = [header("Giỏ hàng".as_bytes()), delivery("đơn".as_bytes())].concat();
        let beat = frame(HEARTBEAT, b"");
        let sent = [&good[..], &header(b"caf\xe9"), &body, &beat, &good].concat();
        let expected = [&good[..], &bare, &body, &beat, &good].concat();
        for piece in [1, 2, 7, 8, 64, sent.len()] {
            assert_eq!(through(&sent, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn o3_a_routing_key_keeps_its_length() {
        let mended = through(&delivery(b"order.\xe9\xffplaced"), 16);
        assert_eq!(mended, delivery(b"order.??placed"));
        assert_eq!(through(&delivery(b"cut \xc3"), 16), delivery(b"cut ?"));
    }

    #[test]
    fn what_is_no_amqp_is_left_to_the_library() {
        let other = b"AMQP\x01\x01\x00\x0aand anything behind it";
        assert_eq!(through(other, 3), other);
    }

    proptest! {
        /// Whatever the broker says, the library can read the properties, and no byte of it panics.
        #[test]
        fn headers_are_readable_whatever_they_hold(payload in prop::collection::vec(any::<u8>(), 12..80)) {
            let out = through(&frame(HEADER, &payload), 9);
            prop_assert!(parse_properties(&out[HEAD + BEFORE_PROPERTIES..out.len() - 1]).is_ok());
            through(&frame(METHOD, &[&DELIVERY[..], &payload].concat()), 9);
        }
    }
}
