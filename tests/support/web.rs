//! HTTP by hand, for either end of a request.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::client;
use super::relay::Builder;
use super::wait::{PATIENCE, uninterrupted};

/// One end of a connection, which reads heads and bodies.
pub(crate) struct Peer {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("connect"))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
        Self { stream, held: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Sends this over and over, until nobody takes it.
    pub(crate) fn send_until_end(&mut self, bytes: &[u8]) {
        while self.stream.write_all(bytes).is_ok() {}
    }

    /// The next head, its empty line included.
    pub(crate) fn head(&mut self) -> String {
        self.try_head().expect("a head before the end of the connection")
    }

    /// The next head; none where the connection ends before it.
    pub(crate) fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.held.windows(4).position(|end| end == b"\r\n\r\n") {
                let rest = self.held.split_off(at + 4);
                let head = std::mem::replace(&mut self.held, rest);
                return Some(String::from_utf8(head).expect("a head in UTF-8"));
            }
            let before = self.held.len();
            let mut buffer = [0; 4096];
            let count = uninterrupted(|| self.stream.read(&mut buffer)).expect("read a head");
            self.held.extend_from_slice(&buffer[..count]);
            if count == 0 {
                assert_eq!(before, 0, "the end in the middle of a head: {}", self.held.escape_ascii());
                return None;
            }
        }
    }

    /// So many bytes.
    pub(crate) fn body(&mut self, length: usize) -> Vec<u8> {
        let rest = self.held.split_off(length.min(self.held.len()));
        let mut body = std::mem::replace(&mut self.held, rest);
        let had = body.len();
        body.resize(length, 0);
        self.stream.read_exact(&mut body[had..]).expect("a whole body");
        body
    }

    /// Everything up to the FIN.
    pub(crate) fn until_end(&mut self) -> Vec<u8> {
        let mut body = std::mem::take(&mut self.held);
        self.stream.read_to_end(&mut body).expect("read to the end");
        body
    }

    /// Sends FIN.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("FIN");
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        client::reset(self.stream);
    }

    /// Insists that the connection ends, by FIN or by RST, with nothing before it.
    pub(crate) fn expect_end(&mut self) {
        assert!(self.held.is_empty(), "{}", self.held.escape_ascii());
        self.expect_end_behind_anything();
        assert!(self.held.is_empty(), "{}", self.held.escape_ascii());
    }

    /// Insists that the connection ends, by FIN or by RST.
    pub(crate) fn expect_end_behind_anything(&mut self) {
        match self.stream.read_to_end(&mut self.held) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Insists on a RST, whatever comes before it.
    pub(crate) fn expect_reset(&mut self) {
        let error = self.stream.read_to_end(&mut self.held).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("an address")
    }
}

/// A GET in absolute form.
pub(crate) fn get(origin: SocketAddr, path: &str) -> String {
    format!("GET http://{origin}{path} HTTP/1.1\r\nHost: {origin}\r\n\r\n")
}

/// Has a server speak HTTP alone, on 127.0.0.1.
pub(crate) fn web(builder: Builder) -> Builder {
    builder.listeners(&["name = \"web\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"http\"]"])
}
