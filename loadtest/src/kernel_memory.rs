//! What a server's sessions take of the kernel's memory: that of its own cgroup where it can be put in one,
//! else what the whole machine takes.

use std::fs;
use std::io;

use nix::unistd::{SysconfVar, sysconf};

use crate::cgroup::Group;

/// Where the figure shall come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// The server's cgroup if it can be moved into a fresh one, else the machine.
    Auto,
    /// The machine, less what as many direct connections take.
    Machine,
    /// Nowhere: the server's processes are left where they are.
    None,
}

/// Where the kernel memory of a server is read.
#[derive(Debug)]
pub(crate) enum MemoryGauge {
    Cgroup(Group),
    /// Everybody's slabs and socket buffers; clients and origin are on it as well.
    Machine {
        why: Option<String>,
    },
}

/// What was gained in an interval, and how that is known.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    pub(crate) bytes: i64,
    pub(crate) from: &'static str,
    /// Why it is not from a cgroup, where that was tried.
    pub(crate) why: Option<String>,
}

impl MemoryGauge {
    /// A scale for the processes `pids`.
    pub(crate) fn of(pids: &[i32], source: Source) -> Option<Self> {
        match source {
            Source::Auto => Some(Self::in_cgroup(pids)),
            Source::Machine => Some(Self::Machine { why: None }),
            Source::None => None,
        }
    }

    fn in_cgroup(pids: &[i32]) -> Self {
        match Group::around(pids) {
            Ok(group) => Self::Cgroup(group),
            Err(error) => Self::Machine { why: Some(format!("no cgroup for the server: {error}")) },
        }
    }

    /// Bytes that are in use now.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        match self {
            Self::Cgroup(group) => group.kernel_bytes(),
            Self::Machine { .. } => {
                let meminfo = fs::read_to_string("/proc/meminfo")?;
                let sockstat = fs::read_to_string("/proc/net/sockstat")?;
                Ok(slab_bytes(&meminfo)? + socket_pages(&sockstat) * page_bytes()?)
            }
        }
    }

    /// The gain from `before` to `after` on this scale.
    pub(crate) fn growth(&self, before: u64, after: u64) -> Growth {
        let bytes = after as i64 - before as i64;
        match self {
            Self::Cgroup(_) => Growth { bytes, from: "cgroup", why: None },
            Self::Machine { why } => Growth { bytes, from: "machine", why: why.clone() },
        }
    }
}

fn page_bytes() -> io::Result<u64> {
    Ok(sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4096) as u64)
}

fn slab_bytes(meminfo: &str) -> io::Result<u64> {
    let kilobytes = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("Slab:")?.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("/proc/meminfo has no Slab"))
}

/// The pages of all socket buffers: each line has `mem PAGES`.
fn socket_pages(sockstat: &str) -> u64 {
    let of_line = |line: &str| {
        let mut words = line.split(' ').skip_while(|word| *word != "mem").skip(1);
        words.next()?.trim().parse::<u64>().ok()
    };
    sockstat.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_and_socket_buffers() {
        let meminfo = "MemTotal:  100 kB\nSlab:             291164 kB\nSReclaimable: 5 kB\n";
        assert_eq!(slab_bytes(meminfo).ok(), Some(291_164 * 1024));
        assert!(slab_bytes("MemTotal: 1 kB\n").is_err());
        let sockstat = "sockets: used 21\nTCP: inuse 1 orphan 0 tw 5 alloc 1 mem 406\nUDP: inuse 0 mem 2\n\
                        FRAG: inuse 0 memory 0\n";
        assert_eq!(socket_pages(sockstat), 408);
    }

    #[test]
    fn without_a_cgroup_the_machine_says_why() {
        let scale = MemoryGauge::of(&[i32::MAX], Source::Auto).expect("a scale");
        assert!(scale.bytes().expect("this machine's figures") > 0);
        let growth = scale.growth(10, 4);
        assert_eq!((growth.bytes, growth.from), (-6, "machine"));
        assert!(growth.why.is_some_and(|why| why.starts_with("no cgroup")));
    }
}
