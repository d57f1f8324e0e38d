//! Which system calls a process may make from some moment on (seccomp(2)).
//!
//! It holds for the calling thread and for what begins later. What is allowed whatever its arguments are the kernel knows from a map of
//! bits; for the others it runs the program, so that none of the calls that sessions make often is among them.

mod arguments;

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpOp, SeccompFilter};

pub use self::arguments::CallsBeside;
use self::arguments::{CallRules, TIOCLINUX, TIOCSTI, by_arguments, rule};

/// What becomes of a call that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// The process ends, by SIGSYS.
    Kill,
    /// It is made, and the kernel writes of it (type 1326 in its log, or in that of auditd).
    Log,
}

/// Memory: the allocator, stacks of threads, libraries that are loaded late, SQLite's shared index.
const MEMORY: [c_long; 7] = [
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munmap,
];

/// Threads: those that begin anew after a panic or at a reload, their locks, their CPUs, their ends, and abort(3).
const THREADS: [c_long; 16] = [
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// Time, where the kernel's page of it (vDSO) does not do, and waiting for it.
const TIME: [c_long; 5] = [
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
];

/// Events: the loops of workers and of the admin endpoint, their wakers, signals, and libraries that wait by themselves.
const EVENTS: [c_long; 6] = [
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
];

/// Files: the configuration and what it names, the log, the records, SQLite's store, /proc. Which of them, Landlock says.
const FILES: [c_long; 33] = [
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchown,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat2,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Sockets. Of which families there may be new ones, the rules below say.
const SOCKETS: [c_long; 17] = [
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
];

/// What the process asks about itself and the machine: who it is, what it may have open, what it has used.
const ITSELF: [c_long; 16] = [
    libc::SYS_capget,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// The same by their older names, of which newer architectures have one, that libc has no name for there (renameat(2) of
/// asm-generic/unistd.h).
#[cfg(target_arch = "x86_64")]
const OLDER: [c_long; 22] = [
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_pselect6,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_select,
    libc::SYS_setrlimit,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_rmdir,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: [c_long; 1] = [38];

/// Whether filters can be had.
pub fn is_supported() -> bool {
    seccompiler::TargetArch::try_from(std::env::consts::ARCH).is_ok()
        && std::path::Path::new("/proc/sys/kernel/seccomp").exists()
}

/// Has the calling thread make no other calls.
///
/// # Errors
/// There is no filter for this architecture, or the kernel refused it.
pub fn confine(beside: CallsBeside, unlisted: Unlisted) -> io::Result<()> {
    let action = match unlisted {
        Unlisted::Kill => SeccompAction::KillProcess,
        Unlisted::Log => SeccompAction::Log,
    };
    // In this order: behind the second there is no other.
    let filters = [
        compile(absent(), SeccompAction::Allow, NO_SUCH_CALL)?,
        compile(listed(beside)?, action, SeccompAction::Allow)?,
    ];
    filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter)).map_err(io::Error::other)
}

/// Has the calling thread type nothing for whoever has the terminal that it was started from: of what it types root's shell may be the one
/// that reads it. All other calls are as they were.
///
/// # Errors
/// As [`confine`].
pub fn forbid_typing() -> io::Result<()> {
    let typing = [TIOCSTI, TIOCLINUX].map(|what| rule(&[(1, SeccompCmpOp::Eq, what)]));
    let typing = BTreeMap::from([(libc::SYS_ioctl, typing.into_iter().collect::<io::Result<_>>()?)]);
    let filter = compile(typing, SeccompAction::Allow, NOT_PERMITTED)?;
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

/// The answer to who may not.
const NOT_PERMITTED: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);
/// The answer of a kernel that does not have a call.
const NO_SUCH_CALL: SeccompAction = SeccompAction::Errno(libc::ENOSYS as u32);

fn compile(rules: CallRules, others: SeccompAction, these: SeccompAction) -> io::Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, others, these, arch).map_err(io::Error::other)?;
    filter.try_into().map_err(|error: seccompiler::BackendError| io::Error::other(error))
}

/// Calls that the C library does without: the flags of clone3(2) are in memory, where no filter sees them, and those of clone(2)
/// in a register.
fn absent() -> CallRules {
    BTreeMap::from([(libc::SYS_clone3, Vec::new())])
}

/// What is allowed.
fn listed(beside: CallsBeside) -> io::Result<CallRules> {
    let always = [&MEMORY[..], &THREADS, &TIME, &EVENTS, &FILES, &SOCKETS, &ITSELF, &OLDER].concat();
    let mut rules: CallRules = always.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    if beside.namespaces {
        rules.insert(libc::SYS_setns, Vec::new());
    }
    by_arguments(&mut rules, beside)?;
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// What tells a process of its part: a call, and its first arguments.
    const PART: &str = "OUTFLOW_TEST_CALL";

    /// A call and its first arguments.
    type Call = (c_long, [c_long; 4]);

    fn with<const N: usize>(call: c_long, arguments: [c_long; N]) -> Call {
        let mut all = [0; 4];
        all[..N].copy_from_slice(&arguments);
        (call, all)
    }

    /// Calls that a server makes with other arguments.
    fn by_their_arguments(parent: c_long) -> Vec<Call> {
        vec![
            with(libc::SYS_kill, [parent, 0]),
            with(libc::SYS_tgkill, [parent, parent]),
            with(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1]),
            with(libc::SYS_prctl, [libc::PR_SET_SECCOMP.into(), 2]),
            with(libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_RAW.into()]),
            with(libc::SYS_socket, [libc::AF_INET6.into(), (libc::SOCK_RAW | libc::SOCK_CLOEXEC).into()]),
            with(libc::SYS_socket, [libc::AF_PACKET.into(), libc::SOCK_DGRAM.into()]),
            with(libc::SYS_socket, [libc::AF_VSOCK.into(), libc::SOCK_STREAM.into()]),
            with(libc::SYS_socket, [libc::AF_ALG.into(), libc::SOCK_SEQPACKET.into()]),
            with(
                libc::SYS_socket,
                [libc::AF_INET.into(), libc::SOCK_STREAM.into(), libc::IPPROTO_SCTP.into()],
            ),
            with(
                libc::SYS_socket,
                [libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), libc::NETLINK_NETFILTER.into()],
            ),
            // A file of which whoever runs it is the server's user.
            with(libc::SYS_chmod, [0, 0o644]),
            with(libc::SYS_fchmodat, [-1, 0, 0o644]),
            with(libc::SYS_fchownat, [-1, 0, 0, 0]),
            with(libc::SYS_fchmod, [-1, 0o4755]),
            with(libc::SYS_fchmod, [-1, 0o2755]),
            with(libc::SYS_mkdirat, [-1, 0, 0o2755]),
            with(libc::SYS_openat, [-1, 0, libc::O_CREAT.into(), 0o4755]),
            // Others' limits, and signals to others.
            with(libc::SYS_prlimit64, [parent, 0]),
            with(libc::SYS_fcntl, [-1, libc::F_SETOWN.into(), parent]),
            with(libc::SYS_fcntl, [-1, 10, libc::SIGKILL.into()]),
            with(libc::SYS_ioctl, [-1, 0x8902]),
            // What root's shell would take for typed.
            with(libc::SYS_ioctl, [-1, TIOCSTI as c_long]),
            with(libc::SYS_ioctl, [-1, TIOCLINUX as c_long]),
            // The kernel looks at the lower half alone.
            with(libc::SYS_ioctl, [-1, TIOCSTI as c_long | 1 << 32]),
        ]
    }

    /// Makes the call behind the filter, and ends the process.
    fn within(part: &str) -> ! {
        let numbers: Vec<c_long> = part.split(' ').map(|number| number.parse().unwrap()).collect();
        confine(CallsBeside::default(), Unlisted::Kill).unwrap();
        std::thread::spawn(|| {}).join().expect("there are threads");
        let [call, one, two, three, four] = numbers[..] else { panic!("{numbers:?}") };
        // SAFETY: of the calls that are tried none that is made writes to memory: their pointers are null, which the kernel refuses,
        // and their descriptors are none.
        unsafe { libc::syscall(call, one, two, three, four, 0, 0) };
        std::process::exit(0);
    }

    /// The signal that a process ends by that makes this call.
    fn signal_of(test: &str, (call, [one, two, three, four]): Call) -> Option<i32> {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("sys::seccomp::tests::{test}"), "--nocapture", "--test-threads=1"])
            .env(PART, format!("{call} {one} {two} {three} {four}"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.signal().is_some() || output.status.success(), "{call}: {said}");
        output.status.signal()
    }

    #[test]
    fn what_takes_a_machine_over_ends_the_process() {
        if let Ok(part) = std::env::var(PART) {
            within(&part);
        }
        let parent = c_long::from(std::os::unix::process::parent_id() as i32);
        let of = |call| with(call, []);
        let calls = [
            of(libc::SYS_execve),
            of(libc::SYS_execveat),
            of(libc::SYS_ptrace),
            of(libc::SYS_process_vm_readv),
            of(libc::SYS_process_vm_writev),
            of(libc::SYS_io_uring_setup),
            of(libc::SYS_bpf),
            of(libc::SYS_perf_event_open),
            of(libc::SYS_userfaultfd),
            of(libc::SYS_keyctl),
            of(libc::SYS_add_key),
            of(libc::SYS_mount),
            of(libc::SYS_umount2),
            of(libc::SYS_pivot_root),
            of(libc::SYS_chroot),
            of(libc::SYS_unshare),
            of(libc::SYS_setns),
            of(libc::SYS_finit_module),
            of(libc::SYS_kexec_load),
            of(libc::SYS_setuid),
            of(libc::SYS_setresuid),
            of(libc::SYS_setgroups),
            of(libc::SYS_capset),
            of(libc::SYS_personality),
            of(libc::SYS_open_by_handle_at),
            of(libc::SYS_pidfd_open),
            of(libc::SYS_pidfd_getfd),
            of(libc::SYS_memfd_create),
            of(libc::SYS_clone),
        ];
        for call in calls.into_iter().chain(by_their_arguments(parent)) {
            let signal = signal_of("what_takes_a_machine_over_ends_the_process", call);
            assert_eq!(signal, Some(libc::SIGSYS), "{call:?}");
        }
    }

    /// What it does all day goes on, and so does what is asked for with arguments that it has use for.
    #[test]
    fn what_a_server_does_is_let_through() {
        if let Ok(part) = std::env::var(PART) {
            within(&part);
        }
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        for call in [
            with(libc::SYS_getppid, []),
            with(libc::SYS_epoll_create1, []),
            // As a kernel would that does not have it.
            with(libc::SYS_clone3, []),
            with(libc::SYS_prctl, [libc::PR_SET_TIMERSLACK.into(), 1000]),
            with(libc::SYS_socket, [libc::AF_INET.into(), (libc::SOCK_STREAM | flags).into()]),
            with(libc::SYS_socket, [libc::AF_INET6.into(), (libc::SOCK_DGRAM | flags).into()]),
            with(libc::SYS_socket, [libc::AF_UNIX.into(), libc::SOCK_SEQPACKET.into()]),
            with(libc::SYS_socket, [libc::AF_NETLINK.into(), (libc::SOCK_RAW | flags).into()]),
            with(libc::SYS_fchmod, [-1, 0o640]),
            with(libc::SYS_openat, [-1, 0, libc::O_CREAT.into(), 0o640]),
            // Whatever stands where the mode would.
            with(libc::SYS_openat, [-1, 0, libc::O_RDONLY.into(), 0o4755]),
            with(libc::SYS_prlimit64, [0, 0]),
            with(libc::SYS_fcntl, [-1, libc::F_SETFL.into(), 0]),
            with(libc::SYS_ioctl, [-1, FIONREAD as c_long]),
        ] {
            assert_eq!(signal_of("what_a_server_does_is_let_through", call), None, "{call:?}");
        }
    }

    /// Sessions make their calls as ever: no other is looked at, nor is another request.
    #[test]
    fn nobody_types_for_who_has_the_terminal() {
        std::thread::spawn(|| {
            // SAFETY: no descriptor, and a pointer that is null: nothing is written.
            let refused =
                |request: u64| unsafe { libc::ioctl(-1, request as _, 0) } < 0 && errno() == libc::EPERM;
            assert!(!refused(TIOCSTI));
            crate::sys::privileges::give_up_new_privileges().unwrap();
            forbid_typing().unwrap();
            assert!(refused(TIOCSTI) && refused(TIOCLINUX) && !refused(FIONREAD));
        })
        .join()
        .unwrap();
    }

    /// Of asm-generic/ioctls.h, which libc has as another type on each C library.
    const FIONREAD: u64 = 0x541B;

    fn errno() -> i32 {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}
