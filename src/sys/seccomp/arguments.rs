//! Calls that are allowed with some arguments alone: those in registers, for no filter sees what a pointer leads to.

use std::io;

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::CallRules;

/// What of prctl(2) there is use for: names of threads, the precision of their sleep, mappings with names (the allocator's).
const PRCTL: [libc::c_int; 4] =
    [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_TIMERSLACK, libc::PR_SET_VMA];
/// The kinds of sockets that carry a protocol of their own: none that sees whole packets (SOCK_RAW).
const KINDS: [libc::c_int; 2] = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
/// The bits of a socket's type that are its kind; the others are flags.
const KIND_MASK: u64 = 0xf;

/// Adds them.
pub(super) fn by_arguments(rules: &mut CallRules) -> io::Result<()> {
    // A thread of this process, and no process.
    let threads = u64::from(libc::CLONE_THREAD as u32);
    rules.insert(libc::SYS_clone, vec![rule(&[(0, SeccompCmpOp::MaskedEq(threads), threads)])?]);
    // abort(3) and raise(3): a signal to a thread of its own, and to nobody else.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![rule(&[(0, SeccompCmpOp::Eq, own)])?]);
    rules.insert(libc::SYS_kill, vec![rule(&[(0, SeccompCmpOp::Eq, own)])?]);
    let prctl = PRCTL.iter().map(|what| rule(&[(0, SeccompCmpOp::Eq, *what as u64)]));
    rules.insert(libc::SYS_prctl, prctl.collect::<io::Result<_>>()?);
    let mut sockets = Vec::new();
    for (family, kinds) in [
        (libc::AF_INET, &KINDS[..]),
        (libc::AF_INET6, &KINDS),
        (libc::AF_UNIX, &[libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET]),
        (libc::AF_NETLINK, &[libc::SOCK_RAW, libc::SOCK_DGRAM]),
    ] {
        for kind in kinds {
            sockets.push(rule(&[
                (0, SeccompCmpOp::Eq, family as u64),
                (1, SeccompCmpOp::MaskedEq(KIND_MASK), *kind as u64),
            ])?);
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    Ok(())
}

/// All of these hold: an argument by its place, in its lower 32 bits.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> io::Result<SeccompRule> {
    let condition = |(place, how, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*place, SeccompCmpArgLen::Dword, how.clone(), *value)
    };
    let conditions = conditions.iter().map(condition).collect::<Result<_, _>>().map_err(io::Error::other)?;
    SeccompRule::new(conditions).map_err(io::Error::other)
}
