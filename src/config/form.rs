//! How a value is typed and printed. Reading reports what is wrong with a value, each problem at its place.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::at::{At, Typed};
use super::choice::Choice;
use super::nearest::with_nearest;
use super::problem::{Problems, quoted};
use super::typed::Value;
use super::value::{self, duration_text, string};

/// How values of type `T` are typed and printed.
pub(super) trait Form<T>: Clone {
    /// The value, or `None` where it cannot be had, with every problem reported.
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<T>;

    /// The value as TOML; `None` for an absent one.
    fn print(&self, value: &T) -> Option<String>;

    /// The words that a value may be; empty where it may be anything.
    fn words(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// What a value is, for the documentation: "a whole number from 1 to 9". Words in backticks.
    fn kind(&self) -> String {
        "a table".to_owned()
    }

    /// A value as TOML to show in the documentation, where the default is none.
    fn example(&self) -> Option<String> {
        None
    }
}

/// What is at hand while a value is read.
pub(super) struct ValueReader<'a> {
    problems: &'a mut Problems,
    /// Where relative paths start.
    base: &'a Path,
    /// Where the entries of a list were typed that are part of the value.
    pub(super) entries: Vec<At>,
}

impl<'a> ValueReader<'a> {
    pub(super) fn new(problems: &'a mut Problems, base: &'a Path) -> ValueReader<'a> {
        ValueReader { problems, base, entries: Vec::new() }
    }

    /// Reports a problem.
    pub(super) fn refuse(&mut self, at: &At, what: String) {
        self.problems.push(at.clone(), what);
    }

    /// Remarks what is odd about a value that is right all the same. `what` is a single line.
    pub(super) fn remark(&mut self, at: &At, what: String) {
        self.problems.places().remarks.push((at.clone(), what));
    }

    /// Reports a value of the wrong type, with the form that was probably meant; there is no value.
    pub(super) fn wrong_type<T>(
        &mut self,
        typed: &Typed<Value>,
        expected: &str,
        nearest: Option<String>,
    ) -> Option<T> {
        let what = format!("expected {expected}, found {}", typed.found());
        self.refuse(&typed.at, with_nearest(what, nearest));
        None
    }

    /// The value, if it is one; else what is wrong with it is reported.
    pub(super) fn accept<T>(&mut self, at: &At, value: Result<T, String>) -> Option<T> {
        value.map_err(|what| self.refuse(at, what)).ok()
    }
}

/// True or false.
#[derive(Clone)]
struct SwitchForm;

pub(super) fn switch() -> impl Form<bool> {
    SwitchForm
}

impl Form<bool> for SwitchForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<bool> {
        if let Some(on) = typed.switch() {
            return Some(on);
        }
        let nearest = match typed.value.text().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "yes" | "on") => Some("true".to_owned()),
            Some("false" | "no" | "off") => Some("false".to_owned()),
            _ => None,
        };
        reader.wrong_type(typed, "true or false", nearest)
    }

    fn print(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn kind(&self) -> String {
        "`true` or `false`".to_owned()
    }
}

/// A whole number within a range.
#[derive(Clone)]
struct NumberForm(RangeInclusive<u64>);

pub(super) fn number<N: TryFrom<u64> + Display>(range: RangeInclusive<u64>) -> impl Form<N> {
    NumberForm(range)
}

impl<N: TryFrom<u64> + Display> Form<N> for NumberForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<N> {
        let Some(whole) = typed.whole() else {
            let nearest = typed.value.text().and_then(|text| text.trim().parse::<i64>().ok());
            return reader.wrong_type(typed, "a whole number", nearest.map(|number| number.to_string()));
        };
        let within = u64::try_from(whole).ok().filter(|value| self.0.contains(value));
        let number = within.and_then(|value| N::try_from(value).ok()).ok_or_else(|| {
            let range = format!("out of range: {} to {}", self.0.start(), self.0.end());
            match whole {
                i128::MIN | i128::MAX => range,
                whole => format!("{whole} is {range}"),
            }
        });
        reader.accept(&typed.at, number)
    }

    fn print(&self, value: &N) -> Option<String> {
        Some(value.to_string())
    }

    fn kind(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }
}

/// A duration within a range.
#[derive(Clone)]
struct DurationForm(RangeInclusive<Duration>);

pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Form<Duration> {
    DurationForm(range)
}

impl Form<Duration> for DurationForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Duration> {
        let Some(text) = typed.value.text() else {
            let nearest = match typed.value {
                Value::Whole(bare) => value::nearest_duration(&bare.to_string()),
                _ => None,
            };
            return reader.wrong_type(typed, "a duration such as \"10s\"", nearest);
        };
        let duration = value::duration(text).and_then(|duration| match self.0.contains(&duration) {
            true => Ok(duration),
            false => {
                let [first, last] = [self.0.start(), self.0.end()].map(|end| duration_text(*end));
                Err(format!("{} is out of range: \"{first}\" to \"{last}\"", quoted(text)))
            }
        });
        reader.accept(&typed.at, duration)
    }

    fn print(&self, value: &Duration) -> Option<String> {
        Some(string(&duration_text(*value)))
    }

    fn kind(&self) -> String {
        let [first, last] = [self.0.start(), self.0.end()].map(|end| string(&duration_text(*end)));
        format!("a duration from `{first}` to `{last}`")
    }
}

/// A string, read and printed by two functions. `R` is given where relative paths start, too.
#[derive(Clone)]
struct TextForm<R, P> {
    read: R,
    print: P,
    words: Vec<&'static str>,
    kind: &'static str,
}

/// A string that says the same wherever it is typed.
pub(super) fn text<T>(
    read: impl Fn(&str) -> Result<T, String> + Clone,
    print: impl Fn(&T) -> String + Clone,
) -> impl Form<T> {
    place(move |typed, _| read(typed), print)
}

/// A string that is a path, or may be one; `read` is given where relative paths start.
pub(super) fn place<T>(
    read: impl Fn(&str, &Path) -> Result<T, String> + Clone,
    print: impl Fn(&T) -> String + Clone,
) -> impl Form<T> {
    TextForm { read, print, words: Vec::new(), kind: "a string" }
}

/// A path; a relative one starts at the folder of the file that names it.
pub(super) fn path() -> impl Form<PathBuf> {
    let print = |path: &PathBuf| value::path_text(path);
    TextForm { read: value::path, print, words: Vec::new(), kind: "a path" }
}

/// One word out of a fixed few.
pub(super) fn choice<C: Choice>() -> impl Form<C> {
    let read = |typed: &str, _: &Path| value::choice(typed);
    TextForm { read, print: name::<C>, words: names::<C>(), kind: "one of" }
}

impl<T, R, P> Form<T> for TextForm<R, P>
where
    R: Fn(&str, &Path) -> Result<T, String> + Clone,
    P: Fn(&T) -> String + Clone,
{
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<T> {
        match typed.value.text() {
            Some(text) => reader.accept(&typed.at, (self.read)(text, reader.base)),
            None => reader.wrong_type(typed, "a string", None),
        }
    }

    fn print(&self, value: &T) -> Option<String> {
        Some(string(&(self.print)(value)))
    }

    fn words(&self) -> Vec<&'static str> {
        self.words.clone()
    }

    fn kind(&self) -> String {
        format!("{} {}", self.kind, in_backticks(&self.words)).trim_end().to_owned()
    }
}

pub(super) fn name<C: Choice>(choice: &C) -> String {
    choice.name().to_owned()
}

pub(super) fn names<C: Choice>() -> Vec<&'static str> {
    C::ALL.iter().map(|(name, _)| *name).collect()
}

/// Words as values of the documentation.
pub(super) fn in_backticks(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
    words.join(", ")
}

/// A value that may be absent.
#[derive(Clone)]
struct OptionalForm<F>(F, &'static str);

/// A value that is absent by default; `example` stands for it in the documentation.
pub(super) fn optional<T>(form: impl Form<T>, example: &'static str) -> impl Form<Option<T>> {
    OptionalForm(form, example)
}

impl<T, F: Form<T>> Form<Option<T>> for OptionalForm<F> {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Option<T>> {
        self.0.read(typed, reader).map(Some)
    }

    fn print(&self, value: &Option<T>) -> Option<String> {
        value.as_ref().and_then(|value| self.0.print(value))
    }

    fn words(&self) -> Vec<&'static str> {
        self.0.words()
    }

    fn kind(&self) -> String {
        self.0.kind()
    }

    fn example(&self) -> Option<String> {
        Some(self.1.to_owned())
    }
}

/// A value whose default says nothing to who reads it.
#[derive(Clone)]
struct ShownForm<F>(F, &'static str);

/// The same value; `example` stands for its default where a file to begin with shows what is typed.
pub(super) fn shown<T>(form: impl Form<T>, example: &'static str) -> impl Form<T> {
    ShownForm(form, example)
}

impl<T, F: Form<T>> Form<T> for ShownForm<F> {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<T> {
        self.0.read(typed, reader)
    }

    fn print(&self, value: &T) -> Option<String> {
        self.0.print(value)
    }

    fn words(&self) -> Vec<&'static str> {
        self.0.words()
    }

    fn kind(&self) -> String {
        self.0.kind()
    }

    fn example(&self) -> Option<String> {
        Some(self.1.to_owned())
    }
}
