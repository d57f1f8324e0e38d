//! Asks a running server: one request of HTTP/1.1 to its admin endpoint, over a unix socket or TCP, and its answer.
//!
//! Each request has a connection of its own and one deadline. Nothing that an answer says is trusted: sizes are bounded,
//! and text is for the caller to escape.

mod address;
mod answer;
mod error;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use zeroize::Zeroizing;

use self::answer::AdminAnswer;
use self::error::AnswerError;
use crate::limits::{ADMIN_REQUEST_PATIENCE, TOKEN_FILE_BYTES_MAX};

pub(super) use self::address::EndpointAddress;
pub(super) use self::error::{ClientError, EndpointRefusal};

/// Says where the endpoint is when the command line does not.
pub(super) const ADDRESS_VARIABLE: &str = "OUTFLOW_ADMIN";

/// Which endpoint a command asks.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct AdminArgs {
    /// The admin endpoint: HOST:PORT or unix:PATH [default: that of the environment variable OUTFLOW_ADMIN, else
    /// unix:/run/outflow/admin.sock where there is such a socket, else 127.0.0.1:9180]
    #[arg(long = "admin", value_name = "ADDR", value_parser = EndpointAddress::parse)]
    address: Option<EndpointAddress>,
    /// The file that holds the endpoint's token, where it wants one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
}

/// Asks one endpoint.
#[derive(Clone, Debug)]
pub(super) struct AdminClient {
    address: EndpointAddress,
    token: Option<Zeroizing<String>>,
    patience: Duration,
}

impl AdminClient {
    /// The client that these arguments ask for.
    ///
    /// # Errors
    /// The environment's address is none, or the token cannot be read: in words for who typed it.
    pub(super) fn new(args: &AdminArgs) -> Result<AdminClient, String> {
        let named = std::env::var(ADDRESS_VARIABLE).ok().filter(|typed| !typed.is_empty());
        let address = match (&args.address, named) {
            (Some(address), _) => address.clone(),
            (None, Some(typed)) => EndpointAddress::parse(&typed)
                .map_err(|error| format!("{ADDRESS_VARIABLE}={}: {error}", typed.escape_debug()))?,
            (None, None) => EndpointAddress::usual(),
        };
        let token = args.token_file.as_deref().map(read_token).transpose()?;
        Ok(AdminClient { address, token, patience: ADMIN_REQUEST_PATIENCE })
    }

    /// The same with another limit on the time of a request.
    pub(super) fn with_patience(self, patience: Duration) -> AdminClient {
        AdminClient { patience, ..self }
    }

    /// Where it asks.
    pub(super) fn address(&self) -> &EndpointAddress {
        &self.address
    }

    /// The JSON at a target (see [`target`]).
    ///
    /// # Errors
    /// There is none, and why.
    pub(super) fn get(&self, target: &str) -> Result<Value, ClientError> {
        self.json("GET", target, None)
    }

    /// What comes of a DELETE.
    ///
    /// # Errors
    /// It was not done, and why.
    pub(super) fn delete(&self, target: &str) -> Result<Value, ClientError> {
        self.json("DELETE", target, None)
    }

    /// The same as its text: the fields in their order.
    ///
    /// # Errors
    /// There is none, and why.
    pub(super) fn get_text(&self, target: &str) -> Result<String, ClientError> {
        let answer = self.ask("GET", target, None)?;
        self.object(&answer)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// What comes of a POST with this body.
    ///
    /// # Errors
    /// It was not done, and why.
    pub(super) fn post(&self, target: &str, body: &Value) -> Result<Value, ClientError> {
        self.json("POST", target, Some(body))
    }

    /// The status and the one line of plain text at a target: those of health.
    ///
    /// # Errors
    /// There is no such answer, and why.
    pub(super) fn line(&self, target: &str) -> Result<(u16, String), ClientError> {
        let answer = self.ask("GET", target, None)?;
        if answer.media != "text/plain" {
            return Err(self.refusal(&answer));
        }
        let text = String::from_utf8_lossy(&answer.body);
        Ok((answer.status, text.trim_end_matches('\n').to_owned()))
    }

    fn json(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        self.object(&self.ask(method, target, body)?)
    }

    fn object(&self, answer: &AdminAnswer) -> Result<Value, ClientError> {
        match serde_json::from_slice(&answer.body) {
            Ok(Value::Object(object)) if answer.status < 300 => Ok(Value::Object(object)),
            _ => Err(self.refusal(answer)),
        }
    }

    /// What an answer that is not the one hoped for means.
    fn refusal(&self, answer: &AdminAnswer) -> ClientError {
        let said = serde_json::from_slice(&answer.body).unwrap_or_default();
        let refusal = EndpointRefusal::read(answer.status, &said).filter(|_| answer.status >= 300);
        refusal.map(ClientError::Refused).unwrap_or_else(|| {
            self.foreign(format!("it answers with {} and {:?}", answer.status, answer.media))
        })
    }

    /// The error of an endpoint that is none of ours, for this reason.
    pub(super) fn foreign(&self, what: String) -> ClientError {
        ClientError::Foreign(self.address().to_string(), what)
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Result<AdminAnswer, ClientError> {
        let address = || self.address.to_string();
        let failed = |error| ClientError::of_io(address(), error);
        let by = Instant::now() + self.patience;
        let mut connection = Timed { socket: self.connect(by).map_err(failed)?, by };
        let sent = connection.write_all(self.request(method, target, body).as_bytes());
        // Who refuses a request may do so before the end of it: the answer counts.
        match answer::read(&mut connection) {
            Ok(answer) => Ok(answer),
            Err(AnswerError::Io(error)) => Err(failed(sent.err().unwrap_or(error))),
            Err(AnswerError::Foreign(what)) => Err(self.foreign(what)),
            Err(AnswerError::TooLong(bytes)) => Err(ClientError::TooLong(address(), bytes)),
        }
    }

    fn request(&self, method: &str, target: &str, body: Option<&Value>) -> Zeroizing<String> {
        debug_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target:?}");
        let (host, version) = (self.address.authority(), env!("CARGO_PKG_VERSION"));
        let mut request = Zeroizing::new(format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: outflow/{version}\r\n"
        ));
        if let Some(token) = &self.token {
            request.extend(["Authorization: Bearer ", token, "\r\n"]);
        }
        match body.map(Value::to_string) {
            Some(body) => {
                let length = body.len().to_string();
                request.extend([
                    "Content-Type: application/json\r\nContent-Length: ",
                    &length,
                    "\r\n\r\n",
                    &body,
                ]);
            }
            None => request.push_str("\r\n"),
        }
        request
    }

    fn connect(&self, by: Instant) -> io::Result<Socket> {
        let (host, port) = match &self.address {
            EndpointAddress::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // Where the queue of the socket is full, connecting to it waits as a write does.
                socket.set_write_timeout(Some(left(by)?))?;
                return socket.connect(&SockAddr::unix(path)?).map(|()| socket);
            }
            EndpointAddress::Tcp { host, port } => (host.as_str(), *port),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            match socket.connect_timeout(&address.into(), left(by)?) {
                Ok(()) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A path with a query: `target("/api/v1/sessions", &[("user", "ann")])`. Names are ours, values are anything.
pub(super) fn target(path: &str, query: &[(&str, impl AsRef<str>)]) -> String {
    let pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{name}={}", encoded(value.as_ref()))).collect();
    let mark = if pairs.is_empty() { "" } else { "?" };
    format!("{path}{mark}{}", pairs.join("&"))
}

/// What a target has escaped: all but the unreserved characters (RFC 3986 section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a segment of a path or as a value of a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A socket each of whose calls ends at one time.
struct Timed {
    socket: Socket,
    by: Instant,
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.by)?))?;
        self.socket.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.by)?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The time that is left, which is never zero: the kernel takes that for none at all.
fn left(by: Instant) -> io::Result<Duration> {
    let left = by.saturating_duration_since(Instant::now());
    if left < Duration::from_millis(1) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The one line of a token's file.
fn read_token(path: &Path) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path).and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| format!("--token-file: {}: {error}", path.display()))?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("--token-file: {}: expected one line, the token", path.display()));
    }
    Ok(Zeroizing::new(token.to_owned()))
}
