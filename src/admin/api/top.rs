//! Who was busiest in the last minute.

use std::sync::Arc;
use std::time::Instant;

use mio::Waker;
use serde_json::{Value, json};

use super::asking::Asking;
use super::query::{Query, whole, word};
use crate::admin::answer::HttpAnswer;
use crate::admin::status::HttpStatus;
use crate::limits;
use crate::observe::talkers::{TalkedBy, Talker, TalkerKind, TalkersFound};
use crate::worker::{Mail, Mailbox, TalkersTold};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopQuestion {
    by: TalkedBy,
    limit: usize,
}

const TALKED_BY: [(&str, TalkedBy); 2] = [("bytes", TalkedBy::Bytes), ("sessions", TalkedBy::Sessions)];

impl TopQuestion {
    /// Reads the parameters.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn read(text: &str) -> Result<TopQuestion, String> {
        let query = Query::read(text, &["by", "limit"])?;
        let limit = query.value("limit", whole(1..=limits::TOP_LISTED_MAX))?.unwrap_or(limits::TOP_LISTED);
        let by = query.value("by", word(&TALKED_BY))?.unwrap_or(TalkedBy::Bytes);
        Ok(TopQuestion { by, limit: limit as usize })
    }
}

/// A question for the busiest that is under way.
#[derive(Debug)]
pub(super) struct Top {
    question: TopQuestion,
    asking: Asking<TalkersTold>,
    found: TalkersFound,
}

impl Top {
    /// Asks the workers.
    pub(super) fn begin(
        question: TopQuestion,
        workers: &[(usize, &Mailbox)],
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Top {
        let asking = Asking::ask(workers.iter().copied(), waker, now, |reply| Mail::Talkers { reply });
        Top { question, asking, found: TalkersFound::default() }
    }

    /// Takes what has come; the answer once all of it has.
    pub(super) fn go_on(&mut self, now: Instant) -> Option<HttpAnswer> {
        while let Some(TalkersTold { worker, walked, found }) = self.asking.next() {
            self.found.add(found);
            self.asking.note_end(worker, walked);
        }
        self.asking.is_over(now).then(|| self.answer())
    }

    /// When it answers at the latest.
    pub(super) fn until(&self) -> Instant {
        self.asking.until()
    }

    fn answer(&self) -> HttpAnswer {
        let warning = match self.asking.silent() {
            Some(silent) if self.asking.is_in_vain() => {
                return HttpAnswer::error(HttpStatus::UNAVAILABLE, silent);
            }
            Some(silent) => Some(format!("{silent}: what it counted is missing")),
            None if self.asking.is_refused() || self.asking.is_broken() => {
                Some("what is under way is not counted to this moment".to_owned())
            }
            None => None,
        };
        let TopQuestion { by, limit } = self.question;
        let top = |kind| -> Vec<Value> { self.found.top(kind, by, limit).iter().map(shown).collect() };
        let mut answer = json!({
            "window_s": limits::TALKERS_WINDOW.as_secs() * limits::TALKERS_WINDOWS,
            "by": TALKED_BY.iter().find(|(_, each)| *each == by).map(|(word, _)| word),
            "users": top(TalkerKind::Users),
            "sources": top(TalkerKind::Sources),
            "targets": top(TalkerKind::Targets),
        });
        if let Some(warning) = warning {
            answer["warning"] = warning.into();
        }
        HttpAnswer::json(HttpStatus::OK, &answer)
    }
}

fn shown(talker: &Talker) -> Value {
    let Talker { name, sessions, bytes, over } = talker;
    json!({"name": name, "sessions": sessions, "bytes": bytes, "over": over})
}
