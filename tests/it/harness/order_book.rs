//! The order service's book, over HTTP: answers with the orders that it was told of, page by page, or
//! as badly as it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Orders of one page.
const PAGE: usize = 3;

/// What everybody has to show.
pub const TOKEN: &str = "it-order-token";

#[derive(Default)]
struct Book {
    orders: BTreeMap<String, Vec<Value>>,
    /// Instead of a page: this status, with this body.
    manner: Option<(u16, String)>,
    /// Of whom it was asked, in order; once for each page.
    asked: Vec<String>,
}

/// The book; see the module.
pub struct OrderBook {
    port: u16,
    book: Arc<Mutex<Book>>,
    task: Option<JoinHandle<()>>,
}

impl OrderBook {
    pub async fn start() -> Self {
        let mut service = Self { port: 0, book: Arc::default(), task: None };
        service.up().await;
        service
    }

    /// The settings of a shop that asks it.
    pub fn settings(&self) -> Vec<(String, String)> {
        [
            ("ORDERS__SERVICE__URL", format!("http://127.0.0.1:{}/v2", self.port)),
            ("ORDERS__SERVICE__TOKEN", TOKEN.to_owned()),
            ("ORDERS__SERVICE__TIMEOUT_MS", "5000".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    /// Knows an order of whom the fact names.
    pub fn put(&self, fact: &Value) {
        let customer = fact["customer_id"].as_str().expect("a fact names a customer");
        self.put_for(customer, fact.clone());
    }

    /// Answers with something when asked for a customer.
    pub fn put_for(&self, customer: &str, item: Value) {
        let mut book = self.book.lock().unwrap();
        book.orders.entry(customer.to_owned()).or_default().push(item);
    }

    /// Answers with this status and body from now on; `None`: as it should.
    pub fn answer(&self, manner: Option<(u16, &str)>) {
        self.book.lock().unwrap().manner = manner.map(|(status, body)| (status, body.to_owned()));
    }

    /// Of whom it was asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.book.lock().unwrap().asked.clone()
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
        let book = self.book.clone();
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, book.clone()));
            }
        }));
    }
}

impl Drop for OrderBook {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// One request of one connection.
async fn serve(mut stream: TcpStream, book: Arc<Mutex<Book>>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            break head.to_owned();
        }
    };
    let (status, body) = answer(&head, &mut book.lock().unwrap());
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(head: &str, book: &mut Book) -> (u16, String) {
    let line = head.lines().next().unwrap_or_default();
    let target = line.strip_prefix("GET /v2/customers/").and_then(|rest| rest.split(' ').next());
    let (path, query) = target.map_or(("", ""), |t| t.split_once('?').unwrap_or((t, "")));
    let Some(customer) = path.strip_suffix("/orders") else { return (404, String::new()) };
    if !head.contains(&format!("Bearer {TOKEN}")) {
        return (401, String::new());
    }
    book.asked.push(customer.to_owned());
    if let Some(manner) = &book.manner {
        return manner.clone();
    }
    let from = query.strip_prefix("cursor=at-").map_or(0, |at| at.parse().unwrap());
    let orders = book.orders.get(customer).map_or(&[][..], Vec::as_slice);
    let items: Vec<&Value> = orders.iter().skip(from).take(PAGE).collect();
    let next = (from + PAGE < orders.len()).then(|| format!("at-{}", from + PAGE));
    (200, json!({ "items": items, "next_cursor": next, "served_by": "test" }).to_string())
}
