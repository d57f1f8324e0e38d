//! Per-message protection of a session (RFC 1961 section 5): what is sealed and opened, at which level, in which order.

use std::fmt;

use crate::config::ProtectionLevel;
use crate::proto::ProtoError;
use crate::proto::gss::{HEADER, MessageType, header};
use crate::sys::gssapi::{Context, GssError};

pub use crate::sys::gssapi::MessageOrder;

#[cfg(test)]
pub(crate) mod paper;

/// The longest token that a message can have.
const TOKEN_BYTES_MAX: usize = u16::MAX as usize;

/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = HEADER + TOKEN_BYTES_MAX;

/// An established security context, as far as messages need it.
pub trait Protect: fmt::Debug + Send {
    /// Appends the token of `plain` to `out`.
    ///
    /// # Errors
    /// [`SealError::Library`].
    fn wrap(&mut self, plain: &[u8], confidential: bool, out: &mut Vec<u8>) -> Result<(), SealError>;

    /// Appends what `token` holds to `out`.
    ///
    /// # Errors
    /// [`SealError::Library`]; nothing was appended then.
    fn unwrap(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<Opened, SealError>;

    /// How many bytes a token of at most `token_max` bytes can hold.
    ///
    /// # Errors
    /// [`SealError::Library`].
    fn plain_max(&self, confidential: bool, token_max: usize) -> Result<usize, SealError>;
}

/// What a token was, beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whether it was encrypted, not only protected from change.
    pub confidential: bool,
    /// Where it stands among the messages of its context.
    pub order: MessageOrder,
}

/// Why a message is not sealed or opened. No variant holds a byte of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The frame is none that is due.
    Frame(ProtoError),
    /// The stream ends in the middle of a message.
    Truncated,
    /// The library refuses the token, in its own words.
    Library(String),
    /// A token that is not the next one.
    Order(MessageOrder),
    /// A token without encryption, where all must have it.
    NotConfidential,
    /// The context cannot tell that a token was there before (RFC 1961 section 3.2).
    NoReplayDetection,
    /// The context cannot tell that a token is missing from a stream (RFC 1961 section 3.2).
    NoSequenceDetection,
    /// The mechanism does not offer what the level needs.
    NotOffered,
    /// There is more content than one message can hold.
    TooLong,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Frame(error) => write!(f, "{error}"),
            SealError::Truncated => f.write_str("the stream ends in the middle of a message"),
            SealError::Library(text) => f.write_str(text),
            SealError::Order(MessageOrder::InSequence) => f.write_str("token in order"),
            SealError::Order(MessageOrder::Gap) => f.write_str("a token is missing"),
            SealError::Order(MessageOrder::Unsequenced) => f.write_str("token out of order"),
            SealError::Order(MessageOrder::Duplicate) => f.write_str("replayed token"),
            SealError::Order(MessageOrder::Late) => f.write_str("token too old"),
            SealError::NotConfidential => f.write_str("token without encryption"),
            SealError::NoReplayDetection => f.write_str("the context does not detect replays"),
            SealError::NoSequenceDetection => f.write_str("the context does not detect missing tokens"),
            SealError::NotOffered => f.write_str("the mechanism does not offer this protection"),
            SealError::TooLong => f.write_str("more than a message can hold"),
        }
    }
}

impl std::error::Error for SealError {}

/// The protection of one session, both ways.
#[derive(Debug)]
pub struct Seal {
    protect: Box<dyn Protect>,
    level: ProtectionLevel,
    /// What the longest message can hold.
    plain_max: usize,
    sequence_detection: bool,
}

impl Seal {
    /// Protection at a level other than none.
    ///
    /// # Errors
    /// What the library says of the level, or a mechanism whose messages cannot hold anything.
    pub fn new(
        protect: Box<dyn Protect>,
        level: ProtectionLevel,
        sequence_detection: bool,
    ) -> Result<Seal, SealError> {
        let plain_max = protect.plain_max(encrypts(level), TOKEN_BYTES_MAX)?;
        if plain_max == 0 {
            return Err(SealError::NotOffered);
        }
        Ok(Seal { protect, level, plain_max, sequence_detection })
    }

    /// Whether a stream may be entrusted to it.
    ///
    /// # Errors
    /// [`SealError::NoSequenceDetection`]: a message that is taken out would go unnoticed.
    pub fn check_stream(&self) -> Result<(), SealError> {
        if self.sequence_detection { Ok(()) } else { Err(SealError::NoSequenceDetection) }
    }

    /// Appends the content of a stream's next token to `out`.
    ///
    /// # Errors
    /// Any of which ends the session: what stands behind it cannot be trusted either.
    pub fn open(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.open_as(token, out, |order| order == MessageOrder::InSequence)
    }

    /// Appends the content of a datagram's token to `out`. Datagrams overtake each other and are lost, but none comes
    /// twice.
    ///
    /// # Errors
    /// Any of which costs this datagram alone.
    pub fn open_datagram(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.open_as(token, out, |order| !matches!(order, MessageOrder::Duplicate | MessageOrder::Late))
    }

    fn open_as(
        &mut self,
        token: &[u8],
        out: &mut Vec<u8>,
        accepts: impl Fn(MessageOrder) -> bool,
    ) -> Result<(), SealError> {
        let before = out.len();
        let Opened { confidential, order } = self.protect.unwrap(token, out)?;
        let refused = if !accepts(order) {
            SealError::Order(order)
        } else if self.level == ProtectionLevel::Confidentiality && !confidential {
            SealError::NotConfidential
        } else {
            return Ok(());
        };
        out.truncate(before);
        Err(refused)
    }

    /// Appends `plain` to `out` as one message, or as many as it needs.
    ///
    /// # Errors
    /// What the library says.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        plain.chunks(self.plain_max).try_for_each(|plain| self.seal_one(plain, out))
    }

    /// Appends `plain` to `out` as one message.
    ///
    /// # Errors
    /// [`SealError::TooLong`] where it needs more; what the library says.
    pub fn seal_one(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        if plain.len() > self.plain_max {
            return Err(SealError::TooLong);
        }
        message(MessageType::Encapsulated, out, |out| self.protect.wrap(plain, encrypts(self.level), out))
    }

    /// How many bytes can be sealed into messages of `room` bytes together.
    ///
    /// # Errors
    /// What the library says.
    pub fn plain_max(&self, room: usize) -> Result<usize, SealError> {
        match room / MESSAGE_BYTES_MAX {
            0 => self.protect.plain_max(encrypts(self.level), room.saturating_sub(HEADER)),
            messages => Ok(messages * self.plain_max),
        }
    }
}

/// Appends a message whose token `wrap` appends.
///
/// # Errors
/// [`SealError::TooLong`] for a token that no message can hold; what `wrap` says. Nothing was appended then.
pub fn message(
    kind: MessageType,
    out: &mut Vec<u8>,
    wrap: impl FnOnce(&mut Vec<u8>) -> Result<(), SealError>,
) -> Result<(), SealError> {
    let start = out.len();
    out.extend_from_slice(&header(kind, 0));
    let wrapped =
        wrap(out).and_then(|()| u16::try_from(out.len() - start - HEADER).map_err(|_| SealError::TooLong));
    match wrapped {
        Ok(length) => {
            out[start..start + HEADER].copy_from_slice(&header(kind, length));
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Whether what we send at a level is encrypted. At level 3, where that is our choice, it is (RFC 1961 section 5).
fn encrypts(level: ProtectionLevel) -> bool {
    level != ProtectionLevel::Integrity
}

impl Protect for Context {
    fn wrap(&mut self, plain: &[u8], confidential: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        Context::wrap(self, plain, confidential, out).map_err(refused)
    }

    fn unwrap(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<Opened, SealError> {
        let unwrapped = Context::unwrap(self, token, out).map_err(refused)?;
        Ok(Opened { confidential: unwrapped.confidential, order: unwrapped.order })
    }

    fn plain_max(&self, confidential: bool, token_max: usize) -> Result<usize, SealError> {
        let token_max = u32::try_from(token_max).unwrap_or(u32::MAX);
        let limit = self.wrap_size_limit(confidential, token_max).map_err(refused)?;
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

fn refused(error: GssError) -> SealError {
    SealError::Library(error.to_string())
}
