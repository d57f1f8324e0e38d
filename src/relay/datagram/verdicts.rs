//! What rules said of an association's targets, remembered for a while: a datagram costs less than a verdict.

use std::net::{IpAddr, SocketAddr};

use super::drops::Drop;
use super::names::NameTag;
use crate::limits;

/// What is remembered, by address. Where two addresses have one place the later has it.
#[derive(Debug)]
pub(super) struct Verdicts(Box<[Option<TargetVerdicts>; limits::UDP_VERDICTS]>);

/// What was said of an address.
#[derive(Clone, Copy, Debug)]
struct TargetVerdicts {
    address: (IpAddr, u16),
    /// The name under which the client sent there last.
    name: NameTag,
    /// By which policy.
    version: u64,
    up: Option<Result<(), Drop>>,
    down: Option<Result<(), Drop>>,
}

impl Default for Verdicts {
    fn default() -> Verdicts {
        Verdicts(Box::new([None; limits::UDP_VERDICTS]))
    }
}

impl Verdicts {
    /// What this policy said of datagrams to an address, asked for by this name.
    pub(super) fn up(&self, to: SocketAddr, name: NameTag, version: u64) -> Option<Result<(), Drop>> {
        self.of(to).filter(|judged| judged.version == version && judged.name == name)?.up
    }

    /// Remembers what a policy says of datagrams to an address. One that is denied under a name changes nothing for another
    /// under which they are allowed, and answered.
    pub(super) fn put_up(&mut self, to: SocketAddr, name: NameTag, version: u64, said: Result<(), Drop>) {
        let before = self.of(to).filter(|judged| judged.version == version);
        let answered = before.is_some_and(|judged| judged.name != name && judged.up == Some(Ok(())));
        if said.is_ok() || !answered {
            let down = before.filter(|judged| judged.name == name).and_then(|judged| judged.down);
            *self.place(to) = Some(TargetVerdicts { address: key(to), name, version, up: Some(said), down });
        }
    }

    /// What this policy said of datagrams from an address.
    pub(super) fn down(&self, from: SocketAddr, version: u64) -> Option<Result<(), Drop>> {
        self.of(from).filter(|judged| judged.version == version)?.down
    }

    /// Remembers what a policy says of datagrams from an address, to which the client sent by this name.
    pub(super) fn put_down(&mut self, from: SocketAddr, name: NameTag, version: u64, said: Result<(), Drop>) {
        let before = self.of(from).filter(|judged| judged.version == version && judged.name == name);
        let up = before.and_then(|judged| judged.up);
        *self.place(from) = Some(TargetVerdicts { address: key(from), name, version, up, down: Some(said) });
    }

    /// By which name the client sent to an address last, as far as that is remembered.
    pub(super) fn name_of(&self, address: SocketAddr) -> Option<NameTag> {
        self.of(address).map(|judged| judged.name)
    }

    fn of(&self, address: SocketAddr) -> Option<&TargetVerdicts> {
        self.0[place(address)].as_ref().filter(|judged| judged.address == key(address))
    }

    fn place(&mut self, address: SocketAddr) -> &mut Option<TargetVerdicts> {
        &mut self.0[place(address)]
    }
}

fn key(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// Where an address is remembered. Whoever finds others that meet there has more verdicts made for himself alone.
fn place(address: SocketAddr) -> usize {
    let (ip, port) = key(address);
    let bits = match ip {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
    };
    let mixed = (bits ^ u64::from(port) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as usize % limits::UDP_VERDICTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Option<Result<(), Drop>> = Some(Ok(()));
    const DENIED: Option<Result<(), Drop>> = Some(Err(Drop::Denied));

    #[test]
    fn a_verdict_is_remembered_for_its_way_its_name_and_its_policy() {
        let (to, name, other) = (SocketAddr::from(([192, 0, 2, 1], 53)), NameTag(1), NameTag(2));
        let mut verdicts = Verdicts::default();
        verdicts.put_up(to, name, 7, Ok(()));
        assert_eq!((verdicts.up(to, name, 7), verdicts.down(to, 7)), (OK, None));
        assert_eq!((verdicts.up(to, other, 7), verdicts.up(to, name, 8)), (None, None));
        verdicts.put_down(to, name, 7, Err(Drop::Denied));
        assert_eq!((verdicts.up(to, name, 7), verdicts.down(to, 7)), (OK, DENIED));
        let mapped = "[::ffff:192.0.2.1]:53".parse().unwrap();
        assert_eq!((verdicts.up(mapped, name, 7), verdicts.name_of(mapped)), (OK, Some(name)));
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 54));
        assert_eq!((verdicts.up(elsewhere, name, 7), verdicts.name_of(elsewhere)), (None, None));
    }

    /// A denied name would else shut up the answers of an allowed one that leads to the same address.
    #[test]
    fn a_denied_name_leaves_alone_what_is_allowed_under_another() {
        let (to, allowed, denied) = (SocketAddr::from(([192, 0, 2, 1], 53)), NameTag(1), NameTag(2));
        let mut verdicts = Verdicts::default();
        verdicts.put_up(to, allowed, 7, Ok(()));
        verdicts.put_up(to, denied, 7, Err(Drop::Denied));
        assert_eq!((verdicts.up(to, allowed, 7), verdicts.name_of(to)), (OK, Some(allowed)));
        verdicts.put_up(to, denied, 8, Err(Drop::Denied));
        assert_eq!((verdicts.up(to, denied, 8), verdicts.name_of(to)), (DENIED, Some(denied)));
        verdicts.put_up(to, allowed, 8, Ok(()));
        assert_eq!((verdicts.up(to, denied, 8), verdicts.up(to, allowed, 8)), (None, OK));
    }
}
