//! Which address of a pool a key has: rendezvous hashing (highest random weight) over XXH64. What is hashed is written down
//! byte by byte in docs/egress.md, for gateways of a fleet give the same answers without having heard of each other, and so
//! does whatever else computes them. Nothing here may change: each key would have another address.

use std::hash::Hasher;
use std::net::IpAddr;

use ipnet::IpNet;
use twox_hash::XxHash64;

/// What each hash begins with.
mod seed {
    pub(super) const KEY: u64 = 0;
    pub(super) const SHIFT: u64 = 1;
    pub(super) const EPOCH: u64 = 2;
    pub(super) const HOST: [u64; 2] = [3, 4];
}

/// What a score is made with: 2^64 divided by the golden ratio, made odd, as Fibonacci hashing has it.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a key whose parts are written one after the other. A part that a session lacks is left out.
pub(in crate::policy) struct KeyHash {
    hash: XxHash64,
    parts: usize,
}

impl KeyHash {
    pub(in crate::policy) fn new() -> KeyHash {
        KeyHash { hash: XxHash64::with_seed(seed::KEY), parts: 0 }
    }

    /// Adds a part: its kind, its length in two octets, and itself.
    pub(in crate::policy) fn add(&mut self, kind: u8, part: &[u8]) {
        let length = part.len().min(usize::from(u16::MAX));
        self.hash.write(&[kind, (length >> 8) as u8, length as u8]);
        self.hash.write(&part[..length]);
        self.parts += 1;
    }

    /// The key, which had so many parts.
    pub(in crate::policy) fn finish(&self) -> (u64, usize) {
        (self.hash.finish(), self.parts)
    }
}

/// In which epoch a key is whose address is another after `ttl` seconds each. Epochs of keys begin at different moments: else
/// all would move at once.
pub(super) fn epoch(key: u64, unix_seconds: u64, ttl: u64) -> u64 {
    let shift = XxHash64::oneshot(seed::SHIFT, &key.to_be_bytes()) % ttl;
    (unix_seconds + shift) / ttl
}

/// The key that stands for another in an epoch.
pub(super) fn in_epoch(key: u64, epoch: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    bytes[8..].copy_from_slice(&epoch.to_be_bytes());
    XxHash64::oneshot(seed::EPOCH, &bytes)
}

/// The hash of an entry of a pool: its address, or its first one, and its length as a block.
pub(super) fn entry(net: &IpNet) -> u64 {
    let mut hash = XxHash64::with_seed(seed::KEY);
    match net.network() {
        IpAddr::V4(v4) => hash.write(&v4.octets()),
        IpAddr::V6(v6) => hash.write(&v6.octets()),
    }
    hash.write(&[net.prefix_len()]);
    hash.finish()
}

/// How much a key is for an entry. The one that it is most for is its first, and so on.
#[inline]
pub(super) fn score(entry: u64, key: u64) -> u64 {
    (entry ^ key).wrapping_mul(GOLDEN)
}

/// The address of a block that a key has at the `round`-th time that it comes to the block. The first of a block is no host's
/// (RFC 4291 section 2.6.1 and, of IPv4, RFC 919 section 7), nor is the last of an IPv4 block.
pub(super) fn host(net: &IpNet, entry: u64, key: u64, round: u8) -> IpAddr {
    let mut bytes = [0; 17];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    bytes[8..16].copy_from_slice(&entry.to_be_bytes());
    bytes[16] = round;
    let [high, low] = seed::HOST.map(|seed| XxHash64::oneshot(seed, &bytes));
    let random = (u128::from(high) << 64) | u128::from(low);
    let free = u32::from(net.max_prefix_len() - net.prefix_len());
    let host = random.checked_shr(128 - free).unwrap_or(0);
    let host = if is_host(net, host) { host } else { 1 };
    at(net, host)
}

/// Whether the address at this place of a block may be a host's.
pub(super) fn is_host(net: &IpNet, place: u128) -> bool {
    let free = u32::from(net.max_prefix_len() - net.prefix_len());
    let last = (1_u128 << (free % 128)) - 1;
    match net {
        _ if free < 2 => true,
        IpNet::V4(_) => place != 0 && place != last,
        IpNet::V6(_) => place != 0,
    }
}

/// The address at this place of a block.
pub(super) fn at(net: &IpNet, place: u128) -> IpAddr {
    match net {
        IpNet::V4(net) => IpAddr::V4((u32::from(net.network()) | place as u32).into()),
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()) | place).into()),
    }
}
