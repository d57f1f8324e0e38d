//! What the endpoint has: each path with its methods, who may have it, and what answers it.

use std::sync::Arc;
use std::time::Instant;

use mio::Waker;

use super::access::Need;
use super::answer::HttpAnswer;
use super::api::{Api, ApiPending, ApiRoute};
use super::dashboard::Dashboard;
use super::http::HttpMethod::{self, Delete, Get, Post, Put};
use super::http::{HttpHead, HttpRequest};
use super::orders::Actor;
use super::service::{Called, Service};
use super::status::HttpStatus;
use super::watched::Watched;

/// What answers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Dashboard,
    Healthz,
    Readyz,
    Metrics,
    Api(ApiRoute),
}

/// One path. A segment that is `*` stands for any; others are as they are sent.
struct PagePath {
    path: &'static str,
    methods: &'static [HttpMethod],
    need: Need,
    resource: Resource,
}

/// Every path that there is. GET stands for HEAD, too.
const PATHS: &[PagePath] = &[
    PagePath::open("/", Resource::Dashboard),
    PagePath::open("/healthz", Resource::Healthz),
    PagePath::open("/readyz", Resource::Readyz),
    PagePath { path: "/metrics", methods: &[Get], need: Need::Token, resource: Resource::Metrics },
    PagePath::api("/api/v1/stats", &[Get], ApiRoute::Stats),
    PagePath::api("/api/v1/history", &[Get], ApiRoute::History),
    PagePath::api("/api/v1/top", &[Get], ApiRoute::Top),
    PagePath::api("/api/v1/sessions", &[Get, Delete], ApiRoute::Sessions),
    PagePath::api("/api/v1/sessions/*", &[Delete], ApiRoute::Session),
    PagePath::api("/api/v1/users", &[Get], ApiRoute::Users),
    PagePath::api("/api/v1/users/*", &[Put, Delete], ApiRoute::User),
    PagePath::api("/api/v1/reload", &[Post], ApiRoute::Reload),
    PagePath::api("/api/v1/drain", &[Post, Delete], ApiRoute::Drain),
    PagePath::api("/api/v1/log", &[Put], ApiRoute::Log),
    PagePath::api("/api/v1/config", &[Get], ApiRoute::Config),
];

impl PagePath {
    /// What whoever can connect may see.
    const fn open(path: &'static str, resource: Resource) -> PagePath {
        PagePath { path, methods: &[Get], need: Need::Nothing, resource }
    }

    /// What is the operator's to see and to change.
    const fn api(path: &'static str, methods: &'static [HttpMethod], route: ApiRoute) -> PagePath {
        PagePath { path, methods, need: Need::Operator, resource: Resource::Api(route) }
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

/// One word where nothing is wrong, or what is.
fn health(good: &str, problem: Option<&str>) -> HttpAnswer {
    match problem {
        None => HttpAnswer::line(HttpStatus::OK, good),
        Some(problem) => HttpAnswer::line(HttpStatus::UNAVAILABLE, problem),
    }
}

/// Answers what is asked.
#[derive(Debug)]
pub(super) struct Pages {
    api: Api,
}

impl Pages {
    pub(super) fn new(watched: Watched, waker: Arc<Waker>) -> Pages {
        Pages { api: Api::new(watched, waker, Instant::now()) }
    }
}

impl Service for Pages {
    type Pending = ApiPending;

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

    fn call(&mut self, request: HttpRequest, by: Actor, now: Instant) -> Called<ApiPending> {
        Called::Now(match find(&request.head.path).map(|entry| entry.resource) {
            Some(Resource::Dashboard) => {
                let page = Dashboard::page();
                HttpAnswer::page(&page.html, &page.csp)
            }
            Some(Resource::Healthz) => health("alive", self.api.in_effect().vitals.not_alive(now).as_deref()),
            Some(Resource::Readyz) => health("ready", self.api.in_effect().not_ready()),
            Some(Resource::Metrics) => return self.api.scrape(now),
            Some(Resource::Api(route)) => return self.api.call(route, &request, by, now),
            None => HttpAnswer::error(HttpStatus::NOT_FOUND, "there is nothing of this path"),
        })
    }

    fn poll(&mut self, pending: &mut ApiPending, now: Instant) -> Option<HttpAnswer> {
        self.api.poll(pending, now)
    }

    fn due(&self, pending: &ApiPending) -> Option<Instant> {
        self.api.due(pending)
    }

    fn tick(&mut self, now: Instant) {
        self.api.tick(now);
    }
}
