//! What can be done with a file, without doing it; whether it is the one that was read; and another in its place.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use zeroize::Zeroizing;

/// Which file it is, and in which state: where two are equal the contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    size: u64,
    /// When contents and inode changed, in seconds and nanoseconds: who sets the first one back leaves the second.
    changed: [(i64, i64); 2],
}

impl Stamp {
    /// The stamp of the file that is there now.
    ///
    /// # Errors
    /// What stat(2) says.
    pub fn of(path: &Path) -> io::Result<Stamp> {
        fs::metadata(path).map(|metadata| Stamp::from(&metadata))
    }
}

impl Stamp {
    /// Whether it is of the same file, whatever that held.
    pub fn is_file_of(&self, other: &Stamp) -> bool {
        self.file == other.file
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())],
        }
    }
}

/// Opens a file for reading that is one, and waits for nobody: opening a FIFO would wait for who writes to it.
///
/// # Errors
/// What open(2) says, and that it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// The bytes of a file that is one, wiped when dropped: `most_bytes` of them at most, a number of whole MiB.
///
/// # Errors
/// As [`open_regular`], what read(2) says, and that there are more.
pub fn read_secret(path: &Path, most_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open_regular(path)?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(file.metadata()?.len().min(most_bytes)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(most_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        let what = format!("larger than {} MiB", most_bytes >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Opens a file for writing that is one, and makes it where there is none; it waits for nobody.
///
/// # Errors
/// What open(2) says, and that it is no regular file.
pub fn open_or_make(path: &Path, new_mode: u32) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.create(true).truncate(false).write(true).mode(new_mode).custom_flags(libc::O_NONBLOCK);
    let file = how.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// Whether the file at `path` can be opened for appending, or made where there is none. Neither opens nor makes it.
///
/// # Errors
/// What open(2) would refuse it with.
pub fn can_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Errno::EISDIR.into()),
        Ok(found) if found.file_type().is_socket() => Err(Errno::ENXIO.into()),
        Ok(_) => permits(path, AccessFlags::W_OK),
        Err(_) if path.as_os_str().as_bytes().ends_with(b"/") => Err(Errno::EISDIR.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => can_make(path),
        Err(error) => Err(error),
    }
}

fn can_make(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if let Ok(target) = fs::read_link(path) {
        // A link to nothing: the file is made where it points to.
        return can_append(&folder.join(target));
    }
    can_write_in(folder)
}

/// Whether files can be made in this folder.
///
/// # Errors
/// Why not.
pub fn can_write_in(folder: &Path) -> io::Result<()> {
    permits(folder, AccessFlags::W_OK | AccessFlags::X_OK)
}

/// Whether a file may be opened for reading, as far as its mode and those of its folders say.
///
/// # Errors
/// Why not: EACCES, above all, or that there is none.
pub fn can_read(path: &Path) -> io::Result<()> {
    permits(path, AccessFlags::R_OK)
}

fn permits(path: &Path, how: AccessFlags) -> io::Result<()> {
    faccessat(AT_FDCWD, path, how, AtFlags::AT_EACCESS).map_err(io::Error::from)
}

/// The folder that a file stands in.
pub fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Puts `contents` in the place of `file` in one step that survives a crash, with the old file's mode
/// and owner, or with the new mode where there is none. A symbolic link stays one: the file it names is replaced.
///
/// # Errors
/// What the system says; the file is then as it was.
pub fn replace(file: &Path, contents: &[u8], new_mode: u32) -> io::Result<()> {
    let (target, old) = match fs::canonicalize(file) {
        Ok(target) => {
            let metadata = fs::metadata(&target)?;
            (target, Some(metadata))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (file.to_owned(), None),
        Err(error) => return Err(error),
    };
    let directory = directory_of(&target);
    let temporary = Temporary::create(directory, new_mode)?;
    let mut new = &temporary.file;
    if let Some(old) = old {
        let own = new.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
        new.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
    }
    new.write_all(contents)?;
    new.sync_all()?;
    temporary.rename(&target)?;
    File::open(directory)?.sync_all()
}

/// A file beside the one to replace, removed again unless it was renamed.
struct Temporary {
    file: File,
    path: Option<PathBuf>,
}

impl Temporary {
    fn create(directory: &Path, mode: u32) -> io::Result<Temporary> {
        let path = directory.join(format!(".outflow-{:016x}", rand::random::<u64>()));
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        Ok(Temporary { file, path: Some(path) })
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            fs::rename(path, target)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// The answer is that of open(2), and nothing is there afterwards that was not there before.
    #[test]
    fn the_answer_is_that_of_open_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "kept").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("nowhere/file", at("broken")).unwrap();
        symlink("made", at("link")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let names = ["file", "new", "folder", "folder/", "new/", "none/new", "file/new", "broken", "link"];
        for name in names.into_iter().chain(["loop", "socket"]) {
            let before = fs::read_dir(directory.path()).unwrap().count();
            let said = can_append(&at(name)).map_err(|error| error.raw_os_error());
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), before, "{name}");
            let opened = OpenOptions::new().create(true).append(true).open(at(name));
            assert_eq!(said, opened.map(drop).map_err(|error| error.raw_os_error()), "{name}");
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"kept");
        assert!(at("made").exists() && at("new").exists(), "open makes them, and only open");
    }

    #[test]
    fn every_change_gives_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("file"), dir.path().join("new"));
        fs::write(&path, "one two\n").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path).unwrap(), first);
        fs::write(&path, "two\n").unwrap();
        let second = Stamp::of(&path).unwrap();
        assert_ne!(first, second);
        fs::write(&new, "two\n").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), second);
        fs::remove_file(&path).unwrap();
        assert!(Stamp::of(&path).is_err());
    }
}
