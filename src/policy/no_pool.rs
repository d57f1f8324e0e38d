//! Why there is no pool to leave from where one is meant: nobody leaves from another.

use crate::auth::SessionParameters;
use crate::limits;

/// Why the pool that is meant cannot be left from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPool {
    /// No pool has the name that is asked for.
    Unknown,
    /// The one that is asked for may not be: it is none of those that `[username]` lets clients choose among.
    NotOffered,
    /// No pool that may be asked for has all of the tags.
    NoSuchTags,
    /// The one that is asked for has not all of the tags that are asked for beside.
    LacksTags,
    /// The user's own is gone.
    OwnMissing,
}

impl NoPool {
    /// Every cause.
    pub const ALL: [NoPool; 5] =
        [NoPool::Unknown, NoPool::NotOffered, NoPool::NoSuchTags, NoPool::LacksTags, NoPool::OwnMissing];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            NoPool::Unknown => "unknown",
            NoPool::NotOffered => "not_offered",
            NoPool::NoSuchTags => "no_such_tags",
            NoPool::LacksTags => "lacks_tags",
            NoPool::OwnMissing => "own_missing",
        }
    }

    /// It in words.
    pub fn words(self) -> &'static str {
        match self {
            NoPool::Unknown => "no egress pool has the name that is asked for",
            NoPool::NotOffered => "the egress pool that is asked for is none that clients may choose",
            NoPool::NoSuchTags => "no egress pool that clients may choose has the tags that are asked for",
            NoPool::LacksTags => "the egress pool that is asked for has not the tags that are asked for",
            NoPool::OwnMissing => "the user's own egress pool is not there",
        }
    }

    /// The word, and behind it what was asked for: `unknown: pool x, area de`. What was typed behind a password is left out.
    pub fn told(self, asked: Option<&SessionParameters>) -> String {
        let mut told = self.name().to_owned();
        let Some(SessionParameters { typed: Some(typed), pool, tags, .. }) = asked else { return told };
        if self == NoPool::OwnMissing {
            return told;
        }
        let by_name =
            [("pool", pool.as_deref())].into_iter().filter_map(|(word, value)| Some((word, value?)));
        let by_tags = tags.iter().map(|(tag, value)| (&**tag, &**value));
        let mut separator = ": ";
        for (word, value) in by_name.chain(by_tags).filter(|(_, value)| typed.contains(value)) {
            if told.len() + separator.len() + word.len() + 1 + value.len() > limits::NO_POOL_TOLD_MAX {
                break;
            }
            told.extend([separator, word, " ", value]);
            separator = ", ";
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(typed: Option<&str>, pool: Option<&str>, tags: &[(&str, &str)]) -> SessionParameters {
        let tags = tags.iter().map(|(tag, value)| ((*tag).into(), (*value).into())).collect();
        SessionParameters {
            typed: typed.map(Box::from),
            pool: pool.map(Box::from),
            tags,
            ..SessionParameters::default()
        }
    }

    #[test]
    fn what_was_asked_for_is_told_behind_the_cause() {
        let typed = Some("ann-egress-x-c-de-t-ber");
        let all = asked(typed, Some("x"), &[("area", "de"), ("city", "ber")]);
        assert_eq!(NoPool::LacksTags.told(Some(&all)), "lacks_tags: pool x, area de, city ber");
        assert_eq!(
            NoPool::NoSuchTags.told(Some(&asked(typed, None, &[("area", "de")]))),
            "no_such_tags: area de"
        );
        assert_eq!(NoPool::OwnMissing.told(Some(&all)), "own_missing");
        assert_eq!(NoPool::Unknown.told(None), "unknown");
    }

    /// It may be part of a password that somebody mistook.
    #[test]
    fn nothing_is_told_of_what_stands_behind_a_password() {
        let behind = asked(None, Some("hunter2"), &[]);
        assert_eq!(NoPool::Unknown.told(Some(&behind)), "unknown");
        let both = asked(Some("ann-egress-x"), Some("x"), &[("area", "hunter2")]);
        assert_eq!(NoPool::LacksTags.told(Some(&both)), "lacks_tags: pool x");
    }

    #[test]
    fn what_is_told_has_an_end() {
        let value = "v".repeat(limits::PARAMETER_VALUE_MAX);
        let names: Vec<String> = (0..limits::PARAMETER_TAGS_MAX).map(|nth| format!("{nth:032}")).collect();
        let tags: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*value)).collect();
        for cause in NoPool::ALL {
            let told = cause.told(Some(&asked(Some(&value), Some(&value), &tags)));
            assert!(told.len() <= limits::NO_POOL_TOLD_MAX, "{told}");
        }
    }
}
