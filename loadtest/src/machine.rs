//! The machine that a figure was taken on: what is needed to judge it, and nothing that names its owner.
//!
//! Only /proc and the limits of this process are read. A fact that this kernel does not tell is left out.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

/// Facts about the hardware and the settings that relays run into.
#[derive(Default, Serialize)]
pub(crate) struct Machine {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_model: Option<String>,
    /// CPUs online, whichever of them the run was pinned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    /// Whether the CPU says that a hypervisor is below (x86 alone says).
    #[serde(skip_serializing_if = "Option::is_none")]
    virtualised: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    somaxconn: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipe_user_pages_soft: Option<u64>,
    /// First and last port that the kernel gives to a client.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    port_range: Vec<u64>,
    /// Least, default and most bytes of a TCP receive buffer, then of a send buffer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tcp_rmem_bytes: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tcp_wmem_bytes: Vec<u64>,
    /// Descriptors that the load generator may open; the server's limit is its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    fd_limit: Option<u64>,
}

impl Machine {
    /// This machine, as it is now.
    pub(crate) fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = colon_value(&cpuinfo, "flags");
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = colon_value(&meminfo, "MemTotal").and_then(|text| numbers(&text).first().copied());
        Self {
            cpu_model: colon_value(&cpuinfo, "model name"),
            cpus: sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten(),
            memory_bytes: memory.map(|kilobytes| kilobytes * 1024),
            kernel: text("kernel/osrelease"),
            virtualised: flags.map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            somaxconn: number("net/core/somaxconn"),
            pipe_user_pages_soft: number("fs/pipe-user-pages-soft"),
            port_range: list("net/ipv4/ip_local_port_range"),
            tcp_rmem_bytes: list("net/ipv4/tcp_rmem"),
            tcp_wmem_bytes: list("net/ipv4/tcp_wmem"),
            fd_limit: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

fn text(sysctl: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{sysctl}")).ok().map(|text| text.trim().to_owned())
}

fn list(sysctl: &str) -> Vec<u64> {
    text(sysctl).map(|text| numbers(&text)).unwrap_or_default()
}

fn number(sysctl: &str) -> Option<u64> {
    list(sysctl).first().copied()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// The value of the first line `NAME : VALUE`.
fn colon_value(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A CPU @ 2.0: fast\nflags\t\t: fpu hypervisor\n";
        assert_eq!(colon_value(cpuinfo, "model name").as_deref(), Some("A CPU @ 2.0: fast"));
        assert_eq!(colon_value(cpuinfo, "vendor_id"), None);
        assert_eq!(numbers("4096\t131072\t6291456\n"), [4096, 131_072, 6_291_456]);
        assert_eq!(numbers("16384 kB"), [16_384]);
    }

    #[test]
    fn this_machine_has_memory_and_ports_and_no_name() {
        let machine = Machine::here();
        assert!(machine.memory_bytes > Some(0) && machine.cpus > Some(0));
        assert_eq!(machine.port_range.len(), 2);
        let host = text("kernel/hostname").expect("a host name");
        let record = serde_json::to_value(&machine).expect("JSON");
        let strings = record.as_object().expect("an object").values().filter_map(|value| value.as_str());
        assert!(strings.into_iter().all(|value| value != host));
    }
}
