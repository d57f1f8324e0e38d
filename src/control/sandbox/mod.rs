//! What the server keeps itself from: rights that it has no use for, given up before its first thread begins.
//!
//! It is shut in two steps. [`enter`] comes first: the process becomes the user that it is to run as. Then the files are read that the
//! configuration names, which root's own may be, and [`Entered::shut`] gives up what that took. Nothing leads back, so that a
//! reload is told what it cannot have ([`Confinement::objections`]).

mod files;
mod key;
mod needs;

use std::collections::HashSet;
use std::fmt::Display;
use std::io;

use self::files::{FileUse, named_files};
use self::key::KeyPlace;
use self::needs::{capabilities, needs};
use crate::config::{Config, Problems};
use crate::sys::privileges::{self, Capability, ProcessUser};
use crate::sys::{files as system_files, machine};

/// What the process is, once it has no more rights than it goes on with but that to read every file.
#[derive(Debug)]
pub(super) struct Entered {
    account: ProcessUser,
    /// What it goes on with; `None` where nothing is given up.
    kept: Option<HashSet<Capability>>,
    given_up: HashSet<Capability>,
}

/// What a server has given up.
#[derive(Debug, Default)]
pub(super) struct Confinement {
    /// Whom it runs as; `None` where it never gave anything up.
    account: Option<ProcessUser>,
    given_up: HashSet<Capability>,
    core_dumps: bool,
}

/// What speaks of capabilities.
const CAPABILITIES: KeyPlace = KeyPlace::of("sandbox", "capabilities");

/// Gives up what root alone has, where the server is to go on as another user. The process has one thread.
///
/// # Errors
/// The user of the configuration cannot be had.
pub(super) fn enter(config: &Config) -> Result<Entered, Problems> {
    let at_user = KeyPlace::of("server", "user");
    let account = account(config).map_err(|error| problem(config, at_user, &error))?;
    let changes = config.server.user.is_some() && !account.is_ours();
    let had = privileges::capabilities().map_err(|error| problem(config, CAPABILITIES, &error))?;
    let given = || -> io::Result<Option<HashSet<Capability>>> {
        privileges::give_up_new_privileges()?;
        if !changes && !config.sandbox.capabilities {
            return Ok(None);
        }
        let kept = &capabilities(&needs(config, &account)) & &had;
        if had.contains(&Capability::CAP_SETPCAP) {
            privileges::bound(&kept)?;
        }
        if changes {
            let opening = HashSet::from([Capability::CAP_DAC_READ_SEARCH]);
            account.become_it(&(&kept | &opening))?;
        }
        Ok(Some(kept))
    };
    let kept = given().map_err(|error| match changes {
        true => problem(config, at_user, &format_args!("the server cannot go on as {account}: {error}")),
        false => problem(config, CAPABILITIES, &error),
    })?;
    let given_up = kept.as_ref().map(|kept| &had - kept).unwrap_or_default();
    Ok(Entered { account, kept, given_up })
}

/// Whom the server goes on as, where the configuration names one that it can become.
fn account(config: &Config) -> io::Result<ProcessUser> {
    let Some(user) = &config.server.user else { return ProcessUser::ours() };
    let account = ProcessUser::named(user)?;
    match account.is_ours() || machine::effective_user() == 0 {
        true => Ok(account),
        false => {
            Err(io::Error::other(format!("nobody but root can go on as {account}: start the server as root")))
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
        let Entered { account, kept, given_up } = self;
        let shut = || -> io::Result<()> {
            kept.iter().try_for_each(privileges::keep)?;
            privileges::set_dumpable(config.sandbox.core_dumps)
        };
        shut().map_err(|error| problem(config, CAPABILITIES, &error))?;
        let warnings = unreadable(config, &account)?;
        let core_dumps = config.sandbox.core_dumps;
        Ok((Confinement { account: Some(account), given_up, core_dumps }, warnings))
    }
}

/// The files of the configuration that the server may read no more. What they held as it started is in effect.
///
/// # Errors
/// Those without which nothing comes of what they are there for.
fn unreadable(config: &Config, account: &ProcessUser) -> Result<Problems, Problems> {
    let (mut errors, mut warnings) = (config.places.problems(), config.places.problems());
    for file in named_files(config).into_iter().filter(|file| file.used.reads()) {
        let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        if !system_files::can_read(&file.path).is_err_and(denied) {
            continue;
        }
        let path = file.path.display();
        match file.used {
            FileUse::ReadAlways => {
                let what = format!("{path} is read at each login, and {account} may not read it");
                file.at.blame(config, &mut errors, what);
            }
            _ => {
                let what = format!("{path} is for root alone: no reload can read it, as {account} may not");
                file.at.blame(config, &mut warnings, what);
            }
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
                    "takes {capability}, which the server gave up as it started: restart it for that"
                );
                need.at.blame(config, &mut problems, what);
            }
        }
        problems
    }

    /// What it comes to, in words; `None` where nothing was given up.
    pub(super) fn summary(&self) -> Option<String> {
        let account = self.account.as_ref()?;
        let has = privileges::capabilities().unwrap_or_default();
        let mut names: Vec<String> = has.iter().map(ToString::to_string).collect();
        names.sort();
        let capabilities = match names.is_empty() {
            true => "no capabilities".to_owned(),
            false => names.join(", "),
        };
        let dumps = if self.core_dumps { "core dumps" } else { "no core dumps" };
        Some(format!("user {account}; {capabilities}; no new privileges; {dumps}"))
    }
}
