//! Every process that a comparison starts, and the promise that none outlives it.
//!
//! Each is the head of a process group of its own, so that a terminal's Ctrl-C reaches us alone and the end
//! is orderly; it dies with us if we are killed; and it carries a mark in its environment, by which those of
//! its descendants are found that have left its tree. Orphans fall to us, the subreaper, and are reaped.
//! Whoever leaves, by return, fault, signal or panic, leaves through `Drop`, which ends what is left. SIGKILL
//! has no such way, the kernel forgets a parent-death signal when a process changes its user, and what servers
//! fork never has one: then a guardian (`guard`) kills all that carry a mark. What has overwritten or dropped
//! its environment as well is out of its reach.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::compare::guard::{Guard, MARK, carries};
use crate::procfs::Tree;
use crate::sys::child::die_with_parent;

/// From TERM to KILL.
const GRACE: Duration = Duration::from_secs(2);
/// From TERM until we no longer wait for a process that even KILL does not end.
const GIVE_UP: Duration = Duration::from_secs(8);
/// How often the ends of processes that are not our children are looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A signal asked us to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted(i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.0) {
            Ok(signal) => write!(f, "ended by {signal}"),
            Err(_) => write!(f, "ended by signal {}", self.0),
        }
    }
}

impl std::error::Error for Interrupted {}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessEnd {
    Code(i32),
    Signal(Signal),
    /// Reaped with no word about it.
    Unknown,
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "{signal}"),
            Self::Unknown => f.write_str("no exit code"),
        }
    }
}

/// One started process with all that descends from it.
#[derive(Debug)]
pub(crate) struct Charge {
    pid: i32,
    mark: String,
    end: Cell<Option<ProcessEnd>>,
}

impl Charge {
    /// The head of its tree.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<ProcessEnd> {
        if self.end.get().is_none() {
            self.end.set(match waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => Some(ProcessEnd::Code(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(ProcessEnd::Signal(signal)),
                Err(Errno::ECHILD) => Some(ProcessEnd::Unknown),
                _ => None,
            });
        }
        self.end.get()
    }

    /// The living of its tree, and those who left it.
    fn kin(&self) -> Vec<i32> {
        let mut kin = Vec::new();
        if self.end().is_none() {
            kin = Tree::of(self.pid).pids().unwrap_or_else(|_| vec![self.pid]);
        }
        kin.extend(below_us().into_iter().filter(|&pid| carries(pid, |its| its == self.mark)));
        kin
    }
}

/// Starts processes and ends them.
pub(crate) struct Warden {
    signals: RefCell<Receiver<i32>>,
    asked: Cell<Option<i32>>,
    started: Cell<u64>,
    /// What all marks begin with.
    mark: String,
    guard: Guard,
}

impl Warden {
    /// Signals that ask for the end are caught from here on.
    pub(crate) fn new() -> io::Result<Self> {
        set_child_subreaper(true)?;
        // A number of a process may come again, its number at this time does not.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mark = format!("{}-{now}", std::process::id());
        let guard = Guard::start(&mark)
            .map_err(|error| io::Error::new(error.kind(), format!("no guardian: {error}")))?;
        let mut caught = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD])?;
        let (sender, signals) = channel();
        std::thread::spawn(move || {
            for signal in caught.forever() {
                if sender.send(signal).is_err() {
                    return;
                }
            }
        });
        let signals = RefCell::new(signals);
        Ok(Self { signals, asked: Cell::new(None), started: Cell::new(0), mark, guard })
    }

    /// Starts `command`, from its first instruction on `cpu` alone.
    ///
    /// It must be called on the main thread: the kernel takes the end of the thread for ours.
    pub(crate) fn spawn(&self, command: &mut Command, cpu: Option<usize>) -> io::Result<Charge> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let mark = format!("{}.{number}", self.mark);
        command.env(MARK, &mark).process_group(0).stdin(Stdio::null());
        let child = on_cpu(cpu, || die_with_parent(command).spawn())?;
        Ok(Charge { pid: child.id() as i32, mark, end: Cell::new(None) })
    }

    /// Waits for the end of `charge`, at most for `limit`; `None` when that was not enough.
    pub(crate) fn wait(&self, charge: &Charge, limit: Duration) -> Result<Option<ProcessEnd>, Interrupted> {
        let until = Instant::now() + limit;
        loop {
            if let Some(end) = charge.end() {
                return Ok(Some(end));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.nap(left)?;
        }
    }

    /// Sleeps for so long, or until any signal comes.
    pub(crate) fn nap(&self, time: Duration) -> Result<(), Interrupted> {
        self.doze(time);
        self.asked.get().map_or(Ok(()), |signal| Err(Interrupted(signal)))
    }

    fn doze(&self, time: Duration) {
        if let Ok(signal) = self.signals.borrow().recv_timeout(time)
            && signal != SIGCHLD
        {
            self.asked.set(Some(signal));
        }
    }

    /// Ends `charge` with everything that comes from it, and reaps it.
    pub(crate) fn end(&self, charge: &Charge) {
        self.end_all(|| charge.kin());
    }

    /// TERM, then KILL, until `find` finds none and all it ever found are gone.
    fn end_all(&self, find: impl Fn() -> Vec<i32>) {
        let began = Instant::now();
        let mut known = BTreeSet::new();
        let mut told = BTreeMap::new();
        loop {
            known.extend(find());
            known.retain(|&pid| !is_gone(pid));
            if known.is_empty() {
                return;
            }
            let signal = if began.elapsed() < GRACE { Signal::SIGTERM } else { Signal::SIGKILL };
            for &pid in &known {
                if told.insert(pid, signal) != Some(signal) {
                    // One that has ended since is found gone in the next turn.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
            if began.elapsed() > GIVE_UP {
                eprintln!("outflow-load: processes {known:?} do not end");
                return;
            }
            self.doze(LOOK);
        }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let guard = self.guard.pid();
        self.end_all(|| below_us().into_iter().filter(|&pid| pid != guard).collect());
    }
}

/// Our descendants.
fn below_us() -> Vec<i32> {
    let own = std::process::id() as i32;
    Tree::of(own).pids().unwrap_or_default().into_iter().filter(|&pid| pid != own).collect()
}

/// Reaps `pid` when it is our child and has ended.
fn is_gone(pid: i32) -> bool {
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => true,
        Err(Errno::ECHILD) => !Path::new(&format!("/proc/{pid}")).exists(),
        _ => false,
    }
}

/// Runs `spawn` on `cpu`: a child inherits the CPUs of the thread that starts it.
fn on_cpu<T>(cpu: Option<usize>, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(cpu) = cpu else { return spawn() };
    let this_thread = Pid::from_raw(0);
    let before = sched_getaffinity(this_thread)?;
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(this_thread, &only)?;
    let spawned = spawn();
    sched_setaffinity(this_thread, &before)?;
    spawned
}
