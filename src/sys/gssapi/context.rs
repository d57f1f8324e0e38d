//! A security context from its first token to its end.

use std::fmt;
use std::ptr;

use super::credentials::ServiceCredentials;
use super::ffi::{self, RawBuffer, RawContext, Word};
use super::library::{Buffer, Library};
use super::name::GssName;
use super::status::{self, GssError};

/// The acceptor's side of one security context.
pub struct Context {
    library: &'static Library,
    /// Null before the first token. The pointer also keeps the type from being `Sync`.
    raw: RawContext,
}

// SAFETY: a context is not bound to a thread, in either library; whoever owns it is alone with it.
unsafe impl Send for Context {}

/// The result of one round of the establishment.
#[derive(Debug)]
pub struct Accepted {
    /// For the initiator; empty where the mechanism has none to give. Never logged.
    pub token: Vec<u8>,
    /// What the context offers, once it stands; `None` while another token of the initiator is needed.
    pub established: Option<Established>,
}

/// The two ends of a context that stands, and what it offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// The initiator's name as the library displays it: "alice@EXAMPLE.ORG".
    pub initiator: String,
    /// The acceptor's name as the library displays it: "rcmd/proxy.example.org@EXAMPLE.ORG".
    pub acceptor: String,
    /// Whether a message that came before is told as such.
    pub replay_detection: bool,
    /// Whether a message out of order is told as such.
    pub sequence_detection: bool,
    /// Whether messages may be encrypted.
    pub confidentiality: bool,
    /// Whether messages may be signed.
    pub integrity: bool,
}

/// What is known of a message that was unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwrapped {
    /// Whether it was encrypted.
    pub confidential: bool,
    /// Its place among the messages of its context.
    pub order: MessageOrder,
}

/// The place of a message in its sequence (RFC 2743 section 1.2.3), as far as the context detects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOrder {
    /// It follows the one before; or the context detects nothing.
    InSequence,
    /// Messages before it have not come.
    Gap,
    /// Too old to know whether it came before.
    Late,
    /// It comes behind a later one.
    Unsequenced,
    /// It came before.
    Duplicate,
}

impl MessageOrder {
    /// The gravest that the bits of a major status say.
    pub(super) fn of(major: Word) -> MessageOrder {
        match major {
            bits if bits & ffi::DUPLICATE_TOKEN != 0 => MessageOrder::Duplicate,
            bits if bits & ffi::OLD_TOKEN != 0 => MessageOrder::Late,
            bits if bits & ffi::UNSEQ_TOKEN != 0 => MessageOrder::Unsequenced,
            bits if bits & ffi::GAP_TOKEN != 0 => MessageOrder::Gap,
            _ => MessageOrder::InSequence,
        }
    }
}

impl Context {
    /// A context that waits for its first token.
    pub fn new(library: &'static Library) -> Context {
        Context { library, raw: ptr::null_mut() }
    }

    /// One round of gss_accept_sec_context. It may block on files; see the module.
    ///
    /// Delegated credentials are never taken, so there is nothing of the initiator's to keep.
    ///
    /// # Errors
    /// A token that proves nothing, has expired or came before; an initiator without a name. The context is then of
    /// no use.
    pub fn accept(&mut self, credentials: &ServiceCredentials, token: &[u8]) -> Result<Accepted, GssError> {
        let library = self.library;
        let (mut minor, mut flags) = (0, 0);
        let mut initiator = GssName::none(library);
        let mut answer = Buffer::new(library);
        let mut token = token.to_vec();
        // SAFETY: the context is null or the library's, the credentials are its own; the token, a copy that may be
        // written to, outlives the call; the rest are places to write to, or null where the result is not wanted, which the function allows.
        let major = unsafe {
            (library.functions.accept)(
                &mut minor,
                &mut self.raw,
                credentials.raw,
                &RawBuffer::given(&mut token),
                ptr::null(),
                &mut initiator.raw,
                ptr::null_mut(),
                answer.as_mut_ptr(),
                &mut flags,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        let major = status::check_round(library, major, minor)?;
        let token = answer.bytes().to_vec();
        if major & ffi::CONTINUE_NEEDED != 0 {
            return Ok(Accepted { token, established: None });
        }
        let (initiator, nobody) = initiator.display()?;
        // RFC 8062 section 3: a principal that says of itself that it is nobody's, whatever its realm.
        if nobody || flags & ffi::ANONYMOUS_FLAG != 0 || initiator.starts_with("WELLKNOWN/ANONYMOUS@") {
            return Err(GssError::ours(ffi::UNAUTHORIZED, "the initiator is anonymous"));
        }
        let established = Established {
            initiator,
            acceptor: self.acceptor()?,
            replay_detection: flags & ffi::REPLAY_FLAG != 0,
            sequence_detection: flags & ffi::SEQUENCE_FLAG != 0,
            confidentiality: flags & ffi::CONFIDENTIALITY_FLAG != 0,
            integrity: flags & ffi::INTEGRITY_FLAG != 0,
        };
        Ok(Accepted { token, established: Some(established) })
    }

    /// Seals `plain` and appends the token to `out`.
    ///
    /// # Errors
    /// The context does not stand or has expired, or it does not encrypt though `confidential` asks for it; `out` is
    /// then as it was.
    pub fn wrap(&mut self, plain: &[u8], confidential: bool, out: &mut Vec<u8>) -> Result<(), GssError> {
        let library = self.library;
        let (mut minor, mut encrypted) = (0, 0);
        let mut token = Buffer::new(library);
        // SAFETY: the context is null, which the function refuses, or the library's; `plain` outlives the call and is
        // copied before it is encrypted; the rest are places to write to.
        let major = unsafe {
            (library.functions.wrap)(
                &mut minor,
                self.raw,
                confidential.into(),
                0,
                &RawBuffer::lent(plain),
                &mut encrypted,
                token.as_mut_ptr(),
            )
        };
        status::check(library, major, minor)?;
        if confidential && encrypted == 0 {
            return Err(GssError::ours(ffi::BAD_QOP, "the context does not encrypt"));
        }
        out.extend_from_slice(token.bytes());
        Ok(())
    }

    /// Opens a copy of `token` and appends what was sealed to `out`, as [`Context::unwrap_in_place`] does.
    ///
    /// # Errors
    /// As [`Context::unwrap_in_place`].
    pub fn unwrap(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<Unwrapped, GssError> {
        self.unwrap_in_place(&mut token.to_vec(), out)
    }

    /// Opens `token` and appends what was sealed to `out`. The token's bytes are of no use afterwards: MIT writes to them.
    ///
    /// Of a message out of order MIT hands out what was sealed all the same, Heimdal nothing: then nothing is appended,
    /// and `confidential` says nothing. `order` tells either way.
    ///
    /// # Errors
    /// The token is not of this context, was changed on its way, or the context has expired; `out` is then as it was.
    pub fn unwrap_in_place(&mut self, token: &mut [u8], out: &mut Vec<u8>) -> Result<Unwrapped, GssError> {
        let library = self.library;
        let (mut minor, mut encrypted) = (0, 0);
        let mut plain = Buffer::new(library);
        // SAFETY: as for `wrap`, but that the token is lent to be written to; null is taken where the quality of protection is not wanted.
        let major = unsafe {
            (library.functions.unwrap)(
                &mut minor,
                self.raw,
                &RawBuffer::given(token),
                plain.as_mut_ptr(),
                &mut encrypted,
                ptr::null_mut(),
            )
        };
        let major = status::check(library, major, minor)?;
        out.extend_from_slice(plain.bytes());
        Ok(Unwrapped { confidential: encrypted != 0, order: MessageOrder::of(major) })
    }

    /// The most bytes that [`Context::wrap`] makes a token of at most `token_max` bytes of; 0 where none fit.
    ///
    /// # Errors
    /// The context does not stand or has expired.
    pub fn wrap_size_limit(&self, confidential: bool, token_max: u32) -> Result<u32, GssError> {
        let (mut minor, mut limit) = (0, 0);
        // SAFETY: the context is null, which the function refuses, or the library's; the function only reads it.
        let major = unsafe {
            (self.library.functions.wrap_size_limit)(
                &mut minor,
                self.raw,
                confidential.into(),
                0,
                token_max,
                &mut limit,
            )
        };
        status::check(self.library, major, minor)?;
        Ok(limit)
    }

    /// The name that the initiator addressed: a service may have several in one keytab.
    fn acceptor(&self) -> Result<String, GssError> {
        let mut minor = 0;
        let mut target = GssName::none(self.library);
        // SAFETY: the context stands; null is taken for what is not wanted.
        let major = unsafe {
            (self.library.functions.inquire_context)(
                &mut minor,
                self.raw,
                ptr::null_mut(),
                &mut target.raw,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        status::check(self.library, major, minor)?;
        Ok(target.display()?.0)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: the library's, deleted once; no token for the peer is asked for.
            unsafe { (self.library.functions.delete_context)(&mut 0, &mut self.raw, ptr::null_mut()) };
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("begun", &!self.raw.is_null()).finish_non_exhaustive()
    }
}
