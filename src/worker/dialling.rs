//! CONNECT: a handshake that dials, with its attempts in [`Dial`].

use super::connection::Connection;
use super::core::Core;
use super::dial::{Dial, DialedBy, Dialler, Upstream, Won};
use super::handshake::{Handshake, Waits};
use super::leaving::pools_towards;
use super::next::Next;
use super::watch::Edge;
use crate::observe::{Counted, Timed};
use crate::policy::{Allowed, RoutedAddress};
use crate::relay::Engine;
use crate::session::{DialError, Dialed, Input};
use crate::shares::Source;

impl Handshake {
    /// Begins to dial.
    pub(super) fn dial(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        addresses: Vec<RoutedAddress>,
    ) -> Next {
        if let Some(dialed) = self.reuse(core, connection, &addresses) {
            return Next::Tell(Input::Dialed(Ok(dialed)));
        }
        connection.address = addresses.first().map(|first| first.address);
        let limit = connection.snapshot.config.timeouts.connect;
        let second = core.pools.second_attempts.nothing(Source::from(connection.peer.ip()));
        let congestion = connection.snapshot.congestion;
        let (facts, client) = (self.session.facts(), &self.client.socket);
        let pools = pools_towards(core, connection, facts, client, &addresses);
        let dial = Dial::new(addresses, congestion, core.now + limit, second).leaving_from(pools);
        let mut dial = Box::new(dial.behind(self.way.last_index));
        let started = dial.start_next(&dialler(core, connection));
        self.enter(core, connection, limit, Waits::Connection(dial));
        self.go_on(core, connection, started)
    }

    /// Begins the next connect attempt, as its time has come.
    pub(super) fn dial_next(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        mut dial: Box<Dial>,
    ) -> Next {
        let started = dial.start_next(&dialler(core, connection));
        self.waits_for = Waits::Connection(dial);
        self.go_on(core, connection, started)
    }

    /// The connection that was kept of an earlier request, where it is for what is asked now and policy allows it.
    pub(super) fn reuse(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        addresses: &[RoutedAddress],
    ) -> Option<Dialed> {
        let kept =
            self.kept.take().filter(|kept| self.session.exchanges() && kept.is_for(self.session.facts()));
        let mut kept = *kept?;
        let (left, led) = (kept.left.take(), kept.led.take());
        let (upstream, allowed, dialed) = kept.take(addresses)?;
        connection.left = left;
        core.put_led(connection.key, led);
        connection.address = Some(dialed.address);
        Some(self.go_over(core, connection, (upstream, allowed, dialed)))
    }

    /// Goes on over a connection that was kept.
    pub(super) fn go_over(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        (upstream, allowed, dialed): (Upstream, Allowed, Dialed),
    ) -> Dialed {
        self.note_handshake(core, connection);
        connection.local = Some(dialed.local);
        connection.engine = Some(Engine::Copy);
        self.way = DialedBy { allowed, reused: true, ..self.way };
        self.waits_for = Waits::Connected(upstream);
        dialed
    }

    fn go_on(&self, core: &mut Core, connection: &mut Connection, started: Result<(), DialError>) -> Next {
        match started {
            Ok(()) => self.wait(core, connection),
            Err(error) => {
                if let Waits::Connection(dial) = &self.waits_for {
                    connection.left = dial.left_in_vain(connection.address);
                }
                failed(core, error)
            }
        }
    }

    /// An event of one of the attempts.
    pub(super) fn dial_event(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        mut dial: Box<Dial>,
        socket_index: u8,
        edge: Edge,
    ) -> Next {
        if !dial.has(socket_index) {
            self.waits_for = Waits::Connection(dial);
            return Next::Wait;
        }
        match dial.event(socket_index, edge, &dialler(core, connection)) {
            Ok(None) => {
                self.waits_for = Waits::Connection(dial);
                self.wait(core, connection)
            }
            Ok(Some(Won { upstream, dialed, way, left })) => {
                (self.way, connection.left) = (way, left);
                connection.times.connect_ms = Some(core.time(Timed::Connect, self.phase_began));
                connection.address = Some(dialed.address);
                connection.local = Some(dialed.local);
                connection.engine = Some(Engine::Copy);
                self.waits_for = Waits::Connected(upstream);
                Next::Tell(Input::Dialed(Ok(dialed)))
            }
            Err(error) => {
                connection.left = dial.left_in_vain(connection.address);
                failed(core, error)
            }
        }
    }
}

/// What the attempts of this connection work with.
pub(super) fn dialler<'a>(core: &'a Core, connection: &Connection) -> Dialler<'a> {
    let Core { now, registry, counters, policy, .. } = core;
    Dialler { key: connection.key, now: *now, registry, policy, counters }
}

fn failed(core: &Core, error: DialError) -> Next {
    if error == DialError::NoLocalPort {
        core.counters.count(Counted::NoLocalPort);
    }
    Next::Answer(Input::Dialed(Err(error)))
}
