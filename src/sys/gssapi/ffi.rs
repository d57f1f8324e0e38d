//! What gssapi.h declares (RFC 2744 appendix A), as far as it is used: types, constants, functions.
//!
//! The layouts are those of MIT and of Heimdal on Linux; only macOS packs them.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

/// A status, a set of flags or a length of the interface.
pub(super) type Word = u32;
/// gss_name_t.
pub(super) type RawName = *mut c_void;
/// gss_cred_id_t.
pub(super) type RawCredentials = *mut c_void;
/// gss_ctx_id_t.
pub(super) type RawContext = *mut c_void;

/// gss_buffer_desc. What the library fills in is released with gss_release_buffer.
#[repr(C)]
pub(super) struct RawBuffer {
    pub(super) length: usize,
    pub(super) value: *mut c_void,
}

/// gss_OID_desc.
#[repr(C)]
pub(super) struct Oid {
    pub(super) length: Word,
    pub(super) elements: *const c_void,
}

// SAFETY: an `Oid` of ours points to static bytes that nobody writes; the interface only reads what it is given.
unsafe impl Sync for Oid {}

impl Oid {
    const fn new(bytes: &'static [u8]) -> Oid {
        // The arcs here are a few bytes long.
        Oid { length: bytes.len() as Word, elements: bytes.as_ptr().cast() }
    }
}

/// gss_OID_set_desc.
#[repr(C)]
pub(super) struct OidSet {
    pub(super) count: usize,
    pub(super) elements: *const Oid,
}

/// gss_key_value_element_desc.
#[repr(C)]
pub(super) struct KeyValue {
    pub(super) key: *const c_char,
    pub(super) value: *const c_char,
}

/// gss_key_value_set_desc.
#[repr(C)]
pub(super) struct KeyValues {
    pub(super) count: Word,
    pub(super) elements: *const KeyValue,
}

/// GSS_C_NT_HOSTBASED_SERVICE, 1.2.840.113554.1.2.1.4. Ours, since the two libraries export it in different ways.
pub(super) static HOSTBASED_SERVICE: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04");
/// GSS_C_NT_ANONYMOUS, 1.3.6.1.5.6.3.
pub(super) const ANONYMOUS: &[u8] = b"\x2b\x06\x01\x05\x06\x03";
/// The Kerberos V mechanism, 1.2.840.113554.1.2.2 (RFC 1964 section 1).
pub(super) static KERBEROS: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02");

/// GSS_C_ACCEPT.
pub(super) const USAGE_ACCEPT: c_int = 2;
/// GSS_C_INDEFINITE.
pub(super) const INDEFINITE: Word = Word::MAX;
/// GSS_C_GSS_CODE.
pub(super) const STATUS_MAJOR: c_int = 1;
/// GSS_C_MECH_CODE.
pub(super) const STATUS_MINOR: c_int = 2;

/// Bits of a major status that are errors: calling errors and routine errors.
pub(super) const ERRORS: Word = 0xffff_0000;
/// GSS_S_FAILURE, an error of the mechanism that only the minor status tells.
pub(super) const FAILURE: Word = 13 << 16;
/// GSS_S_BAD_QOP.
pub(super) const BAD_QOP: Word = 14 << 16;
/// GSS_S_UNAUTHORIZED.
pub(super) const UNAUTHORIZED: Word = 15 << 16;
/// GSS_S_BAD_NAME.
pub(super) const BAD_NAME: Word = 2 << 16;
/// GSS_S_NO_CRED.
pub(super) const NO_CREDENTIALS: Word = 7 << 16;
/// GSS_S_UNAVAILABLE.
pub(super) const UNAVAILABLE: Word = 16 << 16;
/// GSS_S_CONTINUE_NEEDED.
pub(super) const CONTINUE_NEEDED: Word = 1;
/// GSS_S_DUPLICATE_TOKEN.
pub(super) const DUPLICATE_TOKEN: Word = 1 << 1;
/// GSS_S_OLD_TOKEN.
pub(super) const OLD_TOKEN: Word = 1 << 2;
/// GSS_S_UNSEQ_TOKEN.
pub(super) const UNSEQ_TOKEN: Word = 1 << 3;
/// GSS_S_GAP_TOKEN.
pub(super) const GAP_TOKEN: Word = 1 << 4;

/// GSS_C_REPLAY_FLAG.
pub(super) const REPLAY_FLAG: Word = 4;
/// GSS_C_SEQUENCE_FLAG.
pub(super) const SEQUENCE_FLAG: Word = 8;
/// GSS_C_CONF_FLAG.
pub(super) const CONFIDENTIALITY_FLAG: Word = 16;
/// GSS_C_INTEG_FLAG.
pub(super) const INTEGRITY_FLAG: Word = 32;
/// GSS_C_ANON_FLAG.
pub(super) const ANONYMOUS_FLAG: Word = 64;

/// Declares the table of functions and how it is filled from a library that has been opened.
macro_rules! functions {
    ($($(#[$note:meta])* $field:ident: $symbol:literal = fn($($arg:ty),* $(,)?);)*) => {
        /// The functions that every GSSAPI library has.
        pub(super) struct Functions {
            // SAFETY: a type alone; each call says why it may be made.
            $($(#[$note])* pub(super) $field: unsafe extern "C" fn($($arg),*) -> Word,)*
        }

        impl Functions {
            /// Every symbol of `handle`, or the name of the first that it lacks.
            ///
            /// # Safety
            /// `handle` is of dlopen, never closed, and of a library with the interface of RFC 2744.
            pub(super) unsafe fn find(handle: *mut c_void) -> Result<Functions, &'static CStr> {
                Ok(Functions {
                    $($field: {
                        // SAFETY: the caller's promise; the name ends with a zero byte.
                        let address = unsafe { symbol(handle, $symbol) }.ok_or($symbol)?;
                        // SAFETY: the function of this name has this type (RFC 2744 section 5).
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) -> Word>(address) }
                    },)*
                })
            }
        }
    };
}

functions! {
    accept: c"gss_accept_sec_context" = fn(*mut Word, *mut RawContext, RawCredentials, *const RawBuffer, *const c_void,
        *mut RawName, *mut *const Oid, *mut RawBuffer, *mut Word, *mut Word, *mut RawCredentials);
    acquire: c"gss_acquire_cred" = fn(*mut Word, RawName, Word, *const OidSet, c_int, *mut RawCredentials,
        *mut *mut OidSet, *mut Word);
    delete_context: c"gss_delete_sec_context" = fn(*mut Word, *mut RawContext, *mut RawBuffer);
    display_name: c"gss_display_name" = fn(*mut Word, RawName, *mut RawBuffer, *mut *const Oid);
    display_status: c"gss_display_status" = fn(*mut Word, Word, c_int, *const Oid, *mut Word, *mut RawBuffer);
    import_name: c"gss_import_name" = fn(*mut Word, *const RawBuffer, *const Oid, *mut RawName);
    inquire_context: c"gss_inquire_context" = fn(*mut Word, RawContext, *mut RawName, *mut RawName, *mut Word,
        *mut *const Oid, *mut Word, *mut c_int, *mut c_int);
    release_buffer: c"gss_release_buffer" = fn(*mut Word, *mut RawBuffer);
    release_credentials: c"gss_release_cred" = fn(*mut Word, *mut RawCredentials);
    release_name: c"gss_release_name" = fn(*mut Word, *mut RawName);
    unwrap: c"gss_unwrap" = fn(*mut Word, RawContext, *const RawBuffer, *mut RawBuffer, *mut c_int, *mut Word);
    wrap: c"gss_wrap" = fn(*mut Word, RawContext, c_int, Word, *const RawBuffer, *mut c_int, *mut RawBuffer);
    wrap_size_limit: c"gss_wrap_size_limit" = fn(*mut Word, RawContext, c_int, Word, Word, *mut Word);
}

/// gss_acquire_cred_from: MIT, and Heimdal since 8.
// SAFETY: a type alone; the call says why it may be made.
pub(super) type AcquireFrom = unsafe extern "C" fn(
    *mut Word,
    RawName,
    Word,
    *const OidSet,
    c_int,
    *const KeyValues,
    *mut RawCredentials,
    *mut *mut OidSet,
    *mut Word,
) -> Word;

/// gsskrb5_register_acceptor_identity: the keytab of the whole process, for libraries without the other.
// SAFETY: a type alone; the call says why it may be made.
pub(super) type RegisterKeytab = unsafe extern "C" fn(*const c_char) -> Word;

/// The address of a symbol.
///
/// # Safety
/// `handle` is of dlopen and open.
pub(super) unsafe fn symbol(handle: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the caller's promise; the name ends with a zero byte.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

impl RawBuffer {
    /// Nothing, for the library to fill in.
    pub(super) const fn empty() -> RawBuffer {
        RawBuffer { length: 0, value: ptr::null_mut() }
    }

    /// Bytes that the library may write to as well: MIT's gss_unwrap turns and clears parts of a token where it lies,
    /// whatever RFC 2744 says of const. It must not outlive them.
    pub(super) fn given(bytes: &mut [u8]) -> RawBuffer {
        RawBuffer { length: bytes.len(), value: bytes.as_mut_ptr().cast() }
    }

    /// Bytes for the library to read: for functions of which it is known that both libraries copy them first. It must
    /// not outlive them.
    pub(super) fn lent(bytes: &[u8]) -> RawBuffer {
        RawBuffer { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
    }
}
