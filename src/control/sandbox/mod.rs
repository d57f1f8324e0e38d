//! What the server keeps itself from: rights that it has no use for, given up before its first thread begins.
//!
//! It is shut in two steps. [`enter`] comes first: the process becomes the user that it is to run as, and opens no more files than
//! its configuration names. Then those are read, which root's own may be, and [`Entered::shut`] gives up what that took. Nothing leads
//! back, so that a reload is told what it cannot have ([`Confinement::objections`]).

mod files;
mod grants;
mod key;
mod needs;
mod outline;

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use self::files::{FileUse, NamedFile, named_files};
use self::grants::{GrantedFile, Scene, grants, objection, objection_to_file};
use self::key::KeyPlace;
use self::needs::{capabilities, ever_needed, needs};
use self::outline::{FilesOutline, Outline};
use crate::config::{Config, ListenAddress, ListenerConfig, Problems, Seccomp};
use crate::sys::landlock::{self, FilesConfined};
use crate::sys::privileges::{self, Capability, ProcessUser};
use crate::sys::seccomp::{self, CallsBeside, Unlisted};
use crate::sys::{files as system_files, machine, terminal};

/// What the process is, once it has no more rights than it goes on with but that to read every file.
#[derive(Debug)]
pub(super) struct Entered {
    account: ProcessUser,
    /// What it goes on with; `None` where nothing is given up.
    kept: Option<HashSet<Capability>>,
    given_up: HashSet<Capability>,
    granted: Option<Vec<GrantedFile>>,
    files: FilesOutline,
}

/// What a server has given up.
#[derive(Debug, Default)]
pub(super) struct Confinement {
    /// Whom it runs as; `None` where it never gave anything up.
    account: Option<ProcessUser>,
    given_up: HashSet<Capability>,
    /// What it may open; `None`: whatever its user may.
    granted: Option<Vec<GrantedFile>>,
    /// The calls that it may make beside the usual ones; `None`: all that there are.
    filtered: Option<CallsBeside>,
    /// It in words.
    summary: Option<String>,
}

/// What speaks of capabilities.
const CAPABILITIES: KeyPlace = KeyPlace::of("sandbox", "capabilities");
const USER: KeyPlace = KeyPlace::of("server", "user");
const LANDLOCK: KeyPlace = KeyPlace::of("sandbox", "landlock");
const SECCOMP: KeyPlace = KeyPlace::of("sandbox", "seccomp");

/// Gives up what root alone has, where the server is to go on as another user, and files that the configuration does not name, whose own
/// file is this. The process has one thread.
///
/// # Errors
/// The user of the configuration cannot be had, or what the kernel refused.
pub(super) fn enter(config: &Config, file: Option<&Path>) -> Result<Entered, Problems> {
    let account = account(config).map_err(|error| problem(config, USER, &error))?;
    let had = privileges::capabilities().map_err(|error| problem(config, CAPABILITIES, &error))?;
    let kept = kept(config, &account, &had);
    let changes = !account.is_ours();
    let given = || -> io::Result<()> {
        privileges::give_up_new_privileges()?;
        let Some(kept) = &kept else { return Ok(()) };
        if had.contains(&Capability::CAP_SETPCAP) {
            privileges::bound(kept)?;
        }
        if changes {
            account.become_it(&(kept | &HashSet::from([Capability::CAP_DAC_READ_SEARCH])))?;
        }
        Ok(())
    };
    given().map_err(|error| match changes {
        true => problem(config, USER, &format_args!("the server cannot go on as {account}: {error}")),
        false => problem(config, CAPABILITIES, &error),
    })?;
    let given_up = kept.as_ref().map(|kept| &had - kept).unwrap_or_default();
    let (granted, files) =
        confine_files(config, file, &account).map_err(|error| problem(config, LANDLOCK, &error))?;
    Ok(Entered { account, kept, given_up, granted, files })
}

/// Leaves the process, which starts others of this server later and does nothing else, the rights that one of these may need, whatever
/// its configuration is by then. To be called by root's; of another user a program's own file may have capabilities, which it is
/// to get.
///
/// # Errors
/// What the kernel refused.
pub(super) fn narrow_launcher(config: &Config) -> io::Result<()> {
    if machine::effective_user() != 0 {
        return Ok(());
    }
    privileges::give_up_new_privileges()?;
    if config.sandbox.capabilities {
        let needed = ever_needed();
        privileges::bound(&needed)?;
        privileges::keep(&needed)?;
    }
    Ok(())
}

/// The capabilities that the server goes on with, of those that it had; `None`: with all of them.
fn kept(config: &Config, account: &ProcessUser, had: &HashSet<Capability>) -> Option<HashSet<Capability>> {
    let gives_up = config.sandbox.capabilities || !account.is_ours();
    gives_up.then(|| &capabilities(&needs(config, account)) & had)
}

/// Has the thread open no files but those that it needs, where the kernel can see to that.
fn confine_files(
    config: &Config,
    file: Option<&Path>,
    account: &ProcessUser,
) -> io::Result<(Option<Vec<GrantedFile>>, FilesOutline)> {
    let scene = Scene { config, file, is_root: account.is_root() };
    let outline = FilesOutline::of(&scene);
    if outline != FilesOutline::Wanted {
        return Ok((None, outline));
    }
    let grants = grants(&scene);
    let granted = grants.iter().cloned().map(GrantedFile::of).collect();
    Ok(match landlock::confine(&grants)? {
        FilesConfined::Unsupported => (None, FilesOutline::Unsupported),
        confined => (Some(granted), FilesOutline::Confined(confined)),
    })
}

/// Whom the server goes on as, where the configuration names one that it can become.
fn account(config: &Config) -> io::Result<ProcessUser> {
    let Some(user) = &config.server.user else { return ProcessUser::ours() };
    let account = ProcessUser::named(user)?;
    match account.is_ours() || machine::effective_user() == 0 {
        true => Ok(account),
        false => {
            let what = format!("nobody but root can go on as {account}: start the server as root");
            Err(io::Error::other(what))
        }
    }
}

/// Whether the server can go on as the user that the configuration names.
///
/// # Errors
/// Why not.
pub(super) fn can_enter(config: &Config) -> Result<(), String> {
    account(config).map(drop).map_err(|error| error.to_string())
}

/// What a server with this configuration would give up here, in words.
pub fn outlook(config: &Config) -> String {
    let Ok(account) = account(config) else { return "nothing: there is no such user".to_owned() };
    let had = privileges::capabilities().unwrap_or_default();
    let kept = kept(config, &account, &had).unwrap_or(had);
    let scene = Scene { config, file: config.file(), is_root: account.is_root() };
    let files = match FilesOutline::of(&scene) {
        FilesOutline::Wanted => FilesOutline::Confined(landlock::probe()),
        other => other,
    };
    Outline { config, account: &account, kept: &kept, files: &files }.to_string()
}

/// A file that the server makes or replaces once it runs.
pub(super) struct WrittenFile {
    /// The key that names it, as in messages.
    pub(super) key: String,
    /// The folder that it makes it in.
    pub(super) folder: PathBuf,
    /// Whether that is done by an order at the admin endpoint alone: nothing else misses it.
    pub(super) by_order: bool,
}

/// All of them; devices and FIFOs, which are there already, aside.
pub(super) fn written_files(config: &Config) -> Vec<WrittenFile> {
    let of = |file: NamedFile| {
        let is_there_already = || file.path.metadata().is_ok_and(|found| !found.is_file());
        let folder = match file.used {
            FileUse::Read | FileUse::ReadAlways => return None,
            FileUse::Append if is_there_already() => return None,
            FileUse::Own => file.path.clone(),
            FileUse::Append | FileUse::Replace | FileUse::Listen => file.path.parent()?.to_owned(),
        };
        Some(WrittenFile { key: file.at.to_string(), folder, by_order: file.used == FileUse::Replace })
    };
    named_files(config).into_iter().filter_map(of).collect()
}

/// Why files are not confined that a default would confine, in words.
pub(super) fn files_left_open(config: &Config) -> Option<String> {
    let account = account(config).or_else(|_| ProcessUser::ours()).ok()?;
    match FilesOutline::of(&Scene { config, file: config.file(), is_root: account.is_root() }) {
        FilesOutline::InTheWay(what) => Some(what),
        FilesOutline::Wanted if landlock::probe() == FilesConfined::Unsupported => {
            Some("this kernel has no Landlock".to_owned())
        }
        _ => None,
    }
}

fn problem(config: &Config, at: KeyPlace, what: &dyn Display) -> Problems {
    let mut problems = config.places.problems();
    at.blame(config, &mut problems, what.to_string());
    problems
}

impl Entered {
    /// Gives up all that the configuration does not need, and says what of it will be missed. The process has one thread.
    ///
    /// # Errors
    /// What the kernel refused, and files that are read at any time and cannot be any more.
    pub(super) fn shut(self, config: &Config) -> Result<(Confinement, Problems), Problems> {
        let Entered { account, kept, given_up, granted, files } = self;
        let shut = || -> io::Result<()> {
            kept.iter().try_for_each(privileges::keep)?;
            privileges::set_dumpable(config.sandbox.core_dumps)
        };
        shut().map_err(|error| problem(config, CAPABILITIES, &error))?;
        let warnings = unreadable(config, &account)?;
        let has = privileges::capabilities().unwrap_or_default();
        let summary = Outline { config, account: &account, kept: &has, files: &files }.to_string();
        let filtered = filter_calls(config, &account).map_err(|error| problem(config, SECCOMP, &error))?;
        let account = Some(account);
        Ok((Confinement { account, given_up, granted, filtered, summary: Some(summary) }, warnings))
    }
}

/// Whether a listener has a file, of which the table says the owner and the mode.
fn is_at_path(table: &ListenerConfig) -> bool {
    matches!(table.address, ListenAddress::Unix(_))
}

/// Has the thread make no calls but those that the server has use for.
fn filter_calls(config: &Config, account: &ProcessUser) -> io::Result<Option<CallsBeside>> {
    let unlisted = match config.sandbox.seccomp {
        Seccomp::Off => {
            // Who was started by a service manager has no terminal, and pays for no filter.
            if terminal::is_there() && seccomp::is_supported() {
                seccomp::forbid_typing()?;
            }
            return Ok(None);
        }
        Seccomp::Log => Unlisted::Log,
        Seccomp::Kill => Unlisted::Kill,
    };
    let namespaces = config.egress.iter().any(|pool| pool.netns.is_some());
    // What is not root's no such call changes for anybody else.
    let owners = !account.is_root() || config.listeners.iter().any(is_at_path);
    let beside = CallsBeside { namespaces, owners };
    seccomp::confine(beside, unlisted).map(|()| Some(beside))
}

/// The files of the configuration that the server may read no more. What they held as it started is in effect.
///
/// # Errors
/// Those without which nothing comes of what they are there for.
fn unreadable(config: &Config, account: &ProcessUser) -> Result<Problems, Problems> {
    let (mut errors, mut warnings) = (config.places.problems(), config.places.problems());
    let own = config.file().map(|path| NamedFile { at: USER, path: path.to_owned(), used: FileUse::Read });
    for file in own.into_iter().chain(named_files(config)).filter(|file| file.used.reads()) {
        let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        if !system_files::can_read(&file.path).is_err_and(denied) {
            continue;
        }
        let path = file.path.display();
        if file.used == FileUse::ReadAlways {
            let what = format!("{path} is read at each login, and {account} may not read it");
            file.at.blame(config, &mut errors, what);
        } else {
            let what = format!("{path} is for root alone: no reload can read it, as {account} may not");
            file.at.blame(config, &mut warnings, what);
        }
    }
    if errors.is_empty() { Ok(warnings) } else { Err(errors) }
}

impl Confinement {
    /// What a configuration cannot have any more, each with the key that asks for it.
    pub(super) fn objections(&self, config: &Config) -> Problems {
        let mut problems = config.places.problems();
        let Some(account) = &self.account else { return problems };
        for need in needs(config, account) {
            let lacks = need.purpose.capabilities().iter().find(|one| self.given_up.contains(one));
            if let Some(capability) = lacks.filter(|_| need.purpose.is_vital()) {
                let what = format!(
                    "takes {capability}, which the server gave up as it started: restart it for that, or hand over (SIGUSR2)"
                );
                need.at.blame(config, &mut problems, what);
            }
        }
        self.object_to_calls(config, &mut problems);
        let Some(granted) = &self.granted else { return problems };
        for file in named_files(config) {
            if let Some(what) = objection(granted, &file) {
                file.at.blame(config, &mut problems, what);
            }
        }
        problems
    }

    /// Says which keys need system calls that the server may make no more.
    fn object_to_calls(&self, config: &Config, problems: &mut Problems) {
        let Some(filtered) = self.filtered else { return };
        let mut lacks = |at: KeyPlace, call: &str| {
            let what = format!(
                "takes {call}, which the server gave up as it started (`sandbox.seccomp`): restart it for that, or hand over (SIGUSR2)"
            );
            at.blame(config, problems, what);
        };
        let netns = config.egress.iter().position(|pool| pool.netns.is_some());
        if let Some(nth) = netns.filter(|_| !filtered.namespaces) {
            lacks(KeyPlace::of_row("egress", nth, "netns"), "setns(2)");
        }
        let at_path = config.listeners.iter().position(is_at_path);
        if let Some(nth) = at_path.filter(|_| !filtered.owners) {
            lacks(KeyPlace::of_row("listener", nth, "address"), "chmod(2)");
        }
    }

    /// Why the configuration's own file cannot be read any more, where that is so.
    pub(super) fn objection_to(&self, file: &Path) -> Option<String> {
        objection_to_file(self.granted.as_deref()?, file)
    }

    /// What it comes to, in words; `None` where nothing was given up.
    pub(super) fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }
}
