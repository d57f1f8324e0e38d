//! Answers: a status, a type, a body, and the fields that every one of them has.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use serde::Serialize;

use super::http::HttpMethod;
use super::status::HttpStatus;
use crate::limits;

/// What may be loaded from within an answer that is no page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    status: HttpStatus,
    content_type: &'static str,
    policy: &'static str,
    body: Cow<'static, [u8]>,
    /// Fields that this answer alone has: names and values.
    fields: Vec<(&'static str, String)>,
}

impl HttpAnswer {
    /// Bytes of a type.
    pub fn new(
        status: HttpStatus,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> HttpAnswer {
        HttpAnswer { status, content_type, policy: NOTHING, body: body.into(), fields: Vec::new() }
    }

    /// A value as JSON.
    pub fn json(status: HttpStatus, value: &impl Serialize) -> HttpAnswer {
        match serde_json::to_vec(value) {
            Ok(body) => HttpAnswer::new(status, "application/json", body),
            Err(_) => HttpAnswer::error(HttpStatus::INTERNAL, "the answer cannot be written as JSON"),
        }
    }

    /// One line of text for a person or a script.
    pub fn line(status: HttpStatus, line: &str) -> HttpAnswer {
        HttpAnswer::new(status, "text/plain; charset=utf-8", format!("{line}\n").into_bytes())
    }

    /// What is wrong, in words for a person: `{"error": "…"}`.
    pub fn error(status: HttpStatus, what: impl Into<String>) -> HttpAnswer {
        #[derive(Serialize)]
        struct Complaint {
            error: String,
        }
        HttpAnswer::json(status, &Complaint { error: what.into() })
    }

    /// A page, with the content security policy that it is made for.
    pub fn page(html: &'static str, policy: &'static str) -> HttpAnswer {
        let page = HttpAnswer::new(HttpStatus::OK, "text/html; charset=utf-8", html.as_bytes());
        HttpAnswer { policy, ..page }
    }

    /// This answer with one more field. The value is one line of visible ASCII.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> HttpAnswer {
        self.fields.push((name, value.to_string()));
        self
    }

    /// The answer to a method that its target does not have, with those that it has.
    pub(super) fn not_allowed(allowed: &[HttpMethod]) -> HttpAnswer {
        let mut names: Vec<&str> = allowed.iter().map(|method| method.name()).collect();
        if allowed.contains(&HttpMethod::Get) {
            names.push(HttpMethod::Head.name());
        }
        let names = names.join(", ");
        HttpAnswer::error(HttpStatus::METHOD_NOT_ALLOWED, format!("this can be asked by {names}"))
            .with("allow", names)
    }

    /// Its status.
    pub fn status(&self) -> HttpStatus {
        self.status
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What there is instead where an answer is longer than one may be.
    pub(super) fn bounded(self) -> HttpAnswer {
        match self.body.len() > limits::ADMIN_ANSWER_BYTES_MAX {
            true => HttpAnswer::error(HttpStatus::UNAVAILABLE, "the answer is too long: ask for less"),
            false => self,
        }
    }

    /// The line and the fields on the wire, and the body behind them; to HEAD without the body.
    pub(super) fn into_bytes(self, keep_alive: bool, without_body: bool) -> (Vec<u8>, Cow<'static, [u8]>) {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\ndate: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: {}\r\n\
             content-security-policy: {}\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n\
             x-frame-options: DENY\r\nreferrer-policy: no-referrer\r\ncross-origin-resource-policy: same-origin\r\n\
             cross-origin-opener-policy: same-origin\r\n",
            self.status.code(),
            self.status.reason(),
            httpdate::fmt_http_date(now()),
            self.content_type,
            self.body.len(),
            if keep_alive { "keep-alive" } else { "close" },
            self.policy,
        );
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        (head.into_bytes(), if without_body { Cow::Borrowed(&[]) } else { self.body })
    }
}

/// The time, within what a date of HTTP can say.
fn now() -> SystemTime {
    SystemTime::now().max(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: HttpAnswer, keep_alive: bool, without_body: bool) -> String {
        let (head, body) = answer.into_bytes(keep_alive, without_body);
        String::from_utf8([head, body.into_owned()].concat()).unwrap()
    }

    #[test]
    fn every_answer_forbids_what_no_answer_needs() {
        for answer in
            [HttpAnswer::line(HttpStatus::OK, "alive"), HttpAnswer::error(HttpStatus::NOT_FOUND, "no")]
        {
            let text = text(answer, true, false);
            for field in [
                "content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n",
                "x-content-type-options: nosniff\r\n",
                "cache-control: no-store\r\n",
                "x-frame-options: DENY\r\n",
                "referrer-policy: no-referrer\r\n",
                "cross-origin-resource-policy: same-origin\r\n",
                "cross-origin-opener-policy: same-origin\r\n",
                "connection: keep-alive\r\n",
            ] {
                assert!(text.contains(field), "{field}{text}");
            }
        }
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let whole = text(HttpAnswer::line(HttpStatus::OK, "alive"), false, false);
        let head = text(HttpAnswer::line(HttpStatus::OK, "alive"), false, true);
        assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.ends_with("\r\n\r\nalive\n"));
        assert_eq!(head, whole.strip_suffix("alive\n").unwrap());
        assert!(head.contains("content-length: 6\r\nconnection: close\r\n"));
    }

    #[test]
    fn errors_are_json_and_name_what_can_be_asked() {
        let answer = HttpAnswer::not_allowed(&[HttpMethod::Get, HttpMethod::Put]);
        assert_eq!(answer.body(), br#"{"error":"this can be asked by GET, PUT, HEAD"}"#);
        assert!(text(answer, true, false).contains("\r\nallow: GET, PUT, HEAD\r\n"));
        let long = HttpAnswer::new(HttpStatus::OK, "text/plain", vec![0; limits::ADMIN_ANSWER_BYTES_MAX + 1]);
        assert_eq!(long.bounded().status(), HttpStatus::UNAVAILABLE);
    }
}
