//! Names by which a service manager keeps listeners of ours.

use std::fmt::Write;

use crate::config::ListenAddress;
use crate::limits;

/// What the names begin with, by which it knows them: those of sockets that it opened itself are the operator's choice.
const PREFIX: &str = "stored.";

/// Whether the manager keeps a descriptor of this name for us, and did not open it.
pub(super) fn is_stored(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The name by which it knows a listener; `None` where that would be none. It has printable characters of ASCII and no colon, and
/// is the same for the next process.
pub(super) fn name_of(address: &ListenAddress) -> Option<String> {
    let mut name = PREFIX.to_owned();
    for byte in address.to_string().bytes() {
        // Writing to a String cannot fail.
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => write!(name, "{}", char::from(byte)),
            other => write!(name, "_{other:02X}"),
        };
    }
    (name.len() <= limits::STORED_NAME_MAX).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn names_are_what_systemd_takes_and_no_two_alike() {
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().unwrap_or_else(|()| panic!("{text}")));
        let unix = |path: &str| ListenAddress::Unix(PathBuf::from(path));
        assert_eq!(name_of(&tcp("127.0.0.1:1080")).unwrap(), "stored.127.0.0.1_3A1080");
        assert_eq!(name_of(&tcp("[::1]:1080")).unwrap(), "stored._5B_3A_3A1_5D_3A1080");
        assert_eq!(name_of(&unix("/run/a_b")).unwrap(), "stored.unix_3A_2Frun_2Fa_5Fb");
        assert!(is_stored("stored.x") && !is_stored("outflow.socket") && !is_stored("admin"));
        let long = format!("/{}", "/".repeat(100));
        assert_eq!(name_of(&unix(&long)), None);
        let longest = format!("/{}", "ä".repeat(40));
        assert!(name_of(&unix(&longest)).is_none_or(|name| name.len() <= limits::STORED_NAME_MAX));
    }
}
