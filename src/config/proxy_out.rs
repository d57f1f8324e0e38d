//! What holds for the tables of `[[proxy_out]]` beside their single values.

use super::at::At;
use super::problem::Problems;
use super::rules::{begins, row};
use super::tables::Config;
use crate::limits;

/// Reports tables that are too many, that lead nowhere, or that have version 1 tell what it cannot.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    if config.proxy_out.len() > limits::PROXY_OUT_TABLES_MAX {
        let what = format!(
            "{} [[proxy_out]] are too many: at most {}",
            config.proxy_out.len(),
            limits::PROXY_OUT_TABLES_MAX
        );
        let at = begins(problems, row("proxy_out", limits::PROXY_OUT_TABLES_MAX));
        problems.push(at, what);
    }
    for (nth, table) in config.proxy_out.iter().enumerate() {
        let path = row("proxy_out", nth);
        if table.to.is_empty() && !problems.touch(path, "to") {
            let what = "needs a `to`: the targets that are told, which must expect it";
            let at = begins(problems, path);
            problems.push(at, what.to_owned());
        }
        if table.version == 1 && !table.tlvs.is_empty() {
            let at = problems.places().at(path, "tlvs").cloned().unwrap_or(At::File);
            problems.push(
                at,
                "version 1 has room for addresses alone: leave tlvs out, or take version 2".to_owned(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;
    use crate::config::proxy_table::{ProxyOutConfig, ProxyTlv};
    use crate::proto::address::Name;

    fn read(text: &str) -> Result<Config, Problems> {
        Config::parse(text, Path::new("o.toml"), &Flags::default())
    }

    fn table(keys: &str) -> ProxyOutConfig {
        let config = read(&format!("[[proxy_out]]\n{keys}\n"));
        config.unwrap_or_else(|problems| panic!("{problems}")).proxy_out.remove(0)
    }

    #[test]
    fn targets_are_names_and_blocks_at_ports() {
        let one =
            table("to = [\".example.com\", \"192.0.2.0/24\", \"2001:db8::1\"]\nports = [25, \"8000-8099\"]");
        let name = |text: &str| match crate::proto::Host::parse(text.as_bytes()) {
            Ok(crate::proto::Host::Name(name)) => name,
            other => panic!("{text}: {other:?}"),
        };
        let has = |name: Option<&Name>, address: &str| one.has(name, address.parse().unwrap());
        assert!(
            has(None, "192.0.2.9:25")
                && has(None, "[::ffff:192.0.2.9]:8000")
                && has(None, "[2001:db8::1]:8099")
        );
        assert!(
            !has(None, "192.0.2.9:26") && !has(None, "198.51.100.1:25") && !has(None, "[2001:db8::2]:25")
        );
        assert!(has(Some(&name("a.example.com")), "198.51.100.1:25"));
        assert!(!has(Some(&name("example.org")), "198.51.100.1:25"));
        assert!(one.has_name(&name("b.a.example.com"), 25) && !one.has_name(&name("b.a.example.com"), 26));
        assert!(!one.has_name(&name("example.org"), 25));
        assert_eq!((one.kinds(), table("to = \"192.0.2.1\"").kinds()), ((true, true), (true, false)));
        assert!(table("to = [\"192.0.2.1\"]").has(None, "192.0.2.1:7".parse().unwrap()));
    }

    #[test]
    fn version_2_without_more_is_the_default() {
        let one = table("to = \"192.0.2.1\"");
        assert_eq!((one.version, one.tlvs), (2, Vec::new()));
        let one = table("to = \"192.0.2.1\"\ntlvs = [\"crc32c\", \"unique_id\"]");
        assert_eq!(one.tlvs, [ProxyTlv::Crc32c, ProxyTlv::UniqueId]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (keys, line, key, what) in [
            ("version = 2", 1, "", "needs a `to`"),
            ("to = []", 2, "to", "needs a target"),
            ("to = [\"@partners\"]", 2, "to", "lists are for rules"),
            ("to = [\"192.0.2.1/24\"]", 2, "to", "192.0.2.0/24"),
            ("to = \"192.0.2.1\"\nversion = 3", 3, "version", "out of range: 1 to 2"),
            ("to = \"192.0.2.1\"\ntlvs = [\"uniqueid\"]", 3, "tlvs", "did you mean \"unique_id\"?"),
            (
                "to = \"192.0.2.1\"\nversion = 1\ntlvs = [\"crc32c\"]",
                4,
                "tlvs",
                "version 1 has room for addresses alone",
            ),
        ] {
            let said = read(&format!("[[proxy_out]]\n{keys}\n")).expect_err(keys).to_string();
            assert!(
                said.contains(&format!(":{line}:")) && said.contains(key) && said.contains(what),
                "{keys}: {said}"
            );
        }
    }
}
