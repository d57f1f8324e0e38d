//! What this process uses, as the kernel tells it in /proc.

use std::fs;

use crate::observe::ProcessUse;
use crate::sys::machine::{clock_ticks, page_bytes};

/// What the process uses now; `None` where there is no /proc.
pub fn process_use() -> Option<ProcessUse> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses, in which there may be anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // proc_pid_stat(5) counts from 1, and the first one here is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / clock_ticks() as f64;
    Some(ProcessUse {
        cpu_s: seconds(field(14)? + field(15)?),
        threads: field(20)?,
        start_s: booted_at()? + seconds(field(22)?),
        virtual_bytes: field(23)?,
        rss_bytes: field(24)? * page_bytes(),
        open_fds: open_descriptors()?,
        max_fds: descriptors_max()?,
    })
}

/// When the machine was started, in seconds since 1970.
fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn open_descriptors() -> Option<u64> {
    // Since Linux 6.2 the folder's size says how many there are; before, it is 0 and they have to be counted.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        count => Some(count),
    }
}

fn descriptors_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    match soft? {
        "unlimited" => Some(u64::MAX),
        soft => soft.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_figures_are_this_process_s() {
        let before = process_use().expect("a machine with /proc");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
        // The kernel counts ticks, and the time of its start in whole seconds.
        assert!((now - 3_600.0..=now + 1.0).contains(&before.start_s), "{before:?} at {now}");
        assert!(before.rss_bytes > 1 << 20 && before.rss_bytes < before.virtual_bytes, "{before:?}");
        assert!(before.threads >= 1 && before.open_fds < before.max_fds, "{before:?}");
        let files: Vec<File> = (0..200).map(|_| File::open("/dev/null").expect("a descriptor")).collect();
        let after = process_use().expect("a machine with /proc");
        // Other tests of this process close some meanwhile.
        assert!(after.open_fds > before.open_fds + 50, "{before:?}, {after:?}, {}", files.len());
        assert!(after.cpu_s >= before.cpu_s);
    }
}
