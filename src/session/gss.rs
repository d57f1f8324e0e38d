//! GSSAPI (RFC 1961): the context's tokens, the level of protection, and what is sealed from there on.

use super::command::{Command, Output, Round, RoundOutcome};
use super::facts::Facts;
use super::failure::Failure;
use super::rules::Rules;
use super::state::{AwaitLevel, AwaitRequest, AwaitToken, Establishing, Phase, Turn};
use crate::config::ProtectionLevel;
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::seal::{Order, Seal, SealError, message};

impl AwaitToken {
    pub(super) fn bytes(self, bytes: &[u8]) -> Turn {
        let (token, used) = match decode(bytes, MessageType::Authentication) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => return Turn::Incomplete(Phase::Token(self)),
            Err(error) => return Turn::End(Phase::Token(self), Failure::Protocol(error)),
        };
        if token.is_empty() {
            return Turn::End(Phase::Token(self), Failure::Context("an empty token".to_owned()));
        }
        if self.rounds == limits::GSS_ROUNDS_MAX {
            return Turn::End(Phase::Token(self), Failure::Context("too many rounds".to_owned()));
        }
        let command = Command::Establish(token.to_vec());
        Turn::Ask(Phase::Establishing(Establishing { rounds: self.rounds + 1 }), used, command)
    }
}

impl Establishing {
    pub(super) fn established(self, round: Round, facts: &mut Facts, output: &mut Output) -> Turn {
        let next = match round.outcome {
            RoundOutcome::Continue => Phase::Token(AwaitToken { rounds: self.rounds }),
            RoundOutcome::Established(peer, protect) => {
                facts.identity = Some(peer.identity.clone());
                Phase::Level(AwaitLevel { peer, protect })
            }
            RoundOutcome::Failed(why) => return Turn::End(Phase::Establishing(self), Failure::Context(why)),
        };
        // Where the mechanism has nothing more to say the client still waits for a message: an empty one.
        let written = message(MessageType::Authentication, output, |output| {
            output.extend_from_slice(&round.token);
            Ok(())
        });
        match written {
            Ok(()) => Turn::Next(next, 0),
            Err(error) => Turn::End(next, Failure::Seal(error)),
        }
    }
}

impl AwaitLevel {
    /// The answer leaves unsealed; `seal` is what all that follows is sealed with, unless nothing is to be.
    pub(super) fn bytes(
        mut self,
        bytes: &[u8],
        rules: &Rules,
        output: &mut Output,
        seal: &mut Option<Box<Seal>>,
    ) -> Turn {
        let (token, used) = match decode(bytes, MessageType::ProtectionLevel) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => return Turn::Incomplete(Phase::Level(self)),
            Err(error) => return Turn::End(Phase::Level(self), Failure::Protocol(error)),
        };
        let answered = self.answer(token, rules, output);
        let level = match answered {
            Ok(level) => level,
            Err(failure) => return Turn::End(Phase::Level(self), failure),
        };
        if level != ProtectionLevel::None {
            match Seal::new(self.protect, level, self.peer.sequence_detection) {
                Ok(made) => *seal = Some(Box::new(made)),
                // The answer may be out: there is nothing to add to it.
                Err(error) => return Turn::End(Phase::Over, Failure::Seal(error)),
            }
        }
        Turn::Next(Phase::Request(AwaitRequest), used)
    }

    fn answer(
        &mut self,
        token: &[u8],
        rules: &Rules,
        output: &mut Output,
    ) -> Result<ProtectionLevel, Failure> {
        // The NEC reference sends the octet as it is, and expects it so.
        let bare = rules.gssapi.nec && token.len() == 1;
        let asked = if bare { token[0] } else { self.unwrap_level(token)? };
        let level = rules.gssapi.protection.answer(asked).ok_or(Failure::Level(asked))?;
        self.check(level).map_err(Failure::Seal)?;
        let octet = [level.wire()];
        message(MessageType::ProtectionLevel, output, |output| {
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
        if opened.order != Order::InSequence {
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
