//! Whom limits are about: the users of groups, and those to whom the users file gives limits.

use std::path::Path;

use crate::auth::{Users, UsersError};
use crate::config::{Config, nearest, no_pool, quoted};
use crate::policy::accounts::{LimitedUsers, Per};

/// Which users the limits of a configuration are about: those of groups, where one counts the sessions of a group, and those
/// to whom the users file gives limits.
pub(super) fn limited_users(config: &Config, users: Option<&Users>) -> LimitedUsers {
    let counts_groups = config.limits.iter().any(|limit| limit.per == Per::Group);
    let of_file = users.filter(|_| counts_groups).map(Users::groups).unwrap_or_default();
    let of_config = config.groups.iter().filter(|_| counts_groups);
    let members =
        of_config.chain(&of_file).flat_map(|(group, users)| users.iter().map(move |user| (group, user)));
    let limited = users.into_iter().flat_map(Users::limits);
    LimitedUsers::in_groups(members).with_limits(limited)
}

/// Whether each limit and each pool that the users file names is one that a user may have.
///
/// # Errors
/// The first line that names another.
pub(super) fn check_users(config: &Config, users: &Users, path: &Path) -> Result<(), UsersError> {
    users.check_limits(path, |name| users_limit(config, name))?;
    users.check_pools(path, |name| users_pool(config, name))
}

/// Whether a user may have the limit of this name.
///
/// # Errors
/// Why not, and which may be meant.
pub(super) fn users_limit(config: &Config, name: &str) -> Result<(), String> {
    match config.limits.iter().find(|limit| *limit.name == *name) {
        Some(limit) if limit.per == Per::Rule => {
            Err(format!("[[limit]] {} counts the sessions of a rule: rules alone name it", quoted(name)))
        }
        Some(_) => Ok(()),
        None => {
            let what = format!("there is no [[limit]] {}", quoted(name));
            let known = config.limits.iter().map(|limit| &*limit.name);
            Err(nearest(name, known)
                .map_or(what.clone(), |meant| format!("{what}; did you mean \"{meant}\"?")))
        }
    }
}

/// Whether a user may have the pool of this name.
///
/// # Errors
/// Why not, and which may be meant.
pub(super) fn users_pool(config: &Config, name: &str) -> Result<(), String> {
    match config.egress.iter().any(|pool| *pool.name == *name) {
        true => Ok(()),
        false => Err(no_pool(name, config.egress.iter().map(|pool| &*pool.name))),
    }
}
