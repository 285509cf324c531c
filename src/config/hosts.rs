//! Addresses that list several servers of one kind: `amqp://user:password@one:5672,two:5672/vhost`.
//! User, password, path and parameters are those of all.

/// One address for each host of an address, in their order. What lists one host, or is no address,
/// comes back as it is.
pub fn each_host(address: &str) -> Vec<String> {
    let Some(parts) = Parts::of(address) else { return vec![address.to_owned()] };
    let alone = |host: &str| format!("{}{host}{}", parts.before, parts.after);
    parts.hosts.split(',').map(alone).collect()
}

/// How many hosts an address lists.
pub(super) fn host_count(address: &str) -> usize {
    Parts::of(address).map_or(1, |parts| parts.hosts.split(',').count())
}

/// `one`, an address of one host that is fit to be shown, with all the hosts of `address`.
pub(super) fn with_hosts_of(address: &str, one: &str) -> String {
    match (Parts::of(one), Parts::of(address)) {
        (Some(shown), Some(all)) if all.hosts.contains(',') => {
            format!("{}{}{}", shown.before, all.hosts, shown.after)
        }
        _ => one.to_owned(),
    }
}

struct Parts<'a> {
    /// Scheme, user and password.
    before: &'a str,
    hosts: &'a str,
    after: &'a str,
}

impl<'a> Parts<'a> {
    fn of(address: &'a str) -> Option<Self> {
        let authority = address.find("://")? + 3;
        let rest = &address[authority..];
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let hosts = rest[..end].rfind('@').map_or(0, |at| at + 1);
        Some(Self {
            before: &address[..authority + hosts],
            hosts: &rest[hosts..end],
            after: &rest[end..],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_what_stands_around_the_list() {
        let three = "amqp://shop:p%40w@one:5672,two:5673,[::1]:5674/%2f?heartbeat=5";
        let expected = [
            "amqp://shop:p%40w@one:5672/%2f?heartbeat=5",
            "amqp://shop:p%40w@two:5673/%2f?heartbeat=5",
            "amqp://shop:p%40w@[::1]:5674/%2f?heartbeat=5",
        ];
        assert_eq!(each_host(three), expected);
        assert_eq!(host_count(three), 3);
        let shown = with_hosts_of(three, "amqp://one:***@one:5672/%2f?***");
        assert_eq!(shown, "amqp://one:***@one:5672,two:5673,[::1]:5674/%2f?***");
    }

    #[test]
    fn one_host_and_no_address_stay_as_they_are() {
        for address in ["redis://cache:6379", "redis://", "cache", "amqp://a:b@mq/x,y?z=1,2"] {
            assert_eq!(each_host(address), [address]);
        }
        assert_eq!(host_count("amqp://a:b@mq/x,y"), 1);
        assert_eq!(with_hosts_of("redis://cache", "redis://cache/0"), "redis://cache/0");
    }
}
