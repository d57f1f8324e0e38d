//! What the control thread has of a hand-over: who may ask, and the one that is under way.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, never};

use super::handover::{Adopted, Candidate, HandoverLetter, Released, TakeoverDoor};
use super::launcher::Launcher;
use super::server::Changing;
use crate::limits;
use crate::sys::passing::MessageChannel;

/// What is asked and under way.
pub(super) struct HandingOver {
    pub(super) letters: (Sender<HandoverLetter>, Receiver<HandoverLetter>),
    /// Where whoever asks is let in, and shown.
    pub(super) door: Option<TakeoverDoor>,
    pub(super) came: Receiver<MessageChannel>,
    pub(super) launcher: Option<Launcher>,
    /// The number of the last one.
    pub(super) attempt: u64,
    pub(super) under_way: Option<UnderWay>,
    /// The server was told to end, which waits for what comes of the hand-over.
    pub(super) drains_behind: bool,
}

/// A hand-over that has begun.
pub(super) struct UnderWay {
    pub(super) channel: Arc<MessageChannel>,
    pub(super) candidate: Option<Candidate>,
    pub(super) adopted: Adopted,
    pub(super) stage: HandoverStage,
    /// The signal that asked for it, of which the service manager was told.
    pub(super) by_signal: Option<&'static str>,
}

pub(super) enum HandoverStage {
    /// The other says what it wants, or starts.
    Talking,
    /// Workers are leaving the listeners alone; whoever waits for that is told then.
    Leaving { changing: Changing, until: Instant, reply: Sender<Result<Released, String>> },
    /// They have.
    Left,
}

impl HandingOver {
    /// Nothing is under way.
    pub(super) fn new(launcher: Option<Launcher>) -> HandingOver {
        HandingOver {
            letters: bounded(limits::HANDOVER_LETTERS_MAX),
            door: None,
            came: never(),
            launcher,
            attempt: 0,
            under_way: None,
            drains_behind: false,
        }
    }

    /// Whoever asks for this server's place.
    pub(super) fn came(&self) -> Receiver<MessageChannel> {
        self.came.clone()
    }

    /// What comes of a hand-over.
    pub(super) fn letters(&self) -> Receiver<HandoverLetter> {
        self.letters.1.clone()
    }

    /// Whether the program is another by now, and can be started.
    pub(super) fn program_is_another(&self) -> bool {
        self.launcher.as_ref().is_some_and(Launcher::program_is_another)
    }

    pub(super) fn shut_door(&mut self) {
        (self.door, self.came) = (None, never());
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}
