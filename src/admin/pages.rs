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
use crate::config::{nearest, quoted};

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
    PagePath::api("/api/v1/explain", &[Get], ApiRoute::Explain),
    PagePath::api("/api/v1/rules", &[Get], ApiRoute::Rules),
    PagePath::api("/api/v1/limits", &[Get], ApiRoute::Limits),
    PagePath::api("/api/v1/history", &[Get], ApiRoute::History),
    PagePath::api("/api/v1/top", &[Get], ApiRoute::Top),
    PagePath::api("/api/v1/sessions", &[Get, Delete], ApiRoute::Sessions),
    PagePath::api("/api/v1/sessions/*", &[Delete], ApiRoute::Session),
    PagePath::api("/api/v1/users", &[Get], ApiRoute::Users),
    PagePath::api("/api/v1/users/*", &[Put, Delete], ApiRoute::User),
    PagePath::api("/api/v1/quotas", &[Get], ApiRoute::Quotas),
    PagePath::api("/api/v1/quotas/reset", &[Post], ApiRoute::QuotaReset),
    PagePath::api("/api/v1/egress", &[Get], ApiRoute::Egress),
    PagePath::api("/api/v1/egress/drain", &[Post], ApiRoute::EgressDrain),
    PagePath::api("/api/v1/egress/restore", &[Post], ApiRoute::EgressRestore),
    PagePath::api("/api/v1/parents", &[Get], ApiRoute::Parents),
    PagePath::api("/api/v1/parents/drain", &[Post], ApiRoute::ParentDrain),
    PagePath::api("/api/v1/parents/restore", &[Post], ApiRoute::ParentRestore),
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

/// What to say of a path that is none.
fn no_page(path: &str) -> HttpAnswer {
    let meant = meant(path).map(|path| format!("; did you mean {path}?")).unwrap_or_default();
    HttpAnswer::error(HttpStatus::NOT_FOUND, format!("there is nothing at {}{meant}", quoted(path)))
}

/// The path that was probably meant: as far as there is one, and then the nearest next segment.
fn meant(path: &str) -> Option<String> {
    let given: Vec<&str> = path.split('/').collect();
    let common = |entry: &PagePath| {
        entry.path.split('/').zip(&given).take_while(|(wanted, given)| wanted == *given).count()
    };
    let most = PATHS.iter().map(common).max()?;
    let next = PATHS.iter().filter(|entry| common(entry) == most);
    let next = next.filter_map(|entry| entry.path.split('/').nth(most)).filter(|segment| *segment != "*");
    let segment = nearest(given.get(most)?, next)?;
    let path = [&given[..most], &[segment]].concat().join("/");
    find(&path).is_some().then_some(path)
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
            return Err(no_page(&head.path));
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
            Some(Resource::Readyz) => {
                let in_effect = self.api.in_effect();
                health(&in_effect.ready_words(), in_effect.not_ready())
            }
            Some(Resource::Metrics) => return self.api.scrape(now),
            Some(Resource::Api(route)) => return self.api.call(route, &request, by, now),
            None => no_page(&request.head.path),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_none_is_told_the_nearest() {
        for (path, nearest) in [
            ("/metric", Some("/metrics")),
            ("/Healthz", Some("/healthz")),
            ("/api/v1/session", Some("/api/v1/sessions")),
            ("/api/v1/session/68c0ffee00000000002a", Some("/api/v1/sessions")),
            ("/ap/v1/stats", None),
            ("/api/v1/sessions/", None),
            ("/api/v1/sessions/1/2", None),
            ("/favicon.ico", None),
            ("/api/v1/wholly-else", None),
        ] {
            assert!(find(path).is_none(), "{path}");
            assert_eq!(meant(path).as_deref(), nearest, "{path}");
        }
    }
}
