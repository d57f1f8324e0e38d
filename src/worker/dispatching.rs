//! In which order a turn meets its events under overload, and for how long.

use mio::Token;

use super::Worker;
use super::slot::Phase;
use super::tokens::{CLIENT_SOCKET, EventSource};
use crate::limits;

impl Worker {
    /// Whether an event comes behind the others of its turn: under overload what clients send who are not set up yet does,
    /// so that those that are set up do not wait for the many that have just begun.
    pub(super) fn comes_later(&self, token: Token) -> bool {
        if self.acceptance.overload.queues == 0 {
            return false;
        }
        // Not of their sockets to targets: an attempt that is given up may have left its number to another by then.
        let EventSource::Session { key, socket_index: CLIENT_SOCKET } = EventSource::of(token) else {
            return false;
        };
        self.slots.get(key.index()).is_some_and(|slot| matches!(slot.phase, Phase::Handshake(_)))
    }

    /// Whether the turn goes on with events that come later, which it was `crowded` with: there are never more than twice as many
    /// as a turn brings.
    pub(super) fn meets_more(&self, crowded: bool) -> bool {
        crowded || self.acceptance.overload.queues == 0 || !self.is_turn_long()
    }

    /// Whether the turn has taken as long as one may with those who come and those who are not set up.
    pub(super) fn is_turn_long(&self) -> bool {
        let long = match self.acceptance.overload.queues {
            0 => limits::STALLED_TURN,
            _ => limits::LONG_TURN,
        };
        self.core.now.elapsed() >= long
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::worker::tests::{connection, open_to_all, setup, worker_of};
    use crate::worker::tokens::Key;
    use crate::worker::watch::Edge;

    const READABLE: Edge = Edge { readable: true, writable: false, fin: false, failed: false, urgent: false };

    fn token(key: Key, socket_index: u8) -> Token {
        EventSource::Session { key, socket_index }.token()
    }

    /// A worker that is overloaded, with three clients that have greeted and whose events come later.
    fn overloaded() -> (Worker, [TcpStream; 3]) {
        let (mut worker, _, first) = worker_of(setup(), open_to_all(Duration::from_secs(60)));
        let mut clients = [first, connect(&mut worker), connect(&mut worker)];
        worker.acceptance.overload.queues = 1;
        for (client, (_, slot)) in clients.iter_mut().zip(&worker.slots) {
            client.write_all(&[0x05, 0x01, 0x00]).expect("a greeting");
            let token = token(slot.connection.key, CLIENT_SOCKET);
            assert!(worker.comes_later(token));
            worker.later.push_back((token, READABLE));
        }
        (worker, clients)
    }

    fn connect(worker: &mut Worker) -> TcpStream {
        let (accepted, incoming, client) = connection();
        worker.admit(accepted, incoming);
        client
    }

    fn is_answered(client: &mut TcpStream) -> bool {
        client.set_nonblocking(true).expect("non-blocking");
        client.read(&mut [0; 2]).is_ok_and(|count| count == 2)
    }

    /// What is met late must neither be lost nor wait for another event.
    #[test]
    fn what_a_turn_has_no_time_for_is_met_in_the_next_ones() {
        let (mut worker, mut clients) = overloaded();
        let mail = crossbeam_channel::never();
        worker.core.now -= 2 * limits::LONG_TURN;
        worker.meet_later(&mail);
        assert_eq!(clients.each_mut().map(is_answered), [true, false, false]);
        assert_eq!(worker.timeout(worker.core.now), Some(Duration::ZERO));
        worker.meet_later(&mail);
        assert_eq!(clients.each_mut().map(is_answered), [false, true, false]);
        worker.acceptance.overload.queues = 0;
        worker.later.push_back((token(Key::new(0, 0), CLIENT_SOCKET), READABLE));
        worker.meet_later(&mail);
        assert!(is_answered(&mut clients[2]) && worker.later.is_empty());
        assert_ne!(worker.timeout(worker.core.now), Some(Duration::ZERO));
    }

    #[test]
    fn a_turn_with_time_meets_all() {
        let (mut worker, mut clients) = overloaded();
        worker.core.now += Duration::from_secs(60);
        worker.meet_later(&crossbeam_channel::never());
        assert_eq!(clients.each_mut().map(is_answered), [true; 3]);
    }

    /// However many come, there are never more than two turns' worth.
    #[test]
    fn what_is_met_late_has_a_bound() {
        let (mut worker, _clients) = overloaded();
        worker.core.now -= 2 * limits::LONG_TURN;
        let gone = (token(Key::new(0, 99), CLIENT_SOCKET), READABLE);
        worker.later.extend([gone; limits::EVENTS_PER_TURN]);
        worker.meet_later(&crossbeam_channel::never());
        assert!(worker.later.is_empty());
    }

    /// A socket to a target may give its number to another, and those that are set up do not wait.
    #[test]
    fn only_what_clients_send_who_are_not_set_up_comes_later() {
        let (mut worker, _clients) = overloaded();
        let key = worker.slots[0].connection.key;
        assert!(!worker.comes_later(token(key, CLIENT_SOCKET + 1)));
        assert!(!worker.comes_later(EventSource::Listener(0).token()));
        worker.slots[0].phase = Phase::Between;
        assert!(!worker.comes_later(token(key, CLIENT_SOCKET)));
        worker.acceptance.overload.queues = 0;
        let next = worker.slots[1].connection.key;
        assert!(!worker.comes_later(token(next, CLIENT_SOCKET)));
    }
}
