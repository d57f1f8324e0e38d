//! Variables of the environment that are for this process alone, taken out of it.

use std::ffi::OsString;

/// The values of these variables. They are gone afterwards where the caller is the process's only thread: no child is to
/// take them for its own. Beside other threads they stay, for one of them may be reading the environment.
pub fn take<const N: usize>(names: [&str; N]) -> [Option<OsString>; N] {
    let values = names.map(std::env::var_os);
    if is_only_thread() {
        for name in names {
            // SAFETY: what must not be is another thread that reads or writes the environment meanwhile, and there
            // is no other thread.
            unsafe { std::env::remove_var(name) }
        }
    }
    values
}

/// Whether this process has no other thread.
pub(super) fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}
