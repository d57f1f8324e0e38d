//! Variables of the environment in values: `"${NAME}"`, and `"${NAME:-text}"` where a text stands for one that is not set or
//! empty. `$${` is `${`. Only strings of the configuration file have them: never its keys, and never what a file has that it
//! names.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::nearest::{nearest, with_nearest};
use super::problem::quoted;
use crate::limits;

/// What begins a variable, and what stands for that itself.
const BEGIN: &str = "${";
const LITERAL: &str = "$${";

/// The variables that there are.
pub(super) type Environment = BTreeMap<OsString, OsString>;

/// Puts values in the place of variables, as long as there is room for them.
pub(super) struct Variables<'a> {
    environment: &'a Environment,
    /// Bytes that values may yet come to: one variable may be as large as a file, and a file may name it often.
    room: usize,
}

/// A string and the variables that it was made with, as a message calls them: `${A}, ${B}`.
#[derive(Debug, PartialEq)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) variables: Option<String>,
}

impl<'a> Variables<'a> {
    pub(super) fn of(environment: &'a Environment) -> Variables<'a> {
        Variables { environment, room: limits::VARIABLES_BYTES_MAX }
    }

    /// The string with the values of its variables.
    ///
    /// # Errors
    /// What to say of one that has none, or is none. No value is repeated.
    pub(super) fn expand(&mut self, typed: &str) -> Result<Expanded, String> {
        let (mut text, mut variables, mut rest) = (String::new(), Vec::new(), typed);
        while let Some(at) = rest.find(BEGIN) {
            // The last `$` of some in a row belongs to the brace, and the one before it says that the two mean themselves.
            if rest[..at].ends_with('$') {
                text.push_str(&rest[..at - 1]);
                text.push_str(BEGIN);
                rest = &rest[at + BEGIN.len()..];
                continue;
            }
            text.push_str(&rest[..at]);
            let (inner, behind) = rest[at + BEGIN.len()..].split_once('}').ok_or_else(|| {
                format!("{} has no \"}}\" behind \"${{\"; {}", quoted(typed), literal("${"))
            })?;
            let (name, value) = self.value(inner)?;
            text.push_str(&value);
            variables.push(format!("${{{name}}}"));
            rest = behind;
        }
        text.push_str(rest);
        let variables = (!variables.is_empty()).then(|| variables.join(", "));
        Ok(Expanded { text, variables })
    }

    /// The name of what stands between the braces, and its value.
    fn value<'t>(&mut self, inner: &'t str) -> Result<(&'t str, String), String> {
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, text)| (name, Some(text)));
        if !is_name(name) {
            let shown = quoted(&format!("${{{inner}}}"));
            let what = "variables are named by letters, digits and \"_\", and may have a text for where they are not set: \
                        \"${NAME:-text}\"";
            return Err(format!("{shown}: {what}; {}", literal(&format!("${{{inner}}}"))));
        }
        let set = self.environment.get(&OsString::from(name));
        let value = match (set, default) {
            (None, None) => return Err(self.unset(name)),
            (None, Some(text)) => text.to_owned(),
            (Some(value), Some(text)) if value.is_empty() => text.to_owned(),
            (Some(value), _) => {
                value.to_str().ok_or_else(|| format!("the value of ${{{name}}} is not UTF-8"))?.to_owned()
            }
        };
        self.room = self.room.checked_sub(value.len()).ok_or_else(|| {
            format!(
                "with ${{{name}}} the values of variables are larger than {} bytes",
                limits::VARIABLES_BYTES_MAX
            )
        })?;
        Ok((name, value))
    }

    fn unset(&self, name: &str) -> String {
        // Names are of capitals by custom, and a slip is one in either case.
        let lower = |name: &str| name.to_ascii_lowercase();
        let names = || self.environment.keys().filter_map(|name| name.to_str());
        let alike: Vec<String> = names().map(lower).collect();
        let meant = nearest(name, alike.iter().map(String::as_str));
        let meant = meant.and_then(|meant| names().find(|name| lower(name) == meant));
        let what = format!("{name} is not set in the environment");
        match meant {
            Some(meant) => with_nearest(what, Some(format!("${{{meant}}}"))),
            None => {
                format!("{what}: `${{{name}:-text}}` has a text for that, and `$${{{name}}}` is no variable")
            }
        }
    }
}

/// A string as it is typed that is to be taken as it stands.
pub(super) fn taken_literally(text: &str) -> String {
    text.replace(BEGIN, LITERAL)
}

fn literal(text: &str) -> String {
    format!("as it stands it is typed {}", quoted(&taken_literally(text)))
}

/// What a shell takes for a name (POSIX.1-2017, section 3.235).
fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Config, Flags};

    fn environment() -> Environment {
        let of = |(name, value): (&str, &str)| (OsString::from(name), OsString::from(value));
        [
            ("POD_IP", "192.0.2.7"),
            ("WORKERS", "3"),
            ("PIN", "false"),
            ("EMPTY", ""),
            ("NAMES", "${POD_IP}"),
            ("WORD", "four"),
            ("PASSWORD", "hush"),
            ("PORTS", "443"),
        ]
        .map(of)
        .into_iter()
        .chain([(OsString::from("BYTES"), OsString::from_vec(vec![0xFF]))])
        .collect()
    }

    fn expand(typed: &str) -> Result<String, String> {
        Variables::of(&environment()).expand(typed).map(|expanded| expanded.text)
    }

    fn parse(text: &str) -> Result<Config, String> {
        let parsed = Config::parse_with(text, Path::new("f"), &Flags::default(), &environment());
        parsed.map_err(|problems| problems.to_string())
    }

    #[test]
    fn values_stand_in_the_place_of_variables() {
        for (typed, text) in [
            ("${POD_IP}", "192.0.2.7"),
            ("${POD_IP}:1080", "192.0.2.7:1080"),
            ("a${WORKERS}b${WORKERS}c", "a3b3c"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${ABSENT:-}", ""),
            ("${ABSENT:-a:-b}", "a:-b"),
            ("${WORKERS:-9}", "3"),
            // What a value has is not looked at again.
            ("${NAMES}", "${POD_IP}"),
            ("$${POD_IP}", "${POD_IP}"),
            ("$$${POD_IP}", "$${POD_IP}"),
            ("$${", "${"),
            ("a $ b $$ c $5 {x}", "a $ b $$ c $5 {x}"),
            ("", ""),
        ] {
            assert_eq!(expand(typed).as_deref(), Ok(text), "{typed}");
        }
    }

    #[test]
    fn what_is_no_variable_is_said_with_what_is_meant() {
        for (typed, said) in [
            ("${POD_IPP}", "POD_IPP is not set in the environment; did you mean ${POD_IP}?"),
            ("${pod_ip}", "pod_ip is not set in the environment; did you mean ${POD_IP}?"),
            (
                "${HOSTNAME_OF_IT}",
                "HOSTNAME_OF_IT is not set in the environment: `${HOSTNAME_OF_IT:-text}` has a text for that, and \
                 `$${HOSTNAME_OF_IT}` is no variable",
            ),
            ("x${POD_IP", "\"x${POD_IP\" has no \"}\" behind \"${\"; as it stands it is typed \"$${\""),
            ("${BYTES}", "the value of ${BYTES} is not UTF-8"),
        ] {
            assert_eq!(expand(typed), Err(said.to_owned()), "{typed}");
        }
        for typed in ["${}", "${POD IP}", "${1}", "${POD_IP-x}", "${:-x}", "${POD_IP?}", "${ä}"] {
            let said = expand(typed).unwrap_err();
            assert!(said.contains("\"${NAME:-text}\""), "{said}");
            assert!(said.ends_with(&format!("is typed \"$${{{}\"", &typed[2..])), "{said}");
        }
    }

    #[test]
    fn values_together_have_a_bound() {
        let large = Environment::from([("L".into(), "x".repeat(limits::VARIABLES_BYTES_MAX / 2).into())]);
        let mut variables = Variables::of(&large);
        assert!(variables.expand("${L}${L}").is_ok());
        let said = variables.expand("y${EMPTY:-x}").unwrap_err();
        assert!(said.starts_with("with ${EMPTY} the values of variables are larger than"), "{said}");
    }

    #[test]
    fn every_kind_of_value_may_come_from_the_environment() {
        let text = "[server]\nlisten = [\"${POD_IP}:1080\", \"127.0.0.1:1081\"]\nopen_proxy = true\n\
                    workers = \"${WORKERS}\"\npin = \"${PIN}\"\n[timeouts]\nidle = \"${WORKERS}s\"\n\
                    [udp]\nadvertise = \"${POD_IP}\"\n[groups]\nstaff = [\"${WORD}\"]\n\
                    [[rule]]\nname = \"${WORD}\"\naction = \"allow\"\nports = \"${PORTS}\"\n\
                    [[limit]]\nname = \"a\"\nper = \"user\"\nnew_per_second = \"${WORKERS}\"\nconnections = \"${ABSENT:-12}\"\n\
                    [per_source]\nnew_per_second = { rate = \"${WORKERS}\" }\n"
            .replace("[per_source]", "[limits.per_source]");
        let config = parse(&text).unwrap();
        assert_eq!((config.server.workers, config.server.pin), (3, false));
        assert_eq!(config.server.listen[0].to_string(), "192.0.2.7:1080");
        assert_eq!(config.limits[0].connections, 12);
        assert_eq!(config.rules[0].ports.len(), 1);
        assert_eq!(&*config.groups["staff"], ["four".into()] as [std::sync::Arc<str>; 1]);
    }

    #[test]
    fn a_wrong_value_is_said_with_file_line_key_and_variable() {
        for (text, said) in [
            (
                "[udp]\nadvertise = \"${POD_IQ}\"\n",
                "f:2: [udp] key `advertise`: POD_IQ is not set in the environment; did you mean ${POD_IP}?",
            ),
            (
                "[server]\nworkers = \"${WORD}\"\n",
                "f:2: [server] key `workers` (${WORD}): expected a whole number, found \"four\"",
            ),
            (
                "[server]\n\nlisten = [\"127.0.0.1:1\",\n\"${WORD}\"]\n",
                "f:4: [server] key `listen` (${WORD}): \"four\" is not an address and port such as \"127.0.0.1:1080\"",
            ),
            (
                "[server]\npin = \"false\"\n",
                "f:2: [server] key `pin`: expected true or false, found a string; did you mean false?",
            ),
            (
                "[server]\nworkers = \"${EMPTY}\"\n",
                "f:2: [server] key `workers` (${EMPTY}): expected a whole number, found \"\"",
            ),
            (
                "[server]\nworkers = \"${WORKERS}00000\"\n",
                "f:2: [server] key `workers` (${WORKERS}): 300000 is out of range: 0 to 1024",
            ),
        ] {
            let said_of = parse(text).unwrap_err();
            assert!(said_of.starts_with(said), "{said_of}\nand not\n{said}");
        }
        // One problem for each, and none that follows from it.
        let both = "[server]\nlisten = [\"${X1}\", \"${X2}\"]\n[[listener]]\naddress = \"${X3}\"\n";
        assert_eq!(parse(both).unwrap_err().lines().count(), 3);
    }

    #[test]
    fn keys_and_names_of_tables_have_no_variables() {
        let config = parse("[groups]\n\"${WORD}\" = [\"ann\"]\n");
        assert!(config.is_err_and(|said| !said.contains("four")), "a name with a brace is none");
    }

    #[test]
    fn no_password_from_the_environment_is_printed() {
        let text = "[[parent]]\nname = \"p\"\nservers = [\"socks5://ann:${PASSWORD}@192.0.2.1\"]\n";
        let printed = parse(text).unwrap().to_toml();
        assert!(printed.contains("ann:***@192.0.2.1") && !printed.contains("hush"), "{printed}");
        let wrong = parse(&text.replace("socks5://", "socks5:/")).unwrap_err();
        assert!(wrong.contains("${PASSWORD}") && !wrong.contains("hush"), "{wrong}");
    }

    #[test]
    fn what_is_printed_gives_the_same_again() {
        let config = parse("[auth]\nmethods = [\"password\"]\nusers = \"/a/$${POD_IP}$$${x\"\n").unwrap();
        assert_eq!(config.auth.users.as_deref(), Some(Path::new("/a/${POD_IP}$${x")));
        assert_eq!(parse(&config.to_toml()), Ok(config));
    }

    proptest! {
        #[test]
        fn a_text_that_is_typed_literally_is_itself(text in "[${}A:-]{0,12}") {
            prop_assert_eq!(expand(&taken_literally(&text)), Ok(text));
        }
    }
}
