//! `customer-service health`: asks the service of this configuration, on this machine, whether it takes
//! requests. For an image, which has neither shell nor curl to ask with.

use crate::Failure;
use anyhow::Context as _;
use customer_service::config::Config;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// For each of connecting, asking and every piece of the answer; readiness takes a second for its own.
const PATIENCE: Duration = Duration::from_secs(3);

/// The answer is some hundred bytes; whoever says more is somebody else.
const ANSWER_BYTES_MAX: u64 = 65_536;

/// What the service must be told and this question need not know.
const NOT_NEEDED: [&str; 2] = ["database.url", "secrets.root_key"];

/// Asks, and prints what was answered. Exit code 0: requests are taken; 1: they are not, or nobody answers.
pub fn run(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    let config = Config::load_without(&NOT_NEEDED, path, environment);
    let http = config.map_err(Failure::NotConfigured)?.http;
    let address = from_here(http.ops_bind.unwrap_or(http.bind));
    let answer = ask(address).with_context(|| format!("nobody answers at {address}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    println!("{body}");
    let takes_requests = head.split(' ').nth(1) == Some("200");
    Ok(if takes_requests { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a service that listens at `bind` is met on its own machine.
pub fn from_here(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
