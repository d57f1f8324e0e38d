//! A control group for a server of a test, of version 1 or 2, where this machine lets one be made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::wait::{self, PATIENCE};

/// The group; dropping it removes it, once its processes have ended.
pub(crate) struct Cgroup {
    path: PathBuf,
    is_v1: bool,
}

impl Cgroup {
    /// A group of this controller. `Err` says why there is none.
    pub(crate) fn new(controller: &str) -> Result<Cgroup, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let v1 = Path::new("/sys/fs/cgroup").join(controller);
        let is_v1 = v1.join("cgroup.procs").exists();
        let parent = if is_v1 { v1 } else { PathBuf::from("/sys/fs/cgroup") };
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("outflow-test.{}.{nth}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("no cgroup can be made here ({})", error.kind()))?;
        let group = Cgroup { path, is_v1 };
        let has_controller = group.path.join(group.name("memory.limit_in_bytes", "memory.max")).exists()
            || group.path.join(group.name("cpu.cfs_quota_us", "cpu.max")).exists();
        match has_controller {
            true => Ok(group),
            false => Err(format!("the {controller} controller is not enabled for cgroups of this machine")),
        }
    }

    fn name<'a>(&self, v1: &'a str, v2: &'a str) -> &'a str {
        if self.is_v1 { v1 } else { v2 }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Lets its processes have so many hundredths of a CPU.
    pub(crate) fn set_cpu(&self, hundredths: u32) {
        let quota = hundredths * 1000;
        match self.is_v1 {
            true => {
                self.write("cpu.cfs_period_us", "100000");
                self.write("cpu.cfs_quota_us", &quota.to_string());
            }
            false => self.write("cpu.max", &format!("{quota} 100000")),
        }
    }

    /// Bytes that its processes use, without those that the kernel can take back at once.
    pub(crate) fn memory_used(&self) -> u64 {
        let read = |name| fs::read_to_string(self.path.join(name)).expect("a file of the group");
        let number = |text: &str| text.trim().parse::<u64>().expect("a number");
        let stat = read("memory.stat");
        let file = self.name("total_inactive_file ", "inactive_file ");
        let file = stat.lines().find_map(|line| line.strip_prefix(file)).map_or(0, number);
        number(&read(self.name("memory.usage_in_bytes", "memory.current"))).saturating_sub(file)
    }

    /// Lets them use so many.
    pub(crate) fn set_memory(&self, bytes: u64) {
        self.write(self.name("memory.limit_in_bytes", "memory.max"), &bytes.to_string());
    }

    /// What starts a command in it, in front of that.
    pub(crate) fn entering(&self) -> [String; 4] {
        let enter = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", self.path.display());
        ["sh".to_owned(), "-c".to_owned(), enter, "sh".to_owned()]
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last of its processes may be about to end.
        if !std::thread::panicking() {
            wait::until_true("the cgroup is empty", PATIENCE, || fs::remove_dir(&self.path).is_ok());
        }
    }
}
