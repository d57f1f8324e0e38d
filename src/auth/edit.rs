//! Changes to a users file: one entry is set or removed, every other line stays as it was, and a
//! reader sees the old file or the new one, never a part.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use zeroize::Zeroizing;

use super::attributes::{AttributeChange, AttributeError, UserAttributes};
use super::users::{UserNameError, check_name, entries, read_file};
use crate::limits::{self, ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, PASSWORD_MAX};
use crate::sys::files::{directory_of, open_regular, replace};

/// Mode of a users file that did not exist before: hashes are for their owner's eyes.
const NEW_FILE_MODE: u32 = 0o600;

/// Why a users file could not be changed.
#[derive(Debug)]
pub enum EditError {
    /// The name cannot stand in a users file.
    Name(UserNameError),
    /// The password is empty, which RFC 1929 section 2 cannot carry.
    PasswordEmpty,
    /// The password is longer than the 255 bytes that RFC 1929 section 2 can carry.
    PasswordTooLong,
    /// The password could not be hashed: argon2id had not the memory, or the system no random salt.
    Hash,
    /// The file is not UTF-8.
    NotUtf8,
    /// The file has no entry of this name.
    Absent(Box<str>),
    /// What stands behind the user's hash is none of the attributes that there are.
    Attributes(AttributeError),
    /// The file could not be read or written.
    File(io::Error),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::Name(error) => error.fmt(f),
            EditError::PasswordEmpty => f.write_str("the password is empty"),
            EditError::PasswordTooLong => f.write_str("the password has more than 255 bytes"),
            EditError::Hash => f.write_str("the password could not be hashed"),
            EditError::NotUtf8 => f.write_str("the users file is not UTF-8"),
            EditError::Absent(name) => write!(f, "no such user in the users file: {name:?}"),
            EditError::Attributes(error) => write!(f, "the user's attributes in the users file: {error}"),
            EditError::File(error) => error.fmt(f),
        }
    }
}

impl Error for EditError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            EditError::Name(error) => Some(error),
            EditError::File(error) => Some(error),
            EditError::Attributes(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for EditError {
    fn from(error: io::Error) -> EditError {
        EditError::File(error)
    }
}

/// Whether a client can send this password: 1 to 255 bytes (RFC 1929 section 2).
///
/// # Errors
///
/// `PasswordEmpty` or `PasswordTooLong`.
pub fn check_password(password: &[u8]) -> Result<(), EditError> {
    match password.len() {
        0 => Err(EditError::PasswordEmpty),
        1..=PASSWORD_MAX => Ok(()),
        _ => Err(EditError::PasswordTooLong),
    }
}

/// Hashes a password with argon2id, a random salt and the parameters of `limits` (OWASP: 19 MiB, two
/// passes, one lane), as a PHC string.
///
/// # Errors
///
/// As [`check_password`], or `Hash`.
pub fn hash_password(password: &[u8]) -> Result<Zeroizing<String>, EditError> {
    check_password(password)?;
    let params =
        Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, None).map_err(|_| EditError::Hash)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password(password).map_err(|_| EditError::Hash)?;
    Ok(Zeroizing::new(hash.to_string()))
}

/// Gives user `name` the hash `hash` in the users file: replaces the entry where it stands, appends
/// one otherwise, creates the file (mode 0600) if there is none. Attributes stay. Returns whether an entry was
/// replaced.
///
/// # Errors
///
/// `Name`, `NotUtf8` or `File`; the file is then as it was.
pub fn set_user(file: &Path, name: &str, hash: &str) -> Result<bool, EditError> {
    change_user(file, name, Some(hash), &AttributeChange::default())
}

/// Gives user `name` another hash in the users file, other attributes, or both in one step: as [`set_user`]. Without a hash
/// there has to be an entry.
///
/// # Errors
///
/// `Name`, `Absent`, `Attributes`, `NotUtf8` or `File`; the file is then as it was.
pub fn change_user(
    file: &Path,
    name: &str,
    hash: Option<&str>,
    change: &AttributeChange,
) -> Result<bool, EditError> {
    check_name(name).map_err(EditError::Name)?;
    let _lock = lock(file)?;
    let (text, replaced) = with_user(&read(file, hash.is_some())?, name, hash, change)?;
    replace(file, text.as_bytes(), NEW_FILE_MODE)?;
    Ok(replaced)
}

/// Removes user `name` from the users file.
///
/// # Errors
///
/// `Name`, `Absent`, `NotUtf8` or `File`; the file is then as it was.
pub fn remove_user(file: &Path, name: &str) -> Result<(), EditError> {
    check_name(name).map_err(EditError::Name)?;
    let _lock = lock(file)?;
    let text = without_user(&read(file, false)?, name).ok_or_else(|| EditError::Absent(name.into()))?;
    replace(file, text.as_bytes(), NEW_FILE_MODE)?;
    Ok(())
}

/// The text with `name`'s entry set, and whether there was one. Of several, the first one stays.
fn with_user(
    text: &str,
    name: &str,
    hash: Option<&str>,
    change: &AttributeChange,
) -> Result<(Zeroizing<String>, bool), EditError> {
    let old = lines_of(text, name);
    let (old_hash, old_attributes) = entries(text)
        .find_map(|entry| entry.secret.filter(|_| entry.name == name))
        .map_or((None, ""), |(hash, attributes)| (Some(hash), attributes.unwrap_or_default()));
    let given = hash.is_some();
    let hash = hash.or(old_hash).ok_or_else(|| EditError::Absent(name.into()))?;
    let attributes = match change.is_empty() {
        // Whoever sets a password is not kept from it by what stands behind the old one.
        true if given => without_ident(old_attributes),
        true => old_attributes.to_owned(),
        false => {
            let before = UserAttributes::parse(old_attributes).map_err(EditError::Attributes)?;
            let after = before.with(change);
            UserAttributes { ident: after.ident && !given, ..after }.to_string()
        }
    };
    let colon = if attributes.is_empty() { "" } else { ":" };
    let entry = [name, ":", hash, colon, &attributes, "\n"];
    let more = entry.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Zeroizing::new(String::with_capacity(text.len() + more + 1));
    for (index, line) in text.lines().enumerate() {
        if old.first() == Some(&index) {
            out.extend(entry);
        } else if !old.contains(&index) {
            out.extend([line, "\n"]);
        }
    }
    if old.is_empty() {
        out.extend(entry);
    }
    Ok((out, !old.is_empty()))
}

/// These without the word that a name is enough: who has a password by now is let in by that alone.
fn without_ident(attributes: &str) -> String {
    match attributes.split_whitespace().any(|word| word == "ident") {
        true => attributes.split_whitespace().filter(|word| *word != "ident").collect::<Vec<_>>().join(" "),
        false => attributes.to_owned(),
    }
}

/// The text without `name`'s entries, or `None` if there are none.
fn without_user(text: &str, name: &str) -> Option<Zeroizing<String>> {
    let old = lines_of(text, name);
    if old.is_empty() {
        return None;
    }
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 1));
    for (_, line) in text.lines().enumerate().filter(|(index, _)| !old.contains(index)) {
        out.extend([line, "\n"]);
    }
    Some(out)
}

/// The lines, from 0, that hold an entry of `name`.
fn lines_of(text: &str, name: &str) -> Vec<usize> {
    entries(text)
        .filter(|entry| entry.name == name && entry.secret.is_some())
        .map(|entry| entry.line - 1)
        .collect()
}

fn read(file: &Path, may_be_absent: bool) -> Result<Zeroizing<String>, EditError> {
    let bytes = match read_file(file) {
        Ok(bytes) => bytes,
        Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
        Err(error) => return Err(error.into()),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| EditError::NotUtf8)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Waits until nobody else edits `file`, though not for ever: whoever may read it can hold the lock. Keeps others from it
/// until dropped (flock).
///
/// An edit replaces the file: whoever waited for the one that is gone holds a lock that nobody else asks for, and asks
/// again. The lock of a file that is not there yet is its directory's, which only those take who find no file.
fn lock(file: &Path) -> io::Result<File> {
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut looks = 0;
    loop {
        let held = match open_regular(file) {
            Err(error) if absent(&error) => File::open(directory_of(file))?,
            opened => opened?,
        };
        while let Err(refused) = held.try_lock() {
            match refused {
                TryLockError::Error(error) => return Err(error),
                TryLockError::WouldBlock if looks < limits::USERS_LOCK_LOOKS => {
                    looks += 1;
                    std::thread::sleep(limits::USERS_LOCK_LOOK);
                }
                TryLockError::WouldBlock => {
                    return Err(io::Error::other("another process edits it, or holds its lock"));
                }
            }
        }
        let place = held.metadata()?;
        match fs::metadata(file) {
            Ok(now) if (now.dev(), now.ino()) == (place.dev(), place.ino()) => return Ok(held),
            Err(error) if absent(&error) && place.is_dir() => return Ok(held),
            Ok(_) => {}
            Err(error) if absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::{Identity, Users};

    const TODAY: jiff::civil::Date = jiff::civil::date(2026, 11, 28);

    const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

    #[test]
    fn sets_one_entry_and_leaves_the_other_lines() {
        let set = |text: &str, name: &str, hash: &str| {
            with_user(text, name, Some(hash), &AttributeChange::default()).unwrap()
        };
        let text = "# alice:old\nalice:one\n\nbob:two\nalice:three";
        let (out, replaced) = set(text, "alice", "new");
        assert_eq!((out.as_str(), replaced), ("# alice:old\nalice:new\n\nbob:two\n", true));
        let (out, replaced) = set(text, "ali", "new");
        assert_eq!(
            (out.as_str(), replaced),
            ("# alice:old\nalice:one\n\nbob:two\nalice:three\nali:new\n", false)
        );
        assert_eq!(set("", "a", "h").0.as_str(), "a:h\n");
        assert_eq!(set("\u{feff}a:1\nb:2\n", "b", "h").0.as_str(), "\u{feff}a:1\nb:h\n");
    }

    /// A new password once would have put a disabled user back in.
    #[test]
    fn attributes_stay_until_they_are_changed() {
        let text = "ann:one:groups=a  disabled\nbob:two\neve:three:gruops=b\n";
        let change = |name: &str, hash: Option<&str>, change: &AttributeChange| {
            with_user(text, name, hash, change)
                .map(|(out, _)| out.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        let nothing = AttributeChange::default();
        let enable = AttributeChange { disabled: Some(false), ..AttributeChange::default() };
        let disable = AttributeChange { disabled: Some(true), ..AttributeChange::default() };
        assert_eq!(change("ann", Some("new"), &nothing).unwrap()[0], "ann:new:groups=a  disabled");
        assert_eq!(change("ann", None, &enable).unwrap()[0], "ann:one:groups=a");
        assert_eq!(change("bob", None, &disable).unwrap()[1], "bob:two:disabled");
        assert_eq!(change("bob", Some("new"), &enable).unwrap()[1], "bob:new");
        assert_eq!(change("dan", Some("new"), &disable).unwrap()[3], "dan:new:disabled");
        assert!(matches!(change("dan", None, &disable), Err(EditError::Absent(_))));
        assert!(matches!(change("eve", None, &disable), Err(EditError::Attributes(_))));
        assert_eq!(change("eve", Some("new"), &nothing).unwrap()[2], "eve:new:gruops=b");
    }

    #[test]
    fn removes_every_entry_of_the_name() {
        let text = "# c\nalice:one\nbob:two\nalice:three\n";
        assert_eq!(without_user(text, "alice").unwrap().as_str(), "# c\nbob:two\n");
        assert!(without_user(text, "# c").is_none());
        assert!(without_user(text, "carol").is_none());
    }

    #[test]
    fn what_it_hashes_is_verified() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users");
        let hash = hash_password(b"s3cret").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(!set_user(&file, "alice", &hash).unwrap());
        let users = Users::load(&file).unwrap();
        assert_eq!(users.verify(b"alice", b"s3cret", TODAY), Some(Identity::User("alice".into())));
        assert_eq!(users.verify(b"alice", b"s3cre", TODAY), None);
    }

    #[test]
    fn refuses_what_cannot_be_sent() {
        assert!(matches!(hash_password(b""), Err(EditError::PasswordEmpty)));
        assert!(matches!(hash_password(&[b'p'; 256]), Err(EditError::PasswordTooLong)));
        assert!(check_password(&[b'p'; 255]).is_ok());
        let file = Path::new("/nonexistent/users");
        for name in ["", "a:b", "a\nb", "a\x1b", "#a", " a", &"n".repeat(256)] {
            assert!(matches!(set_user(file, name, HASH), Err(EditError::Name(_))), "{name:?}");
            assert!(matches!(remove_user(file, name), Err(EditError::Name(_))), "{name:?}");
        }
        assert!(matches!(set_user(file, "alice", HASH), Err(EditError::File(_))));
    }

    #[test]
    fn a_new_file_is_private_and_an_old_one_keeps_its_mode_and_its_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("users"), dir.path().join("link"));
        let mode = || fs::metadata(&file).unwrap().mode() & 0o777;
        set_user(&file, "alice", HASH).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("users", &link).unwrap();
        assert!(set_user(&link, "alice", HASH).unwrap());
        assert_eq!(mode(), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        remove_user(&file, "alice").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
        assert!(matches!(remove_user(&file, "alice"), Err(EditError::Absent(_))));
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "a temporary file stayed: {names:?}");
    }

    /// Twelve that ran side by side once kept five: each wrote what it had read before the others wrote.
    #[test]
    fn edits_side_by_side_all_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users");
        for round in 0..4 {
            let all_at_once = std::sync::Barrier::new(13);
            std::thread::scope(|scope| {
                for n in 0..12 {
                    let (file, all_at_once) = (&file, &all_at_once);
                    scope.spawn(move || {
                        all_at_once.wait();
                        assert!(!set_user(file, &format!("user-{round}-{n}"), HASH).unwrap());
                    });
                }
                all_at_once.wait();
                if round > 0 {
                    remove_user(&file, &format!("user-{}-0", round - 1)).unwrap();
                }
            });
        }
        let users = Users::load(&file).unwrap();
        assert_eq!(users.len(), 4 * 12 - 3);
    }

    #[test]
    fn removing_from_no_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(remove_user(&dir.path().join("absent"), "alice"), Err(EditError::File(_))));
    }

    /// Whoever may read the file can hold its lock, and a FIFO in its place would never open.
    #[test]
    fn an_edit_waits_for_nobody_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users");
        set_user(&file, "ann", "$argon2id$1").unwrap();
        let other = File::open(&file).unwrap();
        other.lock().unwrap();
        let why = set_user(&file, "bob", "$argon2id$2").unwrap_err().to_string();
        assert!(why.contains("another process"), "{why}");
        drop(other);
        set_user(&file, "bob", "$argon2id$2").unwrap();
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let why = set_user(&file, "eve", "$argon2id$3").unwrap_err().to_string();
        assert!(why.contains("not a regular file"), "{why}");
    }
}
