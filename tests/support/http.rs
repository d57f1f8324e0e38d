//! A client of the admin endpoint that writes its bytes by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::relay::{Builder, Relay};
use super::wait::{PATIENCE, uninterrupted};

/// One connection. Reads never wait longer than `PATIENCE`.
pub(crate) struct Http {
    stream: Box<dyn Duplex>,
    /// What has arrived behind the last answer.
    rest: Vec<u8>,
}

/// Both ways of a connection.
pub(crate) trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// An answer, taken apart by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpReply {
    pub(crate) status: u16,
    /// Names in lower case, and values.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl HttpReply {
    /// The value of the only field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(field, _)| field == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Http {
    /// Connects to an address.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("connect to the endpoint"))
    }

    /// Takes a connection that stands.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
        Self { stream: Box::new(stream), rest: Vec::new() }
    }

    /// Connects to a unix socket.
    pub(crate) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("connect to the endpoint's socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
        Self { stream: Box::new(stream), rest: Vec::new() }
    }

    /// Writes bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send to the endpoint");
    }

    /// Writes bytes as they are, as far as the endpoint takes them: it may have closed by then.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Asks for a path, and waits for the answer.
    pub(crate) fn get(&mut self, path: &str) -> HttpReply {
        self.ask("GET", path, None)
    }

    /// Asks by any method, with a body of JSON or without one, and waits for the answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, json: Option<&str>) -> HttpReply {
        self.ask_with(method, path, "", json)
    }

    /// Asks with more fields, each of which ends with CRLF.
    pub(crate) fn ask_with(
        &mut self,
        method: &str,
        path: &str,
        fields: &str,
        json: Option<&str>,
    ) -> HttpReply {
        let body = json.map_or(String::new(), |json| {
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}", json.len())
        });
        let end = if json.is_some() { "" } else { "\r\n" };
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}{body}{end}").as_bytes());
        if method == "HEAD" { self.answer_to_head() } else { self.answer() }
    }

    /// Waits for a whole answer.
    pub(crate) fn answer(&mut self) -> HttpReply {
        self.try_answer(true).expect("an answer")
    }

    /// Waits for a whole answer to HEAD.
    pub(crate) fn answer_to_head(&mut self) -> HttpReply {
        self.try_answer(false).expect("an answer")
    }

    /// Waits for a whole answer; `None` where the endpoint closes instead.
    pub(crate) fn try_answer(&mut self, has_body: bool) -> Option<HttpReply> {
        let head_end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !self.read_more() {
                return None;
            }
        };
        let head: Vec<u8> = self.rest.drain(..head_end + 4).collect();
        let head = String::from_utf8(head).expect("a head in UTF-8");
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().expect("a status line");
        let status =
            line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let mut reply = HttpReply {
            status: status.unwrap_or_else(|| panic!("no status: {line}")),
            fields: lines.map(field).collect(),
            body: String::new(),
        };
        if reply.status == 100 {
            return Some(reply);
        }
        let length = reply.field("content-length").expect("a length").parse::<usize>().expect("a number");
        if has_body {
            while self.rest.len() < length {
                assert!(self.read_more(), "an end within a body: {reply:?}");
            }
            let body: Vec<u8> = self.rest.drain(..length).collect();
            reply.body = String::from_utf8(body).expect("a body in UTF-8");
        }
        Some(reply)
    }

    /// Insists that the endpoint closes, and that nothing comes before.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        while self.read_more() {}
        assert!(self.rest.is_empty(), "{:?}", String::from_utf8_lossy(&self.rest));
    }

    /// Reads more; false at the end. A reset is an end, too.
    fn read_more(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match uninterrupted(|| self.stream.read(&mut piece)) {
            Ok(count) => {
                self.rest.extend_from_slice(&piece[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the endpoint does not answer: {error}"),
        }
    }
}

impl Builder {
    /// With the admin endpoint at a port of the kernel's choice.
    pub(crate) fn admin(self) -> Self {
        self.set("admin", "listen", "\"127.0.0.1:0\"")
    }

    /// Where [`Builder::admin_socket`] puts the socket.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.directory().join("admin.sock")
    }

    /// With the admin endpoint at a unix socket.
    pub(crate) fn admin_socket(self) -> Self {
        let path = self.socket_path();
        self.set("admin", "listen", &format!("\"unix:{}\"", path.display()))
    }
}

impl Relay {
    /// The admin endpoint's first address, as the log says it.
    pub(crate) fn admin_addr(&self) -> SocketAddr {
        let line = self.logged(&["admin endpoint on http://"]);
        let (_, rest) = line.split_once("http://").expect("an address");
        rest.split('/').next().expect("an address").parse().expect("an address")
    }

    /// A connection to the admin endpoint.
    pub(crate) fn admin(&self) -> Http {
        Http::connect(self.admin_addr())
    }

    /// Asks the admin endpoint for a path, over a connection of its own.
    pub(crate) fn get(&self, path: &str) -> HttpReply {
        self.admin().get(path)
    }
}
