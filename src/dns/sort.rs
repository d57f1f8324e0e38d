//! The order in which a name's addresses are dialled (RFC 8305 section 4).
//!
//! Within a family the server's order stays: servers rotate addresses to spread load, and this side
//! knows nothing better. Policy and dialling history are not this module's business.

use std::net::IpAddr;

use super::Prefer;
use crate::limits::DNS_ADDRESSES;

/// Orders `addresses` as `prefer` says, without duplicates, without families that are not wanted, and
/// at most [`DNS_ADDRESSES`] of them. The rest of a family follows where the other one runs out.
pub fn sort(addresses: &[IpAddr], prefer: Prefer) -> Vec<IpAddr> {
    let mut v4 = distinct(addresses, |address| address.is_ipv4() && prefer.admits(*address));
    let mut v6 = distinct(addresses, |address| address.is_ipv6() && prefer.admits(*address));
    let mut sorted = match prefer {
        // RFC 8305 section 4: the families alternate, so that a broken one delays the other by one try.
        Prefer::HappyEyeballs => interleave(v6, v4),
        Prefer::Ipv4 | Prefer::Ipv4Only => {
            v4.append(&mut v6);
            v4
        }
        Prefer::Ipv6 | Prefer::Ipv6Only => {
            v6.append(&mut v4);
            v6
        }
    };
    sorted.truncate(DNS_ADDRESSES);
    sorted
}

/// The first [`DNS_ADDRESSES`] different addresses that `wanted` takes, in their order.
fn distinct(addresses: &[IpAddr], wanted: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    let mut kept: Vec<IpAddr> = Vec::new();
    for address in addresses.iter().filter(|address| wanted(address)) {
        if kept.len() == DNS_ADDRESSES {
            break;
        }
        if !kept.contains(address) {
            kept.push(*address);
        }
    }
    kept
}

fn interleave(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut merged = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return merged,
            (a, b) => merged.extend(a.into_iter().chain(b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate_from_ipv6() {
        let mixed = addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"]);
        assert_eq!(
            sort(&mixed, Prefer::HappyEyeballs),
            addresses(&["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"])
        );
    }

    #[test]
    fn a_preference_puts_one_family_first_or_alone() {
        let mixed = addresses(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
        assert_eq!(sort(&mixed, Prefer::Ipv4), addresses(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]));
        assert_eq!(sort(&mixed, Prefer::Ipv6), addresses(&["2001:db8::1", "192.0.2.1", "192.0.2.2"]));
        assert_eq!(sort(&mixed, Prefer::Ipv4Only), addresses(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(sort(&mixed, Prefer::Ipv6Only), addresses(&["2001:db8::1"]));
    }

    #[test]
    fn duplicates_go_and_the_list_is_bounded_with_both_families_in_it() {
        let mut many: Vec<IpAddr> = (0..200u8).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        many.extend(many.clone());
        many.extend(addresses(&["2001:db8::1", "2001:db8::1"]));
        let sorted = sort(&many, Prefer::HappyEyeballs);
        assert_eq!(sorted.len(), DNS_ADDRESSES);
        assert_eq!(sorted[..2], addresses(&["2001:db8::1", "192.0.2.0"])[..]);
        assert_eq!(sorted.iter().collect::<std::collections::HashSet<_>>().len(), DNS_ADDRESSES);
    }
}
