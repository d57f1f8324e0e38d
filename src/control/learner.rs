//! Gathers what live traffic needs, on a thread of its own, and keeps it in a file that grows over restarts.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};

use super::learned::{LearnedError, is_absent, read_learned, written};
use crate::admin::with_whom;
use crate::config::Config;
use crate::limits;
use crate::observe::{NeedSender, TrafficNeed, needs};
use crate::sys::files;
use crate::threads;

/// The mode of a file that did not exist before: it tells who goes where.
const NEW_FILE_MODE: u32 = 0o600;

/// A file that is being learned into.
#[derive(Clone, Debug)]
pub(super) struct Learner {
    path: PathBuf,
    sender: NeedSender,
    /// The thread ends once it is told so here, or the last who holds this has let go.
    stop: Sender<()>,
    /// Closed by the thread once all is written.
    ended: Receiver<()>,
}

/// What the thread knows.
struct Learned {
    path: PathBuf,
    needs: HashSet<TrafficNeed>,
    /// When what is new has to be written.
    due: Option<Instant>,
    /// Whether it was said that there are too many.
    full: bool,
    /// Whether the last try to write failed.
    failed: bool,
}

impl Learner {
    /// Begins to learn into this file, and with what stands there.
    ///
    /// # Errors
    /// It has a line that is none, or the system gives no thread.
    pub(super) fn start(path: &Path) -> Result<Learner, String> {
        let known = read_or_none(path).map_err(|error| error.to_string())?;
        let (sender, receiver) = needs();
        let (stop, stopped) = bounded::<()>(1);
        let (end, ended) = bounded::<()>(0);
        let path = path.to_owned();
        let mut learned = Learned { path: path.clone(), needs: known, due: None, full: false, failed: false };
        let mut end = Some(end);
        threads::spawn("learn", move || {
            learned.run(&receiver, &stopped);
            drop(end.take());
        })
        .map(drop::<JoinHandle<()>>)
        .map_err(|error| format!("no thread can be had: {error}"))?;
        Ok(Learner { path, sender, stop, ended })
    }

    /// Where workers tell what they see.
    pub(super) fn sender(&self) -> &NeedSender {
        &self.sender
    }

    /// Ends it, and gives its thread some time to write what it has.
    pub(super) fn finish(&self) {
        let _ = self.stop.try_send(());
        let _ = self.ended.recv_timeout(limits::LEARNED_LAST_WRITE);
    }
}

/// Where a configuration wants what is learned: what is at hand, if that is it.
///
/// # Errors
/// As [`Learner::start`].
pub(super) fn learner(config: &Config, at_hand: Option<&Learner>) -> Result<Option<Learner>, String> {
    let Some(path) = &config.policy.learn else { return Ok(None) };
    match at_hand.filter(|learner| learner.path == *path) {
        Some(learner) => Ok(Some(learner.clone())),
        None => Learner::start(path).map(Some),
    }
}

/// Whether a file can be learned into.
///
/// # Errors
/// Why not.
pub(super) fn can_learn(path: &Path) -> Result<(), String> {
    read_or_none(path).map_err(|error| error.to_string())?;
    files::can_append(path).map_err(|error| format!("cannot write {path:?}: {error}"))
}

fn read_or_none(path: &Path) -> Result<HashSet<TrafficNeed>, LearnedError> {
    if is_absent(path) { Ok(HashSet::new()) } else { read_learned(path) }
}

impl Learned {
    fn run(&mut self, told: &Receiver<TrafficNeed>, stopped: &Receiver<()>) {
        loop {
            let due = self.due.map_or_else(never, at);
            select! {
                recv(told) -> need => match need {
                    Ok(need) => self.take(need),
                    Err(_) => break,
                },
                recv(due) -> _ => self.write(),
                recv(stopped) -> _ => break,
            }
        }
        told.try_iter().take(limits::NEEDS_QUEUED_MAX).for_each(|need| self.take(need));
        if self.due.is_some() {
            self.write();
        }
    }

    fn take(&mut self, need: TrafficNeed) {
        if self.needs.contains(&need) {
            return;
        }
        if self.needs.len() >= limits::LEARNED_MAX {
            if !std::mem::replace(&mut self.full, true) {
                let (path, most) = (self.path.display(), limits::LEARNED_MAX);
                tracing::warn!("{path}: more than {most} needs: others are not learned");
            }
            return;
        }
        self.needs.insert(need);
        self.due = self.due.or_else(|| Some(Instant::now() + limits::LEARNED_WRITE));
    }

    /// What it cannot write it tries again with what comes then.
    fn write(&mut self) {
        self.due = None;
        match files::replace(&self.path, written(&self.needs).as_bytes(), NEW_FILE_MODE) {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    let error = with_whom(error.to_string());
                    tracing::error!(%error, "what was learned cannot be written to {}", self.path.display());
                }
                self.due = Some(Instant::now() + limits::LEARNED_RETRY);
            }
        }
    }
}
