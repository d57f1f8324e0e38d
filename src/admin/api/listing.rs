//! Sessions for `/api/v1/sessions`: asked of the workers, chosen, sorted, and written as one answer.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;

use super::asking::Asking;
use super::best::Best;
use super::question::{Seen, SessionQuestion, SortOrder};
use super::rates::RateBook;
use super::shown;
use crate::admin::answer::HttpAnswer;
use crate::admin::status::HttpStatus;
use crate::limits;
use crate::observe::live::LiveSession;
use crate::worker::{Listed, Mail, Mailbox};

/// A question for sessions that is under way.
pub(super) struct Listing {
    question: SessionQuestion,
    asking: Asking<Listed>,
    found: LookFound,
    look: ListingLook,
    /// Counts the questions that are under way.
    _token: Arc<()>,
}

/// Where a listing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListingLook {
    /// The first look is under way; a second one follows where it tells no rates that the answer depends on.
    First,
    /// The second look begins then.
    Pause(Instant),
    /// No other look follows.
    Last,
}

/// Which of two sessions comes first.
type CompareFn = Box<dyn Fn(&Seen, &Seen) -> Ordering>;

/// What a look has found so far.
struct LookFound {
    /// When the workers were asked.
    asked_at: Instant,
    best: Best<Seen, CompareFn>,
    total: u64,
    matched: u64,
    /// Sessions that were looked at for their rate, and those of them that had one.
    rated: u64,
    known: u64,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("question", &self.question)
            .field("look", &self.look)
            .finish_non_exhaustive()
    }
}

impl LookFound {
    fn new(question: &SessionQuestion, asked_at: Instant) -> LookFound {
        let order: SortOrder = question.order;
        let compare: CompareFn = Box::new(move |a: &Seen, b: &Seen| order.compare(a, b));
        LookFound {
            asked_at,
            best: Best::new(question.offset + question.limit, compare),
            total: 0,
            matched: 0,
            rated: 0,
            known: 0,
        }
    }

    fn take(
        &mut self,
        mut session: LiveSession,
        question: &SessionQuestion,
        book: &mut RateBook,
        now: Instant,
    ) {
        let mut speed = None;
        if question.needs_rates() {
            speed = book.look(session.id, session.bytes_up, session.bytes_down, now);
            self.rated += 1;
            self.known += u64::from(speed.is_some());
        }
        let fast = |least: f64| speed.is_some_and(|speed| speed.both() >= least);
        if question.min_rate.is_none_or(fast) {
            self.matched += 1;
            // Each worker counted to the begin of its own turn: to one moment ages are in the order of the begins.
            let age = self.asked_at.saturating_duration_since(session.began);
            session.age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            self.best.push(Seen { session, speed });
        }
    }
}

impl Listing {
    /// Asks the workers; the token is held until it is answered or given up.
    pub(super) fn begin(
        question: SessionQuestion,
        token: Arc<()>,
        workers: &[(usize, &Mailbox)],
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Listing {
        let look = if question.needs_rates() { ListingLook::First } else { ListingLook::Last };
        let asking = ask(&question, workers, waker, now);
        let found = LookFound::new(&question, now);
        Listing { question, asking, found, look, _token: token }
    }

    /// Takes what has come, and answers once all of it has.
    pub(super) fn go_on(
        &mut self,
        workers: &[(usize, &Mailbox)],
        waker: &Arc<Waker>,
        book: &mut RateBook,
        now: Instant,
    ) -> Option<HttpAnswer> {
        if let ListingLook::Pause(until) = self.look {
            if now < until {
                return None;
            }
            self.look = ListingLook::Last;
            self.found = LookFound::new(&self.question, now);
            self.asking = ask(&self.question, workers, waker, now);
        }
        while let Some(told) = self.asking.next() {
            self.read(told, book, now);
        }
        if !self.asking.is_over(now) {
            return None;
        }
        if self.asking.is_refused() {
            return Some(unavailable("too many others list sessions now"));
        }
        let silent = self.asking.silent();
        if let Some(silent) = silent.as_ref().filter(|_| self.asking.is_in_vain()) {
            return Some(unavailable(silent));
        }
        if self.look == ListingLook::First && 2 * self.found.known < self.found.rated {
            self.look = ListingLook::Pause(now + limits::RATE_SPAN_MIN + Duration::from_millis(1));
            return None;
        }
        Some(HttpAnswer::new(HttpStatus::OK, "application/json", self.answer(silent, book, now)))
    }

    /// When it is to go on without anything that comes.
    pub(super) fn until(&self) -> Instant {
        match self.look {
            ListingLook::Pause(until) => until,
            ListingLook::First | ListingLook::Last => self.asking.until(),
        }
    }

    fn read(&mut self, told: Listed, book: &mut RateBook, now: Instant) {
        match told {
            Listed::Page(sessions) => {
                sessions.into_iter().for_each(|session| self.found.take(session, &self.question, book, now));
            }
            Listed::End { worker, walked, total } => {
                self.found.total += total as u64;
                self.asking.note_end(worker, walked);
            }
        }
    }

    fn answer(&mut self, silent: Option<String>, book: &mut RateBook, now: Instant) -> Vec<u8> {
        let found = std::mem::replace(&mut self.found, LookFound::new(&self.question, now));
        let mut page = found.best.into_page(self.question.offset);
        if !self.question.needs_rates() {
            for Seen { session, speed } in &mut page {
                *speed = book.look(session.id, session.bytes_up, session.bytes_down, now);
            }
        }
        let warning = match (silent, self.asking.is_broken()) {
            (Some(silent), _) => Some(format!("{silent}: its sessions are missing")),
            (None, true) => Some("a worker began anew meanwhile: sessions may be missing".to_owned()),
            (None, false) => None,
        };
        shown::sessions(found.total, found.matched, warning.as_deref(), &page)
    }
}

fn ask(
    question: &SessionQuestion,
    workers: &[(usize, &Mailbox)],
    waker: &Arc<Waker>,
    now: Instant,
) -> Asking<Listed> {
    let chosen = &question.chosen;
    let filter = Arc::new(chosen.filter.clone());
    let asked = workers.iter().copied().filter(|(number, _)| chosen.worker.is_none_or(|one| one == *number));
    Asking::ask(asked, waker, now, |reply| Mail::List { filter: Arc::clone(&filter), reply })
}

fn unavailable(what: &str) -> HttpAnswer {
    HttpAnswer::error(HttpStatus::UNAVAILABLE, what).with("retry-after", 1)
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Sender, unbounded};
    use mio::{Poll, Token};
    use serde_json::{Value, json};

    use super::*;
    use crate::admin::api::shown::tests::session;
    use crate::worker::Walked;

    /// A listing whose workers are a test.
    struct Bench {
        listing: Listing,
        answers: Sender<Listed>,
        book: RateBook,
        waker: Arc<Waker>,
        _poll: Poll,
        now: Instant,
    }

    impl Bench {
        fn of(question: &str, workers: usize) -> Bench {
            let poll = Poll::new().unwrap();
            let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
            let now = Instant::now();
            let listing =
                Listing::begin(SessionQuestion::read(question).unwrap(), Arc::default(), &[], &waker, now);
            let answers = unbounded().0;
            let mut bench = Bench { listing, answers, book: RateBook::default(), waker, _poll: poll, now };
            bench.ask(workers);
            bench
        }

        /// Has the question asked of so many workers.
        fn ask(&mut self, workers: usize) {
            let (sender, answers) = unbounded();
            let until = self.now + limits::WORKERS_ANSWER_TIME;
            self.listing.asking = Asking::of(answers, (0..workers).collect(), until);
            self.answers = sender;
        }

        fn page(&self, serials: impl IntoIterator<Item = u64>) {
            self.answers.send(Listed::Page(serials.into_iter().map(session).collect())).unwrap();
        }

        fn end(&self, worker: usize, walked: Walked) {
            self.answers.send(Listed::End { worker, walked, total: 10 }).unwrap();
        }

        fn go_on(&mut self) -> Option<(u16, Value)> {
            let answer = self.listing.go_on(&[], &self.waker, &mut self.book, self.now)?;
            Some((answer.status().code(), serde_json::from_slice(answer.body()).unwrap()))
        }
    }

    fn up(list: &Value) -> Vec<u64> {
        let sessions = list["sessions"].as_array().unwrap().iter();
        sessions.map(|session| session["bytes_up"].as_u64().unwrap()).collect()
    }

    #[test]
    fn pages_of_all_workers_become_one_list() {
        let mut bench = Bench::of("sort=bytes_up&limit=3&offset=1", 2);
        bench.page([5, 3]);
        bench.page([1]);
        bench.end(0, Walked::Whole);
        assert_eq!(bench.go_on(), None);
        bench.page([4, 2]);
        bench.end(1, Walked::Whole);
        let (status, list) = bench.go_on().unwrap();
        assert_eq!(
            (status, &list["total"], &list["matched"], up(&list)),
            (200, &json!(20), &json!(5), vec![2, 3, 4])
        );
        assert_eq!((&list["warning"], &list["sessions"][0]["rate_up"]), (&Value::Null, &Value::Null));
    }

    /// A worker that stands still must not hang whoever asks, nor hide what the others told.
    #[test]
    fn a_worker_that_stands_still_is_named_and_the_others_are_listed() {
        let mut bench = Bench::of("", 2);
        bench.page([1]);
        bench.end(0, Walked::Whole);
        assert_eq!(bench.go_on(), None);
        bench.now += limits::WORKERS_ANSWER_TIME;
        let (status, list) = bench.go_on().unwrap();
        assert_eq!((status, up(&list)), (200, vec![1]));
        assert_eq!(list["warning"], "worker 1 has not answered within 2s: its sessions are missing");

        let mut bench = Bench::of("", 2);
        assert_eq!(bench.go_on(), None);
        bench.now += limits::WORKERS_ANSWER_TIME;
        assert_eq!(
            bench.go_on(),
            Some((503, json!({"error": "workers 0 and 1 have not answered within 2s"})))
        );
    }

    #[test]
    fn a_worker_that_has_too_much_to_answer_or_began_anew_is_said() {
        let mut bench = Bench::of("", 2);
        bench.end(0, Walked::Whole);
        bench.end(1, Walked::Refused);
        assert_eq!(bench.go_on().map(|(status, _)| status), Some(503));
        let mut bench = Bench::of("", 2);
        bench.end(0, Walked::Broken);
        bench.end(1, Walked::Whole);
        let (status, list) = bench.go_on().unwrap();
        assert!(status == 200 && list["warning"].as_str().unwrap().contains("began anew"), "{list}");
    }

    #[test]
    fn a_first_look_by_rate_is_followed_by_another() {
        let mut bench = Bench::of("min_rate=100", 1);
        bench.page([10, 20]);
        bench.end(0, Walked::Whole);
        assert_eq!(bench.go_on(), None);
        let pause = bench.listing.until();
        assert!(pause > bench.now + limits::RATE_SPAN_MIN && pause < bench.now + 2 * limits::RATE_SPAN_MIN);
        bench.now = pause - Duration::from_micros(1);
        assert_eq!(bench.go_on(), None);
        bench.now = pause;
        // The workers of the second question are none: it is asked anew.
        assert!(bench.go_on().is_some_and(|(_, list)| list["matched"] == 0));

        let mut bench = Bench::of("min_rate=100", 1);
        bench.listing.look = ListingLook::Last;
        bench.page([10, 20]);
        bench.end(0, Walked::Whole);
        assert!(bench.go_on().is_some_and(|(_, list)| list["matched"] == 0), "none has a rate");
        bench.now += Duration::from_secs(1);
        bench.ask(1);
        let moved = |serial, bytes_up| LiveSession { bytes_up, ..session(serial) };
        bench.answers.send(Listed::Page(vec![moved(10, 10 + 99), moved(20, 20 + 101)])).unwrap();
        bench.end(0, Walked::Whole);
        let (_, list) = bench.go_on().unwrap();
        assert_eq!((&list["matched"], &list["sessions"][0]["rate_up"]), (&json!(1), &json!(101.0)));
    }
}
