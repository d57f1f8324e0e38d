//! Keys of pools and parents that are obeyed and can change nothing: a slip that would go unseen.

use crate::config::{AuthMethod, Config, EgressConfig, ListenerConfig, ParentConfig, RuleConfig};
use crate::limits;
use crate::policy::egress::{PoolSelect, StickyOn, listed};
use crate::policy::parents::{SendProxy, UserFrom};
use crate::proto::request::RequestCommand;

/// A table of the configuration, its place among those of its name and a key in it, and what is said of that.
type IdleKey = ((&'static str, usize, &'static str), String);

/// What is said of each such key, in the order of the tables.
pub(super) fn idle_keys(config: &Config) -> Vec<IdleKey> {
    let mut found = Vec::new();
    for (nth, pool) in config.egress.iter().enumerate() {
        let typed = |key: &str| config.places.is_typed(("egress", Some(nth)), key);
        let said = [
            ("failover", failover(pool).filter(|_| typed("failover"))),
            ("cooldown", cooldown(pool).filter(|_| typed("cooldown"))),
            ("sticky_on", no_user(config, pool)),
            ("tags", tags(config, pool)),
        ];
        found.extend(said.into_iter().filter_map(|(key, what)| Some((("egress", nth, key), what?))));
    }
    for (nth, parent) in config.parents.iter().enumerate() {
        let typed = |key: &str| config.places.is_typed(("parent", Some(nth)), key);
        let said = [
            ("warm", warm(config, parent)),
            ("fail_timeout", never_away(parent).filter(|_| typed("fail_timeout"))),
            ("check", never_away(parent).filter(|_| typed("check"))),
            ("udp", no_datagrams(config, parent)),
            ("user_from", nobody_to_be_known(config, parent)),
        ];
        found.extend(said.into_iter().filter_map(|(key, what)| Some((("parent", nth, key), what?))));
    }
    found
}

/// The entries of the family that has more of them, where none is a block with addresses for any number of attempts.
fn most_entries(pool: &EgressConfig) -> Option<usize> {
    let spec = pool.spec();
    let all_listed = spec.addresses.iter().all(|net| listed(net).is_some());
    let v6 = spec.entries().filter(|entry| entry.addr().is_ipv6()).count();
    all_listed.then(|| v6.max(spec.entries().count() - v6))
}

fn failover(pool: &EgressConfig) -> Option<String> {
    let others = most_entries(pool)?.checked_sub(1)?;
    let what = || match others {
        0 => format!("{} other addresses are to be tried, and there is no other", pool.failover),
        1 => format!("{} other addresses are to be tried, and there is one other of a family", pool.failover),
        _ => format!(
            "{} other addresses are to be tried, and there are {others} others of a family",
            pool.failover
        ),
    };
    (usize::from(pool.failover) > others).then(what)
}

fn cooldown(pool: &EgressConfig) -> Option<String> {
    let min_samples = pool.cooldown.min_samples;
    if pool.select == PoolSelect::Sticky && pool.failover == 0 {
        return Some(
            "a session has one address, come what may, as failover is 0: none is left alone".to_owned(),
        );
    }
    if most_entries(pool) == Some(1) {
        return Some("there is no other address: the only one is never left alone".to_owned());
    }
    let least = limits::FAILED_TARGETS_MIN;
    ((min_samples as usize) < least)
        .then(|| format!("min_samples = {min_samples} is as {least}: only failures of {least} targets count"))
}

/// A key with a part that no session has.
fn no_user(config: &Config, pool: &EgressConfig) -> Option<String> {
    let goes_by_user = pool.select == PoolSelect::Sticky && pool.sticky_on.contains(&StickyOn::User);
    (goes_by_user && nobody_logs_in(config))
        .then(|| "keeps nobody at an address: nobody logs in, and so no session has a \"user\"".to_owned())
}

/// Tags that no name can ask for.
fn tags(config: &Config, pool: &EgressConfig) -> Option<String> {
    let offered = &config.username.pools;
    if !pool.tags.is_empty() && !offered.is_empty() && !offered.contains(&pool.name) {
        return Some("no name finds it by them: it is none of the `pools` of [username]".to_owned());
    }
    // A format that cannot be read is refused elsewhere.
    let format = config.username.read_format().ok()?;
    let asked = |tag: &str| format.iter().any(|format| format.syntax.tags().any(|known| known == tag));
    let unasked: Vec<&str> = pool.tags.keys().map(|tag| &**tag).filter(|tag| !asked(tag)).collect();
    let (first, more) = unasked.split_first()?;
    let more = if more.is_empty() { String::new() } else { format!(", nor for {} more", more.len()) };
    let missing = if format.is_some() {
        format!("the format of [username] has no {{tag:{first}}}")
    } else {
        "there is no [username]".to_owned()
    };
    Some(format!("no name asks for {first}{more}: {missing}"))
}

/// Connections are kept ready for sessions that leave by the kernel's own choice alone.
fn warm(config: &Config, parent: &ParentConfig) -> Option<String> {
    let mut leads = config.rules.iter().filter(|rule| is_led(rule, parent)).peekable();
    leads.peek()?;
    let by_listener =
        config.all_listeners().all(|one| one.table().is_some_and(|table| table.egress.is_some()));
    let in_vain = parent.warm > 0
        && parent.send_proxy == SendProxy::Off
        && (by_listener || leads.all(|rule| rule.egress.is_some()));
    in_vain.then(|| {
        "no connection is kept ready: all sessions that it leads leave from a pool, and one that was made before is of none"
            .to_owned()
    })
}

fn never_away(parent: &ParentConfig) -> Option<String> {
    (parent.max_fails == 0).then(|| "has no effect: with max_fails = 0 no server is ever away".to_owned())
}

fn no_datagrams(config: &Config, parent: &ParentConfig) -> Option<String> {
    let mut leads = config.rules.iter().filter(|rule| is_led(rule, parent)).peekable();
    leads.peek()?;
    let datagrams = RequestCommand::UdpAssociate;
    let leaves_out = |rule: &RuleConfig| {
        rule.not_commands.contains(&datagrams)
            || !rule.commands.is_empty() && !rule.commands.contains(&datagrams)
    };
    let untaken = config.all_listeners().all(|one| config.takes(one.table(), datagrams).is_err());
    match (parent.udp, untaken) {
        (false, _) => None,
        (true, true) => Some("no datagram goes through it: no listener takes \"udp_associate\"".to_owned()),
        (true, false) => leads.all(leaves_out).then(|| {
            "no datagram goes through it: no rule that names it allows \"udp_associate\"".to_owned()
        }),
    }
}

fn nobody_to_be_known(config: &Config, parent: &ParentConfig) -> Option<String> {
    (parent.user_from == UserFrom::Client && nobody_logs_in(config)).then(|| {
        "nobody logs in, and so nobody has a name to be known by: all are as the URL says".to_owned()
    })
}

fn is_led(rule: &RuleConfig, parent: &ParentConfig) -> bool {
    rule.parent.as_ref() == Some(&parent.name)
}

/// Whether no session has a user, by whatever method.
fn nobody_logs_in(config: &Config) -> bool {
    let certified = |table: &ListenerConfig| table.tls.as_ref().is_some_and(|tls| tls.users_from.is_some());
    !config.asks_users() && !config.asks(AuthMethod::Gssapi) && !config.listeners.iter().any(certified)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    fn said(text: &str) -> Vec<String> {
        let config = Config::parse(text, Path::new("outflow.toml"), &Flags::default());
        let config = config.unwrap_or_else(|what| panic!("{text}: {what}"));
        idle_keys(&config)
            .into_iter()
            .map(|((table, nth, key), what)| format!("{table} {nth} {key}: {what}"))
            .collect()
    }

    /// One thing is said of a text, and it has these words; of the same with another value nothing is.
    #[track_caller]
    fn says(text: &str, words: &str, (idle, right): (&str, &str)) {
        let told = said(text);
        assert!(told.len() == 1 && told[0].contains(words), "{text}: {told:?}");
        assert!(text.contains(idle), "{text}");
        let other = text.replacen(idle, right, 1);
        assert_eq!(said(&other), [""; 0], "{other}");
    }

    const PASSWORD: &str = "[auth]\nmethods = [\"password\"]\nusers = \"u\"\n";

    fn pool(addresses: &str, keys: &str) -> String {
        format!("[[egress]]\nname = \"nat\"\naddresses = [{addresses}]\n{keys}\n")
    }

    fn parent(keys: &str, rules: &str) -> String {
        format!("[[parent]]\nname = \"up\"\nservers = \"socks5h://:pw@192.0.2.1\"\n{keys}\n{rules}")
    }

    fn rule(name: &str, keys: &str) -> String {
        format!("[[rule]]\nname = \"{name}\"\naction = \"allow\"\nparent = \"up\"\n{keys}\n")
    }

    #[test]
    fn more_attempts_than_addresses_are_named() {
        let two = "\"192.0.2.1\", \"192.0.2.2\", \"2001:db8::1\"";
        says(
            &pool(two, "failover = 2"),
            "egress 0 failover: 2 other addresses are to be tried, and there is one",
            ("2\n", "1\n"),
        );
        says(&pool("\"192.0.2.1\"", "failover = 1"), "and there is no other", ("1\n", "0\n"));
        says(&pool("\"192.0.2.0/29\"", "failover = 6"), "there are 5 others", ("6\n", "5\n"));
        // A block has addresses for any number of them, and nobody has typed the default.
        assert_eq!(said(&pool("\"2001:db8::/64\"", "failover = 9")), [""; 0]);
        assert_eq!(said(&pool("\"192.0.2.1\"", "")), [""; 0]);
    }

    #[test]
    fn cooldowns_that_nothing_is_left_alone_by_are_named() {
        let (one, two) = ("\"192.0.2.1\"", "\"192.0.2.1\", \"192.0.2.2\"");
        says(&pool(one, "cooldown = { refused = 10 }"), "there is no other address", ("\"192.0.2.1\"", two));
        says(&pool(two, "failover = 0\ncooldown = { refused = 10 }"), "as failover is 0", ("= 0", "= 1"));
        says(&pool(two, "cooldown = { min_samples = 3 }"), "min_samples = 3 is as 4", ("= 3", "= 4"));
    }

    #[test]
    fn parts_of_keys_that_no_session_has_are_named() {
        let by_user = pool("\"192.0.2.1\"", "sticky_on = [\"user\"]");
        says(&by_user, "egress 0 sticky_on: keeps nobody at an address", ("\"user\"", "\"source\""));
        assert_eq!(said(&format!("{PASSWORD}{by_user}")), [""; 0]);
        let certified = "[[listener]]\naddress = \"127.0.0.1:1\"\n\
                         tls = { cert = \"c\", key = \"k\", client_ca = \"a\", users_from = \"cn\" }\n";
        assert_eq!(said(&format!("{certified}{by_user}")), [""; 0]);
    }

    #[test]
    fn tags_that_no_name_asks_for_are_named() {
        let tagged = pool("\"192.0.2.1\"", "tags = { area = \"de\", city = \"ber\" }");
        assert_eq!(
            said(&tagged),
            ["egress 0 tags: no name asks for area, nor for 1 more: there is no [username]"]
        );
        let format = |tags: &str| format!("{PASSWORD}[username]\nformat = \"{{user}}{tags}\"\n{tagged}");
        let asks = format("-country-{tag:area}-town-{tag:city}");
        says(
            &asks.replace("tag:city", "tag:town"),
            "no name asks for city: the format of [username] has no {tag:city}",
            ("tag:town", "tag:city"),
        );
        assert_eq!(
            said(&format!("{PASSWORD}[username]\npreset = \"dash\"\n{}", tagged.replace("area", "country"))),
            [""; 0]
        );
    }

    /// Which connections may be kept ready: see `worker::warming`.
    #[test]
    fn connections_that_no_session_could_take_are_named() {
        let nat = pool("\"192.0.2.1\"", "");
        let by_pool = format!("{}{nat}", parent("warm = 2", &rule("a", "egress = \"nat\"")));
        says(&by_pool, "parent 0 warm: no connection is kept ready", ("egress = \"nat\"", ""));
        assert_eq!(
            said(&format!(
                "{}{nat}",
                parent("warm = 2", &(rule("a", "egress = \"nat\"\nports = \"443\"") + &rule("b", "")))
            )),
            [""; 0]
        );
        let listener = "[[listener]]\naddress = \"127.0.0.1:1\"\negress = \"nat\"\n";
        says(
            &format!("{listener}{nat}{}", parent("warm = 2", &rule("a", ""))),
            "leave from a pool",
            ("egress = \"nat\"", ""),
        );
    }

    #[test]
    fn keys_about_servers_that_are_never_away_are_named() {
        let never = parent("max_fails = 0\nfail_timeout = \"9s\"", &rule("a", ""));
        says(&never, "parent 0 fail_timeout: has no effect", ("= 0", "= 1"));
        let checked = parent("max_fails = 0\ncheck = \"example.com:443\"", &rule("a", ""));
        says(&checked, "parent 0 check: has no effect", ("= 0", "= 1"));
    }

    #[test]
    fn datagrams_and_names_that_nobody_has_are_named() {
        let udp = |keys: &str| parent("udp = true", &rule("a", keys));
        says(
            &udp("commands = [\"connect\"]"),
            "no rule that names it allows",
            ("\"connect\"", "\"udp_associate\""),
        );
        says(
            &udp("not_commands = [\"udp_associate\"]"),
            "no rule that names it allows",
            ("udp_associate", "bind"),
        );
        let listener = "[[listener]]\naddress = \"127.0.0.1:1\"\ncommands = [\"connect\"]\n";
        says(&format!("{listener}{}", udp("")), "no listener takes", ("\"connect\"", "\"udp_associate\""));
        let known = parent("user_from = \"client\"", &rule("a", ""));
        says(&known, "parent 0 user_from: nobody logs in", ("client", "url"));
        assert_eq!(said(&format!("{PASSWORD}{known}")), [""; 0]);
    }
}
