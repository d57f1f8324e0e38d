//! Whether whoever finds a listener may use it.

use std::sync::Arc;

use ipnet::IpNet;

use super::choice::{AuthMethod, Protocol, ProxyProtocol};
use super::listeners::{ConfiguredListener, key_of};
use super::problem::{Problems, quoted};
use super::rule_table::RuleConfig;
use super::tables::Config;
use crate::policy::rules::spec::{Action, Mode};

/// What lets in whoever comes, from wherever.
#[derive(Debug, PartialEq, Eq)]
enum OpenedBy {
    /// There is no rule.
    NoRule,
    /// The rule at this place.
    Rule(usize),
    /// The default behind the rules.
    Default,
}

/// Reports each listener that others reach, where nobody is asked for a password and something may be had from anywhere.
pub(super) fn refuse(config: &Config, problems: &mut Problems) {
    let touched = |table: &'static str, key: &str| problems.touch(table, key);
    let unsure =
        touched("server", "open_proxy") || touched("auth", "methods") || touched("policy", "default");
    // A rule of which something is wrong may be one that opens or one that closes.
    let unsure = unsure || problems.touch_any_of("rule");
    let unsure = unsure || problems.touch_any_of("listener");
    if config.server.open_proxy || unsure {
        return;
    }
    for (nth, listener) in config.all_listeners().enumerate() {
        let (address, table) = (listener.address(), listener.table());
        // A name that anybody may type keeps nobody out.
        let by_name = config.auth.socks4_ident
            && table.is_some_and(|table| table.protocols.contains(&Protocol::Socks4));
        let by_nothing = config.methods_of(table).contains(&AuthMethod::None);
        let certified = table.and_then(|table| table.tls.as_ref()).is_some_and(|tls| tls.client_ca.is_some());
        if !address.is_beyond() || certified || !(by_name || by_nothing) {
            continue;
        }
        let of_it = table.is_some_and(|table| table.methods.is_some());
        let methods = if of_it { "here" } else { "in [auth]" };
        let Some(opened) = opened_by(config, listener) else { continue };
        let start = match by_nothing {
            true => format!("\"{address}\" with method \"none\" is an open proxy"),
            false => format!("\"{address}\" with socks4_ident is an open proxy to whoever knows a name"),
        };
        let what = match opened {
            OpenedBy::NoRule => format!(
                "{start}: whoever reaches it may use it; set methods = [\"password\"] {methods}, listen on a loopback \
                 address, allow it to some networks by a [[rule]] with `from`, or write open_proxy = true in [server]"
            ),
            OpenedBy::Rule(nth) => format!(
                "{start}: [[rule]] {} {} allows something to whoever reaches it; {}, or `users` or \
                 `groups` of those who log in, set methods = [\"password\"] {methods}, or write open_proxy = true in \
                 [server]",
                nth + 1,
                quoted(&config.rules[nth].name),
                if believes_everybody(listener) {
                    "name the balancers in proxy_from, which takes the word of everybody, and give the rule a `from`"
                } else {
                    "give the rule a `from`"
                }
            ),
            OpenedBy::Default => format!(
                "{start}: what no rule denies is allowed to whoever reaches it; set default = \"deny\" in [policy], set \
                 methods = [\"password\"] {methods}, or write open_proxy = true in [server]"
            ),
        };
        let at = match config.listener_table(nth) {
            None => problems.places().entries("server", "listen").get(nth).cloned(),
            Some(_) => Some(key_of(problems, nth - config.server.listen.len(), "address")),
        };
        if let Some(at) = at {
            problems.push(at, what);
        }
    }
}

/// What allows anything to a client that is nobody and comes by this listener from wherever; `None` where nothing does.
fn opened_by(config: &Config, listener: ConfiguredListener<'_>) -> Option<OpenedBy> {
    for (nth, rule) in config.rules.iter().enumerate() {
        if rule.mode == Mode::Report || !concerns(rule, listener) {
            continue;
        }
        match rule.action {
            Action::Allow => return Some(OpenedBy::Rule(nth)),
            Action::Deny if believes_everybody(listener) && !rule.not_from.is_empty() => {}
            Action::Deny if leaves_nothing(rule) => return None,
            Action::Deny => {}
        }
    }
    match (config.policy.default, config.rules.is_empty()) {
        (Some(Action::Deny), _) | (None, false) => None,
        (Some(Action::Allow), false) => Some(OpenedBy::Default),
        (_, true) => Some(OpenedBy::NoRule),
    }
}

/// Whether a rule may match a client that is nobody, comes by this listener and is from no network in particular.
fn concerns(rule: &RuleConfig, listener: ConfiguredListener<'_>) -> bool {
    let has_it = |listed: &[Arc<str>]| listed.iter().any(|called| listener.is_called(called));
    let anybody = rule.users.is_empty() && rule.groups.is_empty();
    let by_it = rule.listeners.is_empty() || has_it(&rule.listeners);
    let as_he_says = rule.action == Action::Allow && believes_everybody(listener);
    let anywhere = rule.from.is_empty() || is_everywhere(&rule.from) || as_he_says;
    anybody && anywhere && by_it && !has_it(&rule.not_listeners)
}

/// Whether a rule that concerns somebody matches whatever he asks for and whenever, but for clients of some networks.
fn leaves_nothing(rule: &RuleConfig) -> bool {
    let RuleConfig { to, not_to, ports, not_ports, commands, not_commands, when, not_when, .. } = rule;
    let anything = to.is_empty() && not_to.is_empty() && ports.is_empty() && not_ports.is_empty();
    let any_way = commands.is_empty() && not_commands.is_empty() && when.is_empty() && not_when.is_empty();
    anything && any_way && !is_everywhere(&rule.not_from)
}

/// Whether whoever comes by it may say from where he does, in a header of the PROXY protocol.
fn believes_everybody(listener: ConfiguredListener<'_>) -> bool {
    let table = listener.table().filter(|table| table.proxy_protocol != ProxyProtocol::Off);
    table.is_some_and(|table| is_everywhere(&table.proxy_from))
}

/// Whether blocks have all addresses of a family.
fn is_everywhere(blocks: &[IpNet]) -> bool {
    IpNet::aggregate(&blocks.to_vec()).iter().any(|block| block.prefix_len() == 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    /// What opens `192.0.2.1:1080`, beside which there is another listener.
    fn opens(rules: &str) -> Option<OpenedBy> {
        let text = format!(
            "[server]\nopen_proxy = true\nlisten = [\"192.0.2.1:1080\", \"127.0.0.1:1080\"]\n{rules}\n"
        );
        let config =
            Config::parse(&text, Path::new("f"), &Flags::default()).unwrap_or_else(|what| panic!("{what}"));
        opened_by(&config, config.all_listeners().next().unwrap())
    }

    fn rule(nth: usize, keys: &str) -> String {
        format!("[[rule]]\nname = \"r{nth}\"\n{keys}\n")
    }

    #[test]
    fn a_rule_for_clients_of_some_networks_opens_nothing() {
        let all = "action = \"allow\"\n";
        assert_eq!(opens(""), Some(OpenedBy::NoRule));
        assert_eq!(opens("[policy]\ndefault = \"deny\"\n"), None);
        assert_eq!(opens(&rule(1, all)), Some(OpenedBy::Rule(0)));
        for closed in [
            "from = [\"198.51.100.0/24\"]",
            "users = [\"ann\"]",
            "groups = [\"staff\"]",
            "listeners = [\"127.0.0.1:1080\"]",
            "not_listeners = [\"192.0.2.1:1080\"]",
            "mode = \"report\"",
        ] {
            assert_eq!(
                opens(&format!("[groups]\nstaff = []\n{}", rule(1, &format!("{all}{closed}")))),
                None,
                "{closed}"
            );
        }
        for open in [
            "from = [\"0.0.0.0/0\"]",
            "from = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
            "from = [\"198.51.100.0/24\", \"::/0\"]",
            "not_from = [\"198.51.100.0/24\"]",
            "not_users = [\"ann\"]",
            "to = [\"example.com\"]",
            "ports = [443]",
            "listeners = [\"192.0.2.1:1080\"]",
        ] {
            assert_eq!(opens(&rule(1, &format!("{all}{open}"))), Some(OpenedBy::Rule(0)), "{open}");
        }
    }

    #[test]
    fn a_rule_that_denies_all_others_closes_what_is_behind_it() {
        let behind = |first: &str| {
            let rules = format!(
                "{}{}",
                rule(1, &format!("action = \"deny\"\n{first}")),
                rule(2, "action = \"allow\"")
            );
            opens(&rules)
        };
        for closed in
            ["", "not_from = [\"198.51.100.0/24\"]", "not_users = [\"ann\"]", "from = [\"0.0.0.0/0\"]"]
        {
            assert_eq!(behind(closed), None, "{closed}");
        }
        for open in [
            "not_from = [\"0.0.0.0/0\"]",
            "from = [\"198.51.100.0/24\"]",
            "users = [\"ann\"]",
            "ports = [25]",
            "commands = [\"bind\"]",
            "when = { days = [\"sun\"], zone = \"UTC\" }",
            "mode = \"report\"",
            "listeners = [\"127.0.0.1:1080\"]",
        ] {
            assert_eq!(behind(open), Some(OpenedBy::Rule(1)), "{open}");
        }
        let allow = "[policy]\ndefault = \"allow\"\n";
        assert_eq!(
            opens(&format!("{allow}{}", rule(1, "action = \"deny\"\nports = [25]"))),
            Some(OpenedBy::Default)
        );
        assert_eq!(opens(&format!("{allow}{}", rule(1, "action = \"deny\""))), None);
    }
}
