//! Names in datagrams: which address each has, and the datagrams that wait for one.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::limits;
use crate::proto::address::{Host, Name};

/// The names of one association. A name keeps its address for as long as it is remembered: what speaks to one host must
/// not find itself speaking to another.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The one used last stands last.
    known: Vec<Known>,
    /// The tag that was given last.
    tag: u32,
    asked: Vec<AskedName>,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Known {
    typed: Box<[u8]>,
    ip: IpAddr,
    tag: NameTag,
}

/// A name as it was typed that an association remembers, or none: the next that is remembered has another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NameTag(pub(super) u32);

impl NameTag {
    /// An address that no name led to.
    pub(super) const NONE: NameTag = NameTag(0);
}

/// A name that is being resolved.
#[derive(Debug)]
struct AskedName {
    lookup: u8,
    typed: Box<[u8]>,
    waiting: VecDeque<WaitingPayload>,
}

/// A datagram that waits for its target's address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WaitingPayload {
    pub(super) port: u16,
    pub(super) payload: Box<[u8]>,
}

/// What became of a datagram that had to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// Its name is being asked for.
    Behind,
    /// Its name must be asked for, as this lookup.
    Ask(u8),
    /// No room.
    Full,
}

impl Names {
    /// The address of a name as it was typed.
    pub(super) fn known(&mut self, typed: &[u8]) -> Option<(IpAddr, NameTag)> {
        let at = self.known.iter().rposition(|known| *known.typed == *typed)?;
        if at + 1 < self.known.len() {
            let known = self.known.remove(at);
            self.known.push(known);
        }
        self.known.last().map(|known| (known.ip, known.tag))
    }

    /// Remembers an address; of too many names the one that was not used for the longest time is forgotten.
    pub(super) fn learn(&mut self, typed: &[u8], ip: IpAddr) -> NameTag {
        if self.known.len() >= limits::UDP_NAMES_MAX {
            self.known.remove(0);
        }
        self.tag = self.tag.checked_add(1).unwrap_or(1);
        let tag = NameTag(self.tag);
        self.known.push(Known { typed: typed.into(), ip, tag });
        tag
    }

    /// The name of this tag in canonical form; an address that was typed as a name is none.
    pub(super) fn name(&self, tag: NameTag) -> Option<Name> {
        let known = self.known.iter().rfind(|known| known.tag == tag)?;
        match Host::parse(&known.typed) {
            Ok(Host::Name(name)) => Some(name),
            Ok(Host::Ip(_)) | Err(_) => None,
        }
    }

    /// The name used last that led to this address.
    pub(super) fn leading_to(&self, ip: IpAddr) -> NameTag {
        self.known.iter().rfind(|known| known.ip == ip).map_or(NameTag::NONE, |known| known.tag)
    }

    /// Keeps a datagram until its name has an address.
    pub(super) fn queue(&mut self, typed: &[u8], port: u16, payload: &[u8]) -> Queued {
        let datagrams: usize = self.asked.iter().map(|asked| asked.waiting.len()).sum();
        let bytes = self.waiting_bytes + payload.len();
        let full = datagrams >= limits::UDP_WAITING_MAX || bytes > limits::UDP_WAITING_BYTES_MAX;
        let at = self.asked.iter().position(|asked| *asked.typed == *typed);
        let (at, queued) = match at {
            _ if full => return Queued::Full,
            Some(at) => (at, Queued::Behind),
            None => {
                let free = (1..=limits::UDP_LOOKUPS_MAX)
                    .find(|lookup| self.asked.iter().all(|asked| asked.lookup != *lookup));
                let Some(lookup) = free else { return Queued::Full };
                self.asked.push(AskedName { lookup, typed: typed.into(), waiting: VecDeque::new() });
                (self.asked.len() - 1, Queued::Ask(lookup))
            }
        };
        self.waiting_bytes = bytes;
        self.asked[at].waiting.push_back(WaitingPayload { port, payload: payload.into() });
        queued
    }

    /// Bytes that wait for a name, and what keeping them costs.
    pub(super) fn held_bytes(&self) -> usize {
        let waiting = self.asked.iter().map(|asked| asked.waiting.len()).sum::<usize>();
        self.waiting_bytes + waiting * limits::UDP_HELD_OVERHEAD
    }

    /// Ends a lookup: the name as typed, and what waited for it, in order.
    pub(super) fn answered(&mut self, lookup: u8) -> Option<(Box<[u8]>, VecDeque<WaitingPayload>)> {
        let at = self.asked.iter().position(|asked| asked.lookup == lookup)?;
        let asked = self.asked.swap_remove(at);
        self.waiting_bytes -= asked.waiting.iter().map(|waiting| waiting.payload.len()).sum::<usize>();
        Some((asked.typed, asked.waiting))
    }

    /// Lookups that nobody has answered yet.
    pub(super) fn lookups(&self) -> impl Iterator<Item = u8> + '_ {
        self.asked.iter().map(|asked| asked.lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_wait_in_order_and_each_name_is_asked_for_once() {
        let mut names = Names::default();
        assert_eq!(names.queue(b"a", 1, b"one"), Queued::Ask(1));
        assert_eq!(names.queue(b"b", 2, b"two"), Queued::Ask(2));
        assert_eq!(names.queue(b"a", 3, b"three"), Queued::Behind);
        let (typed, waiting) = names.answered(1).unwrap();
        assert_eq!(*typed, *b"a");
        let payloads: Vec<_> = waiting.iter().map(|waiting| (waiting.port, &*waiting.payload)).collect();
        assert_eq!(payloads, [(1, &b"one"[..]), (3, b"three")]);
        assert_eq!(names.answered(1), None);
        assert_eq!(names.queue(b"c", 2, b""), Queued::Ask(1));
        assert_eq!(names.lookups().collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn what_waits_is_bounded_in_names_datagrams_and_bytes() {
        let mut names = Names::default();
        for number in 0..limits::UDP_LOOKUPS_MAX {
            assert_eq!(names.queue(&[number], 1, b""), Queued::Ask(number + 1));
        }
        assert_eq!(names.queue(b"one more", 1, b""), Queued::Full);
        let taken =
            (0..limits::UDP_WAITING_MAX).filter(|_| names.queue(&[0], 1, b"") == Queued::Behind).count();
        assert_eq!(taken, limits::UDP_WAITING_MAX - usize::from(limits::UDP_LOOKUPS_MAX));
        let mut names = Names::default();
        assert_eq!(names.queue(b"a", 1, &vec![0; limits::UDP_WAITING_BYTES_MAX]), Queued::Ask(1));
        assert_eq!(names.queue(b"a", 1, b"x"), Queued::Full);
        names.answered(1);
        assert_eq!(names.queue(b"a", 1, b"x"), Queued::Ask(1));
    }

    #[test]
    fn a_name_keeps_its_address_while_it_is_used() {
        let ip = |last: usize| IpAddr::from([127, 0, 0, last as u8]);
        let mut names = Names::default();
        names.learn(b"used", ip(1));
        for number in 0..2 * limits::UDP_NAMES_MAX {
            assert_eq!(names.known(b"used").map(|(ip, _)| ip), Some(ip(1)));
            names.learn(&[number as u8], ip(2));
        }
        assert_eq!(names.known(&[0]), None);
        let (_, tag) = names.known(b"used").unwrap();
        assert_eq!(names.name(tag).map(|name| name.to_string()).as_deref(), Some("used"));
        assert_eq!((names.leading_to(ip(1)), names.leading_to(ip(3))), (tag, NameTag::NONE));
        let numbers = names.learn(b"127.1", ip(1));
        assert_eq!((names.name(numbers), names.name(NameTag::NONE)), (None, None));
        assert_eq!(names.known.len(), limits::UDP_NAMES_MAX);
    }
}
