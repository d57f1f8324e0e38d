//! What a key and a table of the configuration are: one entry gives the field, its default, how it is typed and printed,
//! and its line of help. Whatever reads, prints, checks, documents or completes goes through these entries.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::at::{TablePath, Typed};
use super::form::{Form, ValueReader};
use super::problem::Problems;
use super::typed::{RawTable, Value};

/// When a key's value is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenAt {
    /// At the start alone.
    Start,
    /// At the start and at a reload.
    Reload,
}

/// A key of a table, in a configuration of type `C`. Where the table is one of an array, `usize` says which.
pub(super) struct KeyEntry<C> {
    pub(super) name: &'static str,
    /// One line that says what the value is.
    pub(super) help: &'static str,
    pub(super) taken: TakenAt,
    /// The words that the value may be; empty where it may be anything.
    pub(super) words: Vec<&'static str>,
    /// What a value is, in words.
    pub(super) kind: String,
    /// A value to show in place of a default that there is not.
    pub(super) example: Option<String>,
    /// Sets the field to what was typed; `false` where that is wrong, which is reported.
    pub(super) set: Box<Set<C>>,
    /// The field's value as TOML; `None` where it is absent.
    pub(super) print: Box<Print<C>>,
    /// Sets the field to what another configuration has there.
    pub(super) copy: Box<CopyField<C>>,
    /// Whether two configurations have the same there, each in the table of this number. What is printed does not show it all: of
    /// a password nothing is.
    pub(super) same: Box<SameField<C>>,
}

type Set<C> = dyn Fn(&mut C, usize, &Typed<Value>, &mut ValueReader) -> bool;
type Print<C> = dyn Fn(&C, usize) -> Option<String>;
type CopyField<C> = dyn Fn(&mut C, &C, usize);
type SameField<C> = dyn Fn((&C, usize), (&C, usize)) -> bool;

impl<C: 'static> KeyEntry<C> {
    /// The key of one field. A full stop at the end of `help` is left out.
    pub(super) fn new<T: Clone + PartialEq + 'static>(
        (name, help): (&'static str, &'static str),
        taken: TakenAt,
        form: impl Form<T> + 'static,
        get: fn(&C) -> &T,
        get_mut: fn(&mut C) -> &mut T,
    ) -> KeyEntry<C> {
        let printed = form.clone();
        KeyEntry {
            name,
            help: one_line(help),
            taken,
            words: form.words(),
            kind: form.kind(),
            example: form.example(),
            set: Box::new(move |config, _, typed, reader| match form.read(typed, reader) {
                Some(value) => {
                    *get_mut(config) = value;
                    true
                }
                None => false,
            }),
            print: Box::new(move |config, _| printed.print(get(config))),
            copy: Box::new(move |config, other, _| *get_mut(config) = get(other).clone()),
            same: Box::new(move |(one, _), (other, _)| get(one) == get(other)),
        }
    }

    /// The key of a table that stands in a configuration of type `D`.
    fn within<D: 'static>(
        self,
        get: impl Fn(&D, usize) -> &C + Copy + 'static,
        get_mut: impl Fn(&mut D, usize) -> &mut C + Copy + 'static,
    ) -> KeyEntry<D> {
        let KeyEntry { name, help, taken, words, kind, example, set, print, copy, same } = self;
        KeyEntry {
            name,
            help,
            taken,
            words,
            kind,
            example,
            set: Box::new(move |config, nth, typed, reader| set(get_mut(config, nth), nth, typed, reader)),
            print: Box::new(move |config, nth| print(get(config, nth), nth)),
            copy: Box::new(move |config, other, nth| copy(get_mut(config, nth), get(other, nth), nth)),
            same: Box::new(move |(one, nth), (other, other_nth)| {
                same((get(one, nth), nth), (get(other, other_nth), other_nth))
            }),
        }
    }
}

/// A struct that is a table of the configuration: `tables!` makes them.
pub(super) trait HasKeys: Default + 'static {
    /// One line that says what the table is about.
    const HELP: &'static str;

    /// Its keys, in the order of the documentation.
    fn keys() -> Vec<KeyEntry<Self>>;
}

/// A table of a configuration of type `C`, or an array of tables.
pub(super) struct TableEntry<C> {
    /// The name, with a dot where the table stands in another.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) keys: Vec<KeyEntry<C>>,
    pub(super) array: Option<ArrayOf<C>>,
    /// Where its keys are names of the operator's own: what they have in common.
    pub(super) named: Option<NamedKeys<C>>,
}

/// Keys that are names, of which each has a value of the same form.
pub(super) struct NamedKeys<C> {
    /// What the values are.
    pub(super) help: &'static str,
    /// A name and a value to show.
    pub(super) example: &'static str,
    /// The names that there are, in their order.
    pub(super) names: Box<KeyNames<C>>,
    /// Forgets all of them.
    pub(super) clear: Box<dyn Fn(&mut C)>,
    /// Sets one to what was typed; `false` where that is wrong, which is reported.
    pub(super) set: Box<SetNamed<C>>,
    /// The value of one as TOML; `None` where there is none of this name.
    pub(super) print: Box<PrintNamed<C>>,
}

type KeyNames<C> = dyn Fn(&C) -> Vec<Arc<str>>;
type SetNamed<C> = dyn Fn(&mut C, &str, &Typed<Value>, &mut ValueReader) -> bool;
type PrintNamed<C> = dyn Fn(&C, &str) -> Option<String>;

/// How a map by name is reached in a configuration.
type MapField<C, T> = (fn(&C) -> &BTreeMap<Arc<str>, T>, fn(&mut C) -> &mut BTreeMap<Arc<str>, T>);

/// The tables of an array.
pub(super) struct ArrayOf<C> {
    /// Gives how many tables the array has.
    pub(super) count: Box<Count<C>>,
    /// Replaces the tables of the array by a number of new ones, each with its defaults.
    pub(super) renew: Box<Renew<C>>,
}

type Count<C> = dyn Fn(&C) -> usize;
type Renew<C> = dyn Fn(&mut C, usize);

impl<C: 'static> TableEntry<C> {
    /// A table that there is once: `[name]`.
    pub(super) fn once<T: HasKeys>(
        name: &'static str,
        get: fn(&C) -> &T,
        get_mut: fn(&mut C) -> &mut T,
    ) -> TableEntry<C> {
        let within =
            |key: KeyEntry<T>| key.within(move |config, _| get(config), move |config, _| get_mut(config));
        let keys = T::keys().into_iter().map(within).collect();
        TableEntry { name, help: one_line(T::HELP), keys, array: None, named: None }
    }

    /// An array of tables: `[[name]]`, as often as it is typed. What a source types replaces the whole array.
    pub(super) fn many<T: HasKeys>(
        name: &'static str,
        get: fn(&C) -> &Vec<T>,
        get_mut: fn(&mut C) -> &mut Vec<T>,
    ) -> TableEntry<C> {
        let within = |key: KeyEntry<T>| {
            key.within(move |config, nth| &get(config)[nth], move |config, nth| &mut get_mut(config)[nth])
        };
        let keys = T::keys().into_iter().map(within).collect();
        let array = ArrayOf {
            count: Box::new(move |config| get(config).len()),
            renew: Box::new(move |config, count| {
                *get_mut(config) = std::iter::repeat_with(T::default).take(count).collect();
            }),
        };
        TableEntry { name, help: one_line(T::HELP), keys, array: Some(array), named: None }
    }

    /// A table whose keys are names, which `check` judges. What a source types replaces all of them.
    pub(super) fn of_names<T: 'static>(
        (name, help): (&'static str, &'static str),
        (example, key_help): (&'static str, &'static str),
        check: fn(&str) -> Result<(), String>,
        form: impl Form<T> + 'static,
        (get, get_mut): MapField<C, T>,
    ) -> TableEntry<C> {
        let printed = form.clone();
        let named = NamedKeys {
            help: key_help,
            example,
            names: Box::new(move |config| get(config).keys().cloned().collect()),
            clear: Box::new(move |config| get_mut(config).clear()),
            set: Box::new(move |config, name, typed, reader| {
                if let Err(what) = check(name) {
                    reader.refuse(&typed.at, what);
                    return false;
                }
                let value = form.read(typed, reader);
                value.map(|value| get_mut(config).insert(name.into(), value)).is_some()
            }),
            print: Box::new(move |config, name| get(config).get(name).and_then(|value| printed.print(value))),
        };
        TableEntry { name, help, keys: Vec::new(), array: None, named: Some(named) }
    }

    /// A table that has tables and no keys.
    pub(super) fn of_tables(name: &'static str) -> TableEntry<C> {
        TableEntry { name, help: "", keys: Vec::new(), array: None, named: None }
    }

    /// Lays what one source says of this table over what is there. Each value is checked, even one that a later source
    /// replaces: a file is right or wrong whatever the flags say. What is wrong changes nothing.
    pub(super) fn lay(&self, raw: &[RawTable], base: &Path, config: &mut C, problems: &mut Problems) {
        if let Some(array) = &self.array {
            (array.renew)(config, raw.len());
            problems.places().forget(self.name);
        }
        for (nth, table) in raw.iter().enumerate() {
            if let Some(at) = &table.at {
                problems.places().note_table(self.path(nth), at);
            }
            if let Some(named) = &self.named {
                self.lay_named(named, table, base, config, problems);
            }
            for key in &self.keys {
                let Some(typed) = table.keys.get(key.name) else { continue };
                let mut reader = ValueReader::new(problems, base);
                if (key.set)(config, nth, typed, &mut reader) {
                    let entries = reader.entries;
                    problems.places().note(self.path(nth), key.name, &typed.at, entries);
                }
            }
        }
    }

    fn lay_named(
        &self,
        named: &NamedKeys<C>,
        raw: &RawTable,
        base: &Path,
        config: &mut C,
        problems: &mut Problems,
    ) {
        (named.clear)(config);
        for (name, typed) in &raw.keys {
            let mut reader = ValueReader::new(problems, base);
            if (named.set)(config, name, typed, &mut reader) {
                let entries = reader.entries;
                problems.places().note(self.path(0), name, &typed.at, entries);
            }
        }
    }

    /// How many tables of this entry a configuration has.
    pub(super) fn count(&self, config: &C) -> usize {
        self.array.as_ref().map_or(1, |array| (array.count)(config))
    }

    /// The table, or the `nth` of the array.
    pub(super) fn path(&self, nth: usize) -> TablePath {
        TablePath { name: self.name, nth: self.array.as_ref().map(|_| nth) }
    }

    /// The header by which the table begins in a file.
    pub(super) fn header(&self) -> String {
        match self.array {
            Some(_) => format!("[[{}]]", self.name),
            None => format!("[{}]", self.name),
        }
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    /// Whether what is typed under this name is for a key of it to judge.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.named.is_some() || self.key(name).is_some()
    }

    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&KeyEntry<C>> {
        self.keys.iter().find(|key| key.name == name)
    }
}

fn one_line(help: &'static str) -> &'static str {
    let help = help.trim();
    help.strip_suffix('.').unwrap_or(help)
}

/// Declares structs that are tables of the configuration. A key is one line:
///
/// ```text
/// /// What the value is: the first line is its help, in docs/keys.md, too.
/// name: Type = default, how it is typed (`form`), when it is taken (`TakenAt`);
/// ```
///
/// `with field: Type` gives a struct another one, whose keys are a table of their own.
macro_rules! tables {
    ($(
        #[doc = $table_help:literal]
        $vis:vis struct $table:ident $(with $inner:ident: $inner_type:ty)? {
            $(
                #[doc = $help:literal]
                $(#[doc = $more:literal])*
                $key:ident: $type:ty = $default:expr, $form:expr, $taken:ident;
            )*
        }
    )*) => {
        $(
            #[doc = $table_help]
            #[derive(Clone, Debug, PartialEq)]
            $vis struct $table {
                $(
                    #[doc = $help]
                    $(#[doc = $more])*
                    $vis $key: $type,
                )*
                $(
                    #[doc = concat!("The `", stringify!($inner), "` table in this one.")]
                    $vis $inner: $inner_type,
                )?
            }

            impl Default for $table {
                fn default() -> Self {
                    $table { $($key: $default,)* $($inner: <$inner_type>::default(),)? }
                }
            }

            impl $crate::config::entry::HasKeys for $table {
                const HELP: &'static str = $table_help;

                fn keys() -> Vec<$crate::config::entry::KeyEntry<Self>> {
                    vec![$(
                        $crate::config::entry::KeyEntry::new(
                            (stringify!($key), $help),
                            $crate::config::entry::TakenAt::$taken,
                            $form,
                            |table: &$table| &table.$key,
                            |table: &mut $table| &mut table.$key,
                        ),
                    )*]
                }
            }
        )*
    };
}

pub(super) use tables;
