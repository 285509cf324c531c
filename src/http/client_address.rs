//! The address of the client: the peer's, unless the peer is one of our own proxies; then the
//! last hop of `X-Forwarded-For` that is not. What stands left of that hop is the client's own
//! claim and believed by nobody.

use std::{
    fmt,
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web::Data,
};
use ipnet::{IpNet, Ipv6Net};

use super::problem::Problem;

/// The networks whose `X-Forwarded-For` is believed. Put into the app's data.
#[derive(Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Walks from the peer towards the client, hop by hop, as long as the hops are ours.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer.to_canonical();
        let lines: Vec<_> = headers
            .get_all(header::X_FORWARDED_FOR)
            .map(|line| line.to_str().unwrap_or(""))
            .collect();
        let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        while self.trusts(nearest) {
            // what cannot be read ends the walk: the last address we know is then our own proxy
            match hops.next().and_then(parse_hop) {
                Some(hop) => nearest = hop,
                None => break,
            }
        }
        nearest
    }
}

/// An address with or without a port, as the proxies of this world write it.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// Where a request comes from. An extractor.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address of this request; `0.0.0.0` when the transport has none.
    pub fn of(request: &HttpRequest) -> ClientAddress {
        let peer = request.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
        ClientAddress(match request.app_data::<Data<TrustedProxies>>() {
            Some(proxies) => proxies.client(peer, request.headers()),
            None => peer.to_canonical(),
        })
    }

    /// The address itself; IPv4 in IPv6 is told as IPv4.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// What limits count: the address, or for IPv6 its /64, since a subscriber has at least that.
    pub fn limit_key(self) -> IpNet {
        match self.0 {
            IpAddr::V4(address) => IpNet::from(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let prefix = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64));
                IpNet::V6(Ipv6Net::new_assert(prefix, 64))
            }
        }
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // an address is personal data: it is kept where it is needed and printed nowhere
        f.write_str("ClientAddress(..)")
    }
}

impl FromRequest for ClientAddress {
    type Error = Problem;
    type Future = Ready<Result<ClientAddress, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(ClientAddress::of(request)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> TrustedProxies {
        let networks = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "fd00::/8"];
        TrustedProxies::new(networks.map(|network| network.parse().unwrap()).to_vec())
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let mut request = TestRequest::get()
            .peer_addr(SocketAddr::new(peer.parse().unwrap(), 1))
            .app_data(Data::new(proxies()));
        for line in forwarded {
            request = request.append_header((header::X_FORWARDED_FOR, *line));
        }
        ClientAddress::of(&request.to_http_request()).ip().to_string()
    }

    #[test]
    fn the_last_hop_that_is_not_ours() {
        for (peer, forwarded, expected) in [
            // no proxy: the header is the client's own claim
            ("203.0.113.9", &[][..], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            // one proxy
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("::1", &["2001:db8::7"], "2001:db8::7"),
            // several, also in several lines
            ("10.0.0.1", &["198.51.100.1, 10.0.0.3,10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1", "1.1.1.1 , 198.51.100.2"], "198.51.100.2"),
            // all ours: the farthest
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // ports and brackets
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            // IPv4 in IPv6, on either side
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
            // garbage ends the walk at the last address that we know
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &[","], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, garbage"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["garbage, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["300.1.1.1"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:99999"], "10.0.0.1"),
            ("10.0.0.1", &["fe80::1%eth0"], "10.0.0.1"),
            ("10.0.0.1", &["\"198.51.100.1\""], "10.0.0.1"),
            ("10.0.0.1", &["'; drop table customers"], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn without_proxies_or_transport() {
        let request = TestRequest::get()
            .insert_header((header::X_FORWARDED_FOR, "198.51.100.1"))
            .to_http_request();
        assert_eq!(ClientAddress::of(&request).ip().to_string(), "0.0.0.0");
    }

    #[test]
    fn limits_count_networks_of_one_subscriber() {
        let key = |text: &str| ClientAddress(text.parse().unwrap()).limit_key().to_string();
        assert_eq!(key("198.51.100.1"), "198.51.100.1/32");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:ffff::"), "2001:db8:1:2::/64");
        assert_ne!(key("2001:db8:1:2::"), key("2001:db8:1:3::"));
    }

    #[test]
    fn an_address_is_not_printed() {
        let address = ClientAddress("198.51.100.1".parse().unwrap());
        assert!(!format!("{address:?}").contains("198"));
    }

    proptest! {
        #[test]
        fn a_stranger_is_never_taken_for_another(header in "[0-9a-f:.,\\[\\] ]{0,40}") {
            prop_assert_eq!(client("203.0.113.9", &[&header]), "203.0.113.9");
            let _ = client("10.0.0.1", &[&header]);
        }
    }
}
