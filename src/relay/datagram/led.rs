//! Datagrams that go through a parent: each has the header of RFC 1928 section 7 in front on both sides of this server. What the
//! header says is judged here, and the parent's word is taken for where an answer comes from. Fragments end here.

use std::net::SocketAddr;
use std::ops::Range;

use super::association::{Association, Family, Pumped, judge_answer};
use super::drops::Drop;
use super::kit::DatagramKit;
use super::led_by::LedDatagrams;
use super::outbox::{Head, Outbox, Sent};
use super::sealed::seal_one;
use super::terms::Terms;
use super::up::Upward;
use crate::limits;
use crate::policy::accounts::LimitedWay;
use crate::proto::address::Host;
use crate::proto::udp::{self, DatagramDestination, Header};

/// An answer that came through a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LedAnswer {
    /// From where, as the parent says; `None`: from a name.
    from: Option<SocketAddr>,
    /// Where its payload begins.
    header: usize,
}

impl Association {
    /// Has its datagrams go through this parent.
    pub fn lead_through(&mut self, led: LedDatagrams) {
        if led.relay.is_some() {
            // All that is sent is for the parent: which target it is for the tally would not know.
            self.tally = None;
        }
        self.led = Some(Box::new(led));
    }

    /// Where the parent takes datagrams, where one leads on.
    pub(super) fn relay(&self) -> Option<SocketAddr> {
        self.led.as_ref()?.relay
    }

    /// The header that what is for this target has in front: none, unless a parent is to read it.
    pub(super) fn head_for(&self, to: SocketAddr, outbox: &mut Outbox) -> Head {
        self.relay().map_or_else(Head::default, |_| outbox.head(to))
    }

    /// The same in front of a payload that does not lie in the arena; `None` where there is none.
    pub(super) fn headed(&self, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
        self.relay()?;
        let mut header = [0; limits::UDP_HEADER_MAX];
        let len = udp::encode(to, &mut header);
        Some([&header[..len], payload].concat())
    }

    /// Sends on a datagram for a name that the parent resolves, as it came; whether it was one.
    pub(super) fn tell_name(&mut self, header: &Header<'_>, at: &Range<usize>, up: &mut Upward<'_>) -> bool {
        let Some(relay) = self.led.as_ref().filter(|led| led.by_name).and_then(|led| led.relay) else {
            return false;
        };
        let DatagramDestination::Name(typed) = header.destination else { return false };
        // An address in another spelling is judged as one.
        let Ok(Host::Name(name)) = Host::parse(typed) else { return false };
        let (said, decision) = up.terms.judge_told(&name, header.port, &self.outward);
        if up.terms.policy.rules().is_some() {
            up.decisions.push(decision);
        }
        if let Err(drop) = said {
            up.drop(drop, 1);
            return true;
        }
        let payload = at.len() - header.len;
        if self.open_towards(relay, up) && up.terms.within_limits(LimitedWay::Up, payload) {
            let outbox = &mut up.up[Family::of(relay.ip()) as usize];
            outbox.push_counted(Some(relay), Head::default(), at.clone(), payload, self.joining_up);
        }
        true
    }

    /// Moves what came of the parent, one turn's share at most.
    pub(super) fn pump_led(
        &mut self,
        relay: SocketAddr,
        kit: &mut DatagramKit,
        terms: &Terms<'_>,
        pumped: &mut Pumped,
    ) {
        let family = Family::of(relay.ip()) as usize;
        let mut taken = 0;
        while taken < limits::UDP_TURN_DATAGRAMS {
            let Some(bound) = self.targets[family].as_mut().filter(|bound| bound.readable) else { return };
            let Some(count) = bound.receive(&mut kit.inbox, &mut taken) else { continue };
            bound.readable = count == kit.inbox.rooms();
            kit.translated.clear();
            let mut datagrams = 0;
            for room in 0..count {
                let filled = kit.inbox.filled(room);
                let stranger = filled.from != Some(relay);
                for at in filled.datagrams() {
                    datagrams += 1;
                    let passed = if stranger { Err(Drop::Stranger) } else { self.pass(at, kit, terms) };
                    if let Err(drop) = passed {
                        pumped.drops.add(drop, 1);
                    }
                }
            }
            let DatagramKit { inbox, sender, down, translated, .. } = &mut *kit;
            let mut sent = Sent { flow: &mut pumped.down, drops: &mut pumped.drops, tally: None };
            let arena = if self.seal.is_some() { &translated[..] } else { inbox.memory() };
            down.flush(&self.front.socket, arena, sender, &mut self.joining_down, &mut sent);
            taken += limits::UDP_BATCH.max(datagrams);
        }
        pumped.again |= self.targets[family].as_ref().is_some_and(|bound| bound.readable);
    }

    /// Puts one answer among those that leave for the client, as it came.
    fn pass(&mut self, at: Range<usize>, kit: &mut DatagramKit, terms: &Terms<'_>) -> Result<(), Drop> {
        let DatagramKit { inbox, down, translated, decisions, .. } = kit;
        let answer = read_answer(&inbox.memory()[at.clone()])?;
        let by_name = self.led.as_ref().is_some_and(|led| led.by_name);
        match answer.from {
            // Where names are the parent's it alone knows who may answer.
            Some(from) if !by_name => self.peers.may_answer(from.ip(), terms.filtering, self.client)?,
            _ if self.client.is_none() => return Err(Drop::NoClient),
            _ => {}
        }
        if let Some(from) = answer.from {
            judge_answer(from, &mut self.verdicts, self.names.as_deref(), terms, (decisions, None))?;
        }
        let payload = at.start + answer.header..at.end;
        if !terms.within_limits(LimitedWay::Down, payload.len()) {
            return Ok(());
        }
        let count = payload.len();
        let at = match (&mut self.seal, answer.from) {
            (None, _) => at,
            (Some(seal), Some(from)) => seal_one(seal, from, &inbox.memory()[payload], translated)?,
            (Some(_), None) => return Err(Drop::Header),
        };
        down.push_counted(None, Head::default(), at, count, self.joining_down);
        Ok(())
    }
}

/// Takes apart what came of a parent.
///
/// # Errors
/// It is no datagram of an association, or a piece of one.
fn read_answer(datagram: &[u8]) -> Result<LedAnswer, Drop> {
    let header = udp::decode(datagram).map_err(|_| Drop::Header)?;
    if header.frag != 0 {
        return Err(Drop::Fragment);
    }
    let from = match header.destination {
        DatagramDestination::Ip(ip) => Some(SocketAddr::new(ip.to_canonical(), header.port)),
        DatagramDestination::Name(_) => None,
    };
    Ok(LedAnswer { from, header: header.len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_by_the_parents_header() {
        let whole = b"\0\0\0\x01\xc0\x00\x02\x01\x00\x35data";
        let from = Some("192.0.2.1:53".parse().unwrap());
        assert_eq!(read_answer(whole), Ok(LedAnswer { from, header: 10 }));
        assert_eq!(read_answer(b"\0\0\0\x03\x01a\x00\x35x"), Ok(LedAnswer { from: None, header: 8 }));
        assert_eq!(read_answer(b"\0\0\x01\x01\xc0\x00\x02\x01\x00\x35x"), Err(Drop::Fragment));
        for broken in [&whole[..9], b"", b"\0\x01\0\x01\xc0\x00\x02\x01\x00\x35"] {
            assert_eq!(read_answer(broken), Err(Drop::Header));
        }
    }
}
