//! What stands in `[[egress]]`, value by value: addresses, tags, cooldowns, interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::at::Typed;
use super::form::{Form, ValueReader, duration, number};
use super::nearest::{unknown_key, with_nearest};
use super::problem::quoted;
use super::rule_values::{network, own_name};
use super::typed::Value;
use super::value::string;
use crate::limits;
use crate::policy::egress::CooldownTerms;

/// An address that connections can leave from, or a block of them.
pub(super) fn source(typed: &str) -> Result<IpNet, String> {
    let net = network(typed)?;
    let (is_v4, bits) = (net.addr().is_ipv4(), net.prefix_len());
    let least = if is_v4 { limits::EGRESS_V4_PREFIX_MIN } else { limits::EGRESS_V6_PREFIX_MIN };
    if bits < least {
        return Err(format!("{} is too large: a block of a pool is a /{least} at most", quoted(typed)));
    }
    let what = match net.addr() {
        ip if ip.is_unspecified() => "the unspecified address",
        ip if ip.is_multicast() => "multicast",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link-local",
        _ => return Ok(net),
    };
    Err(format!("{}: nothing leaves from {what}", quoted(typed)))
}

/// The name of an interface, as the kernel takes it.
pub(super) fn interface(typed: &str) -> Result<Arc<str>, String> {
    let fits = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    match (1..=limits::INTERFACE_NAME_MAX).contains(&typed.len()) && typed.chars().all(fits) {
        true => Ok(typed.into()),
        false => Err(format!("{} is no name of an interface such as \"eth0\"", quoted(typed))),
    }
}

/// A network namespace: the name that `ip netns` gives it, or the path of its file.
pub(super) fn netns(typed: &str) -> Result<PathBuf, String> {
    match typed.starts_with('/') {
        true => Ok(PathBuf::from(typed)),
        false => own_name(typed).map(|name| PathBuf::from("/run/netns").join(&*name)).map_err(|_| {
            format!("{} is no name of a network namespace and no path of its file", quoted(typed))
        }),
    }
}

pub(super) const COOLDOWN_EXAMPLE: &str =
    "{ refused = 50, reset_rate = 50, min_samples = 20, max = \"10m\" }";
const COOLDOWN_KEYS: [&str; 4] = ["refused", "reset_rate", "min_samples", "max"];

/// Reads and prints when an address is left alone: a table.
#[derive(Clone)]
struct CooldownForm;

pub(super) fn cooldown() -> impl Form<CooldownTerms> {
    CooldownForm
}

fn cooldown_time() -> RangeInclusive<Duration> {
    Duration::from_secs(1)..=limits::EGRESS_COOLDOWN_MAX
}

impl Form<CooldownTerms> for CooldownForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<CooldownTerms> {
        let Value::Table(entries) = &typed.value else {
            return reader.wrong_type(typed, &format!("a table such as {COOLDOWN_EXAMPLE}"), None);
        };
        let (mut cooldown, mut right) = (CooldownTerms::default(), true);
        for (name, typed) in entries {
            right &= match name.as_str() {
                "refused" => {
                    number(1..=100).read(typed, reader).map(|share| cooldown.refused = share).is_some()
                }
                "reset_rate" => {
                    number(1..=100).read(typed, reader).map(|share| cooldown.reset_rate = share).is_some()
                }
                "min_samples" => {
                    let samples = number(1..=u64::from(limits::EGRESS_SAMPLES_MAX)).read(typed, reader);
                    samples.map(|samples| cooldown.min_samples = samples).is_some()
                }
                "max" => {
                    duration(cooldown_time()).read(typed, reader).map(|max| cooldown.max = max).is_some()
                }
                other => {
                    reader.refuse(&typed.at, unknown_key(other, &COOLDOWN_KEYS));
                    false
                }
            };
        }
        right.then_some(cooldown)
    }

    fn print(
        &self,
        CooldownTerms { refused, reset_rate, min_samples, max }: &CooldownTerms,
    ) -> Option<String> {
        let max = duration(cooldown_time()).print(max)?;
        Some(format!(
            "{{ refused = {refused}, reset_rate = {reset_rate}, min_samples = {min_samples}, max = {max} }}"
        ))
    }
}

pub(super) const TAGS_EXAMPLE: &str = "{ area = \"de\", city = \"ber\" }";

/// Tags by their names.
pub(super) type Tags = BTreeMap<Arc<str>, Arc<str>>;

/// Reads and prints tags: a table of plain words.
#[derive(Clone)]
struct TagsForm;

pub(super) fn tags() -> impl Form<Tags> {
    TagsForm
}

impl Form<Tags> for TagsForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Tags> {
        let Value::Table(entries) = &typed.value else {
            return reader.wrong_type(typed, &format!("a table such as {TAGS_EXAMPLE}"), None);
        };
        if entries.len() > limits::EGRESS_TAGS_MAX {
            let what = format!("{} tags are too many: at most {}", entries.len(), limits::EGRESS_TAGS_MAX);
            reader.refuse(&typed.at, what);
            return None;
        }
        let (mut tags, mut right) = (Tags::new(), true);
        for (name, typed) in entries {
            let Value::Text(value) = &typed.value else {
                right = reader.wrong_type::<()>(typed, "a string", None).is_some();
                continue;
            };
            match tag(name).and_then(|name| Ok((name, tag(value)?))) {
                Ok((name, value)) => drop(tags.insert(name, value)),
                Err(what) => {
                    reader.refuse(&typed.at, what);
                    right = false;
                }
            }
        }
        right.then_some(tags)
    }

    fn print(&self, tags: &Tags) -> Option<String> {
        let one = |(name, value): (&Arc<str>, &Arc<str>)| format!("{name} = {}", string(value));
        let all: Vec<String> = tags.iter().map(one).collect();
        (!all.is_empty()).then(|| format!("{{ {} }}", all.join(", ")))
    }

    fn example(&self) -> Option<String> {
        Some(TAGS_EXAMPLE.to_owned())
    }
}

/// A tag or its value, as users may type it within their names: small letters and digits.
fn tag(typed: &str) -> Result<Arc<str>, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if (1..=limits::EGRESS_TAG_LENGTH_MAX).contains(&typed.len()) && typed.chars().all(fits) {
        return Ok(typed.into());
    }
    let lower = typed.to_ascii_lowercase();
    let meant = (lower != typed && lower.chars().all(fits)).then(|| format!("\"{lower}\""));
    let what = format!(
        "{} is no tag of 1 to {} small letters, digits and \"_\"",
        quoted(typed),
        limits::EGRESS_TAG_LENGTH_MAX
    );
    Err(with_nearest(what, meant))
}
