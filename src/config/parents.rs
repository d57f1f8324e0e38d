//! What holds for the tables of `[[parent]]` beside their single values, and for the rules that name them.

use super::at::TablePath;
use super::nearest::{nearest, with_nearest};
use super::parent_table::ParentConfig;
use super::problem::{Problems, escaped, quoted};
use super::rules::{begins, check_names, count_tables, row};
use super::tables::Config;
use crate::limits;
use crate::policy::parents::{ParentHop, ParentServer, ResolveAt, SendProxy, UserFrom};
use crate::policy::rules::spec::{Action, Mode};
use crate::proto::address::Host;
use crate::proto::client::ClientProtocol;

/// Reports parents that are too many, that lead back to us, and keys that do not go together.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let parents = &config.parents;
    count_tables(("parent", parents.len(), limits::PARENTS_MAX), problems);
    let names: Vec<&str> = parents.iter().map(|parent| &*parent.name).collect();
    check_names("parent", &names, problems);
    check_rules(config, &names, problems);
    for (nth, parent) in parents.iter().enumerate() {
        let path = row("parent", nth);
        if problems.touch(path, "servers") {
            continue;
        }
        if parent.servers.is_empty() {
            let at = begins(problems, path);
            problems.push(at, "needs `servers`, such as servers = [\"socks5h://192.0.2.1:1080\"]".to_owned());
            continue;
        }
        check_servers(config, parent, path, problems);
        for (key, what) in [
            ("resolve", resolve_problem(parent)),
            ("udp", udp_problem(parent)),
            ("servers", nameless_problem(parent)),
            ("user_from", user_problem(parent)),
            ("warm", warm_problem(parent)),
        ] {
            if let Some(what) = what.filter(|_| !problems.touch(path, key)) {
                let places = problems.places();
                let at = places.at(path, key).or_else(|| places.at(path, "servers")).cloned();
                let at = at.unwrap_or_else(|| begins(problems, path));
                problems.push(at, what);
            }
        }
    }
}

/// The parents that rules name are there, and lead what the rules allow.
fn check_rules(config: &Config, names: &[&str], problems: &mut Problems) {
    for (nth, rule) in config.rules.iter().enumerate() {
        let path = row("rule", nth);
        let Some(name) = &rule.parent else { continue };
        let Some(at) = problems.places().at(path, "parent").cloned() else { continue };
        if !names.contains(&&**name) && !problems.touch_any_of("parent") {
            let meant = nearest(name, names.iter().copied()).map(|meant| format!("\"{}\"", escaped(meant)));
            problems
                .push(at.clone(), with_nearest(format!("there is no [[parent]] {}", quoted(name)), meant));
        }
        if (rule.action, rule.mode) != (Action::Allow, Mode::Enforce) {
            let what = "leads on what a rule allows, and this one allows nothing: leave it out";
            problems.push(at, what.to_owned());
        }
    }
}

/// A server that is a listener of ours leads every session back to us.
fn check_servers(config: &Config, parent: &ParentConfig, path: TablePath, problems: &mut Problems) {
    if problems.touch("server", "listen") || problems.touch_any_of("listener") {
        return;
    }
    for (nth, hop) in
        parent.servers.iter().enumerate().filter_map(|(nth, server)| Some((nth, server.first()?)))
    {
        let ours = config.all_listeners().find(|listener| {
            listener.endpoint().is_some_and(|endpoint| {
                endpoint.address.port() == hop.target.port && leads_to(hop, endpoint.ip())
            })
        });
        if let Some(listener) = ours {
            let what = format!(
                "{} is this server's own listener \"{}\": it would lead back to itself",
                quoted(&hop.to_string()),
                listener.address()
            );
            let at = problems.places().entries(path, "servers").get(nth).cloned();
            let at = at.unwrap_or_else(|| begins(problems, path));
            problems.push(at, what);
        }
    }
}

/// Whether a proxy is found at a listener's address as it is typed. Which others this machine has is not known here: a connection
/// that comes out at ourselves is refused where it is made.
fn leads_to(hop: &ParentHop, listener: std::net::IpAddr) -> bool {
    let here = match &hop.target.host {
        Host::Ip(ip) if ip.to_canonical() == listener => return true,
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
        Host::Name(name) => name.as_str() == "localhost" || name.as_str().ends_with(".localhost"),
    };
    let by_name = matches!(hop.target.host, Host::Name(_)) && listener.is_loopback();
    here && (listener.is_unspecified() || by_name)
}

fn resolve_problem(parent: &ParentConfig) -> Option<String> {
    let last = || parent.servers.iter().filter_map(ParentServer::last);
    match parent.resolve {
        None if last().any(|hop| hop.names) && !last().all(|hop| hop.names) => Some(
            "some of the URLs have names resolved there and some here, and a session is judged before one is chosen: say resolve = \
             \"there\" or \"here\""
                .to_owned(),
        ),
        Some(ResolveAt::There) => {
            let without = last().find(|hop| !hop.protocol.takes_names())?;
            Some(format!("{} cannot be given names: socks4a:// can", quoted(&without.to_string())))
        }
        _ => None,
    }
}

fn udp_problem(parent: &ParentConfig) -> Option<String> {
    let fits = |server: &&ParentServer| matches!(&server.hops[..], [hop] if hop.protocol.associates());
    let unfit = parent.servers.iter().find(|server| !fits(server)).filter(|_| parent.udp)?;
    Some(match &unfit.hops[..] {
        [hop] => format!("{} takes no datagrams: SOCKS5 alone does", quoted(&hop.to_string())),
        _ => format!("{} is a chain, and datagrams go through one proxy alone", quoted(&unfit.to_string())),
    })
}

fn user_problem(parent: &ParentConfig) -> Option<String> {
    let lacks = |hop: &&ParentHop| {
        hop.password.is_none()
            && hop.password_file.is_none()
            && !matches!(hop.protocol, ClientProtocol::Socks4 | ClientProtocol::Socks4a)
    };
    let lacking = parent.servers.iter().filter_map(ParentServer::last).find(lacks);
    let hop = lacking.filter(|_| parent.user_from == UserFrom::Client)?;
    let url = hop.to_string();
    let (scheme, place) = url.split_once("://").unwrap_or(("socks5h", &url));
    Some(format!(
        "{} needs a password that goes with the clients' names, for their own are not kept: {scheme}://:PASSWORD@{place}",
        quoted(&url)
    ))
}

/// A password in a file that would go with no name is told nobody.
fn nameless_problem(parent: &ParentConfig) -> Option<String> {
    let own = |server: &ParentServer| match parent.user_from {
        UserFrom::Client => server.hops.len().saturating_sub(1),
        UserFrom::Url => server.hops.len(),
    };
    let lacks = |hop: &&ParentHop| hop.password_file.is_some() && hop.user.is_none();
    let lacking = parent.servers.iter().flat_map(|server| &server.hops[..own(server)]).find(lacks)?;
    Some(format!("{} has a password_file and no user that it goes with", quoted(&lacking.to_string())))
}

/// A connection that is ready was made before it was known for whom.
fn warm_problem(parent: &ParentConfig) -> Option<String> {
    (parent.warm > 0 && parent.send_proxy != SendProxy::Off).then(|| {
        "with send_proxy no connection can be made before its client is known: leave one of them out"
            .to_owned()
    })
}
