//! The keyed service: follows the client's script, checks every byte that comes against the session's
//! stream, and keeps a tally of each run, which a client may ask for.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;

use super::turn::{BUDGET_BYTES, Fate};
use crate::keyed::Keyed;
use crate::keyed::script::{Conduct, Finding, SCRIPT_BYTES, Script, Tally, Way, Wrong};

/// Runs that are remembered; the oldest is forgotten first.
const RUNS_KEPT: usize = 32;
/// The run that first messages are counted under which name none.
const NO_RUN: u64 = 0;

/// What was seen of each run.
#[derive(Default)]
pub(super) struct Ledger(VecDeque<(u64, Tally)>);

impl Ledger {
    fn of(&mut self, run: u64) -> &mut Tally {
        let at = self.0.iter().position(|(known, _)| *known == run).unwrap_or_else(|| {
            if self.0.len() == RUNS_KEPT {
                self.0.pop_front();
            }
            self.0.push_back((run, Tally::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn note(&mut self, run: u64, finding: Finding) {
        let tally = self.of(run);
        tally.findings += 1;
        tally.first.get_or_insert(finding);
    }

    /// A first message that is nobody's may have been anybody's.
    fn told(&mut self, run: u64) -> Tally {
        let nobodys = *self.of(NO_RUN);
        let own = *self.of(run);
        Tally { findings: own.findings + nobodys.findings, first: own.first.or(nobodys.first), ..own }
    }
}

/// One connection.
#[derive(Default)]
pub(super) struct Session {
    head: Vec<u8>,
    play: Option<Play>,
}

/// A script that is followed.
struct Play {
    script: Script,
    up: Keyed,
    down: Keyed,
    /// The verdict, from what is not yet sent of it.
    verdict: Vec<u8>,
    judged: bool,
    fin_seen: bool,
    fin_sent: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionEnd {
    Whole,
    /// The client broke off, as it may.
    Broken {
        reset: bool,
    },
    /// The script says that the origin resets.
    Reset,
    Wrong(Wrong),
}

impl Session {
    /// Goes as far as the socket allows.
    pub(super) fn step(
        &mut self,
        stream: &mut TcpStream,
        scratch: &mut [u8],
        ledger: &mut Ledger,
    ) -> io::Result<Fate> {
        while self.play.is_none() {
            match self.read_script(stream, ledger)? {
                Fate::Again => {}
                other => return Ok(other),
            }
        }
        let Some(play) = &mut self.play else { return Ok(Fate::Keep) };
        let (fate, end) = match play.step(stream, scratch) {
            Ok(Some(end)) => (Fate::Close, end),
            Ok(None) => return Ok(Fate::Keep),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Again),
            Err(_) if play.script.conduct.is_orderly() => (Fate::Close, SessionEnd::Wrong(Wrong::Reset)),
            Err(_) => (Fate::Close, SessionEnd::Broken { reset: true }),
        };
        play.settle(end, ledger);
        if matches!(end, SessionEnd::Reset | SessionEnd::Wrong(_)) {
            // The client is to see that something is wrong at once.
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(fate)
    }

    /// `Again` once the script is there, or a question has been answered.
    fn read_script(&mut self, stream: &mut TcpStream, ledger: &mut Ledger) -> io::Result<Fate> {
        let mut bytes = [0; SCRIPT_BYTES];
        while self.head.len() < SCRIPT_BYTES {
            match stream.read(&mut bytes[..SCRIPT_BYTES - self.head.len()]) {
                Ok(0) => return Ok(Fate::Close),
                Ok(count) => self.head.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) => return Err(error),
            }
        }
        bytes.copy_from_slice(&self.head);
        self.head.clear();
        let Some(script) = Script::decode(&bytes) else {
            let finding = Finding { session: 0, key: 0, way: Way::Up, position: 0, wrong: Wrong::Script };
            ledger.note(NO_RUN, finding);
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            return Ok(Fate::Close);
        };
        if script.conduct == Conduct::Tell {
            // A few bytes into a send buffer that holds nothing else.
            stream.write_all(&ledger.told(script.run).encode())?;
            return Ok(Fate::Again);
        }
        ledger.of(script.run).live += 1;
        self.play = Some(Play::new(script));
        Ok(Fate::Again)
    }
}

impl Play {
    fn new(script: Script) -> Self {
        Self {
            script,
            up: Keyed::up(script.key),
            down: Keyed::down(script.key),
            verdict: Vec::new(),
            judged: false,
            fin_seen: false,
            fin_sent: false,
        }
    }

    /// `Ok(None)` waits for an event; `WouldBlock` means that the budget ended first.
    fn step(&mut self, stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<Option<SessionEnd>> {
        let mut budget = BUDGET_BYTES;
        loop {
            let (read, sent) = match self.read(stream, scratch)? {
                Ok(count) => (count, self.send(stream)?),
                Err(end) => return Ok(Some(end)),
            };
            if let Some(end) = self.ending(stream)? {
                return Ok(Some(end));
            }
            if read + sent == 0 {
                return Ok(None);
            }
            budget = budget.saturating_sub(read + sent);
            if budget == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Reads once. The inner `Err` is how the session ends.
    fn read(&mut self, stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<Result<usize, SessionEnd>> {
        if self.fin_seen {
            return Ok(Ok(0));
        }
        let count = match stream.read(scratch) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Ok(0)),
            Err(error) => return Err(error),
        };
        let (orderly, missing) = (self.script.conduct.is_orderly(), self.up.count < self.script.up);
        if count == 0 {
            self.fin_seen = true;
            return Ok(match (orderly, missing) {
                (false, _) => Err(SessionEnd::Broken { reset: false }),
                (true, true) => Err(SessionEnd::Wrong(Wrong::Missing)),
                (true, false) => Ok(0),
            });
        }
        if let Err(position) = self.up.check(&scratch[..count]) {
            self.up.advance((position - self.up.count) as usize);
            let wrong = if position < self.script.up { Wrong::Byte } else { Wrong::Extra };
            return Ok(Err(SessionEnd::Wrong(wrong)));
        }
        let extra = self.up.count > self.script.up;
        Ok(if extra { Err(SessionEnd::Wrong(Wrong::Extra)) } else { Ok(count) })
    }

    /// Sends what the script wants sent by now.
    fn send(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        if self.script.conduct == Conduct::AfterFin && !self.fin_seen {
            return Ok(0);
        }
        let mut sent = 0;
        while self.down.count < self.script.down {
            match stream.write(self.down.window(self.script.down - self.down.count)) {
                Ok(count) => {
                    self.down.advance(count);
                    sent += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(sent),
                Err(error) => return Err(error),
            }
        }
        let judges = matches!(self.script.conduct, Conduct::Exchange | Conduct::AfterFin);
        if judges && !self.judged && self.up.count == self.script.up {
            self.judged = true;
            self.verdict = self.script.verdict().to_vec();
        }
        while !self.verdict.is_empty() {
            match stream.write(&self.verdict) {
                Ok(count) => drop(self.verdict.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// FIN and the end, once their time has come.
    fn ending(&mut self, stream: &TcpStream) -> io::Result<Option<SessionEnd>> {
        if self.down.count < self.script.down || !self.verdict.is_empty() {
            return Ok(None);
        }
        if self.script.conduct == Conduct::Reset {
            return Ok(Some(SessionEnd::Reset));
        }
        if self.script.conduct == Conduct::FinFirst && !self.fin_sent {
            stream.shutdown(Shutdown::Write)?;
            self.fin_sent = true;
        }
        // What the other orderly scripts end with is the close itself: nothing is left unread.
        let over = self.script.conduct.is_orderly() && self.fin_seen;
        Ok(over.then_some(SessionEnd::Whole))
    }

    fn settle(&self, end: SessionEnd, ledger: &mut Ledger) {
        let tally = ledger.of(self.script.run);
        // A run that was forgotten meanwhile begins anew.
        tally.live = tally.live.saturating_sub(1);
        match end {
            SessionEnd::Whole => tally.whole += 1,
            SessionEnd::Broken { reset } if self.script.conduct == Conduct::BearReset => {
                tally.resets += u64::from(reset);
                tally.fins += u64::from(!reset);
            }
            SessionEnd::Broken { .. } | SessionEnd::Reset => {}
            SessionEnd::Wrong(wrong) => {
                let Script { run, session, key, .. } = self.script;
                let position = self.up.count.min(self.script.up);
                ledger.note(run, Finding { session, key, way: Way::Up, position, wrong });
            }
        }
    }
}
