//! The way from the client to its targets.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::association::{Association, Bound, Family, Pumped};
use super::drops::Drop;
use super::fragments::Taken;
use super::kit::DatagramKit;
use super::names::{NameTag, Queued};
use super::outbox::{Outbox, Sent};
use super::outward::{AssociationPool, Outward};
use super::reachable::Reachable;
use super::tally::Flow;
use super::terms::Terms;
use crate::config::Prefer;
use crate::dns::Answer;
use crate::limits;
use crate::outbound::OutboundOptions;
use crate::policy::accounts;
use crate::policy::{Decision, Route};
use crate::proto::address::{Host, Name};
use crate::proto::udp::{self, DatagramDestination, Header};
use crate::sys::Write;
use crate::sys::machine::source_towards;
use crate::sys::mmsg::{Filled, Received, Sender};
use crate::sys::udp::{DatagramSocket, wildcard};

/// What the datagrams of one batch are handled with.
pub(super) struct Upward<'a> {
    pub(super) terms: &'a Terms<'a>,
    /// Where the datagrams lie.
    arena: &'a [u8],
    pub(super) up: &'a mut [Outbox; 2],
    sender: &'a mut Sender,
    asks: &'a mut Vec<(u8, Name)>,
    pub(super) decisions: &'a mut Vec<Decision>,
    pumped: &'a mut Pumped,
}

impl Upward<'_> {
    pub(super) fn drop(&mut self, drop: Drop, count: usize) {
        self.pumped.drops.add(drop, count);
    }
}

/// The address that datagrams for a name go to, or why they go nowhere.
type Located = Result<(IpAddr, NameTag), Drop>;

impl Association {
    pub(super) fn pump_up(&mut self, kit: &mut DatagramKit, terms: &Terms<'_>, pumped: &mut Pumped) {
        let mut taken = 0;
        while taken < limits::UDP_TURN_DATAGRAMS {
            if !self.front.readable {
                return;
            }
            let settled =
                self.client.is_some() && self.connected_ms + limits::UDP_STRANGERS_MS <= terms.now_ms;
            let count = match kit.inbox.receive(&self.front.socket, !self.alone) {
                Received::Rooms(count) => count,
                Received::Blocked => {
                    self.front.readable = false;
                    self.alone |= settled;
                    return;
                }
                // The error of an earlier send (ICMP). It is told once; what is queued comes next.
                Received::Failed(_) => {
                    taken += limits::UDP_BATCH;
                    continue;
                }
            };
            let DatagramKit { inbox, sender, up, asks, translated, decisions, .. } = kit;
            let mut datagrams = 0;
            let mut way = if self.seal.is_some() {
                let (opened, seen) = self.open_batch(inbox, count, translated, terms, &mut pumped.drops);
                let mut way = Upward { terms, arena: translated, up, sender, asks, decisions, pumped };
                for (filled, datagram) in opened {
                    self.take(&filled, datagram, &mut way);
                }
                datagrams = seen;
                way
            } else {
                let mut way = Upward { terms, arena: inbox.memory(), up, sender, asks, decisions, pumped };
                for filled in (0..count).map(|at| inbox.filled(at)) {
                    for datagram in filled.datagrams() {
                        self.take(&filled, datagram, &mut way);
                        datagrams += 1;
                    }
                }
                way
            };
            Family::ALL.into_iter().for_each(|family| self.flush_up(family, &mut way));
            // Only `Blocked` proves that no stranger is left: an error, too, ends a batch before its time.
            self.front.readable = count == inbox.rooms() || (settled && !self.alone);
            taken += limits::UDP_BATCH.max(datagrams);
            // Names that are at hand spare the next batch the wait.
            if !way.asks.is_empty() {
                break;
            }
        }
        pumped.again |= self.front.readable;
    }

    /// The answer to a lookup: what waited for it goes on its way.
    pub fn resolved(
        &mut self,
        lookup: u8,
        answer: Answer,
        kit: &mut DatagramKit,
        terms: &Terms<'_>,
    ) -> Pumped {
        let mut pumped = Pumped::default();
        let Some((typed, waiting)) = self.names.as_mut().and_then(|names| names.answered(lookup)) else {
            return pumped;
        };
        self.release();
        let Ok(addresses) = answer else {
            pumped.drops.add(Drop::Name, waiting.len());
            return pumped;
        };
        let own = Family::of(self.expected.ip);
        let DatagramKit { inbox, sender, up, asks, decisions, .. } = kit;
        let mut way =
            Upward { terms, arena: inbox.memory(), up, sender, asks, decisions, pumped: &mut pumped };
        // What is refused is so for its port: another datagram may find an address where this one does not.
        let mut found: Option<(u16, Located)> = None;
        let name = match Host::parse(&typed) {
            Ok(Host::Name(name)) => Some(name),
            Ok(Host::Ip(_)) | Err(_) => None,
        };
        let mut reachable = Reachable::by(self.outward, self.pool.as_deref().map(|pool| pool.pool().clone()));
        reachable.anywhere = self.relay().is_some();
        for datagram in waiting {
            let ip = match found {
                Some((_, Ok(known))) => Ok(known),
                Some((port, Err(drop))) if port == datagram.port => Err(drop),
                _ => {
                    let asked = Sought { addresses: &addresses, name: name.as_ref(), port: datagram.port };
                    let ip = usable(&asked, own, &mut way, &mut reachable).map(|ip| {
                        let tag = self.learn(&typed, name.as_ref(), ip);
                        (ip, tag)
                    });
                    found = Some((datagram.port, ip));
                    ip
                }
            };
            match ip {
                Ok((ip, tag)) => {
                    let to = SocketAddr::new(ip, datagram.port);
                    self.send_owned(to, tag, &datagram.payload, &mut way);
                }
                Err(drop) => way.drop(drop, 1),
            }
        }
        self.up.add(pumped.up);
        pumped
    }

    /// Judges one datagram of the client-facing socket and puts it among those that leave.
    fn take(&mut self, filled: &Filled, at: Range<usize>, way: &mut Upward<'_>) {
        let Some(from) = self.sender(filled, way.terms) else { return way.drop(Drop::Stranger, 1) };
        let datagram = &way.arena[at.clone()];
        let header = match udp::decode(datagram) {
            Ok(header) if !filled.truncated => header,
            _ => return way.drop(Drop::Header, 1),
        };
        if self.client.is_none() && !self.pin(from, way.terms) {
            return way.drop(Drop::Unreachable, 1);
        }
        if header.frag != 0 {
            return self.fragment(&header, datagram, way);
        }
        self.abandon_fragments(way);
        if self.led.is_some() && self.tell_name(&header, &at, way) {
            return;
        }
        if let Some((ip, tag)) = self.address(&header, &datagram[header.len..], way) {
            let to = SocketAddr::new(ip, header.port);
            if self.admit(to, tag, way) {
                let payload = at.start + header.len..at.end;
                if !way.terms.within_limits(accounts::LimitedWay::Up, payload.len()) {
                    return;
                }
                let reached = self.relay().unwrap_or(to);
                let outbox = &mut way.up[Family::of(reached.ip()) as usize];
                let head = self.head_for(to, outbox);
                outbox.push(Some(reached), head, payload, self.joining_up);
            }
        }
    }

    /// Who sent what stands in a room, where that may be the client. Once nobody else can send, the kernel is not asked.
    pub(super) fn sender(&self, filled: &Filled, terms: &Terms<'_>) -> Option<SocketAddr> {
        let sender = if self.alone { self.client } else { filled.from };
        sender.filter(|from| self.alone || self.may_send(*from, terms))
    }

    /// Whether a datagram from this address is of the client. What strangers sent before the socket was connected is
    /// still in its queue, so this is asked for each.
    fn may_send(&self, from: SocketAddr, terms: &Terms<'_>) -> bool {
        match self.client {
            Some(client) => client == from,
            None => {
                let expected = &self.expected;
                from.ip() == expected.ip
                    && expected.port.is_none_or(|port| port == from.port())
                    && !terms.is_ours(from)
            }
        }
    }

    /// The first valid datagram: from now on the kernel drops what others send.
    fn pin(&mut self, client: SocketAddr, terms: &Terms<'_>) -> bool {
        let pinned = self.front.socket.connect(client).is_ok();
        if pinned {
            self.client = Some(client);
            self.connected_ms = terms.now_ms;
        }
        pinned
    }

    fn fragment(&mut self, header: &Header<'_>, datagram: &[u8], way: &mut Upward<'_>) {
        if !way.terms.fragments {
            return way.drop(Drop::Fragment, 1);
        }
        // ATYP, DST.ADDR and DST.PORT stand behind RSV and FRAG.
        let (target, data) = (&datagram[3..header.len], &datagram[header.len..]);
        if !self.hold(target.len() + data.len()) {
            // It would be missing: what there is of its sequence can never be whole.
            self.abandon_fragments(way);
            return way.drop(Drop::Fragment, 1);
        }
        let (taken, abandoned) = self.fragments.take(header.frag, target, data, way.terms.now_ms);
        self.release();
        way.drop(Drop::Fragment, abandoned);
        match taken {
            Taken::Kept => {}
            Taken::Dropped => way.drop(Drop::Fragment, 1),
            Taken::Whole(payload) => {
                way.pumped.reassembled += 1;
                if let Some((ip, tag)) = self.address(header, &payload, way) {
                    self.send_owned(SocketAddr::new(ip, header.port), tag, &payload, way);
                }
            }
        }
    }

    fn abandon_fragments(&mut self, way: &mut Upward<'_>) {
        let abandoned = self.fragments.abandon();
        if abandoned > 0 {
            self.release();
            way.drop(Drop::Fragment, abandoned);
        }
    }

    /// The address of a datagram's target, and the name that led there. Where there is none yet the payload is queued, or
    /// dropped and counted.
    fn address(
        &mut self,
        header: &Header<'_>,
        payload: &[u8],
        way: &mut Upward<'_>,
    ) -> Option<(IpAddr, NameTag)> {
        let nameless = |ip| (ip, NameTag::NONE);
        let typed = match header.destination {
            DatagramDestination::Ip(ip) => return plain(ip, header.port, &self.outward, way).map(nameless),
            DatagramDestination::Name(typed) => typed,
        };
        let names = self.names.get_or_insert_default();
        if let Some(known) = names.known(typed) {
            return Some(known);
        }
        let name = match Host::parse(typed) {
            Ok(Host::Ip(ip)) => {
                if ip.is_ipv4() {
                    names.learn(typed, ip);
                }
                return plain(ip, header.port, &self.outward, way).map(nameless);
            }
            Ok(Host::Name(name)) => name,
            Err(_) => {
                way.drop(Drop::Header, 1);
                return None;
            }
        };
        if let Some(decision) = way.terms.refuses(&name, header.port) {
            way.decisions.push(decision);
            way.drop(Drop::Denied, 1);
            return None;
        }
        if !self.hold(payload.len()) {
            way.drop(Drop::Queue, 1);
            return None;
        }
        match self.names.get_or_insert_default().queue(typed, header.port, payload) {
            Queued::Behind => {}
            Queued::Ask(lookup) => way.asks.push((lookup, name)),
            Queued::Full => {
                self.release();
                way.drop(Drop::Queue, 1);
            }
        }
        None
    }

    /// Remembers the address of a name, for its next datagrams and for the tally.
    fn learn(&mut self, typed: &[u8], name: Option<&Name>, ip: IpAddr) -> NameTag {
        if let (Some(tally), Some(name)) = (&mut self.tally, name) {
            tally.name(ip, name.as_str());
        }
        self.names.get_or_insert_default().learn(typed, ip)
    }

    /// Whether a datagram may go to this address; if so it may answer, and there is a socket.
    fn admit(&mut self, to: SocketAddr, tag: NameTag, way: &mut Upward<'_>) -> bool {
        let terms = way.terms;
        let known = self.allowed == Some((to, tag, terms.policy_version)) && !terms.own_ports.has(to);
        if !known && let Err(drop) = self.judge(to, tag, way) {
            way.drop(drop, 1);
            return false;
        }
        if self.allowed.is_none_or(|(allowed, ..)| allowed.ip() != to.ip()) {
            self.peers.insert(to.ip());
        }
        self.allowed = Some((to, tag, terms.policy_version));
        if terms.learns && !known && self.needs.len() < limits::UDP_NEEDS_PER_TURN {
            let name = self.names.as_ref().and_then(|names| names.name(tag));
            self.needs.push((name.map_or(Host::Ip(to.ip()), Host::Name), to.port()));
        }
        self.open_towards(self.relay().unwrap_or(to), way)
    }

    /// Whether there is a socket to send to this address from.
    pub(super) fn open_towards(&mut self, reached: SocketAddr, way: &mut Upward<'_>) -> bool {
        let family = Family::of(reached.ip());
        if self.targets[family as usize].is_none() {
            let (route, pool) = (self.outward.route, self.pool.as_deref_mut());
            let Some(bound) = open(reached.ip(), route, pool, way.terms) else {
                way.drop(Drop::Unreachable, 1);
                return false;
            };
            self.targets[family as usize] = Some(bound);
            self.opened[family as usize] = true;
        }
        true
    }

    /// Whether a datagram may go to this address: asked of the rules where that is not remembered.
    fn judge(&mut self, to: SocketAddr, tag: NameTag, way: &mut Upward<'_>) -> Result<(), Drop> {
        let terms = way.terms;
        if terms.policy.rules().is_none() {
            return terms.judge(to, None, &self.outward).0;
        }
        let (verdicts, version) = (self.verdicts.get_or_insert_default(), terms.policy_version);
        let ours = terms.own_ports.has(to);
        if let Some(said) = verdicts.up(to, tag, version).filter(|_| !ours) {
            return said;
        }
        let name = self.names.as_ref().and_then(|names| names.name(tag));
        let (said, decision) = terms.judge(to, name.as_ref(), &self.outward);
        way.decisions.push(decision);
        if !ours && said != Err(Drop::Limit) {
            verdicts.put_up(to, tag, version, said);
        }
        self.tally.iter_mut().filter(|_| said.is_ok()).for_each(|tally| tally.allowed(to, &decision));
        said
    }

    /// Sends a datagram that does not lie in the arena, behind those that were judged before it.
    fn send_owned(&mut self, to: SocketAddr, tag: NameTag, payload: &[u8], way: &mut Upward<'_>) {
        if !self.admit(to, tag, way) || !way.terms.within_limits(accounts::LimitedWay::Up, payload.len()) {
            return;
        }
        let reached = self.relay().unwrap_or(to);
        let family = Family::of(reached.ip());
        self.flush_up(family, way);
        let headed = self.headed(to, payload);
        let Some(bound) = &self.targets[family as usize] else { return };
        match bound.socket.send_to(headed.as_deref().unwrap_or(payload), reached) {
            Write::Bytes(_) => {
                let flow = Flow { datagrams: 1, bytes: payload.len() as u64 };
                way.pumped.up.add(flow);
                self.tally.iter_mut().for_each(|tally| tally.up(to, flow));
            }
            Write::Blocked => way.drop(Drop::Blocked, 1),
            Write::Failed(errno) => way.drop(Drop::of_send(errno), 1),
        }
    }

    fn flush_up(&mut self, family: Family, way: &mut Upward<'_>) {
        let outbox = &mut way.up[family as usize];
        if outbox.is_empty() {
            return;
        }
        let Some(bound) = &self.targets[family as usize] else { return };
        let tally = self.tally.as_deref_mut();
        let mut sent = Sent { flow: &mut way.pumped.up, drops: &mut way.pumped.drops, tally };
        outbox.flush(&bound.socket, way.arena, way.sender, &mut self.joining_up, &mut sent);
    }
}

/// An address as the kernel takes it. One that carries IPv4 is judged as it stands before: the guard has more to say
/// of it than of what it carries.
fn plain(ip: IpAddr, port: u16, by: &Outward, way: &mut Upward<'_>) -> Option<IpAddr> {
    let plain = ip.to_canonical();
    if plain != ip
        && let Err(drop) = way.terms.judge(SocketAddr::new(ip, port), None, by).0
    {
        way.drop(drop, 1);
        return None;
    }
    Some(plain)
}

/// The first of these addresses that may be reached and to which there is a way. A datagram cannot try them in turn as
/// a connection does; where nothing else is configured the client's own family comes first, for the answers' ATYP then
/// is one that it knows.
fn usable(
    Sought { addresses, name, port }: &Sought<'_>,
    own: Family,
    way: &mut Upward<'_>,
    reachable: &mut Reachable,
) -> Result<IpAddr, Drop> {
    let terms = way.terms;
    let (mut refused, mut denied) = (Drop::Unreachable, None);
    let own_first = terms.prefer == Prefer::HappyEyeballs;
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|ip| !own_first || Family::of(ip.to_canonical()) == own);
    for ip in first.into_iter().chain(second) {
        let to = SocketAddr::new(ip, *port);
        match terms.judge(to, *name, &reachable.outward) {
            (Ok(()), _) if reachable.has(to, |to, mark| source_towards(to, mark).is_ok()) => {
                return Ok(ip.to_canonical());
            }
            (Ok(()), _) => {}
            (Err(drop), decision) => (refused, denied) = (drop, Some(decision)),
        }
    }
    way.decisions.extend(denied.filter(|_| terms.policy.rules().is_some()));
    Err(refused)
}

/// The addresses that a name led to, and the port that is asked for.
struct Sought<'a> {
    addresses: &'a [IpAddr],
    name: Option<&'a Name>,
    port: u16,
}

/// A target-facing socket: one for all targets of a family, so that they all see one address and port (RFC 4787
/// REQ-1).
fn open(
    target: IpAddr,
    route: Route,
    pool: Option<&mut AssociationPool>,
    terms: &Terms<'_>,
) -> Option<Bound> {
    let socket = match pool {
        Some(pool) => pool.open(target, terms.now)?,
        None if route.serves(target) => {
            let from = SocketAddr::new(route.source.unwrap_or(wildcard(target)), 0);
            let options = OutboundOptions { mark: route.mark, ..OutboundOptions::default() };
            DatagramSocket::bind_as(from, limits::UDP_RECEIVE_BUFFER_BYTES, &options).ok()?
        }
        None => return None,
    };
    let at = socket.local_address().ok()?;
    Some(Bound::new(socket, terms.own_ports.hold(at)))
}
