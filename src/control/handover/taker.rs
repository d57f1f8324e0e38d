//! The server that takes another's place: what it asks, and what it is given.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::door::GivenTakeover;
use super::giver::Adopted;
use super::messages::{
    HandoverError, HandoverMessage, ListenerRole, ToldAddress, ToldListener, ToldUse, VERSION, hear, say,
    unexpected,
};
use super::uses::CarriedFromPredecessor;
use crate::admin::{GivenDoor, SocketFile};
use crate::config::ListenAddress;
use crate::control::given::GivenListener;
use crate::limits;
use crate::sys::machine;
use crate::sys::passing::MessageChannel;
use crate::sys::privileges::ProcessUser;
use crate::sys::unix::{self, SocketKind};
use crate::threads;

/// The server whose place is taken.
#[derive(Debug)]
pub(in crate::control) struct Predecessor {
    channel: MessageChannel,
    /// The boot that its sessions' numbers have.
    boot: u32,
}

/// How the other server left what it had to this one.
#[derive(Debug)]
pub(in crate::control) enum LetGo {
    /// It said that it lets nobody in, and what its sessions have and have used.
    Told(Vec<ToldUse>),
    /// Its process ended.
    Ended,
}

/// What it gives: duplicates, which change nothing of what it has.
#[derive(Debug, Default)]
pub(in crate::control) struct Inheritance {
    pub(in crate::control) listeners: Vec<GivenListener>,
    pub(in crate::control) doors: Vec<GivenDoor>,
    pub(in crate::control) takeover: Option<GivenTakeover>,
}

impl Predecessor {
    /// The one that listens at a path; `None` where nobody does.
    ///
    /// # Errors
    /// What connect(2) refused.
    pub(in crate::control) fn at(path: &Path) -> Result<Option<MessageChannel>, HandoverError> {
        use std::io::ErrorKind;
        match MessageChannel::connect(path) {
            Ok(channel) => Ok(Some(channel)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let (path, who) = (path.display(), ProcessUser::in_words());
                let why = format!(
                    "{who} may not connect to {path}, which is for the other server's user and root: start this one as one \
                     of these, or send the other one SIGUSR2"
                );
                Err(HandoverError::Given(why))
            }
            Err(error) => Err(HandoverError::Channel(error)),
        }
    }

    /// Makes sure that it is one of root or of this process's own user who listens there: whoever has the folder may have put another
    /// socket there.
    ///
    /// # Errors
    /// It is another's.
    pub(in crate::control) fn trust(channel: &MessageChannel, path: &Path) -> Result<(), HandoverError> {
        let peer = channel.peer().map_err(|errno| HandoverError::Channel(errno.into()))?;
        if [0, machine::effective_user()].contains(&peer.uid) {
            return Ok(());
        }
        let why = format!(
            "user {} listens at {}, and {} takes over from itself and root alone: where that is the server, SIGUSR2 to it has \
             it start this one itself, whatever the user",
            peer.uid,
            path.display(),
            ProcessUser::in_words()
        );
        Err(HandoverError::Given(why))
    }

    /// Says that its place is wanted. That it cannot be heard any more is said by [`Predecessor::ask`], with what it said before.
    ///
    /// # Errors
    /// What the channel said otherwise.
    pub(in crate::control) fn greet(channel: &MessageChannel) -> Result<(), HandoverError> {
        let build = env!("CARGO_PKG_VERSION").to_owned();
        let hello = HandoverMessage::Hello { version: VERSION, build, pid: std::process::id() };
        match say(channel, &hello, &[]) {
            Err(HandoverError::Gone) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Has what it offers, once it was greeted.
    ///
    /// # Errors
    /// It refuses, ends, or says what makes no sense.
    pub(in crate::control) fn ask(
        channel: MessageChannel,
    ) -> Result<(Predecessor, Inheritance), HandoverError> {
        let mut inheritance = Inheritance::default();
        for _ in 0..=limits::HANDOVER_LISTENERS_MAX {
            match hear(&channel, limits::HANDOVER_PATIENCE)? {
                (HandoverMessage::Listener(told), sockets) => inheritance.take(told, sockets, &channel)?,
                (HandoverMessage::Complete { boot }, _) => {
                    return Ok((Predecessor { channel, boot }, inheritance));
                }
                (said, _) => return Err(unexpected(&said)),
            }
        }
        Err(HandoverError::Garbled("there are more listeners than there may be".to_owned()))
    }

    /// The boot that its sessions' numbers have.
    pub(in crate::control) fn boot(&self) -> u32 {
        self.boot
    }

    /// Says that this server could serve, and waits until the other lets nobody in any more; what its sessions have and have used.
    /// One that goes on says so before it ends the channel: where that just ends, the other process has, and all that it had is this one's.
    ///
    /// # Errors
    /// The other goes on.
    pub(in crate::control) fn ready(&self, adopted: Adopted) -> Result<LetGo, HandoverError> {
        let Adopted { clients, admin, takeover } = adopted;
        let said = tell(&self.channel, &HandoverMessage::Ready { clients, admin, takeover });
        match said.and_then(|()| self.hear_uses()) {
            Ok(uses) => Ok(LetGo::Told(uses)),
            Err(HandoverError::Gone) => {
                tracing::warn!("the other server ended before it was to: this one serves without it");
                Ok(LetGo::Ended)
            }
            Err(error) => Err(error),
        }
    }

    fn hear_uses(&self) -> Result<Vec<ToldUse>, HandoverError> {
        let mut first = Vec::new();
        loop {
            // The other's workers have their time, and its store of quotas.
            match self.hear_next(limits::QUOTA_LAST_WRITE + limits::HANDOVER_PATIENCE)? {
                HandoverMessage::Uses { uses, .. } => first.extend(uses),
                HandoverMessage::Released => return Ok(first),
                said => return Err(unexpected(&said)),
            }
        }
    }

    /// Says that this server serves from now on. Where that can be said, or the other has ended, it does, and the other does no more.
    ///
    /// # Errors
    /// The other has gone on.
    pub(in crate::control) fn serving(&self) -> Result<(), HandoverError> {
        match tell(&self.channel, &HandoverMessage::Serving) {
            Err(HandoverError::Gone) => Ok(()),
            said => said,
        }
    }

    /// Waits a little until whoever looks after the other has been told of this one.
    ///
    /// # Errors
    /// The other does not say so.
    pub(in crate::control) fn over(&self) -> Result<(), HandoverError> {
        match self.hear_next(limits::HANDOVER_PATIENCE)? {
            HandoverMessage::Over => Ok(()),
            said => Err(unexpected(&said)),
        }
    }

    /// Counts what its sessions have and use, on a thread of its own, until it ends.
    ///
    /// # Errors
    /// No thread can be had.
    pub(in crate::control) fn follow(self, carried: CarriedFromPredecessor) -> std::io::Result<()> {
        let mut both = Some((self, carried));
        threads::spawn("predecessor", move || {
            if let Some((predecessor, mut carried)) = both.take() {
                predecessor.count(&mut carried);
            }
        })
        .map(drop)
    }

    fn count(&self, carried: &mut CarriedFromPredecessor) {
        let error = loop {
            match self.hear_next(limits::WAIT_LONGEST) {
                Ok(HandoverMessage::Uses { sessions, uses, servers }) => {
                    carried.go_on(sessions, uses, servers);
                }
                Ok(said) => break unexpected(&said),
                Err(HandoverError::Silent(_)) => {}
                Err(error) => break error,
            }
        };
        match error {
            HandoverError::Gone => tracing::info!("the server before this one has ended"),
            error => tracing::warn!("of the server before this one nothing is counted any more: {error}"),
        }
    }

    fn hear_next(&self, patience: Duration) -> Result<HandoverMessage, HandoverError> {
        hear(&self.channel, patience).map(|(said, _)| said)
    }
}

impl Inheritance {
    /// Takes a listener that was told, with the rest of its sockets.
    fn take(
        &mut self,
        told: ToldListener,
        mut sockets: Vec<OwnedFd>,
        channel: &MessageChannel,
    ) -> Result<(), HandoverError> {
        if told.sockets > limits::HANDOVER_SOCKETS_MAX {
            return Err(HandoverError::Garbled("a listener has more sockets than there may be".to_owned()));
        }
        while sockets.len() < told.sockets {
            match hear(channel, limits::HANDOVER_PATIENCE)? {
                (HandoverMessage::Sockets, more) if !more.is_empty() => sockets.extend(more),
                (said, _) => return Err(unexpected(&said)),
            }
        }
        if sockets.len() != told.sockets {
            return Err(HandoverError::Garbled(
                "a listener has more sockets than it is said to have".to_owned(),
            ));
        }
        let ToldListener { role, number, called, address, kept, file, .. } = told;
        let file = match &address {
            ToldAddress::Unix(path) => file.map(|file| SocketFile::given(path, file)),
            ToldAddress::Tcp(..) => None,
        };
        let address = ListenAddress::from(address);
        let wrong = |error: std::io::Error| HandoverError::Garbled(format!("{address}: {error}"));
        match role {
            ListenerRole::Clients => {
                let given = GivenListener::of(sockets).map_err(wrong)?;
                let (called, number) = (Arc::from(called), Some(number));
                self.listeners.push(GivenListener { called, number, address, kept, file, ..given });
            }
            ListenerRole::Admin => {
                let socket = GivenDoor::checked(only_one(sockets)?).map_err(wrong)?;
                self.doors.push(GivenDoor { number: Some(number), address, socket, kept, file });
            }
            ListenerRole::Takeover => {
                let ListenAddress::Unix(path) = address else {
                    return Err(HandoverError::Garbled("a hand-over is asked for at a path".to_owned()));
                };
                let socket = only_one(sockets)?;
                if !unix::listens_at(SocketKind::Messages, &socket, &path) {
                    let what =
                        format!("nobody can ask for a hand-over at what is told of as {}", path.display());
                    return Err(HandoverError::Garbled(what));
                }
                self.takeover = Some(GivenTakeover { path, socket, file });
            }
        }
        Ok(())
    }
}

/// Says something, or why the other server hears no more where it has said that.
fn tell(channel: &MessageChannel, message: &HandoverMessage) -> Result<(), HandoverError> {
    let said = say(channel, message, &[]);
    if !matches!(said, Err(HandoverError::Gone)) {
        return said;
    }
    loop {
        // What was said before is there, and then the end.
        hear(channel, limits::HANDOVER_PATIENCE)?;
    }
}

fn only_one(sockets: Vec<OwnedFd>) -> Result<OwnedFd, HandoverError> {
    match <[OwnedFd; 1]>::try_from(sockets) {
        Ok([socket]) => Ok(socket),
        Err(_) => Err(HandoverError::Garbled("a listener has another number of sockets than one".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn listener(role: &str, address: &str, sockets: usize) -> String {
        format!(
            r#"{{"message":"listener","role":"{role}","number":0,"called":"","address":{address},"kept":false,"file":null,"sockets":{sockets}}}"#
        )
    }

    /// What is said of an offer of this one listener.
    fn refused(message: &str, sockets: &[&dyn AsFd]) -> String {
        let (old, new) = MessageChannel::pair().unwrap();
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        old.send(message.as_bytes(), &sockets, SECOND).unwrap();
        old.send(br#"{"message":"complete","boot":1}"#, &[], SECOND).unwrap();
        Predecessor::ask(new).map(drop).unwrap_err().to_string()
    }

    /// The other may be a server with a fault, or somebody who has taken it over: what it passes is what it says, or nothing is taken.
    #[test]
    fn descriptors_of_other_kinds_are_not_taken_for_listeners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("takeover");
        let at_path = format!(r#"{{"unix":"{}"}}"#, path.display());
        let tcp = r#"{"tcp":["127.0.0.1:1080",null]}"#;
        let (one, other) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let connected = TcpStream::connect(one.local_addr().unwrap()).unwrap();
        let (file, datagrams) = (File::open("/dev/null").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let stream = UnixListener::bind(&path).unwrap();
        let (pair, _) = UnixStream::pair().unwrap();
        let messages = unix::bind_private(SocketKind::Messages, &folder.path().join("elsewhere")).unwrap();
        let wrong: [(&str, &str, usize, &[&dyn AsFd]); 16] = [
            ("clients", tcp, 1, &[&file]),
            ("clients", tcp, 1, &[&connected]),
            ("clients", tcp, 1, &[&datagrams]),
            ("clients", tcp, 2, &[&one, &other]),
            ("clients", tcp, 1, &[&one, &one]),
            ("clients", tcp, 0, &[]),
            ("clients", tcp, 1_000_000, &[&one]),
            ("clients", tcp, 2, &[&one]),
            ("admin", tcp, 1, &[&file]),
            ("admin", tcp, 1, &[&datagrams]),
            ("takeover", tcp, 1, &[&one]),
            ("takeover", &at_path, 1, &[&file]),
            ("takeover", &at_path, 1, &[&pair]),
            ("takeover", &at_path, 1, &[&stream]),
            ("takeover", &at_path, 1, &[&messages]),
            ("takeover", &at_path, 2, &[&stream, &stream]),
        ];
        for (role, address, sockets, passed) in wrong {
            let said = refused(&listener(role, address, sockets), passed);
            assert!(
                said.starts_with("the other server said what makes no sense: "),
                "{role} {address}: {said}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        let asked = unix::bind_private(SocketKind::Messages, &path).unwrap();
        assert!(!unix::listens_at(SocketKind::Messages, &asked, &path), "it does not listen yet");
        unix::listen(&asked, 1).unwrap();
        assert!(unix::listens_at(SocketKind::Messages, &asked, &path));
        let (old, new) = MessageChannel::pair().unwrap();
        old.send(listener("takeover", &at_path, 1).as_bytes(), &[asked.as_fd()], SECOND).unwrap();
        old.send(br#"{"message":"complete","boot":1}"#, &[], SECOND).unwrap();
        assert!(Predecessor::ask(new).unwrap().1.takeover.is_some());
    }

    /// It was to let go, and is gone: nobody else has the listeners any more, and whoever waits in their queues is not lost with it.
    #[test]
    fn who_ends_without_a_word_has_let_go() {
        let ready = |says: &[&str]| {
            let (old, new) = MessageChannel::pair().unwrap();
            says.iter().for_each(|text| old.send(text.as_bytes(), &[], SECOND).unwrap());
            drop(old);
            let predecessor = Predecessor { channel: new, boot: 1 };
            (predecessor.ready(Adopted::default()).map_err(|error| error.to_string()), predecessor.serving())
        };
        let uses = r#"{"message":"uses","sessions":1,"uses":[]}"#;
        for says in [&[][..], &[uses]] {
            assert!(matches!(ready(says), (Ok(LetGo::Ended), Ok(()))));
        }
        // One that goes on says so.
        let (ready, serving) = ready(&[uses, r#"{"message":"refused","why":"no"}"#]);
        assert_eq!(ready.unwrap_err(), "the other server goes on: no");
        assert!(serving.is_ok(), "and is gone by now");
    }
}
