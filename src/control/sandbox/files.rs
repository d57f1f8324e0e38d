//! The files that a configuration names, and what is done with them.

use std::path::{Path, PathBuf};

use super::key::KeyPlace;
use crate::config::{Access, AuthMethod, Config, ListenAddress};

/// What is done with a file while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileUse {
    /// Read, at the start and at reloads: another may stand there by then.
    Read,
    /// Read at any time: by a library, at each login.
    ReadAlways,
    /// Appended to, and made anew once it was moved away.
    Append,
    /// Read, and replaced as a whole by another beside it.
    Replace,
    /// Listened on: the file of a unix socket.
    Listen,
    /// A folder whose files are the server's.
    Own,
}

impl FileUse {
    /// Whether it has to be readable.
    pub(super) fn reads(self) -> bool {
        matches!(self, FileUse::Read | FileUse::ReadAlways | FileUse::Replace)
    }
}

/// A file, and the key that names it.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) at: KeyPlace,
    pub(super) path: PathBuf,
    pub(super) used: FileUse,
}

/// Whether a path leads to what belongs to another process: below /proc, or by a link.
pub(super) fn is_of_process(path: &Path) -> bool {
    let is_below = |path: &Path| {
        path.starts_with("/proc") && !path.starts_with("/proc/self") && !path.starts_with("/proc/thread-self")
    };
    is_below(path) || path.read_link().is_ok_and(|target| is_below(&path.with_file_name(target)))
}

/// All files that a configuration names, the socket of the service manager and its own aside.
pub(super) fn named_files(config: &Config) -> Vec<NamedFile> {
    let mut files = Vec::new();
    let mut name = |at, path: &Path, used| files.push(NamedFile { at, path: path.to_owned(), used });
    if let Some(path) = config.auth.users.as_deref().filter(|_| config.asks_users()) {
        // The admin endpoint writes it.
        let used = if config.admin.listen.is_empty() { FileUse::Read } else { FileUse::Replace };
        name(KeyPlace::of("auth", "users"), path, used);
    }
    if config.asks(AuthMethod::Gssapi) {
        name(KeyPlace::of("auth.gssapi", "keytab"), &config.auth.gssapi.keytab, FileUse::ReadAlways);
    }
    for (nth, list) in config.lists.iter().enumerate() {
        if let Some(path) = &list.file {
            name(KeyPlace::of_row("list", nth, "file"), path, FileUse::Read);
        }
    }
    for (nth, table) in config.listeners.iter().enumerate() {
        if let ListenAddress::Unix(path) = &table.address {
            name(KeyPlace::of_row("listener", nth, "address"), path, FileUse::Listen);
        }
        let tls = table.tls.iter().flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]);
        tls.flatten().for_each(|path| name(KeyPlace::of_row("listener", nth, "tls"), path, FileUse::Read));
    }
    for (nth, pool) in config.egress.iter().enumerate() {
        if let Some(path) = &pool.netns {
            name(KeyPlace::of_row("egress", nth, "netns"), path, FileUse::Read);
        }
    }
    for (nth, parent) in config.parents.iter().enumerate() {
        let hops = parent.servers.iter().flat_map(|server| &server.hops);
        for path in hops.filter_map(|hop| hop.password_file.as_deref()) {
            name(KeyPlace::of_row("parent", nth, "servers"), path, FileUse::Read);
        }
    }
    if let Some(path) = &config.username.sign {
        name(KeyPlace::of("username", "sign"), path, FileUse::Read);
    }
    if let Some(path) = &config.policy.learn {
        name(KeyPlace::of("policy", "learn"), path, FileUse::Replace);
    }
    if let Access::Path(path) = &config.log.access {
        name(KeyPlace::of("log", "access"), path, FileUse::Append);
    }
    if let Some(path) = &config.server.state {
        name(KeyPlace::of("server", "state"), path, FileUse::Own);
    }
    if let Some(path) = &config.server.takeover {
        name(KeyPlace::of("server", "takeover"), path, FileUse::Listen);
    }
    for (nth, address) in config.admin.listen.iter().enumerate() {
        if let ListenAddress::Unix(path) = address {
            name(KeyPlace::of_entry("admin", "listen", nth), path, FileUse::Listen);
        }
    }
    if let Some(path) = &config.admin.token_file {
        name(KeyPlace::of("admin", "token_file"), path, FileUse::Read);
    }
    files
}
