//! A little SMS gateway: takes requests over HTTP, keeps what they said, answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::eventually;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The request line and the headers, as sent.
    pub head: String,
    pub body: String,
}

impl Taken {
    /// A header's value.
    pub fn header(&self, name: &str) -> String {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }
}

/// How the gateway answers.
#[derive(Clone, Copy, Debug)]
struct Manner {
    status: u16,
    delay: Duration,
}

/// The gateway; see the module.
pub struct SmsGateway {
    port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    manner: Arc<Mutex<Manner>>,
    task: Option<JoinHandle<()>>,
}

impl SmsGateway {
    pub async fn start() -> Self {
        let manner = Manner { status: 200, delay: Duration::ZERO };
        let mut gateway = Self {
            port: 0,
            taken: Arc::default(),
            manner: Arc::new(Mutex::new(manner)),
            task: None,
        };
        gateway.up().await;
        gateway
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/messages", self.port)
    }

    /// Answers with this status from now on.
    pub fn answer(&self, status: u16) {
        self.manner.lock().unwrap().status = status;
    }

    /// Answers so much later from now on.
    pub fn delay(&self, delay: Duration) {
        self.manner.lock().unwrap().delay = delay;
    }

    /// What came so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits for the `count`-th request, counted from 1.
    pub async fn request(&self, count: usize) -> Taken {
        let what = format!("request {count} at the SMS gateway");
        eventually(&what, Duration::from_secs(60), async || self.taken().into_iter().nth(count - 1))
            .await
    }

    /// Takes no connections any more.
    pub async fn down(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Its listener is closed once it has ended.
            task.await.ok();
        }
    }

    /// Takes connections, on the port it had before.
    pub async fn up(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (taken, manner) = (self.taken.clone(), self.manner.clone());
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, taken.clone(), manner.clone()));
            }
        }));
    }
}

impl Drop for SmsGateway {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// One request of one connection.
async fn serve(
    mut stream: TcpStream,
    taken: Arc<Mutex<Vec<Taken>>>,
    manner: Arc<Mutex<Manner>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let request = Taken { head: head.to_owned(), body: String::new() };
            break (head.to_owned(), request.header("content-length").parse().unwrap_or(0));
        }
    };
    while bytes.len() < head.len() + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let body = String::from_utf8_lossy(&bytes[head.len() + 4..]).into_owned();
    taken.lock().unwrap().push(Taken { head, body });
    let Manner { status, delay } = *manner.lock().unwrap();
    tokio::time::sleep(delay).await;
    let answer = format!(
        "HTTP/1.1 {status} Told\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{{\"status\":\"ok\"}}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
