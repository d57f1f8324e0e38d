//! Parents and how their servers stand, as JSON; and a server that is drained by hand, or has sessions again.
//!
//! What is set by hand is a mark that workers read with the next session: the control thread has no part in it.

use std::cmp::{Ordering, Reverse};
use std::time::{Instant, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::history::time_text;
use super::query::{Query, sorted_by, word};
use crate::admin::answer::HttpAnswer;
use crate::admin::orders::Actor;
use crate::admin::status::HttpStatus;
use crate::observe::{
    CheckFound, Counters, ParentFault, ParentOrderError, ParentServerTold, ParentTold, parent_named,
    parents_told, set_parent_drained,
};
use crate::policy::parents::{ParentServerState, Parents};

/// What servers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerKey {
    Configured,
    Sessions,
    Failures,
    State,
}

const SERVER_KEYS: [(&str, ServerKey); 4] = [
    ("configured", ServerKey::Configured),
    ("sessions", ServerKey::Sessions),
    ("failures", ServerKey::Failures),
    ("state", ServerKey::State),
];

/// What is asked for.
#[derive(Debug)]
struct ParentQuestion {
    name: Option<String>,
    state: Option<usize>,
    key: ServerKey,
    descending: bool,
    limit: usize,
    offset: usize,
}

/// A server with its place, and the name of its parent.
struct Placed<'a> {
    parent: &'a str,
    place: usize,
    server: &'a ParentServerTold,
}

impl ParentQuestion {
    fn read(text: &str, parents: Option<&Parents>) -> Result<ParentQuestion, String> {
        let query = Query::read(text, &["name", "state", "sort", "limit", "offset"])?;
        let (limit, offset) = query.page()?;
        let names: Vec<_> =
            ParentServerState::NAMES.iter().enumerate().map(|(place, name)| (*name, place)).collect();
        let known = |name: &str| parent_named(parents, name).map(|parent| parent.spec().name.to_string());
        let sort = query.value("sort", sorted_by(&SERVER_KEYS))?;
        let (key, descending) = sort.unwrap_or((ServerKey::Configured, false));
        Ok(ParentQuestion {
            name: query.value("name", known)?,
            state: query.value("state", word(&names))?,
            key,
            descending,
            limit,
            offset,
        })
    }

    fn compare(&self, one: &ParentServerTold, other: &ParentServerTold) -> Ordering {
        let failures = |of: &ParentServerTold| of.counts.faults.iter().sum::<u64>();
        let order = match self.key {
            ServerKey::Configured => Ordering::Equal,
            ServerKey::Sessions => one.counts.active.cmp(&other.counts.active),
            ServerKey::Failures => failures(one).cmp(&failures(other)),
            ServerKey::State => one.state.number().cmp(&other.state.number()),
        };
        if self.descending { order.reverse() } else { order }
    }
}

/// The parents and a part of their servers.
///
/// # Errors
/// What is wrong with a parameter.
pub(super) fn listed<'a>(
    parents: Option<&Parents>,
    workers: impl Iterator<Item = &'a Counters> + Clone,
    query: &str,
    now: Instant,
) -> Result<Value, String> {
    let question = ParentQuestion::read(query, parents)?;
    let mut told = parents_told(parents, workers, now);
    told.retain(|parent| question.name.as_deref().is_none_or(|name| *name == *parent.name));
    let mut servers: Vec<Placed<'_>> = told.iter().flat_map(placed).collect();
    let total = servers.len();
    servers.retain(|one| question.state.is_none_or(|state| state == one.server.state.number()));
    let matched = servers.len();
    // Of those that are equal the order of the configuration stays.
    servers.sort_by(|one, other| question.compare(one.server, other.server));
    let shown = SystemTime::now();
    let page = servers.iter().skip(question.offset).take(question.limit);
    Ok(json!({
        "time": time_text(shown),
        "parents": told.iter().map(brief).collect::<Vec<Value>>(),
        "total": total,
        "matched": matched,
        "servers": page.map(|one| server_json(one, shown)).collect::<Vec<Value>>(),
    }))
}

fn placed(parent: &ParentTold) -> impl Iterator<Item = Placed<'_>> {
    let servers = parent.servers.iter().enumerate();
    servers.map(|(place, server)| Placed { parent: &parent.name, place, server })
}

/// The servers of one parent with how they stand; null where there is none of this name.
pub(super) fn servers_of(told: &[ParentTold], name: &str) -> Value {
    let parent = told.iter().find(|parent| *parent.name == *name);
    let shown = SystemTime::now();
    let servers =
        parent.map(|parent| placed(parent).map(|one| standing_json(&one, shown)).collect::<Vec<Value>>());
    servers.into()
}

/// So many parents at most, with what an overview shows of them: those of which a server does not serve first, then those with the most
/// sessions; in their order.
pub(super) fn overview(parents: &[ParentTold], most: usize) -> Vec<Value> {
    let mut places: Vec<usize> = (0..parents.len()).collect();
    places.sort_by_key(|&place| {
        let parent = &parents[place];
        let kept_from = parent.up() < parent.servers.len() as u64;
        (Reverse(kept_from), Reverse(parent.active()), place)
    });
    places.truncate(most);
    places.sort_unstable();
    places.into_iter().map(|place| brief(&parents[place])).collect()
}

fn brief(parent: &ParentTold) -> Value {
    let states = ParentServerState::NAMES.into_iter().zip(parent.states());
    json!({
        "parent": &*parent.name,
        "select": parent.select,
        "servers": states.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, Value>>(),
        "sessions_active": parent.active(),
        "sessions": parent.counts.sessions,
        "direct": parent.counts.direct,
        "failures": failures(&parent.counts.faults),
        "warm_ready": parent.servers.iter().map(|server| server.counts.warm_ready).sum::<u64>(),
    })
}

fn failures(counts: &[u64; ParentFault::ALL.len()]) -> Map<String, Value> {
    ParentFault::ALL
        .iter()
        .zip(counts)
        .map(|(fault, count)| (fault.name().to_owned(), (*count).into()))
        .collect()
}

/// How a server stands, and why.
fn standing_json(one: &Placed<'_>, shown: SystemTime) -> Value {
    let ParentServerTold { server, state, left, .. } = one.server;
    let until = left.filter(|_| *state == ParentServerState::Down).and_then(|left| shown.checked_add(left));
    json!({
        "server": server,
        "state": state.name(),
        "cause": one.server.cause().map(ParentFault::name),
        "until": until.map(time_text),
    })
}

fn server_json(one: &Placed<'_>, shown: SystemTime) -> Value {
    let Placed { parent, place, server } = one;
    let ParentServerTold { weight, fails, counts, .. } = server;
    let mut told = standing_json(one, shown);
    for (name, value) in [
        ("parent", json!(parent)),
        ("place", json!(place + 1)),
        ("weight", json!(weight)),
        ("fails", json!(fails)),
        ("check", counts.last_check.map(|(time, found)| check_json(time, found)).into()),
        ("sessions_active", json!(counts.active)),
        ("sessions", json!(counts.sessions)),
        ("failures", failures(&counts.faults).into()),
        ("warm_ready", json!(counts.warm_ready)),
        ("warm_hits", json!(counts.warm_hits)),
        ("warm_misses", json!(counts.warm_misses)),
    ] {
        told[name] = value;
    }
    told
}

fn check_json(time: SystemTime, found: CheckFound) -> Value {
    json!({"time": time_text(time), "found": found.name()})
}

/// What a body names that drains a server or restores it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerBody {
    parent: String,
    server: String,
}

/// Drains a server, or has it have sessions again; the answer.
pub(super) fn set_by_hand(
    parents: Option<&Parents>,
    body: &[u8],
    (by, drained): (&Actor, bool),
) -> HttpAnswer {
    let form = r#"{"parent": "uplink", "server": "socks5h://192.0.2.1:1080"}"#;
    let ServerBody { parent, server } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => {
            let what = format!("the body is not of the form {form}: {error}");
            return HttpAnswer::error(HttpStatus::BAD_REQUEST, what);
        }
    };
    match set_parent_drained(parents, (&parent, &server), drained) {
        Ok((server, changed)) => {
            tracing::info!(%by, %parent, %server, drained, changed, "a server of a parent was set by hand");
            HttpAnswer::json(
                HttpStatus::OK,
                &json!({"parent": parent, "server": server, "drained": drained, "changed": changed}),
            )
        }
        Err(ParentOrderError::NotFound(what)) => HttpAnswer::error(HttpStatus::NOT_FOUND, what),
        Err(ParentOrderError::Conflict(what)) => HttpAnswer::error(HttpStatus::CONFLICT, what),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::parents::by_hand;

    fn of(told: &Value, key: &str) -> Vec<Value> {
        told["servers"].as_array().unwrap().iter().map(|one| one[key].clone()).collect()
    }

    #[test]
    fn parents_and_a_page_of_their_servers_are_told() {
        let now = Instant::now();
        let parents = by_hand::parents(&[("up", &[1, 1, 0]), ("one", &[3])], now);
        let up = parent_named(Some(&parents), "up").unwrap();
        let workers = [Counters::default(), Counters::default()];
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert!(up.failed(0, now));
        let [first, second] = [up.spec().servers[0].number, up.spec().servers[1].number];
        workers[0].parent_servers.failure(first, ParentFault::Refused, time);
        workers[1].parent_servers.begins(second);
        workers[1].parent_servers.session(second, Some(true));
        workers[1].parent_servers.set_ready(second, 2);
        workers[1].parent_servers.checked(second, CheckFound::Reached, time);
        let told = listed(Some(&parents), workers.iter(), "sort=-sessions&limit=2", now).unwrap();
        assert_eq!((&told["total"], &told["matched"]), (&json!(4), &json!(4)));
        let parent = &told["parents"][0];
        assert_eq!(parent["servers"], json!({"up": 1, "backup": 1, "down": 1, "drained": 0}));
        assert_eq!((&parent["sessions_active"], &parent["warm_ready"]), (&json!(1), &json!(2)));
        let [busy, down] = &told["servers"].as_array().unwrap()[..] else { panic!("{told}") };
        assert_eq!((&busy["place"], &busy["state"], &busy["until"]), (&json!(2), &json!("up"), &Value::Null));
        assert_eq!(busy["check"], json!({"time": "2023-11-14T22:13:20.000Z", "found": "ok"}));
        assert_eq!((&busy["warm_hits"], &busy["warm_misses"]), (&json!(1), &json!(0)));
        assert_eq!(
            (&down["server"], &down["cause"]),
            (&json!("socks5h://192.0.2.1:1080"), &json!("refused"))
        );
        assert_eq!(
            (&down["fails"], &down["failures"]["refused"], &down["check"]),
            (&json!(1), &json!(1), &Value::Null)
        );
        assert!(down["until"].is_string(), "{down}");
        let told = listed(Some(&parents), workers.iter(), "name=up&state=backup", now).unwrap();
        assert_eq!(
            (of(&told, "place"), &told["total"], &told["matched"]),
            (vec![json!(3)], &json!(3), &json!(1))
        );
        assert_eq!(told["parents"].as_array().unwrap().len(), 1);
        let nothing = listed(None, workers.iter(), "", now).unwrap();
        assert_eq!((&nothing["parents"], &nothing["servers"]), (&json!([]), &json!([])));
        let wrong = |query: &str| listed(Some(&parents), workers.iter(), query, now).unwrap_err();
        assert!(wrong("name=upp").contains("did you mean \"up\"?"));
        assert!(wrong("state=dwn").contains("did you mean \"down\"?"));
    }

    #[test]
    fn an_overview_has_those_first_of_which_a_server_does_not_serve() {
        let now = Instant::now();
        let parents = by_hand::parents(&[("idle", &[1]), ("busy", &[1]), ("down", &[1, 1])], now);
        let workers = [Counters::default()];
        let of = |name: &str| parent_named(Some(&parents), name).unwrap();
        workers[0].parent_servers.begins(of("busy").spec().servers[0].number);
        assert!(of("down").failed(0, now));
        let names = |most: usize| -> Vec<Value> {
            let told = parents_told(Some(&parents), workers.iter(), now);
            overview(&told, most).into_iter().map(|mut one| one["parent"].take()).collect()
        };
        assert_eq!(names(1), ["down"]);
        assert_eq!(names(2), ["busy", "down"]);
        assert_eq!(names(9), ["idle", "busy", "down"]);
    }

    #[test]
    fn a_server_is_set_by_hand_or_it_is_said_why_not() {
        let parents = by_hand::parents(&[("up", &[1, 1])], Instant::now());
        let by = Actor("uid 0".to_owned());
        let set = |body: &str, drained: bool| {
            let answer = set_by_hand(Some(&parents), body.as_bytes(), (&by, drained));
            (answer.status().code(), serde_json::from_slice::<Value>(answer.body()).unwrap())
        };
        let second = json!({"parent": "up", "server": "socks5h://192.0.2.2:1080"}).to_string();
        let told = |drained: bool, changed: bool| json!({"parent": "up", "server": "socks5h://192.0.2.2:1080", "drained": drained, "changed": changed});
        assert_eq!(set(&second, true), (200, told(true, true)));
        assert_eq!(set(r#"{"parent": "up", "server": "2"}"#, true), (200, told(true, false)));
        assert_eq!(set(r#"{"parent": "up", "server": "1"}"#, true).0, 409);
        assert_eq!(set(&second, false), (200, told(false, true)));
        assert_eq!(set(r#"{"parent": "down", "server": "1"}"#, true).0, 404);
        assert_eq!(set(r#"{"parent": "up", "server": "3"}"#, true).0, 404);
        let (status, error) = set(r#"{"parent": "up"}"#, true);
        assert!(
            status == 400 && error["error"].as_str().unwrap().contains("missing field `server`"),
            "{error}"
        );
    }
}
