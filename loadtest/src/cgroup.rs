//! A memory cgroup around a server's processes, for as long as a measurement takes.
//!
//! A group charges what its processes ask the kernel for from the moment they are in it; what they had asked
//! for before stays where it was. So a fresh group that a server enters before its sessions open holds what
//! those sessions cost, and nothing else. Needs the rights to move the processes.
//!
//! Only SIGKILL leaves a group behind. Its name tells whose it was and where the server belongs, and the next
//! group that is made near it sends the server home.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the names of all groups begin with; the process that made it follows.
const PREFIX: &str = "outflow-load.";

/// The group; dropping it sends the processes back to where they came from and removes it.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    version: Version,
    /// Where each process came from, the root of the tree first.
    homes: Vec<(i32, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Group {
    /// Moves `pids` into a fresh group beside (version 2) or below (version 1) that of the first of them.
    pub(crate) fn around(pids: &[i32]) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let home_of = |pid: i32| {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
            home(&mounts, &groups).ok_or_else(|| io::Error::other("no memory cgroup is mounted"))
        };
        let first = *pids.first().ok_or(io::ErrorKind::InvalidInput)?;
        let (version, home) = home_of(first)?;
        // The server itself may still be in a group of a killed process.
        let strayed = home.file_name().and_then(|name| maker_and_home(name.to_str()?)).is_some();
        match version {
            Version::V1 if !strayed => sweep(version, &home),
            _ => sweep(version, home.parent().unwrap_or(&home)),
        }
        let homes = pids.iter().map(|&pid| Ok((pid, home_of(pid)?.1))).collect::<io::Result<Vec<_>>>()?;
        let (version, home) = home_of(first)?;
        // Processes of version 2 live in leaves, so the new group cannot be below that of a process.
        let parent = match version {
            Version::V1 => home.as_path(),
            Version::V2 => home.parent().unwrap_or(&home),
        };
        let own = std::process::id();
        let name = match (version, home.file_name()) {
            (Version::V2, Some(home)) => format!("{PREFIX}{own}.{}", home.to_string_lossy()),
            _ => format!("{PREFIX}{own}"),
        };
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|error| named(&path, error))?;
        let group = Self { path, version, homes };
        match version {
            // Socket buffers are charged only in groups that have a limit for them: this is none.
            Version::V1 => write(&group.path.join("memory.kmem.tcp.limit_in_bytes"), "-1")?,
            // Without the controller there is no such file, and the reason is better heard now.
            Version::V2 => drop(group.kernel_bytes()?),
        }
        for pid in pids {
            write(&group.path.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(group)
    }

    /// Kernel memory of the processes since they entered: slabs (sockets, files, epoll), stacks, page tables,
    /// pipes and socket buffers.
    pub(crate) fn kernel_bytes(&self) -> io::Result<u64> {
        let read = |name: &str| {
            let path = self.path.join(name);
            fs::read_to_string(&path).map_err(|error| named(&path, error))
        };
        match self.version {
            Version::V1 => {
                let slabs = number(&read("memory.kmem.usage_in_bytes")?)?;
                Ok(slabs + number(&read("memory.kmem.tcp.usage_in_bytes")?)?)
            }
            Version::V2 => kernel_of_stat(&read("memory.stat")?),
        }
    }

    fn leave(&self) -> io::Result<()> {
        let home = |pid: i32| self.homes.iter().find(|(known, _)| *known == pid).or(self.homes.first());
        for line in fs::read_to_string(self.path.join("cgroup.procs"))?.lines() {
            let pid = line.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            if let Some((_, home)) = home(pid) {
                // One that ended just now needs no home.
                let _ = write(&home.join("cgroup.procs"), line);
            }
        }
        fs::remove_dir(&self.path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            eprintln!("outflow-load: {} could not be removed: {error}", self.path.display());
        }
    }
}

/// Sends the processes of left groups in `parent` home and removes the groups, as far as that goes.
fn sweep(version: Version, parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let Some((maker, home)) = entry.file_name().to_str().and_then(maker_and_home) else { continue };
        let own = maker == std::process::id();
        let home = match version {
            Version::V1 => Some(parent.to_owned()),
            Version::V2 => home.map(|home| parent.join(home)),
        };
        // One with our own number is of a process that had it before us: we have none yet.
        if own || !Path::new(&format!("/proc/{maker}")).exists() {
            let homes = home.map(|home| (0, home)).into_iter().collect();
            drop(Group { path: entry.path(), version, homes });
        }
    }
}

/// The process that made the group of this name, and the group beside it that the server came from (version 2).
fn maker_and_home(name: &str) -> Option<(u32, Option<String>)> {
    let rest = name.strip_prefix(PREFIX)?;
    let (maker, home) = rest.split_once('.').map_or((rest, None), |(maker, home)| (maker, Some(home)));
    Some((maker.parse().ok()?, home.map(str::to_owned)))
}

/// The directory of the memory cgroup that a process is in, from mountinfo and its /proc/PID/cgroup.
fn home(mounts: &str, groups: &str) -> Option<(Version, PathBuf)> {
    let group = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let named = parts.next()?.split(',').any(|name| name == controller);
            parts.next().filter(|_| named)
        })
    };
    let at = |kind: &str, option: &str, group: &str| {
        mounts.lines().find_map(|line| {
            let (head, tail) = line.split_once(" - ")?;
            let head: Vec<&str> = head.split(' ').collect();
            let tail: Vec<&str> = tail.split(' ').collect();
            let fits = *tail.first()? == kind
                && (option.is_empty() || tail.get(2)?.split(',').any(|name| name == option));
            let inside = Path::new(group).strip_prefix(head.get(3)?).ok()?;
            fits.then(|| Path::new(head[4]).join(inside))
        })
    };
    let first = group("memory").and_then(|group| Some((Version::V1, at("cgroup", "memory", group)?)));
    first.or_else(|| Some((Version::V2, at("cgroup2", "", group("")?)?)))
}

/// `kernel` and `sock` of memory.stat; the first exists since Linux 5.18.
fn kernel_of_stat(stat: &str) -> io::Result<u64> {
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or_else(|| Err(io::Error::other(format!("memory.stat has no {name}"))), number)
    };
    Ok(field("kernel")? + field("sock")?)
}

fn number(text: &str) -> io::Result<u64> {
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "expected a number of bytes"))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text).map_err(|error| named(path, error))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn the_memory_controller_of_version_1_comes_first() {
        let groups = "5:cpu:/a\n4:hugetlb,memory:/b/c\n0::/d\n";
        let expected = PathBuf::from("/sys/fs/cgroup/memory/b/c");
        assert_eq!(home(MOUNTS, groups), Some((Version::V1, expected)));
    }

    #[test]
    fn version_2_where_it_is_alone() {
        let mounts = "32 24 0:28 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let expected = PathBuf::from("/sys/fs/cgroup/d");
        assert_eq!(home(mounts, "0::/pod/d\n"), Some((Version::V2, expected)));
        assert_eq!(home("", "0::/d\n"), None);
    }

    #[test]
    fn kernel_and_socket_memory_are_added() {
        assert_eq!(kernel_of_stat("anon 1\nkernel_stack 5\nkernel 4096\nsock 8192\n").ok(), Some(12_288));
        assert!(kernel_of_stat("anon 1\n").is_err());
    }

    #[test]
    fn a_name_tells_the_maker_and_the_home() {
        assert_eq!(maker_and_home("outflow-load.12"), Some((12, None)));
        assert_eq!(maker_and_home("outflow-load.12.a.service"), Some((12, Some("a.service".to_owned()))));
        assert_eq!(maker_and_home("outflow-load.service"), None);
        assert_eq!(maker_and_home("other.12"), None);
    }

    #[test]
    fn no_process_no_group() {
        assert!(Group::around(&[]).is_err());
        assert!(Group::around(&[i32::MAX]).is_err());
    }
}
