//! Leads a connection through its phases: what an event, a timer or an answer means in the phase that it is in, and how it
//! goes from one to the next.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::associated::Associated;
use super::connection::Connection;
use super::core::Core;
use super::exchanging;
use super::handshake::{Handshake, Waits, refused};
use super::header_due::HeaderDue;
use super::learning;
use super::limited;
use super::linger::Linger;
use super::next::{Change, Next};
use super::preface;
use super::relaying::Relaying;
use super::slot::{Fate, Phase, Slot};
use super::talking;
use super::tokens::CLIENT_SOCKET;
use super::watch::Edge;
use crate::auth::Identity;
use crate::auth::gssapi::Exchanged;
use crate::dns::{Answer, PointerAnswer};
use crate::limits;
use crate::observe::{Counted, Direction};
use crate::outcome::Reason;
use crate::policy::RoutedAddress;
use crate::proto::userpass::Credentials;
use crate::relay::datagram::Outward;
use crate::relay::{Engine, Relay};
use crate::session::{Command, Input};

/// An answer to what a handshake asked for.
#[derive(Debug)]
pub(super) enum Answered {
    Login(Option<Identity>),
    /// Right once, but by users who have changed since.
    StaleLogin(Arc<Credentials>),
    Context(Exchanged),
    Addresses(Answer),
    Name(PointerAnswer),
}

/// An event of one of a connection's sockets.
pub(super) fn event(core: &mut Core, slot: &mut Slot, socket_index: u8, edge: Edge) -> Fate {
    let Slot { phase, connection } = slot;
    core.traffic.streams |= !matches!(phase, Phase::Associated(_));
    let next = match phase {
        Phase::Handshake(handshake) if socket_index == CLIENT_SOCKET => {
            handshake.client_event(core, connection, edge)
        }
        Phase::Handshake(_) => return upstream_event(core, slot, socket_index, edge),
        Phase::Relaying(relaying) => relaying.event(core, connection, socket_index, edge),
        Phase::Redialling(redialling) => {
            let next = redialling.event(core, connection, socket_index, edge);
            return advance_with(core, slot, next, socket_index, edge);
        }
        Phase::Associated(associated) => associated.event(core, connection, socket_index, edge),
        Phase::Linger(linger) => linger.drain(core, connection),
        Phase::Kept(kept) => kept.event(socket_index, edge),
        Phase::Between => Next::Close(Reason::Internal),
    };
    advance(core, slot, next)
}

/// An event of a socket that a handshake opened.
fn upstream_event(core: &mut Core, slot: &mut Slot, socket_index: u8, edge: Edge) -> Fate {
    let Slot { phase: Phase::Handshake(handshake), connection } = slot else { return Fate::Keep };
    if handshake.kept.as_ref().is_some_and(|kept| kept.is_spent_by(socket_index, edge)) {
        handshake.kept = None;
        return Fate::Keep;
    }
    let next = match handshake.take_waits() {
        Waits::Connection(dial) => handshake.dial_event(core, connection, dial, socket_index, edge),
        Waits::Parent(reaching) => handshake.reach_event(core, connection, reaching, (socket_index, edge)),
        Waits::Peer(listening) => handshake.accept_peer(core, connection, listening),
        // Of an attempt that was closed in this very batch of events.
        waits => {
            handshake.waits_for = waits;
            Next::Wait
        }
    };
    advance_with(core, slot, next, socket_index, edge)
}

/// Goes on behind an event of a socket to a target. Where a relay begins with it, the target may have spoken already.
fn advance_with(core: &mut Core, slot: &mut Slot, next: Next, socket_index: u8, edge: Edge) -> Fate {
    let fate = advance(core, slot, next);
    match &mut slot.phase {
        Phase::Relaying(relaying) if fate == Fate::Keep && edge.readable => {
            let next = relaying.event(core, &mut slot.connection, socket_index, edge);
            advance(core, slot, next)
        }
        _ => fate,
    }
}

/// A connection had more to do than one turn gives it.
pub(super) fn resume(core: &mut Core, slot: &mut Slot) -> Fate {
    let Slot { phase, connection } = slot;
    let next = match phase {
        Phase::Handshake(handshake) if handshake.session.wants_bytes() => Next::Read,
        Phase::Handshake(handshake) => match handshake.take_waits() {
            Waits::Peer(listening) => handshake.accept_peer(core, connection, listening),
            waits => {
                handshake.waits_for = waits;
                Next::Wait
            }
        },
        Phase::Relaying(relaying) => relaying.drive(core, connection),
        Phase::Redialling(_) => Next::Wait,
        Phase::Associated(associated) => associated.resume(core, connection),
        Phase::Linger(linger) => linger.drain(core, connection),
        Phase::Kept(kept) => kept.read(),
        Phase::Between => Next::Close(Reason::Internal),
    };
    advance(core, slot, next)
}

/// A connection that looks for a port goes on with that.
pub(super) fn search(core: &mut Core, slot: &mut Slot, tries: &mut usize) -> Fate {
    let Slot { phase: Phase::Handshake(handshake), connection } = slot else { return Fate::Keep };
    let next = match handshake.take_waits() {
        Waits::Listener(search) => handshake.seek_listener(core, connection, search, tries),
        Waits::Front(search) => handshake.seek_front(core, connection, search, tries),
        waits => {
            handshake.waits_for = waits;
            Next::Wait
        }
    };
    advance(core, slot, next)
}

/// A connection that dials goes on with these addresses alone.
pub(super) fn dial_again(core: &mut Core, slot: &mut Slot, addresses: Vec<RoutedAddress>) -> Fate {
    let Slot { phase: Phase::Handshake(handshake), connection } = slot else { return Fate::Keep };
    drop(handshake.take_waits());
    let next = dial(core, connection, handshake, addresses);
    advance(core, slot, next)
}

/// Has one of these addresses connected to, by the way of the first.
fn dial(
    core: &mut Core,
    connection: &mut Connection,
    handshake: &mut Handshake,
    mut addresses: Vec<RoutedAddress>,
) -> Next {
    match addresses.first().and_then(|one| one.allowed.way.parent) {
        Some(parent) => handshake.reach_addresses(core, connection, (parent, addresses)),
        None => {
            // What a parent leads to is not dialled without it because the name has another address, too.
            addresses.retain(|one| one.allowed.way.parent.is_none());
            handshake.dial(core, connection, addresses)
        }
    }
}

/// A connection's timer fired; it may be early.
pub(super) fn timer(core: &mut Core, slot: &mut Slot) -> Fate {
    let Slot { phase, connection } = slot;
    let next = match phase {
        Phase::Handshake(handshake) => handshake_timer(core, connection, handshake),
        Phase::Relaying(relaying) => relaying.timer(core, connection),
        Phase::Redialling(redialling) => redialling.timer(core, connection),
        Phase::Associated(associated) => associated.timer(core, connection),
        Phase::Linger(linger) => linger.timer(core, connection),
        Phase::Kept(kept) => kept.timer(core, connection),
        Phase::Between => Next::Close(Reason::Internal),
    };
    advance(core, slot, next)
}

fn handshake_timer(core: &mut Core, connection: &mut Connection, handshake: &mut Handshake) -> Next {
    let now = core.now;
    if handshake.left_before(now) {
        return Next::Close(Reason::ClientLeft);
    }
    let reaches = matches!(handshake.waits_for, Waits::Parent(_));
    if !reaches && (handshake.deadline <= now || handshake.is_silent_at(now)) {
        return handshake.expire(core, connection);
    }
    match handshake.take_waits() {
        // Its own time limit is among those moments.
        Waits::Parent(reaching) if reaching.next_at() <= now => {
            handshake.reach_timer(core, connection, reaching)
        }
        Waits::Penalty { until } if until <= now => Next::Answer(Input::Verified(None)),
        Waits::Retry { credentials, at } if at <= now => {
            // The answer may be known by now: then the session reads on, and only this timer bounds it.
            core.arm(connection.key, handshake.deadline);
            handshake.verify(core, connection, credentials, false)
        }
        Waits::RetryContext { context, token, at } if at <= now => {
            handshake.establish(core, connection, Some(context), token)
        }
        Waits::Connection(dial) if dial.next_at().is_some_and(|at| at <= now) => {
            handshake.dial_next(core, connection, dial)
        }
        Waits::Peer(listening) if listening.retry_at.is_some_and(|at| at <= now) => {
            handshake.accept_peer(core, connection, listening)
        }
        waits => {
            handshake.waits_for = waits;
            handshake.wait(core, connection)
        }
    }
}

/// An answer to what a connection's handshake asked for, where it is still waited for.
pub(super) fn answer(core: &mut Core, slot: &mut Slot, answered: Answered) -> Fate {
    let Slot { phase, connection } = slot;
    if let (Phase::Redialling(redialling), Answered::Addresses(answer)) = (&mut *phase, &answered) {
        let next = redialling.resolved(core, connection, answer);
        return advance(core, slot, next);
    }
    let Phase::Handshake(handshake) = phase else { return Fate::Keep };
    let next = match (answered, &handshake.waits_for) {
        (Answered::Login(identity), Waits::Login { .. }) => handshake.verified(core, identity),
        (Answered::StaleLogin(credentials), Waits::Login { .. }) => {
            handshake.verify(core, connection, credentials, false)
        }
        (Answered::Context(exchanged), Waits::Context { .. }) => handshake.established(core, exchanged),
        (Answered::Addresses(answer), Waits::Addresses) => handshake.resolved(core, connection, answer),
        (Answered::Addresses(answer), Waits::Parent(_)) => {
            handshake.reach_resolved(core, connection, &answer)
        }
        (Answered::Name(answer), Waits::Name) => handshake.named(core, connection, answer),
        _ => Next::Wait,
    };
    advance(core, slot, next)
}

/// An answer to one of the lookups of an association.
pub(super) fn datagram_answer(core: &mut Core, slot: &mut Slot, lookup: u8, answer: Answer) -> Fate {
    let Slot { phase: Phase::Associated(associated), connection } = slot else { return Fate::Keep };
    let next = associated.resolved(core, connection, lookup, answer);
    advance(core, slot, next)
}

/// Goes on until the connection waits for something or is over.
#[inline]
fn advance(core: &mut Core, slot: &mut Slot, next: Next) -> Fate {
    match next {
        // What most events of a relay come to.
        Next::Wait => Fate::Keep,
        Next::Close(reason) => Fate::Close(reason),
        next => follow(core, slot, next),
    }
}

/// Does what a phase says is next, and what comes of that.
#[inline(never)]
fn follow(core: &mut Core, slot: &mut Slot, mut next: Next) -> Fate {
    let mut reads = 0;
    loop {
        let Slot { phase, connection } = &mut *slot;
        let (handshake, step) = match (next, phase) {
            // Whatever the phase is by now: the next one may have begun and ended in this very turn.
            (Next::Wait, _) => return Fate::Keep,
            (Next::Close(reason), _) => return Fate::Close(reason),
            (Next::Change(change), _) => {
                next = enter(core, slot, change);
                continue;
            }
            (Next::Answer(input), Phase::Handshake(handshake)) => {
                drop(handshake.take_waits());
                let step =
                    handshake.session.handle(input, core.rules(&connection.snapshot, connection.listener));
                (handshake, step)
            }
            (Next::Feed(bytes), Phase::Handshake(handshake)) => {
                let rules = core.rules(&connection.snapshot, connection.listener);
                let step = handshake.session.handle(Input::Bytes(&bytes), rules);
                (handshake, step)
            }
            (Next::Tell(input), Phase::Handshake(handshake)) => {
                let step =
                    handshake.session.handle(input, core.rules(&connection.snapshot, connection.listener));
                (handshake, step)
            }
            (Next::Read, Phase::Handshake(_)) if reads == limits::HANDSHAKE_READS_PER_TURN => {
                // Empty sealed messages come to no request, however many there are.
                core.enqueue(connection);
                return Fate::Keep;
            }
            (Next::Read, Phase::Handshake(handshake)) if handshake.header_due != HeaderDue::No => {
                next = handshake.take_header(core, connection);
                continue;
            }
            (Next::Read, Phase::Handshake(handshake)) => {
                reads += 1;
                let read = match handshake.client.tls {
                    Some(_) => handshake.read_tls(core, connection),
                    None => handshake.read(core, connection),
                };
                match read {
                    ControlFlow::Continue(step) => (handshake, step),
                    ControlFlow::Break(ends) => {
                        next = ends;
                        continue;
                    }
                }
            }
            (Next::Answer(_) | Next::Feed(_) | Next::Tell(_) | Next::Read, _) => {
                return Fate::Close(Reason::Internal);
            }
        };
        if !handshake.client.say(&step.output) {
            return Fate::Close(Reason::ClientReset);
        }
        next = perform(core, connection, handshake, step.command);
    }
}

fn perform(
    core: &mut Core,
    connection: &mut Connection,
    handshake: &mut Handshake,
    command: Command,
) -> Next {
    if command.serves_request() {
        talking::asked(core, connection, handshake.session.facts());
        if let Some(failure) = handshake.refusal(core, connection) {
            return handshake.give_up(connection, failure);
        }
        learning::begun(core, handshake.session.facts(), &command);
        if let Some(failure) = limited::enter(core, connection, handshake.session.facts(), &command) {
            return handshake.give_up(connection, failure);
        }
    }
    match command {
        Command::Read => Next::Read,
        Command::Verify(credentials) => handshake.verify(core, connection, Arc::new(credentials), true),
        Command::Establish(token) => {
            let context = handshake.context.take();
            handshake.establish(core, connection, context, token)
        }
        Command::Resolve(name) => handshake.resolve(core, connection, &name),
        Command::Tell(one) => {
            connection.address = Some(one.address);
            Next::Answer(Input::Admitted)
        }
        Command::ResolvePtr(one) => handshake.reverse(core, connection, one.address.ip()),
        Command::Dial(addresses) => dial(core, connection, handshake, addresses),
        Command::Through(allowed) => handshake.reach_name(core, connection, allowed),
        Command::Bind(peers) => handshake.bind(core, connection, peers),
        Command::Accept => handshake.wait(core, connection),
        Command::Relay => match handshake.take_waits() {
            Waits::Connected(upstream) => Next::Change(Change::Relay(upstream)),
            _ => Next::Close(Reason::Internal),
        },
        Command::Exchange(order) => match handshake.take_waits() {
            Waits::Connected(upstream) => Next::Change(Change::Exchange(upstream, order)),
            _ => Next::Close(Reason::Internal),
        },
        Command::Associate(announced, route, way) => match way.parent {
            Some(id) => handshake.reach_datagrams(core, connection, (id, announced), Outward { route, way }),
            None => handshake.associate(core, connection, announced, Outward { route, way }),
        },
        Command::Datagrams => handshake.begin_datagrams(core, connection),
        Command::Answered => Next::Change(Change::Answered),
        Command::Close(failure) => refused(connection, failure),
    }
}

/// The relay of a tunnel, with what came behind its request, and what its target is told before that.
fn relay_of(core: &mut Core, connection: &Connection, handshake: &mut Handshake) -> Relay {
    let header = preface::header(core, connection, handshake.session.facts());
    let session = &mut handshake.session;
    let (seal, pending) = (session.take_seal(), session.pending());
    // What a parent was given went to the target.
    let early_bytes = usize::from(handshake.way.early_bytes);
    let pending = pending.get(early_bytes..).unwrap_or_default();
    core.counters.relay(Direction::Up, Engine::Copy, early_bytes);
    let preface_bytes = header.as_ref().map_or(0, Vec::len);
    let with_header = header.map(|header| [&header, pending].concat());
    let pending = with_header.as_deref().unwrap_or(pending);
    if seal.is_some() {
        core.counters.count(Counted::Sealed);
    }
    let tls = handshake.client.take_tls();
    let relay = match (tls, seal) {
        // Behind TLS nothing is sealed once more.
        (Some((tls, begun)), _) => Relay::tls(pending, tls, begun, &mut core.kit),
        (_, Some((seal, begun))) => Relay::sealed(pending, seal, begun, &mut core.kit),
        (_, None) => Relay::new(connection.snapshot.config.server.relay, pending, &mut core.kit),
    };
    relay.prefaced(preface_bytes).behind(early_bytes)
}

/// Takes a connection into another phase, which begins at once.
fn enter(core: &mut Core, slot: &mut Slot, change: Change) -> Next {
    let Slot { phase, connection } = slot;
    let mut edges = Edge::default();
    let change = match change {
        Change::Keep(left) => return exchanging::keep(core, slot, left),
        Change::Request(bytes) => return exchanging::request_again(core, slot, bytes),
        change => change,
    };
    match (change, std::mem::replace(phase, Phase::Between)) {
        (Change::Relay(upstream), Phase::Handshake(mut handshake)) => {
            edges = handshake.edges;
            let relay = relay_of(core, connection, &mut handshake);
            handshake.leave_facts(core, connection);
            *phase = Phase::Relaying(Relaying::new(relay, handshake.client.socket, upstream));
        }
        (
            change @ (Change::Exchange(..) | Change::Redial | Change::ExchangeAgain(_) | Change::Answer(_)),
            before,
        ) => match exchanging::enter(core, connection, change, before) {
            Some((entered, promised)) => (*phase, edges) = (entered, promised),
            None => return Next::Close(Reason::Internal),
        },
        (Change::Datagrams(mut association), Phase::Handshake(mut handshake)) => {
            handshake.note_handshake(core, connection);
            if let Some((seal, _)) = handshake.session.take_seal() {
                core.counters.count(Counted::Sealed);
                association.seal(seal);
            }
            handshake.leave_facts(core, connection);
            edges = handshake.edges;
            let control = handshake.led.take().and_then(|led| led.control);
            *phase = Phase::Associated(Associated::new(association, handshake.client).beside(control));
        }
        (Change::Refuse(failure), Phase::Handshake(handshake)) => {
            let client = handshake.close_refused(core, connection, &failure);
            // It holds nothing of what it is limited in while its reply is on its way.
            connection.places = None;
            *phase = Phase::Linger(Linger::new(client, failure.reason(), limits::LINGER, core.now));
        }
        (Change::Answered, Phase::Handshake(handshake)) => {
            let client = handshake.close_answered(core, connection);
            connection.places = None;
            *phase = Phase::Linger(Linger::new(client, Reason::Completed, limits::LINGER, core.now));
        }
        (Change::Linger { gone, reason }, Phase::Relaying(relaying)) => {
            let left = relaying.leave(core, connection, gone);
            let patience = connection.snapshot.config.timeouts.half_close;
            *phase = Phase::Linger(Linger::new(left, reason, patience, core.now));
        }
        (_, other) => {
            *phase = other;
            return Next::Close(Reason::Internal);
        }
    }
    // It begins with what the edges before it promised.
    match phase {
        Phase::Relaying(relaying) => relaying.begin(core, connection, edges),
        Phase::Redialling(redialling) => redialling.begin(core, connection),
        Phase::Associated(associated) => associated.begin(core, connection, edges),
        Phase::Linger(linger) => linger.begin(core, connection),
        Phase::Handshake(_) | Phase::Kept(_) | Phase::Between => Next::Close(Reason::Internal),
    }
}
