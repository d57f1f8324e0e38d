//! Where the NAT64 prefixes come from whose addresses are judged by what they carry.

use ipnet::{IpNet, Ipv6Net};

use super::at::Typed;
use super::form::{Form, ValueReader};
use super::list_form::{ListForm, distinct, list};
use super::nearest::{nearest, with_nearest};
use super::problem::quoted;
use super::typed::Value;
use super::value::{block, string};
use crate::limits;
use crate::policy::Nat64;

/// How translators' prefixes are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dns64 {
    /// Prefixes are those that the name servers show (RFC 7050), so far as that opens nothing.
    #[default]
    Auto,
    /// No prefix is known: 64:ff9b::/96 is refused like other special-purpose ranges.
    Off,
    /// Prefixes are these, at least one; nobody is asked.
    Prefixes(Vec<Nat64>),
}

const WORDS: [(&str, Dns64); 2] = [("auto", Dns64::Auto), ("off", Dns64::Off)];

impl Dns64 {
    /// The value that is one word.
    fn of_word(typed: &str) -> Option<Dns64> {
        WORDS.into_iter().find(|(word, _)| *word == typed).map(|(_, value)| value)
    }

    /// The prefixes that were named.
    pub fn prefixes(&self) -> &[Nat64] {
        match self {
            Dns64::Auto | Dns64::Off => &[],
            Dns64::Prefixes(prefixes) => prefixes,
        }
    }
}

/// How `dns.dns64` is written: one of its words, or prefixes.
#[derive(Clone)]
struct TranslatorsForm(ListForm<Nat64>);

/// Reads and prints `dns.dns64`: one of its words, or a list of prefixes, each once.
pub(super) fn translators() -> impl Form<Dns64> {
    let prefixes = list(limits::NAT64_PREFIXES_MAX, prefix).or_one().needs("\"auto\", \"off\" or a prefix");
    TranslatorsForm(prefixes.rule(|list, reader| distinct(list, |prefix| Some(*prefix), reader)))
}

impl Form<Dns64> for TranslatorsForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Dns64> {
        let strings = self.0.strings(typed, reader)?;
        if let [one] = strings.as_slice()
            && let Some(word) = Dns64::of_word(&one.value)
        {
            return Some(word);
        }
        Some(Dns64::Prefixes(self.0.values(typed, &strings, reader)))
    }

    fn print(&self, value: &Dns64) -> Option<String> {
        match WORDS.iter().find(|(_, word)| word == value) {
            Some((word, _)) => Some(string(word)),
            None => Some(self.0.array(value.prefixes().iter())),
        }
    }

    fn kind(&self) -> String {
        format!("`\"auto\"`, `\"off\"`, or {}", self.0.list_kind())
    }
}

/// A prefix of a translator.
fn prefix(typed: &str) -> Result<Nat64, String> {
    let lengths = "a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits, and bits 64 to 71 of it are zero (RFC 6052 \
                   section 2.2)";
    match typed.parse::<Ipv6Net>() {
        Ok(_) => match block(typed)? {
            IpNet::V6(net) => Nat64::new(net).ok_or_else(|| format!("{}: {lengths}", quoted(typed))),
            IpNet::V4(_) => Err(format!("{}: {lengths}", quoted(typed))),
        },
        Err(_) => {
            let what = format!(
                "{} is none of \"auto\", \"off\" and prefixes such as \"64:ff9b::/96\"",
                quoted(typed)
            );
            let nearest = nearest(typed, WORDS.iter().map(|(word, _)| *word));
            Err(with_nearest(what, nearest.map(|word| format!("\"{word}\""))))
        }
    }
}
