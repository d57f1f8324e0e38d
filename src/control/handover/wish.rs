//! Whether the server is to take another's place, and how it finds that.

use super::messages::HandoverError;
use super::taker::{Inheritance, Predecessor};
use crate::config::Config;
use crate::control::launcher::TAKEOVER_FD;
use crate::control::start_error::StartError;
use crate::sys::passing::MessageChannel;
use crate::sys::{environment, launching, machine};

/// What was wished for at the start.
#[derive(Debug)]
pub(in crate::control) enum Wish {
    /// Another server's place at the other end of this, or a place of its own.
    Any(Option<Result<MessageChannel, HandoverError>>),
    /// The place of whoever listens at `[server] takeover`.
    OfWhoeverIsThere,
}

impl Wish {
    /// By the command line and the environment; to be called once, while this is the only thread.
    pub(in crate::control) fn of(takeover: bool) -> Wish {
        let [number] = environment::take([TAKEOVER_FD]);
        let channel = number.map(|number| {
            let number = number.to_str().and_then(|number| number.parse().ok()).unwrap_or(-1);
            let channel = launching::inherited(number).and_then(MessageChannel::of);
            channel.map_err(|error| HandoverError::Given(format!("{TAKEOVER_FD}={number}: {error}")))
        });
        match (channel, takeover) {
            (None, true) => Wish::OfWhoeverIsThere,
            (channel, _) => Wish::Any(channel),
        }
    }

    /// Finds the other server, and has what it gives.
    ///
    /// # Errors
    /// It gives nothing.
    pub(in crate::control) fn fulfil(
        self,
        config: &Config,
    ) -> Result<(Option<Predecessor>, Inheritance), StartError> {
        let channel = match self {
            Wish::Any(None) => None,
            Wish::Any(Some(channel)) => Some(channel),
            Wish::OfWhoeverIsThere => Wish::find(config).transpose(),
        };
        let Some(channel) = channel else { return Ok((None, Inheritance::default())) };
        // There may be more sockets than the limit allows that a shell sets.
        machine::raise_descriptor_limit();
        let asked = channel.and_then(Predecessor::ask).map_err(StartError::from)?;
        Ok((Some(asked.0), asked.1))
    }

    fn find(config: &Config) -> Result<Option<MessageChannel>, HandoverError> {
        let Some(path) = &config.server.takeover else {
            let why = "--takeover needs [server] takeover: the path at which the other server is asked";
            return Err(HandoverError::Given(why.to_owned()));
        };
        let found = Predecessor::at(path)?;
        if found.is_none() {
            tracing::info!("nobody serves at {}: there is no place to take", path.display());
        }
        Ok(found)
    }
}
