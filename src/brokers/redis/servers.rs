//! One Redis, or the nodes of a Redis Cluster, behind one kind of connection.
//!
//! A connection to a cluster knows where which keys are, is told when they move, and replaces what it
//! loses by itself; a connection to one server is looked at before each use.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, Pipeline, RedisFuture, RedisResult, Value};

use crate::config::each_host;

/// How often a question is asked again within its deadline while a cluster changes hands.
const RETRIES: u32 = 3;

/// The longest rest between two of these, in milliseconds.
const RETRY_REST_MAX_MS: u64 = 20;

/// Where connections lead.
pub(super) enum Servers {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Servers {
    pub fn one(url: &str) -> RedisResult<Self> {
        Client::open(url).map(|client| Self::One(Box::new(client)))
    }

    /// The cluster of which `url` lists some nodes; the others are learnt from them. `timeout`: for
    /// one connection and one answer.
    pub fn cluster(url: &str, timeout: Duration) -> RedisResult<Self> {
        let client = ClusterClientBuilder::new(each_host(url))
            .connection_timeout(timeout)
            .response_timeout(timeout)
            .retries(RETRIES)
            .min_retry_wait(1)
            .max_retry_wait(RETRY_REST_MAX_MS)
            .build()?;
        Ok(Self::Cluster(Box::new(client)))
    }
}

impl bb8::ManageConnection for Servers {
    type Connection = Link;
    type Error = redis::RedisError;

    async fn connect(&self) -> RedisResult<Link> {
        match self {
            Self::One(client) => client.get_multiplexed_async_connection().await.map(Link::One),
            Self::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
        }
    }

    async fn is_valid(&self, link: &mut Link) -> RedisResult<()> {
        match link {
            Link::One(connection) => redis::cmd("PING").query_async(connection).await,
            // It would ask every master, and be refused by one that is away and not needed.
            Link::Cluster(_) => Ok(()),
        }
    }

    fn has_broken(&self, _: &mut Link) -> bool {
        false
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
