//! The file of the token: one line, which is read at the start and at a reload.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::token::AdminToken;
use crate::limits;
use crate::sys::files::open_regular;
use crate::sys::machine;

/// Reads the token.
///
/// # Errors
/// Why there is none, in words; nothing of what the file holds is in them.
pub(super) fn read_token(path: &Path) -> Result<AdminToken, String> {
    let shown = path.display();
    let mut text = Zeroizing::new(String::new());
    let most = limits::ADMIN_TOKEN_BYTES_MAX as u64;
    open_regular(path)
        .and_then(|file| file.take(most + 1).read_to_string(&mut text))
        .map_err(|error| format!("{shown}: the token cannot be read: {error}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let least = limits::ADMIN_TOKEN_CHARS_MIN;
    if text.len() as u64 > most || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{shown}: a token is one line of visible ASCII, of {most} bytes at most"));
    }
    match line.len() < least {
        true => Err(format!(
            "{shown}: the token is shorter than {least} characters: whoever guesses it may do everything"
        )),
        false => Ok(AdminToken::of(line)),
    }
}

/// What is odd about a token's file, a line each.
pub fn token_concerns(path: &Path) -> Vec<String> {
    let shown = path.display();
    let Ok(metadata) = fs::metadata(path) else { return Vec::new() };
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    let mut concerns = Vec::new();
    if mode & 0o007 != 0 {
        concerns.push(format!("{shown}: others may read or write it (mode {mode:04o}): chmod o-rwx"));
    }
    if owner != 0 && owner != machine::effective_user() {
        concerns.push(format!("{shown}: it belongs to user {owner}, who may read and change it: chown it"));
    }
    concerns
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_one_line_that_nobody_guesses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_token(&path).map(|_| ())
        };
        let good = "0123456789abcdef";
        assert_eq!((read(good), read(&format!("{good}\n"))), (Ok(()), Ok(())));
        for (bad, why) in [
            ("", "shorter"),
            ("\n", "shorter"),
            (&good[1..], "shorter"),
            ("0123456789abcdef\n\n", "one line"),
            ("0123456789abcdef 0", "one line"),
            ("0123456789abcdef\r\n", "one line"),
            (&"a".repeat(limits::ADMIN_TOKEN_BYTES_MAX + 1), "one line"),
        ] {
            let what = read(bad).unwrap_err();
            assert!(what.contains(why) && !what.contains("0123"), "{bad:?}: {what}");
        }
        assert!(read_token(directory.path()).unwrap_err().contains("not a regular file"));
        assert!(read_token(&directory.path().join("none")).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_token_that_others_may_read_is_odd() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "0123456789abcdef").unwrap();
        let concerns = |mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            token_concerns(&path).len()
        };
        assert_eq!([0o600, 0o640, 0o644, 0o602].map(concerns), [0, 0, 1, 1]);
    }
}
