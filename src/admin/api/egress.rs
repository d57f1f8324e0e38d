//! Pools of addresses and how they stand, as JSON; and an address that is drained by hand, or serves again.
//!
//! What is set by hand is a mark that workers read with the next session: the control thread has no part in it.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::history::time_text;
use super::query::{Query, sorted_by, word};
use crate::admin::answer::HttpAnswer;
use crate::admin::orders::Actor;
use crate::admin::status::HttpStatus;
use crate::config::quoted;
use crate::observe::{AddressCounts, AddressTold, EgressInEffect, EgressOrderError, PoolTold, network_text};
use crate::policy::egress::health::{AddressState, Fault};
use crate::policy::egress::ports::PairUse;

/// What addresses are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressKey {
    Configured,
    Sessions,
    Ports,
    State,
}

const ADDRESS_KEYS: [(&str, AddressKey); 4] = [
    ("configured", AddressKey::Configured),
    ("sessions", AddressKey::Sessions),
    ("ports", AddressKey::Ports),
    ("state", AddressKey::State),
];

/// What is asked for.
#[derive(Debug)]
struct EgressQuestion {
    name: Option<String>,
    state: Option<usize>,
    key: AddressKey,
    descending: bool,
    limit: usize,
    offset: usize,
}

impl EgressQuestion {
    fn read(text: &str, egress: &EgressInEffect) -> Result<EgressQuestion, String> {
        let query = Query::read(text, &["name", "state", "sort", "limit", "offset"])?;
        let (limit, offset) = query.page()?;
        let names: Vec<_> =
            AddressState::NAMES.iter().enumerate().map(|(place, name)| (*name, place)).collect();
        let known = |name: &str| egress.named(name).map(|pool| pool.name().to_string());
        let sort = query.value("sort", sorted_by(&ADDRESS_KEYS))?;
        let (key, descending) = sort.unwrap_or((AddressKey::Configured, false));
        Ok(EgressQuestion {
            name: query.value("name", known)?,
            state: query.value("state", word(&names))?,
            key,
            descending,
            limit,
            offset,
        })
    }

    fn compare(&self, one: &AddressTold, other: &AddressTold) -> Ordering {
        let counts = |of: &AddressTold| of.counts.unwrap_or_default();
        let order = match self.key {
            AddressKey::Configured => Ordering::Equal,
            AddressKey::Sessions => counts(one).active.cmp(&counts(other).active),
            AddressKey::Ports => ports_of(&counts(one)).cmp(&ports_of(&counts(other))),
            AddressKey::State => one.state.number().cmp(&other.state.number()),
        };
        if self.descending { order.reverse() } else { order }
    }
}

fn ports_of(counts: &AddressCounts) -> u64 {
    u64::from(counts.ports_open) + u64::from(counts.ports_waiting)
}

/// The pools and a part of their addresses.
///
/// # Errors
/// What is wrong with a parameter.
pub(super) fn listed(egress: &EgressInEffect, query: &str, now: Instant) -> Result<Value, String> {
    let question = EgressQuestion::read(query, egress)?;
    let mut addresses = egress.addresses(question.name.as_deref(), now);
    let total = addresses.len();
    addresses.retain(|one| question.state.is_none_or(|state| state == one.state.number()));
    let matched = addresses.len();
    // Of those that are equal the order of the configuration stays.
    addresses.sort_by(|one, other| question.compare(one, other));
    let pools = egress.told(now);
    let pools = pools.iter().filter(|pool| question.name.as_deref().is_none_or(|name| *name == *pool.name));
    let shown = SystemTime::now();
    let page = addresses.iter().skip(question.offset).take(question.limit);
    Ok(json!({
        "time": time_text(shown),
        "pools": pools.map(pool_json).collect::<Vec<Value>>(),
        "total": total,
        "matched": matched,
        "addresses": page.map(|one| address_json(one, shown)).collect::<Vec<Value>>(),
    }))
}

/// A pool with everything that is told of it.
fn pool_json(pool: &PoolTold) -> Value {
    let mut told = brief(pool);
    told["fullest"] = pool.fullest.iter().map(pair_json).collect();
    told
}

/// So many pools at most, with what an overview shows of them: those that do not stand well first, then those with the most
/// sessions; in their order.
pub(super) fn overview(pools: &[PoolTold], most: usize) -> Vec<Value> {
    let mut places: Vec<usize> = (0..pools.len()).collect();
    let left_alone = |pool: &PoolTold| pool.addresses[1..].iter().any(|count| *count > 0);
    places.sort_by_key(|&place| {
        let pool = &pools[place];
        (std::cmp::Reverse(left_alone(pool)), std::cmp::Reverse(pool.active), place)
    });
    places.truncate(most);
    places.sort_unstable();
    places.into_iter().map(|place| brief(&pools[place])).collect()
}

fn brief(pool: &PoolTold) -> Value {
    let states = AddressState::NAMES.iter().zip(&pool.addresses);
    let fullest = pool.fullest.first().map_or(0, |pair| pair.in_use);
    json!({
        "egress": &*pool.name,
        "select": pool.select,
        "missing_interface": pool.missing_interface.as_deref(),
        "addresses": states.map(|(name, count)| ((*name).to_owned(), (*count).into())).collect::<Map<_, Value>>(),
        "sessions_active": pool.active,
        "sessions": pool.sessions,
        "cooldowns": cooldowns(&pool.cooldowns),
        "ports_open": pool.ports_open,
        "ports_time_wait": pool.ports_waiting,
        "ports_max": pool.ports_most,
        "fullest_ports": fullest,
    })
}

fn cooldowns(counts: &[u64; Fault::ALL.len()]) -> Map<String, Value> {
    Fault::ALL.iter().zip(counts).map(|(fault, count)| (fault.name().to_owned(), (*count).into())).collect()
}

fn pair_json(pair: &PairUse) -> Value {
    let PairUse { source, target, in_use, waiting } = pair;
    json!({"source": source, "target": target, "ports": in_use, "time_wait": waiting})
}

fn address_json(one: &AddressTold, shown: SystemTime) -> Value {
    let AddressTold { pool, address, within, state, left_ms, counts } = one;
    let until = left_ms.and_then(|left| shown.checked_add(Duration::from_millis(left)));
    json!({
        "egress": &**pool,
        "address": network_text(address),
        "within": within.as_ref().map(network_text),
        "state": state.name(),
        "cause": state.fault().map(|(fault, _)| fault.name()),
        "until": until.map(time_text),
        "sessions_active": counts.map(|counts| counts.active),
        "sessions": counts.map(|counts| counts.sessions),
        "ports_open": counts.map(|counts| counts.ports_open),
        "ports_time_wait": counts.map(|counts| counts.ports_waiting),
        "cooldowns": counts.map(|counts| cooldowns(&counts.cooldowns)),
    })
}

/// What a body names that drains an address or restores it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByHandBody {
    egress: String,
    address: String,
}

/// Drains an address, or has it serve again; the answer.
pub(super) fn set_by_hand(
    egress: &EgressInEffect,
    body: &[u8],
    (by, drained): (&Actor, bool),
    now: Instant,
) -> HttpAnswer {
    let form = r#"{"egress": "fleet", "address": "192.0.2.1"}"#;
    let wrong = |what: String| HttpAnswer::error(HttpStatus::BAD_REQUEST, what);
    let body: ByHandBody = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return wrong(format!("the body is not of the form {form}: {error}")),
    };
    let Some(address) = network(&body.address) else {
        return wrong(format!("`address`: {} is no address and no block", quoted(&body.address)));
    };
    match egress.set_drained(&body.egress, address, drained, now) {
        Ok(changed) => {
            let (pool, address) = (&body.egress, network_text(&address));
            tracing::info!(%by, egress = %pool, %address, drained, changed, "an address was set by hand");
            HttpAnswer::json(
                HttpStatus::OK,
                &json!({"egress": pool, "address": address, "drained": drained, "changed": changed}),
            )
        }
        Err(EgressOrderError::NotFound(what)) => HttpAnswer::error(HttpStatus::NOT_FOUND, what),
        Err(EgressOrderError::Conflict(what)) => HttpAnswer::error(HttpStatus::CONFLICT, what),
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::egress::by_hand;

    fn egress(now: Instant) -> EgressInEffect {
        let fleet = ("fleet", &["192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64"][..]);
        EgressInEffect(Some(by_hand::egress(&[fleet], now)))
    }

    #[test]
    fn pools_and_a_page_of_their_addresses_are_told() {
        let now = Instant::now();
        let egress = egress(now);
        let pool = egress.named("fleet").unwrap();
        let source = [192, 0, 2, 2].into();
        let _held = pool.standing(source).unwrap().begin(source, "198.51.100.1:443".parse().unwrap());
        egress.set_drained("fleet", "192.0.2.1/32".parse().unwrap(), true, now).unwrap();
        let told = listed(&egress, "sort=-sessions&limit=2", now).unwrap();
        let pool = &told["pools"][0];
        assert_eq!(pool["addresses"], json!({"serving": 2, "cooled": 0, "probed": 0, "drained": 1}));
        assert_eq!(
            (&pool["sessions_active"], &pool["ports_open"], &pool["ports_max"]),
            (&json!(1), &json!(1), &json!(1_000))
        );
        let pair = json!({"source": "192.0.2.2", "target": "198.51.100.1:443", "ports": 1, "time_wait": 0});
        assert_eq!(pool["fullest"], json!([pair]));
        let addresses = |told: &Value| -> Vec<(String, String)> {
            let of = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
            told["addresses"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| (of(one, "address"), of(one, "state")))
                .collect()
        };
        let pair = |address: &str, state: &str| (address.to_owned(), state.to_owned());
        assert_eq!(addresses(&told), [pair("192.0.2.2", "serving"), pair("192.0.2.1", "drained")]);
        assert_eq!((&told["total"], &told["matched"]), (&json!(3), &json!(3)));
        let told = listed(&egress, "name=fleet&state=serving&offset=1", now).unwrap();
        assert_eq!(addresses(&told), [pair("2001:db8::/64", "serving")]);
        assert_eq!((&told["total"], &told["matched"]), (&json!(3), &json!(2)));
        let nothing = listed(&EgressInEffect::default(), "", now).unwrap();
        assert_eq!((&nothing["pools"], &nothing["addresses"]), (&json!([]), &json!([])));
        let wrong = |query: &str| listed(&egress, query, now).unwrap_err();
        assert!(wrong("name=fleat").contains("did you mean \"fleet\"?"));
        assert!(wrong("state=cool").contains("did you mean \"cooled\"?"));
    }

    #[test]
    fn an_address_is_set_by_hand_or_it_is_said_why_not() {
        let now = Instant::now();
        let egress = egress(now);
        let by = Actor("uid 0".to_owned());
        let set = |body: &str, drained: bool| {
            let answer = set_by_hand(&egress, body.as_bytes(), (&by, drained), now);
            (answer.status().code(), serde_json::from_slice::<Value>(answer.body()).unwrap())
        };
        let body = |address: &str| json!({"egress": "fleet", "address": address}).to_string();
        let said = |drained: bool, changed: bool| json!({"egress": "fleet", "address": "192.0.2.1", "drained": drained, "changed": changed});
        assert_eq!(set(&body("192.0.2.1"), true), (200, said(true, true)));
        assert_eq!(set(&body("192.0.2.1/32"), true), (200, said(true, false)));
        assert_eq!(set(&body("192.0.2.1"), false), (200, said(false, true)));
        assert_eq!(set(&body("192.0.2.9"), true).0, 404);
        assert_eq!(set(&body("example.com"), true).0, 400);
        assert_eq!(set("{}", true).0, 400);
        assert_eq!(set(r#"{"egress": "other", "address": "192.0.2.1"}"#, true).0, 404);
        for address in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!(set(&body(address), true).0, 200);
        }
        assert_eq!(set(&body("2001:db8::/64"), true).0, 409, "the last of them");
    }
}
