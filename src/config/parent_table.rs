//! Parents as they are typed: proxies that sessions are led through.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::at::Typed;
use super::choice::Choice;
use super::entry::tables;
use super::form::{Form, ValueReader, choice, duration, number, optional, path, shown, switch, text};
use super::nearest::{unknown_key, with_nearest};
use super::parent_url::{in_brackets, login_fits, parent_url, url_text};
use super::problem::quoted;
use super::rule_values::own_name;
use super::typed::Value;
use super::value::{duration_text, path_text, string};
use crate::limits;
use crate::policy::parents::{
    Fallback, ParentCheck, ParentHop, ParentSelect, ParentServer, ResolveAt, SendProxy, UserFrom,
};
use crate::proto::address::{Host, Target};

tables! {
    /// Proxies that sessions are led through, where a rule says so.
    pub struct ParentConfig {
        /// Its name: rules call it by that.
        ///
        /// Never empty, no two alike.
        name: Arc<str> = Arc::from(""), shown(text(own_name, ToString::to_string), "\"uplink\""), Reload;
        /// Its servers, by URL: socks5, socks5h, socks4, socks4a, http; url = [..] is a chain, weight = 0 a backup; never left out.
        ///
        /// Each with the number 0: the process gives them numbers.
        servers: Vec<ParentServer> = Vec::new(), servers(), Reload;
        /// How one of them is chosen; sticky: by the session that a user name has, the user or the source.
        select: ParentSelect = ParentSelect::RoundRobin, choice(), Reload;
        /// A server with so many fails within fail_timeout is away; 0: none ever is.
        max_fails: u32 = 3, number(0..=limits::PARENT_FAILS_MAX), Reload;
        /// Within which time fails are counted, and for how long a server is away before one session tries it.
        fail_timeout: Duration = Duration::from_secs(30), duration(seconds_to_an_hour()), Reload;
        /// A target that is connected to through each server to see whether it is well.
        check: Option<ParentCheck> = None, optional(CheckForm, CHECK_EXAMPLE), Reload;
        /// Who resolves the names of targets, the parent or this server; without it as the URLs say: here for socks5 and socks4.
        resolve: Option<ResolveAt> = None, optional(choice(), "\"there\""), Reload;
        /// Datagrams of associations go through it, too: SOCKS5 alone, and no chain.
        udp: bool = false, switch(), Reload;
        /// As whom clients are known there: by the name in the URL, or by their own with the password in the URL.
        user_from: UserFrom = UserFrom::Url, choice(), Reload;
        /// Version of the PROXY header that tells it of the client, in front of everything else: "off", 1 or 2.
        send_proxy: SendProxy = SendProxy::Off, SendProxyForm, Reload;
        /// Where no server can be had sessions fail, or go to their targets without it.
        fallback: Fallback = Fallback::Fail, choice(), Reload;
        /// Connections that each worker keeps ready to each server.
        warm: usize = 0, number(0..=limits::PARENT_WARM_MAX), Reload;
    }
}

impl ParentConfig {
    /// Who resolves the names of targets: who the operator says, else the proxies that connect to targets where their URLs say so.
    pub fn resolves(&self) -> ResolveAt {
        let names = |server: &ParentServer| server.last().is_some_and(|hop| hop.names);
        match self.resolve {
            Some(resolve) => resolve,
            None if !self.servers.is_empty() && self.servers.iter().all(names) => ResolveAt::There,
            None => ResolveAt::Here,
        }
    }
}

impl Choice for ParentSelect {
    const ALL: &'static [(&'static str, Self)] = &[
        ("round-robin", Self::RoundRobin),
        ("sticky", Self::Sticky),
        ("random", Self::Random),
        ("least-used", Self::LeastUsed),
    ];
}

impl Choice for ResolveAt {
    const ALL: &'static [(&'static str, Self)] = &[("there", Self::There), ("here", Self::Here)];
}

impl Choice for UserFrom {
    const ALL: &'static [(&'static str, Self)] = &[("url", Self::Url), ("client", Self::Client)];
}

impl Choice for Fallback {
    const ALL: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("direct", Self::Direct)];
}

/// From one second up: less would have every slip of a moment count.
fn seconds_to_an_hour() -> RangeInclusive<Duration> {
    Duration::from_secs(1)..=Duration::from_secs(limits::MAX_SETUP_TIMEOUT_S)
}

const SERVER_KEYS: [&str; 4] = ["url", "user", "password_file", "weight"];
const HOP_KEYS: [&str; 3] = ["url", "user", "password_file"];
const SERVERS_EXAMPLE: &str = "[\"socks5h://192.0.2.1\", { url = [\"http://proxy.example:3128\", \"socks5h://192.0.2.2\"], weight = 2 }, \
                               { url = \"socks5h://192.0.2.3\", user = \"ann\", password_file = \"uplink.secret\" }]";

/// Reads and prints servers: each a URL, or a table of a URL or several, with a weight.
#[derive(Clone)]
struct ServersForm;

fn servers() -> impl Form<Vec<ParentServer>> {
    ServersForm
}

impl Form<Vec<ParentServer>> for ServersForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Vec<ParentServer>> {
        let items = match &typed.value {
            Value::Array(items) => &items[..],
            Value::Text(_) | Value::Table(_) => std::slice::from_ref(typed),
            _ => {
                return reader.wrong_type(
                    typed,
                    "URLs, and tables such as { url = \"..\", weight = 2 }",
                    None,
                );
            }
        };
        let mut servers: Vec<ParentServer> = Vec::new();
        let (mut right, mut places) = (true, Vec::new());
        for item in items {
            let Some(server) = server(item, reader) else {
                right = false;
                continue;
            };
            if servers.iter().any(|one| one.hops == server.hops) {
                reader.refuse(&item.at, format!("{} is listed twice", quoted(&chain_text(&server.hops))));
                right = false;
            }
            servers.push(server);
            places.push(item.at.clone());
        }
        for (wrong, what) in [
            (items.is_empty(), "is empty: it needs a server".to_owned()),
            (
                items.len() > limits::PARENT_SERVERS_MAX,
                format!("{} servers are too many: at most {}", items.len(), limits::PARENT_SERVERS_MAX),
            ),
            (
                right && !servers.is_empty() && servers.iter().all(|server| server.weight == 0),
                "all servers have weight 0, which is for those that wait until no other can be had"
                    .to_owned(),
            ),
        ] {
            if wrong {
                reader.refuse(&typed.at, what);
                right = false;
            }
        }
        reader.entries = places;
        Some(servers).filter(|_| right)
    }

    fn print(&self, servers: &Vec<ParentServer>) -> Option<String> {
        let all: Vec<String> = servers.iter().map(server_text).collect();
        (!all.is_empty()).then(|| format!("[{}]", all.join(", ")))
    }

    fn example(&self) -> Option<String> {
        Some(SERVERS_EXAMPLE.to_owned())
    }

    fn kind(&self) -> String {
        format!("a URL or a table, or up to {} of these in brackets", limits::PARENT_SERVERS_MAX)
    }
}

/// A server, or `None` with what is wrong with it reported.
fn server(typed: &Typed<Value>, reader: &mut ValueReader) -> Option<ParentServer> {
    let entries = match &typed.value {
        Value::Text(_) => return Some(ParentServer { hops: chain(typed, reader)?, weight: 1, number: 0 }),
        Value::Table(entries) => entries,
        _ => return reader.wrong_type(typed, "a URL or a table such as { url = \"..\", weight = 2 }", None),
    };
    let (mut hops, mut weight, mut right, mut login) = (None, Some(1), true, HopLogin::default());
    for (name, typed) in entries {
        match name.as_str() {
            "url" => hops = chain(typed, reader),
            "user" => login.user = Some(typed),
            "password_file" => login.password_file = Some(typed),
            "weight" => weight = number(0..=limits::PARENT_WEIGHT_MAX).read(typed, reader),
            other => {
                reader.refuse(&typed.at, unknown_key(other, &SERVER_KEYS));
                right = false;
            }
        }
    }
    if !entries.iter().any(|(name, _)| name == "url") {
        reader.refuse(&typed.at, NEEDS_URL.to_owned());
    }
    match hops.as_deref_mut() {
        Some([hop]) => right &= login.give(hop, reader),
        Some(_) => right &= login.belongs_to_none(reader),
        None => {}
    }
    Some(ParentServer { hops: hops?, weight: weight?, number: 0 }).filter(|_| right)
}

/// The proxies of a server: one URL, or several, of which the first is connected to.
fn chain(typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Vec<ParentHop>> {
    let items = match &typed.value {
        Value::Text(_) => std::slice::from_ref(typed),
        Value::Array(items) => &items[..],
        _ => return reader.wrong_type(typed, "a URL, or several in brackets", None),
    };
    let (mut hops, mut right) = (Vec::new(), true);
    for item in items {
        let hop = match &item.value {
            Value::Table(entries) if matches!(typed.value, Value::Array(_)) => {
                hop_of_table(item, entries, reader)
            }
            _ => hop(item, reader),
        };
        right &= hop.is_some();
        hops.extend(hop);
    }
    let what = match (items.len(), right.then(|| unsayable(&hops)).flatten()) {
        (0, _) => Some("is empty: it needs a URL".to_owned()),
        (count, _) if count > limits::PARENT_HOPS_MAX => {
            Some(format!("a chain of {count} is too long: at most {}", limits::PARENT_HOPS_MAX))
        }
        (_, what) => what,
    };
    if let Some(what) = what {
        reader.refuse(&typed.at, what);
        return None;
    }
    if let (Value::Array(_), [hop]) = (&typed.value, &hops[..]) {
        let what = format!(
            "{} is no chain, but one proxy: leave the brackets out, or name what is behind it",
            quoted(&hop.to_string())
        );
        reader.remark(&typed.at, what);
    }
    Some(hops).filter(|_| right)
}

/// A proxy by its URL alone.
fn hop(typed: &Typed<Value>, reader: &mut ValueReader) -> Option<ParentHop> {
    match typed.value.text() {
        Some(text) => parent_url(text).map_err(|what| reader.refuse(&typed.at, what)).ok(),
        None => reader.wrong_type(typed, "a URL", None),
    }
}

/// A proxy of a chain, with a login beside its URL.
fn hop_of_table(
    typed: &Typed<Value>,
    entries: &[(String, Typed<Value>)],
    reader: &mut ValueReader,
) -> Option<ParentHop> {
    let (mut found, mut right, mut login) = (None, true, HopLogin::default());
    for (name, typed) in entries {
        match name.as_str() {
            "url" => found = hop(typed, reader),
            "user" => login.user = Some(typed),
            "password_file" => login.password_file = Some(typed),
            other => {
                reader.refuse(&typed.at, unknown_key(other, &HOP_KEYS));
                right = false;
            }
        }
    }
    if !entries.iter().any(|(name, _)| name == "url") {
        reader.refuse(&typed.at, NEEDS_URL.to_owned());
    }
    let mut hop = found?;
    (login.give(&mut hop, reader) && right).then_some(hop)
}

/// A login that stands beside a URL.
#[derive(Clone, Copy, Default)]
struct HopLogin<'a> {
    user: Option<&'a Typed<Value>>,
    password_file: Option<&'a Typed<Value>>,
}

impl HopLogin<'_> {
    /// Gives it to the proxy of the URL; `false` where that cannot be, which is reported.
    fn give(self, hop: &mut ParentHop, reader: &mut ValueReader) -> bool {
        let Some(at) = self.user.or(self.password_file).map(|typed| &typed.at) else { return true };
        if let Some(typed) = self.user {
            let Some(user) = typed.value.text() else {
                return reader.wrong_type::<()>(typed, "a string", None).is_some();
            };
            let what = match user.len() {
                _ if hop.user.is_some() => "the URL has a name, too: leave one of them out",
                0 => "is empty: without a name it is left out",
                len if len > usize::from(u8::MAX) => "the name is longer than 255 bytes",
                _ => "",
            };
            if !what.is_empty() {
                reader.refuse(&typed.at, what.to_owned());
                return false;
            }
            hop.user = Some(user.as_bytes().into());
        }
        if let Some(typed) = self.password_file {
            if hop.password.is_some() {
                let what = "the URL has a password, too: leave one of them out";
                reader.refuse(&typed.at, what.to_owned());
                return false;
            }
            hop.password_file = path().read(typed, reader);
            if hop.password_file.is_none() {
                return false;
            }
        }
        let has_password = hop.password.is_some() || hop.password_file.is_some();
        let fits = login_fits(hop.protocol, hop.user.as_deref().unwrap_or_default(), has_password);
        fits.map_err(|what| reader.refuse(at, what)).is_ok()
    }

    /// Reports one that stands beside several URLs.
    fn belongs_to_none(self, reader: &mut ValueReader) -> bool {
        let Some(typed) = self.user.or(self.password_file) else { return true };
        let what = "is for one URL: of a chain each has its own, as url = [{ url = \"..\", password_file = \"..\" }, ..]";
        reader.refuse(&typed.at, what.to_owned());
        false
    }
}

/// What a proxy of a chain cannot be asked for: the one behind it, by a name that it is not to resolve, or at an address that its
/// protocol has no words for.
fn unsayable(hops: &[ParentHop]) -> Option<String> {
    hops.windows(2).find_map(|pair| {
        let (hop, next) = (&pair[0], &pair[1]);
        match &next.target.host {
            Host::Name(name) if !hop.names => Some(format!(
                "{} is asked for {name} by its name: write socks5h:// or socks4a://, by which it resolves names, or an address",
                quoted(&hop.to_string())
            )),
            Host::Ip(ip) if !hop.protocol.takes_ipv6() && ip.to_canonical().is_ipv6() => Some(format!(
                "{} is asked for {ip}, and SOCKS4 has no IPv6 addresses",
                quoted(&hop.to_string())
            )),
            _ => None,
        }
    })
}

/// A chain in a message: nothing of a login.
fn chain_text(hops: &[ParentHop]) -> String {
    let all: Vec<String> = hops.iter().map(ToString::to_string).collect();
    all.join(" > ")
}

fn server_text(server: &ParentServer) -> String {
    let weight = server.weight;
    match &server.hops[..] {
        [hop] if hop.password_file.is_none() && weight == 1 => string(&url_text(hop)),
        [hop] => format!("{{ {}, weight = {weight} }}", hop_text(hop)),
        hops => {
            let hop = |hop: &ParentHop| match hop.password_file {
                None => string(&url_text(hop)),
                Some(_) => format!("{{ {} }}", hop_text(hop)),
            };
            let hops: Vec<String> = hops.iter().map(hop).collect();
            format!("{{ url = [{}], weight = {weight} }}", hops.join(", "))
        }
    }
}

/// The keys of a proxy.
fn hop_text(hop: &ParentHop) -> String {
    let url = string(&url_text(hop));
    match &hop.password_file {
        None => format!("url = {url}"),
        Some(path) => format!("url = {url}, password_file = {}", string(&path_text(path))),
    }
}

const NEEDS_URL: &str = "needs a url, such as url = \"socks5://192.0.2.1:1080\"";
const CHECK_KEYS: [&str; 2] = ["target", "every"];
const CHECK_EXAMPLE: &str = "{ target = \"example.com:443\", every = \"10s\" }";
/// How often a server is asked where it is not said.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// Reads and prints a check: a target, or a table with it.
#[derive(Clone)]
struct CheckForm;

impl Form<ParentCheck> for CheckForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<ParentCheck> {
        let entries = match &typed.value {
            Value::Text(_) => {
                return Some(ParentCheck { target: check_target(typed, reader)?, every: CHECK_EVERY });
            }
            Value::Table(entries) => entries,
            _ => return reader.wrong_type(typed, &format!("a target such as {CHECK_EXAMPLE}"), None),
        };
        let (mut target, mut every, mut right) = (None, Some(CHECK_EVERY), true);
        for (name, typed) in entries {
            match name.as_str() {
                "target" => target = check_target(typed, reader),
                "every" => every = duration(seconds_to_an_hour()).read(typed, reader),
                other => {
                    reader.refuse(&typed.at, unknown_key(other, &CHECK_KEYS));
                    right = false;
                }
            }
        }
        if !entries.iter().any(|(name, _)| name == "target") {
            reader.refuse(&typed.at, "needs a target, such as target = \"example.com:443\"".to_owned());
        }
        Some(ParentCheck { target: target?, every: every? }).filter(|_| right)
    }

    fn print(&self, ParentCheck { target, every }: &ParentCheck) -> Option<String> {
        let (target, every) = (string(&target.to_string()), string(&duration_text(*every)));
        Some(format!("{{ target = {target}, every = {every} }}"))
    }

    fn kind(&self) -> String {
        "a host and port, or a table".to_owned()
    }
}

/// A host and port.
fn check_target(typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Target> {
    let Some(text) = typed.value.text() else { return reader.wrong_type(typed, "a string", None) };
    let target = text.rsplit_once(':').and_then(|(host, port)| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| *port != 0 && digits)?;
        // Without brackets the port may be a part of the address.
        let bare = host.contains(':') && !host.starts_with('[');
        Some(Target { host: Host::parse(host.as_bytes()).ok().filter(|_| !bare)?, port })
    });
    if target.is_none() {
        let what = format!("{} is no host and port such as \"example.com:443\"", quoted(text));
        let meant = in_brackets(text).and_then(|forms| forms.into_iter().find(|form| !form.ends_with(']')));
        reader.refuse(&typed.at, with_nearest(what, meant.map(|meant| quoted(&meant))));
    }
    target
}

/// Reads and prints the version of a PROXY header, or that there is none.
#[derive(Clone)]
struct SendProxyForm;

impl Form<SendProxy> for SendProxyForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<SendProxy> {
        match (&typed.value, typed.value.text()) {
            (Value::Whole(1), _) | (_, Some("1")) => Some(SendProxy::Version1),
            (Value::Whole(2), _) | (_, Some("2")) => Some(SendProxy::Version2),
            (_, Some("off")) => Some(SendProxy::Off),
            (Value::Whole(_) | Value::Text(_), _) => {
                reader.refuse(
                    &typed.at,
                    "is neither \"off\" nor a version of the PROXY protocol, 1 or 2".to_owned(),
                );
                None
            }
            _ => reader.wrong_type(typed, "\"off\", 1 or 2", None),
        }
    }

    fn print(&self, version: &SendProxy) -> Option<String> {
        let text = match version {
            SendProxy::Off => "\"off\"",
            SendProxy::Version1 => "1",
            SendProxy::Version2 => "2",
        };
        Some(text.to_owned())
    }

    fn kind(&self) -> String {
        "`\"off\"`, `1` or `2`".to_owned()
    }
}
