//! Who may ask for what. It is told who is at the other end, and reads no socket and no file.
//!
//! Three questions, each of which closes a way in by itself: does the request come from a page of another site (`Host`,
//! `Origin`, `Sec-Fetch-Site`), is the other end somebody who may (a user of this machine, or who has the token), and is
//! the body one that no form of a page can send.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::answer::HttpAnswer;
use super::http::{Authority, HttpHead, HttpMethod};
use super::orders::Actor;
use super::status::HttpStatus;
use super::token::AdminToken;
use crate::sys::unix::PeerProcess;

/// What may be had by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// By whoever can connect.
    Nothing,
    /// By whoever can connect, but over TCP with the token where there is one.
    Token,
    /// Over TCP by who has the token, or without one by our own user and by root.
    Operator,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AdminPeer {
    /// A process, over a unix socket.
    Process(PeerProcess),
    /// A socket of this machine, and whose it is; `None` where the kernel does not say.
    Here(SocketAddr, Option<u32>),
    /// A host.
    Host(SocketAddr),
}

impl AdminPeer {
    fn is_process(&self) -> bool {
        matches!(self, AdminPeer::Process(_))
    }
}

/// As it stands in the log.
impl fmt::Display for AdminPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminPeer::Process(PeerProcess { uid, pid }) => write!(f, "uid {uid} (pid {pid})"),
            AdminPeer::Here(address, Some(uid)) => write!(f, "uid {uid} ({address})"),
            AdminPeer::Here(address, None) | AdminPeer::Host(address) => address.fmt(f),
        }
    }
}

/// Whose process this is, and what clients over TCP have to show.
#[derive(Clone, Debug)]
pub(super) struct AdminAccess {
    pub(super) own_uid: u32,
    pub(super) token: Option<AdminToken>,
}

impl AdminAccess {
    /// Whether somebody may have what needs this, and who that is.
    ///
    /// # Errors
    /// The answer that the request gets instead.
    pub(super) fn judge(&self, peer: &AdminPeer, need: Need, head: &HttpHead) -> Result<Actor, HttpAnswer> {
        self.check_host(peer, head)?;
        check_origin(head)?;
        check_body(head)?;
        let is_ours = |uid: u32| uid == self.own_uid || uid == 0;
        let forbidden = |what: &str| Err(HttpAnswer::error(HttpStatus::FORBIDDEN, what));
        match (peer, need, &self.token) {
            (AdminPeer::Process(process), _, _) if is_ours(process.uid) => Ok(Actor(peer.to_string())),
            (AdminPeer::Process(_), _, _) => {
                forbidden("this socket is for the server's own user and for root")
            }
            (_, Need::Nothing, _) | (_, Need::Token, None) => Ok(Actor(peer.to_string())),
            (_, _, Some(token)) => match &head.bearer {
                Some(shown) if shown == token => Ok(Actor(format!("{peer} with the token"))),
                shown => Err(unauthorized(shown.is_some())),
            },
            (AdminPeer::Here(_, Some(uid)), Need::Operator, None) if is_ours(*uid) => {
                Ok(Actor(peer.to_string()))
            }
            (AdminPeer::Here(_, Some(_)), Need::Operator, None) => forbidden(
                "this is for the server's own user and for root: others need a token, set token_file in [admin]",
            ),
            (AdminPeer::Here(_, None) | AdminPeer::Host(_), Need::Operator, None) => forbidden(
                "whose connection this is cannot be known: set token_file in [admin], or listen on a unix socket",
            ),
        }
    }

    /// A page that was loaded from a name of another site, which by now leads here, sends that name (DNS rebinding). What
    /// the token keeps needs no such check: a page of another site does not have it, and a scraper asks by whatever name.
    fn check_host(&self, peer: &AdminPeer, head: &HttpHead) -> Result<(), HttpAnswer> {
        let Some(host) = &head.host else { return Ok(()) };
        let Ok(authority) = host.parse::<Authority>() else {
            return Err(HttpAnswer::error(HttpStatus::BAD_REQUEST, "Host is no host"));
        };
        let by_name_too = self.token.is_some() && !peer.is_process();
        match by_name_too || authority.is_literal() || authority.host == "localhost" {
            true => Ok(()),
            false => Err(HttpAnswer::error(
                HttpStatus::MISDIRECTED,
                "ask by a literal address or by localhost: other names may be anybody's",
            )),
        }
    }
}

impl Authority {
    fn is_literal(&self) -> bool {
        let bare = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match bare {
            Some(bare) => bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
            None => self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()),
        }
    }
}

fn unauthorized(was_shown: bool) -> HttpAnswer {
    let what =
        if was_shown { "this is not the token" } else { "this needs the token: Authorization: Bearer TOKEN" };
    HttpAnswer::error(HttpStatus::UNAUTHORIZED, what).with("www-authenticate", "Bearer realm=\"outflow\"")
}

/// What a browser says of the page that sends a request (RFC 6454 section 7, and Fetch Metadata). A person who follows a
/// link from elsewhere to the page itself may: it shows nothing to whom it came from.
fn check_origin(head: &HttpHead) -> Result<(), HttpAnswer> {
    let another_site =
        || Err(HttpAnswer::error(HttpStatus::FORBIDDEN, "this comes from a page of another site"));
    if let Some(origin) = &head.origin {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let same = authority.zip(head.host.as_deref()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
        if !same {
            return another_site();
        }
    }
    let follows_link = head.navigates && head.method.is_safe() && head.path == "/";
    match head.fetch_site.as_deref() {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if follows_link => Ok(()),
        Some(_) => another_site(),
    }
}

/// A form of a page says another type than JSON, whether it has a body or not.
fn check_body(head: &HttpHead) -> Result<(), HttpAnswer> {
    let json = head.content_type.as_deref() == Some("application/json");
    let none = head.content_length == 0 && (head.content_type.is_none() || head.method == HttpMethod::Get);
    match (json || none) && !head.content_encoded {
        true => Ok(()),
        false => Err(HttpAnswer::error(
            HttpStatus::UNSUPPORTED_MEDIA_TYPE,
            "a body is JSON here: Content-Type: application/json, and no Content-Encoding",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::http::{HeadRead, read_head};

    const TOKEN: &str = "0123456789abcdef0123";

    fn head(text: &str) -> HttpHead {
        match read_head(format!("{text}\r\n\r\n").as_bytes()) {
            HeadRead::Head(head, _) => *head,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn access(token: Option<&str>) -> AdminAccess {
        AdminAccess { own_uid: 1000, token: token.map(AdminToken::of) }
    }

    fn here(uid: Option<u32>) -> AdminPeer {
        AdminPeer::Here("127.0.0.1:5".parse().unwrap(), uid)
    }

    fn host() -> AdminPeer {
        AdminPeer::Host("192.0.2.1:5".parse().unwrap())
    }

    fn process(uid: u32) -> AdminPeer {
        AdminPeer::Process(PeerProcess { uid, pid: 7 })
    }

    const PLAIN: &str = "GET /api/v1/stats HTTP/1.1\r\nHost: 127.0.0.1:9180";

    #[track_caller]
    fn code(access: &AdminAccess, peer: AdminPeer, need: Need, text: &str) -> u16 {
        access.judge(&peer, need, &head(text)).map_or_else(|answer| answer.status().code(), |_| 200)
    }

    #[test]
    fn without_a_token_only_our_own_user_and_root_may_operate() {
        let open = access(None);
        let may = |peer: AdminPeer| {
            [Need::Nothing, Need::Token, Need::Operator].map(|need| code(&open, peer.clone(), need, PLAIN))
        };
        for (peer, expected) in [
            (process(1000), [200; 3]),
            (process(0), [200; 3]),
            (process(1001), [403; 3]),
            (here(Some(1000)), [200; 3]),
            (here(Some(0)), [200; 3]),
            (here(Some(1001)), [200, 200, 403]),
            (here(None), [200, 200, 403]),
            (host(), [200, 200, 403]),
        ] {
            assert_eq!(may(peer.clone()), expected, "{peer}");
        }
    }

    #[test]
    fn with_a_token_nobody_over_tcp_may_without_it() {
        let closed = access(Some(TOKEN));
        let with = |token: &str| format!("{PLAIN}\r\nAuthorization: Bearer {token}");
        for peer in [here(Some(1000)), here(Some(0)), here(None), host()] {
            for need in [Need::Token, Need::Operator] {
                assert_eq!(code(&closed, peer.clone(), need, PLAIN), 401);
                assert_eq!(code(&closed, peer.clone(), need, &with(TOKEN)), 200);
                for wrong in ["", "x", &TOKEN[1..], &TOKEN[..19], &format!("{TOKEN}4"), &TOKEN.to_uppercase()]
                {
                    assert_eq!(code(&closed, peer.clone(), need, &with(wrong)), 401, "{wrong}");
                }
                let basic = format!("{PLAIN}\r\nAuthorization: Basic {TOKEN}");
                assert_eq!(code(&closed, peer.clone(), need, &basic), 401);
            }
            assert_eq!(code(&closed, peer, Need::Nothing, PLAIN), 200);
        }
        assert_eq!(code(&closed, process(1000), Need::Operator, PLAIN), 200, "not on a unix socket");
    }

    /// A name that leads here by now may be another site's.
    #[test]
    fn only_literal_addresses_and_localhost_are_asked_without_a_token() {
        let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}");
        let asked = |host: &str| code(&access(None), here(Some(0)), Need::Nothing, &get(host));
        for good in
            ["127.0.0.1", "127.0.0.1:9", "[::1]:9", "LOCALHOST:9", "192.0.2.7:80", "[::ffff:127.0.0.1]"]
        {
            assert_eq!(asked(good), 200, "{good}");
        }
        for bad in [
            "evil.example",
            "127.0.0.1.nip.io:9180",
            "localhost.",
            "localhost.evil",
            "2130706433",
            "0x7f.1",
            "127.1",
            "a",
        ] {
            assert_eq!(asked(bad), 421, "{bad}");
        }
        assert_eq!((asked("a/b"), asked("::1")), (400, 400));
        assert_eq!(code(&access(Some(TOKEN)), host(), Need::Nothing, &get("relay.example:9180")), 200);
        assert_eq!(code(&access(Some(TOKEN)), process(0), Need::Nothing, &get("relay.example")), 421);
        let proxied = "GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1";
        assert_eq!(code(&access(None), here(Some(0)), Need::Nothing, proxied), 421);
    }

    #[test]
    fn pages_of_other_sites_are_told_no() {
        let asked = |text: &str| code(&access(None), here(Some(0)), Need::Operator, text);
        let with = |fields: &str| asked(&format!("{PLAIN}\r\n{fields}"));
        assert_eq!(with("Origin: http://127.0.0.1:9180"), 200);
        for bad in
            ["http://evil", "null", "http://127.0.0.1", "http://127.0.0.1:8000", "http://localhost:9180", ""]
        {
            assert_eq!(with(&format!("Origin: {bad}")), 403, "{bad}");
        }
        assert_eq!((with("Sec-Fetch-Site: same-origin"), with("Sec-Fetch-Site: none")), (200, 200));
        assert_eq!((with("Sec-Fetch-Site: same-site"), with("Sec-Fetch-Site: cross-site")), (403, 403));
        let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document";
        assert_eq!(with(link), 403, "not to the API");
        let page = |method: &str| asked(&format!("{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\n{link}"));
        assert_eq!((page("GET"), page("POST")), (200, 403));
    }

    #[test]
    fn no_form_of_a_page_can_send_what_is_taken() {
        let post = |fields: &str| {
            code(
                &access(None),
                here(Some(0)),
                Need::Operator,
                &format!("POST /api/v1/drain HTTP/1.1\r\nHost: [::1]{fields}"),
            )
        };
        assert_eq!((post(""), post("\r\nContent-Length: 0")), (200, 200));
        assert_eq!(post("\r\nContent-Length: 2\r\nContent-Type: application/json; charset=utf-8"), 200);
        assert_eq!(post("\r\nContent-Length: 2"), 415);
        for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
            assert_eq!(post(&format!("\r\nContent-Length: 2\r\nContent-Type: {kind}")), 415);
            assert_eq!(post(&format!("\r\nContent-Type: {kind}")), 415, "without a body");
        }
        assert_eq!(
            post("\r\nContent-Length: 2\r\nContent-Type: application/json\r\nContent-Encoding: gzip"),
            415
        );
    }

    #[test]
    fn the_log_says_who_and_never_the_token() {
        let closed = access(Some(TOKEN));
        let text = format!("{PLAIN}\r\nAuthorization: Bearer {TOKEN}");
        let actor = closed.judge(&host(), Need::Operator, &head(&text)).unwrap();
        assert_eq!(actor.to_string(), "192.0.2.1:5 with the token");
        let actor = access(None).judge(&process(0), Need::Operator, &head(PLAIN)).unwrap();
        assert_eq!(actor.to_string(), "uid 0 (pid 7)");
        assert_eq!(format!("{:?}", closed.token), "Some(AdminToken)");
    }
}
