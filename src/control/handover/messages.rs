//! What two servers say to each other while one takes the other's place: JSON, one value a message, with the descriptors of
//! sockets beside it.
//!
//! The new one says `hello`, the old one answers with each of its `listener`s and `complete`. The new one starts and is
//! `ready`; the old one's workers leave the listeners alone, its store of quotas is closed, and it has `released` them. What
//! decides is one message: once the new one has said `serving`, it serves and nobody else. Before that the old one may go on at
//! any time, by ending the channel. What follows is of the sessions that the old one has yet: their `uses`, until it ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admin::OlderServer;
use crate::config::{Endpoint, ListenAddress};
use crate::limits;
use crate::sys::passing::MessageChannel;

/// What this program says and understands. Another number is for whoever understands this one no more.
pub(super) const VERSION: u32 = 1;

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum HandoverMessage {
    /// The new server wants to take the old one's place.
    Hello { version: u32, build: String, pid: u32 },
    /// The old one goes on.
    Refused { why: String },
    /// A listener, and the first of its sockets.
    Listener(ToldListener),
    /// Further sockets of the listener before.
    Sockets,
    /// Those were all. The new server's sessions have numbers behind those of this boot.
    Complete { boot: u32 },
    /// The new server could serve; it has these listeners, by their numbers.
    Ready { clients: Vec<u16>, admin: Vec<u16>, takeover: bool },
    /// The old one lets nobody in any more.
    Released,
    /// The new one does from now on.
    Serving,
    /// Whoever looks after the old server has been told of the new one.
    Over,
    /// What sessions of the old server have and have used since this was last told. It and those before it, as far as they are there,
    /// are told where another serves already; one of an earlier build does not tell of them.
    Uses {
        sessions: u64,
        uses: Vec<ToldUse>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        servers: Option<Vec<OlderServer>>,
    },
}

/// A listener as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct ToldListener {
    pub(in crate::control) role: ListenerRole,
    pub(in crate::control) number: u16,
    pub(in crate::control) called: String,
    pub(in crate::control) address: ToldAddress,
    /// A service manager keeps its sockets.
    pub(in crate::control) kept: bool,
    /// The file of a unix socket that goes with the server, by device and inode.
    pub(in crate::control) file: Option<(u64, u64)>,
    /// How many sockets it has.
    pub(in crate::control) sockets: usize,
}

/// Who comes to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::control) enum ListenerRole {
    Clients,
    Admin,
    Takeover,
}

/// Where a listener is configured to listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::control) enum ToldAddress {
    Unix(PathBuf),
    Tcp(SocketAddr, Option<Box<str>>),
}

/// What the sessions of one account have, and have used since this was last told; the first time, what it has used at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct ToldUse {
    /// The limit, by its name.
    pub(super) limit: String,
    /// Whose account, as the store of quotas says it.
    pub(super) holder: String,
    pub(super) sessions: u64,
    pub(super) associations: u64,
    /// Bytes that count for a quota, of the period that began then.
    pub(super) since: u64,
    pub(super) up: u64,
    pub(super) down: u64,
    /// What was drawn of rates: sessions, bytes from clients, bytes to them, datagrams.
    pub(super) drawn: [i64; 4],
}

impl From<&ListenAddress> for ToldAddress {
    fn from(address: &ListenAddress) -> ToldAddress {
        match address {
            ListenAddress::Unix(path) => ToldAddress::Unix(path.clone()),
            ListenAddress::Tcp(Endpoint { address, zone }) => ToldAddress::Tcp(*address, zone.clone()),
        }
    }
}

impl From<ToldAddress> for ListenAddress {
    fn from(told: ToldAddress) -> ListenAddress {
        match told {
            ToldAddress::Unix(path) => ListenAddress::Unix(path),
            ToldAddress::Tcp(address, zone) => ListenAddress::Tcp(Endpoint { address, zone }),
        }
    }
}

/// Why a hand-over came to nothing, as either side says it.
#[derive(Debug)]
pub(in crate::control) enum HandoverError {
    /// The other server ended.
    Gone,
    /// The other server did not say what was due in time.
    Silent(Duration),
    /// The other server says that it goes on, and why.
    Refused(String),
    /// It speaks another version, and is of this build.
    Version(u32, String),
    /// What it said is not what was due, in words.
    Garbled(String),
    /// The channel failed.
    Channel(io::Error),
    /// This server goes on, and why.
    Given(String),
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandoverError::Gone => f.write_str("the other server ended"),
            HandoverError::Silent(patience) => write!(f, "the other server said nothing for {patience:?}"),
            HandoverError::Refused(why) => write!(f, "the other server goes on: {why}"),
            HandoverError::Version(version, build) => {
                write!(
                    f,
                    "the other server (outflow {}) speaks version {version} of the hand-over, and this one {VERSION}: that takes a \
                     restart, or a program that speaks version {VERSION}",
                    escaped(build)
                )
            }
            HandoverError::Garbled(what) => write!(f, "the other server said what makes no sense: {what}"),
            HandoverError::Channel(error) => write!(f, "the other server cannot be spoken with: {error}"),
            HandoverError::Given(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for HandoverError {
    fn from(error: io::Error) -> HandoverError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => HandoverError::Gone,
            io::ErrorKind::InvalidData => HandoverError::Garbled(error.to_string()),
            _ => HandoverError::Channel(error),
        }
    }
}

/// A message, with what came beside it.
pub(super) type HeardMessage = (HandoverMessage, Vec<OwnedFd>);

/// Says something.
///
/// # Errors
/// The other is gone, or takes nothing in time.
pub(super) fn say(
    channel: &MessageChannel,
    message: &HandoverMessage,
    sockets: &[BorrowedFd<'_>],
) -> Result<(), HandoverError> {
    say_within(channel, message, sockets, limits::HANDOVER_PATIENCE)
}

/// Says something to one who may be at something else for so long.
///
/// # Errors
/// As [`say`].
pub(super) fn say_within(
    channel: &MessageChannel,
    message: &HandoverMessage,
    sockets: &[BorrowedFd<'_>],
    patience: Duration,
) -> Result<(), HandoverError> {
    let bytes = serde_json::to_vec(message).map_err(|error| HandoverError::Garbled(error.to_string()))?;
    if bytes.len() > limits::HANDOVER_MESSAGE_BYTES_MAX {
        return Err(HandoverError::Given("a message of the hand-over would be too long".to_owned()));
    }
    channel.send(&bytes, sockets, patience).map_err(|error| in_time(error, patience))
}

/// Tells one who asks that nothing comes of it. Whoever hears no more of that does not need to.
pub(in crate::control) fn tell_refused(channel: &MessageChannel, why: String) {
    let _ = say_within(channel, &HandoverMessage::Refused { why }, &[], Duration::ZERO);
}

/// Hears the next message. Descriptors that nobody asked for are closed as it is dropped.
///
/// # Errors
/// The other is gone or refuses, says nothing for so long, or something that is no message.
pub(super) fn hear(channel: &MessageChannel, patience: Duration) -> Result<HeardMessage, HandoverError> {
    let received = channel.receive(limits::HANDOVER_MESSAGE_BYTES_MAX, patience);
    let message = received.map_err(|error| in_time(error, patience))?.ok_or(HandoverError::Gone)?;
    match decode(&message.bytes)? {
        HandoverMessage::Refused { why } => Err(HandoverError::Refused(escaped(&why))),
        said => Ok((said, message.descriptors)),
    }
}

/// A message out of its bytes.
///
/// # Errors
/// They are none.
pub(super) fn decode(bytes: &[u8]) -> Result<HandoverMessage, HandoverError> {
    serde_json::from_slice(bytes).map_err(|error| HandoverError::Garbled(error.to_string()))
}

/// What was heard is not what was due.
pub(super) fn unexpected(said: &HandoverMessage) -> HandoverError {
    let text = serde_json::to_string(said).unwrap_or_default();
    HandoverError::Garbled(escaped(&text))
}

fn in_time(error: io::Error, patience: Duration) -> HandoverError {
    match error.kind() {
        io::ErrorKind::TimedOut => HandoverError::Silent(patience),
        _ => HandoverError::from(error),
    }
}

/// What another process said, for one line of the log.
fn escaped(text: &str) -> String {
    text.chars().take(limits::MAX_QUOTED_CHARS).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str) -> HandoverMessage {
        let address = match address.strip_prefix("unix:") {
            Some(path) => ToldAddress::Unix(path.into()),
            None => ToldAddress::Tcp(address.parse().unwrap(), None),
        };
        HandoverMessage::Listener(ToldListener {
            role: ListenerRole::Clients,
            number: 3,
            called: "office".to_owned(),
            address,
            kept: false,
            file: Some((7, 9)),
            sockets: 2,
        })
    }

    /// By hand: what a server of another build says has to mean the same.
    #[test]
    fn messages_are_these_bytes() {
        let version = "0.1.0".to_owned();
        let older = OlderServer { pid: Some(7), version, since: 5, ends_by: None, sessions: 2 };
        for (message, text) in [
            (
                HandoverMessage::Hello { version: 1, build: "0.1.0".to_owned(), pid: 42 },
                r#"{"message":"hello","version":1,"build":"0.1.0","pid":42}"#,
            ),
            (HandoverMessage::Refused { why: "no".to_owned() }, r#"{"message":"refused","why":"no"}"#),
            (
                listener("[fe80::1%2]:1080"),
                r#"{"message":"listener","role":"clients","number":3,"called":"office","address":{"tcp":["[fe80::1%2]:1080",null]},"kept":false,"file":[7,9],"sockets":2}"#,
            ),
            (
                listener("unix:/run/s"),
                r#"{"message":"listener","role":"clients","number":3,"called":"office","address":{"unix":"/run/s"},"kept":false,"file":[7,9],"sockets":2}"#,
            ),
            (HandoverMessage::Sockets, r#"{"message":"sockets"}"#),
            (HandoverMessage::Complete { boot: 5 }, r#"{"message":"complete","boot":5}"#),
            (
                HandoverMessage::Ready { clients: vec![0, 3], admin: vec![], takeover: true },
                r#"{"message":"ready","clients":[0,3],"admin":[],"takeover":true}"#,
            ),
            (HandoverMessage::Released, r#"{"message":"released"}"#),
            (HandoverMessage::Serving, r#"{"message":"serving"}"#),
            (HandoverMessage::Over, r#"{"message":"over"}"#),
            (
                HandoverMessage::Uses { sessions: 2, uses: vec![], servers: None },
                r#"{"message":"uses","sessions":2,"uses":[]}"#,
            ),
            (
                HandoverMessage::Uses { sessions: 2, uses: vec![], servers: Some(vec![older]) },
                r#"{"message":"uses","sessions":2,"uses":[],"servers":[{"pid":7,"version":"0.1.0","since":5,"ends_by":null,"sessions":2}]}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&message).unwrap(), text);
            assert_eq!(decode(text.as_bytes()).unwrap(), message);
        }
    }

    #[test]
    fn what_is_no_message_is_said_on_one_line() {
        let (one, other) = MessageChannel::pair().unwrap();
        let second = Duration::from_secs(1);
        for (bytes, words) in [
            (&b"{\"message\":\"what\"}"[..], "makes no sense"),
            (b"{", "makes no sense"),
            (b"{\"message\":\"refused\",\"why\":\"a\\nb\"}", "goes on: a\\nb"),
        ] {
            one.send(bytes, &[], second).unwrap();
            let said = hear(&other, second).unwrap_err().to_string();
            assert!(said.contains(words) && !said.contains('\n'), "{said}");
        }
        let short = Duration::from_millis(10);
        assert!(matches!(hear(&other, short), Err(HandoverError::Silent(_))));
        drop(one);
        assert!(matches!(hear(&other, second), Err(HandoverError::Gone)));
        assert!(matches!(say(&other, &HandoverMessage::Over, &[]), Err(HandoverError::Gone)));
    }
}
