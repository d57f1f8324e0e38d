//! The files of parents' passwords: read at the start and at a reload, and shown nowhere.

use std::path::Path;

use super::rules::concerns::RuleRemark;
use crate::admin::token_concerns;
use crate::config::ParentConfig;
use crate::limits;
use crate::policy::parents::{HopSecret, ParentHop};
use crate::sys::files::read_secret;

/// The parents with the passwords that stand in files.
///
/// # Errors
/// The first parent of which a password cannot be had.
pub(super) fn with_passwords(parents: &[ParentConfig]) -> Result<Vec<ParentConfig>, RuleRemark> {
    let mut parents = parents.to_vec();
    for (nth, parent) in parents.iter_mut().enumerate() {
        for hop in parent.servers.iter_mut().flat_map(|server| &mut server.hops) {
            if let Some(path) = &hop.password_file {
                let read = read_password(path).map_err(|what| (("parent", nth, "servers"), what))?;
                hop.password = Some(read);
            }
        }
    }
    Ok(parents)
}

/// One line, without its end: what has more is another file than was meant.
fn read_password(path: &Path) -> Result<HopSecret, String> {
    let shown = path.display();
    let bytes = read_secret(path, limits::PARENT_PASSWORD_FILE_MAX)
        .map_err(|error| format!("{shown}: the password cannot be read: {error}"))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let what = match line.len() {
        0 => "holds no password",
        len if len > usize::from(u8::MAX) => "a password is longer than 255 bytes",
        _ if line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) => "a password is one line",
        _ => return Ok(HopSecret::new(line.to_vec())),
    };
    Err(format!("{shown}: {what}"))
}

/// What is odd about these files: others may read them.
pub(super) fn password_concerns(parents: &[ParentConfig]) -> Vec<RuleRemark> {
    let mut concerns: Vec<RuleRemark> = Vec::new();
    for (nth, parent) in parents.iter().enumerate() {
        for path in hops(parent).filter_map(|hop| hop.password_file.as_deref()) {
            let of_file = token_concerns(path).into_iter().map(|what| (("parent", nth, "servers"), what));
            concerns.extend(of_file);
        }
    }
    concerns.dedup();
    concerns
}

/// The files that have another password than before, in words. Both are as [`with_passwords`] gives them.
pub(super) fn passwords_read(old: &[ParentConfig], new: &[ParentConfig]) -> Vec<String> {
    let before = |path: &Path| {
        let known = old.iter().flat_map(hops).find(|hop| hop.password_file.as_deref() == Some(path));
        known.and_then(|hop| hop.password.as_ref())
    };
    let mut read: Vec<String> = Vec::new();
    for parent in new {
        for hop in hops(parent) {
            let Some(path) = &hop.password_file else { continue };
            let is_other = before(path).is_some_and(|before| Some(before) != hop.password.as_ref());
            let what = format!("parent {}: another password now, of {}", parent.name, path.display());
            if is_other && !read.contains(&what) {
                read.push(what);
            }
        }
    }
    read
}

fn hops(parent: &ParentConfig) -> impl Iterator<Item = &ParentHop> {
    parent.servers.iter().flat_map(|server| &server.hops)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Config, Flags};

    fn parents(file: &Path) -> Vec<ParentConfig> {
        let server =
            format!("{{ url = \"http://p:1\", user = \"ann\", password_file = \"{}\" }}", file.display());
        let text = format!("[[parent]]\nname = \"up\"\nservers = {server}\n");
        Config::parse(&text, Path::new("o.toml"), &Flags::default()).unwrap().parents
    }

    #[test]
    fn a_password_is_the_line_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let read = with_passwords(&parents(&path)).map_err(|(place, what)| {
                assert_eq!(place, ("parent", 0, "servers"));
                what
            })?;
            Ok::<_, String>(read[0].servers[0].hops[0].login(None).unwrap().password.unwrap().to_vec())
        };
        for (bytes, password) in
            [(&b"hunter2"[..], &b"hunter2"[..]), (b"a b\xff\n", b"a b\xff"), (&[7; 255], &[7; 255])]
        {
            assert_eq!(read(bytes).unwrap(), password);
        }
        for (bytes, why) in [
            (&b""[..], "holds no password"),
            (b"\n", "holds no password"),
            (&[7; 256], "longer than 255 bytes"),
            (b"hunter2\n\n", "one line"),
            (b"hunter2\r\n", "one line"),
            (&[7; (1 << 20) + 1], "larger than 1 MiB"),
        ] {
            let what = read(bytes).unwrap_err();
            assert!(what.contains(why) && !what.contains("hunter2"), "{what}");
        }
        let (_, what) = with_passwords(&parents(directory.path())).unwrap_err();
        assert!(what.contains("not a regular file"), "{what}");
    }

    #[test]
    fn a_file_with_another_password_is_told_of_and_one_that_others_may_read_is_odd() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "one").unwrap();
        let one = with_passwords(&parents(&path)).unwrap();
        fs::write(&path, "two").unwrap();
        let two = with_passwords(&parents(&path)).unwrap();
        assert_eq!(passwords_read(&one, &one), [""; 0]);
        let told = passwords_read(&one, &two);
        assert_eq!(told, [format!("parent up: another password now, of {}", path.display())]);
        let concerns = |mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            password_concerns(&two).len()
        };
        assert_eq!([0o600, 0o640, 0o644].map(concerns), [0, 0, 1]);
    }
}
