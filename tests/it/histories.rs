//! The checkers of the fault suite, checked: histories made by hand that are linear and that are not,
//! and a line that does to bytes what it says.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::history::{Operation, Span, Summary, Violation, What, at, check};
use crate::harness::proxy::{Proxy, Way};

fn written(base: i64, value: &str) -> What {
    What::Written { base, version: base + 1, value: value.to_owned() }
}

fn read(version: i64, value: &str) -> What {
    What::Read { version, value: value.to_owned() }
}

fn maybe(base: i64, value: &str) -> What {
    What::Maybe { base, value: value.to_owned() }
}

/// One customer that began as version 1, "zero", and ended as this one.
fn judged(operations: &[(u64, u64, What)], last: (i64, &str)) -> Result<Summary, Vec<Violation>> {
    let origin = Instant::now();
    let operations: Vec<Operation> = operations
        .iter()
        .map(|(began, ended, what)| at(origin, "anna", *began, *ended, what.clone()))
        .collect();
    let span = Span { first: (1, "zero".to_owned()), last: (last.0, last.1.to_owned()) };
    check(&operations, &HashMap::from([("anna".to_owned(), span)]))
}

#[test]
fn a_linear_history_is_counted() {
    let operations = [
        (0, 10, read(1, "zero")),
        (5, 20, written(1, "a")),
        // Overlaps the write: both answers are right.
        (8, 15, read(1, "zero")),
        (9, 18, read(2, "a")),
        (21, 30, What::Refused { base: 1 }),
        (22, 40, maybe(2, "b")),
        (23, 41, maybe(2, "never")),
        (50, 60, read(3, "b")),
        (61, 70, written(3, "c")),
    ];
    let expected = Summary {
        customers: 1,
        operations: 9,
        written: 2,
        read: 4,
        refused: 1,
        maybe: 2,
        happened: 1,
    };
    assert_eq!(judged(&operations, (4, "c")), Ok(expected));
}

#[test]
fn a_maybe_that_is_carried_out_after_its_caller_gave_up_is_linear() {
    let operations =
        [(0, 5, maybe(1, "late")), (10, 20, read(1, "zero")), (30, 40, read(2, "late"))];
    assert!(judged(&operations, (2, "late")).is_ok());
}

#[test]
fn each_violation_is_found() {
    let anna = || "anna".to_owned();
    let overwritten = [(0, 10, written(1, "a")), (5, 15, written(1, "b"))];
    let same = Violation::SameVersion { customer: anna(), version: 2 };
    assert_eq!(judged(&overwritten, (2, "b")), Err(vec![same]));

    let blind = What::Written { base: 1, version: 3, value: "b".to_owned() };
    let operations = [(0, 10, written(1, "a")), (11, 15, blind)];
    let not_next = Violation::NotNext { customer: anna(), base: 1, version: 3 };
    assert_eq!(judged(&operations, (3, "b")), Err(vec![not_next]));

    let operations = [(0, 10, written(1, "a")), (11, 15, read(1, "zero"))];
    let back = Violation::BackInTime { customer: anna(), seen: 1, told_before: 2 };
    assert_eq!(judged(&operations, (2, "a")), Err(vec![back]));

    let operations = [(0, 10, read(2, "a")), (11, 15, written(1, "a"))];
    let back = Violation::BackInTime { customer: anna(), seen: 2, told_before: 2 };
    assert_eq!(judged(&operations, (2, "a")), Err(vec![back]), "seen before it was written");

    let operations = [(0, 10, written(1, "a")), (11, 15, read(2, "b"))];
    let wrong = Violation::WrongValue { customer: anna(), version: 2, value: "b".to_owned() };
    assert_eq!(judged(&operations, (2, "a")), Err(vec![wrong]));

    let operations = [(0, 10, read(2, "b")), (11, 15, maybe(1, "b"))];
    let unwritten = Violation::Unwritten { customer: anna(), version: 2 };
    assert_eq!(judged(&operations, (2, "b")), Err(vec![unwritten]), "before anybody had begun");

    let operations = [(0, 10, What::Refused { base: 1 }), (11, 15, written(1, "a"))];
    let refused = Violation::RefusedWithoutCause { customer: anna(), base: 1 };
    assert_eq!(judged(&operations, (2, "a")), Err(vec![refused]));

    let operations = [(0, 10, written(1, "a"))];
    let lost = Violation::Lost { customer: anna(), version: 2, last: 1 };
    assert_eq!(judged(&operations, (1, "zero")), Err(vec![lost]));
}

/// A server that says back what it hears, a line to it, and a connection through the line.
async fn echo() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    let proxy = Proxy::to(&url).await;
    let stream = connect(&proxy).await;
    (proxy, stream)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.url.trim_start_matches("tcp://")).await.unwrap()
}

/// What comes back of a text, until the connection ends or is silent for a moment.
async fn heard(stream: &mut TcpStream, text: &str) -> (String, bool) {
    stream.write_all(text.as_bytes()).await.ok();
    let (mut heard, mut buffer) = (Vec::new(), [0; 64]);
    loop {
        match timeout(Duration::from_millis(300), stream.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => heard.extend(&buffer[..read]),
            Ok(_) => return (String::from_utf8(heard).unwrap(), false),
            Err(_) => return (String::from_utf8(heard).unwrap(), true),
        }
    }
}

#[tokio::test]
async fn a_line_cuts_where_it_is_told() {
    let (proxy, mut stream) = echo().await;
    assert_eq!(heard(&mut stream, "hello").await, ("hello".to_owned(), true));
    proxy.cut_after(Way::Down, 3);
    assert_eq!(heard(&mut stream, "abcdef").await, ("abc".to_owned(), false));
    let mut stream = connect(&proxy).await;
    assert_eq!(heard(&mut stream, "abcdef").await, ("abcdef".to_owned(), true), "once");
    proxy.cut_behind("COMMIT", 0);
    let mut bystander = connect(&proxy).await;
    assert_eq!(heard(&mut bystander, "SELECT").await, ("SELECT".to_owned(), true));
    assert_eq!(heard(&mut stream, "COMMIT;").await, (String::new(), false));
    assert_eq!(proxy.cuts(), 2);
    proxy.cut_after(Way::Up, 2);
    assert!(proxy.no_cut() && !proxy.no_cut());
    assert_eq!(heard(&mut bystander, "go on").await, ("go on".to_owned(), true));
}

#[tokio::test]
async fn a_line_is_silent_refuses_and_is_mended() {
    let (proxy, mut stream) = echo().await;
    proxy.silence(Way::Down);
    assert_eq!(heard(&mut stream, "lost").await, (String::new(), true));
    proxy.mend();
    assert_eq!(heard(&mut stream, "more").await, (String::new(), true), "there is a gap");
    proxy.reset();
    assert_eq!(heard(&mut stream, "more").await, (String::new(), false));
    proxy.refuse();
    let mut stream = connect(&proxy).await;
    assert_eq!(heard(&mut stream, "anybody?").await, (String::new(), false));
    proxy.mend();
    let mut stream = connect(&proxy).await;
    assert_eq!(heard(&mut stream, "here").await, ("here".to_owned(), true));
    proxy.black_hole();
    let mut stream = connect(&proxy).await;
    assert_eq!(heard(&mut stream, "anybody?").await, (String::new(), true));
}

#[tokio::test]
async fn a_line_is_slow() {
    let (proxy, mut stream) = echo().await;
    proxy.delay(Duration::from_millis(100));
    let began = Instant::now();
    assert_eq!(heard(&mut stream, "late").await.0, "late");
    assert!(began.elapsed() >= Duration::from_millis(200), "both ways: {:?}", began.elapsed());
    proxy.mend();
    proxy.throttle(1_000);
    let (began, text) = (Instant::now(), "x".repeat(500));
    assert_eq!(heard(&mut stream, &text).await.0, text);
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
}
