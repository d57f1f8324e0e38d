//! The file by which browsers find the proxy that gives it. Chromium sends no SOCKS password, and offices have browsers
//! configured so.

use std::io::Write;

use super::command::{Command, Output};
use super::handling::Handling;
use super::state::Transition;
use crate::config::Protocol;
use crate::proto::address::Target;
use crate::proto::http::{HeadError, RequestHead};

/// Where it is asked for; the second is what browsers look for by themselves.
const PATHS: [&str; 2] = ["/proxy.pac", "/wpad.dat"];

/// Whether a request of ours is for the file, and it is given here.
pub(super) fn is_asked(head: &RequestHead<'_, '_>, path: &str, handling: &Handling<'_>) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    handling.rules.http.pac && matches!(head.method, "GET" | "HEAD") && PATHS.contains(&path)
}

/// Gives it to whoever asks: a browser has it before it is asked who it is.
///
/// # Errors
/// [`HeadError::NoHost`] where the client does not say by which name it came here.
pub(super) fn answer(
    head: &RequestHead<'_, '_>,
    handling: &mut Handling<'_>,
) -> Result<Transition, HeadError> {
    let rules = handling.rules;
    let here = head.authority(rules.protected).ok_or(HeadError::NoHost)?;
    let text = match rules.protected {
        // What browsers speak behind TLS is HTTP alone.
        true => script("HTTPS", &here, false),
        false => script("PROXY", &here, rules.protocols.contains(&Protocol::Socks5)),
    };
    handling.facts.status = Some(200);
    write(&text, head.method == "HEAD", handling.output);
    Ok(Transition::Done(Command::Answered))
}

/// Everything through this proxy, and nothing past it. A host in its canonical form has no character that a string of the
/// script could end with.
fn script(kind: &str, here: &Target, socks: bool) -> String {
    let socks = if socks { format!("; SOCKS5 {here}") } else { String::new() };
    format!("function FindProxyForURL(url, host) {{\n  return \"{kind} {here}{socks}\";\n}}\n")
}

fn write(text: &str, to_head: bool, output: &mut Output) {
    // Writing to memory does not fail.
    let _ = write!(
        output,
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ns-proxy-autoconfig\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        text.len()
    );
    if !to_head {
        output.extend_from_slice(text.as_bytes());
    }
}
