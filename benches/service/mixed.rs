//! Requests of several classes in one stream: offered at a steady rate whatever becomes of them, or as
//! fast as a number of clients get answers. What each class got is told apart.
//!
//! Arrivals are those of many who know nothing of each other (exponential gaps, from a fixed seed), each
//! of a class drawn by its share. Latencies count from the instant at which a request was due, so that
//! a generator that falls behind charges it to the service, not to itself.

use super::load::{Connection, request};
use super::rows::Holder;
use super::setup::sign_in_request;
use anyhow::{Result, ensure};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, spawn_local};

/// The classes of routes that a client meets, by the names of `src/http/admission/class.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Refresh,
    Reads,
    Writes,
    SignIn,
    Export,
}

impl Class {
    pub const ALL: [Class; 5] =
        [Class::Refresh, Class::Reads, Class::Writes, Class::SignIn, Class::Export];

    pub fn name(self) -> &'static str {
        match self {
            Class::Refresh => "refresh",
            Class::Reads => "reads",
            Class::Writes => "writes",
            Class::SignIn => "sign_in",
            Class::Export => "export",
        }
    }
}

/// What one class got.
#[derive(Clone, Default)]
pub struct Got {
    /// Answers 2xx, and how long each took, microseconds, ascending.
    pub latencies: Vec<u32>,
    /// Of 503, from when each was sent.
    pub refusals: Vec<u32>,
    /// Other answers, by status; under 0, connections that were closed.
    pub others: BTreeMap<u16, u64>,
    /// Due, but nobody was free to send it.
    pub unsent: u64,
}

impl Got {
    pub fn offered(&self) -> u64 {
        let others: u64 = self.others.values().sum();
        (self.latencies.len() + self.refusals.len()) as u64 + others + self.unsent
    }

    fn sort(&mut self) {
        self.latencies.sort_unstable();
        self.refusals.sort_unstable();
    }
}

/// Who asks, and what for.
pub struct Askers {
    holders: Vec<Holder>,
    /// Of sessions that no exchange is under way for.
    refreshes: RefCell<VecDeque<String>>,
    /// Customers with a password of the full cost, from this number on so many.
    signers: (u32, u32),
    staff_key: String,
    /// The share of each class, in the order of [`Class::ALL`].
    mix: [f64; 5],
}

impl Askers {
    pub fn new(
        holders: Vec<Holder>,
        signers: (u32, u32),
        staff_key: String,
        mix: [f64; 5],
    ) -> Rc<Self> {
        let refreshes = holders.iter().map(|holder| holder.refresh.clone()).collect();
        Rc::new(Self { holders, refreshes: RefCell::new(refreshes), signers, staff_key, mix })
    }

    /// The bytes to send, and the refresh token in them. `None`: all sessions are being refreshed.
    fn ask(&self, class: Class, turn: u64) -> Option<(Vec<u8>, Option<String>)> {
        let holder = &self.holders[(turn % self.holders.len() as u64) as usize];
        let plain = |bytes| Some((bytes, None));
        match class {
            Class::Refresh => {
                let token = self.refreshes.borrow_mut().pop_front()?;
                let body = format!("{{\"refresh_token\":\"{token}\"}}");
                Some((request("POST", "/v1/auth/refresh", None, Some(&body)), Some(token)))
            }
            Class::Reads => plain(request("GET", "/v1/me", Some(&holder.token), None)),
            Class::Writes => {
                let body = format!("{{\"bio\":\"A few lines about oneself, {turn}\"}}");
                plain(request("PATCH", "/v1/me/profile", Some(&holder.token), Some(&body)))
            }
            Class::SignIn => {
                let (first, count) = self.signers;
                plain(sign_in_request(first + (turn % u64::from(count)) as u32))
            }
            Class::Export => {
                let path = "/v1/admin/analytics/registrations";
                plain(request("GET", path, Some(&self.staff_key), None))
            }
        }
    }

    /// The session goes on with the token that it was given, or with the one it had.
    fn refreshed(&self, status: u16, body: &[u8], sent: String) {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let token = answer["refresh_token"].as_str().filter(|_| status == 200);
        let token = token.map_or(sent, str::to_owned);
        self.refreshes.borrow_mut().push_back(token);
    }
}

/// When the next request is due and what it is.
struct Schedule {
    random: u64,
    /// A second; `None`: at once.
    rate: Option<f64>,
    at: f64,
    turn: u64,
}

impl Schedule {
    /// From 0 to 1, without both ends (xorshift64*).
    fn draw(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 12;
        (bits as f64 + 0.5) / (1_u64 << 52) as f64
    }

    fn next(&mut self, mix: &[f64; 5]) -> (Duration, Class, u64) {
        if let Some(rate) = self.rate {
            self.at -= self.draw().ln() / rate;
        }
        self.turn += 1;
        let mut left = self.draw() * mix.iter().sum::<f64>();
        let class = Class::ALL.into_iter().zip(mix).find_map(|(class, share)| {
            left -= share;
            (left < 0.0).then_some(class)
        });
        (Duration::from_secs_f64(self.at), class.unwrap_or(Class::Reads), self.turn)
    }
}

struct Shared {
    askers: Rc<Askers>,
    address: SocketAddr,
    schedule: RefCell<Schedule>,
    begin: Instant,
    recording: Cell<bool>,
    stopping: Cell<bool>,
    got: RefCell<[Got; 5]>,
}

/// A stream that is under way.
pub struct Stream {
    shared: Rc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

impl Stream {
    /// `senders` connections; at `rate` requests a second together, or as fast as they are answered.
    pub async fn begin(
        address: SocketAddr,
        askers: &Rc<Askers>,
        senders: usize,
        rate: Option<f64>,
    ) -> Result<Self> {
        let mut connections = Vec::with_capacity(senders);
        for _ in 0..senders {
            connections.push(Connection::open(address).await?);
        }
        let schedule = Schedule { random: 0x9e37_79b9_7f4a_7c15, rate, at: 0.0, turn: 0 };
        let shared = Rc::new(Shared {
            askers: Rc::clone(askers),
            address,
            schedule: RefCell::new(schedule),
            begin: Instant::now(),
            recording: Cell::new(false),
            stopping: Cell::new(false),
            got: RefCell::default(),
        });
        let senders = connections
            .into_iter()
            .map(|connection| spawn_local(Rc::clone(&shared).send(connection)))
            .collect();
        Ok(Self { shared, senders })
    }

    pub fn record(&self) {
        self.shared.recording.set(true);
    }

    /// Ends, and tells what each class got while it was recorded.
    pub async fn finish(self) -> Result<[Got; 5]> {
        self.shared.recording.set(false);
        self.shared.stopping.set(true);
        for sender in self.senders {
            sender.await?;
        }
        let mut got = self.shared.got.take();
        got.iter_mut().for_each(Got::sort);
        ensure!(got.iter().any(|got| !got.latencies.is_empty()), "nothing was answered well");
        Ok(got)
    }
}

impl Shared {
    async fn send(self: Rc<Self>, mut connection: Connection) {
        loop {
            let (at, class, turn) = self.schedule.borrow_mut().next(&self.askers.mix);
            let mut due = self.begin + at;
            if self.schedule.borrow().rate.is_some() {
                tokio::time::sleep_until(due.into()).await;
            } else {
                due = Instant::now();
            }
            if self.stopping.get() {
                return;
            }
            let Some((bytes, token)) = self.askers.ask(class, turn) else {
                self.note(class, |got| got.unsent += 1);
                continue;
            };
            let sent = Instant::now();
            let micros =
                |since: Instant| u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
            match connection.exchange(&bytes).await {
                Ok(answer) => {
                    if let Some(token) = token {
                        self.askers.refreshed(answer.status, answer.body, token);
                    }
                    match answer.status {
                        200..300 => self.note(class, |got| got.latencies.push(micros(due))),
                        503 => self.note(class, |got| got.refusals.push(micros(sent))),
                        other => self.note(class, |got| *got.others.entry(other).or_default() += 1),
                    }
                }
                Err(_) => {
                    if let Some(token) = token {
                        self.askers.refreshed(0, &[], token);
                    }
                    self.note(class, |got| *got.others.entry(0).or_default() += 1);
                    let Ok(another) = Connection::open(self.address).await else { return };
                    connection = another;
                }
            }
        }
    }

    fn note(&self, class: Class, note: impl FnOnce(&mut Got)) {
        if self.recording.get() {
            note(&mut self.got.borrow_mut()[class as usize]);
        }
    }
}
