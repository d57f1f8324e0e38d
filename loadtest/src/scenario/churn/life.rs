//! One session of the soak: what it does, decided by the seed and its number, and how far it is.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::keyed::Keyed;
use crate::keyed::script::{Conduct, Finding, SCRIPT_BYTES, Script, VERDICT_BYTES, Way, Wrong};
use crate::seeded::{Seeded, mix};

/// The most bytes of one direction.
const STREAM_BYTES_MAX: u64 = 1 << 20;
/// A pause takes so many milliseconds, at most.
const PAUSE_MS_MAX: u64 = 400;
/// Events of the handshake after which a client may leave.
const HANDSHAKE_EVENTS_MAX: u64 = 5;

/// What a session does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Action {
    /// Both directions at once, to their ends.
    #[default]
    Exchange,
    /// Both directions at once, to their ends, with silence in the middle.
    Pause,
    /// The client sends all and FIN, then reads.
    ClientHalfClose,
    /// The origin sends all and FIN, then reads.
    OriginHalfClose,
    /// The client resets in mid-stream.
    ClientReset,
    /// The client closes in mid-stream without reading on, as a killed process does.
    ClientKill,
    /// The origin resets in mid-stream.
    OriginReset,
    /// The client closes or resets during the handshake.
    Leave,
}

impl Action {
    pub(crate) const ALL: [Self; 8] = [
        Self::Exchange,
        Self::Pause,
        Self::ClientHalfClose,
        Self::OriginHalfClose,
        Self::ClientReset,
        Self::ClientKill,
        Self::OriginReset,
        Self::Leave,
    ];

    fn conduct(self) -> Conduct {
        match self {
            Self::Exchange | Self::Pause => Conduct::Exchange,
            Self::ClientHalfClose => Conduct::AfterFin,
            Self::OriginHalfClose => Conduct::FinFirst,
            Self::ClientReset => Conduct::BearReset,
            Self::ClientKill | Self::Leave => Conduct::BearClose,
            Self::OriginReset => Conduct::Reset,
        }
    }
}

/// What the client has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing can move now.
    Wait,
    /// The budget ended first.
    More,
    /// Silence until then.
    Sleep(Instant),
    /// It is over: close, with RST where `reset`.
    End { reset: bool },
}

/// A session.
pub(crate) struct Life {
    pub(super) action: Action,
    script: Script,
    /// The last time that a byte moved.
    pub(super) moved_at: Instant,
    /// When it is looked at again, whether bytes move or not.
    pub(super) watched_until: Option<Instant>,
    /// The origin's RST arrived as a FIN.
    pub(super) reset_came_as_fin: bool,
    up: Keyed,
    down: Keyed,
    head: [u8; SCRIPT_BYTES],
    head_sent: usize,
    /// Where the client breaks off, pauses, or waits for the origin's FIN.
    up_mark: u64,
    down_mark: u64,
    pause: Option<Duration>,
    asleep_until: Option<Instant>,
    leave_after: u64,
    leave_with_reset: bool,
    verdict_got: usize,
    fin_got: bool,
    fin_sent: bool,
}

impl Life {
    /// Session number `session`: one of `actions`, which are at least one.
    pub(super) fn draw(actions: &[Action], seed: u64, run: u64, session: u64, now: Instant) -> Self {
        let mut chance = Seeded::new(seed, session);
        let action = actions[chance.below(actions.len() as u64) as usize];
        let (up, down) = (chance.magnitude(STREAM_BYTES_MAX), chance.magnitude(STREAM_BYTES_MAX));
        let key = mix(mix(seed) ^ mix(session));
        let script = Script { conduct: action.conduct(), run, session, key, up, down };
        let pause = Duration::from_millis(1 + chance.below(PAUSE_MS_MAX));
        Self {
            action,
            script,
            down: Keyed::down(key),
            moved_at: now,
            watched_until: None,
            reset_came_as_fin: false,
            up: Keyed::up(key),
            head: script.encode(),
            head_sent: 0,
            up_mark: chance.below(up + 1),
            down_mark: chance.below(down + 1),
            pause: (action == Action::Pause).then_some(pause),
            asleep_until: None,
            leave_after: chance.below(HANDSHAKE_EVENTS_MAX + 1),
            leave_with_reset: chance.below(2) == 0,
            verdict_got: 0,
            fin_got: false,
            fin_sent: false,
        }
    }

    /// An event of the handshake: whether the client leaves now.
    pub(super) fn leaves(&mut self) -> Option<Step> {
        if self.action != Action::Leave {
            return None;
        }
        let now = self.leave_after == 0;
        self.leave_after = self.leave_after.saturating_sub(1);
        now.then_some(Step::End { reset: self.leave_with_reset })
    }

    /// Sends and receives what can be, up to about `budget` bytes.
    pub(super) fn step(
        &mut self,
        stream: &mut TcpStream,
        inbox: &mut [u8],
        budget: usize,
    ) -> Result<Step, Wrong> {
        let mut left = budget;
        loop {
            let moved = match self.send(stream).and_then(|sent| Ok(sent + self.receive(stream, inbox)?)) {
                Ok(moved) => moved,
                // Whatever came before the reset was read and checked.
                Err(Wrong::Reset) if self.action == Action::OriginReset => {
                    return Ok(Step::End { reset: false });
                }
                Err(wrong) => return Err(wrong),
            };
            if let Some(step) = self.reached() {
                return Ok(step);
            }
            if moved == 0 {
                return Ok(Step::Wait);
            }
            self.moved_at = Instant::now();
            left = left.saturating_sub(moved);
            if left == 0 {
                return Ok(Step::More);
            }
        }
    }

    /// How far the client may send at present.
    fn send_limit(&self) -> u64 {
        let held_back = match self.action {
            Action::ClientReset | Action::ClientKill => true,
            Action::Pause => self.pause.is_some(),
            Action::OriginHalfClose => !self.fin_got,
            _ => false,
        };
        if held_back { self.up_mark } else { self.script.up }
    }

    fn send(&mut self, stream: &mut TcpStream) -> Result<usize, Wrong> {
        let mut moved = 0;
        while self.head_sent < SCRIPT_BYTES {
            match written(stream.write(&self.head[self.head_sent..]))? {
                Some(count) => self.head_sent += count,
                None => return Ok(moved),
            }
            moved += 1;
        }
        while self.up.count < self.send_limit() {
            match written(stream.write(self.up.window(self.send_limit() - self.up.count)))? {
                Some(count) => {
                    self.up.advance(count);
                    moved += count;
                }
                None => return Ok(moved),
            }
        }
        let whole = self.up.count == self.script.up && !self.fin_sent;
        let closes = match self.action {
            Action::ClientHalfClose => true,
            Action::OriginHalfClose => self.fin_got,
            // With the verdict everything is there; the FIN asks for the origin's.
            Action::Exchange | Action::Pause => self.verdict_got == VERDICT_BYTES,
            _ => false,
        };
        if whole && closes {
            // A connection that is reset by now shows it to the next read.
            let _ = stream.shutdown(Shutdown::Write);
            self.fin_sent = true;
            moved += 1;
        }
        Ok(moved)
    }

    fn receive(&mut self, stream: &mut TcpStream, inbox: &mut [u8]) -> Result<usize, Wrong> {
        // Who breaks off reads no further than that, for the rest to be in the socket.
        let room = match self.action {
            Action::ClientReset | Action::ClientKill => {
                (self.down_mark - self.down.count).min(inbox.len() as u64) as usize
            }
            _ => inbox.len(),
        };
        if room == 0 || self.fin_got {
            return Ok(0);
        }
        match stream.read(&mut inbox[..room]) {
            Ok(0) => self.fin().map(|()| 1),
            Ok(count) => self.check(&inbox[..count]).map(|()| count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(Wrong::Reset),
        }
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        let rest = self.script.down - self.down.count;
        let (own, after) = bytes.split_at(bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX)));
        if let Err(position) = self.down.check(own) {
            self.down.advance((position - self.down.count) as usize);
            return Err(Wrong::Byte);
        }
        let verdict = self.script.verdict();
        let judged = matches!(self.script.conduct, Conduct::Exchange | Conduct::AfterFin);
        let wanted = if judged { &verdict[self.verdict_got..] } else { &[] };
        if after.len() > wanted.len() {
            return Err(Wrong::Extra);
        }
        if *after != wanted[..after.len()] {
            return Err(Wrong::Byte);
        }
        self.verdict_got += after.len();
        Ok(())
    }

    fn fin(&mut self) -> Result<(), Wrong> {
        self.fin_got = true;
        let whole = self.down.count == self.script.down;
        let right = match self.action {
            Action::Exchange | Action::Pause => self.fin_sent && self.verdict_got == VERDICT_BYTES,
            Action::ClientHalfClose => self.verdict_got == VERDICT_BYTES,
            Action::OriginHalfClose => whole,
            Action::OriginReset => {
                self.reset_came_as_fin = true;
                true
            }
            Action::ClientReset | Action::ClientKill | Action::Leave => false,
        };
        if right { Ok(()) } else { Err(Wrong::Missing) }
    }

    /// Whether the session has come to something.
    fn reached(&mut self) -> Option<Step> {
        match self.action {
            Action::ClientReset | Action::ClientKill => {
                let there = self.up.count == self.up_mark && self.down.count == self.down_mark;
                (there && self.head_sent == SCRIPT_BYTES)
                    .then_some(Step::End { reset: self.action == Action::ClientReset })
            }
            Action::Leave => Some(Step::End { reset: self.leave_with_reset }),
            Action::Pause if self.pause.is_some() && self.up.count == self.up_mark => {
                self.asleep_until = self.pause.take().map(|pause| Instant::now() + pause);
                self.asleep_until.map(Step::Sleep)
            }
            Action::OriginReset => self.fin_got.then_some(Step::End { reset: false }),
            _ => (self.fin_got && self.fin_sent).then_some(Step::End { reset: false }),
        }
    }

    /// Until when it neither sends nor reads.
    pub(super) fn asleep_until(&self, now: Instant) -> Option<Instant> {
        self.asleep_until.filter(|until| now < *until)
    }

    /// Bytes that were sent and bytes that were checked.
    pub(super) fn moved(&self) -> u64 {
        self.up.count + self.down.count
    }

    /// What is wrong here.
    pub(super) fn finding(&self, wrong: Wrong) -> Finding {
        let Script { session, key, .. } = self.script;
        let position = self.down.count + self.verdict_got as u64;
        Finding { session, key, way: Way::Down, position, wrong }
    }
}

/// `None` when the send buffer is full.
fn written(outcome: std::io::Result<usize>) -> Result<Option<usize>, Wrong> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(_) => Err(Wrong::Reset),
    }
}

impl Default for Life {
    /// A connection that has not been told what to do.
    fn default() -> Self {
        Self::draw(&[Action::Leave], 0, 0, 0, Instant::now())
    }
}
