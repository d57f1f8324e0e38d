//! What a process may do because of who it is: its user, its groups and its capabilities (credentials(7), capabilities(7)).
//!
//! Capabilities are a thread's own, and those of one that runs cannot be taken from another. All here is for a process with one thread:
//! what begins later has what that one has by then.

use std::collections::HashSet;
use std::ffi::CString;
use std::fmt;
use std::io;

use caps::CapSet;
pub use caps::Capability;
use caps::errors::CapsError;
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist, getgroups, setgroups, setresgid, setresuid};

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessUser {
    user: Uid,
    group: Gid,
    /// Those that it is in beside that one.
    groups: Vec<Gid>,
    /// As it was asked for.
    called: String,
}

impl ProcessUser {
    /// The account of this name or number, with the groups that it is in; behind a colon may stand another first group. It is
    /// looked up as the system looks up names: libraries may be loaded for that, and daemons asked.
    ///
    /// # Errors
    /// There is no such user or group, or nobody can say; or a number that has no account, and no group beside it.
    pub fn named(called: &str) -> io::Result<ProcessUser> {
        let (user, group) = match called.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (called, None),
        };
        let found = match user.parse::<u32>() {
            Ok(number) => User::from_uid(Uid::from_raw(number))?,
            Err(_) => Some(User::from_name(user)?.ok_or_else(|| none("user", user))?),
        };
        let group = match group.map(|group| (group, group.parse::<u32>())) {
            Some((_, Ok(number))) => Some(Gid::from_raw(number)),
            Some((name, Err(_))) => Some(Group::from_name(name)?.ok_or_else(|| none("group", name))?.gid),
            None => None,
        };
        let account = |user, group, groups| ProcessUser { user, group, groups, called: called.to_owned() };
        match (found, group, user.parse::<u32>()) {
            (Some(found), group, _) => {
                let group = group.unwrap_or(found.gid);
                let name = CString::new(found.name).map_err(io::Error::other)?;
                Ok(account(found.uid, group, getgrouplist(&name, group)?))
            }
            (None, Some(group), Ok(number)) => Ok(account(Uid::from_raw(number), group, vec![group])),
            _ => {
                let what =
                    format!("user {user} has no account, so that it needs a group, as in \"{user}:{user}\"");
                Err(io::Error::other(what))
            }
        }
    }

    /// The process's own: whom it acts as, in all of its groups.
    ///
    /// # Errors
    /// What getgroups(2) said.
    pub fn ours() -> io::Result<ProcessUser> {
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let called = match User::from_uid(user) {
            Ok(Some(found)) => found.name,
            // Nobody knows its name, which changes nothing.
            _ => user.to_string(),
        };
        Ok(ProcessUser { user, group, groups: getgroups()?, called })
    }

    /// Whom the process acts as, for a message: `user outflow (uid 998)`. Its name is only looked up if `/etc/passwd` has it: whatever
    /// else may be asked for names is not to be asked by a process that serves.
    pub fn in_words() -> String {
        let user = nix::unistd::geteuid();
        let listed = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        match name_in(&listed, user.as_raw()) {
            Some(name) => format!("user {name} (uid {user})"),
            None => format!("user {user}"),
        }
    }

    /// Whether the process is that user already.
    pub fn is_ours(&self) -> bool {
        self.user == nix::unistd::geteuid() && self.user == nix::unistd::getuid()
    }

    /// Whether it is root, whose files are everybody's.
    pub fn is_root(&self) -> bool {
        self.user.is_root()
    }

    /// The user's number.
    pub fn user(&self) -> u32 {
        self.user.as_raw()
    }

    /// Whether it is in the group of this number.
    pub fn is_in(&self, group: u32) -> bool {
        let group = Gid::from_raw(group);
        self.group == group || self.groups.contains(&group)
    }

    /// Makes it the process's, for good: no user and no group of before is left. Of the capabilities those of `keeping` are
    /// left that there are, and in effect.
    ///
    /// # Errors
    /// EPERM where the process is not root's, and what the kernel says otherwise. The process is then neither the one nor the
    /// other, and has to end.
    pub fn become_it(&self, keeping: &HashSet<Capability>) -> io::Result<()> {
        prctl::set_keepcaps(true)?;
        setgroups(&self.groups)?;
        setresgid(self.group, self.group, self.group)?;
        setresuid(self.user, self.user, self.user)?;
        keep(keeping)?;
        prctl::set_keepcaps(false)?;
        Ok(())
    }
}

impl fmt::Display for ProcessUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.called)
    }
}

/// The name that a file in the form of passwd(5) has for a user.
fn name_in(listed: &str, user: u32) -> Option<&str> {
    let mut accounts = listed.lines().map(|line| line.split(':').collect::<Vec<_>>());
    accounts.find_map(|fields| (fields.get(2)?.parse() == Ok(user)).then_some(fields[0]))
}

fn none(what: &str, name: &str) -> io::Error {
    io::Error::other(format!("there is no {what} {name:?}"))
}

/// The capabilities that the calling thread has, or may have in effect.
///
/// # Errors
/// What capget(2) said.
pub fn capabilities() -> io::Result<HashSet<Capability>> {
    caps::read(None, CapSet::Permitted).map_err(in_words)
}

/// Leaves the calling thread these of its capabilities, in effect, and no others; a program that it runs gets none.
///
/// # Errors
/// What capset(2) said.
pub fn keep(only: &HashSet<Capability>) -> io::Result<()> {
    let kept = &capabilities()? & only;
    // Those in effect are always among those permitted.
    caps::set(None, CapSet::Effective, &kept).map_err(in_words)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(in_words)?;
    caps::clear(None, CapSet::Inheritable).map_err(in_words)
}

/// Takes all capabilities but these from whatever the process may still become (the bounding set).
///
/// # Errors
/// What prctl(2) said: EPERM without CAP_SETPCAP.
pub fn bound(only: &HashSet<Capability>) -> io::Result<()> {
    let others = caps::read(None, CapSet::Bounding).map_err(in_words)?;
    others.difference(only).try_for_each(|other| caps::drop(None, CapSet::Bounding, *other)).map_err(in_words)
}

fn in_words(error: CapsError) -> io::Error {
    io::Error::other(error.to_string())
}

/// No program that the process runs has more rights than it has (no_new_privs), for good.
///
/// # Errors
/// What prctl(2) said.
pub fn give_up_new_privileges() -> io::Result<()> {
    Ok(prctl::set_no_new_privs()?)
}

/// Whether the process leaves core dumps, and others of its user may look into its memory (PR_SET_DUMPABLE).
///
/// # Errors
/// What prctl(2) said.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    Ok(prctl::set_dumpable(dumpable)?)
}

/// Whether the kernel is of this version or a later one; an odd name of one is taken for an early one.
pub fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let Ok(name) = nix::sys::utsname::uname() else { return false };
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    version.is_some_and(|version: (u32, u32)| version >= (major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_by_name_and_by_number() {
        let root = ProcessUser::named("root").unwrap();
        assert_eq!(root, ProcessUser { called: "root".to_owned(), ..ProcessUser::named("0").unwrap() });
        assert!(root.is_root() && root.is_in(0));
        let numbered = ProcessUser::named("4001234567:4001234568").unwrap();
        assert!(numbered.is_in(4_001_234_568) && !numbered.is_in(0));
        assert_eq!(numbered.groups.len(), 1, "none of the process's own");
        let refused = |called: &str| ProcessUser::named(called).unwrap_err().to_string();
        assert_eq!(refused("nobody-of-this-name"), "there is no user \"nobody-of-this-name\"");
        assert_eq!(refused("root:nogroup-of-this-name"), "there is no group \"nogroup-of-this-name\"");
        assert!(refused("4001234567").contains("needs a group"));
    }

    #[test]
    fn a_users_name_is_found_among_others() {
        let listed = "root:x:0:0:root:/root:/bin/sh\n+::::::\noutflow:x:998:998::/:/bin/false\n";
        assert_eq!(name_in(listed, 998), Some("outflow"));
        assert_eq!(name_in(listed, 0), Some("root"));
        assert_eq!(name_in(listed, 99), None);
    }

    /// Capabilities are the thread's own: other tests keep theirs.
    #[test]
    fn what_is_not_kept_is_gone_for_good() {
        std::thread::spawn(|| {
            let before = capabilities().unwrap();
            let one = HashSet::from([Capability::CAP_NET_BIND_SERVICE]);
            keep(&one).unwrap();
            assert_eq!(capabilities().unwrap(), &before & &one);
            keep(&before).unwrap();
            assert_eq!(capabilities().unwrap(), &before & &one, "none comes back");
        })
        .join()
        .unwrap();
    }
}
