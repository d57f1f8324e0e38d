//! The files of lists: a name or a block of addresses a line.

use std::io::{self, Read};
use std::path::Path;
use std::str::Utf8Error;

use crate::config::{ListConfig, ListEntry, list_entry};
use crate::limits;
use crate::policy::rules::spec::{ListSpec, NamePattern};
use crate::sys::files::open_regular;

/// Gives what a list has in the configuration and in its file.
///
/// # Errors
/// What is wrong with the file, where in it.
pub(super) fn load(list: &ListConfig) -> Result<ListSpec, String> {
    let mut spec =
        ListSpec { name: list.name.clone(), names: list.domains.clone(), networks: list.cidrs.clone() };
    if let Some(path) = &list.file {
        let bytes = read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
        add(&bytes, list.subdomains, &mut spec).map_err(|what| format!("{}:{what}", path.display()))?;
    }
    Ok(spec)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(limits::LIST_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limits::LIST_FILE_BYTES_MAX {
        true => {
            let most = limits::LIST_FILE_BYTES_MAX >> 20;
            Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} MiB")))
        }
        false => Ok(bytes),
    }
}

/// Adds the entries of a file.
///
/// # Errors
/// The first line that is none, and how many more are not.
fn add(bytes: &[u8], subdomains: bool, spec: &mut ListSpec) -> Result<(), String> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let (mut first, mut wrong) = (None, 0_usize);
    for (nth, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        match entry(line) {
            Ok(None) => {}
            Ok(Some(ListEntry::Network(net))) => spec.networks.push(net),
            Ok(Some(ListEntry::Name(NamePattern::Exact(name)))) if subdomains => {
                spec.names.push(NamePattern::Under(name));
            }
            Ok(Some(ListEntry::Name(pattern))) => spec.names.push(pattern),
            Err(what) => {
                first.get_or_insert_with(|| format!("{}: {what}", nth + 1));
                wrong += 1;
            }
        }
        if spec.names.len() + spec.networks.len() > limits::LIST_ENTRIES_MAX {
            return Err(format!("{}: more than {} entries", nth + 1, limits::LIST_ENTRIES_MAX));
        }
    }
    match (first, wrong) {
        (None, _) => Ok(()),
        (Some(first), 1) => Err(first),
        (Some(first), 2) => Err(format!("{first} (and one more line)")),
        (Some(first), wrong) => Err(format!("{first} (and {} more lines)", wrong - 1)),
    }
}

/// What stands in a line; `None` where nothing does.
fn entry(line: &[u8]) -> Result<Option<ListEntry>, String> {
    if line.len() > limits::LIST_LINE_BYTES_MAX {
        return Err(format!("longer than {} bytes", limits::LIST_LINE_BYTES_MAX));
    }
    let text = std::str::from_utf8(line).map_err(|_: Utf8Error| "not UTF-8".to_owned())?;
    match text.split('#').next().unwrap_or_default().trim() {
        "" => Ok(None),
        text => list_entry(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;

    fn loaded(bytes: &[u8], subdomains: bool) -> Result<Vec<String>, String> {
        let mut spec = ListSpec::default();
        add(bytes, subdomains, &mut spec)?;
        let networks = spec.networks.iter().map(ToString::to_string);
        Ok(spec.names.iter().map(ToString::to_string).chain(networks).collect())
    }

    #[test]
    fn a_line_is_a_name_a_block_or_a_comment() {
        let text = "\u{feff}# what is blocked\r\nAds.Example.\r\n\r\n  *.b.example   # and why\n.c.example\n\
                    192.0.2.0/24\n2001:db8::1\n0x7f.1\nb\u{fc}cher.example#\n\t\n";
        let expected = [
            "ads.example",
            "*.b.example",
            ".c.example",
            "xn--bcher-kva.example",
            "192.0.2.0/24",
            "2001:db8::1/128",
            "127.0.0.1/32",
        ];
        assert_eq!(loaded(text.as_bytes(), false).unwrap(), expected);
        assert_eq!(loaded(b"a.example", false).unwrap(), ["a.example"], "a line without its end");
        assert_eq!(loaded(b"", false).unwrap(), [""; 0]);
    }

    /// Lists that are made elsewhere mean a name and all below it, and cannot be asked to say so.
    #[test]
    fn plain_names_stand_for_those_below_them_where_that_is_said() {
        let text = b"a.example\n*.b.example\n.c.example\n10.0.0.0/8\n";
        assert_eq!(loaded(text, true).unwrap(), [".a.example", "*.b.example", ".c.example", "10.0.0.0/8"]);
    }

    #[test]
    fn a_broken_line_is_named_and_the_others_are_counted() {
        let what = "\"a b\" is no name, address or block of addresses: character ' '; did you mean \"b\"?";
        assert_eq!(loaded(b"ok.example\na b\n", false), Err(format!("2: {what}")));
        assert_eq!(loaded(b"a b\nok.example\n..\n", false), Err(format!("1: {what} (and one more line)")));
        assert_eq!(loaded(b"a b\n..\n10.0.0.1/8\n", false), Err(format!("1: {what} (and 2 more lines)")));
        assert_eq!(loaded(b"a.example\n\xff\n", false), Err("2: not UTF-8".to_owned()));
        let long = "a".repeat(limits::LIST_LINE_BYTES_MAX + 1);
        assert_eq!(loaded(long.as_bytes(), false), Err("1: longer than 4096 bytes".to_owned()));
    }

    #[test]
    fn a_file_that_is_none_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let list = |name: &str| {
            let file = Some(folder.path().join(name));
            load(&ListConfig { name: Arc::from("l"), file, ..ListConfig::default() })
        };
        let says = |name: &str, what: &str| {
            let said = list(name).unwrap_err();
            assert!(said.starts_with(folder.path().to_str().unwrap()) && said.contains(what), "{said}");
        };
        says("none", "cannot be read: No such file");
        nix::unistd::mkfifo(&folder.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        says("fifo", "cannot be read: not a regular file");
        let large = fs::File::create(folder.path().join("large")).unwrap();
        large.set_len(limits::LIST_FILE_BYTES_MAX + 1).unwrap();
        says("large", "cannot be read: larger than 64 MiB");
    }
}
