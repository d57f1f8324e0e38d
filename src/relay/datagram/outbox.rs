//! One batch of datagrams on its way out of one socket. Payloads stay where they were received; equal-sized neighbours
//! for one address leave as a single send that the kernel cuts (UDP_SEGMENT).

use std::net::SocketAddr;
use std::ops::Range;

use super::drops::{Drop, Drops};
use super::tally::{Flow, Tally};
use crate::limits;
use crate::proto::udp;
use crate::sys::Errno;
use crate::sys::mmsg::{Composer, Sender};
use crate::sys::udp::DatagramSocket;

/// The batch of one socket.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Headers of RFC 1928 section 7 for what goes to a client.
    heads: Vec<u8>,
    datagrams: Vec<Datagram>,
    /// From whom the datagrams are from each of these on, where that is tallied.
    origins: Vec<(usize, SocketAddr)>,
    messages: Vec<Message>,
}

/// Where a header stands among `heads`; the default is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    start: u32,
    end: u32,
}

/// One datagram: its header, and its payload in the arena.
#[derive(Clone, Copy, Debug)]
struct Datagram {
    head: Head,
    start: u32,
    end: u32,
    /// Bytes that count: the payload without what a seal adds.
    payload: u32,
}

/// Neighbours that leave in one send.
#[derive(Clone, Debug)]
struct Message {
    to: Option<SocketAddr>,
    datagrams: Range<usize>,
    /// Size of every datagram but the last, headers included.
    segment: usize,
    bytes: usize,
    /// A shorter datagram was the last that may join.
    closed: bool,
}

/// Where the kernel refused to cut: nothing of this size or more is offered joined again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    segment_max: usize,
}

impl Default for Joining {
    fn default() -> Joining {
        Joining { segment_max: limits::UDP_JOINED_BYTES_MAX }
    }
}

/// How many messages the next call is given. What stands behind one that the kernel refuses was put together in vain, so
/// among refused ones a call has but one: the work stays in proportion to the messages, however many are refused.
#[derive(Debug)]
struct Window(usize);

/// Where a flush counts what went out and what did not.
#[derive(Debug)]
pub(super) struct Sent<'a> {
    pub(super) flow: &'a mut Flow,
    pub(super) drops: &'a mut Drops,
    pub(super) tally: Option<&'a mut Tally>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Writes the header that datagrams from `peer` have in front.
    pub(super) fn head(&mut self, peer: SocketAddr) -> Head {
        let mut bytes = [0; limits::UDP_HEADER_MAX];
        let len = udp::encode(peer, &mut bytes);
        let start = self.heads.len();
        self.heads.extend_from_slice(&bytes[..len]);
        Head { start: start as u32, end: (start + len) as u32 }
    }

    /// What is pushed from here on is from `peer`: for a tally.
    pub(super) fn origin(&mut self, peer: SocketAddr) {
        self.origins.push((self.datagrams.len(), peer));
    }

    /// Adds one datagram: a header or nothing, and bytes of the arena that [`Outbox::flush`] will be given.
    pub(super) fn push(
        &mut self,
        to: Option<SocketAddr>,
        head: Head,
        payload: Range<usize>,
        joining: Joining,
    ) {
        let counts = payload.len();
        self.push_counted(to, head, payload, counts, joining);
    }

    /// Adds one datagram, of whose bytes only so many are payload: a seal adds the others.
    pub(super) fn push_counted(
        &mut self,
        to: Option<SocketAddr>,
        head: Head,
        bytes: Range<usize>,
        payload: usize,
        joining: Joining,
    ) {
        let size = (head.end - head.start) as usize + bytes.len();
        let at = self.datagrams.len();
        let (start, end) = (bytes.start as u32, bytes.end as u32);
        self.datagrams.push(Datagram { head, start, end, payload: payload as u32 });
        if let Some(last) = self.messages.last_mut()
            && last.takes(to, size, joining)
        {
            last.datagrams.end = at + 1;
            last.bytes += size;
            last.closed = size < last.segment;
            return;
        }
        self.messages.push(Message { to, datagrams: at..at + 1, segment: size, bytes: size, closed: false });
    }

    /// Sends all that was pushed and begins anew. What the kernel refuses is dropped and counted, alone.
    pub(super) fn flush(
        &mut self,
        socket: &DatagramSocket,
        arena: &[u8],
        sender: &mut Sender,
        joining: &mut Joining,
        sent: &mut Sent<'_>,
    ) {
        let mut next = 0;
        let mut retried = false;
        let mut window = Window::default();
        while next < self.messages.len() {
            let offered = &self.messages[next..self.messages.len().min(next + window.0)];
            let mut composer = sender.compose();
            for message in offered {
                self.compose(&mut composer, arena, message);
            }
            match composer.send(socket) {
                Ok(count) => {
                    offered[..count].iter().for_each(|message| self.count(message, sent));
                    window.sent(count);
                    next += count;
                    retried = false;
                }
                Err(Errno::EINTR) => {}
                // The error of an earlier datagram (ICMP) is told in place of this send, once.
                Err(Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH) if !retried => {
                    retried = true
                }
                Err(Errno::EAGAIN) => {
                    let left: usize =
                        self.messages[next..].iter().map(|message| message.datagrams.len()).sum();
                    sent.drops.add(Drop::Blocked, left);
                    break;
                }
                Err(errno) => {
                    retried = false;
                    window.sent(0);
                    let Message { datagrams, segment, .. } = &self.messages[next];
                    if datagrams.len() > 1 {
                        joining.refused(*segment, errno);
                        self.split(next);
                    } else {
                        sent.drops.add(Drop::of_send(errno), 1);
                        next += 1;
                    }
                }
            }
        }
        self.heads.clear();
        self.datagrams.clear();
        self.origins.clear();
        self.messages.clear();
    }

    /// Takes apart what the kernel would not cut.
    fn split(&mut self, at: usize) {
        let joined = self.messages[at].clone();
        let single = joined.datagrams.map(|datagram| {
            let Datagram { head, start, end, .. } = self.datagrams[datagram];
            let size = (head.end - head.start + end - start) as usize;
            let datagrams = datagram..datagram + 1;
            Message { to: joined.to, datagrams, segment: size, bytes: size, closed: true }
        });
        let single: Vec<Message> = single.collect();
        self.messages.splice(at..=at, single);
    }

    fn compose<'pieces>(
        &'pieces self,
        composer: &mut Composer<'_, 'pieces>,
        arena: &'pieces [u8],
        message: &Message,
    ) {
        let joined = message.datagrams.len() > 1;
        composer.message(message.to, joined.then_some(message.segment as u16));
        for datagram in &self.datagrams[message.datagrams.clone()] {
            let Head { start, end } = datagram.head;
            if start < end {
                composer.piece(&self.heads[start as usize..end as usize]);
            }
            composer.piece(&arena[datagram.start as usize..datagram.end as usize]);
        }
    }

    fn count(&self, message: &Message, sent: &mut Sent<'_>) {
        let datagrams = &self.datagrams[message.datagrams.clone()];
        let bytes = datagrams.iter().map(|datagram| u64::from(datagram.payload)).sum();
        let flow = Flow { datagrams: datagrams.len() as u64, bytes };
        sent.flow.add(flow);
        let Some(tally) = &mut sent.tally else { return };
        match message.to {
            Some(to) => tally.up(to, flow),
            None => self.tally_origins(message, tally),
        }
    }

    /// Counts the datagrams of a message by target: those of several targets may leave for the client in one send.
    fn tally_origins(&self, message: &Message, tally: &mut Tally) {
        for at in message.datagrams.clone() {
            let known = self.origins.partition_point(|(from, _)| *from <= at);
            if let Some((_, peer)) = known.checked_sub(1).and_then(|known| self.origins.get(known)) {
                tally.down(*peer, Flow { datagrams: 1, bytes: self.datagrams[at].payload.into() });
            }
        }
    }
}

impl Message {
    fn takes(&self, to: Option<SocketAddr>, size: usize, joining: Joining) -> bool {
        !self.closed
            && self.to == to
            && (1..=self.segment).contains(&size)
            && self.segment <= joining.segment_max
            && self.datagrams.len() < limits::UDP_JOINED_MAX
            && self.bytes + size <= limits::UDP_JOINED_BYTES_MAX
    }
}

impl Default for Window {
    fn default() -> Window {
        Window(limits::UDP_SENDS_MAX)
    }
}

impl Window {
    /// Takes note that `count` of the messages that were offered went out. Where that is not all, the next one is about to
    /// be refused.
    fn sent(&mut self, count: usize) {
        self.0 = if count < self.0 { 1 } else { (2 * self.0).min(limits::UDP_SENDS_MAX) };
    }
}

impl Joining {
    /// EIO and the like: this way out cannot cut at all. EINVAL, EMSGSIZE: a datagram of this size must be cut into
    /// IP fragments, which a joined send is not.
    fn refused(&mut self, segment: usize, errno: Errno) {
        self.segment_max = match errno {
            Errno::EINVAL | Errno::EMSGSIZE => segment.saturating_sub(1),
            Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT => 0,
            // Nothing that says a word about joining.
            _ => self.segment_max,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], port).into())
    }

    /// The messages that datagrams of these addresses and sizes are joined to, as counts.
    fn joined(datagrams: &[(u16, usize)]) -> Vec<usize> {
        let mut outbox = Outbox::default();
        for (port, size) in datagrams {
            outbox.push(to(*port), Head::default(), 0..*size, Joining::default());
        }
        outbox.messages.iter().map(|message| message.datagrams.len()).collect()
    }

    #[test]
    fn equal_neighbours_of_one_address_join_and_one_shorter_ends_them() {
        assert_eq!(joined(&[(1, 200), (1, 200), (1, 200)]), [3]);
        assert_eq!(joined(&[(1, 200), (2, 200), (1, 200)]), [1, 1, 1]);
        assert_eq!(joined(&[(1, 200), (1, 200), (1, 50), (1, 50), (1, 200)]), [3, 1, 1]);
        assert_eq!(joined(&[(1, 50), (1, 200)]), [1, 1]);
        assert_eq!(joined(&[(1, 0), (1, 0), (1, 10), (1, 0)]), [1, 1, 1, 1]);
    }

    #[test]
    fn a_send_has_so_many_segments_and_bytes_at_most() {
        assert_eq!(joined(&[(1, 1); limits::UDP_JOINED_MAX + 1]), [limits::UDP_JOINED_MAX, 1]);
        assert_eq!(joined(&[(1, 30_000), (1, 30_000), (1, 30_000)]), [2, 1]);
    }

    /// How many messages are put together until so many are gone, `bad` ones of which are refused.
    fn composed(messages: usize, bad: impl Fn(usize) -> bool) -> usize {
        let (mut composed, mut next, mut window) = (0, 0, Window::default());
        while next < messages {
            let offered = window.0.min(messages - next);
            composed += offered;
            let good = (next..next + offered).take_while(|at| !bad(*at)).count();
            window.sent(good);
            next += good.max(1);
        }
        composed
    }

    #[test]
    fn refused_messages_are_put_together_again_and_again() {
        const MANY: usize = 8192;
        assert_eq!(composed(MANY, |_| false), MANY);
        assert_eq!(composed(MANY, |_| true), MANY + limits::UDP_SENDS_MAX - 1);
        for run in 1..200 {
            let count = composed(MANY, |at| at % run == 0);
            assert!(count < 3 * MANY, "{count} where each {run}th is bad");
        }
    }

    #[test]
    fn what_the_kernel_would_not_cut_is_not_offered_again() {
        let mut joining = Joining::default();
        joining.refused(1473, Errno::EMSGSIZE);
        let mut outbox = Outbox::default();
        for size in [1473, 1473, 1472, 1472] {
            outbox.push(to(1), Head::default(), 0..size, joining);
        }
        let counts: Vec<usize> = outbox.messages.iter().map(|message| message.datagrams.len()).collect();
        assert_eq!(counts, [1, 1, 2]);
        joining.refused(100, Errno::EIO);
        assert_eq!(joining.segment_max, 0);
    }
}
