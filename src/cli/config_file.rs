//! Which configuration file is read where the command line names none.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Names the file in place of [`USUAL`]; empty: there is none.
const VARIABLE: &str = "OUTFLOW_CONFIG";

/// The file that is read where it exists and nothing names another.
const USUAL: &str = "/etc/outflow/outflow.toml";

/// The file that is read; `None`: the flags are all there is.
pub(super) fn unnamed() -> Option<PathBuf> {
    chosen(std::env::var_os(VARIABLE), Path::new(USUAL))
}

fn chosen(variable: Option<OsString>, usual: &Path) -> Option<PathBuf> {
    match variable {
        Some(named) => (!named.is_empty()).then(|| named.into()),
        // One that is there and cannot be looked at is not left out in silence: whoever reads it says what is wrong.
        None => {
            let there = usual.symlink_metadata();
            let absent = there.is_err_and(|error| {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            });
            (!absent).then(|| usual.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_file_is_read_where_it_is_and_the_variable_wins() {
        let folder = tempfile::tempdir().unwrap();
        let usual = folder.path().join("outflow.toml");
        assert_eq!(chosen(None, &usual), None);
        assert_eq!(chosen(None, &usual.join("x")), None);
        // A link that leads nowhere is a mistake to be told of.
        std::os::unix::fs::symlink("nowhere", &usual).unwrap();
        assert_eq!(chosen(None, &usual).as_ref(), Some(&usual));
        assert_eq!(chosen(Some("".into()), &usual), None);
        assert_eq!(chosen(Some("a.toml".into()), &usual), Some(PathBuf::from("a.toml")));
    }
}
