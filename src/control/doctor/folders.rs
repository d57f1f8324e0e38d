//! Folders in which the server makes or replaces files: whether the user that it goes on as can, and who else can.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Severity};
use crate::config::Config;
use crate::control::sandbox::{self, WrittenFile};
use crate::sys::privileges::ProcessUser;

/// Everybody may write there.
const OTHERS_WRITE: u32 = 0o002;
/// The group may.
const GROUP_WRITES: u32 = 0o020;
/// And nobody may remove or rename what is another's.
const STICKY: u32 = 0o1000;

/// A folder as it was found, and what the server makes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FolderFacts {
    /// The key that names the file, as in messages.
    pub(super) key: String,
    pub(super) folder: PathBuf,
    /// Whether all of that is made by orders at the admin endpoint, and the server does without it.
    pub(super) by_order: bool,
    /// What keeps the server's user from making files there; `None` where nothing does.
    pub(super) hindrance: Option<Hindrance>,
    /// Who may put other files there than the server's user and root, in words.
    pub(super) others: Option<String>,
}

/// What keeps a user from making files in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// It is not there.
    Missing,
    /// This folder on the way lets nobody of his kind through.
    Closed(PathBuf),
    /// It is not his to write.
    Unwritable,
}

/// What is known of the folders of a configuration, and whose server it is; nothing where there is no such user.
pub(super) fn read(config: &Config) -> Option<(ProcessUser, Vec<FolderFacts>)> {
    let account = match &config.server.user {
        Some(user) => ProcessUser::named(user).ok()?,
        None => ProcessUser::ours().ok()?,
    };
    let mut all: Vec<FolderFacts> = Vec::new();
    for WrittenFile { key, folder, by_order } in sandbox::written_files(config) {
        match all.iter_mut().find(|known| known.folder == folder) {
            Some(known) => {
                known.key = format!("{}, {key}", known.key);
                known.by_order &= by_order;
            }
            None => all.push(FolderFacts {
                hindrance: hindrance(&folder, &account),
                others: others(&folder, &account),
                key,
                folder,
                by_order,
            }),
        }
    }
    Some((account, all))
}

/// What is wrong with folders, and what the sandbox leaves open.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = read(config).map(|(account, all)| judged(&account, &all)).unwrap_or_default();
    found.extend(sandbox::files_left_open(config).map(|what| Finding {
        severity: Severity::Hint,
        check: "sandbox",
        subject: "server".to_owned(),
        what: format!("the sandbox leaves all files open that the server's user may open: {what}"),
        mend: vec![
            "give what the configuration names a folder of its own, such as /etc/outflow, or write \
             [sandbox] landlock = true"
                .to_owned(),
        ],
    }));
    found
}

/// What is wrong with folders that were found so.
pub(super) fn judged(account: &ProcessUser, all: &[FolderFacts]) -> Vec<Finding> {
    let finding = |severity, what: String, mend: String| Finding {
        severity,
        check: "folders",
        subject: "server".to_owned(),
        what,
        mend: vec![mend],
    };
    let mut found = Vec::new();
    for FolderFacts { key, folder, by_order, hindrance, others } in all {
        let (folder, user) = (folder.display(), account.user());
        let cannot = format!("user {account} cannot make files in {folder} ({key})");
        let hindered = match hindrance {
            None => None,
            Some(Hindrance::Missing) => {
                Some((format!("{cannot}: it is not there"), format!("install -d -o {user} -m 0750 {folder}")))
            }
            Some(Hindrance::Closed(closed)) => Some((
                format!("{cannot}: {} lets that user not through", closed.display()),
                format!("chmod o+x {}", closed.display()),
            )),
            Some(Hindrance::Unwritable) => Some((
                cannot,
                format!("install -d -o {user} -m 0750 {folder}/outflow    # and name files in that"),
            )),
        };
        let severity = if *by_order { Severity::Warning } else { Severity::Error };
        found.extend(hindered.map(|(what, mend)| finding(severity, what, mend)));
        found.extend(others.as_ref().map(|others| {
            let what =
                format!("{others} may put other files in the place of the server's in {folder} ({key})");
            finding(Severity::Warning, what, format!("chown {user} {folder}; chmod go-w {folder}"))
        }));
    }
    found
}

/// What keeps a user from making files there, as far as modes say: lists of access rights are not looked at.
fn hindrance(folder: &Path, account: &ProcessUser) -> Option<Hindrance> {
    let Ok(found) = folder.metadata() else { return Some(Hindrance::Missing) };
    let way: Vec<&Path> = folder.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    let is_closed = |path: &&&Path| path.metadata().is_ok_and(|found| !may(account, &found, 0o1));
    if let Some(closed) = way.iter().rev().find(is_closed) {
        return Some(Hindrance::Closed(closed.to_path_buf()));
    }
    (!may(account, &found, 0o3)).then_some(Hindrance::Unwritable)
}

/// Whether a file lets a user do all of these: 4 read, 2 write, 1 search.
fn may(account: &ProcessUser, file: &Metadata, what: u32) -> bool {
    let bits = match () {
        () if account.is_root() => return true,
        () if file.uid() == account.user() => file.mode() >> 6,
        () if account.is_in(file.gid()) => file.mode() >> 3,
        () => file.mode(),
    };
    bits & what == what
}

/// Who else may replace files there, in words.
fn others(folder: &Path, account: &ProcessUser) -> Option<String> {
    let found = folder.metadata().ok()?;
    if ![0, account.user()].contains(&found.uid()) {
        return Some(format!("user {}", found.uid()));
    }
    match found.mode() {
        mode if mode & STICKY != 0 => None,
        mode if mode & OTHERS_WRITE != 0 => Some("everybody".to_owned()),
        mode if mode & GROUP_WRITES != 0 && found.gid() != 0 => Some(format!("group {}", found.gid())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A user who owns nothing here, and the one of this process.
    #[test]
    fn folders_are_judged_by_their_modes() {
        let stranger = ProcessUser::named("4001234567:4001234567").unwrap();
        let place = tempfile::tempdir().unwrap();
        let (open, inner) = (place.path().join("open"), place.path().join("open/inner"));
        create_dir(&open).unwrap();
        create_dir(&inner).unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(place.path(), 0o755);
        mode(&open, 0o1777);
        assert_eq!((hindrance(&open, &stranger), others(&open, &ProcessUser::ours().unwrap())), (None, None));
        mode(&open, 0o777);
        assert_eq!(others(&open, &ProcessUser::ours().unwrap()).as_deref(), Some("everybody"));
        mode(&open, 0o755);
        assert_eq!(hindrance(&open, &stranger), Some(Hindrance::Unwritable));
        mode(&inner, 0o777);
        assert_eq!(hindrance(&inner, &stranger), None);
        mode(&open, 0o700);
        assert_eq!(hindrance(&inner, &stranger), Some(Hindrance::Closed(open.clone())));
        assert_eq!(hindrance(&place.path().join("none"), &stranger), Some(Hindrance::Missing));
    }

    #[test]
    fn each_folder_has_what_mends_it() {
        let stranger = ProcessUser::named("4001234567:4001234567").unwrap();
        let facts = |hindrance, others: Option<&str>| FolderFacts {
            key: "[server] takeover".to_owned(),
            folder: "/run/outflow".into(),
            by_order: false,
            hindrance,
            others: others.map(str::to_owned),
        };
        assert_eq!(judged(&stranger, &[facts(None, None)]), []);
        let by_order = FolderFacts { by_order: true, ..facts(Some(Hindrance::Unwritable), None) };
        assert_eq!(judged(&stranger, &[by_order])[0].severity, Severity::Warning);
        let all = [
            facts(Some(Hindrance::Missing), None),
            facts(Some(Hindrance::Closed("/run".into())), Some("everybody")),
            facts(Some(Hindrance::Unwritable), None),
        ];
        let found = judged(&stranger, &all);
        let told: Vec<_> =
            found.iter().map(|one| (one.severity, one.what.as_str(), one.mend[0].as_str())).collect();
        let cannot = "user 4001234567:4001234567 cannot make files in /run/outflow ([server] takeover)";
        assert_eq!(
            told,
            [
                (
                    Severity::Error,
                    &*format!("{cannot}: it is not there"),
                    "install -d -o 4001234567 -m 0750 /run/outflow"
                ),
                (Severity::Error, &*format!("{cannot}: /run lets that user not through"), "chmod o+x /run"),
                (
                    Severity::Warning,
                    "everybody may put other files in the place of the server's in /run/outflow ([server] takeover)",
                    "chown 4001234567 /run/outflow; chmod go-w /run/outflow"
                ),
                (
                    Severity::Error,
                    cannot,
                    "install -d -o 4001234567 -m 0750 /run/outflow/outflow    # and name files in that"
                ),
            ]
        );
    }
}
