//! How lists are typed and printed: of strings, of words out of a few, and of what a condition names.

use std::fmt::Display;

use super::at::Typed;
use super::choice::Choice;
use super::form::{Form, ValueReader, in_backticks, name, names};
use super::listed::AsList;
use super::problem::escaped;
use super::typed::Value;
use super::value::{self, string};

/// A list of strings, each read and printed by two functions.
#[derive(Clone)]
pub(super) struct ListForm<T> {
    most: usize,
    read: fn(&str) -> Result<T, String>,
    print: fn(&T) -> String,
    words: Vec<&'static str>,
    /// What an empty list lacks; nothing where it may be empty.
    lacks: Option<&'static str>,
    /// One string may stand without its brackets.
    bare: bool,
    /// Whole numbers may stand for strings of their digits.
    digits: bool,
    rule: fn(&[Typed<T>], &mut ValueReader),
}

/// A list of `most` entries at most.
pub(super) fn list<T: Display>(most: usize, read: fn(&str) -> Result<T, String>) -> ListForm<T> {
    let print = |value: &T| value.to_string();
    ListForm {
        most,
        read,
        print,
        words: Vec::new(),
        lacks: None,
        bare: false,
        digits: false,
        rule: |_, _| {},
    }
}

/// Words out of a fixed few, each once.
pub(super) fn choices<C: Choice>() -> ListForm<C> {
    let rule = |list: &[Typed<C>], reader: &mut ValueReader| distinct(list, |one| Some(one.name()), reader);
    let (read, print, most) = (value::choice, name::<C>, C::ALL.len());
    ListForm { most, read, print, words: names::<C>(), lacks: None, bare: false, digits: false, rule }
}

impl<T> ListForm<T> {
    /// A list that is not empty: it has `what`.
    pub(super) fn needs(self, what: &'static str) -> ListForm<T> {
        ListForm { lacks: Some(what), ..self }
    }

    /// A list in which one string may stand without its brackets.
    pub(super) fn or_one(self) -> ListForm<T> {
        ListForm { bare: true, ..self }
    }

    /// A list in which whole numbers may stand for strings of their digits.
    pub(super) fn or_digits(self) -> ListForm<T> {
        ListForm { digits: true, ..self }
    }

    /// A list whose entries are compared by `rule`, which reports those that do not go together.
    pub(super) fn rule(self, rule: fn(&[Typed<T>], &mut ValueReader)) -> ListForm<T> {
        ListForm { rule, ..self }
    }

    /// The entries that are strings.
    pub(super) fn strings(
        &self,
        typed: &Typed<Value>,
        reader: &mut ValueReader,
    ) -> Option<Vec<Typed<String>>> {
        let items = match &typed.value {
            Value::Text(_) if self.bare => std::slice::from_ref(typed),
            Value::Whole(_) if self.bare && self.digits => std::slice::from_ref(typed),
            Value::Array(items) => items,
            other => {
                let nearest = other.text().map(|text| format!("[\"{}\"]", escaped(text)));
                return reader.wrong_type(typed, "an array of strings", nearest);
            }
        };
        let string = |item: &Typed<Value>| match &item.value {
            Value::Text(text) => Some(Typed { value: text.to_owned(), at: item.at.clone() }),
            Value::Whole(whole) if self.digits => {
                Some(Typed { value: whole.to_string(), at: item.at.clone() })
            }
            _ => reader.wrong_type(item, if self.digits { "a number or a string" } else { "a string" }, None),
        };
        Some(items.iter().filter_map(string).collect())
    }

    /// The values that are right. A list that is too long, or holds a wrong one, is reported.
    pub(super) fn values(
        &self,
        typed: &Typed<Value>,
        strings: &[Typed<String>],
        reader: &mut ValueReader,
    ) -> Vec<T> {
        let mut list = Vec::new();
        for one in strings {
            let value = reader.accept(&one.at, (self.read)(&one.value));
            list.extend(value.map(|value| Typed { value, at: one.at.clone() }));
        }
        if list.len() > self.most {
            let what = format!("{} entries are too many: at most {}", list.len(), self.most);
            reader.refuse(&typed.at, what);
            list.truncate(self.most);
        }
        if let (Value::Array(items), Some(wanted)) = (&typed.value, self.lacks)
            && items.is_empty()
        {
            reader.refuse(&typed.at, format!("is empty: it needs {wanted}"));
        }
        (self.rule)(&list, reader);
        reader.entries = list.iter().map(|one| one.at.clone()).collect();
        list.into_iter().map(|one| one.value).collect()
    }

    /// What the list is, for the documentation.
    pub(super) fn list_kind(&self) -> String {
        let of = match (self.words.is_empty(), self.digits) {
            (false, _) => in_backticks(&self.words),
            (true, true) => format!("up to {} strings and numbers", self.most),
            (true, false) => format!("up to {} strings", self.most),
        };
        format!("a list of {of}{}", if self.bare { ", or one of them without brackets" } else { "" })
    }

    /// Writes values as an array of TOML.
    pub(super) fn array<'a>(&self, values: impl Iterator<Item = &'a T>) -> String
    where
        T: 'a,
    {
        let one = |value: &T| match (self.print)(value) {
            digits if self.digits && digits.bytes().all(|byte| byte.is_ascii_digit()) => digits,
            text => string(&text),
        };
        let all: Vec<String> = values.map(one).collect();
        format!("[{}]", all.join(", "))
    }
}

impl<T: Clone, L: AsList<T>> Form<L> for ListForm<T> {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<L> {
        let strings = self.strings(typed, reader)?;
        L::of(self.values(typed, &strings, reader))
    }

    fn print(&self, value: &L) -> Option<String> {
        Some(self.array(value.values().iter()))
    }

    fn words(&self) -> Vec<&'static str> {
        self.words.clone()
    }

    fn kind(&self) -> String {
        self.list_kind()
    }
}

/// A list that is not there where it is empty.
#[derive(Clone)]
struct ConditionForm<T>(ListForm<T>, &'static str);

/// What one of a rule's conditions names: something, or it is not there. `example` stands for it in the documentation.
pub(super) fn condition<T: Clone>(list: ListForm<T>, example: &'static str) -> impl Form<Vec<T>> {
    ConditionForm(list.or_one(), example)
}

impl<T: Clone> Form<Vec<T>> for ConditionForm<T> {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Vec<T>> {
        self.0.read(typed, reader)
    }

    fn print(&self, value: &Vec<T>) -> Option<String> {
        (!value.is_empty()).then(|| self.0.array(value.iter()))
    }

    fn words(&self) -> Vec<&'static str> {
        self.0.words.clone()
    }

    fn kind(&self) -> String {
        self.0.list_kind()
    }

    fn example(&self) -> Option<String> {
        Some(self.1.to_owned())
    }
}

/// Reports each entry whose key an earlier one has; one without a key is like no other.
pub(super) fn distinct<T, K: PartialEq + ToString>(
    list: &[Typed<T>],
    key: impl Fn(&T) -> Option<K>,
    reader: &mut ValueReader,
) {
    let keys: Vec<_> = list.iter().map(|one| key(&one.value)).collect();
    for (nth, key) in keys.iter().enumerate() {
        if let Some(twice) = key.as_ref().filter(|_| keys[..nth].contains(key)) {
            reader.refuse(&list[nth].at, format!("\"{}\" is listed twice", twice.to_string()));
        }
    }
}
