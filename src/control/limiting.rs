//! The limits that workers go by: made of the configuration, over accounts that outlive every reload.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::numbers::Numbers;
use super::periods::QuotaPeriods;
use super::rules::OperatorRules;
use super::zones::time_zone;
use crate::config::{Config, LimitConfig, QuotaConfig, Zone};
use crate::policy::accounts::{
    Accounts, Limit, LimitId, LimitPlan, LimitTerms, OnReached, Per, QuotaCalendar, QuotaDirection,
    QuotaPeriod, QuotaTerms,
};

/// The limits in effect, and whoever counts in them.
#[derive(Debug)]
pub(super) struct Limiting {
    accounts: Arc<Accounts>,
    /// Those of the names of limits; the first are the short forms'.
    numbers: Numbers,
    plan: Option<Arc<LimitPlan>>,
    in_effect: Vec<(Limit, LimitTerms)>,
    periods: QuotaPeriods,
}

/// What the short forms are called where a name is told; their numbers are those of [`LimitId`].
const PER_USER: &str = "limits.per_user";
const PER_SOURCE: &str = "limits.per_source";
/// What stands in place of a limit that the users file names and that is not there, for a moment at a reload: it lets nobody
/// in.
const ABSENT: &str = "limits.absent";

/// The numbers of the limits of a server that has had none.
pub(super) fn no_limits() -> Numbers {
    Numbers::beginning_with([PER_USER, PER_SOURCE, ABSENT])
}

impl Limiting {
    /// Nothing is limited.
    pub(super) fn new() -> Limiting {
        let accounts = Arc::new(Accounts::new(Instant::now()));
        let (in_effect, periods) = (Vec::new(), QuotaPeriods::default());
        Limiting { accounts, numbers: no_limits(), plan: None, in_effect, periods }
    }

    /// The numbers that limits have.
    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// What sessions go by; `None` where nothing limits any.
    pub(super) fn plan(&self) -> Option<&Arc<LimitPlan>> {
        self.plan.as_ref()
    }

    /// The limits that there are, whether or not they concern anybody.
    pub(super) fn in_effect(&self) -> &[(Limit, LimitTerms)] {
        &self.in_effect
    }

    /// Where sessions are counted.
    pub(super) fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Goes by this configuration from now on. Who has more than a limit that is lower by now keeps it.
    pub(super) fn adopt(&mut self, config: &Config, rules: &OperatorRules, numbers: Numbers) {
        self.numbers = numbers;
        let now = self.periods.time(Timestamp::now(), Instant::now());
        let mut in_effect: Vec<(Limit, LimitTerms)> = Vec::new();
        for (limit, mut terms, quota) in short_forms(config) {
            terms.quota = self.quota(limit.id, quota.as_ref(), now);
            if terms != LimitTerms::default() {
                in_effect.push((limit, terms));
            }
        }
        let mut all = Vec::new();
        for (limit, terms) in &in_effect {
            // The connections of a source are counted from accept on, by `policy::sources`.
            let counted = match limit.id {
                LimitId::PER_SOURCE => LimitTerms { connections: None, ..*terms },
                _ => *terms,
            };
            if counted != LimitTerms::default() {
                self.accounts.set_terms(limit.id, &counted);
                all.push(*limit);
            }
        }
        let mut limits: HashMap<Arc<str>, Limit> = HashMap::new();
        for typed in &config.limits {
            let mut terms = terms_of(typed);
            terms.quota = self.quota(self.id(&typed.name), typed.quota.as_ref(), now);
            if let (Some(quota), Some(on_reached)) = (&mut terms.quota, typed.on_reached) {
                quota.on_reached = on_reached;
            }
            let limit = self.limit(&typed.name, typed.per, &terms);
            limits.insert(typed.name.clone(), limit);
            in_effect.push((limit, terms));
        }
        let nobody = LimitTerms { connections: Some(0), ..LimitTerms::default() };
        let absent = self.limit(ABSENT, Per::User, &nobody);
        let named = rules.limited.named().iter();
        let of_users: Vec<Limit> = named.map(|name| limits.get(name).copied().unwrap_or(absent)).collect();
        self.lift_others(all.iter().chain(limits.values()).chain(&of_users));
        let by_rule = config.rules.iter().filter(|rule| !rule.limits.is_empty()).map(|rule| {
            let named = rule.limits.iter().filter_map(|name| limits.get(name).copied());
            (rules.number_of(&rule.name), named.collect())
        });
        self.in_effect = in_effect;
        let plan = LimitPlan {
            accounts: self.accounts.clone(),
            all,
            users: rules.limited.clone(),
            of_users,
            by_rule: by_rule.collect(),
        };
        let same = |old: &Arc<LimitPlan>| old.is_as(&plan);
        if !self.plan.as_ref().is_some_and(same) {
            self.plan = (!plan.is_empty()).then(|| Arc::new(plan));
        }
    }

    /// Says what time it is: in which period quotas are by now, and which accounts may be forgotten for that.
    pub(super) fn tell_time(&mut self, shown: Timestamp, at: Instant) {
        let time = self.periods.time(shown, at);
        for (limit, span) in self.periods.spans(time) {
            self.accounts.set_span(limit, span);
        }
        self.accounts.sweep(at);
    }

    /// The quota of a limit, whose periods are told of from now on. It refuses.
    fn quota(&mut self, id: LimitId, typed: Option<&QuotaConfig>, now: Timestamp) -> Option<QuotaTerms> {
        let QuotaConfig { bytes, period, direction, zone } = typed?;
        // There is such a zone: that was tried.
        let zone = time_zone(zone).unwrap_or(TimeZone::UTC);
        let span = self.periods.put(id, QuotaCalendar { period: *period, zone }, now);
        Some(QuotaTerms { bytes: *bytes, direction: *direction, on_reached: OnReached::Refuse, span })
    }

    /// What is limited no more must not hold up the sessions that began under it.
    fn lift_others<'a>(&self, limits: impl Iterator<Item = &'a Limit>) {
        let kept: HashSet<LimitId> = limits.map(|limit| limit.id).collect();
        for id in self.numbers.all().map(LimitId).filter(|id| !kept.contains(id)) {
            self.accounts.set_terms(id, &LimitTerms::default());
        }
    }

    /// The limit of this name, which allows this from now on. All names have a number: those that none is left for are refused
    /// before.
    fn limit(&self, name: &str, per: Per, terms: &LimitTerms) -> Limit {
        let id = self.id(name);
        self.accounts.set_terms(id, terms);
        Limit { id, per }
    }

    fn id(&self, name: &str) -> LimitId {
        LimitId(self.numbers.of(name).expect("a number for each name that is adopted"))
    }
}

/// What the short forms say, and their quotas.
fn short_forms(config: &Config) -> [(Limit, LimitTerms, Option<QuotaConfig>); 2] {
    let (user, source) = (&config.per_user, &config.per_source);
    let terms = |connections, udp_associations, new_per_second, bandwidth| LimitTerms {
        connections: most(connections),
        udp_associations: most(udp_associations),
        new_per_second,
        upload: bandwidth,
        download: bandwidth,
        datagrams: None,
        quota: None,
    };
    let of_user = terms(user.connections, user.udp_associations, user.new_per_second, user.bandwidth);
    let of_source =
        terms(source.connections, source.udp_associations, source.new_per_second, source.bandwidth);
    [
        (Limit { id: LimitId::PER_USER, per: Per::User }, of_user, user.bytes_per_day.map(daily)),
        (Limit { id: LimitId::PER_SOURCE, per: Per::Source }, of_source, source.bytes_per_day.map(daily)),
    ]
}

/// So many bytes in a day of UTC.
fn daily(bytes: u64) -> QuotaConfig {
    let (period, direction) = (QuotaPeriod::Day { minute: 0 }, QuotaDirection::Both);
    QuotaConfig { bytes, period, direction, zone: Zone::Named("UTC".to_owned()) }
}

/// 0 stands for no limit.
fn most(count: usize) -> Option<u64> {
    (count > 0).then_some(count as u64)
}

/// What a limit says, its quota aside.
fn terms_of(limit: &LimitConfig) -> LimitTerms {
    LimitTerms {
        connections: most(limit.connections),
        udp_associations: most(limit.udp_associations),
        new_per_second: limit.new_per_second,
        upload: limit.upload,
        download: limit.download,
        datagrams: limit.datagrams,
        quota: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;
    use crate::policy::accounts::{AccountHolder, AccountKey, LimitedUsers, SessionKind};
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/outflow.toml"), &Flags::default()).unwrap()
    }

    fn adopted(limiting: &mut Limiting, text: &str) -> Option<Arc<LimitPlan>> {
        let config = config(text);
        let (plan, _) = OperatorRules::default().plan(&config, None).unwrap();
        let rules = Arc::<OperatorRules>::default().follow(plan);
        adopt(limiting, &config, &rules)
    }

    fn adopt(limiting: &mut Limiting, config: &Config, rules: &OperatorRules) -> Option<Arc<LimitPlan>> {
        let numbers = limiting.numbers().with(config.limits.iter().map(|limit| &limit.name));
        limiting.adopt(config, rules, numbers.unwrap());
        limiting.plan().cloned()
    }

    fn name(limiting: &Limiting, limit: Limit) -> &str {
        &limiting.numbers().names()[usize::from(limit.id.0)]
    }

    #[test]
    fn nothing_is_limited_where_nothing_says_so() {
        let mut limiting = Limiting::new();
        assert!(adopted(&mut limiting, "").is_none());
        assert!(
            adopted(&mut limiting, "[limits.per_source]\nconnections = 4\n").is_none(),
            "counted elsewhere"
        );
        let [(limit, terms)] = limiting.in_effect()[..] else { panic!("one is told of") };
        assert_eq!((name(&limiting, limit), limit.id), (PER_SOURCE, LimitId::PER_SOURCE));
        assert_eq!(terms, LimitTerms { connections: Some(4), ..LimitTerms::default() });
        adopted(&mut limiting, "[limits.per_user]\nconnections = 4\n");
        let [(limit, _)] = limiting.in_effect()[..] else { panic!("one is told of") };
        assert_eq!((name(&limiting, limit), limit.id), (PER_USER, LimitId::PER_USER));
    }

    /// A reload keeps accounts: their limits have the same numbers, whatever order they stand in.
    #[test]
    fn a_limit_keeps_its_number_and_the_plan_its_place_where_nothing_changed() {
        let mut limiting = Limiting::new();
        let one = "[[limit]]\nname = \"one\"\nper = \"user\"\nconnections = 3\n";
        let two = "[[limit]]\nname = \"two\"\nper = \"global\"\nupload = \"1MB\"\n";
        let rule = "[[rule]]\nname = \"all\"\naction = \"allow\"\nlimits = [\"two\", \"one\"]\n";
        let before = adopted(&mut limiting, &format!("{one}{two}{rule}")).expect("limits");
        let again = adopted(&mut limiting, &format!("{one}{two}{rule}")).expect("limits");
        assert!(Arc::ptr_eq(&before, &again));
        let after = adopted(&mut limiting, &format!("{two}{one}{rule}")).expect("limits");
        assert_eq!(before.by_rule, after.by_rule);
        let of_rule: Vec<&Limit> = before.by_rule.values().flatten().collect();
        let names: Vec<&str> = of_rule.iter().map(|limit| name(&limiting, **limit)).collect();
        assert_eq!(names, ["two", "one"]);
        assert!(adopted(&mut limiting, "").is_none());
    }

    /// A reload may take a limit away just when a users file is read that names it.
    #[test]
    fn a_limit_of_a_user_that_is_not_there_lets_nobody_in() {
        let mut limiting = Limiting::new();
        let config = config("[[limit]]\nname = \"gold\"\nper = \"global\"\nconnections = 3\n");
        let names = ["gold", "silver"].map(Arc::<str>::from);
        let user = Arc::<str>::from("ann");
        let limited = LimitedUsers::default().with_limits([(&user, &names[..])]);
        let mut rules = OperatorRules::default();
        rules.limited = Arc::new(limited);
        let plan = adopt(&mut limiting, &config, &rules).expect("limits");
        let of_users: Vec<&str> = plan.of_users.iter().map(|limit| name(&limiting, *limit)).collect();
        assert_eq!(of_users, ["gold", ABSENT]);
        let enter = |nth: usize| {
            let Limit { id, .. } = plan.of_users[nth];
            let key = AccountKey { limit: id, holder: AccountHolder::User(user.clone()) };
            plan.accounts.enter(key, SessionKind::Tunnel, Instant::now()).is_ok()
        };
        assert_eq!((enter(0), enter(1)), (true, false));
    }

    #[test]
    fn bytes_per_day_are_a_quota_of_a_day_of_utc() {
        let mut limiting = Limiting::new();
        let plan =
            adopted(&mut limiting, "[server]\nstate = \"/s\"\n[limits.per_user]\nbytes_per_day = \"10GB\"\n")
                .expect("limits");
        let (accounts, limit) = (limiting.accounts().clone(), plan.all[0].id);
        let today = accounts.quota_of(limit).expect("a quota");
        assert_eq!((today.bytes, today.on_reached), (10_000_000_000, OnReached::Refuse));
        assert_eq!((today.span.since % DAY, today.span.until - today.span.since), (0, DAY));
        let now = i64::try_from(today.span.until).expect("a time");
        let tomorrow = Timestamp::from_second(now).expect("a time");
        limiting.tell_time(tomorrow, Instant::now() + std::time::Duration::from_secs(DAY));
        assert_eq!(accounts.quota_of(limit).expect("a quota").span.since, today.span.until);
    }

    const DAY: u64 = 24 * 3600;
    const QUOTA: &str = "[server]\nstate = \"/s\"\n[limits.per_user]\nbytes_per_day = 100\n";

    /// A limit that is taken out by mistake and put back: what was used of it counts until its period is over.
    #[test]
    fn a_quota_that_is_taken_away_and_put_back_is_as_used_up_as_before() {
        let mut limiting = Limiting::new();
        let plan = adopted(&mut limiting, QUOTA).expect("limits");
        let (accounts, limit) = (limiting.accounts().clone(), plan.all[0].id);
        let key = AccountKey { limit, holder: AccountHolder::User("ann".into()) };
        let begin = Instant::now();
        let enter = || accounts.enter(key.clone(), SessionKind::Tunnel, begin);
        enter().expect("a place").count(60, 40);
        assert!(enter().is_err());
        assert!(adopted(&mut limiting, "").is_none());
        drop(enter().expect("nothing is limited"));
        let tell = |limiting: &mut Limiting, seconds: u64| {
            let passed = std::time::Duration::from_secs(seconds);
            limiting.tell_time(Timestamp::now() + passed, begin + passed);
        };
        (0..3).for_each(|_| tell(&mut limiting, 0));
        adopted(&mut limiting, QUOTA).expect("limits");
        assert!(enter().is_err());
        // Nobody is remembered beyond it.
        adopted(&mut limiting, "");
        tell(&mut limiting, DAY);
        assert_eq!(accounts.fill_of(&key, begin), None);
    }

    /// Ahead for a moment, back over the end of a day, back by a year: in none of it anybody has a fresh quota.
    #[test]
    fn a_clock_that_jumps_gives_nobody_a_fresh_quota() {
        let mut limiting = Limiting::new();
        let plan = adopted(&mut limiting, QUOTA).expect("limits");
        let (accounts, limit) = (limiting.accounts().clone(), plan.all[0].id);
        let key = AccountKey { limit, holder: AccountHolder::User("ann".into()) };
        let begin = Instant::now();
        let mut seconds = 0;
        let mut tell = |day: u64, time_of_day: u64| {
            seconds += 1;
            let shown = i64::try_from(day * DAY + time_of_day).expect("a time");
            let at = begin + std::time::Duration::from_secs(seconds);
            limiting.tell_time(Timestamp::from_second(shown).expect("a time"), at);
        };
        let enters = || accounts.enter(key.clone(), SessionKind::Tunnel, begin);
        // Long ago: what comes first is believed, as it goes back.
        tell(10_000, 3600);
        enters().expect("a place").count(60, 40);
        for (day, time_of_day) in [
            (10_000, 3700),
            (20_000, 0),
            (20_000, 1),
            (10_000, 3703),
            (9_999, DAY - 1),
            (10_000, 0),
            (9_635, 50),
            (9_635, 60),
        ] {
            tell(day, time_of_day);
            assert!(enters().is_err(), "{day} {time_of_day}");
        }
        tell(9_635, DAY - 1);
        assert!(enters().is_err());
    }
}
