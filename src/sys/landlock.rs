//! Which files a process may open from some moment on (landlock(7)): those below folders that were named before, and no others.
//!
//! It holds for the calling thread and for what begins later. What is open stays open. Nothing is said of ports: the kernel would
//! judge the bind(2) of sockets that leave from an address by it, too.

use std::io;
use std::path::{Path, PathBuf};

use ::landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

/// What may be done with a file, or with those below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// Files are read, folders listed.
    Read,
    /// Files are written and made.
    Append,
    /// Files are read, written, made, renamed and removed, and folders listed.
    Replace,
    /// Sockets are made and removed, and folders listed.
    Listen,
    /// A device is read and written.
    Device,
}

impl FileAccess {
    fn rights(self) -> BitFlags<AccessFs> {
        match self {
            FileAccess::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
            FileAccess::Append => make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg}),
            FileAccess::Replace => {
                make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile})
            }
            FileAccess::Listen => make_bitflags!(AccessFs::{ReadDir | MakeSock | RemoveFile}),
            FileAccess::Device => make_bitflags!(AccessFs::{ReadFile | WriteFile}),
        }
    }

    /// Whether it permits all that the other does.
    pub fn includes(self, other: FileAccess) -> bool {
        self.rights().contains(other.rights())
    }
}

/// A file, or a folder with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGrant {
    /// Where it stands. Links are followed.
    pub path: PathBuf,
    /// What may be done with it.
    pub access: FileAccess,
}

/// How far the kernel goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesConfined {
    /// All that is not granted is refused. The number is that of the kernel's interface.
    Fully(u32),
    /// Less is refused than a newer kernel would, such as truncate(2) before 6.2.
    Partly(u32),
    /// The kernel has no Landlock, or it was not switched on as it was booted.
    Unsupported,
}

/// The version up to which rights are known here: all that there are of files.
const KNOWN: ABI = ABI::V5;

/// Has the calling thread open no other files than these. One that is not there is left out.
///
/// # Errors
/// What the kernel said, but for its having none of this.
pub fn confine(grants: &[FileGrant]) -> io::Result<FilesConfined> {
    let confine = || -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset =
            Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.scope(Scope::Signal)?.create()?;
        for grant in grants {
            let Ok(there) = PathFd::new(&grant.path) else { continue };
            let rights = match grant.path.is_dir() {
                true => grant.access.rights(),
                false => grant.access.rights() & AccessFs::from_file(KNOWN),
            };
            ruleset = ruleset.add_rule(PathBeneath::new(there, rights))?;
        }
        ruleset.restrict_self()
    };
    let status = confine().map_err(io::Error::other)?;
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Ok(FilesConfined::Unsupported);
    };
    let version = effective_abi as u32;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => FilesConfined::Fully(version),
        RulesetStatus::PartiallyEnforced => FilesConfined::Partly(version),
        RulesetStatus::NotEnforced => FilesConfined::Unsupported,
    })
}

/// How far the kernel would go along: a thread tries it on itself.
pub fn probe() -> FilesConfined {
    let tried = std::thread::spawn(|| confine(&[]));
    tried.join().ok().and_then(Result::ok).unwrap_or(FilesConfined::Unsupported)
}

/// The path without links, as far as it is there.
pub fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if !folder.as_os_str().is_empty() => resolved(folder).join(name),
        _ => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// In a thread of its own, which alone is confined.
    fn confined(grants: &[FileGrant], test: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            scope
                .spawn(|| match confine(grants).unwrap() {
                    FilesConfined::Unsupported => println!("this kernel has no Landlock"),
                    _ => test(),
                })
                .join()
                .unwrap();
        });
    }

    #[test]
    fn each_access_permits_what_it_says_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["read", "append", "replace", "listen", "none"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), "text").unwrap();
        }
        let grant = |name: &str, access| FileGrant { path: at(name), access };
        let grants = [
            grant("read", FileAccess::Read),
            grant("append", FileAccess::Append),
            grant("replace", FileAccess::Replace),
            grant("listen", FileAccess::Listen),
            grant("is-not-there", FileAccess::Replace),
        ];
        confined(&grants, || {
            let can = |act: &dyn Fn(&Path) -> io::Result<()>| -> Vec<&str> {
                let names = ["read", "append", "replace", "listen", "none"];
                names.into_iter().filter(|name| act(&at(name)).is_ok()).collect()
            };
            assert_eq!(can(&|folder| fs::read(folder.join("file")).map(drop)), ["read", "replace"]);
            assert_eq!(can(&|folder| fs::read_dir(folder).map(drop)), ["read", "replace", "listen"]);
            let open = |path: PathBuf| OpenOptions::new().append(true).create(true).open(path).map(drop);
            assert_eq!(can(&|folder| open(folder.join("file"))), ["append", "replace"]);
            assert_eq!(can(&|folder| open(folder.join("new"))), ["append", "replace"]);
            let replace = |folder: &Path| fs::rename(folder.join("new"), folder.join("file"));
            assert_eq!(can(&|folder| replace(folder)), ["replace"]);
            assert_eq!(can(&|folder| UnixListener::bind(folder.join("socket")).map(drop)), ["listen"]);
            assert_eq!(can(&|folder| fs::remove_file(folder.join("socket"))), ["listen"]);
            assert!(File::open("/etc/passwd").is_err());
        });
        assert!(File::open("/etc/passwd").is_ok(), "other threads are as they were");
    }

    /// A rule for a file holds for that file, and not for another that takes its place.
    #[test]
    fn a_file_alone_is_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        fs::write(&path, "text").unwrap();
        fs::write(&other, "text").unwrap();
        confined(&[FileGrant { path: path.clone(), access: FileAccess::Read }], || {
            assert!(fs::read(&path).is_ok());
            assert!(fs::read(&other).is_err());
        });
        let grants = [FileGrant { path: path.clone(), access: FileAccess::Replace }];
        confined(&grants, || {
            assert!(fs::write(&path, "other").is_ok());
            assert!(fs::remove_file(&path).is_err());
        });
    }

    #[test]
    fn links_are_resolved_as_far_as_there_is_anything() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink("a", real.join("b")).unwrap();
        assert_eq!(resolved(&folder.path().join("b/not/there")), real.join("a/not/there"));
        assert_eq!(resolved(&folder.path().join("b")), real.join("a"));
    }
}
