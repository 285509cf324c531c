//! The servers behind one address. It may list several, of which any may be away, frozen or only a
//! standby: each is tried for the connect timeout at most, beginning with the one that served last,
//! until one is found that does what is asked of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};

/// What an address lists, one by one.
pub(super) struct Hosts {
    each: Vec<Config>,
    /// Which is tried first.
    first: AtomicUsize,
    /// Whether the first one is another each time (`load_balance_hosts=random`).
    spread: bool,
}

impl Hosts {
    /// Those of a `postgres://` address; none when it cannot be read.
    pub fn of(url: &str) -> Self {
        let each = url.parse().map(|config| one_by_one(&config)).unwrap_or_default();
        let spread = each
            .iter()
            .any(|one: &Config| matches!(one.get_load_balance_hosts(), LoadBalanceHosts::Random));
        Self { each, first: AtomicUsize::new(0), spread }
    }

    /// All of them, in the order in which they are to be tried.
    pub fn in_order(&self) -> impl Iterator<Item = (usize, Config)> {
        let first = match self.spread {
            true => self.first.fetch_add(1, Ordering::Relaxed),
            false => self.first.load(Ordering::Relaxed),
        };
        let count = self.each.len().max(1);
        let order = (0..self.each.len()).map(move |number| (first % count + number) % count);
        order.filter_map(|index| self.each.get(index).map(|config| (index, config.clone())))
    }

    /// This one served: it is tried first from now on.
    pub fn served(&self, index: usize) {
        if !self.spread {
            self.first.store(index, Ordering::Relaxed);
        }
    }
}

/// One configuration for each host, like this one in everything else.
fn one_by_one(all: &Config) -> Vec<Config> {
    let (hosts, addresses) = (all.get_hosts(), all.get_hostaddrs());
    let one = |index: usize| {
        let mut one = alike(all);
        match hosts.get(index) {
            Some(Host::Tcp(name)) => drop(one.host(name.clone())),
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = all.get_ports().get(index).or_else(|| all.get_ports().first()) {
            one.port(*port);
        }
        one
    };
    (0..hosts.len().max(addresses.len())).map(one).collect()
}

/// Everything but the hosts, and what the service decides by itself (timeouts, name, options).
fn alike(all: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs())
        .load_balance_hosts(all.get_load_balance_hosts());
    one
}

/// Sockets and loopback carry no TLS unless the address asks for it (`sslmode=require`).
pub(super) fn is_local(config: &Config) -> bool {
    config.get_ssl_mode() == SslMode::Prefer
        && config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
            Host::Unix(_) => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(hosts: &Hosts) -> Vec<(Host, u16)> {
        let each = hosts.in_order();
        each.map(|(_, one)| (one.get_hosts()[0].clone(), one.get_ports()[0])).collect()
    }

    #[test]
    fn each_host_is_tried_with_its_own_port_and_the_last_that_served_first() {
        let hosts = Hosts::of("postgres://shop:pw@one:5433,two:5434/customers?sslmode=require");
        let (one, two) = ((Host::Tcp("one".into()), 5433), (Host::Tcp("two".into()), 5434));
        assert_eq!(tried(&hosts), [one.clone(), two.clone()]);
        hosts.served(1);
        assert_eq!(tried(&hosts), [two.clone(), one.clone()]);
        hosts.served(0);
        assert_eq!(tried(&hosts), [one, two]);
        for (_, config) in hosts.in_order() {
            assert_eq!(config.get_user(), Some("shop"));
            assert_eq!(config.get_password(), Some(b"pw".as_slice()));
            assert_eq!(config.get_dbname(), Some("customers"));
            assert_eq!(config.get_ssl_mode(), SslMode::Require);
            assert!(!is_local(&config));
        }
    }

    #[test]
    fn one_port_serves_all_hosts_and_a_socket_is_a_host() {
        let hosts = Hosts::of("postgres://one,two:6000,three/x");
        let ports: Vec<_> = tried(&hosts).into_iter().map(|(_, port)| port).collect();
        assert_eq!(ports, [5432, 6000, 5432]);
        let socket = Hosts::of("postgres://postgres@%2Frun%2Fpg:54329/x");
        let (_, config) = socket.in_order().next().expect("one");
        assert!(is_local(&config));
        assert_eq!(config.get_hosts(), [Host::Unix("/run/pg".into())]);
    }

    #[test]
    fn replicas_take_turns_when_the_address_says_so() {
        let hosts = Hosts::of("postgres://one,two/x?load_balance_hosts=random");
        let first = || tried(&hosts).swap_remove(0).0;
        let (one, two, again) = (first(), first(), first());
        assert_ne!(one, two);
        assert_eq!(one, again);
        hosts.served(1);
        assert_eq!(first(), two, "whoever serves is no favourite");
    }

    #[test]
    fn what_is_no_address_lists_nobody() {
        assert_eq!(Hosts::of("postgres://db:port/a").in_order().count(), 0);
    }
}
