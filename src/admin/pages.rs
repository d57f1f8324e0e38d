//! What the endpoint has: each path with its methods, who may have it, and what answers it.

use std::sync::Arc;
use std::time::Instant;

use mio::Waker;

use super::access::Need;
use super::answer::HttpAnswer;
use super::dashboard::Dashboard;
use super::http::{HttpHead, HttpMethod, HttpRequest};
use super::orders::Actor;
use super::service::{Called, Service};
use super::status::HttpStatus;
use crate::observe::{Counters, Pulse};
use crate::worker::Mailbox;

/// What the endpoint looks at, and whom it asks.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The workers, by number.
    pub workers: Vec<WatchedWorker>,
}

/// One worker as it is seen from outside.
#[derive(Clone, Debug)]
pub struct WatchedWorker {
    /// How it is asked.
    pub mailbox: Mailbox,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Which turn it is in.
    pub pulse: Arc<Pulse>,
}

/// What answers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Dashboard,
    Healthz,
}

/// One path. A segment that is `*` stands for any; others are as they are sent.
struct PagePath {
    path: &'static str,
    methods: &'static [HttpMethod],
    need: Need,
    resource: Resource,
}

/// Every path that there is. GET stands for HEAD, too.
const PATHS: &[PagePath] =
    &[PagePath::open("/", Resource::Dashboard), PagePath::open("/healthz", Resource::Healthz)];

impl PagePath {
    /// What whoever can connect may see.
    const fn open(path: &'static str, resource: Resource) -> PagePath {
        PagePath { path, methods: &[HttpMethod::Get], need: Need::Nothing, resource }
    }
}

/// Whatever is under it may do and tell everything, whether there is such a path or not.
const API: &str = "/api/";

/// The entry of a path.
fn find(path: &str) -> Option<&'static PagePath> {
    let matches = |entry: &&PagePath| {
        let mut wanted = entry.path.split('/');
        let mut given = path.split('/');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some("*"), Some(segment)) if !segment.is_empty() => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    };
    PATHS.iter().find(matches)
}

/// An answer that is waited for.
#[derive(Debug)]
pub(super) enum PagePending {}

/// Answers what is asked.
#[derive(Debug)]
pub(super) struct Pages {
    #[expect(dead_code, reason = "no page of this version looks at a worker")]
    watched: Watched,
    #[expect(dead_code, reason = "no page of this version waits for anybody")]
    waker: Arc<Waker>,
}

impl Pages {
    pub(super) fn new(watched: Watched, waker: Arc<Waker>) -> Pages {
        Pages { watched, waker }
    }
}

impl Service for Pages {
    type Pending = PagePending;

    fn need(&self, path: &str) -> Need {
        find(path)
            .map_or(if path.starts_with(API) { Need::Operator } else { Need::Nothing }, |entry| entry.need)
    }

    fn check(&self, head: &HttpHead) -> Result<(), HttpAnswer> {
        let Some(entry) = find(&head.path) else {
            return Err(HttpAnswer::error(HttpStatus::NOT_FOUND, "there is nothing of this path"));
        };
        let method = if head.method == HttpMethod::Head { HttpMethod::Get } else { head.method };
        match entry.methods.contains(&method) {
            true => Ok(()),
            false => Err(HttpAnswer::not_allowed(entry.methods)),
        }
    }

    fn call(&mut self, request: HttpRequest, _by: Actor, _now: Instant) -> Called<PagePending> {
        Called::Now(match find(&request.head.path).map(|entry| entry.resource) {
            Some(Resource::Dashboard) => {
                let page = Dashboard::page();
                HttpAnswer::page(&page.html, &page.csp)
            }
            Some(Resource::Healthz) => HttpAnswer::line(HttpStatus::OK, "alive"),
            None => HttpAnswer::error(HttpStatus::NOT_FOUND, "there is nothing of this path"),
        })
    }

    fn poll(&mut self, pending: &mut PagePending, _now: Instant) -> Option<HttpAnswer> {
        match *pending {}
    }

    fn due(&self, pending: &PagePending) -> Option<Instant> {
        match *pending {}
    }

    fn tick(&mut self, _now: Instant) {}
}
