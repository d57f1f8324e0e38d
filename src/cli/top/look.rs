//! Looks at the endpoint on a thread of its own, so that no key waits for an answer.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::query::{AskedPage, RankedBy, session_path};
use super::seen::{HistorySeen, SessionsSeen, StatsSeen, TalkersSeen};
use crate::cli::client::{AdminClient, ClientError};
use crate::limits;

/// What answers for the endpoint.
pub(super) trait Fetch: Send {
    /// The JSON behind a path.
    ///
    /// # Errors
    /// Where there is no answer, or one that refuses.
    fn get(&mut self, path: &str) -> Result<Value, Trouble>;

    /// Deletes what is behind a path, and gives what the endpoint says of it.
    ///
    /// # Errors
    /// Where there is no answer, or one that refuses.
    fn delete(&mut self, path: &str) -> Result<Value, Trouble>;
}

impl Fetch for AdminClient {
    fn get(&mut self, path: &str) -> Result<Value, Trouble> {
        AdminClient::get(self, path).map_err(Trouble::from)
    }

    fn delete(&mut self, path: &str) -> Result<Value, Trouble> {
        AdminClient::delete(self, path).map_err(Trouble::from)
    }
}

/// Why there is no answer to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody answers.
    Gone(String),
    /// The endpoint says no.
    Refused {
        /// What is not right is the question.
        asked_wrong: bool,
        /// Its words.
        words: String,
    },
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Trouble {
        match error {
            ClientError::Refused(refusal) if refusal.status == 400 => {
                Trouble::Refused { asked_wrong: true, words: refusal.error }
            }
            ClientError::Refused(_) => Trouble::Refused { asked_wrong: false, words: error.to_string() },
            other => Trouble::Gone(other.to_string()),
        }
    }
}

impl Trouble {
    /// The words for a person.
    pub(super) fn words(&self) -> &str {
        match self {
            Trouble::Gone(words) | Trouble::Refused { words, .. } => words,
        }
    }
}

/// What the screen wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// These sessions, now and from now on.
    List(AskedPage),
    /// Those who move most by this, now and from now on.
    Rank(RankedBy),
    /// Everything, now.
    Everything,
    /// No look until there is word, or again one from time to time.
    Pause(bool),
    /// The end of this session.
    End(String),
}

/// What comes of it.
#[derive(Clone, Debug)]
pub(super) enum LookReport {
    /// Everything that is shown, from one moment.
    Looked(Box<Look>),
    /// Sessions.
    Listed(AskedPage, Result<SessionsSeen, Trouble>),
    /// Who moves most.
    Ranked(RankedBy, TalkersSeen),
    /// How many sessions of this id were ended.
    Ended(String, Result<u64, Trouble>),
    /// No look came about.
    Missed(Trouble),
}

/// One look at everything.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) stats: StatsSeen,
    pub(super) history: HistorySeen,
    pub(super) ranked_by: RankedBy,
    pub(super) talkers: TalkersSeen,
    pub(super) page: AskedPage,
    pub(super) sessions: Result<SessionsSeen, Trouble>,
}

/// Who looks.
pub(super) struct Looker<F> {
    fetch: F,
    interval: Duration,
    page: AskedPage,
    ranked_by: RankedBy,
    paused: bool,
    answered: bool,
}

impl<F: Fetch> Looker<F> {
    /// Looks once in `interval`, for these sessions at first.
    pub(super) fn new(fetch: F, interval: Duration, page: AskedPage) -> Looker<F> {
        Looker { fetch, interval, page, ranked_by: RankedBy::default(), paused: false, answered: true }
    }

    /// Looks once, before there is anybody who asks.
    ///
    /// # Errors
    /// Where there is nothing to look at.
    pub(super) fn first(&mut self) -> Result<Look, Trouble> {
        self.look()
    }

    /// Looks until whoever asks is gone, or wants no report any more.
    pub(super) fn run(mut self, asks: &Receiver<Ask>, mut report: impl FnMut(LookReport) -> bool) {
        let mut due = Instant::now() + self.interval;
        loop {
            let first = match self.paused {
                true => asks.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => asks.recv_deadline(due),
            };
            let reports = match first {
                Ok(ask) => self.answer(std::iter::once(ask).chain(asks.try_iter()).collect(), &mut due),
                Err(RecvTimeoutError::Timeout) => vec![self.everything(&mut due)],
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if !reports.into_iter().all(&mut report) {
                return;
            }
        }
    }

    /// Answers all that was asked meanwhile; of what was asked twice the later.
    fn answer(&mut self, asks: Vec<Ask>, due: &mut Instant) -> Vec<LookReport> {
        let (mut reports, mut everything) = (Vec::new(), false);
        let (mut list, mut rank) = (false, false);
        for ask in asks {
            match ask {
                Ask::List(page) => (self.page, list) = (page, true),
                Ask::Rank(by) => (self.ranked_by, rank) = (by, true),
                Ask::Everything => everything = true,
                // Whoever goes on wants to see what is now.
                Ask::Pause(paused) => (self.paused, everything) = (paused, everything || !paused),
                Ask::End(id) => {
                    let ended = self.fetch.delete(&session_path(&id));
                    let ended = ended.map(|answer| answer["ended"].as_u64().unwrap_or_default());
                    reports.push(LookReport::Ended(id, ended));
                    everything = true;
                }
            }
        }
        if everything {
            reports.push(self.everything(due));
            return reports;
        }
        if list {
            reports.push(LookReport::Listed(self.page.clone(), self.sessions()));
        }
        if rank {
            let talkers = self.talkers();
            reports.push(
                talkers.map_or_else(LookReport::Missed, |seen| LookReport::Ranked(self.ranked_by, seen)),
            );
        }
        reports
    }

    /// Looks, and says when the next look is due.
    fn everything(&mut self, due: &mut Instant) -> LookReport {
        let began = Instant::now();
        let look = self.look();
        self.answered = look.is_ok();
        let pause = if self.answered { self.interval } else { limits::TOP_RETRY };
        // An answer that took longer than that is followed by a pause all the same.
        *due = (began + pause).max(Instant::now() + limits::TOP_INTERVAL_MIN / 2);
        look.map_or_else(LookReport::Missed, |look| LookReport::Looked(Box::new(look)))
    }

    fn look(&mut self) -> Result<Look, Trouble> {
        let stats = self.ask("/api/v1/stats")?;
        let history = self.ask("/api/v1/history")?;
        let talkers = self.talkers()?;
        let sessions = match self.sessions() {
            Err(gone @ Trouble::Gone(_)) => return Err(gone),
            sessions => sessions,
        };
        Ok(Look { stats, history, ranked_by: self.ranked_by, talkers, page: self.page.clone(), sessions })
    }

    fn talkers(&mut self) -> Result<TalkersSeen, Trouble> {
        self.ask(&self.ranked_by.path(limits::TOP_TALKERS))
    }

    fn sessions(&mut self) -> Result<SessionsSeen, Trouble> {
        self.ask(&self.page.path())
    }

    fn ask<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Trouble> {
        let foreign = |error| Trouble::Refused {
            asked_wrong: false,
            words: format!("{path} is not answered as outflow does: {error}"),
        };
        serde_json::from_value(self.fetch.get(path)?).map_err(foreign)
    }
}

#[cfg(test)]
mod tests;
