//! What the kernel's routing tables say of this machine's addresses, read from /proc/net, for processes to which netlink
//! is closed. It tells of no change.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Errno, errno_of};
use crate::limits;

/// Flags of a route in /proc/net/ipv6_route by which it delivers here: RTF_LOCAL and RTF_ANYCAST.
const DELIVERS: u32 = 0x8000_0000 | 0x0010_0000;

/// The blocks that the routing tables deliver here, interface addresses among them.
///
/// # Errors
/// What keeps the files from being read; EOVERFLOW where they are larger than [`limits::NETLINK_DUMP_BYTES_MAX`].
pub fn local_addresses() -> Result<Vec<IpNet>, Errno> {
    let mut nets: Vec<IpNet> =
        trie(&read("/proc/thread-self/net/fib_trie").map_err(|error| errno_of(&error))?).collect();
    match read("/proc/thread-self/net/ipv6_route") {
        Ok(routes) => nets.extend(routes.lines().filter_map(route)),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(errno_of(&error)),
    }
    Ok(nets)
}

fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    let most = limits::NETLINK_DUMP_BYTES_MAX as u64;
    if File::open(path)?.take(most + 1).read_to_string(&mut text)? as u64 > most {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    Ok(text)
}

/// The leaves of the tries of IPv4: an address on a line, and below it each length with scope and kind.
fn trie(text: &str) -> impl Iterator<Item = IpNet> {
    let mut leaf = None;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim_end().parse::<Ipv4Addr>().ok();
            return None;
        }
        let mut words = line.strip_prefix('/')?.split_whitespace();
        let (length, _scope, kind) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        ["LOCAL", "ANYCAST"].contains(&kind).then(|| IpNet::new(IpAddr::V4(leaf?), length).ok()).flatten()
    })
}

/// One route of IPv6: destination and length, source and length, next hop, metric, two counts, flags, device; in hex.
fn route(line: &str) -> Option<IpNet> {
    let mut words = line.split_ascii_whitespace();
    let base = u128::from_str_radix(words.next()?, 16).ok()?;
    let length = u8::from_str_radix(words.next()?, 16).ok()?;
    let flags = u32::from_str_radix(words.nth(6)?, 16).ok()?;
    (flags & DELIVERS != 0).then(|| IpNet::new(Ipv6Addr::from_bits(base).into(), length).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_read_as_an_address_and_as_a_route() {
        let nets = local_addresses().unwrap();
        for wanted in ["127.0.0.1/32", "127.0.0.0/8"] {
            assert!(nets.contains(&wanted.parse().unwrap()), "{wanted}: {nets:?}");
        }
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        assert!(!nets.iter().any(|net| net.contains(&public)), "{nets:?}");
    }

    #[test]
    fn only_routes_that_deliver_are_taken() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nLocal:\n     |-- 203.0.114.0\n        /24 host LOCAL\n        /16 link BROADCAST\n     |-- what\n        /32 host LOCAL\n     |-- 192.0.2.9\n        /32 host LOCAL\n        /33 host LOCAL\n        /\n";
        let nets: Vec<String> = trie(text).map(|net| net.to_string()).collect();
        assert_eq!(nets, ["203.0.114.0/24", "192.0.2.9/32"]);
        let line = |flags: &str| {
            let (zeros, base) = ("0".repeat(32), "2600000a".to_owned() + &"0".repeat(24));
            route(&format!("{base} 40 {zeros} 00 {zeros} 00000400 00000001 00000000 {flags}       lo"))
        };
        assert_eq!(line("80200001"), Some("2600:a::/64".parse().unwrap()));
        assert_eq!(line("00100001"), Some("2600:a::/64".parse().unwrap()));
        assert_eq!(line("00000001"), None);
        assert_eq!(route(""), None);
        assert_eq!(route("zz 40"), None);
    }
}
