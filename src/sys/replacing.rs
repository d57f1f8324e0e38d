//! Who may put another file where one stands.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};

/// The bit of a folder in which nobody removes what is another's.
const STICKY: u32 = 0o1000;
/// Links that are followed, as path_resolution(7) has it.
const LINKS_MAX: u32 = 40;

/// What of a path this process may write, or make such that it may: the file itself, a folder that it stands below, or one that a link
/// on the way leads through. `None`: whatever this process does, the file stays the one that it is.
///
/// # Errors
/// Something of the path is not there, or cannot be looked at.
pub fn replaceable(path: &Path) -> io::Result<Option<PathBuf>> {
    look(&std::path::absolute(path)?, LINKS_MAX)
}

fn look(path: &Path, links: u32) -> io::Result<Option<PathBuf>> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    for part in parts {
        let found = part.symlink_metadata()?;
        if found.is_symlink() {
            let links = links.checked_sub(1).ok_or(io::Error::from_raw_os_error(libc::ELOOP))?;
            // Whoever may replace the link may write its folder, which was looked at before.
            let target = part.read_link()?;
            let there = part.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
            if let Some(weak) = look(&there, links)? {
                return Ok(Some(weak));
            }
            continue;
        }
        // Of a file that is another's in such a folder nobody else makes another; one that is ours is found next.
        let keeps = found.is_dir() && found.mode() & STICKY != 0;
        let is_ours = found.uid() == geteuid().as_raw();
        if is_ours || !keeps && access(part, AccessFlags::W_OK).is_ok() {
            return Ok(Some(part.to_owned()));
        }
    }
    Ok(None)
}
