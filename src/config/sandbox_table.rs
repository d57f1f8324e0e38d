//! What `[sandbox]` says, and whose rights `[server] user` has the server go on with.

use std::sync::Arc;

use super::choice::Choice;
use super::entry::tables;
use super::form::{choice, switch};
use super::problem::quoted;
use crate::limits;

tables! {
    /// What the server keeps itself from, before its first thread begins: see docs/sandbox.md.
    pub struct SandboxConfig {
        /// Capabilities that nothing in this file needs are given up.
        // A thread's capabilities are its own: those of a thread that runs cannot be taken from another.
        capabilities: bool = true, switch(), Start;
        /// No files are opened but those that this file names and the system's, where the kernel has Landlock (Linux 5.13). By default only where each stands in a folder of the server's own.
        // It too is a thread's own.
        landlock: bool = true, switch(), Start;
        /// System calls that the server has no use for end it, are logged by the kernel, or are let through; 42 ns a call, see tuning.md.
        // It too is a thread's own.
        seccomp: Seccomp = Seccomp::Off, choice(), Start;
        /// Core dumps, and debuggers of the server's own user: what its memory holds of passwords and keys gets out with both.
        core_dumps: bool = false, switch(), Start;
    }
}

/// What becomes of system calls that the server has no use for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// They are made as all others are.
    #[default]
    Off,
    /// They are made, and the kernel logs them.
    Log,
    /// The process ends.
    Kill,
}

impl Choice for Seccomp {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("log", Self::Log), ("kill", Self::Kill)];
}

/// A user, or a user and a group, each by its name or its number.
pub(super) fn run_as(typed: &str) -> Result<Arc<str>, String> {
    let fits = |name: &str| {
        !name.is_empty()
            && !name.contains([':', '/'])
            && !name.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    let right = match typed.split_once(':') {
        Some((user, group)) => fits(user) && fits(group),
        None => fits(typed),
    };
    match right && typed.len() <= limits::OWNER_MAX {
        true => Ok(typed.into()),
        false => Err(format!("{} is no user such as \"USER\" or \"USER:GROUP\"", quoted(typed))),
    }
}

#[cfg(test)]
mod tests {
    use super::run_as;

    #[test]
    fn a_user_is_named_with_or_without_a_group() {
        for typed in ["outflow", "outflow:proxy", "990", "990:991", "svc-proxy$"] {
            assert_eq!(run_as(typed).as_deref(), Ok(typed));
        }
        for typed in ["", ":", ":proxy", "outflow:", "a:b:c", "out flow", "../root", "a\nb", &"a".repeat(600)]
        {
            assert!(run_as(typed).is_err(), "{typed:?}");
        }
    }
}
