//! What the endpoint says and does under `/api/v1`.
//!
//! Whatever needs a worker's or the control thread's word is an [`ApiPending`] until that has come: nothing here waits in
//! a call. What is kept between requests is a bounded past: a point a second, and the rates of sessions that were seen.

mod asking;
mod best;
mod change;
mod egress;
mod explaining;
mod filling;
mod history;
mod killing;
mod limited;
mod listing;
mod parents;
mod parts;
mod query;
mod question;
mod quotas;
mod rates;
mod recent;
mod rules;
mod shown;
mod stats;
mod top;

pub(crate) use self::explaining::explanation_json;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use mio::Waker;

use self::explaining::Explaining;
use self::filling::{Filling, LimitFill};
use self::history::{History, Sums, tenths, time_text};
use self::killing::Killing;
use self::limited::{FillQuestion, fullest, limits_json};
use self::listing::Listing;
use self::parts::{bad_request, last_segment, no_parameters, query};
use self::question::{Chosen, SessionQuestion};
use self::quotas::{QuotaQuestion, Quotas};
use self::rates::RateBook;
use self::recent::Recent;
use self::rules::RulesShown;
use self::stats::{Stats, WorkerStats};
use self::top::{Top, TopQuestion};
use super::answer::HttpAnswer;
use super::http::{HttpMethod, HttpRequest};
use super::metrics::scrape;
use super::orders::{Actor, Done, Order, OrderError, OrderLetter};
use super::process::process_use;
use super::service::Called;
use super::standing::InEffect;
use super::status::HttpStatus;
use super::watched::Watched;
use crate::config::Choice;
use crate::limits;
use crate::observe::live::SessionId;
use crate::observe::{Counters, Latencies, ParentTold, Totals, parents_told};
use crate::worker::{Mailbox, Reply};

/// What stands under `/api/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiRoute {
    Stats,
    Rules,
    Limits,
    History,
    Top,
    Sessions,
    Session,
    Quotas,
    QuotaReset,
    Egress,
    EgressDrain,
    EgressRestore,
    Parents,
    ParentDrain,
    ParentRestore,
    Users,
    User,
    Reload,
    Drain,
    Log,
    Config,
    Explain,
}

/// An answer that is waited for.
#[derive(Debug)]
pub(super) struct ApiPending(ApiWaiting);

/// What is waited for.
#[derive(Debug)]
enum ApiWaiting {
    /// A list of sessions.
    Listing(Box<Listing>),
    /// Sessions that end, and who wants that.
    Killing(Killing, Actor),
    /// The busiest.
    Top(Top),
    /// What is used of quotas.
    Quotas(Box<Quotas>),
    /// What would come of a request.
    Explaining(Explaining),
    /// How full limits are.
    Filling(Box<Filling>),
    /// The numbers, of which how full limits are is looked for.
    Stats(Box<Filling>),
    /// What workers have timed, until then.
    Scrape(Instant),
    /// What comes of an order.
    Order(Receiver<Result<Done, OrderError>>),
}

/// What answers.
#[derive(Debug)]
pub(super) struct Api {
    watched: Watched,
    waker: Arc<Waker>,
    began: Instant,
    history: History,
    recent: Recent,
    mailboxes: Vec<Mailbox>,
    rates: RateBook,
    /// Each list that is under way holds one.
    listings: Arc<()>,
    fills: KnownFills,
}

/// How full limits were found to be, and until when that is told.
#[derive(Debug, Default)]
struct KnownFills {
    found: Vec<LimitFill>,
    until: Option<Instant>,
}

/// What comes of a request: something to wait for, or the answer.
type ApiAnswered = Result<ApiWaiting, HttpAnswer>;

impl Api {
    pub(super) fn new(watched: Watched, waker: Arc<Waker>, now: Instant) -> Api {
        Api {
            recent: Recent::of(watched.workers.len(), &waker),
            mailboxes: watched.workers.iter().map(|worker| worker.mailbox.clone()).collect(),
            watched,
            waker,
            began: now,
            history: History::default(),
            rates: RateBook::default(),
            listings: Arc::default(),
            fills: KnownFills::default(),
        }
    }

    /// What holds at this moment.
    pub(super) fn in_effect(&self) -> InEffect {
        self.watched.standing.now()
    }

    /// A second has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        let load = self.recent.tick(&self.mailboxes, now);
        self.history.add(now, SystemTime::now(), Sums::of(&self.totals()), load);
    }

    /// Answers a request for something that there is, or begins to.
    pub(super) fn call(
        &mut self,
        route: ApiRoute,
        request: &HttpRequest,
        by: Actor,
        now: Instant,
    ) -> Called<ApiPending> {
        let answered = match route {
            ApiRoute::Stats => self.stats(request, now),
            ApiRoute::Rules => self.rules(request),
            ApiRoute::Limits => self.limits(request, now),
            ApiRoute::History => self.history(request),
            ApiRoute::Top => self.top(request, now),
            ApiRoute::Sessions if request.head.method == HttpMethod::Delete => {
                self.end_sessions(request, by, now)
            }
            ApiRoute::Sessions => self.list(request, now),
            ApiRoute::Session => self.end_session(request, by, now),
            ApiRoute::Quotas => self.quotas(request, now),
            ApiRoute::Egress => self.egress(request, now),
            ApiRoute::EgressDrain => self.set_egress(request, &by, true, now),
            ApiRoute::EgressRestore => self.set_egress(request, &by, false, now),
            ApiRoute::Parents => self.parents(request, now),
            ApiRoute::ParentDrain => self.set_parent(request, &by, true),
            ApiRoute::ParentRestore => self.set_parent(request, &by, false),
            ApiRoute::QuotaReset
            | ApiRoute::Users
            | ApiRoute::User
            | ApiRoute::Reload
            | ApiRoute::Drain
            | ApiRoute::Log => self.give_order(route, request, by),
            ApiRoute::Config => self.config(request),
            ApiRoute::Explain => self.explain(request, now),
        };
        match answered {
            Ok(waiting) => {
                let mut pending = ApiPending(waiting);
                self.poll(&mut pending, now).map_or(Called::Later(pending), Called::Now)
            }
            Err(answer) => Called::Now(answer),
        }
    }

    /// Looks for an answer that is waited for.
    pub(super) fn poll(&mut self, pending: &mut ApiPending, now: Instant) -> Option<HttpAnswer> {
        match &mut pending.0 {
            ApiWaiting::Listing(listing) => {
                listing.go_on(&numbered(&self.mailboxes), &self.waker, &mut self.rates, now)
            }
            ApiWaiting::Killing(killing, by) => {
                let answer = killing.go_on(now)?;
                tracing::info!(%by, ended = killing.ended(), "sessions were ended");
                Some(answer)
            }
            ApiWaiting::Scrape(until) => (self.recent.take() || *until <= now).then(|| {
                let in_effect = self.watched.standing.now();
                let store = self.watched.beside.quota_store(now);
                scrape(self.totals(), &in_effect, store, self.counters(), self.recent.told())
            }),
            ApiWaiting::Top(top) => top.go_on(now),
            ApiWaiting::Filling(filling) => {
                let (found, limits) = (filling.go_on(now)?, self.watched.standing.now().limits);
                let told = limits.told(self.counters());
                Some(HttpAnswer::json(HttpStatus::OK, &limits_json(&told, &found, &limits.names)))
            }
            ApiWaiting::Stats(filling) => {
                let found = filling.go_on(now)?;
                let kept = limits::FILL_KEPT.max(filling.took(now) * limits::FILL_KEPT_TIMES);
                self.fills = KnownFills { found, until: Some(now + kept) };
                Some(self.stats_of_now(now))
            }
            ApiWaiting::Quotas(quotas) => quotas.go_on(now),
            ApiWaiting::Explaining(explaining) => {
                let in_effect = self.watched.standing.now();
                explaining.go_on(&in_effect.limits.names, || self.parents_told(&in_effect, now), now)
            }
            ApiWaiting::Order(outcome) => match outcome.try_recv() {
                Ok(outcome) => Some(change::outcome(&outcome)),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(HttpAnswer::error(
                    HttpStatus::UNAVAILABLE,
                    "the server ends: nothing is changed any more",
                )),
            },
        }
    }

    /// When an answer is to be looked for though nothing has come.
    pub(super) fn due(&self, pending: &ApiPending) -> Option<Instant> {
        match &pending.0 {
            ApiWaiting::Listing(listing) => Some(listing.until()),
            ApiWaiting::Killing(killing, _) => Some(killing.until()),
            ApiWaiting::Scrape(until) => Some(*until),
            ApiWaiting::Top(top) => Some(top.until()),
            // At once: it goes on with the next turn.
            ApiWaiting::Filling(_) | ApiWaiting::Stats(_) => Some(self.began),
            ApiWaiting::Quotas(quotas) => Some(quotas.due()),
            ApiWaiting::Explaining(explaining) => Some(explaining.until()),
            ApiWaiting::Order(..) => None,
        }
    }

    /// What a scraper is told: counts of the moment, and what workers have timed, who are asked for it and not waited
    /// for when they stand still.
    pub(super) fn scrape(&mut self, now: Instant) -> Called<ApiPending> {
        self.recent.ask(&self.mailboxes);
        Called::Later(ApiPending(ApiWaiting::Scrape(now + limits::METRICS_PATIENCE)))
    }

    fn counters(&self) -> impl Iterator<Item = &Counters> + Clone {
        self.watched.workers.iter().map(|worker| &*worker.counters)
    }

    fn totals(&self) -> Totals {
        let workers = &self.watched.workers;
        let mut totals = Totals::of(self.counters());
        self.watched.beside.add_to(&mut totals, workers.iter().map(|worker| &worker.mailbox));
        totals
    }

    fn stats(&mut self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        no_parameters(request)?;
        let limits = self.watched.standing.now().limits;
        if limits.limits.is_empty() || self.fills.until.is_some_and(|until| now < until) {
            return Err(self.stats_of_now(now));
        }
        Ok(ApiWaiting::Stats(Box::new(Filling::begin(limits, None, 1, now))))
    }

    fn stats_of_now(&mut self, now: Instant) -> HttpAnswer {
        let (in_effect, totals, minute) = (self.watched.standing.now(), self.totals(), self.recent.minute());
        let mut all = Latencies::default();
        minute.iter().for_each(|one| all.merge(one));
        let vitals = &in_effect.vitals;
        let workers = self.watched.workers.iter().zip(&minute).enumerate();
        let workers: Vec<WorkerStats> = workers
            .map(|(number, (worker, minute))| {
                let sessions_max = in_effect.sessions_max.get(number).copied().unwrap_or_default();
                let doing = (worker.pulse.read().1, vitals.stalled.iter().any(|one| one.number == number));
                WorkerStats::of(number, &worker.counters, sessions_max, doing, minute)
            })
            .collect();
        let state = in_effect.state;
        let stats = Stats {
            version: env!("CARGO_PKG_VERSION"),
            time: time_text(SystemTime::now()),
            uptime_s: tenths(now.saturating_duration_since(self.began).as_secs_f64()),
            state: state.name(),
            ready: in_effect.not_ready().is_none(),
            alive: vitals.not_alive(now).is_none(),
            not_ready: in_effect.not_ready(),
            degraded: vitals.degraded.clone(),
            relay: in_effect.config.server.relay.name(),
            listeners: in_effect.listening.clone(),
            older: in_effect.older.shown(),
            log_level: in_effect.level.name(),
            workers,
            counters: stats::counters(&totals),
            rules: rules::busiest(&in_effect.rules.told(self.counters()), limits::RULES_SHOWN),
            limits: fullest(&in_effect.limits.told(self.counters()), &self.fills.found, limits::LIMITS_SHOWN),
            egress: egress::overview(&in_effect.egress.told(now), limits::POOLS_SHOWN),
            parents: parents::overview(&self.parents_told(&in_effect, now), limits::PARENTS_SHOWN),
            rates: self.history.rates(now, &Sums::of(&totals)),
            latencies: stats::latencies(&all),
            process: stats::process(process_use()),
        };
        HttpAnswer::json(HttpStatus::OK, &stats)
    }

    fn limits(&self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        let limits = self.watched.standing.now().limits;
        let question = FillQuestion::read(query(request), &limits).map_err(bad_request)?;
        let filling = Filling::begin(limits, question.limit, question.fullest, now);
        Ok(ApiWaiting::Filling(Box::new(filling)))
    }

    fn rules(&self, request: &HttpRequest) -> ApiAnswered {
        no_parameters(request)?;
        let told = self.watched.standing.now().rules.told(self.counters());
        Err(HttpAnswer::json(HttpStatus::OK, &RulesShown::of(&told)))
    }

    fn history(&self, request: &HttpRequest) -> ApiAnswered {
        no_parameters(request)?;
        Err(HttpAnswer::json(HttpStatus::OK, &self.history.show()))
    }

    fn top(&self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        let question = TopQuestion::read(query(request)).map_err(bad_request)?;
        Ok(ApiWaiting::Top(Top::begin(question, &numbered(&self.mailboxes), &self.waker, now)))
    }

    fn list(&self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        let question = SessionQuestion::read(query(request)).map_err(bad_request)?;
        self.check_worker(&question.chosen)?;
        let token = self.listing("sessions")?;
        let listing = Listing::begin(question, token, &numbered(&self.mailboxes), &self.waker, now);
        Ok(ApiWaiting::Listing(Box::new(listing)))
    }

    /// What each list that is under way holds.
    fn listing(&self, of: &str) -> Result<Arc<()>, HttpAnswer> {
        let token = Arc::clone(&self.listings);
        if Arc::strong_count(&token) > 1 + limits::SESSION_QUESTIONS_MAX {
            let busy = HttpAnswer::error(HttpStatus::UNAVAILABLE, format!("too many others list {of} now"));
            return Err(busy.with("retry-after", 1));
        }
        Ok(token)
    }

    fn quotas(&self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        let question = QuotaQuestion::read(query(request)).map_err(bad_request)?;
        let token = self.listing("quotas")?;
        let quotas = Quotas::begin(question, self.in_effect().limits, token, now).map_err(bad_request)?;
        Ok(ApiWaiting::Quotas(Box::new(quotas)))
    }

    fn egress(&self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        let told = egress::listed(&self.in_effect().egress, query(request), now).map_err(bad_request)?;
        Err(HttpAnswer::json(HttpStatus::OK, &told))
    }

    fn set_egress(&self, request: &HttpRequest, by: &Actor, drained: bool, now: Instant) -> ApiAnswered {
        no_parameters(request)?;
        Err(egress::set_by_hand(&self.in_effect().egress, &request.body, (by, drained), now))
    }

    fn parents_told(&self, in_effect: &InEffect, now: Instant) -> Vec<ParentTold> {
        parents_told(in_effect.rules.parents.as_deref(), self.counters(), now)
    }

    fn parents(&self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        let parents = self.in_effect().rules.parents;
        let told = parents::listed(parents.as_deref(), self.counters(), query(request), now);
        Err(HttpAnswer::json(HttpStatus::OK, &told.map_err(bad_request)?))
    }

    fn set_parent(&self, request: &HttpRequest, by: &Actor, drained: bool) -> ApiAnswered {
        no_parameters(request)?;
        Err(parents::set_by_hand(self.in_effect().rules.parents.as_deref(), &request.body, (by, drained)))
    }

    fn end_sessions(&self, request: &HttpRequest, by: Actor, now: Instant) -> ApiAnswered {
        let chosen = Chosen::read(query(request)).map_err(bad_request)?;
        self.check_worker(&chosen)?;
        tracing::info!(%by, which = query(request), "sessions are to end");
        Ok(ApiWaiting::Killing(Killing::chosen(chosen, &numbered(&self.mailboxes), &self.waker, now), by))
    }

    fn end_session(&self, request: &HttpRequest, by: Actor, now: Instant) -> ApiAnswered {
        no_parameters(request)?;
        let segment = last_segment(request)?;
        let Ok(id) = segment.parse::<SessionId>() else {
            return Err(HttpAnswer::error(HttpStatus::NOT_FOUND, "there is no session of this id"));
        };
        tracing::info!(%by, %id, "a session is to end");
        Ok(ApiWaiting::Killing(Killing::one(id, &numbered(&self.mailboxes), &self.waker, now), by))
    }

    fn check_worker(&self, chosen: &Chosen) -> Result<(), HttpAnswer> {
        let last = self.watched.workers.len().saturating_sub(1);
        match chosen.worker {
            Some(worker) if worker > last => {
                Err(bad_request(format!("`worker`: {worker} is out of range: 0 to {last}")))
            }
            _ => Ok(()),
        }
    }

    fn explain(&self, request: &HttpRequest, now: Instant) -> ApiAnswered {
        let supposed = explaining::read(query(request)).map_err(bad_request)?;
        // A name may take as long as it may take a session.
        let InEffect { config, rules, .. } = self.in_effect();
        let until = now + config.timeouts.dns + limits::WORKERS_ANSWER_TIME;
        // No worker makes them: it takes as long as there are rules.
        let rules = supposed.at.zip(rules.set.as_ref()).map(|(time, rules)| rules.at(time));
        Explaining::begin(supposed, rules, &self.mailboxes, &self.waker, until).map(ApiWaiting::Explaining)
    }

    fn config(&self, request: &HttpRequest) -> ApiAnswered {
        no_parameters(request)?;
        let text = self.watched.standing.now().config.to_toml();
        Err(HttpAnswer::new(HttpStatus::OK, "text/plain; charset=utf-8", text.into_bytes()))
    }

    /// Hands an order over to the control thread.
    fn give_order(&self, route: ApiRoute, request: &HttpRequest, by: Actor) -> ApiAnswered {
        let (method, body) = (request.head.method, request.body.as_slice());
        if method != HttpMethod::Delete || route != ApiRoute::User {
            no_parameters(request)?;
        }
        let order = match (route, method) {
            (ApiRoute::Users, _) => Ok(Order::ListUsers),
            (ApiRoute::User, method) => {
                let name = &last_segment(request)?;
                match method {
                    HttpMethod::Delete => change::remove_user(name, query(request)),
                    _ => change::set_user(name, body),
                }
            }
            (ApiRoute::QuotaReset, _) => change::reset_quota(body),
            (ApiRoute::Reload, _) => change::reload(body),
            (ApiRoute::Drain, HttpMethod::Delete) => Ok(Order::Undrain),
            (ApiRoute::Drain, _) => change::drain(body),
            (ApiRoute::Log, _) => change::log(body),
            _ => Err("this changes nothing".to_owned()),
        };
        let order = order.map_err(bad_request)?;
        let (sender, outcome) = bounded(1);
        let reply = Reply::new(sender, Some(Arc::clone(&self.waker)));
        match self.watched.orders.try_send(OrderLetter { order, by, reply }) {
            Ok(()) => Ok(ApiWaiting::Order(outcome)),
            Err(_) => {
                let busy = HttpAnswer::error(HttpStatus::UNAVAILABLE, "too many changes are under way");
                Err(busy.with("retry-after", 1))
            }
        }
    }
}

/// How each worker is asked, by its number.
fn numbered(mailboxes: &[Mailbox]) -> Vec<(usize, &Mailbox)> {
    mailboxes.iter().enumerate().collect()
}
