//! Who the acceptor is: a service whose keys are in a keytab.

use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::ffi::{self, KeyValue, KeyValues, OidSet, RawCredentials, RawName};
use super::library::Library;
use super::name::GssName;
use super::status::{self, GssError};
use crate::sys::files::open_regular;

/// The acceptor's credentials. Keys are looked up in the keytab at every use, so that new ones count at once.
pub struct ServiceCredentials {
    pub(super) library: &'static Library,
    pub(super) raw: RawCredentials,
}

// SAFETY: credentials are not bound to the thread that acquired them, in either library.
unsafe impl Send for ServiceCredentials {}
// SAFETY: nothing of ours writes to them but Drop, and what the mechanism writes it locks.
unsafe impl Sync for ServiceCredentials {}

impl ServiceCredentials {
    /// Credentials of the Kerberos mechanism alone, for `service` with the keys of `keytab`.
    ///
    /// `service` is host-based: "rcmd@host" is that host's. "rcmd" alone is any host's of which the keytab has a key
    /// (MIT), or this machine's (Heimdal).
    ///
    /// # Errors
    /// No library; a keytab that cannot be read; no key for the service in it.
    pub fn acquire(service: &str, keytab: &Path) -> Result<ServiceCredentials, GssError> {
        let library = Library::load().map_err(|why| GssError::ours(ffi::UNAVAILABLE, why))?;
        if keytab.is_dir() {
            return Err(GssError::ours(ffi::NO_CREDENTIALS, "is a folder, not a keytab"));
        }
        // The library's words for these differ by version, and some leave out the reason. It would wait for whoever writes
        // to a FIFO.
        open_regular(keytab).map_err(|error| GssError::ours(ffi::NO_CREDENTIALS, error.to_string()))?;
        let file = CString::new([b"FILE:", keytab.as_os_str().as_bytes()].concat())
            .map_err(|_| GssError::ours(ffi::NO_CREDENTIALS, "the path has a zero byte"))?;
        let name = GssName::of_service(library, service)?;
        let mut credentials = ServiceCredentials { library, raw: ptr::null_mut() };
        credentials.fill(name.raw, &file)?;
        Ok(credentials)
    }

    fn fill(&mut self, name: RawName, keytab: &CString) -> Result<(), GssError> {
        let library = self.library;
        let mechanisms = OidSet { count: 1, elements: &raw const ffi::KERBEROS };
        let (mut minor, nothing) = (0, ptr::null_mut());
        let major = if let Some(acquire_from) = library.acquire_from {
            let store = KeyValue { key: c"keytab".as_ptr(), value: keytab.as_ptr() };
            let store = KeyValues { count: 1, elements: &store };
            // SAFETY: everything that is pointed to outlives the call; null is taken for the two results that
            // nobody reads.
            unsafe {
                acquire_from(
                    &mut minor,
                    name,
                    ffi::INDEFINITE,
                    &mechanisms,
                    ffi::USAGE_ACCEPT,
                    &store,
                    &mut self.raw,
                    nothing,
                    ptr::null_mut(),
                )
            }
        } else {
            let Some(register) = library.register_keytab else {
                return Err(GssError::ours(ffi::UNAVAILABLE, "this GSSAPI library cannot be told a keytab"));
            };
            // SAFETY: the library copies the path. It counts for the whole process, which has one keytab.
            let major = unsafe { register(keytab.as_ptr()) };
            status::check(library, major, 0)?;
            // SAFETY: as for acquire_from.
            unsafe {
                (library.functions.acquire)(
                    &mut minor,
                    name,
                    ffi::INDEFINITE,
                    &mechanisms,
                    ffi::USAGE_ACCEPT,
                    &mut self.raw,
                    nothing,
                    ptr::null_mut(),
                )
            }
        };
        status::check(library, major, minor).map(|_| ())
    }
}

impl Drop for ServiceCredentials {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: the library's, released once, and no context refers to them between calls.
            unsafe { (self.library.functions.release_credentials)(&mut 0, &mut self.raw) };
        }
    }
}

impl fmt::Debug for ServiceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceCredentials").finish_non_exhaustive()
    }
}
