//! The service on clusters instead of single servers: a PostgreSQL primary with a standby, three nodes of
//! RabbitMQ, a Redis Cluster, PgBouncer in front of reads. All are started by the tests, on the
//! loopback, and broken by them. Run by `make clusters`, not by `make test`: it takes minutes.

#[path = "../it/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the integration tests, which use the rest"
)]
mod harness;

mod load;
mod pooler;
mod postgres;
mod rabbit;
mod redis;
mod replica;

/// The text of an address with several hosts, from addresses that differ in their hosts alone.
fn together(addresses: &[&str]) -> String {
    let host = |address: &str| {
        let url = url::Url::parse(address).unwrap();
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
    };
    let hosts: Vec<_> = addresses.iter().map(|address| host(address)).collect();
    addresses[0].replacen(&host(addresses[0]), &hosts.join(","), 1)
}

/// The same database at another server.
fn at(server: &str, database: &str) -> String {
    let (server, mut url) = (url::Url::parse(server).unwrap(), url::Url::parse(database).unwrap());
    url.set_host(server.host_str()).unwrap();
    url.set_port(server.port()).unwrap();
    url.into()
}

/// How another server is told of this one.
fn state(server: &harness::servers::PrivateServer) -> &str {
    server.state.to_str().unwrap()
}
