//! Numbers that stand for names, of rules and of limits: facts of sessions, counters and accounts go by them.

use std::collections::HashMap;
use std::sync::Arc;

/// Which number each name has, or ever had. None is taken back: one that was handed out twice would give a name the past of
/// another.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u16>,
    /// How many stand for what nobody named.
    own: usize,
}

/// A name for which no number is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoNumber {
    /// Its place among those that were to have one.
    pub(super) nth: usize,
    /// How many names there have been.
    had: usize,
}

impl NoNumber {
    /// What is said of it, where these are numbered.
    pub(super) fn of(&self, what: &str) -> String {
        format!("this process has had {} {what} of different names: only a new one can take more", self.had)
    }
}

impl Numbers {
    /// Those of these names alone, from 0 on.
    pub(super) fn beginning_with<const COUNT: usize>(names: [&str; COUNT]) -> Numbers {
        let names = names.map(Arc::from).to_vec();
        let by_name = (0..).zip(&names).map(|(number, name)| (Arc::clone(name), number)).collect();
        Numbers { names, by_name, own: COUNT }
    }

    /// These, and a number for each name that is new.
    ///
    /// # Errors
    /// The first of them for which none is left.
    pub(super) fn with<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) -> Result<Numbers, NoNumber> {
        let mut numbers = self.clone();
        for (nth, name) in names.enumerate() {
            if !numbers.by_name.contains_key(name) {
                let had = numbers.names.len() - self.own;
                let number = u16::try_from(numbers.names.len()).map_err(|_| NoNumber { nth, had })?;
                numbers.names.push(Arc::clone(name));
                numbers.by_name.insert(Arc::clone(name), number);
            }
        }
        Ok(numbers)
    }

    /// The number of a name; `None` where it has none.
    pub(super) fn of(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    /// The names, each at the place that is its number.
    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// All numbers that there are.
    pub(super) fn all(&self) -> impl Iterator<Item = u16> {
        (0..=u16::MAX).take(self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(numbers: std::ops::Range<usize>) -> Vec<Arc<str>> {
        numbers.map(|number| format!("name{number}").into()).collect()
    }

    #[test]
    fn a_number_stays_that_of_its_name() {
        let before = Numbers::beginning_with(["none"]);
        let numbers = before.with(names(0..3).iter()).expect("numbers are left");
        assert_eq!((numbers.of("none"), numbers.of("name2"), before.of("name2")), (Some(0), Some(3), None));
        let after = numbers.with(names(2..5).iter().rev()).expect("numbers are left");
        assert_eq!((after.of("name0"), after.of("name2"), after.of("name4")), (Some(1), Some(3), Some(4)));
        assert!(after.names().iter().zip(0..).all(|(name, number)| after.of(name) == Some(number)));
        assert_eq!(after.all().count(), 6);
    }

    /// Once the last number was given to every further name, which thereby shared its accounts.
    #[test]
    fn a_name_for_which_no_number_is_left_has_none() {
        let most = usize::from(u16::MAX);
        let full =
            Numbers::beginning_with(["none"]).with(names(0..most).iter()).expect("as many as there are");
        assert_eq!(full.of(&format!("name{}", most - 1)), Some(u16::MAX));
        assert_eq!(full.with(names(most - 1..most + 2).iter()).err(), Some(NoNumber { nth: 1, had: most }));
        assert!(full.with(names(0..most).iter()).is_ok(), "those that there are can be had");
    }
}
