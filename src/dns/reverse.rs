//! Addresses as names that can be asked for their own names (RFC 1035 section 3.5, RFC 3596 section 2.5).

use std::fmt::Write as _;
use std::net::IpAddr;

/// The name that stands for an address in the DNS. It ends in a dot, so that it is no name that a client can ask for: the
/// addresses of such a name are another matter.
pub(super) fn reverse_name(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let mut name = String::with_capacity(4 * ip.octets().len() + "ip6.arpa.".len());
            for octet in ip.octets().iter().rev() {
                // Writing to a string cannot fail.
                let _ = write!(name, "{:x}.{:x}.", octet & 0x0f, octet >> 4);
            }
            name + "ip6.arpa."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_and_nibbles_in_reverse() {
        let name = |ip: &str| reverse_name(ip.parse().unwrap());
        assert_eq!(name("192.0.2.10"), "10.2.0.192.in-addr.arpa.");
        assert_eq!(name("::ffff:192.0.2.10"), "10.2.0.192.in-addr.arpa.");
        // RFC 3596 section 2.5 has this one.
        assert_eq!(
            name("4321:0:1:2:3:4:567:89ab"),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa."
        );
    }
}
