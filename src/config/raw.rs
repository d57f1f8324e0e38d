//! The configuration as it was typed: values of the right type, each with its place, none checked.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::{At, Problems, Typed, escaped};
use super::{schema, syntax, value};

/// What the command line says, as typed; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`, once for each address; any replaces the file's whole list.
    pub listen: Vec<String>,
    /// `--workers`.
    pub workers: Option<String>,
    /// `--no-pin`.
    pub no_pin: bool,
    /// `--relay`.
    pub relay: Option<String>,
    /// `--allow-private`.
    pub allow_private: bool,
    /// `--users`; it also turns the methods to password alone, unless the file already has password.
    pub users: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--access`.
    pub access: Option<String>,
}

pub(super) type Text = Option<Typed<String>>;
pub(super) type Number = Option<Typed<i128>>;
pub(super) type Switch = Option<Typed<bool>>;
pub(super) type List = Option<Typed<Vec<Typed<String>>>>;

/// One source of configuration: the file, or the command line. What is not typed there is absent.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) server: RawServer,
    pub(super) timeouts: RawTimeouts,
    pub(super) auth: RawAuth,
    pub(super) gssapi: RawGssapi,
    pub(super) dns: RawDns,
    pub(super) guard: RawGuard,
    pub(super) bind: RawBind,
    pub(super) udp: RawUdp,
    pub(super) per_source: RawPerSource,
    pub(super) log: RawLog,
}

#[derive(Debug, Default)]
pub(super) struct RawServer {
    pub(super) listen: List,
    pub(super) workers: Number,
    pub(super) pin: Switch,
    pub(super) relay: Text,
    pub(super) max_connections: Number,
    pub(super) backlog: Number,
    pub(super) busy_poll: Text,
    pub(super) open_proxy: Switch,
    pub(super) steer: Text,
    pub(super) congestion: Text,
}

#[derive(Debug, Default)]
pub(super) struct RawTimeouts {
    pub(super) handshake: Text,
    pub(super) connect: Text,
    pub(super) dns: Text,
    pub(super) idle: Text,
    pub(super) half_close: Text,
    pub(super) drain: Text,
    pub(super) unacked: Text,
    pub(super) bind: Text,
    pub(super) udp_idle: Text,
}

#[derive(Debug, Default)]
pub(super) struct RawAuth {
    pub(super) methods: List,
    pub(super) users: Text,
}

#[derive(Debug, Default)]
pub(super) struct RawGssapi {
    pub(super) keytab: Text,
    pub(super) service: Text,
    pub(super) protection: List,
    pub(super) nec: Switch,
}

#[derive(Debug, Default)]
pub(super) struct RawDns {
    pub(super) servers: List,
    pub(super) hosts: Switch,
    pub(super) cache_entries: Number,
    pub(super) prefer: Text,
    pub(super) dns64: List,
}

#[derive(Debug, Default)]
pub(super) struct RawGuard {
    pub(super) allow: List,
    pub(super) allow_private: Switch,
}

#[derive(Debug, Default)]
pub(super) struct RawBind {
    pub(super) ports: Text,
    pub(super) advertise: List,
}

#[derive(Debug, Default)]
pub(super) struct RawUdp {
    pub(super) ports: Text,
    pub(super) advertise: List,
    pub(super) fragments: Switch,
    pub(super) filtering: Text,
}

#[derive(Debug, Default)]
pub(super) struct RawPerSource {
    pub(super) connections: Number,
}

#[derive(Debug, Default)]
pub(super) struct RawLog {
    pub(super) level: Text,
    pub(super) format: Text,
    pub(super) access: Text,
    pub(super) on_full: Text,
    pub(super) udp_targets: Switch,
}

/// What the file's text says. Where it is no TOML, only that is reported: the rest would be guesses.
pub(super) fn from_text(text: &str, problems: &mut Problems) -> Raw {
    let lines = Lines::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        syntax::report(text, &errors, &lines, problems);
        return Raw::default();
    }
    let document = document.get_ref();
    report_unknown(document, None, &lines, problems);
    Raw {
        server: Table::open(document, "server", &lines, problems).server(),
        timeouts: Table::open(document, "timeouts", &lines, problems).timeouts(),
        auth: Table::open(document, "auth", &lines, problems).auth(),
        gssapi: Table::open(document, "auth.gssapi", &lines, problems).gssapi(),
        dns: Table::open(document, "dns", &lines, problems).dns(),
        guard: Table::open(document, "guard", &lines, problems).guard(),
        bind: Table::open(document, "bind", &lines, problems).bind(),
        udp: Table::open(document, "udp", &lines, problems).udp(),
        per_source: Table::open(document, "limits.per_source", &lines, problems).per_source(),
        log: Table::open(document, "log", &lines, problems).log(),
    }
}

/// What the command line says. A number that is none is reported here, as the file's reader would.
pub(super) fn from_flags(flags: &Flags, problems: &mut Problems) -> Raw {
    let mut raw = Raw::default();
    if !flags.listen.is_empty() {
        let value = flags.listen.iter().map(|one| Typed { value: one.clone(), at: At::Flag("--listen") });
        raw.server.listen = typed(Some(value.collect()), "--listen", ("server", "listen"), problems);
    }
    raw.server.workers = flags.workers.as_ref().and_then(|workers| match workers.parse() {
        Ok(value) => typed(Some(value), "--workers", ("server", "workers"), problems),
        Err(_) => {
            let what = format!("expected a whole number, found \"{}\"", escaped(workers));
            problems.push(At::Flag("--workers"), what);
            None
        }
    });
    raw.server.pin = typed(flags.no_pin.then_some(false), "--no-pin", ("server", "pin"), problems);
    raw.server.relay = typed(flags.relay.clone(), "--relay", ("server", "relay"), problems);
    let allowed = flags.allow_private.then_some(true);
    raw.guard.allow_private = typed(allowed, "--allow-private", ("guard", "allow_private"), problems);
    raw.auth.users = typed(flags.users.clone(), "--users", ("auth", "users"), problems);
    raw.log.level = typed(flags.log_level.clone(), "--log-level", ("log", "level"), problems);
    raw.log.format = typed(flags.log_format.clone(), "--log-format", ("log", "format"), problems);
    raw.log.access = typed(flags.access.clone(), "--access", ("log", "access"), problems);
    raw
}

/// What a flag says of a key, if it was given.
fn typed<T>(
    value: Option<T>,
    flag: &'static str,
    (table, key): (&'static str, &'static str),
    problems: &mut Problems,
) -> Option<Typed<T>> {
    let typed = Typed { value: value?, at: At::Flag(flag) };
    problems.note(table, key, &typed.at);
    Some(typed)
}

/// Reports every table and key that is none of ours: of the document, or of a table in it.
fn report_unknown(
    entries: &DeTable<'_>,
    table: Option<&'static str>,
    lines: &Lines,
    problems: &mut Problems,
) {
    let keys = table.map_or(&[][..], schema::keys_of);
    for (name, value) in entries {
        let typed: &str = name.get_ref();
        if keys.contains(&typed) {
            continue;
        }
        let line = lines.line_at(name.span().start);
        match (schema::table_in(table, typed), value.get_ref()) {
            (Some(inner), DeValue::Table(entries)) => report_unknown(entries, Some(inner), lines, problems),
            (Some(inner), other) => {
                let what = format!("expected a table, found {}", kind(other));
                problems.push(At::Table { line, table: inner.to_owned() }, what);
            }
            (None, other) if is_table(other) => {
                let full = table.map_or_else(|| typed.to_owned(), |table| format!("{table}.{typed}"));
                problems.push(At::Table { line, table: escaped(&full) }, schema::unknown_table(&full));
            }
            (None, _) => {
                let what = table.map(|table| schema::unknown_key(table, typed));
                let what = what.unwrap_or_else(|| schema::stray_key(typed));
                problems.push(At::Key { line, table, key: escaped(typed) }, what);
            }
        }
    }
}

/// A table, or an array of them.
fn is_table(value: &DeValue<'_>) -> bool {
    value.is_table()
        || value.as_array().is_some_and(|items| items.iter().any(|item| item.get_ref().is_table()))
}

/// A table that is being read; an absent one has no key.
struct Table<'a, 'i> {
    name: &'static str,
    entries: Option<&'a DeTable<'i>>,
    lines: &'a Lines,
    problems: &'a mut Problems,
}

impl<'a, 'i> Table<'a, 'i> {
    fn open(
        document: &'a DeTable<'i>,
        name: &'static str,
        lines: &'a Lines,
        problems: &'a mut Problems,
    ) -> Table<'a, 'i> {
        let entries = name
            .split('.')
            .try_fold(document, |table, part| table.get(part).and_then(|value| value.get_ref().as_table()));
        Table { name, entries, lines, problems }
    }

    fn server(&mut self) -> RawServer {
        RawServer {
            listen: self.list("listen"),
            workers: self.number("workers"),
            pin: self.switch("pin"),
            relay: self.text("relay"),
            max_connections: self.number("max_connections"),
            backlog: self.number("backlog"),
            busy_poll: self.duration("busy_poll"),
            open_proxy: self.switch("open_proxy"),
            steer: self.text("steer"),
            congestion: self.text("congestion"),
        }
    }

    fn timeouts(&mut self) -> RawTimeouts {
        RawTimeouts {
            handshake: self.duration("handshake"),
            connect: self.duration("connect"),
            dns: self.duration("dns"),
            idle: self.duration("idle"),
            half_close: self.duration("half_close"),
            drain: self.duration("drain"),
            unacked: self.duration("unacked"),
            bind: self.duration("bind"),
            udp_idle: self.duration("udp_idle"),
        }
    }

    fn auth(&mut self) -> RawAuth {
        RawAuth { methods: self.list("methods"), users: self.text("users") }
    }

    fn gssapi(&mut self) -> RawGssapi {
        RawGssapi {
            keytab: self.text("keytab"),
            service: self.text("service"),
            protection: self.list("protection"),
            nec: self.switch("nec"),
        }
    }

    fn dns(&mut self) -> RawDns {
        RawDns {
            servers: self.list("servers"),
            hosts: self.switch("hosts"),
            cache_entries: self.number("cache_entries"),
            prefer: self.text("prefer"),
            dns64: self.one_or_list("dns64"),
        }
    }

    fn guard(&mut self) -> RawGuard {
        RawGuard { allow: self.list("allow"), allow_private: self.switch("allow_private") }
    }

    fn bind(&mut self) -> RawBind {
        RawBind { ports: self.text("ports"), advertise: self.one_or_list("advertise") }
    }

    fn per_source(&mut self) -> RawPerSource {
        RawPerSource { connections: self.number("connections") }
    }

    fn log(&mut self) -> RawLog {
        RawLog {
            level: self.text("level"),
            format: self.text("format"),
            access: self.text("access"),
            on_full: self.text("on_full"),
            udp_targets: self.switch("udp_targets"),
        }
    }

    fn text(&mut self, key: &'static str) -> Text {
        let (value, at) = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Typed { value: text.to_string(), at }),
            other => self.wrong_type(at, "a string", other, None),
        }
    }

    /// A string too; its reader knows that a bare number wants a unit.
    fn duration(&mut self, key: &'static str) -> Text {
        let (value, at) = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Typed { value: text.to_string(), at }),
            other => {
                let bare = other.as_integer().map(|integer| integer.to_string());
                let nearest = bare.and_then(|number| value::nearest_duration(&number));
                self.wrong_type(at, "a duration such as \"10s\"", other, nearest)
            }
        }
    }

    fn number(&mut self, key: &'static str) -> Number {
        let (value, at) = self.get(key)?;
        match value.get_ref() {
            DeValue::Integer(integer) => Some(Typed { value: whole(integer), at }),
            other => {
                let nearest = other.as_str().and_then(|text| text.trim().parse::<i64>().ok());
                self.wrong_type(at, "a whole number", other, nearest.map(|number| number.to_string()))
            }
        }
    }

    fn switch(&mut self, key: &'static str) -> Switch {
        let (value, at) = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(on) => Some(Typed { value: *on, at }),
            other => {
                let nearest = match other.as_str().map(str::to_ascii_lowercase).as_deref() {
                    Some("true" | "yes" | "on") => Some("true".to_owned()),
                    Some("false" | "no" | "off") => Some("false".to_owned()),
                    _ => None,
                };
                self.wrong_type(at, "true or false", other, nearest)
            }
        }
    }

    fn list(&mut self, key: &'static str) -> List {
        let (value, at) = self.get(key)?;
        let items = match value.get_ref() {
            DeValue::Array(items) => items,
            other => {
                let nearest = other.as_str().map(|text| format!("[\"{}\"]", escaped(text)));
                return self.wrong_type(at, "an array of strings", other, nearest);
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for item in items.iter() {
            let at = self.at(key, item.span().start);
            self.problems.note_entry(self.name, key, &at);
            match item.get_ref() {
                DeValue::String(text) => list.push(Typed { value: text.to_string(), at }),
                other => {
                    self.wrong_type::<()>(at, "a string", other, None);
                }
            }
        }
        Some(Typed { value: list, at })
    }

    fn udp(&mut self) -> RawUdp {
        RawUdp {
            ports: self.text("ports"),
            advertise: self.one_or_list("advertise"),
            fragments: self.switch("fragments"),
            filtering: self.text("filtering"),
        }
    }

    /// A list in which one string may stand without its brackets.
    fn one_or_list(&mut self, key: &'static str) -> List {
        let (value, at) = self.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => {
                let value = vec![Typed { value: text.to_owned(), at: at.clone() }];
                Some(Typed { value, at })
            }
            None => self.list(key),
        }
    }

    fn get(&mut self, key: &'static str) -> Option<(&'a Spanned<DeValue<'i>>, At)> {
        debug_assert!(schema::keys_of(self.name).contains(&key), "{key} is not in the schema");
        let value = self.entries?.get(key)?;
        let at = self.at(key, value.span().start);
        self.problems.note(self.name, key, &at);
        Some((value, at))
    }

    fn at(&self, key: &'static str, offset: usize) -> At {
        At::Key { line: self.lines.line_at(offset), table: Some(self.name), key: key.to_owned() }
    }

    /// Reports a value of the wrong type, with the form that was probably meant; there is no value.
    fn wrong_type<T>(
        &mut self,
        at: At,
        expected: &str,
        found: &DeValue<'_>,
        nearest: Option<String>,
    ) -> Option<T> {
        let mut what = format!("expected {expected}, found {}", kind(found));
        if let Some(nearest) = nearest {
            what.push_str(&format!("; did you mean {nearest}?"));
        }
        self.problems.push(at, what);
        None
    }
}

/// The integer, or the end of the range that it lies beyond.
fn whole(integer: &DeInteger<'_>) -> i128 {
    i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(
        match integer.as_str().starts_with('-') {
            true => i128::MIN,
            false => i128::MAX,
        },
    )
}

/// A type's name in a sentence.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line, counted from 1, that holds the byte at `offset`.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset)
    }
}
