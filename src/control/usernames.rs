//! How clients type parameters of their sessions: what the configuration says of it, and the key that signs them.

use std::path::Path;

use crate::admin::token_concerns;
use crate::auth::Users;
use crate::auth::username::{SignatureKey, UsernameRules};
use crate::config::{Config, quoted};
use crate::limits;
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
