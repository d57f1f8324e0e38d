//! A descriptor that is kept so that there is one where no other can be had.

use std::os::fd::{FromRawFd, OwnedFd};

use super::{Errno, errno_of};

/// A descriptor that is of use only by being let go of: that makes room for another one, of the process and of the system.
#[derive(Debug)]
pub struct SpareDescriptor(#[expect(dead_code, reason = "only held")] OwnedFd);

impl SpareDescriptor {
    /// Takes one.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM: eventfd(2).
    pub fn take() -> Result<SpareDescriptor, Errno> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(errno_of(&std::io::Error::last_os_error()));
        }
        // SAFETY: eventfd returned this descriptor just now and nothing else owns it.
        Ok(SpareDescriptor(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}
