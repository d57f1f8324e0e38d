//! The memory that the control groups of this process allow (Linux: Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst).

use std::fs;
use std::path::{Path, PathBuf};

/// A limit of a group, and what counts towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes that all processes of the group may use.
    pub limit: u64,
    /// Bytes that they use, without what the kernel takes back where it needs it: files that nobody has read for a while.
    pub used: u64,
}

impl MemoryUse {
    /// Bytes that are left.
    pub fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The group of this process, and those that it is in.
#[derive(Debug, Default)]
pub struct MemoryGroups {
    groups: Vec<PathBuf>,
    names: FileNames,
}

/// What the files of a group are called.
#[derive(Clone, Copy, Debug)]
struct FileNames {
    limit: &'static str,
    used: &'static str,
    /// A line of memory.stat.
    reclaimable: &'static str,
}

const V1: FileNames = FileNames {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};
const V2: FileNames = FileNames { limit: "memory.max", used: "memory.current", reclaimable: "inactive_file" };

impl Default for FileNames {
    fn default() -> FileNames {
        V2
    }
}

/// A limit from which on version 1 means none: it rounds the largest number down to whole pages.
const NO_LIMIT: u64 = 1 << 60;

impl MemoryGroups {
    /// Those that this process is in now; none where no such file system is mounted.
    pub fn here() -> MemoryGroups {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        MemoryGroups::of(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// Those of a process of which these files of /proc are.
    fn of(mounts: &str, groups: &str) -> MemoryGroups {
        let first = directory(mounts, groups, "memory").map(|found| (found, V1));
        let Some(((root, group), names)) =
            first.or_else(|| directory(mounts, groups, "").map(|found| (found, V2)))
        else {
            return MemoryGroups::default();
        };
        let groups = group.ancestors().take_while(|group| group.starts_with(&root));
        MemoryGroups { groups: groups.map(Path::to_owned).collect(), names }
    }

    /// The group of which the least is left; `None` where none has a limit. Some file reads: it may wait for the kernel.
    pub fn tightest(&self) -> Option<MemoryUse> {
        self.groups.iter().filter_map(|group| self.look(group)).min_by_key(|memory| memory.left())
    }

    fn look(&self, group: &Path) -> Option<MemoryUse> {
        let read = |name| fs::read_to_string(group.join(name)).ok();
        // "max" is no number.
        let limit = number(&read(self.names.limit)?).filter(|limit| *limit < NO_LIMIT)?;
        let used = number(&read(self.names.used)?)?;
        let stat = read("memory.stat").unwrap_or_default();
        let of_line = |line: &str| number(line.strip_prefix(self.names.reclaimable)?);
        Some(MemoryUse { limit, used: used.saturating_sub(stat.lines().find_map(of_line).unwrap_or(0)) })
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Where groups of a controller of version 1 are mounted, or those of version 2 (""), and the directory of the process's own.
fn directory(mounts: &str, groups: &str, controller: &str) -> Option<(PathBuf, PathBuf)> {
    let group = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let named = parts.next()?.split(',').any(|name| name == controller);
        parts.next().filter(|_| named)
    })?;
    mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let (head, tail): (Vec<&str>, Vec<&str>) = (head.split(' ').collect(), tail.split(' ').collect());
        let fits = match controller {
            "" => *tail.first()? == "cgroup2",
            _ => *tail.first()? == "cgroup" && tail.get(2)?.split(',').any(|option| option == controller),
        };
        let inside = Path::new(group).strip_prefix(head.get(3)?).ok()?;
        let root = PathBuf::from(head.get(4)?);
        // A path with a final slash would be its own ancestor once more.
        let own = if inside.as_os_str().is_empty() { root.clone() } else { root.join(inside) };
        fits.then_some((root, own))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    fn directories(mounts: &str, groups: &str) -> Vec<String> {
        let groups = MemoryGroups::of(mounts, groups).groups;
        groups.iter().map(|group| group.display().to_string()).collect()
    }

    #[test]
    fn a_process_is_in_its_group_and_in_those_around_it() {
        let of_v1 = directories(MOUNTS, "5:cpu:/a\n4:hugetlb,memory:/b/c\n0::/d\n");
        assert_eq!(of_v1, ["/sys/fs/cgroup/memory/b/c", "/sys/fs/cgroup/memory/b", "/sys/fs/cgroup/memory"]);
        let alone = "32 24 0:28 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(directories(alone, "0::/pod/d\n"), ["/sys/fs/cgroup/d", "/sys/fs/cgroup"]);
        // In a container its own group is all that it sees.
        assert_eq!(directories(alone, "0::/pod\n"), ["/sys/fs/cgroup"]);
        assert_eq!(directories("", "0::/d\n"), [""; 0]);
    }

    /// A group's files as the kernel writes them.
    fn files(group: &Path, names: FileNames, [limit, used, stat]: [&str; 3]) {
        fs::create_dir_all(group).expect("a directory");
        for (name, text) in [(names.limit, limit), (names.used, used), ("memory.stat", stat)] {
            fs::write(group.join(name), text).expect("a file");
        }
    }

    #[test]
    fn the_limit_that_is_nearest_is_the_one_that_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let (outer, inner) = (root.path().to_owned(), root.path().join("inner"));
        let groups = |names| MemoryGroups { groups: vec![inner.clone(), outer.clone()], names };
        files(&outer, V2, ["1000\n", "700\n", "anon 600\ninactive_file 100\n"]);
        files(&inner, V2, ["max\n", "650\n", "inactive_file 0\n"]);
        assert_eq!(groups(V2).tightest(), Some(MemoryUse { limit: 1000, used: 600 }));
        files(&inner, V2, ["800\n", "650\n", "anon 1\ninactive_file 0\n"]);
        assert_eq!(groups(V2).tightest().map(MemoryUse::left), Some(150));
        files(&outer, V1, ["9223372036854771712\n", "7\n", ""]);
        files(&inner, V1, ["500\n", "600\n", "inactive_file 9\ntotal_inactive_file 50\n"]);
        assert_eq!(groups(V1).tightest(), Some(MemoryUse { limit: 500, used: 550 }));
        files(&inner, V1, ["9223372036854771712\n", "600\n", ""]);
        assert_eq!(groups(V1).tightest(), None);
    }
}
