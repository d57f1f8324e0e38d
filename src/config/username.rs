//! What holds for `[username]` beside its single values.

use super::at::At;
use super::choice::Choice;
use super::egress::no_pool;
use super::problem::Problems;
use super::tables::Config;

/// Reports a format that is none or that says two things at once, and keys beside it that say nothing.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let username = &config.username;
    let mut refuse = |key: &str, what: String| {
        let at = problems.places().at("username", key).cloned().unwrap_or(At::File);
        problems.push(at, what);
    };
    match (&username.format, username.preset) {
        (None, None) => {
            let idle = [
                ("separator", username.separator.is_some()),
                ("position", username.position.is_some()),
                ("pools", !username.pools.is_empty()),
                ("sign", username.sign.is_some()),
            ];
            for (key, _) in idle.into_iter().filter(|(_, is_set)| *is_set) {
                refuse(
                    key,
                    "is about parameters, and there are none: add a `format` or a `preset`".to_owned(),
                );
            }
            return;
        }
        (Some(_), Some(preset)) => {
            refuse("preset", format!("\"{}\" is a format, too: leave one of the two out", preset.name()));
            return;
        }
        (None, Some(_)) if username.separator.is_some() => {
            refuse("separator", "is the preset's: leave it out".to_owned());
        }
        _ => {}
    }
    let typed = if username.format.is_some() { "format" } else { "preset" };
    match username.read_format() {
        Err(what) => refuse(typed, what),
        Ok(Some(format)) if format.signs && username.sign.is_none() => {
            refuse(typed, "has a {signature}, and no key that signs: add sign = \"FILE\"".to_owned());
        }
        Ok(Some(format)) if !format.signs && username.sign.is_some() => {
            refuse("sign", "needs a place in the format, at its end: \"…-sign-{signature}\"".to_owned());
        }
        Ok(_) => {}
    }
    check_pools(config, problems);
    let asked = config.asks_users() || problems.touch("auth", "methods") || problems.touch_any_of("listener");
    if !asked {
        let what = "is about names that clients log in with, and nobody is asked for one: add \"password\" to methods";
        let at = problems.places().at("username", typed).cloned().unwrap_or(At::File);
        problems.push(at, what.to_owned());
    }
}

/// The pools that clients choose among are there.
fn check_pools(config: &Config, problems: &mut Problems) {
    if problems.touch_any_of("egress") {
        return;
    }
    let names = || config.egress.iter().map(|pool| &*pool.name);
    for (nth, name) in config.username.pools.iter().enumerate() {
        if !names().any(|known| known == &**name) {
            let at = problems.places().entries("username", "pools").get(nth).cloned().unwrap_or(At::File);
            problems.push(at, no_pool(name, names()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::auth::username::{ParameterPosition, UsernameRules};
    use crate::config::Flags;
    use crate::config::username_table::UsernamePreset;

    fn read(keys: &str) -> Result<Config, Problems> {
        let text = format!("[auth]\nmethods = [\"password\"]\nusers = \"users\"\n[username]\n{keys}\n");
        Config::parse(&text, Path::new("o.toml"), &Flags::default())
    }

    fn config(keys: &str) -> Config {
        read(keys).unwrap_or_else(|problems| panic!("{keys}: {problems}"))
    }

    /// What is read of a name and a password, by these keys.
    fn login(keys: &str, user: &str, password: &str) -> String {
        let username = config(keys).username;
        let format = username.read_format().expect("a format").expect("one");
        let rules = UsernameRules {
            syntax: format.syntax,
            position: format.position,
            on_unknown: username.on_unknown,
            on_duplicate: username.on_duplicate,
            max_ttl: username.max_ttl,
            key: None,
        };
        let mut login = crate::proto::userpass::Credentials {
            user: user.into(),
            password: Some(password.as_bytes().to_vec().into()),
        };
        let taken = rules.take(&mut login).unwrap_or_else(|fault| panic!("{user} {password}: {fault}"));
        let taken = taken.unwrap_or_default();
        let tags: Vec<String> = taken.tags.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!(
            "{} {} {} {}{}",
            String::from_utf8_lossy(&login.user),
            String::from_utf8_lossy(login.password().unwrap_or_default()),
            taken.session.as_deref().unwrap_or("none"),
            taken.ttl.map_or(0, |ttl| ttl.as_secs()),
            tags.concat()
        )
    }

    #[test]
    fn a_format_says_what_is_typed() {
        let keys = "format = \"{user}-session|s-{session}-ttl-{minutes}-country-{tag:area}-egress-{pool}\"";
        assert_eq!(login(keys, "ann-country-de-s-x7-ttl-10", "pw"), "ann pw x7 600 area=de");
        let keys = "format = \"{user}+s=+{session}\"\nseparator = \"+\"";
        assert!(read(keys).is_err(), "a word of a character that may separate");
        let keys = "format = \"{user}+s={session}+t={duration}\"\nseparator = \"+=\"";
        assert_eq!(login(keys, "ann+t=2h+s=x7", "pw"), "ann pw x7 7200");
        let keys = "format = \"{user}-s-{session}\"\nposition = \"password\"";
        assert_eq!(login(keys, "ann-s-x", "pw-s-y"), "ann-s-x pw y 0");
        let keys = "format = \"{user}-s-{session}-t-{hours}\"\nposition = \"both\"";
        assert_eq!(login(keys, "ann-s-x", "pw-t-1"), "ann pw x 3600");
        let keys = "format = \"id.{user}.s.{session}\"\nseparator = \".\"\nmax_ttl = \"1h\"";
        assert_eq!(login(keys, "id.ann.s.x", "pw"), "ann pw x 0");
        assert_eq!(config("").username.read_format(), Ok(None));
    }

    #[test]
    fn every_preset_is_a_format() {
        for (name, preset) in UsernamePreset::ALL {
            for sign in ["", "\nsign = \"key\""] {
                let username = config(&format!("preset = \"{name}\"{sign}")).username;
                assert_eq!(username.preset, Some(*preset));
                let format = username.read_format().expect("a format").expect("one");
                assert_eq!(format.signs, !sign.is_empty(), "{name}");
                let behind_password = *preset == UsernamePreset::PasswordUnderscore;
                assert_eq!(format.position == ParameterPosition::Password, behind_password, "{name}");
            }
        }
        let told = login("preset = \"password-underscore\"", "ann", "pw_session-x_lifetime-168h_country-us");
        assert_eq!(told, "ann pw x 604800 country=us");
    }

    /// What was typed is printed so that it is read again as the same.
    #[test]
    fn what_is_printed_is_read_again() {
        for keys in [
            "",
            "preset = \"user-dash\"\nsign = \"/etc/outflow/key\"",
            "preset = \"dash\"\npools = [\"nat\"]\n[[egress]]\nname = \"nat\"\naddresses = \"192.0.2.1\"",
            "format = \"{user}_s-{session}\"\nseparator = \"_-\"\nposition = \"both\"\non_unknown = \"ignore\"\nmax_ttl = \"90m\"",
        ] {
            let config = config(keys);
            let again = Config::parse(&config.to_toml(), Path::new("o.toml"), &Flags::default());
            assert_eq!(again.map(|again| again.username).ok(), Some(config.username), "{keys}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let words = (0..65).map(|n| format!("-w{n}-{{ignored}}")).collect::<String>();
        let tags = (0..9).map(|n| format!("-t{n}-{{tag:t{n}}}")).collect::<String>();
        for (keys, line, key, what) in [
            ("format = \"session-{session}\"", 5, "format", "has no {user}"),
            ("format = \"{user}\"", 5, "format", "has no parameter behind {user}"),
            ("format = \"{user}-s-{session}-\"", 5, "format", "ends with \"-\""),
            ("format = \"{user}-s-{session\"", 5, "format", "that no } closes"),
            ("format = \"{user}s-{session}\"", 5, "format", "as in -session-{session}"),
            ("format = \"{user}-s{session}\"", 5, "format", "as in -session-{session}"),
            ("format = \"{user}_s_{session}\"", 5, "format", "as in -session-{session}"),
            ("format = \"{user}{session}\"", 5, "format", "as in -session-{session}"),
            ("format = \"{user}--{session}\"", 5, "format", "has \"\" as a word"),
            ("format = \"{user}-a-b-{session}\"", 5, "format", "has \"a-b\" as a word"),
            ("format = \"{user}-a b-{session}\"", 5, "format", "has \"a b\" as a word"),
            ("format = \"{user}-a|-{session}\"", 5, "format", "has \"\" as a word"),
            ("format = \"{user}-s-{session}-s-{pool}\"", 5, "format", "has the word \"s\" twice"),
            ("format = \"{user}-s-{session}-t-{session}\"", 5, "format", "has {session} twice"),
            ("format = \"{user}-a-{tag:x}-b-{tag:x}\"", 5, "format", "has {tag:x} twice"),
            ("format = \"{user}-a-{tag:}\"", 5, "format", "as the name of a tag"),
            ("format = \"{user}-a-{sesion}\"", 5, "format", "did you mean {session}?"),
            ("format = \"{user}-a-{user}\"", 5, "format", "there is one of them"),
            ("format = \"ann{user}-a-{pool}\"", 5, "format", "with a separator at the end"),
            ("format = \"x-a-{user}-a-{pool}\"", 5, "format", "which is a parameter, too"),
            ("format = \"{user}-x-{signature}-a-{pool}\"", 5, "format", "which nothing would sign"),
            ("format = \"{user}-x-{signature}\"", 5, "format", "no key that signs"),
            ("format = \"{password}-a-{pool}\"\nposition = \"user\"", 5, "format", "leave position out"),
            ("format = \"{user}-a-{pool}\"\nsign = \"key\"", 6, "sign", "needs a place in the format"),
            ("format = \"{user}-a-{pool}\"\npreset = \"dash\"", 6, "preset", "leave one of the two out"),
            ("preset = \"dahs\"", 5, "preset", "did you mean \"dash\"?"),
            ("preset = \"dash\"\nseparator = \"+\"", 6, "separator", "is the preset's"),
            ("separator = \"+\"", 5, "separator", "add a `format` or a `preset`"),
            ("pools = \"nat\"", 5, "pools", "add a `format` or a `preset`"),
            ("preset = \"dash\"\npools = [\"nat\"]", 6, "pools", "there is no [[egress]] \"nat\""),
            ("preset = \"dash\"\npools = []", 6, "pools", "needs a pool"),
            (
                "preset = \"dash\"\npools = [\"nat\",\n\"carier\"]\n[[egress]]\nname = \"nat\"\naddresses = \"192.0.2.1\"\n\
                 [[egress]]\nname = \"carrier\"\naddresses = \"192.0.2.2\"",
                7,
                "pools",
                "did you mean \"carrier\"?",
            ),
            ("sign = \"key\"", 5, "sign", "add a `format` or a `preset`"),
            ("preset = \"dash\"\nseparator = \"\"", 6, "separator", "is not one character"),
            ("preset = \"dash\"\nseparator = \"-+-\"", 6, "separator", "is not one character"),
            ("preset = \"dash\"\nseparator = \":\"", 6, "separator", "cannot separate"),
            ("preset = \"dash\"\nseparator = \"a\"", 6, "separator", "cannot separate"),
            ("preset = \"dash\"\nmax_ttl = \"31d\"", 6, "max_ttl", "is out of range"),
            ("preset = \"dash\"\nmax_ttl = \"0s\"", 6, "max_ttl", "is out of range"),
            ("preset = \"dash\"\non_unknown = \"ignored\"", 6, "on_unknown", "did you mean \"ignore\"?"),
            ("preset = \"dash\"\non_uknown = \"ignore\"", 6, "on_uknown", "did you mean `on_unknown`?"),
            (&format!("format = \"{{user}}{words}\""), 5, "format", "more than 64 words"),
            (&format!("format = \"{{user}}{tags}\""), 5, "format", "more than 8 tags"),
        ] {
            let said = read(keys).expect_err(keys).to_string();
            let place = format!("o.toml:{line}: [username] key `{key}`: ");
            assert!(said.starts_with(&place) && said.contains(what), "{keys}: {said}");
        }
    }

    #[test]
    fn names_that_nobody_asks_for_have_no_parameters() {
        let said = Config::parse("[username]\npreset = \"dash\"\n", Path::new("o.toml"), &Flags::default());
        let said = said.expect_err("nobody logs in").to_string();
        assert!(said.starts_with("o.toml:2: ") && said.contains("add \"password\" to methods"), "{said}");
    }
}
