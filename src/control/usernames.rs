//! How clients type parameters of their sessions: what the configuration says of it, and the key that signs them.

use std::path::Path;

use crate::admin::token_concerns;
use crate::auth::Users;
use crate::auth::username::{ParameterKind, SignatureKey, UsernameRules};
use crate::config::{Config, EgressConfig, nearest, quoted};
use crate::limits;
use crate::policy::egress::{PoolSelect, StickyOn};
use crate::policy::parents::ParentSelect;
use crate::sys::files::read_secret;

/// A table of the configuration and a key in it, and what is to be said of its value.
type UsernameConcern = ((&'static str, &'static str), String);

/// How parameters are typed; `None` where nobody types any. The key is read.
///
/// # Errors
/// The key of `[username]` whose value cannot be had, and why.
pub(super) fn username_rules(config: &Config) -> Result<Option<UsernameRules>, (&'static str, String)> {
    let username = &config.username;
    let Some(format) = username.read_format().map_err(|what| ("format", what))? else { return Ok(None) };
    let key = username.sign.as_deref().map(read_key).transpose().map_err(|what| ("sign", what))?;
    Ok(Some(UsernameRules {
        syntax: format.syntax,
        position: format.position,
        on_unknown: username.on_unknown,
        on_duplicate: username.on_duplicate,
        max_ttl: username.max_ttl,
        key,
    }))
}

fn read_key(path: &Path) -> Result<SignatureKey, String> {
    let shown = path.display();
    let bytes = read_secret(path, limits::SIGNATURE_KEY_FILE_MAX)
        .map_err(|error| format!("{shown}: the key cannot be read: {error}"))?;
    let least = limits::SIGNATURE_KEY_MIN;
    SignatureKey::of_file(&bytes).ok_or_else(|| {
        format!("{shown}: a key is {least} bytes at least: whoever guesses it signs as you do")
    })
}

/// That parameters are signed with another key than before, of the same file, in words.
pub(super) fn key_read(
    config: &Config,
    old: Option<&UsernameRules>,
    new: Option<&UsernameRules>,
) -> Option<String> {
    let path = config.username.sign.as_deref()?;
    let (old, new) = (old?.key.as_ref()?, new?.key.as_ref()?);
    (!old.signs_as(new)).then(|| format!("[username] sign: another key now, of {}", path.display()))
}

/// What is odd: a key that others may read, and users whose names are read as others' names with parameters.
pub(super) fn username_concerns(
    config: &Config,
    rules: Option<&UsernameRules>,
    users: Option<&Users>,
) -> Vec<UsernameConcern> {
    let key = config.username.sign.as_deref().filter(|_| rules.is_some()).map(token_concerns);
    let mut concerns: Vec<UsernameConcern> =
        key.into_iter().flatten().map(|what| (("username", "sign"), what)).collect();
    let names = users.filter(|_| rules.is_some()).map(Users::names).unwrap_or_default();
    let cut = |name: &&str| rules.is_some_and(|rules| rules.bare(name.as_bytes()).len() < name.len());
    let mut cut_names = names.into_iter().filter(cut);
    if let Some(first) = cut_names.next() {
        let more = match cut_names.count() {
            0 => String::new(),
            more => format!(", nor can {more} more"),
        };
        let what = format!("user {} cannot log in: parameters begin within the name{more}", quoted(first));
        let typed = if config.username.format.is_some() { "format" } else { "preset" };
        concerns.push((("username", typed), what));
    }
    concerns
}

/// Parameters that clients may type and by which nothing changes, or by which each of their requests is refused. What a preset has
/// beside what is needed here is nobody's slip.
pub(super) fn idle_parameters(config: &Config) -> Vec<UsernameConcern> {
    // A format that cannot be read is refused elsewhere.
    let Ok(Some(format)) = config.username.read_format() else { return Vec::new() };
    let has = |what: fn(ParameterKind) -> bool| format.syntax.kinds().any(what);
    let says_time = has(|kind| matches!(kind, ParameterKind::Ttl(_)));
    let mut found = Vec::new();
    if !says_time && config.places.is_typed(("username", None), "max_ttl") {
        found.push((("username", "max_ttl"), "bounds nothing: the format has no time".to_owned()));
    }
    let asks = has(|kind| matches!(kind, ParameterKind::Pool | ParameterKind::Tag(_)));
    if !asks && !config.username.pools.is_empty() {
        found.push((
            ("username", "pools"),
            "nobody chooses among them: the format has no {pool} and no tag".to_owned(),
        ));
    }
    if config.username.format.is_none() {
        return found;
    }
    let mut say = |what: String| found.push((("username", "format"), what));
    let offered = &config.username.pools;
    let is_offered = |pool: &&EgressConfig| offered.is_empty() || offered.contains(&pool.name);
    let tags = || config.egress.iter().filter(is_offered).flat_map(|pool| pool.tags.keys().map(|tag| &**tag));
    for tag in format.syntax.tags().filter(|tag| !tags().any(|known| known == *tag)) {
        let what = format!(
            "{{tag:{tag}}} finds no pool: no [[egress]] that clients may choose has the tag, and whoever asks for one is refused"
        );
        say(match nearest(tag, tags()) {
            Some(meant) => format!("{what}; did you mean {{tag:{meant}}}?"),
            None => what,
        });
    }
    if config.egress.is_empty() && has(|kind| kind == ParameterKind::Pool) {
        say("{pool} finds no pool: there is no [[egress]], and whoever asks for one is refused".to_owned());
    }
    if config.egress.is_empty() && config.parents.is_empty() {
        // Records have them all the same.
        return found;
    }
    let sticky = |pool: &&EgressConfig| pool.select == PoolSelect::Sticky;
    let by_session = |pool: &EgressConfig| pool.sticky_on.contains(&StickyOn::Session);
    let keeps_session = config.egress.iter().filter(sticky).any(by_session)
        || config.parents.iter().any(|parent| parent.select == ParentSelect::Sticky);
    if has(|kind| kind == ParameterKind::Session) && !keeps_session {
        let what = "{session} keeps nothing together: no [[egress]] has \"session\" in sticky_on, and no [[parent]] select = \"sticky\"";
        say(what.to_owned());
    }
    if says_time && !config.egress.iter().any(|pool| sticky(&pool)) {
        say("its time bounds nothing: no [[egress]] has select = \"sticky\"".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn said(username: &str, more: &str) -> Vec<String> {
        let text = format!("[auth]\nmethods = [\"password\"]\nusers = \"u\"\n[username]\n{username}\n{more}");
        let config = Config::parse(&text, Path::new("outflow.toml"), &Flags::default());
        let config = config.unwrap_or_else(|what| panic!("{text}: {what}"));
        idle_parameters(&config).into_iter().map(|((_, key), what)| format!("{key}: {what}")).collect()
    }

    fn pool(keys: &str) -> String {
        format!("[[egress]]\nname = \"nat\"\naddresses = \"192.0.2.1\"\n{keys}\n")
    }

    #[test]
    fn parameters_by_which_nothing_changes_are_named() {
        let sticky = pool("sticky_on = [\"session\"]\ntags = { area = \"de\" }");
        let all = "format = \"{user}-s-{session}-t-{minutes}-c-{tag:area}-e-{pool}\"\nmax_ttl = \"1h\"";
        assert_eq!(said(all, &sticky), [""; 0]);
        let each = |told: &[String], words: [&str; 2]| {
            assert_eq!(told.len(), 2, "{told:?}");
            for words in words {
                assert!(told.iter().any(|what| what.starts_with(&format!("format: {words}"))), "{told:?}");
            }
        };
        each(&said(all, ""), ["{tag:area} finds no pool", "{pool} finds no pool"]);
        let random = pool("select = \"random\"\ntags = { area = \"de\" }");
        each(&said(all, &random), ["{session} keeps nothing", "its time bounds nothing"]);
        let near = said("format = \"{user}-c-{tag:aera}\"", &sticky);
        assert!(near.len() == 1 && near[0].ends_with("did you mean {tag:area}?"), "{near:?}");
        let parent = "[[parent]]\nname = \"up\"\nservers = \"http://a:1\"\nselect = \"sticky\"\n";
        assert_eq!(said("format = \"{user}-s-{session}\"", parent), [""; 0]);
        assert_eq!(said("format = \"{user}-s-{session}\"", &pool("")).len(), 1, "its key is the source");
        let among = said("format = \"{user}-s-{session}\"\npools = \"nat\"", &sticky);
        assert_eq!(among, ["pools: nobody chooses among them: the format has no {pool} and no tag"]);
    }

    #[test]
    fn a_bound_of_a_time_that_nobody_types_is_named() {
        let sticky = pool("sticky_on = [\"session\"]");
        let bound = ["max_ttl: bounds nothing: the format has no time"];
        assert_eq!(said("format = \"{user}-s-{session}\"\nmax_ttl = \"1h\"", &sticky), bound);
        // A preset has times, and words for more than is used.
        assert_eq!(said("preset = \"dash\"\nmax_ttl = \"1h\"", ""), [""; 0]);
    }
}
