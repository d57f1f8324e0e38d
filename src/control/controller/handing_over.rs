//! The control thread's part of a hand-over: one at a time, begun by whoever asks at the socket for it, or by a signal that has
//! the program started anew. It waits for nobody: the other server is spoken with on a thread of its own.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{SendError, Sender};

use super::{Controller, End};
use crate::control::handing::{HandoverStage, UnderWay};
use crate::control::handover::{
    Adopted, Candidate, HandoverError, HandoverLetter, HandoverNews, Offer, Released, TakeoverDoor,
    TellUntil, give, tell_refused,
};
use crate::control::notify::ServiceManager;
use crate::control::quota_keeper::QuotaKeeper;
use crate::limits;
use crate::sys::passing::MessageChannel;
use crate::threads;

/// The signal that reads the configuration anew, unless there is another program to do that.
const RELOAD: &str = "SIGHUP";
/// Why there is no second hand-over at a time.
const UNDER_WAY: &str = "another hand-over is under way: try again once the log says what came of it";

impl Controller<'_> {
    /// Lets in whoever asks for this server's place, where a socket for that is configured.
    pub(super) fn open_takeover(&mut self) {
        let Some(socket) = self.server.takeover_socket() else { return };
        match TakeoverDoor::start(socket) {
            Ok((door, came)) => (self.handing.door, self.handing.came) = (Some(door), came),
            Err(error) => tracing::error!(%error, "nobody can ask for a hand-over"),
        }
    }

    /// A signal asks for the program to be started anew, in this one's place.
    pub(super) fn start_anew(&mut self, signal: &'static str) {
        if let Some(why) = self.keeps_from_handover() {
            tracing::warn!(by = signal, "no hand-over: {why}{}", neither(signal));
            return self.end_vain_reload(signal);
        }
        let Some(launcher) = &self.handing.launcher else {
            return tracing::warn!(
                by = signal,
                "no hand-over: there is no [server] takeover. It takes effect with the next start"
            );
        };
        let started = MessageChannel::pair().and_then(|(ours, theirs)| {
            launcher.start(theirs)?;
            Ok(ours)
        });
        match started {
            Ok(channel) => {
                tracing::info!(by = signal, "the program was started, to take this server's place");
                self.manager.reloading();
                self.begin_handover(channel, Some(signal));
            }
            Err(error) => {
                tracing::error!(
                    by = signal,
                    "no hand-over: the program cannot be started: {error}; this server serves on{}",
                    neither(signal)
                );
                self.end_vain_reload(signal);
            }
        }
    }

    /// Tells the service manager that a reload is over of which nothing came, for it waits for that.
    fn end_vain_reload(&mut self, signal: &str) {
        let will_be =
            self.reloading || self.handing.under_way.as_ref().is_some_and(|one| one.by_signal.is_some());
        if signal == RELOAD && self.end == End::Unasked && !will_be {
            self.manager.reloading();
            self.manager.ready(&self.status());
        }
    }

    /// Somebody asks for this server's place at its socket.
    pub(super) fn let_ask(&mut self, channel: Option<MessageChannel>) {
        // Nobody is let in any more, and that is no news.
        let Some(channel) = channel else { return self.handing.shut_door() };
        match self.handing.is_under_way() {
            // What else may keep it from that is looked at once it has said who it is.
            false => self.begin_handover(channel, None),
            true => refuse(channel, UNDER_WAY),
        }
    }

    fn begin_handover(&mut self, channel: MessageChannel, by_signal: Option<&'static str>) {
        self.handing.attempt += 1;
        let (attempt, letters) = (self.handing.attempt, self.handing.letters.0.clone());
        let channel = Arc::new(channel);
        let spoken = Arc::clone(&channel);
        let mut once = Some(spoken);
        let thread = threads::spawn("handover", move || {
            once.take().iter().for_each(|channel| give(channel, attempt, &letters));
        });
        self.handing.under_way = Some(UnderWay {
            channel,
            candidate: None,
            adopted: Adopted::default(),
            stage: HandoverStage::Talking,
            by_signal,
        });
        if let Err(error) = thread {
            self.fail_handover(&HandoverError::Given(format!("no thread can be had: {error}")), None);
        }
    }

    /// Why this server's place is not to be had now.
    fn keeps_from_handover(&self) -> Option<String> {
        let why = if self.end != End::Unasked || self.exits_by.is_some() {
            "the server is about to end: start another once it has ended"
        } else if self.server.is_closed() {
            "the server drains: `outflow drain --undo` comes first"
        } else if self.waiting.is_some() || !self.settling.is_empty() {
            "the server goes over to another configuration: try again in a moment"
        } else if self.handing.is_under_way() {
            UNDER_WAY
        } else {
            return None;
        };
        Some(why.to_owned())
    }

    /// What a hand-over comes to, or asks for.
    pub(super) fn hear_handover(&mut self, HandoverLetter { attempt, news }: HandoverLetter) {
        if attempt != self.handing.attempt {
            return;
        }
        match news {
            HandoverNews::Asked(candidate, reply) => {
                let _ = reply.send(self.offer_to(candidate));
            }
            HandoverNews::Ready(adopted, reply) => self.leave_to(adopted, reply),
            HandoverNews::Serving(told) => self.hand_over(told),
            HandoverNews::Failed(error, keeper) => self.fail_handover(&error, keeper.map(|keeper| *keeper)),
        }
    }

    fn offer_to(&mut self, candidate: Candidate) -> Result<Offer, String> {
        let Some(mut under_way) = self.handing.under_way.take() else {
            return Err("it was given up".to_owned());
        };
        // This one is no other.
        let kept = self.keeps_from_handover();
        let Candidate { build, pid } = &candidate;
        let build: String =
            build.chars().take(limits::MAX_QUOTED_CHARS).flat_map(char::escape_debug).collect();
        if kept.is_none() {
            tracing::info!(pid, build, "a server that starts is to take this one's place");
        }
        under_way.candidate = Some(candidate);
        self.handing.under_way = Some(under_way);
        kept.map_or_else(|| Ok(self.server.offer()), Err)
    }

    /// The other could serve: workers leave its listeners alone.
    fn leave_to(&mut self, adopted: Adopted, reply: Sender<Result<Released, String>>) {
        let Some(under_way) = &mut self.handing.under_way else { return };
        if self.end != End::Unasked {
            let _ = reply.send(Err("the server is about to end".to_owned()));
            return;
        }
        under_way.adopted = adopted;
        let changing = self.server.release(&under_way.adopted);
        let until = Instant::now() + limits::HANDOVER_RELEASE_PATIENCE;
        under_way.stage = HandoverStage::Leaving { changing, until, reply };
        // Whoever asks from here on waits for the other, or for what comes of it.
        self.handing.shut_door();
    }

    /// Gets on with a hand-over that waits for workers; false where one does.
    pub(super) fn settle_handover(&mut self, now: Instant) -> bool {
        let Some(under_way) = &mut self.handing.under_way else { return true };
        let HandoverStage::Leaving { changing, until, .. } = &under_way.stage else { return true };
        if !changing.is_over() && *until > now {
            return false;
        }
        let stage = std::mem::replace(&mut under_way.stage, HandoverStage::Left);
        if let HandoverStage::Leaving { reply, .. } = stage
            && let Err(SendError(Ok(unheard))) = reply.send(Ok(self.server.released()))
        {
            self.server.keep_again(unheard.keeper);
        }
        true
    }

    /// The other serves: this one's sessions come to their end, and nobody new comes.
    fn hand_over(&mut self, told: Sender<TellUntil>) {
        let Some(UnderWay { candidate, adopted, .. }) = self.handing.under_way.take() else { return };
        let pid = candidate.map_or(0, |candidate| candidate.pid);
        self.server.hand_over(&adopted);
        self.manager.main_pid(pid);
        // From here on the other speaks for the service.
        self.manager = ServiceManager::default();
        self.reloading = false;
        let _ = told.send(self.server.tell_until_end());
        let sessions = self.server.totals().active();
        tracing::info!(
            pid,
            sessions,
            "another server has taken this one's place: its sessions come to their end here"
        );
        let handover = self.server.config().timeouts.handover;
        let longest = if handover.is_zero() { limits::HANDOVER_LONGEST } else { handover };
        let asked_to_end = std::mem::take(&mut self.handing.drains_behind);
        match asked_to_end {
            true => self.drain(End::Draining, self.drains_by()),
            false => self.drain(End::HandedOver, Instant::now() + longest),
        }
    }

    /// Nothing came of it: this server goes on as it was.
    fn fail_handover(&mut self, error: &HandoverError, keeper: Option<QuotaKeeper>) {
        let Some(UnderWay { candidate, by_signal, stage, .. }) = self.handing.under_way.take() else {
            return;
        };
        let also = by_signal.map_or("", neither);
        match (error, candidate) {
            // Another server looked whether one is there.
            (HandoverError::Gone, None) if by_signal.is_none() => {}
            (HandoverError::Gone, Some(Candidate { pid, .. })) if matches!(stage, HandoverStage::Talking) => {
                tracing::error!(
                    pid,
                    "no hand-over: the other server ended before it was ready, and says why on standard error; this server serves on{also}"
                );
            }
            (error, Some(Candidate { pid, .. })) => {
                tracing::error!(pid, "no hand-over: {error}; this server serves on{also}");
            }
            (error @ (HandoverError::Gone | HandoverError::Silent(_)), None) => tracing::error!(
                "no hand-over: {error} before it asked, and says why on standard error; this server serves on{also}"
            ),
            (error, None) => tracing::error!("no hand-over: {error}; this server serves on{also}"),
        }
        if !matches!(stage, HandoverStage::Talking) {
            self.server.take_back(keeper);
            self.open_takeover();
        }
        if by_signal.is_some() {
            self.manager.ready(&self.status());
        }
        if std::mem::take(&mut self.handing.drains_behind) {
            tracing::info!(sessions = self.server.totals().active(), "draining");
            self.drain(End::Draining, self.drains_by());
        }
    }

    /// Whether the end of the process has to wait for a hand-over, whose listeners may be the other's by now. That is known soon:
    /// it is given up where it can be.
    pub(super) fn end_waits(&mut self) -> bool {
        let Some(under_way) = &self.handing.under_way else { return false };
        under_way.channel.stop_hearing();
        self.handing.drains_behind = true;
        true
    }
}

/// What else did not come of a signal that asks for a reload where no other program stands there.
fn neither(signal: &str) -> &'static str {
    if signal == RELOAD { ", and the configuration was not read anew either" } else { "" }
}

/// Tells whoever asks that it is not to be.
fn refuse(channel: MessageChannel, why: &str) {
    tell_refused(&channel, why.to_owned());
    tracing::warn!("a hand-over was asked for and refused: {why}");
}
