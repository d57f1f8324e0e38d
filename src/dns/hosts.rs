//! The hosts file (hosts(5)) and the names that are loopback whatever it says.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use crate::limits::{DNS_ADDRESSES, DNS_FILE};
use crate::proto::address::{Host, Name};

const LOOPBACK: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

/// Names with fixed addresses. A name that stands here is never asked for, also when its addresses are
/// all of a family that is not wanted.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Shared, for a file may have a million names.
    names: Arc<HashMap<Box<str>, Vec<IpAddr>>>,
    /// The first name of each address, which is its canonical one (hosts(5)).
    by_address: Arc<HashMap<IpAddr, Name>>,
}

impl Hosts {
    /// Whether these are the very same: read from the same file at the same time.
    pub(super) fn is_as(&self, other: &Hosts) -> bool {
        Arc::ptr_eq(&self.names, &other.names)
    }

    /// No file: only the loopback names are known.
    pub fn empty() -> Hosts {
        Hosts::default()
    }

    /// Reads `path`; a file that is not there is an empty one.
    ///
    /// # Errors
    /// What keeps the file from being read.
    pub fn load(path: &Path) -> io::Result<Hosts> {
        Ok(Hosts::parse(&read(path)?.unwrap_or_default()))
    }

    /// Takes a hosts file's text. A line whose address cannot be read is skipped: one mistake in a
    /// system file must not keep the relay from starting.
    pub fn parse(text: &str) -> Hosts {
        let mut names: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        let mut by_address = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
                continue;
            };
            for (at, word) in words.enumerate() {
                if at == 0
                    && let Ok(Host::Name(name)) = Host::parse(word.as_bytes())
                {
                    by_address.entry(address.to_canonical()).or_insert(name);
                }
                let name = word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase();
                let known = names.entry(name.into_boxed_str()).or_default();
                if known.len() < DNS_ADDRESSES && !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        Hosts { names: Arc::new(names), by_address: Arc::new(by_address) }
    }

    /// The addresses of a canonical name (lower case, no trailing dot); none if it is not listed.
    pub fn lookup(&self, name: &str) -> &[IpAddr] {
        if is_localhost(name) {
            return &LOOPBACK;
        }
        self.names.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Hosts {
    /// The name of an address, if it is listed.
    pub fn name_of(&self, ip: IpAddr) -> Option<Name> {
        self.by_address.get(&ip.to_canonical()).cloned()
    }
}

/// RFC 6761 section 6.3: `localhost` and every name below it are loopback, and are never asked for.
fn is_localhost(name: &str) -> bool {
    name.strip_suffix("localhost").is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// The text of a system file, with anything that is not UTF-8 replaced, or `None` if there is no file.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(DNS_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_aliases_case_dots_and_both_families() {
        let hosts = Hosts::parse(
            "# a comment\n\
             192.0.2.1\tone.example  ONE  # trailing\n\
             \n\
             2001:db8::1 one.example. one.example\r\n\
             192.0.2.9#nothing\n\
             not-an-address two.example\n\
             192.0.2.300 three.example\n\
             192.0.2.7",
        );
        let one: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(hosts.lookup("one.example"), one);
        assert_eq!(hosts.lookup("one"), &one[..1]);
        assert!(hosts.lookup("two.example").is_empty());
        assert!(hosts.lookup("three.example").is_empty());
        assert!(hosts.lookup("nothing").is_empty());
        assert!(hosts.lookup("").is_empty());
    }

    #[test]
    fn localhost_is_loopback_whatever_the_file_says() {
        let hosts = Hosts::parse("192.0.2.66 localhost api.localhost notlocalhost\n");
        assert_eq!(hosts.lookup("localhost"), LOOPBACK);
        assert_eq!(hosts.lookup("api.localhost"), LOOPBACK);
        assert_eq!(hosts.lookup("a.b.localhost"), LOOPBACK);
        assert_eq!(hosts.lookup("notlocalhost"), ["192.0.2.66".parse::<IpAddr>().unwrap()]);
        assert_eq!(Hosts::empty().lookup("localhost"), LOOPBACK);
        assert!(Hosts::empty().lookup("localhost.example").is_empty());
    }

    #[test]
    fn a_missing_file_is_empty_and_a_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Hosts::load(&directory.path().join("none")).unwrap().names.is_empty());
        assert!(Hosts::load(directory.path()).is_err());
    }

    #[test]
    fn bytes_that_are_not_text_spoil_only_their_word() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        std::fs::write(&path, b"192.0.2.1 \xff\xfe one.example\n").unwrap();
        assert_eq!(Hosts::load(&path).unwrap().lookup("one.example").len(), 1);
    }
}
