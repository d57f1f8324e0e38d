//! What `[[rule]]` says of one rule.

use std::sync::Arc;

use ipnet::IpNet;

use super::entry::tables;
use super::form::{choice, optional, shown, switch, text};
use super::list_form::{ListForm, choices, condition, list};
use super::listener_table;
use super::rule_values::{self, RuleDestination, RulePorts};
use super::when::{self, When};
use crate::limits;
use crate::policy::rules::spec::{Action, Logged, Mode};
use crate::proto::request::RequestCommand;

tables! {
    /// Who may go where. Values of a key are alternatives, and every key has to match; a not_ key, none of whose values may.
    pub struct RuleConfig {
        /// Its name in records, logs and metrics.
        ///
        /// Never empty, no two alike.
        name: Arc<str> = Arc::from(""),
            shown(text(rule_values::own_name, ToString::to_string), "\"partners\""), Reload;
        /// Users who logged in.
        users: Vec<Arc<str>> = Vec::new(), condition(users(), "[\"ann\"]"), Reload;
        /// All but these users.
        not_users: Vec<Arc<str>> = Vec::new(), condition(users(), "[\"bob\"]"), Reload;
        /// Users of a group, of [groups] or of the users file.
        groups: Vec<Arc<str>> = Vec::new(), condition(names(), "[\"staff\"]"), Reload;
        /// All but the users of these groups.
        not_groups: Vec<Arc<str>> = Vec::new(), condition(names(), "[\"night\"]"), Reload;
        /// Where clients come from.
        from: Vec<IpNet> = Vec::new(), condition(networks(), "[\"192.0.2.0/24\"]"), Reload;
        /// All but clients from here.
        not_from: Vec<IpNet> = Vec::new(), condition(networks(), "[\"192.0.2.1\"]"), Reload;
        /// By which listeners they come: names of [[listener]], or addresses.
        listeners: Vec<Arc<str>> = Vec::new(), condition(listeners(), "[\"127.0.0.1:1080\"]"), Reload;
        /// By all but these.
        not_listeners: Vec<Arc<str>> = Vec::new(), condition(listeners(), "[\"127.0.0.1:1080\"]"), Reload;
        /// Where to: names, addresses, blocks, lists: "example.com", "*.example.com", ".example.com", "10.0.0.0/8", "@list".
        to: Vec<RuleDestination> = Vec::new(),
            condition(destinations(), "[\".example.com\", \"192.0.2.0/24\", \"@partners\"]"), Reload;
        /// Anywhere but there.
        not_to: Vec<RuleDestination> = Vec::new(), condition(destinations(), "[\"@blocked\"]"), Reload;
        /// Ports of the target.
        ports: Vec<RulePorts> = Vec::new(), condition(ports(), "[443, \"8000-8099\"]"), Reload;
        /// All ports but these.
        not_ports: Vec<RulePorts> = Vec::new(), condition(ports(), "[25]"), Reload;
        /// What is asked for.
        commands: Vec<RequestCommand> = Vec::new(), condition(commands(), "[\"connect\"]"), Reload;
        /// All but these.
        not_commands: Vec<RequestCommand> = Vec::new(), condition(commands(), "[\"bind\"]"), Reload;
        /// When it holds; a table, or several in brackets; zone: an IANA name, UTC or local.
        when: Vec<When> = Vec::new(), when::times(), Reload;
        /// At any other time.
        not_when: Vec<When> = Vec::new(), when::times(), Reload;
        /// What it says; never left out.
        action: Action = Action::Deny, choice(), Reload;
        /// A rule that reports decides nothing: records say what it would have decided.
        mode: Mode = Mode::Enforce, choice(), Reload;
        /// What it allows may be at special-purpose addresses, which [guard] refuses otherwise.
        allow_private: bool = false, switch(), Reload;
        /// Limits of what it allows: names of [[limit]].
        limits: Vec<Arc<str>> = Vec::new(), condition(limit_names(), "[\"plan\"]"), Reload;
        /// The pool that what it allows leaves from: a name of [[egress]].
        egress: Option<Arc<str>> = None, optional(text(rule_values::own_name, ToString::to_string), "\"carrier\""), Reload;
        /// The parent that what it allows goes through: a name of [[parent]].
        parent: Option<Arc<str>> = None, optional(text(rule_values::own_name, ToString::to_string), "\"uplink\""), Reload;
        /// Which of its decisions the log tells; without it as [policy] says.
        log: Option<Logged> = None, optional(choice(), "\"all\""), Reload;
    }
}

fn users() -> ListForm<Arc<str>> {
    list(limits::RULE_VALUES_MAX, rule_values::user).needs("a user")
}

fn names() -> ListForm<Arc<str>> {
    list(limits::RULE_VALUES_MAX, rule_values::own_name).needs("a group")
}

fn limit_names() -> ListForm<Arc<str>> {
    list(limits::RULE_LIMITS_MAX, rule_values::own_name).needs("a limit")
}

fn networks() -> ListForm<IpNet> {
    list(limits::RULE_VALUES_MAX, rule_values::network).needs("a block of addresses")
}

fn listeners() -> ListForm<Arc<str>> {
    list(limits::MAX_LISTEN, listener_table::called).needs("a listener")
}

fn destinations() -> ListForm<RuleDestination> {
    list(limits::RULE_VALUES_MAX, rule_values::destination).needs("a destination")
}

fn commands() -> ListForm<RequestCommand> {
    choices().needs("a command")
}

fn ports() -> ListForm<RulePorts> {
    list(limits::RULE_VALUES_MAX, rule_values::ports).or_digits().needs("a port")
}
