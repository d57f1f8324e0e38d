//! TLS between a client and its session: what has come of it and is not opened, and the library's state, which is made with
//! the first bytes. It knows no socket.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::auth::Identity;
use crate::limits;
use crate::observe::TlsSpoken;
use crate::proto::greeting::TLS_HANDSHAKE;
use crate::relay::TlsParts;
use crate::tls::{TlsConnection, TlsError, TlsOpened, TlsServer, TlsVersion, is_whole};

/// A client that speaks TLS, or is to.
#[derive(Debug)]
pub(super) struct TlsClient {
    server: Arc<TlsServer>,
    /// `None` before the client has sent anything.
    connection: Option<Box<TlsConnection>>,
    /// What has come and is not opened.
    begun: Vec<u8>,
    /// Nothing more comes of it as it is.
    waits: bool,
    /// It is not asked who the client is any more.
    known: bool,
}

impl TlsClient {
    pub(super) fn new(server: Arc<TlsServer>) -> TlsClient {
        TlsClient { server, connection: None, begun: Vec::new(), waits: false, known: false }
    }

    /// A client whose connection went on from an earlier request.
    pub(super) fn again((connection, begun): TlsParts) -> TlsClient {
        let server = Arc::clone(connection.server());
        TlsClient { server, connection: Some(connection), begun, waits: false, known: false }
    }

    /// Takes bytes of the client.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        self.waits = false;
    }

    /// The first byte of a client that does not begin with TLS.
    pub(super) fn speaks_otherwise(&self) -> Option<u8> {
        let first = self.begun.first().filter(|_| self.connection.is_none())?;
        Some(*first).filter(|first| *first != TLS_HANDSHAKE)
    }

    /// Whether there is something to open.
    pub(super) fn has_record(&self) -> bool {
        !self.waits && is_whole(&self.begun)
    }

    /// Whether nothing can be said to the client yet.
    pub(super) fn shakes_hands(&self) -> bool {
        self.connection.as_ref().is_none_or(|connection| connection.shakes_hands())
    }

    /// How many bytes of the client are kept.
    pub(super) fn held_bytes(&self) -> usize {
        self.begun.len()
    }

    /// Opens the next content, up to the end of its record; what is to be said at once goes to `replies`.
    ///
    /// # Errors
    /// What ends the connection; the alert stands in `replies`.
    pub(super) fn open(
        &mut self,
        content: &mut Zeroizing<Vec<u8>>,
        replies: &mut Vec<u8>,
    ) -> Result<TlsOpened, TlsError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Box::new(TlsConnection::new(Arc::clone(&self.server))?)),
        };
        let take = |part: &[u8]| content.extend_from_slice(part);
        let (used, opened) = connection.open(&mut self.begun, take, replies);
        if used == self.begun.len() {
            self.begun = Vec::new();
        } else {
            self.begun.drain(..used);
        }
        self.waits = opened == Ok(TlsOpened::More);
        match opened {
            Ok(TlsOpened::More) if self.begun.len() > limits::TLS_HALF_MESSAGE_MAX => Err(TlsError::TooLong),
            opened => opened,
        }
    }

    /// Takes bytes of which the content is nothing to anybody; whether the client has ended.
    ///
    /// # Errors
    /// As [`TlsClient::open`].
    pub(super) fn skip(&mut self, bytes: &[u8], replies: &mut Vec<u8>) -> Result<bool, TlsError> {
        self.receive(bytes);
        loop {
            match self.open(&mut Zeroizing::default(), replies)? {
                TlsOpened::Content => {}
                TlsOpened::More => return Ok(false),
                TlsOpened::Ended => return Ok(true),
            }
        }
    }

    /// The records in which this is said.
    ///
    /// # Errors
    /// The handshake is not over, or has failed.
    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, TlsError> {
        let mut records = Vec::new();
        let connection = self.connection.as_mut().filter(|connection| !connection.shakes_hands());
        let connection = connection.ok_or(TlsError::TooEarly)?;
        connection.seal_onto(plain, &mut records)?;
        Ok(records)
    }

    /// Our word that nothing more is said; none where nothing can be.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        if let Some(connection) = self.connection.as_mut().filter(|connection| !connection.shakes_hands()) {
            connection.end_onto(&mut records);
        }
        records
    }

    /// What was agreed on, and whether an earlier session went on.
    pub(super) fn spoken(&self) -> (TlsSpoken, bool) {
        match self.connection.as_ref().and_then(|connection| connection.agreed()) {
            Some((TlsVersion::Tls12, resumed)) => (TlsSpoken::Tls12, resumed),
            Some((TlsVersion::Tls13, resumed)) => (TlsSpoken::Tls13, resumed),
            None => (TlsSpoken::Unknown, false),
        }
    }

    /// Who the client is by its certificate, where that says it; once.
    pub(super) fn take_identity(&mut self) -> Option<Result<Identity, String>> {
        match std::mem::replace(&mut self.known, true) {
            true => None,
            false => self.connection.as_ref()?.identity(),
        }
    }

    /// What a relay goes on with: the connection, and what came behind the request as it came.
    pub(super) fn into_parts(self) -> Option<TlsParts> {
        Some((self.connection?, self.begun))
    }
}
