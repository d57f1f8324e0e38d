//! One client's connection.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{HandshakeKind, ProtocolVersion};

use super::server::TlsServer;
use super::{TlsError, is_whole};
use crate::auth::Identity;

/// The state of TLS with one client.
pub struct TlsConnection {
    rustls: UnbufferedServerConnection,
    server: Arc<TlsServer>,
    /// The client has said that nothing follows (close_notify).
    ended: bool,
    /// Nothing can be opened or sealed any more.
    failed: bool,
}

impl fmt::Debug for TlsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnection").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What was found in a client's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOpened {
    /// The content of one record; there may be more.
    Content,
    /// Nothing more: another record has to come.
    More,
    /// The client ended its side in order. Nothing behind it counts.
    Ended,
}

impl TlsConnection {
    /// A connection of which nothing has come yet.
    ///
    /// # Errors
    /// What the library says of its own settings.
    pub fn new(server: Arc<TlsServer>) -> Result<TlsConnection, TlsError> {
        let rustls = UnbufferedServerConnection::new(server.config())?;
        Ok(TlsConnection { rustls, server, ended: false, failed: false })
    }

    /// Takes the records at the front of `records`, in place, up to the next content, which goes to `content`. What is to be
    /// said at once goes to `replies`. Returns how many bytes are used up, and how it ended: those that are left have to come
    /// again, as they stand now, with what follows them.
    ///
    /// # Errors
    /// Any of which ends the connection; the alert that tells the client stands in `replies`.
    pub fn open(
        &mut self,
        records: &mut [u8],
        mut content: impl FnMut(&[u8]),
        replies: &mut Vec<u8>,
    ) -> (usize, Result<TlsOpened, TlsError>) {
        let mut used = 0;
        while !self.ended {
            let UnbufferedStatus { discard, state } = self.rustls.process_tls_records(&mut records[used..]);
            let opened = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut failed = None;
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => content(record.payload),
                            Err(error) => failed = Some(error),
                        }
                    }
                    Some(failed.map_or(Ok(TlsOpened::Content), Err))
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, replies);
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.ended = true;
                    None
                }
                // Data that comes before the handshake is over is not offered, and so is never there.
                Ok(_) => Some(Ok(TlsOpened::More)),
                Err(error) => Some(Err(error)),
            };
            used += discard;
            match opened {
                None => {}
                Some(Ok(TlsOpened::More)) if !self.shakes_hands() && is_whole(&records[used..]) => {
                    // What is sealed meanwhile would find the library with a part of a message and not that part.
                    self.failed = true;
                    return (used, Err(TlsError::Parted));
                }
                Some(Ok(opened)) => return (used, Ok(opened)),
                Some(Err(error)) => {
                    self.failed = true;
                    self.say_last(replies);
                    return (used, Err(error.into()));
                }
            }
        }
        (records.len(), Ok(TlsOpened::Ended))
    }

    /// The alert behind an error. What is there to be said comes before the library looks at any record, and it must not look
    /// at one again.
    fn say_last(&mut self, replies: &mut Vec<u8>) {
        while self.rustls.wants_write() {
            let ConnectionState::EncodeTlsData(data) = (match self.rustls.process_tls_records(&mut []).state {
                Ok(state) => state,
                Err(_) => return,
            }) else {
                return;
            };
            encode(data, replies);
        }
    }

    /// Whether the handshake is not over: nothing can be sealed yet.
    pub fn shakes_hands(&self) -> bool {
        self.rustls.is_handshaking()
    }

    /// Writes `plain` into `room` as records; how many bytes they have. `room` has to be as large as
    /// [`super::plain_max`] wants it.
    ///
    /// # Errors
    /// A `room` that is too small, or keys that are used up: the connection is over.
    pub fn seal(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, TlsError> {
        let mut begun = 0;
        while !self.failed {
            // Nothing of the client's waits in the library behind the handshake: see `open`.
            match self.rustls.process_tls_records(&mut []).state? {
                ConnectionState::EncodeTlsData(data) => {
                    let mut reply = Vec::new();
                    encode(data, &mut reply);
                    room.get_mut(begun..begun + reply.len())
                        .ok_or(TlsError::TooLong)?
                        .copy_from_slice(&reply);
                    begun += reply.len();
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) => {
                    let sealed = traffic.encrypt(plain, &mut room[begun..]).map_err(refused)?;
                    return Ok(begun + sealed);
                }
                _ => break,
            }
        }
        Err(TlsError::TooEarly)
    }

    /// Appends `plain` to `out` as records.
    ///
    /// # Errors
    /// As [`TlsConnection::seal`].
    pub fn seal_onto(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let start = out.len();
        out.resize(start + super::room_for(plain.len()), 0);
        let sealed = self.seal(plain, &mut out[start..]);
        out.truncate(start + *sealed.as_ref().unwrap_or(&0));
        sealed.map(drop)
    }

    /// Appends our word that nothing follows (close_notify), unless it was said.
    pub fn end_onto(&mut self, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        let start = out.len();
        out.resize(start + super::room_for(0), 0);
        let said = match self.rustls.process_tls_records(&mut []).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.queue_close_notify(&mut out[start..]).unwrap_or(0)
            }
            _ => 0,
        };
        out.truncate(start + said);
    }

    /// Nothing is said from here on: something that was to be said first could not be.
    pub fn give_up(&mut self) {
        self.failed = true;
    }

    /// By which settings it was made.
    pub fn server(&self) -> &Arc<TlsServer> {
        &self.server
    }

    /// Whether the client ended its side in order.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// What was agreed on, once the handshake is over; whether an earlier session went on.
    pub fn agreed(&self) -> Option<(TlsVersion, bool)> {
        let version = match self.rustls.protocol_version()? {
            ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        };
        Some((version, self.rustls.handshake_kind() == Some(HandshakeKind::Resumed)))
    }

    /// Who the client is by its certificate, where that is asked for. The library has verified that certificate.
    ///
    /// # Errors
    /// In words: the certificate has no name that can be a user's.
    pub fn identity(&self) -> Option<Result<Identity, String>> {
        let from = self.server.users_from()?;
        let certificate: &CertificateDer<'_> = self.rustls.peer_certificates()?.first()?;
        Some(super::certificate::user_of(certificate, from))
    }
}

/// A version of TLS that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, replies: &mut Vec<u8>) {
    let start = replies.len();
    let mut room = 0;
    loop {
        replies.resize(start + room, 0);
        match data.encode(&mut replies[start..]) {
            Ok(count) => return replies.truncate(start + count),
            Err(rustls::unbuffered::EncodeError::InsufficientSize(short)) => room = short.required_size,
            Err(rustls::unbuffered::EncodeError::AlreadyEncoded) => return replies.truncate(start),
        }
    }
}

fn refused(error: EncryptError) -> TlsError {
    match error {
        EncryptError::InsufficientSize(_) => TlsError::TooLong,
        EncryptError::EncryptExhausted => TlsError::Library(error.to_string()),
    }
}
