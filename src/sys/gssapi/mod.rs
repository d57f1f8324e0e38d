//! The system's GSSAPI library (RFC 2743, RFC 2744), MIT's or Heimdal's, loaded at run time: the program starts and
//! works where neither is there.
//!
//! Handles are owned values that give themselves back when dropped. Thread rules:
//!
//! - [`Library`] is a table of functions, read by every thread. It is loaded once and never unloaded: both libraries
//!   keep data by thread that they free, with code of their own, when the thread ends.
//! - [`ServiceCredentials`] are `Send` and `Sync`: the mechanism locks them, several threads may accept with one.
//! - A [`Context`] is `Send`, not `Sync`: neither library locks one (its sequence numbers are plain memory), so one
//!   thread at a time, and any thread. Its methods take `&mut self` where the library writes to it.
//! - [`Context::accept`] and [`ServiceCredentials::acquire`] read files and take locks on them (keytab, replay cache): not on
//!   a worker. `wrap`, `unwrap` and `wrap_size_limit` compute and allocate, nothing else.
//! - The words for a status are kept by thread: [`GssError`] takes them at once.
//! - The libraries read the environment (KRB5_CONFIG, KRB5RCACHENAME), which nothing of ours changes once threads run.

mod context;
mod credentials;
mod ffi;
mod status;

#[cfg(test)]
mod tests;

pub use context::{Accepted, Context, Established, Order, Unwrapped};
pub use credentials::ServiceCredentials;
pub use status::GssError;

use ffi::{Functions, RawBuffer, RawName, RegisterKeytab};
use std::ffi::CStr;
use std::fmt;
use std::sync::OnceLock;

/// The names tried, in order, each with whose it is.
const NAMES: [(&CStr, &str); 2] = [(c"libgssapi_krb5.so.2", "MIT"), (c"libgssapi.so.3", "Heimdal")];

/// Names of the function that sets the keytab of the process; each library has had both at some time.
const REGISTER: [&CStr; 2] = [c"gsskrb5_register_acceptor_identity", c"krb5_gss_register_acceptor_identity"];

/// The functions of the library that was found.
pub struct Library {
    /// Whose library it is.
    vendor: &'static str,
    functions: Functions,
    acquire_from: Option<ffi::AcquireFrom>,
    register_keytab: Option<RegisterKeytab>,
}

impl Library {
    /// Opens the system's library, at the first call; later ones give the same.
    ///
    /// # Errors
    /// Each name that was tried, with the loader's reason.
    pub fn load() -> Result<&'static Library, String> {
        static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
        LOADED.get_or_init(|| Library::first_of(&NAMES)).as_ref().map_err(String::clone)
    }

    /// Whose library it is: "MIT" or "Heimdal".
    pub fn vendor(&self) -> &'static str {
        self.vendor
    }

    fn first_of(names: &[(&CStr, &'static str)]) -> Result<Library, String> {
        let mut failures = Vec::new();
        for &(name, vendor) in names {
            match Library::open(name, vendor) {
                Ok(library) => return Ok(library),
                // The loader's words begin with the name of the library.
                Err(why) => failures.push(why),
            }
        }
        Err(format!("no GSSAPI library can be loaded: {}", failures.join("; ")))
    }

    fn open(name: &CStr, vendor: &'static str) -> Result<Library, String> {
        // SAFETY: the name ends with a zero byte. The library's constructors run; both libraries are made for that.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: dlerror is called for the error of this thread's dlopen.
            let why = unsafe { libc::dlerror() };
            if why.is_null() {
                return Err(format!("{name:?}: refused"));
            }
            // SAFETY: a string of this thread, which is valid until its next call of a dl function.
            return Err(unsafe { CStr::from_ptr(why) }.to_string_lossy().into_owned());
        }
        // SAFETY: just opened, never closed, and the two names are of libraries with this interface.
        let functions = unsafe { Functions::find(handle) };
        let functions = functions.map_err(|symbol| format!("{name:?}: has no {symbol:?}"))?;
        // SAFETY: as above.
        let address = unsafe { ffi::symbol(handle, c"gss_acquire_cred_from") };
        // SAFETY: the function of this name has this type, in both libraries.
        let acquire_from = address
            .map(|address| unsafe { std::mem::transmute::<*mut libc::c_void, ffi::AcquireFrom>(address) });
        // SAFETY: as above.
        let address = REGISTER.iter().find_map(|name| unsafe { ffi::symbol(handle, name) });
        // SAFETY: the functions of these names have this type, in both libraries.
        let register_keytab = address
            .map(|address| unsafe { std::mem::transmute::<*mut libc::c_void, RegisterKeytab>(address) });
        Ok(Library { vendor, functions, acquire_from, register_keytab })
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("vendor", &self.vendor).finish_non_exhaustive()
    }
}

/// Bytes that the library allocated.
struct Buffer<'a> {
    library: &'a Library,
    raw: RawBuffer,
}

impl<'a> Buffer<'a> {
    fn new(library: &'a Library) -> Buffer<'a> {
        Buffer { library, raw: RawBuffer::empty() }
    }

    /// Where one call of the library writes what it allocated.
    fn as_mut_ptr(&mut self) -> *mut RawBuffer {
        &raw mut self.raw
    }

    fn bytes(&self) -> &[u8] {
        if self.raw.value.is_null() || self.raw.length == 0 {
            return &[];
        }
        // SAFETY: the library filled both in: so many bytes, which stay until the buffer is released.
        unsafe { std::slice::from_raw_parts(self.raw.value.cast(), self.raw.length) }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: filled in by the library, or empty, which it takes as well; released once.
        unsafe { (self.library.functions.release_buffer)(&mut 0, &raw mut self.raw) };
    }
}

/// A name that the library holds.
struct GssName<'a> {
    library: &'a Library,
    raw: RawName,
}

impl<'a> GssName<'a> {
    fn none(library: &'a Library) -> GssName<'a> {
        GssName { library, raw: std::ptr::null_mut() }
    }

    /// A service at a host, "rcmd" or "rcmd@host".
    fn of_service(library: &'a Library, service: &str) -> Result<GssName<'a>, GssError> {
        let mut name = GssName::none(library);
        let (mut minor, typed) = (0, RawBuffer::lent(service.as_bytes()));
        // SAFETY: the buffer and the OID outlive the call, and the name is a place to write to.
        let major = unsafe {
            (library.functions.import_name)(
                &mut minor,
                &typed,
                &raw const ffi::HOSTBASED_SERVICE,
                &mut name.raw,
            )
        };
        status::check(library, major, minor)?;
        Ok(name)
    }

    /// The name as people read it, and whether it stands for nobody. An error for one that is not UTF-8: whatever
    /// replaced its bytes could be another's.
    fn display(&self) -> Result<(String, bool), GssError> {
        let mut buffer = Buffer::new(self.library);
        let (mut minor, mut kind) = (0, std::ptr::null());
        // SAFETY: the name is the library's or null, which it refuses; the others are places to write to.
        let major = unsafe {
            (self.library.functions.display_name)(&mut minor, self.raw, buffer.as_mut_ptr(), &mut kind)
        };
        status::check(self.library, major, minor)?;
        // SAFETY: null or an OID of the library, which are static (RFC 2744 section 5.10).
        let kind = unsafe { kind.as_ref() };
        let nobody = kind.is_some_and(|kind| {
            // SAFETY: an OID has so many bytes.
            let bytes =
                unsafe { std::slice::from_raw_parts(kind.elements.cast::<u8>(), kind.length as usize) };
            bytes == ffi::ANONYMOUS
        });
        match std::str::from_utf8(buffer.bytes()) {
            Ok(text) => Ok((text.to_owned(), nobody)),
            Err(_) => Err(GssError::ours(ffi::BAD_NAME, "the principal's name is not UTF-8")),
        }
    }
}

impl Drop for GssName<'_> {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: the library's, released once.
            unsafe { (self.library.functions.release_name)(&mut 0, &mut self.raw) };
        }
    }
}
