//! Whether the server is to take another's place, and how it finds that.

use std::path::{Path, PathBuf};

use super::messages::HandoverError;
use super::taker::{Inheritance, Predecessor};
use crate::config::Config;
use crate::control::launcher::TAKEOVER_FD;
use crate::control::start_error::StartError;
use crate::sys::passing::MessageChannel;
use crate::sys::{environment, launching, machine};

/// What was wished for at the start, and who was asked for it.
#[derive(Debug)]
pub(in crate::control) enum Wish {
    /// A place of its own.
    Own,
    /// The place of whoever listens at `[server] takeover`, where nobody does.
    Nobodys(PathBuf),
    /// The place of the server at the other end of this, which was greeted.
    Greeted(Greeted),
    /// The other server's place, which cannot be asked for.
    Vain(HandoverError),
}

/// Another server that knows that its place is wanted.
#[derive(Debug)]
pub(in crate::control) struct Greeted {
    channel: MessageChannel,
    /// Where it was found, which somebody else may listen at; `None` where it started this process itself.
    at: Option<PathBuf>,
}

impl Wish {
    /// By the command line and the environment; to be called once, while this is the only thread. The other server is connected to
    /// with the rights of the start, for its socket may be root's; what it says is heard without them.
    pub(in crate::control) fn of(takeover: bool, config: &Config) -> Wish {
        let [number] = environment::take([TAKEOVER_FD]);
        let wished = match (number, takeover) {
            (Some(number), _) => {
                let descriptor = number.to_str().and_then(|number| number.parse().ok()).unwrap_or(-1);
                let channel = launching::inherited(descriptor).and_then(MessageChannel::of);
                let channel = channel.map_err(|error| {
                    HandoverError::Given(format!("{TAKEOVER_FD}={}: {error}", number.display()))
                });
                channel.map(|channel| Some(Greeted { channel, at: None }))
            }
            (None, true) => match &config.server.takeover {
                Some(path) => find(path),
                None => Err(HandoverError::Given(
                    "--takeover needs [server] takeover: the path at which the other server is asked"
                        .to_owned(),
                )),
            },
            (None, false) => return Wish::Own,
        };
        match (wished, &config.server.takeover) {
            (Ok(Some(found)), _) => match Predecessor::greet(&found.channel) {
                Ok(()) => Wish::Greeted(found),
                Err(error) => Wish::Vain(error),
            },
            (Ok(None), path) => path.clone().map_or(Wish::Own, Wish::Nobodys),
            (Err(error), _) => Wish::Vain(error),
        }
    }

    /// Has what the other server gives.
    ///
    /// # Errors
    /// It gives nothing.
    pub(in crate::control) fn fulfil(self) -> Result<(Option<Predecessor>, Inheritance), StartError> {
        let Greeted { channel, at } = match self {
            Wish::Greeted(greeted) => greeted,
            Wish::Vain(error) => return Err(error.into()),
            Wish::Nobodys(path) => {
                tracing::info!(
                    "nobody serves at {}: there is no place to take (a server that runs is asked where its own [server] takeover says)",
                    path.display()
                );
                return Ok((None, Inheritance::default()));
            }
            Wish::Own => return Ok((None, Inheritance::default())),
        };
        // There may be more sockets than the limit allows that a shell sets.
        machine::raise_descriptor_limit();
        let by_path = at.is_some();
        let trusted = at.map_or(Ok(()), |path| Predecessor::trust(&channel, &path));
        match trusted.and_then(|()| Predecessor::ask(channel)) {
            Ok((predecessor, inheritance)) => Ok((Some(predecessor), inheritance)),
            // As if it had been a moment earlier. One that serves on has the path, which keeps this one from its start.
            Err(HandoverError::Gone) if by_path => {
                tracing::warn!("the other server ended as it was asked for its place: there is none to take");
                Ok((None, Inheritance::default()))
            }
            Err(error) => Err(StartError::from(error)),
        }
    }
}

/// Whoever listens at this path, if somebody does.
fn find(path: &Path) -> Result<Option<Greeted>, HandoverError> {
    Ok(Predecessor::at(path)?.map(|channel| Greeted { channel, at: Some(path.to_owned()) }))
}
