//! What a process tree has cost so far and holds now, read from /proc: seen from outside, so that every
//! server is measured in the same way.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

/// USER_HZ: the unit of the times in /proc/PID/stat on every Linux architecture in use.
const TICKS_PER_SECOND: f64 = 100.0;
/// User and system time of a process and of its reaped children are each cut to whole ticks.
const CUT_PER_PROCESS_S: f64 = 4.0 / TICKS_PER_SECOND;

/// A process and all that descend from it, followed over time: one that was seen stays in the tree when its
/// parent ends and it is given to init.
#[derive(Debug)]
pub(crate) struct Tree {
    root: i32,
    /// Start times tell a process from a later one with its number.
    seen: HashMap<i32, u64>,
}

/// The CPU time that a process tree has taken by one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CpuMark {
    processes: HashMap<i32, Times>,
    /// The scheduler's nanosecond counts of the threads alive now.
    exact_s: f64,
    threads: HashSet<i32>,
}

/// CPU seconds of a process tree between two moments.
///
/// How the sum divides into user and system time comes from the kernel's timer samples, so a share needs some
/// seconds of CPU to be good to a per cent or two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    /// Both exact to some ticks of 10 ms for each process.
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    /// To the nanosecond while no thread ends; otherwise the sum of the two above.
    pub(crate) total_s: f64,
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

impl Tree {
    pub(crate) fn of(root: i32) -> Self {
        Self { root, seen: HashMap::new() }
    }

    /// The process that the tree begins at.
    pub(crate) fn root(&self) -> i32 {
        self.root
    }

    /// The processes of the tree that are alive now.
    pub(crate) fn pids(&mut self) -> io::Result<Vec<i32>> {
        Ok(self.members()?.into_iter().map(|(pid, _)| pid).collect())
    }

    /// The CPU time that each process of the tree and its reaped children have taken.
    ///
    /// A child that nobody waits for (its parent ignores SIGCHLD, or has ended) takes its time along when it
    /// ends: no file tells of it.
    pub(crate) fn cpu(&mut self) -> io::Result<CpuMark> {
        let mut mark = CpuMark::default();
        for (pid, times) in self.members()? {
            for (thread, seconds) in threads(pid) {
                mark.threads.insert(thread);
                mark.exact_s += seconds;
            }
            mark.processes.insert(pid, times);
        }
        Ok(mark)
    }

    /// Memory and descriptors of the tree.
    pub(crate) fn holdings(&mut self) -> io::Result<Holdings> {
        let mut sum = Holdings::default();
        for pid in self.pids()? {
            // A process that ends meanwhile holds nothing; of the root the reader must hear.
            match holdings_of(pid) {
                Ok(held) => sum.add(held),
                Err(error) if pid == self.root => return Err(error),
                Err(_) => {}
            }
        }
        Ok(sum)
    }

    /// Open descriptors and resident bytes of the tree: cheap enough to look often, as nothing is weighed page by page.
    pub(crate) fn glance(&mut self) -> io::Result<(u64, u64)> {
        let (mut fds, mut resident) = (0, 0);
        for pid in self.pids()? {
            let look = || -> io::Result<(u64, u64)> {
                let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
                let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
                let fds = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
                Ok((fds, pages.ok_or_else(|| unreadable("statm"))? * page_bytes()))
            };
            match look() {
                Ok((more_fds, more_bytes)) => (fds, resident) = (fds + more_fds, resident + more_bytes),
                Err(error) if pid == self.root => return Err(error),
                // It has ended meanwhile.
                Err(_) => {}
            }
        }
        Ok((fds, resident))
    }

    fn members(&mut self) -> io::Result<Vec<(i32, Times)>> {
        let mut processes = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            processes.insert(pid, parse_stat(&stat).ok_or_else(|| unreadable("stat"))?);
        }
        if !processes.contains_key(&self.root) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such process"));
        }
        let members = family(self.root, &self.seen, &processes);
        self.seen = members.iter().map(|(pid, times)| (*pid, times.started)).collect();
        Ok(members)
    }
}

/// `root`, those of `seen` that are still the same process, and all that descend from any of them.
fn family(root: i32, seen: &HashMap<i32, u64>, processes: &HashMap<i32, Times>) -> Vec<(i32, Times)> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, times) in processes {
        children.entry(times.parent).or_default().push(*pid);
    }
    let same = |pid: &i32| processes.get(pid).is_some_and(|times| seen.get(pid) == Some(&times.started));
    let mut members: Vec<i32> = seen.keys().copied().filter(|pid| *pid != root && same(pid)).collect();
    members.push(root);
    let mut known: HashSet<i32> = members.iter().copied().collect();
    let mut next = 0;
    while let Some(pid) = members.get(next) {
        let below = children.get(pid).cloned().unwrap_or_default();
        members.extend(below.into_iter().filter(|&child| known.insert(child)));
        next += 1;
    }
    members.into_iter().map(|pid| (pid, processes[&pid])).collect()
}

impl CpuMark {
    /// What was taken since `before`.
    pub(crate) fn since(&self, before: &Self) -> Cpu {
        let (mut own, mut reaped, mut past) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        for (pid, now) in &self.processes {
            let then = before.processes.get(pid).filter(|then| then.started == now.started);
            let then = then.copied().unwrap_or_default();
            own = plus(own, minus(now.own_s, then.own_s));
            reaped = plus(reaped, minus(now.reaped_s, then.reaped_s));
        }
        let gone = before
            .processes
            .iter()
            .filter(|(pid, then)| self.processes.get(pid).is_none_or(|now| now.started != then.started));
        for (_, then) in gone {
            past = plus(past, plus(then.own_s, then.reaped_s));
        }
        // Whoever ended and was waited for brought along what it had taken before the interval.
        let ended = minus(reaped, past).map(|seconds| seconds.max(0.0));
        let [user_s, system_s] = plus(own, ended);
        let (ticked, exact) = (user_s + system_s, self.exact_s - before.exact_s);
        let cut = CUT_PER_PROCESS_S * self.processes.len() as f64;
        let lasted = before.threads.is_subset(&self.threads) && reaped == [0.0; 2];
        let total_s = if lasted && exact + cut >= ticked { exact } else { ticked };
        Cpu { user_s, system_s, total_s }
    }
}

fn plus(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

fn minus(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

impl Holdings {
    fn add(&mut self, other: Self) {
        self.pss_bytes += other.pss_bytes;
        self.rss_bytes += other.rss_bytes;
        self.anonymous_bytes += other.anonymous_bytes;
        self.fds += other.fds;
    }
}

fn holdings_of(pid: i32) -> io::Result<Holdings> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name| kilobytes(&rollup, name).ok_or_else(|| unreadable("smaps_rollup"));
    Ok(Holdings {
        pss_bytes: field("Pss:")?,
        rss_bytes: field("Rss:")?,
        anonymous_bytes: field("Pss_Anon:")?,
        fds: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
    })
}

fn page_bytes() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected form of /proc/PID/{file}"))
}

/// What proc_pid_stat(5) tells of one process; seconds of user and of system time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    parent: i32,
    /// Ticks after the boot.
    started: u64,
    own_s: [f64; 2],
    reaped_s: [f64; 2],
}

/// The command stands in parentheses and may hold any byte: the fields begin after the last one.
fn parse_stat(stat: &str) -> Option<Times> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    // Field 3 of the manual page is the first here: ppid is 4, utime 14, stime 15, cutime 16, cstime 17,
    // starttime 22.
    let seconds = |field: usize| Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(22 - 3)?.parse().ok()?,
        own_s: [seconds(14)?, seconds(15)?],
        reaped_s: [seconds(16)?, seconds(17)?],
    })
}

/// The live threads of `pid` with their seconds on a CPU; none where the kernel does not tell.
fn threads(pid: i32) -> Vec<(i32, f64)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let read = |task: fs::DirEntry| {
        let thread = task.file_name().to_string_lossy().parse().ok()?;
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanoseconds: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        Some((thread, nanoseconds as f64 / 1e9))
    };
    tasks.flatten().filter_map(read).collect()
}

fn kilobytes(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    fn times(parent: i32, started: u64, own_s: [f64; 2], reaped_s: [f64; 2]) -> Times {
        Times { parent, started, own_s, reaped_s }
    }

    fn mark(processes: &[(i32, Times)], exact_s: f64, threads: &[i32]) -> CpuMark {
        CpuMark {
            processes: processes.iter().copied().collect(),
            exact_s,
            threads: threads.iter().copied().collect(),
        }
    }

    #[test]
    fn a_command_with_parentheses_and_spaces() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 0 0 0 0 0 150 250 50 0 20 0 1 0 4711 0";
        assert_eq!(parse_stat(stat), Some(times(3, 4711, [1.5, 2.5], [0.5, 0.0])));
    }

    #[test]
    fn a_rollup() {
        let rollup = "00400000-7ffe rollup\nRss:                 912 kB\nPss:                 119 kB\n";
        assert_eq!(kilobytes(rollup, "Pss:"), Some(119 * 1024));
        assert_eq!(kilobytes(rollup, "Pss_Anon:"), None);
    }

    #[test]
    fn an_orphan_stays_in_the_tree_and_a_stranger_with_its_number_does_not() {
        let none = [0.0; 2];
        let processes: HashMap<i32, Times> = [
            (1, times(0, 0, none, none)),
            (10, times(1, 5, none, none)),
            (11, times(10, 6, none, none)),
            (12, times(1, 7, none, none)),
            (13, times(12, 8, none, none)),
            (14, times(1, 99, none, none)),
        ]
        .into();
        let seen = [(10, 5), (12, 7), (14, 9)].into();
        let mut members: Vec<i32> = family(10, &seen, &processes).into_iter().map(|(pid, _)| pid).collect();
        members.sort_unstable();
        assert_eq!(members, [10, 11, 12, 13]);
    }

    #[test]
    fn while_no_thread_ends_the_exact_count_holds() {
        let before = mark(&[(10, times(1, 5, [1.0, 1.0], [0.0; 2]))], 2.003, &[10]);
        let after = mark(&[(10, times(1, 5, [1.5, 1.25], [0.0; 2]))], 2.767, &[10, 11]);
        let cpu = after.since(&before);
        assert_eq!((cpu.user_s, cpu.system_s), (0.5, 0.25));
        assert!((cpu.total_s - 0.764).abs() < 1e-9, "{cpu:?}");
    }

    #[test]
    fn a_child_that_ended_is_counted_from_the_beginning_of_the_interval() {
        // 12 had taken 4 s, took 1 s more, ended, and 10 waited for it. 13 came and went: 0.5 s.
        let before = mark(
            &[(10, times(1, 5, [1.0, 0.0], [0.0; 2])), (12, times(10, 7, [4.0, 0.0], [0.0; 2]))],
            5.0,
            &[10, 12],
        );
        let after = mark(&[(10, times(1, 5, [1.25, 0.0], [5.0, 0.5]))], 1.25, &[10]);
        let cpu = after.since(&before);
        assert_eq!((cpu.user_s, cpu.system_s, cpu.total_s), (1.25, 0.5, 1.75));
    }

    #[test]
    fn a_child_that_nobody_waits_for_takes_nothing_away() {
        let before = mark(
            &[(10, times(1, 5, [1.0, 0.0], [0.0; 2])), (12, times(10, 7, [4.0, 0.0], [0.0; 2]))],
            5.0,
            &[10, 12],
        );
        let after = mark(&[(10, times(1, 5, [1.25, 0.0], [0.0; 2]))], 1.25, &[10]);
        assert_eq!(after.since(&before).total_s, 0.25);
    }

    /// Seconds in the form of the shell's `times`: `0m0.31s 0m0.02s`.
    fn shell_times(line: &str) -> f64 {
        let seconds = |word: &str| {
            let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
            Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
        };
        line.split(' ').map(|word| seconds(word).expect("a time of the shell")).sum()
    }

    #[test]
    fn children_that_come_and_go_are_counted_as_their_shell_counts_them() {
        let burn = "(i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done)";
        let script = format!("read go; for n in 1 2 3 4; do {burn}; done; times; read stay");
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut tree = Tree::of(shell.id() as i32);
        let before = tree.cpu().expect("the shell's figures");
        let mut input = shell.stdin.take().expect("piped");
        input.write_all(b"\n").expect("the shell reads");
        let mut lines = BufReader::new(shell.stdout.take().expect("piped")).lines();
        let mut said = || shell_times(&lines.next().expect("a line").expect("text"));
        let told = said() + said();
        let cpu = tree.cpu().expect("the shell's figures").since(&before);
        drop(input);
        shell.wait().expect("the shell ends");
        assert!(told > 0.05, "{told} s are too few to tell");
        assert!((cpu.total_s - told).abs() < 0.05, "{cpu:?}, the shell says {told}");
    }

    #[test]
    fn this_process_costs_something() {
        let mut own = Tree::of(std::process::id() as i32);
        assert!(own.holdings().expect("own figures").pss_bytes > 0);
        assert!(own.cpu().expect("own figures").exact_s >= 0.0);
        let (fds, resident) = own.glance().expect("own figures");
        assert!(fds > 0 && resident > 1 << 20, "{fds} descriptors, {resident} bytes");
        assert!(Tree::of(i32::MAX).cpu().is_err());
    }
}
