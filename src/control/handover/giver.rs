//! The server whose place is taken: a thread for each that asks, which says and hears what is due and has the control thread do
//! the rest. Whatever goes wrong before the other serves leaves this one serving.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::messages::{
    HandoverError, HandoverMessage, ToldListener, VERSION, decode, hear, say, say_within, unexpected,
};
use super::uses::UseTeller;
use crate::control::quota_keeper::{PausedKeeper, QuotaKeeper};
use crate::limits;
use crate::sys::passing::{DESCRIPTORS_PER_MESSAGE, MessageChannel};

/// What the control thread is told of a hand-over.
pub(in crate::control) struct HandoverLetter {
    /// Of which; nobody waits for news of another any more.
    pub(in crate::control) attempt: u64,
    pub(in crate::control) news: HandoverNews,
}

pub(in crate::control) enum HandoverNews {
    /// A server wants to take this one's place.
    Asked(Candidate, Sender<Result<Offer, String>>),
    /// It could serve, with these listeners: workers are to leave them alone.
    Ready(Adopted, Sender<Result<Released, String>>),
    /// It serves, and this one does no more. It is told once the service manager knows.
    Serving(Sender<TellUntil>),
    /// Nothing came of it, and this one serves on. What keeps quotas goes on, where that was paused.
    Failed(HandoverError, Option<Box<QuotaKeeper>>),
}

/// The server that asks.
#[derive(Clone, Debug)]
pub(in crate::control) struct Candidate {
    pub(in crate::control) build: String,
    pub(in crate::control) pid: u32,
}

/// All that it is offered.
pub(in crate::control) struct Offer {
    pub(in crate::control) boot: u32,
    pub(in crate::control) listeners: Vec<Offered>,
}

/// A listener that it is offered. Who holds it keeps the sockets open.
pub(in crate::control) struct Offered {
    pub(in crate::control) told: ToldListener,
    pub(in crate::control) sockets: Vec<Arc<dyn AsFd + Send + Sync>>,
}

/// What it takes of that, by the numbers that were told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Adopted {
    pub(in crate::control) clients: Vec<u16>,
    pub(in crate::control) admin: Vec<u16>,
    /// Whether it is asked where this one was.
    pub(in crate::control) takeover: bool,
}

/// What this server has let go of, as far as that takes time, and what it has yet.
pub(in crate::control) struct Released {
    /// What keeps quotas, where something does.
    pub(in crate::control) keeper: Option<QuotaKeeper>,
    /// What its sessions have and use.
    pub(in crate::control) teller: UseTeller,
}

/// Until when it is told what sessions have and use.
pub(in crate::control) struct TellUntil {
    /// Closed at the end of the server.
    pub(in crate::control) end: Receiver<()>,
    /// Let go of once all is told.
    pub(in crate::control) told: Sender<()>,
}

/// One hand-over, from this side.
struct Giver<'a> {
    channel: &'a MessageChannel,
    attempt: u64,
    letters: &'a Sender<HandoverLetter>,
    paused: Option<PausedKeeper>,
}

/// Gives the server's place to whoever asks at the other end, or says why not.
pub(in crate::control) fn give(channel: &MessageChannel, attempt: u64, letters: &Sender<HandoverLetter>) {
    let mut giver = Giver { channel, attempt, letters, paused: None };
    if let Err(error) = giver.give() {
        let why = match &error {
            HandoverError::Given(why) => why.clone(),
            HandoverError::Version(version, _) => format!(
                "it is outflow {} and speaks version {VERSION} of the hand-over, and not {version}: stop it and start this one, or \
                 have a program take its place that speaks version {VERSION}",
                env!("CARGO_PKG_VERSION")
            ),
            other => other.to_string(),
        };
        // What it says from here on is of no account.
        channel.stop_hearing();
        let refused = HandoverMessage::Refused { why };
        let said = say(channel, &refused, &[]);
        let keeper = giver.paused.take().and_then(|paused| match paused.resume() {
            Ok(keeper) => Some(Box::new(keeper)),
            Err(problem) => {
                tracing::error!("quotas are not kept from here on: {problem}");
                None
            }
        });
        giver.tell(HandoverNews::Failed(error, keeper));
        refuse(channel, &refused, said);
        channel.shut_down();
    }
}

/// Says it however long the other takes: who hears an end without it knows that this server has ended, and serves.
fn refuse(channel: &MessageChannel, refused: &HandoverMessage, mut said: Result<(), HandoverError>) {
    while matches!(said, Err(HandoverError::Silent(_))) {
        said = say(channel, refused, &[]);
    }
}

impl Giver<'_> {
    fn give(&mut self) -> Result<(), HandoverError> {
        let candidate = self.hear_hello()?;
        let offer = self.ask(limits::HANDOVER_PATIENCE, |reply| HandoverNews::Asked(candidate, reply))?;
        self.offer(offer)?;
        let adopted = match hear(self.channel, limits::HANDOVER_START_PATIENCE)? {
            (HandoverMessage::Ready { clients, admin, takeover }, _) => Adopted { clients, admin, takeover },
            (said, _) => return Err(unexpected(&said)),
        };
        let patience = limits::HANDOVER_RELEASE_PATIENCE + limits::HANDOVER_PATIENCE;
        let released = self.ask(patience, |reply| HandoverNews::Ready(adopted, reply))?;
        // The other opens the store next.
        self.paused = released.keeper.map(QuotaKeeper::pause);
        let mut teller = released.teller;
        teller.next(Instant::now()).iter().try_for_each(|uses| say(self.channel, uses, &[]))?;
        say(self.channel, &HandoverMessage::Released, &[])?;
        self.await_serving()?;
        self.paused = None;
        let (told, over) = bounded(1);
        self.tell(HandoverNews::Serving(told));
        if let Ok(until) = over.recv_timeout(limits::HANDOVER_PATIENCE)
            && say(self.channel, &HandoverMessage::Over, &[]).is_ok()
        {
            self.tell_uses(&mut teller, &until);
        }
        Ok(())
    }

    /// Tells what sessions have and use until the end, or until the other is gone.
    fn tell_uses(&self, teller: &mut UseTeller, TellUntil { end, told: _told }: &TellUntil) {
        loop {
            let over =
                end.recv_timeout(limits::HANDOVER_USES_INTERVAL) == Err(RecvTimeoutError::Disconnected);
            let said = teller.next(Instant::now()).iter().try_for_each(|uses| say(self.channel, uses, &[]));
            if said.is_err() || over {
                return;
            }
        }
    }

    fn hear_hello(&self) -> Result<Candidate, HandoverError> {
        match hear(self.channel, limits::HANDOVER_PATIENCE)? {
            (HandoverMessage::Hello { version: VERSION, build, pid }, _) => Ok(Candidate { build, pid }),
            (HandoverMessage::Hello { version, build, .. }, _) => Err(HandoverError::Version(version, build)),
            (said, _) => Err(unexpected(&said)),
        }
    }

    fn offer(&self, Offer { boot, listeners }: Offer) -> Result<(), HandoverError> {
        // It reads its files first, and more of the offer only then than the channel holds.
        let offer = |message, sockets: &[BorrowedFd<'_>]| {
            say_within(self.channel, &message, sockets, limits::HANDOVER_START_PATIENCE)
        };
        for Offered { told, sockets } in listeners {
            let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(|socket| socket.as_fd()).collect();
            let mut parts = sockets.chunks(DESCRIPTORS_PER_MESSAGE);
            offer(HandoverMessage::Listener(told), parts.next().unwrap_or_default())?;
            for part in parts {
                offer(HandoverMessage::Sockets, part)?;
            }
        }
        offer(HandoverMessage::Complete { boot }, &[])
    }

    /// Waits for the one message that decides. Once nothing more is heard here the other cannot say it: whether it had is
    /// what was said before.
    fn await_serving(&self) -> Result<(), HandoverError> {
        let error = match hear(self.channel, limits::HANDOVER_SERVE_PATIENCE) {
            Ok((HandoverMessage::Serving, _)) => return Ok(()),
            Ok((said, _)) => unexpected(&said),
            Err(error) => error,
        };
        self.channel.stop_hearing();
        while let Ok(Some(message)) = self.channel.receive_now(limits::HANDOVER_MESSAGE_BYTES_MAX) {
            if matches!(decode(&message.bytes), Ok(HandoverMessage::Serving)) {
                return Ok(());
            }
        }
        Err(error)
    }

    /// Asks the control thread for something.
    fn ask<T>(
        &self,
        patience: Duration,
        news: impl FnOnce(Sender<Result<T, String>>) -> HandoverNews,
    ) -> Result<T, HandoverError> {
        let (reply, answer) = bounded(1);
        self.tell(news(reply));
        match answer.recv_timeout(patience) {
            Ok(answer) => answer.map_err(HandoverError::Given),
            Err(RecvTimeoutError::Timeout) => {
                Err(HandoverError::Given("the control thread does not answer".to_owned()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(HandoverError::Given("the server ends".to_owned())),
        }
    }

    fn tell(&self, news: HandoverNews) {
        let _ = self.letters.send(HandoverLetter { attempt: self.attempt, news });
    }
}
