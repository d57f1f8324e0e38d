//! What client and origin of a keyed session tell each other beside the streams: the script that the
//! client sends first, the verdict that ends an orderly session, and the tally that the origin keeps of a
//! whole run. All numbers are big-endian.

use std::fmt;

use crate::seeded::mix;

/// The first four bytes of a script, and of a verdict.
const SCRIPT: [u8; 4] = *b"oKEY";
const VERDICT: [u8; 4] = *b"oKAY";
/// `SCRIPT`, conduct, three zeros, run, session, key, up, down, checksum.
pub(crate) const SCRIPT_BYTES: usize = 4 + 4 + 6 * 8;
/// `VERDICT`, four zeros, key, bytes received.
pub(crate) const VERDICT_BYTES: usize = 4 + 4 + 2 * 8;
/// Nine numbers.
pub(crate) const TALLY_BYTES: usize = 9 * 8;

/// What the origin does in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Sends and receives at once; then its verdict; then it waits for the client's FIN.
    Exchange,
    /// Sends nothing before the client's FIN; then all, its verdict and FIN.
    AfterFin,
    /// Sends all and FIN, and receives until the client's FIN.
    FinFirst,
    /// Sends and receives; the client resets anywhere.
    BearReset,
    /// Sends and receives; the client closes anywhere, with bytes unread.
    BearClose,
    /// Sends all and RST.
    Reset,
    /// Tells the tally of the run: no session.
    Tell,
}

impl Conduct {
    const ALL: [Self; 7] = [
        Self::Exchange,
        Self::AfterFin,
        Self::FinFirst,
        Self::BearReset,
        Self::BearClose,
        Self::Reset,
        Self::Tell,
    ];

    /// Whether every byte and both ends must arrive.
    pub(crate) fn is_orderly(self) -> bool {
        matches!(self, Self::Exchange | Self::AfterFin | Self::FinFirst)
    }
}

/// The client's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) conduct: Conduct,
    /// Tells the runs that share an origin apart.
    pub(crate) run: u64,
    pub(crate) session: u64,
    pub(crate) key: u64,
    /// Bytes that the client sends after this message, at most.
    pub(crate) up: u64,
    /// Bytes that the origin sends, the verdict not counted.
    pub(crate) down: u64,
}

impl Script {
    pub(crate) fn encode(&self) -> [u8; SCRIPT_BYTES] {
        let mut bytes = [0; SCRIPT_BYTES];
        bytes[..4].copy_from_slice(&SCRIPT);
        let conduct = Conduct::ALL.iter().position(|conduct| *conduct == self.conduct);
        bytes[4] = conduct.expect("ALL has all") as u8;
        let numbers = [self.run, self.session, self.key, self.up, self.down];
        put(&numbers, &mut bytes[8..SCRIPT_BYTES - 8]);
        let checksum = checksum(&bytes);
        put(&[checksum], &mut bytes[SCRIPT_BYTES - 8..]);
        bytes
    }

    /// `None` for bytes that no client sends.
    pub(crate) fn decode(bytes: &[u8; SCRIPT_BYTES]) -> Option<Self> {
        let [run, session, key, up, down, sum] = take(&bytes[8..]);
        let conduct = *Conduct::ALL.get(usize::from(bytes[4]))?;
        let right = bytes[..4] == SCRIPT && bytes[5..8] == [0; 3] && sum == checksum(bytes);
        right.then_some(Self { conduct, run, session, key, up, down })
    }

    /// What the origin says of a session in which it received `up` bytes, all of them right.
    pub(crate) fn verdict(&self) -> [u8; VERDICT_BYTES] {
        let mut bytes = [0; VERDICT_BYTES];
        bytes[..4].copy_from_slice(&VERDICT);
        put(&[self.key, self.up], &mut bytes[8..]);
        bytes
    }
}

/// Of everything before the checksum.
fn checksum(bytes: &[u8; SCRIPT_BYTES]) -> u64 {
    bytes[..SCRIPT_BYTES - 8].iter().fold(0, |sum, byte| mix(sum ^ u64::from(*byte)))
}

fn put(numbers: &[u64], out: &mut [u8]) {
    for (number, bytes) in numbers.iter().zip(out.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&number.to_be_bytes());
    }
}

/// The first `N` numbers of `bytes`, which hold as many.
fn take<const N: usize>(bytes: &[u8]) -> [u64; N] {
    std::array::from_fn(|at| u64::from_be_bytes(bytes[at * 8..][..8].try_into().expect("8 bytes")))
}

/// What was wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A byte that differs: foreign, doubled or out of place.
    Byte,
    /// A byte after the last.
    Extra,
    /// An orderly end where more had to come.
    Missing,
    /// A reset where none may be.
    Reset,
    /// Nothing came for too long.
    Silence,
    /// The first message is no script.
    Script,
}

impl Wrong {
    const ALL: [Self; 6] = [Self::Byte, Self::Extra, Self::Missing, Self::Reset, Self::Silence, Self::Script];

    /// Whether bytes arrived that the session never had.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(self, Self::Byte | Self::Extra | Self::Script)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "a wrong byte",
            Self::Extra => "a byte too many",
            Self::Missing => "a FIN where more bytes had to come",
            Self::Reset => "a reset where none may be",
            Self::Silence => "no byte where more had to come",
            Self::Script => "a first message that no client sent",
        })
    }
}

/// Which way a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// Something wrong in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) session: u64,
    pub(crate) key: u64,
    pub(crate) way: Way,
    /// Bytes of the stream before it.
    pub(crate) position: u64,
    pub(crate) wrong: Wrong,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Up => "origin",
            Way::Down => "client",
        };
        let Self { session, key, position, wrong, .. } = self;
        write!(f, "session {session} with key {key:#018x}: {wrong}, at position {position} toward the {way}")
    }
}

/// What the origin has seen of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Orderly sessions with every byte and both ends.
    pub(crate) whole: u64,
    /// Sessions that have not ended.
    pub(crate) live: u64,
    /// Ends of sessions that the client reset, as they arrived.
    pub(crate) resets: u64,
    pub(crate) fins: u64,
    pub(crate) findings: u64,
    pub(crate) first: Option<Finding>,
}

impl Tally {
    pub(crate) fn encode(&self) -> [u8; TALLY_BYTES] {
        let mut bytes = [0; TALLY_BYTES];
        let [session, key, position, wrong] = self.first.map_or([0; 4], |first| {
            let wrong = Wrong::ALL.iter().position(|wrong| *wrong == first.wrong);
            [first.session, first.key, first.position, wrong.expect("ALL has all") as u64 + 1]
        });
        let counts = [self.whole, self.live, self.resets, self.fins, self.findings];
        put(&counts, &mut bytes);
        put(&[session, key, position, wrong], &mut bytes[5 * 8..]);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; TALLY_BYTES]) -> Self {
        let [whole, live, resets, fins, findings, session, key, position, wrong] = take(bytes);
        let wrong = wrong.checked_sub(1).and_then(|at| Wrong::ALL.get(at as usize).copied());
        let first = wrong.map(|wrong| Finding { session, key, position, wrong, way: Way::Up });
        Self { whole, live, resets, fins, findings, first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Script = Script { conduct: Conduct::FinFirst, run: 1, session: 2, key: 3, up: 4, down: 5 };

    #[test]
    fn a_script_is_what_was_sent_or_nothing() {
        let bytes = GOOD.encode();
        assert_eq!(bytes[..16], [b'o', b'K', b'E', b'Y', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Script::decode(&bytes), Some(GOOD));
        for at in 0..SCRIPT_BYTES {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_eq!(Script::decode(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn a_verdict_is_the_sessions_own() {
        assert_eq!(GOOD.verdict()[..16], [b'o', b'K', b'A', b'Y', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_ne!(GOOD.verdict(), Script { up: 5, ..GOOD }.verdict());
    }

    #[test]
    fn a_tally_comes_over() {
        let first = Finding { session: 6, key: 7, way: Way::Up, position: 8, wrong: Wrong::Script };
        let tally = Tally { whole: 1, live: 2, resets: 3, fins: 4, findings: 5, first: Some(first) };
        assert_eq!(Tally::decode(&tally.encode()), tally);
        assert_eq!(Tally::decode(&Tally::default().encode()), Tally::default());
    }
}
