//! A client between its handshakes, which may be told something: over its socket, and behind TLS where that is spoken.

use super::tls_client::TlsClient;
use crate::relay::TlsParts;
use crate::sys::Write;
use crate::sys::stream::Stream;

/// A client's socket, and the TLS over it.
#[derive(Debug)]
pub(super) struct Answerable {
    pub(super) socket: Stream,
    pub(super) tls: Option<Box<TlsClient>>,
}

impl Answerable {
    pub(super) fn new(socket: Stream, tls: Option<TlsParts>) -> Answerable {
        Answerable { socket, tls: tls.map(|parts| Box::new(TlsClient::again(parts))) }
    }

    /// Says this, and that nothing follows. It is little: a socket that has no room for it is not being read.
    pub(super) fn say_last(&mut self, output: &[u8]) {
        match &mut self.tls {
            None => drop(self.socket.send(output)),
            Some(tls) => {
                if let Ok(records) = tls.seal(output) {
                    let said = [records, tls.end()].concat();
                    self.send(&said);
                }
            }
        }
        self.socket.shut_down_writing();
    }

    /// Says that nothing follows, where there is a word for it beside FIN.
    pub(super) fn say_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            let last = tls.end();
            self.send(&last);
        }
    }

    /// Sends bytes as they are; whether all of them are on their way.
    pub(super) fn send(&self, bytes: &[u8]) -> bool {
        bytes.is_empty() || matches!(self.socket.send(bytes), Write::Bytes(count) if count == bytes.len())
    }
}
