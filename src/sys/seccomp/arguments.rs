//! Calls that are allowed with some arguments alone: those in registers, for no filter sees what a pointer leads to.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Calls, each with what its arguments may be: one of these holds, or there is none.
pub(super) type CallRules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that are allowed beside the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallsBeside {
    /// setns(2): sockets are opened in other network namespaces.
    pub namespaces: bool,
    /// chmod(2) and chown(2) of what stands at a path: the files of unix sockets are given to others.
    pub owners: bool,
}

/// What of prctl(2) there is use for: names of threads, the precision of their sleep, mappings with names (the allocator's).
const PRCTL: [libc::c_int; 4] =
    [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_TIMERSLACK, libc::PR_SET_VMA];
/// The kinds of sockets that carry a protocol of their own: none that sees whole packets (SOCK_RAW).
const KINDS: [libc::c_int; 2] = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
/// The bits of a socket's type that are its kind; the others are flags.
const KIND_MASK: u64 = 0xf;
/// Protocols up to this number are those of old, of which streams and datagrams have TCP, UDP and echoes. Behind it are those for which the
/// kernel loads modules that hardly anybody uses (SCTP, DCCP).
const LAST_PROTOCOL: libc::c_int = libc::IPPROTO_UDP;
/// What the kernel tells of: addresses, links and routes, and sockets. Others configure what is behind them.
const NETLINK: [libc::c_int; 2] = [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG];
/// The bits of a mode by which a program has the rights of its file's owner or group.
const SET_ID: u64 = (libc::S_ISUID | libc::S_ISGID) as u64;
/// What of fcntl(2) has the kernel send a signal of the process's choice to whom it names.
const FCNTL_SIGNALS: [libc::c_int; 3] = [libc::F_SETOWN, F_SETOWN_EX, F_SETSIG];
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;
/// The same of ioctl(2) (FIOSETOWN, SIOCSPGRP), and what acts on the terminal that somebody started the server from: characters as if they
/// were typed there (TIOCSTI, TIOCLINUX), and modules for it (TIOCSETD).
const IOCTL: [u64; 5] = [0x8901, 0x8902, TIOCSTI, TIOCLINUX, TIOCSETD];
pub(super) const TIOCSTI: u64 = 0x5412;
pub(super) const TIOCLINUX: u64 = 0x541C;
const TIOCSETD: u64 = 0x5423;

/// Adds them.
pub(super) fn by_arguments(rules: &mut CallRules, beside: CallsBeside) -> io::Result<()> {
    let own = u64::from(std::process::id());
    // A thread of this process, and no process.
    let threads = u64::from(libc::CLONE_THREAD as u32);
    rules.insert(libc::SYS_clone, vec![rule(&[(0, SeccompCmpOp::MaskedEq(threads), threads)])?]);
    // abort(3) and raise(3): a signal to a thread of its own, and to nobody else.
    rules.insert(libc::SYS_tgkill, vec![rule(&[(0, SeccompCmpOp::Eq, own)])?]);
    rules.insert(libc::SYS_kill, vec![rule(&[(0, SeccompCmpOp::Eq, own)])?]);
    // Its own limits: others', too, are anybody's who has CAP_SYS_RESOURCE.
    let limits = [0, own].map(|whose| rule(&[(0, SeccompCmpOp::Eq, whose)]));
    rules.insert(libc::SYS_prlimit64, limits.into_iter().collect::<io::Result<_>>()?);
    let prctl = PRCTL.iter().map(|what| rule(&[(0, SeccompCmpOp::Eq, *what as u64)]));
    rules.insert(libc::SYS_prctl, prctl.collect::<io::Result<_>>()?);
    rules.insert(libc::SYS_fcntl, vec![none_of(1, FCNTL_SIGNALS.map(|what| what as u64))?]);
    rules.insert(libc::SYS_ioctl, vec![none_of(1, IOCTL)?]);
    rules.insert(libc::SYS_socket, sockets()?);
    modes(rules, beside)
}

/// Sockets of these families, kinds and protocols.
fn sockets() -> io::Result<Vec<SeccompRule>> {
    let mut sockets = Vec::new();
    let mut allow =
        |family: libc::c_int, kind: libc::c_int, protocol: Option<(SeccompCmpOp, libc::c_int)>| {
            let protocol = protocol.map(|(how, which)| (2, how, which as u64));
            let family = (0, SeccompCmpOp::Eq, family as u64);
            let kind = (1, SeccompCmpOp::MaskedEq(KIND_MASK), kind as u64);
            rule(&[family, kind].into_iter().chain(protocol).collect::<Vec<_>>()).map(|one| sockets.push(one))
        };
    for (family, kind) in
        [libc::AF_INET, libc::AF_INET6].iter().flat_map(|family| KINDS.map(|kind| (family, kind)))
    {
        allow(*family, kind, Some((SeccompCmpOp::Le, LAST_PROTOCOL)))?;
    }
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        allow(libc::AF_UNIX, kind, None)?;
    }
    for (kind, protocol) in
        [libc::SOCK_RAW, libc::SOCK_DGRAM].iter().flat_map(|kind| NETLINK.map(|one| (kind, one)))
    {
        allow(libc::AF_NETLINK, *kind, Some((SeccompCmpOp::Eq, protocol)))?;
    }
    Ok(sockets)
}

/// Files and folders that are made, and modes that are changed: never such that whoever runs the file has its owner's rights. By a path the
/// mode and the owner of any file may be changed that belongs to the server's user, whatever Landlock says; by a descriptor those of one
/// that could be opened.
fn modes(rules: &mut CallRules, beside: CallsBeside) -> io::Result<()> {
    let plain = |at| (at, SeccompCmpOp::MaskedEq(SET_ID), 0);
    let makes = libc::O_CREAT as u64;
    for (call, flags, mode) in [(libc::SYS_openat, 2, 3)].into_iter().chain(OPEN) {
        let opens = rule(&[(flags, SeccompCmpOp::MaskedEq(makes), 0)])?;
        rules.insert(call, vec![opens, rule(&[plain(mode)])?]);
    }
    for (call, mode) in [(libc::SYS_fchmod, 1), (libc::SYS_mkdirat, 2)].into_iter().chain(MKDIR) {
        rules.insert(call, vec![rule(&[plain(mode)])?]);
    }
    if beside.owners {
        for (call, mode) in [(libc::SYS_fchmodat, 2)].into_iter().chain(CHMOD) {
            rules.insert(call, vec![rule(&[plain(mode)])?]);
        }
        rules.extend([libc::SYS_fchownat].into_iter().chain(CHOWN).map(|call| (call, Vec::new())));
    }
    Ok(())
}

/// The older names of these calls, with the places of their arguments.
#[cfg(target_arch = "x86_64")]
const OPEN: [(c_long, u8, u8); 1] = [(libc::SYS_open, 1, 2)];
#[cfg(target_arch = "x86_64")]
const MKDIR: [(c_long, u8); 1] = [(libc::SYS_mkdir, 1)];
#[cfg(target_arch = "x86_64")]
const CHMOD: [(c_long, u8); 1] = [(libc::SYS_chmod, 1)];
#[cfg(target_arch = "x86_64")]
const CHOWN: [c_long; 2] = [libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const OPEN: [(c_long, u8, u8); 0] = [];
#[cfg(not(target_arch = "x86_64"))]
const MKDIR: [(c_long, u8); 0] = [];
#[cfg(not(target_arch = "x86_64"))]
const CHMOD: [(c_long, u8); 0] = [];
#[cfg(not(target_arch = "x86_64"))]
const CHOWN: [c_long; 0] = [];

/// An argument is none of these.
fn none_of<const N: usize>(place: u8, these: [u64; N]) -> io::Result<SeccompRule> {
    rule(&these.map(|one| (place, SeccompCmpOp::Ne, one)))
}

/// All of these hold: an argument by its place, in its lower 32 bits.
pub(super) fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> io::Result<SeccompRule> {
    let condition = |(place, how, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*place, SeccompCmpArgLen::Dword, how.clone(), *value)
    };
    let conditions = conditions.iter().map(condition).collect::<Result<_, _>>().map_err(io::Error::other)?;
    SeccompRule::new(conditions).map_err(io::Error::other)
}
