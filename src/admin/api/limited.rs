//! The limits, what of them was reached and how full they are, as JSON.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::filling::LimitFill;
use super::history::time_text;
use super::query::{Query, whole};
use crate::config::Choice;
use crate::limits;
use crate::observe::{LimitTold, LimitsInEffect};
use crate::policy::accounts::{
    AccountFill, BurstRate, HolderNames, LimitId, LimitKind, LimitTerms, QuotaTerms,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FillQuestion {
    /// Of which limit alone.
    pub(super) limit: Option<LimitId>,
    /// How many subjects of each.
    pub(super) fullest: usize,
}

impl FillQuestion {
    /// Reads the parameters.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn read(text: &str, known: &LimitsInEffect) -> Result<FillQuestion, String> {
        let query = Query::read(text, &["limit", "fullest"])?;
        let limit = query.value("limit", |name| known.named(name))?;
        let most = if limit.is_some() { limits::FULLEST_OF_ONE_MAX } else { limits::FULLEST_OF_EACH_MAX };
        let fullest = query.value("fullest", whole(1..=most))?.unwrap_or(limits::FULLEST_LISTED);
        Ok(FillQuestion { limit, fullest: fullest as usize })
    }
}

/// A limit as `/api/v1/stats` tells of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ShownLimit {
    limit: String,
    per: Option<&'static str>,
    reached: u64,
    subjects: u64,
    fill: Option<f64>,
}

/// So many limits at most: those that are fullest, and of others those that were reached most often; in their order.
pub(super) fn fullest(told: &[LimitTold], fills: &[LimitFill], most: usize) -> Vec<ShownLimit> {
    let fill_of = |limit: &LimitTold| fills.iter().find(|fill| fill.limit == limit.id);
    let full = |limit: &LimitTold| fill_of(limit).and_then(LimitFill::fill).unwrap_or_default();
    let mut places: Vec<usize> = (0..told.len()).collect();
    places.sort_by(|&one, &other| {
        let (one, other) = (&told[one], &told[other]);
        full(other).total_cmp(&full(one)).then(other.total().cmp(&one.total()))
    });
    places.truncate(most);
    places.sort_unstable();
    let shown = |place: usize| {
        let limit = &told[place];
        ShownLimit {
            limit: limit.name.to_string(),
            per: limit.says.map(|(per, _)| per.name()),
            reached: limit.total(),
            subjects: fill_of(limit).map_or(0, |fill| fill.subjects),
            fill: fill_of(limit).and_then(LimitFill::fill).map(thousandths),
        }
    };
    places.into_iter().map(shown).collect()
}

/// The answer to a question for limits.
pub(super) fn limits_json(told: &[LimitTold], fills: &[LimitFill], names: &HolderNames) -> Value {
    let one = |fill: &LimitFill| {
        let limit = told.iter().find(|limit| limit.id == fill.limit)?;
        let (per, terms) = limit.says?;
        let reached: Map<String, Value> =
            limit.kinds().map(|(kind, count)| (kind.name().to_owned(), count.into())).collect();
        Some(json!({
            "limit": &*limit.name,
            "per": per.name(),
            "terms": terms_json(&terms),
            "reached": reached,
            "subjects": fill.subjects,
            "sessions": fill.sessions,
            "fill": fill.fill().map(thousandths),
            "fullest": fill.fullest.iter().map(|one| account_json(one, names)).collect::<Vec<Value>>(),
        }))
    };
    let limits: Vec<Value> = fills.iter().filter_map(one).collect();
    json!({"time": time_text(SystemTime::now()), "limits": limits})
}

/// What a limit allows each of its subjects: what it does not bound is left out.
pub(super) fn terms_json(terms: &LimitTerms) -> Map<String, Value> {
    let rate = |rate: Option<BurstRate>| rate.map(|rate| json!({"rate": rate.rate, "burst": rate.burst}));
    let quota = |QuotaTerms { bytes, direction, on_reached, .. }: QuotaTerms| json!({"bytes": bytes, "direction": direction.name(), "on_reached": on_reached.name()});
    let value = |kind| match kind {
        LimitKind::Connections => terms.connections.map(Value::from),
        LimitKind::Associations => terms.udp_associations.map(Value::from),
        LimitKind::NewSessions => rate(terms.new_per_second),
        LimitKind::Upload => rate(terms.upload),
        LimitKind::Download => rate(terms.download),
        LimitKind::Datagrams => rate(terms.datagrams),
        LimitKind::Quota => terms.quota.map(quota),
    };
    LimitKind::ALL.into_iter().filter_map(|kind| Some((kind.name().to_owned(), value(kind)?))).collect()
}

/// How somebody stands with a limit.
pub(super) fn account_json(fill: &AccountFill, names: &HolderNames) -> Value {
    let parts = LimitKind::ALL.into_iter().filter_map(|kind| {
        let part = fill.part(kind)?;
        Some((kind.name().to_owned(), thousandths(part).into()))
    });
    json!({
        "holder": names.text(&fill.holder),
        "fill": thousandths(fill.fullest()),
        "sessions": fill.sessions,
        "udp_associations": fill.associations,
        "parts": parts.collect::<Map<String, Value>>(),
    })
}

fn thousandths(part: f64) -> f64 {
    (part * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::accounts::{AccountHolder, Per};

    fn told(id: u16, name: &str, reached: u64) -> LimitTold {
        let terms = LimitTerms { connections: Some(4), ..LimitTerms::default() };
        let reached = [reached, 0, 0, 0, 0, 0, 0];
        LimitTold { name: name.into(), id: LimitId(id), says: Some((Per::User, terms)), reached }
    }

    fn fill(id: u16, part: f64) -> LimitFill {
        let account = AccountFill::of_nothing(AccountHolder::User("ann".into()));
        let mut parts = account.parts;
        parts[0] = Some(part);
        let fullest = vec![AccountFill { sessions: 3, parts, ..account }];
        LimitFill { limit: LimitId(id), subjects: 7, sessions: 9, fullest }
    }

    #[test]
    fn a_limit_says_what_it_allows_and_who_has_the_least_left() {
        let rate = Some(BurstRate { rate: 5, burst: 9 });
        let mut gold = told(3, "gold", 2);
        gold.says = gold.says.map(|(per, terms)| (per, LimitTerms { upload: rate, ..terms }));
        let json = limits_json(&[gold], &[fill(3, 0.75)], &HolderNames::default());
        assert_eq!(
            json["limits"],
            json!([{
                "limit": "gold", "per": "user",
                "terms": {"connections": 4, "upload": {"rate": 5, "burst": 9}},
                "reached": {"connections": 2, "upload": 0},
                "subjects": 7, "sessions": 9, "fill": 0.75,
                "fullest": [{
                    "holder": "user:ann", "fill": 0.75, "sessions": 3, "udp_associations": 0,
                    "parts": {"connections": 0.75},
                }],
            }])
        );
    }

    #[test]
    fn the_fullest_stand_in_the_order_of_the_limits() {
        let all = [told(0, "a", 1), told(1, "b", 9), told(2, "c", 0), told(3, "d", 0)];
        let fills = [fill(0, 0.1), fill(2, 1.0)];
        let names = |most| -> Vec<String> {
            fullest(&all, &fills, most).into_iter().map(|shown| shown.limit).collect()
        };
        assert_eq!(names(3), ["a", "b", "c"]);
        assert_eq!(names(1), ["c"]);
        let [_, b, c, d] = &fullest(&all, &fills, 9)[..] else { panic!("all four") };
        assert_eq!((b.fill, b.reached, c.fill, d.fill, c.subjects), (None, 9, Some(1.0), None, 7));
    }
}
