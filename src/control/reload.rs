//! A configuration that is to take the place of the one in effect: read, checked and tried whole before anything changes.
//!
//! All that may fail or take long is done here, on the clerk's thread; what is left for the control thread can do neither.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use super::held::{HeldListeners, NextListeners};
use super::learner::learner;
use super::line::Voice;
use super::outlet::{OpenSink, Outlet, Sink};
use super::plural::count_of;
use super::sandbox::Confinement;
use super::snapshot::{Parts, start_gssapi, start_verifier};
use super::trial::{Named, Report, Trial};
use super::usernames::key_read;
use super::users::{UsersFile, UsersWatch};
use crate::admin::{Admin, AdminOpening, OrderError, ReloadReport, all_with_whom};
use crate::auth::Users;
use crate::config::{Access, Config, ConfigSource, KeyChange, OnFull, Problems};
use crate::limits;
use crate::observe::LineSender;
use crate::sys::files;
use crate::worker::Mailbox;

/// What the clerk begins with: where to read, and what runs.
pub(super) struct Preparation {
    pub(super) source: ConfigSource,
    /// The configuration in effect.
    pub(super) old: Arc<Config>,
    pub(super) held: HeldListeners,
    pub(super) parts: Parts,
    /// The users by which logins are judged, where a file of them is or was watched.
    pub(super) users: Option<Arc<Users>>,
    pub(super) workers: Vec<Mailbox>,
    pub(super) admin: Admin,
    /// What the server has given up.
    pub(super) confinement: Arc<Confinement>,
}

/// All that a server needs to go over to another configuration.
pub(super) struct Successor {
    pub(super) report: ReloadReport,
    pub(super) config: Arc<Config>,
    pub(super) parts: Parts,
    pub(super) listeners: NextListeners,
    pub(super) records: RecordsChange,
    /// How many bytes of records may wait.
    pub(super) room: usize,
    pub(super) users: UsersChange,
    pub(super) admin: AdminOpening,
}

/// What becomes of the access records.
pub(super) enum RecordsChange {
    /// They go where they went.
    None,
    /// There are some from now on.
    Start(Outlet),
    /// They go elsewhere.
    Switch(OpenSink),
    /// There are none any more.
    Rest,
}

/// What becomes of the users file.
pub(super) enum UsersChange {
    /// It is watched as it was, or not.
    None,
    /// It is watched for the first time.
    Start(UsersWatch),
    /// Another is watched, or none.
    Follow(Option<UsersFile>),
}

impl Preparation {
    /// Says what a reload would change, and leaves nothing behind.
    ///
    /// # Errors
    /// Whatever keeps the configuration from being served.
    pub(super) fn try_out(self) -> Result<ReloadReport, OrderError> {
        let (report, config) = self.read()?;
        let (named, found) = self.tried(&config)?;
        let admin = self.admin.try_out(&config.admin);
        admin.map_err(|error| refused(&config, &|trial| trial.cannot_administer(&error)))?;
        Ok(self.told(report, &found, (&config, &named)))
    }

    /// Has everything that the configuration needs.
    ///
    /// # Errors
    /// Whatever keeps it from being served.
    pub(super) fn prepare(self) -> Result<Box<Successor>, OrderError> {
        let (report, config) = self.read()?;
        let (named, found) = self.tried(&config)?;
        let report = ReloadReport { applied: true, ..self.told(report, &found, (&config, &named)) };
        let Named {
            users,
            credentials,
            congestion,
            resolver_files,
            budget,
            rules,
            limits,
            certificates,
            username,
        } = named;
        let rules = self.parts.rules.clone().follow(rules);
        let learner = learner(&config, self.parts.learner.as_ref())
            .map_err(|what| refused(&config, &|trial| trial.cannot_learn(&what)))?;
        let mut parts = Parts {
            budget,
            congestion,
            resolver_files,
            rules,
            limits,
            certificates,
            username,
            learner,
            ..self.parts
        };
        if let Some(credentials) = credentials {
            parts.gssapi = Some(start_gssapi(credentials, parts.gssapi.as_ref()).map_err(failed)?);
        }
        let room = records_room(&config, budget.sessions);
        let records = records(&self.old, &config, parts.records.as_ref(), room)
            .map_err(|error| refused(&config, &|trial| trial.cannot_record(&error)))?;
        if let RecordsChange::Start(outlet) = &records {
            parts.records = Some(outlet.lines.clone());
        }
        let admin = (self.admin.prepare(&config.admin, Vec::new()))
            .map_err(|error| refused(&config, &|trial| trial.cannot_administer(&error)))?;
        let listeners = self
            .held
            .open_others(&config, congestion)
            .map_err(|(nth, error)| refused(&config, &|trial| trial.cannot_listen(nth, &error)))?;
        // Last, as it may be felt before the rest is.
        let users = follow(&self.old, users, self.users, &mut parts, self.workers).map_err(failed)?;
        Ok(Box::new(Successor {
            report,
            config: Arc::new(config),
            parts,
            listeners,
            records,
            room,
            users,
            admin,
        }))
    }

    /// What the configuration names, where nothing keeps it from being served.
    fn tried(&self, config: &Config) -> Result<(Named, Report), OrderError> {
        let given_up = self.confinement.objections(config);
        if !given_up.is_empty() {
            return Err(OrderError::Config(given_up.sorted()));
        }
        let mut trial = Trial::after(&self.parts, config);
        let named = trial.named();
        let congestion = named.as_ref().map(|named| named.congestion).unwrap_or_default();
        for (nth, error) in self.held.try_others(config, congestion) {
            trial.cannot_listen(nth, &error);
        }
        if config.log.access != self.old.log.access {
            trial.access();
        }
        if config.policy.learn != self.old.policy.learn {
            trial.learning();
        }
        let found = trial.into_report();
        match named {
            Some(named) if found.errors.is_empty() => Ok((named, found)),
            _ => Err(OrderError::Config(found.errors)),
        }
    }

    /// What the source says now, as it will be in effect.
    fn read(&self) -> Result<(ReloadReport, Config), OrderError> {
        let file = self.source.file.as_deref();
        if let Some((file, what)) = file.and_then(|file| Some((file, self.confinement.objection_to(file)?))) {
            return Err(OrderError::Config(Problems::with_file(file, what)));
        }
        let typed = self.source.load_again(files::open_regular);
        let typed = typed.map_err(|problems| OrderError::Config(all_with_whom(problems)))?;
        let changes = typed.changes_from(&self.old);
        let config = typed.in_place_of(&self.old).map_err(OrderError::Config)?;
        let mut report = ReloadReport::default();
        (report.changes, report.warnings) = bounded(changes);
        if self.source.file.is_none() {
            report
                .warnings
                .push("there is no configuration file: the command line is all there is".to_owned());
        }
        Ok((report, config))
    }

    /// The report with what was found beside the keys.
    fn told(
        &self,
        mut report: ReloadReport,
        found: &Report,
        (config, named): (&Config, &Named),
    ) -> ReloadReport {
        report.warnings.extend(found.warnings.lines());
        report.files.extend_from_slice(named.rules.lists_read());
        if let Some(ways) = named.rules.ways() {
            let old = &self.parts.rules.ways;
            report.files.extend(ways.moved(old));
            report.files.extend(ways.parents.passwords_read(&old.parents));
        }
        report.files.extend(named.certificates.read_anew(&self.parts.certificates));
        let (username, before) = (named.username.as_deref(), self.parts.username.as_deref());
        report.files.extend(key_read(config, before, username));
        if let (Some(old), Some(new)) = (&self.users, &named.users) {
            let (gone, come) = (old.changed_in(&new.users), new.users.changed_in(old));
            let changed = gone.union(&come).collect::<HashSet<_>>().len();
            if changed > 0 {
                report.files.push(format!(
                    "{} changed, of {}",
                    count_of(changed, "user"),
                    new.path.display()
                ));
            }
        }
        report
    }
}

/// As many changes as are told, those that wait for a new process first, and that there are more of them.
fn bounded(mut changes: Vec<KeyChange>) -> (Vec<KeyChange>, Vec<String>) {
    let more = changes.len().saturating_sub(limits::RELOAD_CHANGES_TOLD);
    if more > 0 {
        changes.sort_by_key(|change| change.taken);
        changes.truncate(limits::RELOAD_CHANGES_TOLD);
    }
    for value in changes.iter_mut().flat_map(|change| [&mut change.from, &mut change.to]).flatten() {
        if let Some((end, _)) = value.char_indices().nth(limits::RELOAD_VALUE_CHARS) {
            value.truncate(end);
            value.push_str("...");
        }
    }
    (
        changes,
        (more > 0).then(|| format!("{} beside these", count_of(more, "changed key"))).into_iter().collect(),
    )
}

/// The problem that `what` adds.
fn refused(config: &Config, what: &dyn Fn(&mut Trial)) -> OrderError {
    OrderError::Config(Trial::refused(config, what))
}

fn failed(error: impl Display) -> OrderError {
    OrderError::Failed(format!("no thread can be had: {error}"))
}

/// How many bytes of access records may wait.
pub(super) fn records_room(config: &Config, sessions: usize) -> usize {
    limits::RECORDS_QUEUE_BYTES_MAX
        + match config.log.on_full {
            OnFull::Drop => 0,
            OnFull::Refuse => sessions * limits::RECORD_ROOM_PER_SESSION,
        }
}

/// Where access records go, if they are wanted.
pub(super) fn sink_of(access: &Access) -> Option<Sink> {
    match access {
        Access::Off => None,
        Access::Stdout => Some(Sink::Stdout),
        Access::Path(path) => Some(Sink::Path(path.clone())),
    }
}

fn records(old: &Config, new: &Config, queue: Option<&LineSender>, room: usize) -> io::Result<RecordsChange> {
    if old.log.access == new.log.access {
        return Ok(RecordsChange::None);
    }
    let Some(sink) = sink_of(&new.log.access) else { return Ok(RecordsChange::Rest) };
    let sink = OpenSink::open(sink)?;
    match queue {
        Some(_) => Ok(RecordsChange::Switch(sink)),
        None => Outlet::over("records", sink, Voice::Records, room).map(RecordsChange::Start),
    }
}

/// Sees to it that the users of the file are those by which logins will be judged. Where nobody was asked for a password
/// so far, the verifier has them before anybody is.
fn follow(
    old: &Config,
    file: Option<UsersFile>,
    watched: Option<Arc<Users>>,
    parts: &mut Parts,
    workers: Vec<Mailbox>,
) -> io::Result<UsersChange> {
    let asked_before = old.asks_users();
    Ok(match (file, watched) {
        (Some(file), Some(before)) => {
            let changed = before.changed_in(&file.users);
            let same = changed.is_empty() && before.len() == file.users.len();
            if asked_before && same && old.auth.users.as_ref() == Some(&file.path) {
                return Ok(UsersChange::None);
            }
            if let Some(verifier) = parts.verifier.as_ref().filter(|_| !asked_before) {
                verifier.replace(Arc::clone(&file.users), Arc::new(changed));
            }
            UsersChange::Follow(Some(file))
        }
        (Some(file), None) => {
            let verifier = start_verifier(Arc::clone(&file.users))?;
            parts.verifier = Some(Arc::clone(&verifier));
            UsersChange::Start(UsersWatch::start(file, verifier, workers)?)
        }
        (None, Some(_)) if asked_before => UsersChange::Follow(None),
        (None, _) => UsersChange::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of a hundred megabytes would tell nobody anything.
    #[test]
    fn a_change_of_thousands_of_rules_is_told_in_part() {
        let change = |nth: usize| KeyChange {
            key: format!("rule[{nth}].to"),
            from: None,
            to: Some("\u{fc}".repeat(limits::RELOAD_VALUE_CHARS + nth)),
            taken: nth != limits::RELOAD_CHANGES_TOLD + 2,
            hidden: false,
        };
        let (told, warnings) = bounded((0..limits::RELOAD_CHANGES_TOLD + 3).map(change).collect());
        assert_eq!(
            (told.len(), warnings),
            (limits::RELOAD_CHANGES_TOLD, vec!["3 changed keys beside these".to_owned()])
        );
        assert_eq!((told[0].taken, &*told[1].key), (false, "rule[0].to"));
        let shown: Vec<usize> =
            told[1..=2].iter().map(|change| change.to.as_ref().unwrap().chars().count()).collect();
        assert_eq!(shown, [limits::RELOAD_VALUE_CHARS, limits::RELOAD_VALUE_CHARS + 3]);
        assert_eq!(bounded(vec![change(0)]).1, [""; 0]);
    }
}
