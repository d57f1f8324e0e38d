//! GSSAPI (RFC 1961): the context's tokens, the level of protection, and what is sealed from there on.

use super::command::{Command, Round, RoundOutcome};
use super::failure::Failure;
use super::handling::Handling;
use super::state::{AwaitLevel, Awaiting, Reading, Transition};
use crate::config::ProtectionLevel;
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::seal::{MessageOrder, Seal, SealError, message};

/// Asks what the library makes of a token, behind so many others.
pub(super) fn read_token(rounds: u8, bytes: &[u8]) -> Result<Transition, Failure> {
    let decoded = decode(bytes, MessageType::Authentication).map_err(Failure::Protocol)?;
    let Some((token, used)) = decoded else { return Ok(Transition::More(Reading::Token { rounds })) };
    if token.is_empty() {
        return Err(Failure::Context("an empty token".to_owned()));
    }
    if rounds == limits::GSS_ROUNDS_MAX {
        return Err(Failure::Context("too many rounds".to_owned()));
    }
    let command = Command::Establish(token.to_vec());
    Ok(Transition::Ask(Awaiting::Context { rounds: rounds + 1 }, used, command))
}

/// The library has made something of so many tokens.
pub(super) fn established(
    rounds: u8,
    round: Round,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let next = match round.outcome {
        RoundOutcome::Continue => Reading::Token { rounds },
        RoundOutcome::Established(peer, protect) => {
            handling.facts.identity = Some(peer.identity.clone());
            Reading::Level(AwaitLevel { peer, protect })
        }
        RoundOutcome::Failed(why) => return Err(Failure::Context(why)),
    };
    // Where the mechanism has nothing more to say the client still waits for a message: an empty one.
    message(MessageType::Authentication, handling.output, |output| {
        output.extend_from_slice(&round.token);
        Ok(())
    })
    .map_err(Failure::Seal)?;
    Ok(Transition::Read(next, 0))
}

impl AwaitLevel {
    /// Says which level is given. The answer leaves unsealed; all that follows is sealed, unless nothing is to be.
    pub(super) fn read(mut self, bytes: &[u8], handling: &mut Handling<'_>) -> Result<Transition, Failure> {
        let decoded = decode(bytes, MessageType::ProtectionLevel).map_err(Failure::Protocol)?;
        let Some((token, used)) = decoded else { return Ok(Transition::More(Reading::Level(self))) };
        let level = self.answer(token, handling)?;
        if level == ProtectionLevel::None {
            return Ok(Transition::Read(Reading::Request, used));
        }
        Ok(match Seal::new(self.protect, level, self.peer.sequence_detection) {
            Ok(seal) => Transition::ReadSealed(Reading::Request, used, Box::new(seal)),
            // The level is said: there is nothing to add to it.
            Err(error) => Transition::Done(Command::Close(Failure::Seal(error))),
        })
    }

    fn answer(&mut self, token: &[u8], handling: &mut Handling<'_>) -> Result<ProtectionLevel, Failure> {
        let gssapi = &handling.rules.gssapi;
        // The NEC reference sends the octet as it is, and expects it so.
        let bare = gssapi.nec && token.len() == 1;
        let asked = if bare { token[0] } else { self.unwrap_level(token)? };
        let given = match handling.rules.protected {
            // RFC 1961 section 4.2: it is the server's choice, and the client may refuse it. All is sealed already.
            true => ProtectionLevel::from_wire(asked).map(|_| ProtectionLevel::None),
            false => gssapi.protection.answer(asked),
        };
        let level = given.ok_or(Failure::Level(asked))?;
        self.check(level).map_err(Failure::Seal)?;
        let octet = [level.wire()];
        message(MessageType::ProtectionLevel, handling.output, |output| {
            if bare {
                output.extend_from_slice(&octet);
                return Ok(());
            }
            // RFC 1961 section 4.4: "with conf_req set to FALSE".
            self.protect.wrap(&octet, false, output)
        })
        .map_err(Failure::Seal)?;
        Ok(level)
    }

    /// RFC 1961 section 4.4: the token is one octet, wrapped.
    fn unwrap_level(&mut self, token: &[u8]) -> Result<u8, Failure> {
        let mut plain = Vec::new();
        let opened = self.protect.unwrap(token, &mut plain).map_err(Failure::Seal)?;
        if opened.order != MessageOrder::InSequence {
            return Err(Failure::Seal(SealError::Order(opened.order)));
        }
        match plain[..] {
            [octet] => Ok(octet),
            _ => Err(Failure::Context("a level of protection that is not one octet".to_owned())),
        }
    }

    /// Whether the context can give what the level promises.
    fn check(&self, level: ProtectionLevel) -> Result<(), SealError> {
        match level {
            ProtectionLevel::None => Ok(()),
            // RFC 1961 section 3.2 has clients always ask for replay detection.
            _ if !self.peer.replay_detection => Err(SealError::NoReplayDetection),
            ProtectionLevel::Integrity if self.peer.integrity => Ok(()),
            ProtectionLevel::Confidentiality | ProtectionLevel::PerMessage
                if self.peer.integrity && self.peer.confidentiality =>
            {
                Ok(())
            }
            _ => Err(SealError::NotOffered),
        }
    }
}
