//! One proxy behind the other: several handshakes on one connection, each through the tunnel of those before it.

use std::collections::VecDeque;

use super::error::TalkError;
use super::said::{ClientProtocol, Fed, TalkOutput, Talked};
use super::talk::ClientTalk;
use crate::proto::address::Target;
use crate::proto::request::RequestCommand;
use crate::proto::userpass::Credentials;

/// What one proxy of a chain is told.
#[derive(Clone, Debug)]
pub struct ChainLeg {
    /// What it speaks.
    pub protocol: ClientProtocol,
    /// As whom.
    pub login: Option<Credentials>,
    /// What it is asked for: CONNECT of all but the last.
    pub command: RequestCommand,
    /// With whom: with the next proxy, and the last one with the target.
    pub target: Target,
}

/// The handshakes of a chain, one after the other. A chain of one is a [`ClientTalk`].
#[derive(Debug)]
pub struct ChainTalk {
    talk: ClientTalk,
    /// Those that are not begun.
    left: VecDeque<ChainLeg>,
    /// Which one of the chain is spoken to, from 0.
    hop: usize,
}

impl ChainTalk {
    /// Begins with the first of them; `None` where there is none.
    ///
    /// # Errors
    /// As [`ClientTalk::ask`].
    pub fn begin(
        legs: impl IntoIterator<Item = ChainLeg>,
        out: &mut TalkOutput,
    ) -> Result<Option<ChainTalk>, TalkError> {
        let mut left: VecDeque<ChainLeg> = legs.into_iter().collect();
        let Some(first) = left.pop_front() else { return Ok(None) };
        Ok(Some(ChainTalk { talk: talk(first, out)?, left, hop: 0 }))
    }

    /// A handshake that stands already as the first of a chain: what it was not asked for is asked for now.
    ///
    /// # Errors
    /// As [`ClientTalk::ask`].
    pub fn resume(
        mut talk: ClientTalk,
        (command, target): (RequestCommand, Target),
        rest: impl IntoIterator<Item = ChainLeg>,
        out: &mut TalkOutput,
    ) -> Result<ChainTalk, TalkError> {
        talk.ask(command, target, out)?;
        Ok(ChainTalk { talk, left: rest.into_iter().collect(), hop: 0 })
    }

    /// Takes what has arrived and was not used before. It is never ready: what is asked for is known from the start.
    pub fn feed(&mut self, input: &[u8], out: &mut TalkOutput) -> Fed {
        let mut used = 0;
        loop {
            let (more, talked) = self.talk.feed(&input[used..], out);
            used += more;
            if !matches!(talked, Talked::Done(_)) {
                return (used, talked);
            }
            let Some(leg) = self.left.pop_front() else { return (used, talked) };
            self.hop += 1;
            match talk(leg, out) {
                Ok(next) => self.talk = next,
                Err(error) => return (used, Talked::Failed(error)),
            }
        }
    }

    /// Which one of the chain is spoken to, from 0: who it was where something failed.
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// Whether that is the last one.
    pub fn is_last(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether the last one was asked, and has to answer nothing but that.
    pub fn awaits_target(&self) -> bool {
        self.is_last() && self.talk.was_asked()
    }

    /// Why nothing comes of it where the connection is closed now.
    pub fn closed(&self) -> TalkError {
        self.talk.closed()
    }

    /// Whether the client's first bytes may follow what was sent: see [`ClientTalk::takes_early_bytes`].
    pub fn takes_early_bytes(&self) -> bool {
        self.left.is_empty() && self.talk.takes_early_bytes()
    }
}

/// Begins a handshake that is known to its end.
fn talk(
    ChainLeg { protocol, login, command, target }: ChainLeg,
    out: &mut TalkOutput,
) -> Result<ClientTalk, TalkError> {
    let mut talk = ClientTalk::begin(protocol, login, out);
    talk.ask(command, target, out)?;
    Ok(talk)
}
