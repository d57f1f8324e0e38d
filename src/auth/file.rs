//! The users file as it lies on the disk: which one was read, and what is odd about it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::users::{Users, UsersError};
use crate::sys::files::Stamp;
use crate::sys::machine;

/// What is odd about a users file that could be read, a line each: nobody can log in, or somebody else could add users.
pub fn concerns(path: &Path, users: &Users) -> Vec<String> {
    let shown = path.display();
    let mut concerns = Vec::new();
    if users.is_empty() {
        concerns.push(format!("{shown}: it has no user: nobody can log in by a password"));
    }
    let Ok(metadata) = fs::metadata(path) else { return concerns };
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & 0o022 != 0 {
        concerns
            .push(format!("{shown}: others may write it (mode {mode:04o}), and so add users: chmod go-w"));
    }
    if owner != 0 && owner != machine::effective_user() {
        concerns.push(format!("{shown}: it belongs to user {owner}, who may add users: chown it"));
    }
    concerns
}

/// Reads a users file, and gives its stamp: an older one, if it changes while it is read.
///
/// # Errors
/// As [`Users::load`].
pub fn load_users(path: &Path) -> Result<(Users, Option<Stamp>), UsersError> {
    let stamp = Stamp::of(path).ok();
    Users::load(path).map(|users| (users, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown};

    const ALICE: &str = "alice:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n";

    fn concerns_of(path: &Path) -> Vec<String> {
        concerns(path, &Users::load(path).unwrap())
    }

    #[test]
    fn an_empty_file_and_one_that_others_may_write_are_odd() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        fs::write(&path, "# nobody yet\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let [empty] = &concerns_of(&path)[..] else { panic!("not one concern") };
        assert!(empty.ends_with("users: it has no user: nobody can log in by a password"), "{empty}");
        fs::write(&path, ALICE).unwrap();
        assert_eq!(concerns_of(&path), [""; 0]);
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let [writable] = &concerns_of(&path)[..] else { panic!("not one concern") };
            assert!(writable.contains(&format!("others may write it (mode {mode:04o})")), "{writable}");
        }
        // Another owner's can be made by root alone.
        if machine::effective_user() == 0 {
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(12_345), None).unwrap();
            let [foreign] = &concerns_of(&path)[..] else { panic!("not one concern") };
            assert!(foreign.contains("it belongs to user 12345"), "{foreign}");
        }
    }
}
