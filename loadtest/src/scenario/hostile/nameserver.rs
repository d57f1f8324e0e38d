//! The name server of a run (RFC 1035 section 4): good names have the target's address, the attack's own names what
//! the attack wants. It serves UDP and IPv4 addresses; of other types a name has none.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::fault::Fault;

/// The longest message that is read: queries are short.
const QUERY_BYTES: usize = 1500;
const HEADER_BYTES: usize = 12;
/// QTYPE and QCLASS.
const QUESTION_TAIL: usize = 4;
/// QR, RD and RA: an answer of a server that asks others (RFC 1035 section 4.1.1).
const FLAGS: [u8; 2] = [0x81, 0x80];
/// A pointer to the question's name, type A, class IN, a minute to live, four octets.
const RECORD_HEAD: [u8; 12] = [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
/// A type that is answered with addresses.
const A: u16 = 1;
/// The label of names that are the attack's.
const EVIL: &[u8] = b"evil";
/// A look at whether the run is over, at least so often.
const TURN: Duration = Duration::from_millis(50);

/// What becomes of the attack's names.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Never,
    /// The target's address, after this.
    Late(Duration),
    Addresses(Vec<Ipv4Addr>),
}

/// A name of the others. The domain is nobody's (RFC 6761 section 6.2).
pub(super) fn good(number: u64) -> String {
    format!("g{number}.good.test")
}

/// A name of the attack.
pub(super) fn evil(number: u64) -> String {
    format!("x{number}.evil.test")
}

/// Serves from a thread of its own until it is stopped.
pub(super) struct NameServer {
    over: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

struct NameService {
    socket: UdpSocket,
    target: Ipv4Addr,
    evil: Answer,
    /// In order of time: each has been put off by the same.
    late: VecDeque<(Instant, Vec<u8>, SocketAddr)>,
    asked: u64,
    answered: u64,
}

impl NameServer {
    pub(super) fn start(at: SocketAddr, target: SocketAddr, evil: Answer) -> Result<Self, Fault> {
        let IpAddr::V4(target) = target.ip() else {
            return Err(Fault::Unarmed("good names need a target with an IPv4 address".to_owned()));
        };
        let socket = UdpSocket::bind(at)
            .map_err(|error| Fault::Unarmed(format!("names cannot be served at {at}: {error}")))?;
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let service = NameService { socket, target, evil, late: VecDeque::new(), asked: 0, answered: 0 };
        Ok(Self { over, thread: thread::spawn(move || service.run(&flag)) })
    }

    /// How many questions it got and answered.
    pub(super) fn stop(self) -> (u64, u64) {
        self.over.store(true, Ordering::Release);
        self.thread.join().expect("the name server does not panic")
    }
}

impl NameService {
    fn run(mut self, over: &AtomicBool) -> (u64, u64) {
        let mut query = [0; QUERY_BYTES];
        while !over.load(Ordering::Acquire) {
            let due = self.late.front().map(|(due, ..)| due.saturating_duration_since(Instant::now()));
            // A time of 0 would wait for ever.
            let wait = due.unwrap_or(TURN).clamp(Duration::from_micros(100), TURN);
            let got =
                self.socket.set_read_timeout(Some(wait)).and_then(|()| self.socket.recv_from(&mut query));
            if let Ok((length, from)) = got {
                self.ask(&query[..length], from);
            }
            while self.late.front().is_some_and(|(due, ..)| *due <= Instant::now()) {
                let (_, answer, to) = self.late.pop_front().expect("it was there");
                self.send(&answer, to);
            }
        }
        (self.asked, self.answered)
    }

    fn ask(&mut self, query: &[u8], from: SocketAddr) {
        self.asked += 1;
        let Some(question) = Question::of(query) else { return };
        match &self.evil {
            _ if !question.is_evil => self.send(&question.answer(&[self.target]), from),
            Answer::Never => {}
            Answer::Late(delay) => {
                let answer = question.answer(&[self.target]);
                self.late.push_back((Instant::now() + *delay, answer, from));
            }
            Answer::Addresses(addresses) => self.send(&question.answer(addresses), from),
        }
    }

    fn send(&mut self, answer: &[u8], to: SocketAddr) {
        // Whoever has closed his port wants no answer any more.
        let sent: io::Result<usize> = self.socket.send_to(answer, to);
        self.answered += u64::from(sent.is_ok());
    }
}

/// One question.
struct Question<'a> {
    id: &'a [u8],
    /// The section as it came: name, type and class.
    section: &'a [u8],
    of_type: u16,
    is_evil: bool,
}

impl<'a> Question<'a> {
    /// `None` for what is no query with a whole question.
    fn of(query: &'a [u8]) -> Option<Self> {
        let (mut at, mut is_evil) = (HEADER_BYTES, false);
        loop {
            let length = usize::from(*query.get(at)?);
            let label = query.get(at + 1..at + 1 + length)?;
            is_evil |= label.eq_ignore_ascii_case(EVIL);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
        let section = query.get(HEADER_BYTES..at + QUESTION_TAIL)?;
        Some(Self {
            id: &query[..2],
            section,
            of_type: u16::from_be_bytes([query[at], query[at + 1]]),
            is_evil,
        })
    }

    /// These addresses, where addresses were asked for.
    fn answer(&self, addresses: &[Ipv4Addr]) -> Vec<u8> {
        let addresses = if self.of_type == A { addresses } else { &[] };
        let mut answer = [self.id, &FLAGS[..], &[0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]].concat();
        answer.extend_from_slice(self.section);
        for address in addresses {
            answer.extend_from_slice(&RECORD_HEAD);
            answer.extend_from_slice(&address.octets());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ID 0x1234, RD, one question and an OPT record, for `name` in wire form.
    fn query(name: &[u8], of_type: u8) -> Vec<u8> {
        let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
        [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1], name, &[0, of_type, 0, 1], &opt].concat()
    }

    #[test]
    fn addresses_are_answered_where_they_are_asked_for() {
        let asked = query(b"\x01a\x04test\x00", 1);
        let question = Question::of(&asked).expect("a question");
        assert!(!question.is_evil);
        let head = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        let record = [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 9];
        let wanted = [&head[..], b"\x01a\x04test\x00", &[0, 1, 0, 1], &record].concat();
        assert_eq!(question.answer(&[Ipv4Addr::new(127, 0, 0, 9)]), wanted);
        let asked = query(b"\x01a\x04test\x00", 28);
        let none = Question::of(&asked).expect("a question").answer(&[Ipv4Addr::LOCALHOST]);
        assert_eq!((none[7], none.len()), (0, 12 + 8 + 4));
    }

    #[test]
    fn the_names_of_the_attack_are_known_in_any_case() {
        let is_evil = |name: &[u8]| Question::of(&query(name, 1)).expect("a question").is_evil;
        assert!(is_evil(b"\x02x1\x04eViL\x04test\x00"));
        assert!(!is_evil(b"\x06medial\x05devil\x04test\x00"));
        assert!(evil(7).contains(".evil.") && !good(7).contains("evil"));
    }

    #[test]
    fn half_a_question_is_none() {
        let whole = query(b"\x01a\x04test\x00", 1);
        assert!((0..12 + 8 + 4).all(|length| Question::of(&whole[..length]).is_none()));
    }

    #[test]
    fn late_means_late() {
        let (target, delay) = ("127.0.0.9:1".parse().expect("an address"), Duration::from_millis(30));
        let ours = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let server = NameServer::start(at, target, Answer::Late(delay)).expect("it listens");
        let began = Instant::now();
        ours.send_to(&query(b"\x04evil\x00", 1), at).expect("it leaves");
        let mut answer = [0; 100];
        let (length, _) = ours.recv_from(&mut answer).expect("an answer");
        assert!(began.elapsed() >= delay && answer[..length].ends_with(&[127, 0, 0, 9]));
        assert_eq!(server.stop(), (1, 1));
    }
}
