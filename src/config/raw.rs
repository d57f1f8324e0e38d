//! The configuration as it was typed: values with their places, none checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::at::{At, TablePath, Typed};
use super::nearest::with_nearest;
use super::problem::{Problems, escaped};
use super::schema::Schema;
use super::syntax::{self, Lines};
use super::typed::{RawTable, Value};
use super::variables::{Environment, Variables};

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
    /// `--admin`, once for each address; any replaces the file's whole list.
    pub admin: Vec<String>,
}

/// One source of configuration: the file, or the command line. What is not typed there is absent.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// The tables that were typed, by name: one of each, or of an array of tables as many as it has.
    tables: BTreeMap<&'static str, Vec<RawTable>>,
}

impl Raw {
    /// Lays what was typed over what is there; relative paths in it start at `base`.
    pub(super) fn lay_over<C: 'static>(
        &self,
        config: &mut C,
        schema: &Schema<C>,
        base: &Path,
        problems: &mut Problems,
    ) {
        for table in schema.tables() {
            if let Some(typed) = self.tables.get(table.name) {
                table.lay(typed, base, config, problems);
            }
        }
    }

    /// What the command line says. A number that is none is reported here, before what is wrong with values.
    pub(super) fn from_flags(flags: &Flags, problems: &mut Problems) -> Raw {
        let Flags { workers, no_pin, relay, allow_private, users, log_level, log_format, access, .. } = flags;
        let mut raw = Raw::default();
        for (flag, table, typed) in
            [("--listen", "server", &flags.listen), ("--admin", "admin", &flags.admin)]
        {
            let all: Vec<_> = typed.iter().map(|one| from_flag(flag, Value::Text(one.clone()))).collect();
            raw.lay(flag, (table, "listen"), (!all.is_empty()).then_some(Value::Array(all)));
        }
        match workers.as_deref().map(|typed| (typed, typed.parse())) {
            Some((_, Ok(whole))) => raw.lay("--workers", ("server", "workers"), Some(Value::Whole(whole))),
            Some((typed, Err(_))) => {
                let what = format!("expected a whole number, found \"{}\"", escaped(typed));
                problems.push(At::Flag("--workers"), what);
            }
            None => {}
        }
        raw.lay("--no-pin", ("server", "pin"), no_pin.then_some(Value::Switch(false)));
        raw.lay("--allow-private", ("guard", "allow_private"), allow_private.then_some(Value::Switch(true)));
        for (flag, key, text) in [
            ("--relay", ("server", "relay"), relay),
            ("--users", ("auth", "users"), users),
            ("--log-level", ("log", "level"), log_level),
            ("--log-format", ("log", "format"), log_format),
            ("--access", ("log", "access"), access),
        ] {
            raw.lay(flag, key, text.clone().map(Value::Text));
        }
        raw
    }

    fn lay(&mut self, flag: &'static str, (table, key): (&'static str, &'static str), value: Option<Value>) {
        if let Some(value) = value {
            let tables = self.tables.entry(table).or_insert_with(|| vec![RawTable::default()]);
            tables[0].keys.insert(key.to_owned(), from_flag(flag, value));
        }
    }

    /// What the file's text says. Where it is no TOML, only that is reported: the rest would be guesses.
    pub(super) fn from_text<C: 'static>(
        text: &str,
        schema: &Schema<C>,
        environment: &Environment,
        problems: &mut Problems,
    ) -> Raw {
        let lines = Lines::of(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            syntax::report(text, &errors, &lines, problems);
            return Raw::default();
        }
        let variables = Variables::of(environment);
        let mut reader = Document { schema, lines: &lines, variables, problems, raw: Raw::default() };
        reader.table(document.get_ref(), None, None);
        reader.raw
    }
}

fn from_flag(flag: &'static str, value: Value) -> Typed<Value> {
    Typed { value, at: At::Flag(flag) }
}

/// A text of TOML that is being read.
struct Document<'a, C> {
    schema: &'a Schema<C>,
    lines: &'a Lines,
    variables: Variables<'a>,
    problems: &'a mut Problems,
    raw: Raw,
}

impl<C: 'static> Document<'_, C> {
    /// Reads the keys of a table, or those before the first one, and the tables in it. Those that are none of ours are
    /// reported. `line` is where the table begins.
    fn table(&mut self, entries: &DeTable<'_>, path: Option<TablePath>, line: Option<usize>) {
        let schema = self.schema;
        let known = path.and_then(|path| schema.table(path.name));
        let at = path.zip(line).map(|(path, line)| At::Table { line, header: path.to_string() });
        let mut raw = RawTable { at, ..RawTable::default() };
        for (name, value) in entries {
            let typed: &str = name.get_ref();
            if let (Some(path), true) = (path, known.is_some_and(|table| table.takes(typed))) {
                let value = self.value(path, typed, value);
                raw.keys.extend(value.map(|value| (typed.to_owned(), value)));
            } else {
                self.inner(typed, self.lines.line_at(name.span().start), value.get_ref(), path);
            }
        }
        if let Some(path) = path {
            self.raw.tables.entry(path.name).or_default().push(raw);
        }
    }

    /// Reads what is no key of the table that it stands in: a table, or an array of them.
    fn inner(&mut self, name: &str, line: usize, value: &DeValue<'_>, path: Option<TablePath>) {
        let schema = self.schema;
        let Some(table) = schema.table_in(path.map(|path| path.name), name) else {
            return self.unknown(name, line, value, path);
        };
        match (value, &table.array) {
            (DeValue::Table(entries), None) => self.table(entries, Some(table.path(0)), Some(line)),
            (DeValue::Array(items), Some(_)) => {
                self.raw.tables.insert(table.name, Vec::new());
                items.iter().enumerate().for_each(|(nth, item)| self.item(table.path(nth), item));
            }
            (other, None) => {
                let what = format!("expected a table, found {}", kind(other));
                self.problems.push(At::Table { line, header: table.header() }, what);
            }
            (other, Some(_)) => {
                let what = format!("expected an array of tables, found {}", kind(other));
                let meant = other.is_table().then(|| table.header());
                let header = format!("[{}]", table.name);
                self.problems.push(At::Table { line, header }, with_nearest(what, meant));
            }
        }
    }

    /// Reads one table of an array.
    fn item(&mut self, path: TablePath, item: &Spanned<DeValue<'_>>) {
        match item.get_ref() {
            DeValue::Table(entries) => {
                let line = self.lines.line_at(item.span().start);
                self.table(entries, Some(path), Some(line));
            }
            other => {
                let (line, header) = (self.lines.line_at(item.span().start), path.to_string());
                let what = format!("expected a table, found {}", kind(other));
                self.problems.push(At::Table { line, header }, what);
                self.raw.tables.entry(path.name).or_default().push(RawTable::default());
            }
        }
    }

    /// Reports a table or a key that is none of ours.
    fn unknown(&mut self, name: &str, line: usize, value: &DeValue<'_>, path: Option<TablePath>) {
        if is_table(value) {
            let full = path.map_or_else(|| name.to_owned(), |path| format!("{}.{name}", path.name));
            let header = format!("[{}]", escaped(&full));
            return self.problems.push(At::Table { line, header }, self.schema.unknown_table(&full));
        }
        let what = match path {
            Some(path) => self.schema.unknown_key(path.name, name),
            None => self.schema.stray_key(name),
        };
        self.problems.push(At::Key { line, table: path, key: escaped(name), variables: None }, what);
    }

    /// A value of a key with its place, `None` where a variable in it has none, which is reported. Within a value that is a
    /// table, the key is `key.inner`.
    fn value(&mut self, path: TablePath, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Typed<Value>> {
        let line = self.lines.line_at(value.span().start);
        let at = |variables| At::Key { line, table: Some(path), key: escaped(key), variables };
        let value = match value.get_ref() {
            DeValue::String(text) => return self.text(text, at),
            DeValue::Integer(integer) => Value::Whole(whole(integer)),
            DeValue::Boolean(on) => Value::Switch(*on),
            DeValue::Array(items) => {
                let all: Vec<_> = items.iter().map(|item| self.value(path, key, item)).collect();
                Value::Array(all.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(entries) => {
                let inner = entries.iter().map(|(name, value)| {
                    let name: &str = name.get_ref();
                    Some((name.to_owned(), self.value(path, &format!("{key}.{name}"), value)?))
                });
                let all: Vec<_> = inner.collect();
                Value::Table(all.into_iter().collect::<Option<_>>()?)
            }
            other => Value::Other(kind(other)),
        };
        Some(Typed { value, at: at(None) })
    }

    /// A string with its place, which is one of these variables.
    fn text(&mut self, typed: &str, at: impl Fn(Option<Arc<str>>) -> At) -> Option<Typed<Value>> {
        match self.variables.expand(typed) {
            Ok(expanded) => {
                let at = at(expanded.variables.map(Arc::from));
                Some(Typed { value: Value::Text(expanded.text), at })
            }
            Err(what) => {
                self.problems.push(at(None), what);
                None
            }
        }
    }
}

/// A table, or an array of them.
fn is_table(value: &DeValue<'_>) -> bool {
    value.is_table()
        || value.as_array().is_some_and(|items| items.iter().any(|item| item.get_ref().is_table()))
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
