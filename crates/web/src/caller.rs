//! Finds out who calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use application::caller::Caller;

use crate::api_keys::Shown;
use crate::server::Settings;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// And whether a key was shown.
pub(crate) fn caller(request: &ServiceRequest, settings: &Settings) -> (Caller, Shown) {
    let shown = settings.protection.api_keys.shown(request.headers());
    if let Shown::Known(name) = &shown {
        return (Caller::ApiKey(name.clone()), shown);
    }
    // Only a request that came over no socket has no peer.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let address = behind_proxies(peer, request.headers(), settings.trusted_proxies);
    (Caller::Address(address.to_canonical()), shown)
}

/// Every proxy adds to the header the address that called it, so only the last entries are vouched for:
/// one by each proxy that is trusted. What stands before them is whatever the client made up.
fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: usize) -> IpAddr {
    let lines: Vec<&str> =
        headers.get_all(X_FORWARDED_FOR).filter_map(|line| HeaderValue::to_str(line).ok()).collect();
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
    entries.take(trusted).map_while(|entry| address(entry.trim())).last().unwrap_or(peer)
}

/// Some proxies write the port as well.
fn address(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller_of(lines: &[&str], trusted: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        behind_proxies([10, 0, 0, 1].into(), &headers, trusted).to_string()
    }

    #[test]
    fn without_a_trusted_proxy_the_header_is_never_believed() {
        assert_eq!(caller_of(&["192.0.2.7"], 0), "10.0.0.1");
    }

    #[test]
    fn each_trusted_proxy_vouches_for_one_entry_from_the_end() {
        let forged = ["198.51.100.9, 192.0.2.7", "10.0.0.2"];

        assert_eq!(caller_of(&forged, 1), "10.0.0.2");
        assert_eq!(caller_of(&forged, 2), "192.0.2.7");
        assert_eq!(caller_of(&forged[1..], 2), "10.0.0.2");
        assert_eq!(caller_of(&[], 1), "10.0.0.1");
    }

    #[test]
    fn an_entry_may_have_a_port_and_one_that_is_no_address_ends_the_trust() {
        assert_eq!(caller_of(&["192.0.2.7:4711"], 1), "192.0.2.7");
        assert_eq!(caller_of(&["[2001:db8::7]:4711"], 1), "2001:db8::7");
        assert_eq!(caller_of(&["2001:db8::7"], 1), "2001:db8::7");
        for nonsense in ["unknown", "_hidden", "", "192.0.2.7, ", "192.0.2.7 192.0.2.8"] {
            assert_eq!(caller_of(&[nonsense], 1), "10.0.0.1", "{nonsense:?}");
        }
        assert_eq!(caller_of(&["unknown, 10.0.0.2"], 2), "10.0.0.2");
    }
}
