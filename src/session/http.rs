//! Requests of HTTP (RFC 9110, RFC 9112): CONNECT, and those in absolute form.

use super::command::Command;
use super::dialect::Dialect;
use super::failure::Failure;
use super::handling::Handling;
use super::state::{AwaitHead, Reading, Transition};
use super::{connect, http_status, login, pac};
use crate::auth::Identity;
use crate::config::AuthMethod;
use crate::limits;
use crate::proto::ProtoError;
use crate::proto::http::{
    FieldRoom, Framing, HeadError, RequestHead, RequestTarget, credentials, read_request,
};
use crate::proto::request::RequestCommand;

/// Reads the head of a request, and begins what it wants once it is known who wants it.
pub(super) fn read(
    mut due: AwaitHead,
    bytes: &[u8],
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    let mut room = FieldRoom::new();
    let Some((head, used)) = read_request(bytes, &mut due.scanned, &mut room).map_err(bad)? else {
        return Ok(Transition::More(Reading::Head(due)));
    };
    *handling.dialect = Dialect::Http { to_head: head.method == "HEAD" };
    match head.target {
        RequestTarget::Origin(path) if pac::is_asked(&head, path, handling) => {
            return pac::answer(&head, handling).map_err(bad);
        }
        RequestTarget::Origin(_) | RequestTarget::Ours => return Err(bad(HeadError::TargetForm)),
        RequestTarget::Tunnel(_) | RequestTarget::Absolute(..) => {}
    }
    if let Some(transition) = authenticate(&head, used, due, handling)? {
        return Ok(transition);
    }
    login::identify(handling)?;
    if head.hops_left == Some(0) && matches!(head.target, RequestTarget::Absolute(..)) {
        return Ok(answer_ourselves(&head, handling));
    }
    // What another request of the connection was told is not this one's.
    handling.facts.status = None;
    *handling.forward = head.forward(handling.rules.http.via).map(Box::new);
    let (RequestTarget::Tunnel(target) | RequestTarget::Absolute(target, _)) = head.target else {
        return Err(Failure::Internal("a request for nobody"));
    };
    handling.facts.command = Some(RequestCommand::Connect);
    handling.facts.target = Some(target.clone());
    handling.check_taken(RequestCommand::Connect)?;
    connect::begin(target, used, handling)
}

/// Answers as the last whom a request reaches (RFC 9110 section 7.6.2): nothing is dialled for it, and nothing told of what
/// else came with it.
fn answer_ourselves(head: &RequestHead<'_, '_>, handling: &mut Handling<'_>) -> Transition {
    handling.facts.status = Some(http_status::answer_ourselves(head.method, handling.output));
    Transition::Done(Command::Answered)
}

fn bad(error: HeadError) -> Failure {
    Failure::Protocol(ProtoError::Head(error))
}

/// Sees to it that it is known who asks; absent where it is, and the request may go on. Who gives credentials is who they say,
/// also where nobody needs any.
fn authenticate(
    head: &RequestHead<'_, '_>,
    used: usize,
    due: AwaitHead,
    handling: &mut Handling<'_>,
) -> Result<Option<Transition>, Failure> {
    if handling.facts.identity.is_some() {
        return Ok(None);
    }
    let methods = handling.rules.methods;
    let password = methods.contains(&AuthMethod::Password);
    match head.authorization().filter(|_| password).and_then(credentials) {
        Some(given) => {
            handling.facts.method = Some(AuthMethod::Password);
            let given = given.ok_or(Failure::AuthFailed)?;
            // The head stays where it is: it is read once more when they are right.
            login::ask(given, 0, handling).map(Some)
        }
        None if methods.contains(&AuthMethod::None) => {
            handling.facts.method = Some(AuthMethod::None);
            handling.facts.identity = Some(Identity::Anonymous);
            Ok(None)
        }
        None if password => challenge(head, used, due, handling).map(Some),
        None => Err(Failure::NoMethod),
    }
}

/// Asks who the client is (RFC 9110 section 15.5.8). The next request may say it, over the same connection where that can be
/// told from this one.
fn challenge(
    head: &RequestHead<'_, '_>,
    used: usize,
    due: AwaitHead,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    handling.facts.method = Some(AuthMethod::Password);
    let bodiless = matches!(head.framing, Framing::None | Framing::Length(0));
    if !bodiless || !head.keep_alive || due.challenged == limits::HTTP_CHALLENGES_MAX {
        return Err(Failure::NoMethod);
    }
    handling.facts.status = Some(407);
    http_status::challenge(head.method == "HEAD", head.version, handling.output);
    let next = AwaitHead { scanned: 0, challenged: due.challenged + 1 };
    Ok(Transition::Read(Reading::Head(next), used))
}
