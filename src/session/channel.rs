//! The bytes between a session and its client, plain or sealed (RFC 1961 section 5): what is read of it and written to
//! it is plain in either case.

use zeroize::Zeroizing;

use super::command::Output;
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::seal::{Seal, SealError};

/// What came of the client and is not used yet, and what protects it.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// What no message has been made of yet; opened where the channel is sealed.
    plain: Zeroizing<Vec<u8>>,
    sealing: Option<Sealing>,
}

/// What a channel has once a level of protection was agreed on.
#[derive(Debug)]
struct Sealing {
    seal: Box<Seal>,
    /// Bytes of the client that are not opened yet.
    sealed: Zeroizing<Vec<u8>>,
    /// So much of the present output was written before there was a seal.
    unsealed: usize,
}

impl Channel {
    /// Takes bytes of the client.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        match &mut self.sealing {
            Some(sealing) => sealing.sealed.extend_from_slice(bytes),
            None => self.plain.extend_from_slice(bytes),
        }
    }

    /// What no message has been made of yet, as far as it is opened.
    pub(super) fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// Forgets a message that was parsed, and the memory of a long one.
    pub(super) fn use_up(&mut self, used: usize) {
        self.plain.drain(..used);
        if self.plain.is_empty() && self.plain.capacity() > limits::HANDSHAKE_HELD_FREE {
            self.plain = Zeroizing::default();
        }
    }

    /// Opens the next sealed message; false where none is there.
    ///
    /// # Errors
    /// Any of which ends the session: what stands behind it cannot be trusted either.
    pub(super) fn open_next(&mut self) -> Result<bool, SealError> {
        let Some(Sealing { seal, sealed, .. }) = &mut self.sealing else { return Ok(false) };
        let decoded = decode(sealed, MessageType::Encapsulated).map_err(SealError::Frame)?;
        let Some((token, used)) = decoded else { return Ok(false) };
        seal.open(token, &mut self.plain)?;
        sealed.drain(..used);
        Ok(true)
    }

    /// Everything is sealed from here on: what came behind the messages that are used up, and what is written behind
    /// `output`.
    pub(super) fn seal_from_here(&mut self, seal: Box<Seal>, output: &Output) {
        let sealed = std::mem::take(&mut self.plain);
        self.sealing = Some(Sealing { seal, sealed, unsealed: output.len() });
    }

    /// Makes of what was written what is sent.
    ///
    /// # Errors
    /// What the library says; what was written while there was a seal is lost then.
    pub(super) fn seal_output(&mut self, output: &mut Output) -> Result<(), SealError> {
        let Some(sealing) = &mut self.sealing else { return Ok(()) };
        let plain = output.split_off(std::mem::take(&mut sealing.unsealed));
        sealing.seal.seal(&plain, output)
    }

    /// Whether a stream may be entrusted to it.
    ///
    /// # Errors
    /// [`SealError::NoSequenceDetection`]: a message that is taken out would go unnoticed.
    pub(super) fn check_stream(&self) -> Result<(), SealError> {
        self.sealing.as_ref().map_or(Ok(()), |sealing| sealing.seal.check_stream())
    }

    /// How many bytes of the client it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.plain.len() + self.sealing.as_ref().map_or(0, |sealing| sealing.sealed.len())
    }

    /// What protects the bytes behind the handshake, and what of them is not opened yet; absent where they are plain.
    pub(super) fn take_seal(&mut self) -> Option<(Box<Seal>, Vec<u8>)> {
        let Sealing { seal, mut sealed, .. } = self.sealing.take()?;
        Some((seal, std::mem::take(&mut *sealed)))
    }
}
