//! From what was typed to what holds: single values first, then the rules between them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::problem::{At, Problems, Typed, quoted};
use super::raw::{List, Number, Raw, RawAuth, RawGssapi, RawServer, RawTimeouts, Switch, Text};
use super::value::{self, duration_text};
use super::{
    Access, Advertise, AuthMethod, Choice, Config, Dns64, Endpoint, OnFull, Protection, ProtectionLevel,
    available_cpus, dns64, reach,
};
use crate::limits;

/// A configuration in the making: the defaults, then the file, then the flags.
#[derive(Default)]
pub(super) struct Draft {
    config: Config,
    problems: Problems,
    /// Where each address of `config.server.listen` was typed; empty for the default.
    listen_at: Vec<At>,
    /// Where a number of workers was typed.
    workers_at: Option<At>,
    /// Where the methods were typed, or the flag that chose them.
    methods_at: Option<At>,
    /// Where the file names the users file.
    users_at: Option<At>,
    /// Where `log.on_full` was typed.
    on_full_at: Option<At>,
}

impl Draft {
    /// The defaults; problems are reported of the file named in `problems`.
    pub(super) fn new(problems: Problems) -> Draft {
        Draft { problems, ..Draft::default() }
    }

    /// Where readers report what they cannot read.
    pub(super) fn problems(&mut self) -> &mut Problems {
        &mut self.problems
    }

    /// Lays one source over what is there. Each of its values is checked, even one that a later source
    /// replaces: a file is right or wrong whatever the flags say.
    pub(super) fn lay(&mut self, raw: &Raw, base: &Path) {
        self.server(&raw.server);
        self.timeouts(&raw.timeouts);
        self.auth(&raw.auth, base);
        self.gssapi(&raw.gssapi, base);
        let Draft { config, problems, .. } = self;
        let mut check = Check(problems);

        let dns = &mut config.dns;
        if let Some(servers) = check.list(&raw.dns.servers, limits::MAX_DNS_SERVERS, value::dns_server) {
            dns.servers = values(servers);
        }
        check.switch(&raw.dns.hosts, &mut dns.hosts);
        if let Some(entries) = check.number(&raw.dns.cache_entries, 1..=limits::MAX_DNS_CACHE_ENTRIES) {
            dns.cache_entries = entries as usize;
        }
        check.choice(&raw.dns.prefer, &mut dns.prefer);
        check.dns64(&raw.dns.dns64, &mut dns.dns64);

        if let Some(blocks) = check.list(&raw.guard.allow, limits::MAX_GUARD_ALLOW, value::block) {
            config.guard.allow = values(blocks);
        }
        check.switch(&raw.guard.allow_private, &mut config.guard.allow_private);

        check.parse(&raw.bind.ports, &mut config.bind.ports, reach::ports);
        check.advertise(&raw.bind.advertise, &mut config.bind.advertise);

        check.parse(&raw.udp.ports, &mut config.udp.ports, reach::ports);
        check.advertise(&raw.udp.advertise, &mut config.udp.advertise);
        check.switch(&raw.udp.fragments, &mut config.udp.fragments);
        check.choice(&raw.udp.filtering, &mut config.udp.filtering);

        if let Some(most) = check.number(&raw.per_source.connections, 0..=limits::MAX_CONNECTIONS) {
            config.per_source.connections = most as usize;
        }

        check.choice(&raw.log.level, &mut config.log.level);
        check.choice(&raw.log.format, &mut config.log.format);
        check.parse(&raw.log.access, &mut config.log.access, |typed| value::access(typed, base));
        check.choice(&raw.log.on_full, &mut config.log.on_full);
        if let Some(typed) = &raw.log.on_full {
            self.on_full_at = Some(typed.at.clone());
        }
        check.switch(&raw.log.udp_targets, &mut config.log.udp_targets);
    }

    /// The configuration, if the rules between its values hold too.
    pub(super) fn finish(mut self) -> Result<Config, Problems> {
        self.refuse_open_proxy();
        self.require_users();
        self.share_connections();
        self.require_password();
        self.require_records();
        match self.problems.is_empty() {
            true => Ok(Config { places: self.problems.into_places(), ..self.config }),
            false => Err(self.problems.sorted()),
        }
    }

    fn server(&mut self, raw: &RawServer) {
        let server = &mut self.config.server;
        let mut check = Check(&mut self.problems);
        if let Some(listen) = check.list(&raw.listen, limits::MAX_LISTEN, value::listen_address) {
            check.not_empty(&raw.listen, "server", "listen", "an address");
            check.distinct(&listen, |one| {
                // Port 0 asks for any free port: two of them differ.
                (one.address.port() != 0).then(|| one.canonical())
            });
            check.none_covered(&listen);
            self.listen_at = listen.iter().map(|one| one.at.clone()).collect();
            server.listen = values(listen);
        }
        if let Some(workers) = check.number(&raw.workers, 0..=limits::MAX_WORKERS) {
            server.workers = if workers == 0 { available_cpus() } else { workers as usize };
            self.workers_at = raw.workers.as_ref().filter(|_| workers != 0).map(|typed| typed.at.clone());
        }
        check.switch(&raw.pin, &mut server.pin);
        check.choice(&raw.relay, &mut server.relay);
        if let Some(most) = check.number(&raw.max_connections, 0..=limits::MAX_CONNECTIONS) {
            server.max_connections = most as usize;
        }
        if let Some(backlog) = check.number(&raw.backlog, 1..=limits::MAX_BACKLOG) {
            server.backlog = backlog as u32;
        }
        let longest = Duration::from_micros(limits::MAX_BUSY_POLL_US);
        check.duration(&raw.busy_poll, &mut server.busy_poll, Duration::ZERO..=longest);
        check.switch(&raw.open_proxy, &mut server.open_proxy);
        check.choice(&raw.steer, &mut server.steer);
        check.parse(&raw.congestion, &mut server.congestion, value::congestion);
    }

    fn timeouts(&mut self, raw: &RawTimeouts) {
        let timeouts = &mut self.config.timeouts;
        let mut check = Check(&mut self.problems);
        let shortest = Duration::from_millis(limits::MIN_TIMEOUT_MS);
        let setup = || shortest..=Duration::from_secs(limits::MAX_SETUP_TIMEOUT_S);
        let relay = || shortest..=Duration::from_secs(limits::MAX_RELAY_TIMEOUT_S);
        check.duration(&raw.handshake, &mut timeouts.handshake, setup());
        check.duration(&raw.connect, &mut timeouts.connect, setup());
        check.duration(&raw.dns, &mut timeouts.dns, setup());
        check.duration(&raw.idle, &mut timeouts.idle, relay());
        check.duration(&raw.half_close, &mut timeouts.half_close, relay());
        check.duration(&raw.drain, &mut timeouts.drain, relay());
        check.duration(&raw.unacked, &mut timeouts.unacked, relay());
        check.duration(&raw.bind, &mut timeouts.bind, setup());
        check.duration(&raw.udp_idle, &mut timeouts.udp_idle, relay());
    }

    fn auth(&mut self, raw: &RawAuth, base: &Path) {
        let auth = &mut self.config.auth;
        let mut check = Check(&mut self.problems);
        let most = AuthMethod::ALL.len();
        if let Some(methods) = check.list(&raw.methods, most, value::choice::<AuthMethod>) {
            check.not_empty(&raw.methods, "auth", "methods", "a method");
            check.distinct(&methods, |method| Some(method.name()));
            self.methods_at = raw.methods.as_ref().map(|typed| typed.at.clone());
            auth.methods = values(methods);
        }
        let Some(typed) = &raw.users else { return };
        match value::path(&typed.value, base) {
            Ok(users) => auth.users = Some(users),
            Err(what) => return check.0.push(typed.at.clone(), what),
        }
        if !matches!(typed.at, At::Flag(_)) {
            self.users_at = Some(typed.at.clone());
        } else if !auth.methods.contains(&AuthMethod::Password) {
            // `--users FILE` alone is enough: whoever was let in by nothing is asked for a password, and who shows a
            // ticket still may. Methods that ask for passwords already are left as they are.
            auth.methods.retain(|method| *method != AuthMethod::None);
            auth.methods.push(AuthMethod::Password);
            self.methods_at = Some(typed.at.clone());
        }
    }

    fn gssapi(&mut self, raw: &RawGssapi, base: &Path) {
        let gssapi = &mut self.config.auth.gssapi;
        let mut check = Check(&mut self.problems);
        check.parse(&raw.keytab, &mut gssapi.keytab, |typed| value::path(typed, base));
        check.parse(&raw.service, &mut gssapi.service, value::service);
        let most = ProtectionLevel::ALL.len();
        if let Some(levels) = check.list(&raw.protection, most, value::choice::<ProtectionLevel>) {
            check.not_empty(&raw.protection, "auth.gssapi", "protection", "a level");
            check.distinct(&levels, |level| Some(level.name()));
            if let Some(protection) = Protection::new(&values(levels)) {
                gssapi.protection = protection;
            }
        }
        check.switch(&raw.nec, &mut gssapi.nec);
    }

    /// A worker that may serve nobody would keep its share of the clients waiting.
    fn share_connections(&mut self) {
        let (workers, most) = (self.config.server.workers, self.config.server.max_connections);
        if most == 0 || workers <= most {
            return;
        }
        match self.workers_at.clone() {
            Some(at) => {
                let what = format!(
                    "{workers} workers cannot share max_connections = {most}: {most} workers at most, or 0 for as many \
                     as CPUs"
                );
                self.problems.push(at, what);
            }
            None => self.config.server.workers = most,
        }
    }

    /// A listener that others reach, and no password: whoever finds it uses it.
    fn refuse_open_proxy(&mut self) {
        let Config { server, auth, .. } = &self.config;
        let unsure = self.problems.touch("server", "open_proxy") || self.problems.touch("auth", "methods");
        if server.open_proxy || unsure || !auth.methods.contains(&AuthMethod::None) {
            return;
        }
        for (address, at) in server.listen.iter().zip(&self.listen_at) {
            if address.ip().is_loopback() {
                continue;
            }
            let what = format!(
                "\"{address}\" with method \"none\" is an open proxy: whoever reaches it may use it; set \
                 methods = [\"password\"] in [auth], listen on a loopback address, or write \
                 open_proxy = true in [server]"
            );
            self.problems.push(at.clone(), what);
        }
    }

    /// Method password, and nobody who could log in.
    fn require_users(&mut self) {
        let auth = &self.config.auth;
        if !auth.methods.contains(&AuthMethod::Password) || auth.users.is_some() {
            return;
        }
        match self.methods_at.clone() {
            Some(at) if !self.problems.touch("auth", "users") => {
                let what =
                    "\"password\" needs a users file: set users = \"FILE\" in [auth] or give --users FILE";
                self.problems.push(at, what.to_owned());
            }
            _ => {}
        }
    }

    /// Nothing may be lost, and nothing is kept.
    fn require_records(&mut self) {
        let log = &self.config.log;
        if let Some(at) = self.on_full_at.clone()
            && (log.on_full, &log.access) == (OnFull::Refuse, &Access::Off)
            && !self.problems.touch("log", "access")
        {
            let what =
                "\"refuse\" keeps access records, but there are none: set access in [log] or give --access";
            self.problems.push(at, what.to_owned());
        }
    }
}

impl Draft {
    /// A users file, and nobody who is asked for a password.
    fn require_password(&mut self) {
        let methods = &self.config.auth.methods;
        let Some(at) = self.users_at.clone() else { return };
        if methods.contains(&AuthMethod::Password) || self.problems.touch("auth", "methods") {
            return;
        }
        let names = |methods: &[AuthMethod]| {
            let names: Vec<String> = methods.iter().map(|method| format!("\"{}\"", method.name())).collect();
            names.join(", ")
        };
        let mut wanted = methods.clone();
        wanted.retain(|method| *method != AuthMethod::None);
        wanted.push(AuthMethod::Password);
        let what = format!(
            "nobody is asked for a password while methods = [{}]: set methods = [{}] in [auth], or leave users out",
            names(methods),
            names(&wanted)
        );
        self.problems.push(at, what);
    }
}

/// Reads single values, reporting each that cannot be had; what is absent or wrong changes nothing.
struct Check<'a>(&'a mut Problems);

impl Check<'_> {
    fn switch(&mut self, typed: &Switch, slot: &mut bool) {
        if let Some(typed) = typed {
            *slot = typed.value;
        }
    }

    fn parse<T>(&mut self, typed: &Text, slot: &mut T, parse: impl Fn(&str) -> Result<T, String>) {
        match typed.as_ref().map(|typed| (parse(&typed.value), &typed.at)) {
            Some((Ok(value), _)) => *slot = value,
            Some((Err(what), at)) => self.0.push(at.clone(), what),
            None => {}
        }
    }

    fn choice<C: Choice>(&mut self, typed: &Text, slot: &mut C) {
        self.parse(typed, slot, value::choice);
    }

    fn duration(&mut self, typed: &Text, slot: &mut Duration, range: RangeInclusive<Duration>) {
        self.parse(typed, slot, |text| match value::duration(text)? {
            duration if range.contains(&duration) => Ok(duration),
            _ => Err(format!(
                "{} is out of range: \"{}\" to \"{}\"",
                quoted(text),
                duration_text(*range.start()),
                duration_text(*range.end())
            )),
        });
    }

    fn number(&mut self, typed: &Number, range: RangeInclusive<u64>) -> Option<u64> {
        let typed = typed.as_ref()?;
        let value = u64::try_from(typed.value).ok().filter(|value| range.contains(value));
        if value.is_none() {
            let what = match typed.value {
                i128::MIN | i128::MAX => format!("out of range: {} to {}", range.start(), range.end()),
                value => format!("{value} is out of range: {} to {}", range.start(), range.end()),
            };
            self.0.push(typed.at.clone(), what);
        }
        value
    }

    /// The values that are right; a list that is too long, or holds a wrong one, is reported.
    fn list<T>(
        &mut self,
        typed: &List,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Typed<T>>> {
        let typed = typed.as_ref()?;
        let mut list = Vec::new();
        for one in &typed.value {
            match parse(&one.value) {
                Ok(value) => list.push(Typed { value, at: one.at.clone() }),
                Err(what) => self.0.push(one.at.clone(), what),
            }
        }
        if list.len() > most {
            self.0.push(typed.at.clone(), format!("{} entries are too many: at most {most}", list.len()));
            list.truncate(most);
        }
        Some(list)
    }

    /// Addresses to name in place of our own, one of each family.
    fn advertise(&mut self, typed: &List, slot: &mut Advertise) {
        let Some(addresses) = self.list(typed, limits::MAX_ADVERTISE, reach::advertised) else { return };
        for (nth, one) in addresses.iter().enumerate() {
            let family = one.value.is_ipv4();
            if addresses[..nth].iter().any(|earlier| earlier.value.is_ipv4() == family) {
                let family = if family { "IPv4" } else { "IPv6" };
                let what = format!("\"{}\" is a second {family} address: one is told", one.value);
                self.0.push(one.at.clone(), what);
            }
        }
        *slot = values(addresses).into_iter().collect();
    }

    /// One of the words, or prefixes.
    fn dns64(&mut self, typed: &List, slot: &mut Dns64) {
        let words = typed.as_ref().map(|typed| typed.value.as_slice()).unwrap_or_default();
        if let [one] = words
            && let Some(word) = Dns64::of_word(&one.value)
        {
            *slot = word;
            return;
        }
        self.not_empty(typed, "dns", "dns64", "\"auto\", \"off\" or a prefix");
        if let Some(prefixes) = self.list(typed, limits::NAT64_PREFIXES_MAX, dns64::prefix) {
            self.distinct(&prefixes, |prefix| Some(*prefix));
            *slot = Dns64::Prefixes(values(prefixes));
        }
    }

    /// Reports a list in which nothing was typed; one whose entries were refused has its problems.
    fn not_empty(&mut self, typed: &List, table: &str, key: &str, wanted: &str) {
        if let Some(typed) = typed.as_ref().filter(|typed| typed.value.is_empty())
            && !self.0.touch(table, key)
        {
            self.0.push(typed.at.clone(), format!("is empty: it needs {wanted}"));
        }
    }

    /// Reports each address to listen on whose connections another one takes: the kernel gives nobody both.
    fn none_covered(&mut self, listen: &[Typed<Endpoint>]) {
        for one in listen.iter().filter(|one| one.value.address.port() != 0) {
            let covered_by = |covers: fn(SocketAddr, SocketAddr) -> bool| {
                listen
                    .iter()
                    .find(|wide| covers(wide.value.address, one.value.address))
                    .map(|wide| &wide.value)
            };
            let what = if let Some(wide) = covered_by(reach::covers) {
                format!("\"{}\" is part of \"{wide}\": one of them is enough", one.value)
            } else if let Some(wide) = covered_by(reach::covers_both_families) {
                format!(
                    "\"{}\" is part of \"{wide}\", which takes IPv4, too: one of them is enough",
                    one.value
                )
            } else {
                continue;
            };
            self.0.push(one.at.clone(), what);
        }
    }

    /// Reports each entry whose key an earlier one has; one without a key is like no other.
    fn distinct<T, K: PartialEq + ToString>(&mut self, list: &[Typed<T>], key: impl Fn(&T) -> Option<K>) {
        let keys: Vec<_> = list.iter().map(|one| key(&one.value)).collect();
        for (nth, key) in keys.iter().enumerate() {
            if let Some(twice) = key.as_ref().filter(|_| keys[..nth].contains(key)) {
                self.0.push(list[nth].at.clone(), format!("\"{}\" is listed twice", twice.to_string()));
            }
        }
    }
}

fn values<T>(list: Vec<Typed<T>>) -> Vec<T> {
    list.into_iter().map(|typed| typed.value).collect()
}
