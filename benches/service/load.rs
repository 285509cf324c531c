//! The load generator: keep-alive HTTP/1.1 written and read by hand, so that on a machine it shares
//! with the service it costs as little as a client can.

use anyhow::{Context, Result, bail};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};

/// Room for the largest answer of the measured routes.
const BUFFER_BYTES: usize = 32 * 1024;
/// A request that takes longer is a failure of the run, not a slow sample.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer; the body lies in the connection's buffer.
pub struct Answer<'c> {
    pub status: u16,
    pub body: &'c [u8],
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends one whole request and reads its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.round_trip(request)).await {
            Ok(Ok((status, body))) => Ok(Answer { status, body: &self.buffer[body] }),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!("no answer within {ANSWER_TIMEOUT:?}"),
        }
    }

    async fn round_trip(&mut self, request: &[u8]) -> Result<(u16, std::ops::Range<usize>)> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                bail!("the connection was closed, or an answer is over {BUFFER_BYTES} bytes");
            }
            filled += read;
            let Some(head) = end_of_head(&self.buffer[..filled]) else { continue };
            let (status, length) = read_head(&self.buffer[..head])?;
            if filled >= head + length {
                return Ok((status, head..head + length));
            }
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Status and length of the body.
fn read_head(head: &[u8]) -> Result<(u16, usize)> {
    let status: u16 = std::str::from_utf8(head.get(9..12).unwrap_or_default())?
        .parse()
        .context("the answer is not HTTP/1.1")?;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if line[..colon].eq_ignore_ascii_case(b"content-length") {
            return Ok((status, std::str::from_utf8(&line[colon + 1..])?.trim().parse()?));
        }
        if line[..colon].eq_ignore_ascii_case(b"transfer-encoding") {
            bail!("an answer without a length cannot be read here");
        }
    }
    Ok((status, 0))
}

/// The bytes of a request, made once and sent many times.
pub fn request(method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
    if let Some(token) = token {
        text += &format!("authorization: Bearer {token}\r\n");
    }
    match body {
        Some(body) => {
            let length = body.len();
            text += &format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        }
        None => text += "\r\n",
    }
    text.into_bytes()
}

/// What one client sends, over and over.
pub type Cycle = Vec<Vec<u8>>;

/// A client, and whom it asks in turn.
pub struct Client {
    pub addresses: Vec<SocketAddr>,
    pub cycle: Cycle,
}

#[derive(Default)]
struct Tally {
    recording: Cell<bool>,
    stopping: Cell<bool>,
    /// Answers 2xx while recording.
    done: Cell<u64>,
    /// Of those, in microseconds.
    latencies: RefCell<Vec<u32>>,
    /// The same, from when each was sent.
    waits: RefCell<Vec<u32>>,
    /// Of other answers, from when each was sent.
    refusals: RefCell<Vec<u32>>,
    /// Other answers while recording, by status; under 0, clients whose connection was closed at
    /// whatever time.
    refused: RefCell<BTreeMap<u16, u64>>,
}

impl Tally {
    fn note(&self, status: u16, due: Instant, sent: Instant) {
        if !self.recording.get() {
            return;
        }
        let micros =
            |since: Instant| u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
        if (200..300).contains(&status) {
            self.done.set(self.done.get() + 1);
            self.latencies.borrow_mut().push(micros(due));
            self.waits.borrow_mut().push(micros(sent));
        } else {
            self.refusals.borrow_mut().push(micros(sent));
            *self.refused.borrow_mut().entry(status).or_default() += 1;
        }
    }

    fn note_end(&self) {
        *self.refused.borrow_mut().entry(0).or_default() += 1;
    }
}

/// Clients at work, each on a connection of its own.
pub struct Load {
    tally: Rc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

/// What was seen while recording.
pub struct Seen {
    pub done: u64,
    /// Microseconds, ascending.
    pub latencies: Vec<u32>,
    /// The same from when each request was sent, however late that was.
    pub waits: Vec<u32>,
    /// Of refusals, from when each request was sent.
    pub refusals: Vec<u32>,
    pub refused: BTreeMap<u16, u64>,
}

impl Load {
    /// Each client sends its next request as soon as the last is answered.
    pub async fn closed(address: SocketAddr, cycles: Vec<Cycle>) -> Result<Self> {
        let one = |cycle| Client { addresses: vec![address], cycle };
        Self::of(cycles.into_iter().map(one).collect()).await
    }

    /// The same at several addresses: a client has a connection to each of its own.
    pub async fn of(all: Vec<Client>) -> Result<Self> {
        let tally = Rc::new(Tally::default());
        let mut clients = Vec::with_capacity(all.len());
        for Client { addresses, cycle } in all {
            let mut connections = Vec::with_capacity(addresses.len());
            for address in addresses {
                connections.push(Connection::open(address).await?);
            }
            let tally = Rc::clone(&tally);
            clients.push(spawn_local(async move {
                for (turn, request) in cycle.iter().cycle().enumerate() {
                    let asked = turn % connections.len();
                    let since = Instant::now();
                    let status = match connections[asked].exchange(request).await {
                        Ok(answer) => answer.status,
                        Err(_) => return tally.note_end(),
                    };
                    tally.note(status, since, since);
                    if tally.stopping.get() {
                        return;
                    }
                }
            }));
        }
        Ok(Self { tally, clients })
    }

    /// All clients together send `rate` requests a second at fixed instants; latencies count from
    /// those instants, so that a slow answer also charges the requests that waited behind it.
    pub async fn paced(address: SocketAddr, cycles: Vec<Cycle>, rate: f64) -> Result<Self> {
        let tally = Rc::new(Tally::default());
        let count = cycles.len();
        let begin = Instant::now() + Duration::from_millis(20);
        let mut clients = Vec::with_capacity(count);
        for (index, cycle) in cycles.into_iter().enumerate() {
            let mut connection = Connection::open(address).await?;
            let tally = Rc::clone(&tally);
            clients.push(spawn_local(async move {
                for (turn, request) in cycle.iter().cycle().enumerate() {
                    let due = begin + Duration::from_secs_f64((turn * count + index) as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                    if tally.stopping.get() {
                        return;
                    }
                    let sent = Instant::now();
                    let status = match connection.exchange(request).await {
                        Ok(answer) => answer.status,
                        Err(_) => return tally.note_end(),
                    };
                    tally.note(status, due, sent);
                }
            }));
        }
        Ok(Self { tally, clients })
    }

    /// Begins to count.
    pub fn record(&self) {
        self.tally.recording.set(true);
    }

    /// Ends counting, lets every client finish its request, and tells what was seen.
    pub async fn finish(self) -> Seen {
        self.tally.recording.set(false);
        self.tally.stopping.set(true);
        for client in self.clients {
            // A client ends by itself; one that panicked has sent nothing more, which shows.
            let _ = client.await;
        }
        let sorted = |cell: &RefCell<Vec<u32>>| {
            let mut times = cell.take();
            times.sort_unstable();
            times
        };
        let tally = &self.tally;
        Seen {
            done: tally.done.get(),
            latencies: sorted(&tally.latencies),
            waits: sorted(&tally.waits),
            refusals: sorted(&tally.refusals),
            refused: tally.refused.take(),
        }
    }
}
