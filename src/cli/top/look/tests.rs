//! When the endpoint is asked, and what is told of it.

use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use serde_json::json;

use super::*;
use crate::cli::top::model::first_page;
use crate::cli::top::sample::MadeUp;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any test lasts.
const NEVER: Duration = Duration::from_secs(3600);

/// An endpoint that notes what it is asked, and answers or not.
#[derive(Clone)]
struct Noting {
    endpoint: MadeUp,
    asked: Sender<String>,
    trouble: Arc<Mutex<Option<(&'static str, Trouble)>>>,
}

impl Noting {
    fn answer(&mut self, asked: String, path: &str) -> Result<(), Trouble> {
        let _ = self.asked.send(asked);
        let trouble = self.trouble.lock().unwrap();
        match &*trouble {
            Some((begin, trouble)) if path.starts_with(begin) => Err(trouble.clone()),
            _ => Ok(()),
        }
    }
}

impl Fetch for Noting {
    fn get(&mut self, path: &str) -> Result<Value, Trouble> {
        self.answer(path.to_owned(), path)?;
        self.endpoint.get(path)
    }

    fn delete(&mut self, path: &str) -> Result<Value, Trouble> {
        self.answer(format!("DELETE {path}"), path)?;
        self.endpoint.delete(path)
    }
}

/// A looker on its thread, and both ends of what is said to it.
struct Bench {
    asks: Sender<Ask>,
    reports: Receiver<LookReport>,
    asked: Receiver<String>,
    trouble: Arc<Mutex<Option<(&'static str, Trouble)>>>,
}

impl Bench {
    fn new(interval: Duration) -> Bench {
        let (asked_by, asked) = unbounded();
        let trouble = Arc::default();
        let fetch = Noting { endpoint: MadeUp::busy(5), asked: asked_by, trouble: Arc::clone(&trouble) };
        let looker = Looker::new(fetch, interval, first_page(10));
        let (asks, wishes) = unbounded();
        let (tell, reports) = unbounded();
        thread::spawn(move || looker.run(&wishes, |report| tell.send(report).is_ok()));
        Bench { asks, reports, asked, trouble }
    }

    fn report(&self) -> LookReport {
        self.reports.recv_timeout(PATIENCE).expect("a report")
    }

    /// All that was asked by now, without what begins every path.
    fn asked(&self) -> Vec<String> {
        self.asked.try_iter().map(|path| path.replace("/api/v1/", "")).collect()
    }
}

const EVERYTHING: [&str; 4] = ["stats", "history", "top?by=bytes&limit=20", "sessions?sort=-age&limit=130"];

#[test]
fn it_looks_from_time_to_time() {
    let bench = Bench::new(Duration::from_millis(1));
    for _ in 0..2 {
        let LookReport::Looked(look) = bench.report() else { panic!("no look") };
        assert_eq!((look.stats.version.as_str(), look.sessions.unwrap().matched), ("0.1.0", 5));
    }
    assert_eq!(bench.asked()[..4], EVERYTHING);
}

#[test]
fn what_is_asked_for_comes_at_once_and_nothing_else() {
    let bench = Bench::new(NEVER);
    let page = AskedPage { offset: 2, ..first_page(10) };
    bench.asks.send(Ask::List(page.clone())).unwrap();
    assert!(
        matches!(bench.report(), LookReport::Listed(told, Ok(seen)) if told == page && seen.sessions.len() == 3)
    );
    assert_eq!(bench.asked(), ["sessions?sort=-age&limit=130&offset=2"]);
    bench.asks.send(Ask::Rank(RankedBy::Sessions)).unwrap();
    assert!(matches!(bench.report(), LookReport::Ranked(RankedBy::Sessions, seen) if seen.users.len() == 3));
    assert_eq!(bench.asked(), ["top?by=sessions&limit=20"]);
    // Both hold from now on.
    bench.asks.send(Ask::Everything).unwrap();
    assert!(matches!(bench.report(), LookReport::Looked(_)));
    assert_eq!(bench.asked()[2..], ["top?by=sessions&limit=20", "sessions?sort=-age&limit=130&offset=2"]);
}

#[test]
fn a_session_is_ended_by_its_id_and_then_it_looks() {
    let bench = Bench::new(NEVER);
    bench.asks.send(Ask::End("00c0ffee000000000003".to_owned())).unwrap();
    assert!(matches!(bench.report(), LookReport::Ended(id, Ok(1)) if id == "00c0ffee000000000003"));
    assert!(
        matches!(bench.report(), LookReport::Looked(look) if look.sessions.as_ref().unwrap().matched == 4)
    );
    assert_eq!(bench.asked()[0], "DELETE sessions/00c0ffee000000000003");
    bench.asks.send(Ask::End("gone".to_owned())).unwrap();
    assert!(matches!(bench.report(), LookReport::Ended(_, Ok(0))));
}

#[test]
fn while_it_is_paused_it_answers_what_is_asked_and_does_not_look_by_itself() {
    let bench = Bench::new(Duration::from_millis(1));
    bench.asks.send(Ask::Pause(true)).unwrap();
    // What was under way when the pause was asked for may still be told; then nothing is.
    while bench.reports.recv_timeout(4 * limits::TOP_INTERVAL_MIN).is_ok() {}
    bench.asked();
    bench.asks.send(Ask::List(first_page(10))).unwrap();
    assert!(matches!(bench.report(), LookReport::Listed(..)));
    assert_eq!(bench.asked(), ["sessions?sort=-age&limit=130"]);
    bench.asks.send(Ask::Pause(false)).unwrap();
    assert!(matches!(bench.report(), LookReport::Looked(_)));
    assert!(matches!(bench.report(), LookReport::Looked(_)), "and again by itself");
}

#[test]
fn an_endpoint_that_is_gone_is_tried_again_until_it_is_back() {
    let bench = Bench::new(Duration::from_millis(1));
    let gone = Trouble::Gone("nothing listens there".to_owned());
    *bench.trouble.lock().unwrap() = Some(("/", gone.clone()));
    let missed = |report: LookReport| matches!(report, LookReport::Missed(trouble) if trouble == gone);
    while !missed(bench.report()) {}
    assert!(missed(bench.report()));
    *bench.trouble.lock().unwrap() = None;
    while !matches!(bench.report(), LookReport::Looked(_)) {}
}

#[test]
fn sessions_that_are_refused_leave_the_rest() {
    let bench = Bench::new(NEVER);
    let refused = Trouble::Refused { asked_wrong: true, words: "no such key".to_owned() };
    *bench.trouble.lock().unwrap() = Some(("/api/v1/sessions", refused.clone()));
    bench.asks.send(Ask::Everything).unwrap();
    let LookReport::Looked(look) = bench.report() else { panic!("no look") };
    assert_eq!((look.sessions.unwrap_err(), look.stats.state.as_str()), (refused, "serving"));
}

#[test]
fn what_does_not_answer_as_outflow_does_is_said_to() {
    let mut endpoint = MadeUp::busy(1);
    endpoint.stats = json!({"status": "up"});
    let mut looker = Looker::new(endpoint, NEVER, first_page(10));
    let words = looker.first().unwrap_err();
    let said = "/api/v1/stats is not answered as outflow does: missing field `version`";
    assert_eq!(words.words(), said);
}
