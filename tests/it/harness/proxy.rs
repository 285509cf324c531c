//! A line to a server that can be disturbed: refused, reset, silenced one way or both, slowed down,
//! and cut after so many bytes. Between a service and PostgreSQL, RabbitMQ or Redis.
//!
//! A connection that lost a byte stays silent until it is reset, since nothing that came after the
//! gap would make sense.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use url::Url;

/// The way of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the service to the server.
    Up,
    /// From the server to the service.
    Down,
}

/// What the line does to bytes.
#[derive(Clone, Debug, Default, PartialEq)]
struct Weather {
    /// Connections are reset, those there are and those to come.
    refuses: bool,
    /// Bytes vanish this way, while both ends believe that they are connected.
    silent: [bool; 2],
    /// Each piece waits this long before it goes on, either way.
    delay: Duration,
    /// Bytes a second, either way; 0: as many as go.
    rate: usize,
    /// Rises with each order to reset what is connected.
    resets: u64,
}

/// A cut that waits for its bytes.
#[derive(Clone, Debug)]
struct Cut {
    /// Whose bytes are counted.
    way: Way,
    /// So many pass; the connection is reset in front of the next one.
    after: usize,
    /// Counting begins on the connection that carries this text upwards, behind it; the text itself
    /// still passes.
    behind: Option<Vec<u8>>,
}

struct Line {
    target: String,
    weather: watch::Sender<Weather>,
    cut: Mutex<Option<Cut>>,
    cuts: watch::Sender<u64>,
}

/// The line; see the module. What passes through it ends with the value.
pub struct Proxy {
    /// The server's address by way of this line.
    pub url: String,
    line: Arc<Line>,
    listening: AbortHandle,
}

impl Proxy {
    /// A line to the server of this address, undisturbed. The address must name a port.
    pub async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let line = Arc::new(Line {
            target,
            weather: watch::Sender::default(),
            cut: Mutex::default(),
            cuts: watch::Sender::default(),
        });
        let carrying = line.clone();
        let listening = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carrying.clone().carry(near));
            }
        });
        Self { url: url.into(), line, listening: listening.abort_handle() }
    }

    /// Everything passes again. Connections that lost bytes stay silent; see [`Proxy::reset`].
    pub fn mend(&self) {
        self.change(|weather| {
            *weather = Weather { resets: weather.resets, ..Weather::default() };
        });
    }

    /// Resets what is connected, and whatever connects from now on, as when a process is killed.
    pub fn refuse(&self) {
        self.change(|weather| weather.refuses = true);
    }

    /// Resets what is connected; who connects again is served.
    pub fn reset(&self) {
        self.change(|weather| weather.resets += 1);
    }

    /// Both ways silent: as when a cable is pulled, nobody is told anything.
    pub fn black_hole(&self) {
        self.change(|weather| weather.silent = [true, true]);
    }

    /// One way silent, the other as before: a half-open connection.
    pub fn silence(&self, way: Way) {
        self.change(|weather| weather.silent[way as usize] = true);
    }

    /// Each piece waits this long.
    pub fn delay(&self, delay: Duration) {
        self.change(|weather| weather.delay = delay);
    }

    /// At most this many bytes a second each way.
    pub fn throttle(&self, bytes_per_second: usize) {
        self.change(|weather| weather.rate = bytes_per_second);
    }

    /// Once: resets the connection on which the byte after the next `after` ones of this way passes,
    /// of all connections together.
    pub fn cut_after(&self, way: Way, after: usize) {
        *self.line.cut.lock().unwrap() = Some(Cut { way, after, behind: None });
    }

    /// Once: resets the connection that carries `text` upwards, after `after` more bytes of the
    /// server's answer.
    pub fn cut_behind(&self, text: &str, after: usize) {
        let behind = Some(text.as_bytes().to_vec());
        *self.line.cut.lock().unwrap() = Some(Cut { way: Way::Down, after, behind });
    }

    /// Calls off a cut that has not come about. Tells whether one was waiting.
    pub fn no_cut(&self) -> bool {
        self.line.cut.lock().unwrap().take().is_some()
    }

    /// Cuts that came about so far.
    pub fn cuts(&self) -> u64 {
        *self.line.cuts.borrow()
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.line.weather.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.refuse();
    }
}

/// Why a connection ends other than by an end's wish.
struct Broken;

/// What the two directions of one connection share.
#[derive(Default)]
struct Tie {
    /// A cut that is this connection's own since it carried the text.
    cut: Mutex<Option<Cut>>,
}

impl Line {
    async fn carry(self: Arc<Self>, mut near: TcpStream) {
        let mut weather = self.weather.subscribe();
        let resets = weather.borrow_and_update().resets;
        if weather.borrow().refuses {
            near.set_zero_linger().ok();
            return;
        }
        let Ok(mut far) = TcpStream::connect(&self.target).await else {
            near.set_zero_linger().ok();
            return;
        };
        near.set_nodelay(true).ok();
        far.set_nodelay(true).ok();
        let tie = Tie::default();
        let whole = {
            let (near_from, near_to) = near.split();
            let (far_from, far_to) = far.split();
            tokio::select! {
                both = async {
                    tokio::try_join!(
                        self.pump(Way::Up, &tie, near_from, far_to),
                        self.pump(Way::Down, &tie, far_from, near_to),
                    )
                } => both.is_ok(),
                _ = weather.wait_for(|now| now.refuses || now.resets != resets) => false,
            }
        };
        if !whole {
            // Closed with a reset instead of a good-bye.
            near.set_zero_linger().ok();
            far.set_zero_linger().ok();
        }
    }

    async fn pump(
        &self,
        way: Way,
        tie: &Tie,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; 16 * 1024];
        let mut lost = false;
        loop {
            let read = from.read(&mut buffer).await.map_err(|_| Broken)?;
            let weather = self.weather.borrow().clone();
            lost |= weather.silent[way as usize];
            if read == 0 {
                if lost {
                    // The end of a silent line is not heard at the other end either.
                    return std::future::pending().await;
                }
                return to.shutdown().await.map_err(|_| Broken);
            }
            if lost {
                continue;
            }
            sleep(weather.delay).await;
            let passing = self.passing(way, tie, &buffer[..read]);
            // In small pieces, so that a slow line is slow all the time.
            let step = if weather.rate > 0 { (weather.rate / 20).max(1) } else { read };
            for piece in buffer[..passing].chunks(step) {
                to.write_all(piece).await.map_err(|_| Broken)?;
                if weather.rate > 0 {
                    sleep(Duration::from_secs_f64(piece.len() as f64 / weather.rate as f64)).await;
                }
            }
            if passing < read {
                to.flush().await.ok();
                // What passed shall arrive before the reset, which overtakes what waits.
                sleep(Duration::from_millis(5)).await;
                self.cuts.send_modify(|cuts| *cuts += 1);
                return Err(Broken);
            }
        }
    }

    /// How many bytes of a piece may pass before the connection is cut.
    fn passing(&self, way: Way, tie: &Tie, piece: &[u8]) -> usize {
        let mut waiting = self.cut.lock().unwrap();
        let mut own = tie.cut.lock().unwrap();
        let is_text = |cut: &Cut| {
            cut.behind.as_ref().is_some_and(|text| piece.windows(text.len()).any(|at| at == text))
        };
        if way == Way::Up && waiting.as_ref().is_some_and(is_text) {
            *own = waiting.take();
            return piece.len();
        }
        let counted = own.as_mut().filter(|cut| cut.way == way);
        if let Some(cut) = counted {
            return count(cut, piece.len());
        }
        let counted = waiting.as_mut().filter(|cut| cut.way == way && cut.behind.is_none());
        let Some(cut) = counted else { return piece.len() };
        let passing = count(cut, piece.len());
        if passing < piece.len() {
            *waiting = None;
        }
        passing
    }
}

fn count(cut: &mut Cut, bytes: usize) -> usize {
    let passing = bytes.min(cut.after);
    cut.after -= passing;
    passing
}
