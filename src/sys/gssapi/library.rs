//! The functions of the library, and what it allocates.

use std::ffi::CStr;
use std::fmt;
use std::sync::OnceLock;

use super::ffi::{self, Functions, RawBuffer, RegisterKeytab};

/// The names tried, in order, each with whose it is.
const NAMES: [(&CStr, &str); 2] = [(c"libgssapi_krb5.so.2", "MIT"), (c"libgssapi.so.3", "Heimdal")];

/// Names of the function that sets the keytab of the process; each library has had both at some time.
const REGISTER: [&CStr; 2] = [c"gsskrb5_register_acceptor_identity", c"krb5_gss_register_acceptor_identity"];

/// The functions of the library that was found.
pub struct Library {
    /// Whose library it is.
    vendor: &'static str,
    pub(super) functions: Functions,
    pub(super) acquire_from: Option<ffi::AcquireFrom>,
    pub(super) register_keytab: Option<RegisterKeytab>,
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

    pub(super) fn first_of(names: &[(&CStr, &'static str)]) -> Result<Library, String> {
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
pub(super) struct Buffer<'a> {
    library: &'a Library,
    raw: RawBuffer,
}

impl<'a> Buffer<'a> {
    pub(super) fn new(library: &'a Library) -> Buffer<'a> {
        Buffer { library, raw: RawBuffer::empty() }
    }

    /// Where one call of the library writes what it allocated.
    pub(super) fn as_mut_ptr(&mut self) -> *mut RawBuffer {
        &raw mut self.raw
    }

    pub(super) fn bytes(&self) -> &[u8] {
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
