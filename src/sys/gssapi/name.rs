//! Names as the library holds them.

use super::ffi::{self, RawBuffer, RawName};
use super::library::{Buffer, Library};
use super::status::{self, GssError};

/// A name that the library holds.
pub(super) struct GssName<'a> {
    library: &'a Library,
    pub(super) raw: RawName,
}

impl<'a> GssName<'a> {
    pub(super) fn none(library: &'a Library) -> GssName<'a> {
        GssName { library, raw: std::ptr::null_mut() }
    }

    /// A service at a host, "rcmd" or "rcmd@host".
    pub(super) fn of_service(library: &'a Library, service: &str) -> Result<GssName<'a>, GssError> {
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
    pub(super) fn display(&self) -> Result<(String, bool), GssError> {
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
