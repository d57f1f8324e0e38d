//! What a process tree has cost so far and holds now, read from /proc: seen from outside, so that every
//! server is measured in the same way.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

/// USER_HZ: the unit of the times in /proc/PID/stat on every Linux architecture in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds since the start of a process tree.
///
/// The sum is exact to the tick of 10 ms; how it divides into user and system time comes from the kernel's
/// timer samples, so a share needs some seconds of CPU to be good to a per cent or two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    /// The scheduler's nanosecond count of the threads alive now.
    pub(crate) exact_s: f64,
}

/// Memory and descriptors that a process tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Holdings {
    pub(crate) pss_bytes: u64,
    pub(crate) rss_bytes: u64,
    /// The part of `pss_bytes` that is neither file nor shared memory.
    pub(crate) anonymous_bytes: u64,
    pub(crate) fds: u64,
}

/// CPU of `root` and of all its descendants, dead and reaped ones included.
pub(crate) fn cpu(root: i32) -> io::Result<Cpu> {
    let mut sum = Cpu::default();
    for pid in tree(root)? {
        let Some(stat) = ended_as_none(pid, root, fs::read_to_string(format!("/proc/{pid}/stat")))? else {
            continue;
        };
        let Some(times) = parse_stat(&stat) else { return Err(unreadable("stat")) };
        sum.user_s += times.user;
        sum.system_s += times.system;
        sum.exact_s += exact(pid);
    }
    Ok(sum)
}

/// Memory and descriptors of `root` and of all its descendants.
pub(crate) fn holdings(root: i32) -> io::Result<Holdings> {
    let mut sum = Holdings::default();
    for pid in tree(root)? {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let Some(rollup) = ended_as_none(pid, root, rollup)? else { continue };
        let field = |name| kilobytes(&rollup, name).ok_or_else(|| unreadable("smaps_rollup"));
        sum.pss_bytes += field("Pss:")?;
        sum.rss_bytes += field("Rss:")?;
        sum.anonymous_bytes += field("Pss_Anon:")?;
        sum.fds += fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
    }
    Ok(sum)
}

/// A descendant may end between listing and reading; the root may not.
fn ended_as_none<T>(pid: i32, root: i32, read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(_) if pid != root => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected form of /proc/PID/{file}"))
}

/// `root` and all processes that descend from it.
fn tree(root: i32) -> io::Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(times) = parse_stat(&stat) {
            children.entry(times.parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut seen = HashSet::from([root]);
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let below = children.get(pid).cloned().unwrap_or_default();
        found.extend(below.into_iter().filter(|&child| seen.insert(child)));
        next += 1;
    }
    Ok(found)
}

/// What proc_pid_stat(5) tells of one process.
#[derive(Debug, PartialEq)]
struct Times {
    parent: i32,
    /// Seconds, reaped children included.
    user: f64,
    system: f64,
}

/// The command stands in parentheses and may hold any byte: the fields begin after the last one.
fn parse_stat(stat: &str) -> Option<Times> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    // Field 3 of the manual page is the first here: ppid is 4, utime 14, stime 15, cutime 16, cstime 17.
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        user: (ticks(14)? + ticks(16)?) / TICKS_PER_SECOND,
        system: (ticks(15)? + ticks(17)?) / TICKS_PER_SECOND,
    })
}

/// Seconds on a CPU of the live threads of `pid`; 0 where the kernel does not tell.
fn exact(pid: i32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanoseconds: u64 = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum();
    nanoseconds as f64 / 1e9
}

fn kilobytes(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_and_spaces() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 0 0 0 0 0 150 250 50 0 20 0 1 0";
        assert_eq!(parse_stat(stat), Some(Times { parent: 3, user: 2.0, system: 2.5 }));
    }

    #[test]
    fn a_rollup() {
        let rollup = "00400000-7ffe rollup\nRss:                 912 kB\nPss:                 119 kB\n";
        assert_eq!(kilobytes(rollup, "Pss:"), Some(119 * 1024));
        assert_eq!(kilobytes(rollup, "Pss_Anon:"), None);
    }

    #[test]
    fn this_process_costs_something() {
        let own = std::process::id() as i32;
        assert!(holdings(own).expect("own figures").pss_bytes > 0);
        assert!(cpu(own).expect("own figures").exact_s >= 0.0);
        assert!(cpu(i32::MAX).is_err());
    }
}
