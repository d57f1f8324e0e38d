//! Which server of a parent a key has: rendezvous hashing over XXH64. What is hashed is written down in docs/parents.md, for
//! gateways of a fleet give the same answers without having heard of each other. Nothing here may change: each key would
//! have another server.

use std::hash::Hasher;
use std::net::IpAddr;

use twox_hash::XxHash64;

use super::spec::ParentServer;
use crate::policy::egress::key::KeyHash;

/// For whom a server is chosen, each of these with the kind that it has in the hash.
#[derive(Clone, Copy, Debug)]
pub(super) enum StickyPart<'a> {
    Session(&'a [u8]),
    User(&'a [u8]),
    Source(IpAddr),
}

/// The hash of these parts: of each its kind, its length in two octets, and itself.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = StickyPart<'a>>) -> u64 {
    let mut hash = KeyHash::new();
    for part in parts {
        match part {
            StickyPart::Session(session) => hash.add(0, session),
            StickyPart::User(user) => hash.add(1, user),
            StickyPart::Source(IpAddr::V4(ip)) => hash.add(2, &ip.octets()),
            StickyPart::Source(IpAddr::V6(ip)) => hash.add(2, &ip.octets()),
        }
    }
    hash.finish().0
}

/// What the hash knows a server by: of each of its proxies the URL without a login, and the name of the login, a NUL behind each.
pub(super) fn identity(server: &ParentServer) -> u64 {
    let mut hash = XxHash64::with_seed(0);
    for hop in &server.hops {
        hash.write(hop.to_string().as_bytes());
        hash.write(&[0]);
        hash.write(hop.user.as_deref().unwrap_or_default());
        hash.write(&[0]);
    }
    hash.finish()
}

/// How much a key is for a server: of as many tickets as its weight the best one counts. So a server gets its share, one that goes
/// gives its keys to the others, and no other key moves.
pub(super) fn score(identity: u64, weight: u32, key: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    bytes[8..].copy_from_slice(&identity.to_be_bytes());
    (0..u64::from(weight)).map(|ticket| XxHash64::oneshot(ticket, &bytes)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parents::ParentHop;
    use crate::proto::address::{Host, Target};
    use crate::proto::client::ClientProtocol;

    fn server(protocol: ClientProtocol, host: &str, port: u16, user: Option<&[u8]>) -> ParentServer {
        let target = Target { host: Host::parse(host.as_bytes()).unwrap(), port };
        let hop = ParentHop {
            protocol,
            names: true,
            target,
            user: user.map(Into::into),
            password: None,
            password_file: None,
        };
        ParentServer { hops: vec![hop], weight: 1, number: 0 }
    }

    /// Those of docs/parents.md, computed by another implementation.
    #[test]
    fn the_hash_is_the_one_that_is_written_down() {
        let (ann, session) = (StickyPart::User(b"ann"), StickyPart::Session(b"s1"));
        let source = StickyPart::Source(IpAddr::from([192, 0, 2, 1]));
        let keys = [key([ann]), key([source]), key([session, ann])];
        assert_eq!(keys, [0x6889_2252_0a1c_82d5, 0x1202_c238_e7b7_0cfa, 0x1db6_dbc0_b4e1_1783]);
        let socks = identity(&server(ClientProtocol::Socks5, "192.0.2.1", 1080, None));
        let http = identity(&server(ClientProtocol::Http, "proxy.example", 3128, Some(b"ann")));
        assert_eq!([socks, http], [0x066e_7ebb_15dd_0675, 0x3996_27c6_5817_6713]);
        for (key, weight, of_socks, of_http) in [
            (keys[0], 1, 0x14dd_5f2f_c3c5_dbf6, 0x98e6_f6f2_371e_de41),
            (keys[0], 3, 0xab19_c771_9c56_09d6, 0xd9f7_8638_255e_93d7),
            (keys[1], 1, 0x079b_4a33_17a6_7621, 0x32d9_9ddf_6d32_ccf5),
            (keys[1], 3, 0x1e0a_63d0_a6a3_333a, 0xfdbb_bc93_3872_1692),
        ] {
            assert_eq!((score(socks, weight, key), score(http, weight, key)), (of_socks, of_http));
        }
    }
}
