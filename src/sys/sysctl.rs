//! What the kernel is set to, as /proc/sys tells it; of the network what the namespace of the calling thread is set to.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

/// The value at a path below /proc/sys, such as `net/ipv4/tcp_tw_reuse`, without the line's end.
///
/// # Errors
/// What keeps it from being read: there is no such setting, or no /proc.
pub fn text(path: &str) -> io::Result<String> {
    fs::read_to_string(Path::new("/proc/sys").join(path)).map(|text| text.trim_end().to_owned())
}

/// A value that is one number.
pub fn number(path: &str) -> Option<u64> {
    text(path).ok()?.trim().parse().ok()
}

/// The ports from which the kernel takes those of sockets that name none (net.ipv4.ip_local_port_range).
///
/// # Errors
/// As [`text`].
pub fn local_ports() -> io::Result<RangeInclusive<u16>> {
    let text = text("net/ipv4/ip_local_port_range")?;
    ends(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not two ports"))
}

fn ends(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_ascii_whitespace().map(|end| end.parse::<u16>().ok());
    Some(ends.next()??..=ends.next()??)
}

/// The ports among them that it leaves alone (net.ipv4.ip_local_reserved_ports).
pub fn reserved_ports() -> Vec<RangeInclusive<u16>> {
    text("net/ipv4/ip_local_reserved_ports").map(|text| ranges(&text)).unwrap_or_default()
}

fn ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_the_kernel_writes_them() {
        assert_eq!(ends("32768\t60999"), Some(32_768..=60_999));
        assert_eq!(ends("1024 65535"), Some(1_024..=65_535));
        assert_eq!((ends(""), ends("1"), ends("1 70000"), ends("a b")), (None, None, None, None));
        assert_eq!(ranges(""), []);
        assert_eq!(ranges("8080,9000-9100"), [8_080..=8_080, 9_000..=9_100]);
        assert_eq!(ranges("8080,x,1-"), [8_080..=8_080]);
    }

    #[test]
    fn this_kernel_is_read() {
        let ports = local_ports().unwrap();
        assert!(ports.start() < ports.end(), "{ports:?}");
        assert!(number("net/ipv4/tcp_tw_reuse").is_some());
        assert_eq!(number("net/ipv4/no_such_setting"), None);
    }
}
