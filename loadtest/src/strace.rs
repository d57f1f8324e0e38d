//! The system calls of a process tree over an interval, counted by strace.
//!
//! strace stops the server at each call, so a run under it tells how many calls there are and nothing about
//! what they cost.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long strace may take to attach, or to print its table.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls by which a server waits for readiness: how often it wakes depends on the load, not on its work.
/// `restart_syscall` goes on with a wait that attaching has interrupted.
const WAITS: [&str; 8] =
    ["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6", "restart_syscall"];

/// strace at work.
pub(crate) struct Tracer {
    strace: Child,
    lines: Receiver<String>,
}

/// How often each call was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls(BTreeMap<String, Count>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    made: u64,
    failed: u64,
}

impl Tracer {
    /// Attaches to `pids` and to whatever they fork from now on; returns when all of them are traced.
    pub(crate) fn attach(pids: &[i32]) -> io::Result<Self> {
        let each = pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]);
        let mut strace = Command::new("strace")
            .args(["-c", "-f"])
            .args(each)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot run strace: {error}")))?;
        let lines = read_lines(strace.stderr.take().expect("its standard error is piped"));
        let mut tracer = Self { strace, lines };
        tracer.await_attached(pids.len())?;
        Ok(tracer)
    }

    fn await_attached(&mut self, processes: usize) -> io::Result<()> {
        let (mut attached, mut said) = (0, Vec::new());
        while attached < processes {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(" attached") => attached += 1,
                Ok(line) => said.push(line),
                Err(why) => {
                    // Dropping the tracer ends strace, if it is still there.
                    let ended = why == RecvTimeoutError::Disconnected;
                    let how = if ended { "ended" } else { "did not attach in time" };
                    return Err(io::Error::other(format!("strace {how}: {}", said.join(" "))));
                }
            }
        }
        Ok(())
    }

    /// Detaches and returns what was counted.
    pub(crate) fn finish(mut self) -> io::Result<Calls> {
        interrupt(&self.strace)?;
        let mut table = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => table.extend([line.as_str(), "\n"]),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(io::Error::other("strace does not end")),
            }
        }
        self.strace.wait()?;
        Ok(Calls::parse(&table))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            // It may have ended by itself just now.
            let _ = interrupt(&self.strace);
            let _ = self.strace.wait();
        }
    }
}

/// The signal on which strace detaches from everything and prints its table.
fn interrupt(strace: &Child) -> io::Result<()> {
    Ok(kill(Pid::from_raw(strace.id() as i32), Signal::SIGINT)?)
}

fn read_lines(from: ChildStderr) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Calls {
    /// Reads the table of `strace -c`: % time, seconds, usecs/call, calls, errors (may be blank), syscall.
    fn parse(table: &str) -> Self {
        let row = |line: &str| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (errors, name) = match words[..] {
                [_, _, _, _, name] => ("0", name),
                [_, _, _, _, errors, name] => (errors, name),
                _ => return None,
            };
            // Every row begins with three numbers; a message of strace does not, the last row is the sum.
            let numeric = words[..3].iter().all(|word| word.parse::<f64>().is_ok());
            let count = Count { made: words[3].parse().ok()?, failed: errors.parse().ok()? };
            (numeric && name != "total").then(|| (name.to_owned(), count))
        };
        Self(table.lines().filter_map(row).collect())
    }

    /// Calls other than those that wait.
    pub(crate) fn work(&self) -> u64 {
        self.0.iter().filter(|(name, _)| !is_wait(name)).map(|(_, count)| count.made).sum()
    }

    /// Calls that wait for readiness.
    pub(crate) fn waits(&self) -> u64 {
        self.0.iter().filter(|(name, _)| is_wait(name)).map(|(_, count)| count.made).sum()
    }

    /// Each call's count divided by `by`.
    pub(crate) fn each(&self, by: f64) -> BTreeMap<String, f64> {
        self.0.iter().map(|(name, count)| (name.clone(), count.made as f64 / by)).collect()
    }

    /// The failed ones of each call that failed at all, divided by `by`.
    pub(crate) fn failed(&self, by: f64) -> BTreeMap<String, f64> {
        let failed = self.0.iter().filter(|(_, count)| count.failed > 0);
        failed.map(|(name, count)| (name.clone(), count.failed as f64 / by)).collect()
    }
}

fn is_wait(name: &str) -> bool {
    WAITS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
strace: Process 71 detached
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           1       600       100 read
 30.00    0.000300           3       100           epoll_wait
 10.00    0.000100           0       200           write
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           1       900       100 total
";

    #[test]
    fn a_table_with_and_without_errors() {
        let calls = Calls::parse(TABLE);
        assert_eq!((calls.work(), calls.waits()), (800, 100));
        let each = calls.each(100.0);
        assert_eq!(
            each.iter().map(|(name, n)| (name.as_str(), *n)).collect::<Vec<_>>(),
            [("epoll_wait", 1.0), ("read", 6.0), ("write", 2.0)]
        );
        assert_eq!(calls.failed(100.0).into_iter().collect::<Vec<_>>(), [("read".to_owned(), 1.0)]);
    }

    #[test]
    fn no_calls_no_table() {
        assert_eq!(Calls::parse("strace: Process 71 detached\n"), Calls::default());
    }

    #[test]
    fn a_process_that_does_not_exist_cannot_be_traced() {
        let error = Tracer::attach(&[i32::MAX]).err().expect("no such process, or no strace");
        assert!(error.to_string().contains("strace"), "{error}");
    }
}
