//! One association: whose it is, which targets it has, and what moves.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use super::drops::{Drop, Drops};
use super::fragments::Fragments;
use super::kit::DatagramKit;
use super::led_by::LedDatagrams;
use super::names::{NameTag, Names};
use super::outbox::{Head, Joining, Sent};
use super::outward::{AssociationPool, Outward};
use super::peers::KnownPeers;
use super::sealed::{open_one, seal_one};
use super::tally::{Flow, Tally};
use super::terms::Terms;
use super::verdicts::Verdicts;
use crate::limits;
use crate::policy::Decision;
use crate::policy::accounts::LimitedWay;
use crate::policy::egress::SessionPool;
use crate::policy::own_ports::{HeldPort, OwnPorts};
use crate::proto::address::Host;
use crate::seal::Seal;
use crate::shares::Lent;
use crate::sys::mmsg::{Filled, Inbox, Received};
use crate::sys::udp::DatagramSocket;

/// Who may be the client of an association (RFC 1928 section 7: "limit access").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// DST.ADDR of the request where it gives one, else the address of the control connection's peer.
    pub ip: IpAddr,
    /// DST.PORT where it is not 0.
    pub port: Option<u16>,
}

/// Which of the two target-facing sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 targets.
    V4 = 0,
    /// IPv6 targets.
    V6 = 1,
}

impl Family {
    /// Both families.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    pub(super) fn of(ip: IpAddr) -> Family {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// What one pump did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pumped {
    /// Client to target.
    pub up: Flow,
    /// Target to client.
    pub down: Flow,
    /// Datagrams that were put together from fragments.
    pub reassembled: u64,
    /// What went no further.
    pub drops: Drops,
    /// Whether there may be more to move, past one turn's share.
    pub again: bool,
}

/// A socket and its place on the list of our own ports. The socket is closed first.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: DatagramSocket,
    _held: HeldPort,
    pub(super) readable: bool,
}

impl Bound {
    pub(super) fn new(socket: DatagramSocket, held: HeldPort) -> Bound {
        Bound { socket, _held: held, readable: false }
    }

    /// Takes what has come, and counts among a turn's what has failed; `None` where that is nothing: it is readable yet, or not.
    pub(super) fn receive(&mut self, inbox: &mut Inbox, taken: &mut usize) -> Option<usize> {
        match inbox.receive(&self.socket, true) {
            Received::Rooms(count) => return Some(count),
            Received::Blocked => self.readable = false,
            // Told once; what is queued comes next.
            Received::Failed(_) => *taken += limits::UDP_BATCH,
        }
        None
    }
}

/// One association of one client. It knows no slab, no timer and no log; it opens its target-facing sockets itself,
/// and its worker registers them.
#[derive(Debug)]
pub struct Association {
    pub(super) expected: Expected,
    /// The client, from its first datagram on.
    pub(super) client: Option<SocketAddr>,
    /// When the client-facing socket was connected, in milliseconds of the worker's clock.
    pub(super) connected_ms: u64,
    /// Whether the client-facing socket can hold no datagram any more that came from others before it was connected.
    pub(super) alone: bool,
    pub(super) front: Bound,
    pub(super) targets: [Option<Bound>; 2],
    /// By which way datagrams leave for targets.
    pub(super) outward: Outward,
    /// The pool that they leave from, where that is one.
    pub(super) pool: Option<Box<AssociationPool>>,
    /// The parent that they go through.
    pub(super) led: Option<Box<LedDatagrams>>,
    pub(super) peers: KnownPeers,
    pub(super) names: Option<Box<Names>>,
    pub(super) fragments: Fragments,
    /// What it has of the worker's pool for fragments and datagrams that wait.
    pub(super) held: Lent,
    /// What it counts by target, where that is asked for.
    pub(super) tally: Option<Box<Tally>>,
    /// The target allowed last, the name that led to it and the policy that allowed it.
    pub(super) allowed: Option<(SocketAddr, NameTag, u64)>,
    /// What rules said of its targets, once they were asked.
    pub(super) verdicts: Option<Verdicts>,
    /// Where datagrams were first allowed to go, for the worker to take, where that is learned.
    pub needs: Vec<(Host, u16)>,
    /// The control connection had more to say than one turn hears.
    pub control_waits: bool,
    /// Families whose sockets are not yet watched.
    pub(super) opened: [bool; 2],
    pub(super) seal: Option<Box<Seal>>,
    pub(super) joining_up: Joining,
    pub(super) joining_down: Joining,
    /// What went from the client to targets so far.
    pub up: Flow,
    /// What came from targets to the client so far.
    pub down: Flow,
}

impl Association {
    /// An association whose client-facing socket is bound to `at`; what waits in it is taken from a pool.
    pub fn new(
        expected: Expected,
        front: DatagramSocket,
        at: SocketAddr,
        own_ports: &Arc<OwnPorts>,
        held: Lent,
    ) -> Association {
        Association {
            expected,
            client: None,
            connected_ms: 0,
            alone: false,
            front: Bound::new(front, own_ports.hold(at)),
            targets: [None, None],
            outward: Outward::default(),
            pool: None,
            led: None,
            peers: KnownPeers::default(),
            names: None,
            fragments: Fragments::default(),
            held,
            tally: None,
            allowed: None,
            verdicts: None,
            needs: Vec::new(),
            control_waits: false,
            opened: [false; 2],
            seal: None,
            joining_up: Joining::default(),
            joining_down: Joining::default(),
            up: Flow::default(),
            down: Flow::default(),
        }
    }

    /// Opens its target-facing sockets by this way and from this pool, in place of the kernel's own.
    pub fn leave_by(&mut self, outward: Outward, pool: Option<SessionPool>) {
        self.outward = outward;
        self.pool = pool.map(|pool| Box::new(AssociationPool::new(pool)));
    }

    /// The pool that its datagrams leave from.
    pub fn pool(&self) -> Option<&SessionPool> {
        self.pool.as_deref().map(AssociationPool::pool)
    }

    /// The address of the pool that they leave from, once there is a socket.
    pub fn source(&self) -> Option<IpAddr> {
        self.pool.as_deref()?.source()
    }

    /// Counts by target from here on.
    pub fn count_targets(&mut self, tally: Tally) {
        self.tally = Some(Box::new(tally));
    }

    /// What has come from here on is sealed, and so is what leaves for the client.
    pub fn seal(&mut self, seal: Box<Seal>) {
        self.seal = Some(seal);
    }

    /// What was counted by target.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }

    /// The client-facing socket.
    pub fn front(&self) -> &DatagramSocket {
        &self.front.socket
    }

    /// The target-facing socket of a family, once it was needed.
    pub fn target(&self, family: Family) -> Option<&DatagramSocket> {
        self.targets[family as usize].as_ref().map(|bound| &bound.socket)
    }

    /// Gives the target-facing socket of a family up.
    pub fn close_target(&mut self, family: Family) {
        self.targets[family as usize] = None;
    }

    /// Families whose target-facing sockets are new: their worker must watch them.
    pub fn take_opened(&mut self) -> impl Iterator<Item = Family> + use<> {
        let opened = std::mem::take(&mut self.opened);
        Family::ALL.into_iter().filter(move |family| opened[*family as usize])
    }

    /// The client-facing socket has something.
    pub fn front_ready(&mut self) {
        self.front.readable = true;
    }

    /// A target-facing socket has something.
    pub fn target_ready(&mut self, family: Family) {
        if let Some(bound) = &mut self.targets[family as usize] {
            bound.readable = true;
        }
    }

    /// When fragments that wait are to be abandoned, in milliseconds of the worker's clock.
    pub fn fragments_expire_ms(&self) -> Option<u64> {
        self.fragments.expires_ms()
    }

    /// Abandons fragments that waited too long.
    pub fn expire(&mut self, now_ms: u64) -> Pumped {
        let mut pumped = Pumped::default();
        pumped.drops.add(Drop::Fragment, self.fragments.expire(now_ms));
        self.release();
        pumped
    }

    /// Gives back what nothing waits in any more.
    pub(super) fn release(&mut self) {
        let held = self.fragments.held_bytes() + self.names.as_ref().map_or(0, |names| names.held_bytes());
        // Less than before always fits.
        let _ = self.held.is_now(held.min(self.held.amount()));
    }

    /// Takes room for so many bytes more that are to wait; false where there is none for this client.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        self.held.is_now(self.held.amount() + bytes + limits::UDP_HELD_OVERHEAD)
    }

    /// Lookups that nobody has answered yet.
    pub fn lookups(&self) -> impl Iterator<Item = u8> + '_ {
        self.names.iter().flat_map(|names| names.lookups())
    }

    /// Moves what can be moved, one turn's share of each socket at most.
    pub fn pump(&mut self, kit: &mut DatagramKit, terms: &Terms<'_>) -> Pumped {
        let mut pumped = Pumped::default();
        self.pump_up(kit, terms, &mut pumped);
        match self.relay() {
            Some(relay) => self.pump_led(relay, kit, terms, &mut pumped),
            None => {
                Family::ALL.into_iter().for_each(|family| self.pump_down(family, kit, terms, &mut pumped))
            }
        }
        self.up.add(pumped.up);
        self.down.add(pumped.down);
        pumped
    }

    /// Opens the datagrams of one batch, those of the client alone, into `opened`: who sent each, and where it lies there;
    /// and how many were looked at, for a bad one costs as much as a good one.
    pub(super) fn open_batch(
        &mut self,
        inbox: &Inbox,
        rooms: usize,
        opened: &mut Vec<u8>,
        terms: &Terms<'_>,
        drops: &mut Drops,
    ) -> (Vec<(Filled, Range<usize>)>, usize) {
        opened.clear();
        let mut found = Vec::new();
        let mut seen = 0;
        for filled in (0..rooms).map(|at| inbox.filled(at)) {
            if self.sender(&filled, terms).is_none() {
                drops.add(Drop::Stranger, filled.datagrams().count());
                continue;
            }
            for datagram in filled.datagrams() {
                seen += 1;
                let start = opened.len();
                let seal = self.seal.as_mut();
                match seal.is_some_and(|seal| open_one(seal, &inbox.memory()[datagram], opened)) {
                    true => found.push((filled, start..opened.len())),
                    false => drops.add(Drop::Seal, 1),
                }
            }
        }
        (found, seen)
    }

    fn pump_down(&mut self, family: Family, kit: &mut DatagramKit, terms: &Terms<'_>, pumped: &mut Pumped) {
        let Some(bound) = &mut self.targets[family as usize] else { return };
        let DatagramKit { inbox, sender, down, translated, decisions, .. } = kit;
        let (verdicts, names) = (&mut self.verdicts, self.names.as_deref());
        let mut taken = 0;
        while taken < limits::UDP_TURN_DATAGRAMS {
            if !bound.readable {
                return;
            }
            let Some(count) = bound.receive(inbox, &mut taken) else { continue };
            translated.clear();
            let mut datagrams = 0;
            let mut head: Option<(SocketAddr, Head)> = None;
            for filled in (0..count).map(|at| inbox.filled(at)) {
                let Some(from) = filled.from else { continue };
                let passes = |payload: &Range<usize>| terms.within_limits(LimitedWay::Down, payload.len());
                let may_answer = || self.peers.may_answer(from.ip(), terms.filtering, self.client);
                let tally = self.tally.as_deref_mut();
                let ruled = || judge_answer(from, verdicts, names, terms, (decisions, tally));
                if let Err(drop) = terms.check_answer(from).and_then(|()| may_answer()).and_then(|()| ruled())
                {
                    pumped.drops.add(drop, filled.datagrams().count());
                    continue;
                }
                if self.tally.is_some() {
                    down.origin(from);
                }
                if let Some(seal) = &mut self.seal {
                    for payload in filled.datagrams().filter(passes) {
                        let count = payload.len();
                        match seal_one(seal, from, &inbox.memory()[payload], translated) {
                            Ok(at) => down.push_counted(None, Head::default(), at, count, self.joining_down),
                            Err(drop) => pumped.drops.add(drop, 1),
                        }
                        datagrams += 1;
                    }
                    continue;
                }
                let header = match head {
                    Some((written_for, header)) if written_for == from => header,
                    _ => down.head(from),
                };
                head = Some((from, header));
                for payload in filled.datagrams().filter(passes) {
                    down.push(None, header, payload, self.joining_down);
                    datagrams += 1;
                }
            }
            let tally = self.tally.as_deref_mut();
            let mut sent = Sent { flow: &mut pumped.down, drops: &mut pumped.drops, tally };
            let arena = if self.seal.is_some() { &translated[..] } else { inbox.memory() };
            down.flush(&self.front.socket, arena, sender, &mut self.joining_down, &mut sent);
            bound.readable = count == inbox.rooms();
            taken += limits::UDP_BATCH.max(datagrams);
        }
        pumped.again |= bound.readable;
    }
}

/// Whether a datagram from this address may go to the client, by the name under which the client sent there: asked of the
/// rules where that is not remembered.
pub(super) fn judge_answer(
    from: SocketAddr,
    verdicts: &mut Option<Verdicts>,
    names: Option<&Names>,
    terms: &Terms<'_>,
    (decisions, tally): (&mut Vec<Decision>, Option<&mut Tally>),
) -> Result<(), Drop> {
    if terms.policy.rules().is_none() {
        return Ok(());
    }
    let verdicts = verdicts.get_or_insert_default();
    if let Some(said) = verdicts.down(from, terms.policy_version) {
        return said;
    }
    let led = || names.map_or(NameTag::NONE, |names| names.leading_to(from.ip().to_canonical()));
    let tag = verdicts.name_of(from).unwrap_or_else(led);
    let name = names.and_then(|names| names.name(tag));
    let (said, decision) = terms.judge_answer(from, name.as_ref());
    decisions.push(decision);
    if let Some(tally) = tally.filter(|_| said.is_ok()) {
        tally.allowed(from, &decision);
    }
    // A place in a limit may be free the next time.
    if said != Err(Drop::Limit) {
        verdicts.put_down(from, tag, terms.policy_version, said);
    }
    said
}

const _: () = assert!(size_of::<Association>() <= limits::ASSOCIATION_BYTES_MAX);
