//! Quotas and what is used of them, as JSON. Accounts are looked at a part at a time, so that a million of them hold up nobody.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::best::Best;
use super::history::time_text;
use super::query::{Query, sorted_by, switch};
use crate::admin::answer::HttpAnswer;
use crate::admin::status::HttpStatus;
use crate::config::{Choice, nearest, quoted};
use crate::limits;
use crate::observe::LimitsInEffect;
use crate::policy::accounts::{
    AccountHolder, Accounts, AccountsCursor, HolderNames, LimitId, QuotaDirection, QuotaTerms, QuotaUse,
};

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct QuotaQuestion {
    name: Option<String>,
    holder: Option<String>,
    reached: Option<bool>,
    order: UseOrder,
    limit: usize,
    offset: usize,
}

/// What uses are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseKey {
    Share,
    Used,
    Holder,
    Name,
}

const USE_KEYS: [(&str, UseKey); 4] =
    [("share", UseKey::Share), ("used", UseKey::Used), ("holder", UseKey::Holder), ("name", UseKey::Name)];

/// In which order uses come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UseOrder {
    key: UseKey,
    descending: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
struct QuotasShown<'a> {
    time: String,
    limits: Vec<ShownQuota<'a>>,
    total: u64,
    matched: u64,
    quotas: Vec<ShownUse<'a>>,
}

/// The quota of a limit.
#[derive(Debug, Serialize)]
struct ShownQuota<'a> {
    name: &'a str,
    bytes: u64,
    direction: &'static str,
    on_reached: &'static str,
    since: String,
    resets: String,
}

/// What somebody used of one.
#[derive(Debug, Serialize)]
struct ShownUse<'a> {
    name: &'a str,
    holder: String,
    up: u64,
    down: u64,
    used: u64,
    bytes: u64,
    left: u64,
    reached: bool,
    resets: String,
}

/// A question that is under way.
pub(super) struct Quotas {
    question: QuotaQuestion,
    accounts: Arc<Accounts>,
    names: Arc<HolderNames>,
    /// Each question that is under way holds one.
    _token: Arc<()>,
    /// The limit that is asked for, where one is, and the holder.
    only: (Option<LimitId>, Option<AccountHolder>),
    cursor: AccountsCursor,
    found: Best<FoundUse, UseComparison>,
    total: u64,
    matched: u64,
    /// When it is to go on.
    due: Instant,
}

/// A use with what its quota allows.
#[derive(Clone, Debug)]
struct FoundUse {
    used: QuotaUse,
    counts: u64,
    bytes: u64,
}

type UseComparison = Box<dyn FnMut(&FoundUse, &FoundUse) -> Ordering + Send>;

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").field("question", &self.question).finish_non_exhaustive()
    }
}

impl QuotaQuestion {
    /// Reads the parameters.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn read(text: &str) -> Result<QuotaQuestion, String> {
        let query = Query::read(text, &["name", "holder", "user", "reached", "sort", "limit", "offset"])?;
        let (limit, offset) = query.page()?;
        let user = query.text("user").map(|user| format!("user:{user}"));
        let holder = query.text("holder").map(str::to_owned);
        if user.is_some() && holder.is_some() {
            return Err(
                "`user` and `holder` exclude each other: a user is the holder \"user:NAME\"".to_owned()
            );
        }
        Ok(QuotaQuestion {
            name: query.text("name").map(str::to_owned),
            holder: user.or(holder),
            reached: query.value("reached", switch)?,
            order: query.value("sort", UseOrder::read)?.unwrap_or(UseOrder::FULLEST),
            limit,
            offset,
        })
    }
}

impl UseOrder {
    const FULLEST: UseOrder = UseOrder { key: UseKey::Share, descending: true };

    fn read(typed: &str) -> Result<UseOrder, String> {
        sorted_by(&USE_KEYS)(typed).map(|(key, descending)| UseOrder { key, descending })
    }

    /// Which of two comes first; two are never equal.
    fn compare(self, names: &HolderNames, one: &FoundUse, other: &FoundUse) -> Ordering {
        // Of two fractions, the products across.
        let share = |a: &FoundUse, b: &FoundUse| u128::from(a.counts) * u128::from(b.bytes);
        let name = |found: &FoundUse| names.limit_name(found.used.limit).cloned();
        let order = match self.key {
            UseKey::Share => share(one, other).cmp(&share(other, one)),
            UseKey::Used => one.counts.cmp(&other.counts),
            UseKey::Holder => one.used.holder.cmp(&other.used.holder),
            UseKey::Name => name(one).cmp(&name(other)),
        };
        let order = if self.descending { order.reverse() } else { order };
        let key = |found: &FoundUse| (found.used.holder.clone(), found.used.limit);
        order.then_with(|| key(one).cmp(&key(other)))
    }
}

impl Quotas {
    /// Begins to look.
    ///
    /// # Errors
    /// There is no such limit, or no such holder.
    pub(super) fn begin(
        question: QuotaQuestion,
        limits: LimitsInEffect,
        token: Arc<()>,
        now: Instant,
    ) -> Result<Quotas, String> {
        let LimitsInEffect { accounts, names, .. } = limits;
        let accounts = accounts.unwrap_or_else(|| Arc::new(Accounts::new(now)));
        let limit = question.name.as_deref().map(|name| {
            let known = names.limits.iter().map(|name| &**name);
            names.limit(name).ok_or_else(|| {
                let meant = nearest(name, known).map(|meant| format!("; did you mean \"{meant}\"?"));
                format!("`name`: there is no limit {}{}", quoted(name), meant.unwrap_or_default())
            })
        });
        let holder = question.holder.as_deref().map(|holder| {
            names.holder(holder).ok_or_else(|| {
                format!(
                    "`holder`: {} is nobody: it is such as \"user:ann\" or \"source:192.0.2.1\"",
                    quoted(holder)
                )
            })
        });
        let only = (limit.transpose()?, holder.transpose()?);
        let order = question.order;
        let named = names.clone();
        let compare: UseComparison = Box::new(move |one, other| order.compare(&named, one, other));
        let found = Best::new(question.offset + question.limit, compare);
        let (cursor, total, matched) = (AccountsCursor::default(), 0, 0);
        Ok(Quotas { question, accounts, names, _token: token, only, cursor, found, total, matched, due: now })
    }

    /// Looks at the next of them; the answer once all were looked at.
    pub(super) fn go_on(&mut self, now: Instant) -> Option<HttpAnswer> {
        if let (Some(limit), Some(holder)) = &self.only {
            // One account is found at once.
            let used = self.accounts.quota_use(*limit, holder);
            used.into_iter().filter(|used| used.up + used.down > 0).for_each(|used| self.take(used));
            return Some(self.answer());
        }
        for _ in 0..limits::QUOTA_STEPS_AT_ONCE {
            if self.cursor.is_over() {
                return Some(self.answer());
            }
            let uses = self.accounts.quota_uses(&mut self.cursor, limits::QUOTA_USES_PER_STEP);
            uses.into_iter().for_each(|used| self.take(used));
        }
        self.due = now;
        None
    }

    /// When it is to go on.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    fn take(&mut self, used: QuotaUse) {
        self.total += 1;
        let Some(terms) = self.accounts.quota_of(used.limit) else { return };
        let (limit, holder) = &self.only;
        let counts = counts(&terms, &used);
        let is_meant = limit.is_none_or(|limit| limit == used.limit)
            && holder.as_ref().is_none_or(|holder| *holder == used.holder)
            && self.question.reached.is_none_or(|reached| reached == (counts >= terms.bytes));
        if is_meant {
            self.matched += 1;
            self.found.push(FoundUse { used, counts, bytes: terms.bytes });
        }
    }

    fn answer(&mut self) -> HttpAnswer {
        let (accounts, names) = (self.accounts.clone(), self.names.clone());
        let none: UseComparison = Box::new(|_, _| Ordering::Equal);
        let page = std::mem::replace(&mut self.found, Best::new(0, none)).into_page(self.question.offset);
        let quotas = names.limits.iter().filter_map(|name| {
            let terms = accounts.quota_of(names.limit(name)?)?;
            Some(ShownQuota::of(name, &terms))
        });
        let uses = page.iter().filter_map(|found| {
            let terms = accounts.quota_of(found.used.limit)?;
            ShownUse::of(&names, found, &terms)
        });
        let shown = QuotasShown {
            time: time_text(SystemTime::now()),
            limits: quotas.collect(),
            total: self.total,
            matched: self.matched,
            quotas: uses.collect(),
        };
        HttpAnswer::json(HttpStatus::OK, &shown)
    }
}

/// How many of the bytes count.
fn counts(terms: &QuotaTerms, used: &QuotaUse) -> u64 {
    match terms.direction {
        QuotaDirection::Both => used.up.saturating_add(used.down),
        QuotaDirection::Up => used.up,
        QuotaDirection::Down => used.down,
    }
}

/// A moment, given in seconds since 1970.
fn moment(seconds: u64) -> String {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(time_text).unwrap_or_default()
}

impl<'a> ShownQuota<'a> {
    fn of(name: &'a str, terms: &QuotaTerms) -> ShownQuota<'a> {
        ShownQuota {
            name,
            bytes: terms.bytes,
            direction: terms.direction.name(),
            on_reached: terms.on_reached.name(),
            since: moment(terms.span.since),
            resets: moment(terms.span.until),
        }
    }
}

impl<'a> ShownUse<'a> {
    fn of(names: &'a HolderNames, found: &FoundUse, terms: &QuotaTerms) -> Option<ShownUse<'a>> {
        let FoundUse { used, counts, bytes } = found;
        Some(ShownUse {
            name: names.limit_name(used.limit)?,
            holder: names.text(&used.holder)?,
            up: used.up,
            down: used.down,
            used: *counts,
            bytes: *bytes,
            left: bytes.saturating_sub(*counts),
            reached: counts >= bytes,
            resets: moment(terms.span.until),
        })
    }
}
