//! A client that may be told something: over its socket, and behind TLS where that is spoken.

use std::sync::Arc;

use super::tls_client::TlsClient;
use crate::relay::TlsParts;
use crate::sys::Write;
use crate::sys::stream::Stream;
use crate::tls::TlsServer;

/// A client's socket, and the TLS over it.
#[derive(Debug)]
pub(super) struct Answerable {
    pub(super) socket: Stream,
    pub(super) tls: Option<Box<TlsClient>>,
}

impl Answerable {
    /// A client that has said nothing, where TLS is spoken by this, if it is.
    pub(super) fn new(socket: Stream, tls: Option<&Arc<TlsServer>>) -> Answerable {
        Answerable { socket, tls: tls.map(|server| Box::new(TlsClient::new(Arc::clone(server)))) }
    }

    /// A client whose connection went on from an earlier request.
    pub(super) fn again(socket: Stream, tls: Option<TlsParts>) -> Answerable {
        Answerable { socket, tls: tls.map(|parts| Box::new(TlsClient::again(parts))) }
    }

    /// Says this; whether all of it is on its way. It is little: a socket that has no room for it is not being read.
    pub(super) fn say(&mut self, output: &[u8]) -> bool {
        match &mut self.tls {
            Some(tls) if !output.is_empty() => match tls.seal(output) {
                Ok(records) => self.send(&records),
                Err(_) => false,
            },
            _ => self.send(output),
        }
    }

    /// Says this, and that nothing follows.
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

    /// The same, and FIN.
    pub(super) fn finish(&mut self) {
        self.say_end();
        self.socket.shut_down_writing();
    }

    /// Sends bytes as they are; whether all of them are on their way.
    pub(super) fn send(&self, bytes: &[u8]) -> bool {
        bytes.is_empty() || matches!(self.socket.send(bytes), Write::Bytes(count) if count == bytes.len())
    }

    /// What a relay goes on with of the TLS over the socket.
    pub(super) fn take_tls(&mut self) -> Option<TlsParts> {
        self.tls.take().and_then(|tls| tls.into_parts())
    }
}
