//! What a client is told during its handshake, behind TLS where that is spoken.

use super::handshake::Handshake;
use crate::sys::Write;

impl Handshake {
    /// Sends handshake bytes. They are few: a socket that has no room for them is not being read.
    pub(super) fn send(&mut self, output: &[u8]) -> bool {
        match &mut self.tls {
            Some(tls) if !output.is_empty() => match tls.seal(output) {
                Ok(records) => self.send_as_is(&records),
                Err(_) => false,
            },
            _ => self.send_as_is(output),
        }
    }

    pub(super) fn send_as_is(&self, output: &[u8]) -> bool {
        output.is_empty() || matches!(self.client.send(output), Write::Bytes(count) if count == output.len())
    }

    /// Says that nothing follows: FIN, behind the word for it that TLS has.
    pub(super) fn send_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            let last = tls.end();
            self.send_as_is(&last);
        }
        self.client.shut_down_writing();
    }
}
