//! What must hold for passkeys: browsers refuse the rest silently, at a time when it is too late.

use url::{Host, Url};

use super::super::{Fault, PasskeyOrigin, PasskeysConfig};
use super::is_local;

/// Adds a fault for each rule that is broken; nothing is asked where passkeys are off.
pub(super) fn check(passkeys: &PasskeysConfig, faults: &mut Vec<Fault>) {
    let Some(rp_id) = &passkeys.rp_id else { return };
    if !is_domain(rp_id) {
        faults.push(Fault::new(
            "passkeys.rp_id",
            format!("is \"{rp_id}\", which is no domain in lower case"),
            "write the shop's domain alone, without scheme and port, like shop.example",
        ));
        // every origin would be said not to belong to it
        return;
    }
    if passkeys.rp_name.trim().is_empty() {
        faults.push(Fault::new(
            "passkeys.rp_name",
            "is empty, so that nobody could tell the shop's passkey from others",
            "write the shop's name",
        ));
    }
    // apps come beside a web origin, whose domain they borrow
    if !passkeys.origins.iter().any(PasskeyOrigin::is_web) {
        faults.push(Fault::new(
            "passkeys.origins",
            "lists no web origin, so that no browser could use a passkey",
            format!("list the front end's, like https://{rp_id}"),
        ));
    }
    for origin in passkeys.origins.iter().filter(|origin| origin.is_web()).map(PasskeyOrigin::url) {
        if !belongs(origin, rp_id) {
            faults.push(Fault::new(
                "passkeys.origins",
                format!("lists {origin}, whose host is neither passkeys.rp_id nor below it"),
                format!("browsers refuse it; choose origins under {rp_id}, or another rp_id"),
            ));
        } else if origin.scheme() != "https" && !is_local(origin) {
            faults.push(Fault::new(
                "passkeys.origins",
                format!("lists {origin}, which is not https"),
                "browsers refuse it; only localhost may do without",
            ));
        }
    }
}

fn is_domain(name: &str) -> bool {
    matches!(Host::parse(name), Ok(Host::Domain(domain)) if domain == name)
        && !name.starts_with('.')
        && !name.ends_with('.')
}

fn belongs(origin: &Url, rp_id: &str) -> bool {
    origin.domain().is_some_and(|host| {
        host == rp_id || host.strip_suffix(rp_id).is_some_and(|above| above.ends_with('.'))
    })
}
