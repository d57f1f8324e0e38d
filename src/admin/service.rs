//! What the endpoint asks of whoever answers its requests.

use std::time::Instant;

use super::access::Need;
use super::answer::HttpAnswer;
use super::http::{HttpHead, HttpRequest};
use super::orders::Actor;
use super::status::HttpStatus;

/// Answers requests. Nothing here may block, or take long: all requests are answered by one thread.
pub(super) trait Service {
    /// What an answer is waited for with.
    type Pending;

    /// What a request for this path needs, whether there is such a path or not.
    fn need(&self, path: &str) -> Need;

    /// Whether there is such a thing, and that can be asked of it: before its body is read.
    ///
    /// # Errors
    /// The answer where there is not.
    fn check(&self, head: &HttpHead) -> Result<(), HttpAnswer>;

    /// Answers a request, or begins to.
    fn call(&mut self, request: HttpRequest, by: Actor, now: Instant) -> Called<Self::Pending>;

    /// Looks for an answer that was waited for: whenever the endpoint's waker was woken, and when it is due.
    fn poll(&mut self, pending: &mut Self::Pending, now: Instant) -> Option<HttpAnswer>;

    /// When the answer is to be looked for without being woken.
    fn due(&self, pending: &Self::Pending) -> Option<Instant>;

    /// The answer where what was waited for has not come in time.
    fn late(&mut self, _pending: Self::Pending) -> HttpAnswer {
        HttpAnswer::error(HttpStatus::GATEWAY_TIMEOUT, "there was no answer in time")
    }

    /// A second has passed.
    fn tick(&mut self, now: Instant);
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Called<P> {
    /// The answer.
    Now(HttpAnswer),
    /// It will come.
    Later(P),
}
