//! The parts of a request that a route goes by, and the answer to one that is not as it should be.

use super::query::{Query, decoded_segment};
use crate::admin::answer::HttpAnswer;
use crate::admin::http::HttpRequest;
use crate::admin::status::HttpStatus;

/// The answer to a request that is not as it should be.
pub(super) fn bad_request(what: String) -> HttpAnswer {
    HttpAnswer::error(HttpStatus::BAD_REQUEST, what)
}

/// What stands behind the path.
pub(super) fn query(request: &HttpRequest) -> &str {
    request.head.query.as_deref().unwrap_or_default()
}

/// Refuses a request that has parameters.
///
/// # Errors
/// The first of them.
pub(super) fn no_parameters(request: &HttpRequest) -> Result<(), HttpAnswer> {
    Query::read(query(request), &[]).map(drop).map_err(bad_request)
}

/// The last segment of a path that has a name there.
///
/// # Errors
/// It is none of a URL.
pub(super) fn last_segment(request: &HttpRequest) -> Result<String, HttpAnswer> {
    let segment = request.head.path.rsplit('/').next().unwrap_or_default();
    decoded_segment(segment).map_err(bad_request)
}
