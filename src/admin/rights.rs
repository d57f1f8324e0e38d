//! Errors of rights, in words: whose rights were used, and what gives more.

use std::io;

use crate::config::Problems;
use crate::sys::privileges::ProcessUser;
use crate::sys::sysctl;

/// What the kernel says where rights lack (EACCES, EPERM).
const OF_RIGHTS: [&str; 2] = ["Permission denied", "Operation not permitted"];

/// What an error says, and as whom it was met where it is one of rights: the process may be another user by now than the one that
/// started it.
pub fn with_whom(what: String) -> String {
    let who = ProcessUser::in_words();
    if !OF_RIGHTS.iter().any(|words| what.contains(words)) || what.contains(&who) {
        return what;
    }
    match what.contains(OF_RIGHTS[0]) {
        true => {
            format!("{what}, as {who}: `namei -l` with the path shows what lets that user in and what not")
        }
        false => format!("{what}, as {who}"),
    }
}

/// Why a port cannot be bound, as bind(2) said it.
pub fn cannot_bind(port: u16, error: &io::Error) -> String {
    let first_free = sysctl::number("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
    if error.kind() != io::ErrorKind::PermissionDenied || port == 0 || u64::from(port) >= first_free {
        return error.to_string();
    }
    format!(
        "{error}, as {}: ports below {first_free} take CAP_NET_BIND_SERVICE. Whoever starts as root keeps it for them under [server] \
         user, too; a unit has AmbientCapabilities=CAP_NET_BIND_SERVICE; net.ipv4.ip_unprivileged_port_start gives them to all",
        ProcessUser::in_words()
    )
}

/// With whose rights were used, for each problem that comes of rights.
pub fn all_with_whom(problems: Problems) -> Problems {
    problems.reworded(with_whom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_rights_were_used_is_said_once() {
        let who = ProcessUser::in_words();
        let told = with_whom("/a: Permission denied (os error 13)".to_owned());
        assert!(
            told.starts_with("/a: Permission denied (os error 13), as ") && told.contains(&who),
            "{told}"
        );
        assert_eq!(with_whom(told.clone()), told);
        let other = "/a: No such file or directory (os error 2)".to_owned();
        assert_eq!(with_whom(other.clone()), other);
    }

    #[test]
    fn a_low_port_names_its_capability() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let first_free = sysctl::number("net/ipv4/ip_unprivileged_port_start").unwrap();
        assert_eq!(cannot_bind(1, &denied).contains("CAP_NET_BIND_SERVICE"), first_free > 1);
        assert_eq!(cannot_bind(65_000, &denied), denied.to_string());
        assert_eq!(cannot_bind(1, &io::ErrorKind::AddrInUse.into()), "address in use");
    }
}
