//! How each parent stands and what came of it so far, for whoever looks: those that are in effect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::parent_hits::{ParentCounts, ParentFault};
use super::parent_server_hits::ParentServerCounts;
use crate::config::{Choice, quoted, unknown_value};
use crate::policy::ParentId;
use crate::policy::parents::{Parent, ParentServer, ParentServerState, Parents};

/// A parent, and what came of it over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentTold {
    /// Its name.
    pub name: Arc<str>,
    /// How one of its servers is chosen.
    pub select: &'static str,
    /// Its servers, in their order.
    pub servers: Vec<ParentServerTold>,
    /// What was counted of it.
    pub counts: ParentCounts,
}

/// A server of a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentServerTold {
    /// Its proxies and where they are, and no login.
    pub server: String,
    /// Its weight; 0: a backup.
    pub weight: u32,
    /// How it stands.
    pub state: ParentServerState,
    /// How long sessions keep away from it yet, where it is down.
    pub left: Option<Duration>,
    /// How often it failed lately.
    pub fails: u64,
    /// What was counted of it.
    pub counts: ParentServerCounts,
}

/// Why a server was not set by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentOrderError {
    /// There is no such parent or server.
    NotFound(String),
    /// It cannot be done as things are.
    Conflict(String),
}

/// Each parent in effect.
pub fn parents_told<'a>(
    parents: Option<&Parents>,
    workers: impl Iterator<Item = &'a Counters> + Clone,
    now: Instant,
) -> Vec<ParentTold> {
    let server = |parent: &Parent, place: usize, server: &ParentServer| {
        let health = parent.health(place);
        let counted = workers.clone().map(|counters| counters.parent_servers.of(server.number));
        ParentServerTold {
            server: server.to_string(),
            weight: server.weight,
            state: parent.state(place),
            left: health.and_then(|health| health.away_for(now)),
            fails: health.map_or(0, |health| health.fails()),
            counts: counted.fold(ParentServerCounts::default(), ParentServerCounts::and),
        }
    };
    let told = |(id, parent): (ParentId, &Arc<Parent>)| {
        let counted = workers.clone().map(|counters| counters.parents.of(id));
        let servers = parent.spec().servers.iter().enumerate();
        ParentTold {
            name: Arc::clone(&parent.spec().name),
            select: parent.spec().select.name(),
            servers: servers.map(|(place, one)| server(parent, place, one)).collect(),
            counts: counted.fold(ParentCounts::default(), ParentCounts::and),
        }
    };
    parents.into_iter().flat_map(Parents::iter).map(told).collect()
}

impl ParentTold {
    /// How many of its servers sessions are not kept from.
    pub fn up(&self) -> u64 {
        self.servers.iter().filter(|server| server.state.serves()).count() as u64
    }

    /// How many of its servers are in each state, in the order of [`ParentServerState::NAMES`].
    pub fn states(&self) -> [u64; ParentServerState::NAMES.len()] {
        let mut states = [0; ParentServerState::NAMES.len()];
        self.servers.iter().for_each(|server| states[server.state.number()] += 1);
        states
    }

    /// Sessions that its servers have.
    pub fn active(&self) -> u64 {
        self.servers.iter().map(|server| server.counts.active).sum()
    }

    /// Each fault that it had, with how often.
    pub fn faults(&self) -> impl Iterator<Item = (ParentFault, u64)> {
        ParentFault::ALL.into_iter().zip(self.counts.faults).filter(|(_, count)| *count > 0)
    }
}

impl ParentServerTold {
    /// Why sessions keep away from it: what failed last, where it is down.
    pub fn cause(&self) -> Option<ParentFault> {
        let (_, fault) = self.counts.last_fault.filter(|_| self.state == ParentServerState::Down)?;
        Some(fault)
    }
}

/// The parent of this name.
///
/// # Errors
/// There is none, and which may be meant.
pub fn parent_named<'a>(parents: Option<&'a Parents>, name: &str) -> Result<&'a Arc<Parent>, String> {
    let all = || parents.into_iter().flat_map(Parents::iter).map(|(_, parent)| parent);
    let found = all().find(|parent| *parent.spec().name == *name);
    found.ok_or_else(|| {
        let names: Vec<&str> = all().map(|parent| &*parent.spec().name).collect();
        match names.is_empty() {
            true => format!("there is no [[parent]] {}", quoted(name)),
            false => unknown_value(name, names.into_iter()),
        }
    })
}

/// Has no new session be led through a server, or takes that back, and with it what failed there. The server is called as it is shown,
/// or by its place from 1 on. Gives how it is shown, and whether that changed anything.
///
/// # Errors
/// There is no such parent or server, or several are shown so; it is the last that is not drained.
pub fn set_parent_drained(
    parents: Option<&Parents>,
    (name, server): (&str, &str),
    drained: bool,
) -> Result<(String, bool), ParentOrderError> {
    let parent = parent_named(parents, name).map_err(ParentOrderError::NotFound)?;
    let place = place_of(parent, &without_logins(server))?;
    let servers = &parent.spec().servers;
    let serves = |other: usize| other != place && parent.state(other) != ParentServerState::Drained;
    let shown = servers[place].to_string();
    if drained && !(0..servers.len()).any(serves) {
        let what = format!("{shown} is the last server of parent {} that is not drained", quoted(name));
        return Err(ParentOrderError::Conflict(what));
    }
    Ok((shown, parent.set_drained(place, drained)))
}

/// The place of the server that is meant.
fn place_of(parent: &Parent, server: &str) -> Result<usize, ParentOrderError> {
    let shown: Vec<String> = parent.spec().servers.iter().map(ParentServer::to_string).collect();
    let by_number = server.parse().ok().and_then(|nth: usize| nth.checked_sub(1));
    if let Some(place) = by_number.filter(|place| *place < shown.len()) {
        return Ok(place);
    }
    let mut same = (0..shown.len()).filter(|place| shown[*place] == server);
    match (same.next(), same.next()) {
        (Some(place), None) => Ok(place),
        (Some(one), Some(other)) => Err(ParentOrderError::Conflict(format!(
            "several servers are shown as {}: say which by its place, such as {} or {}",
            quoted(server),
            one + 1,
            other + 1
        ))),
        (None, _) => Err(ParentOrderError::NotFound(unknown_value(server, shown.iter().map(String::as_str)))),
    }
}

/// A chain as it is typed, of which each URL may have a login: that is nobody's to read again.
fn without_logins(server: &str) -> String {
    let hops = server.split('>').map(|hop| match hop.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        }
        None => hop.rsplit_once('@').map_or(hop, |(_, host)| host).to_owned(),
    });
    hops.collect::<Vec<String>>().join(">")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::policy::parents::by_hand;

    fn parents(now: Instant) -> Parents {
        by_hand::parents(&[("up", &[1, 1, 0]), ("one", &[1])], now)
    }

    #[test]
    fn a_parent_tells_how_its_servers_stand_and_what_came_of_them() {
        let now = Instant::now();
        let parents = parents(now);
        let up = parent_named(Some(&parents), "up").unwrap();
        assert!(up.failed(0, now));
        let workers = [Counters::default(), Counters::default()];
        let numbers: Vec<u16> = up.spec().servers.iter().map(|server| server.number).collect();
        for (worker, server) in [(0, 1), (1, 1), (1, 2)] {
            workers[worker].parent_servers.begins(numbers[server]);
        }
        workers[1].parent_servers.failure(numbers[0], ParentFault::Refused, SystemTime::now());
        workers[1].parent_servers.failure(numbers[1], ParentFault::Refused, SystemTime::now());
        let told = parents_told(Some(&parents), workers.iter(), now);
        assert_eq!((told[0].states(), told[0].up(), told[0].active()), ([1, 1, 1, 0], 2, 3));
        let [down, well, backup] = &told[0].servers[..] else { panic!("three servers") };
        assert_eq!(
            (down.state, down.cause(), down.fails),
            (ParentServerState::Down, Some(ParentFault::Refused), 1)
        );
        assert_eq!(down.left, Some(Duration::from_secs(30)));
        assert_eq!((well.cause(), well.left, well.counts.active), (None, None, 2), "it serves all the same");
        assert_eq!((backup.state.name(), backup.counts.active), ("backup", 1));
        assert_eq!((&*told[1].name, told[1].active()), ("one", 0));
        assert_eq!(parents_told(None, workers.iter(), now), []);
    }

    #[test]
    fn a_server_is_drained_by_what_it_is_shown_as_or_by_its_place() {
        let now = Instant::now();
        let parents = parents(now);
        let drain = |server: &str| set_parent_drained(Some(&parents), ("up", server), true);
        let first = "socks5h://192.0.2.1:1080".to_owned();
        assert_eq!(drain(&first), Ok((first.clone(), true)));
        assert_eq!(drain("1"), Ok((first.clone(), false)), "it is drained");
        assert_eq!(
            drain("socks5h://ann:se@cret@192.0.2.1:1080"),
            Ok((first.clone(), false)),
            "as it is configured"
        );
        assert_eq!(drain("2").unwrap().0, "socks5h://192.0.2.2:1080");
        let last = "socks5h://192.0.2.3:1080 is the last server of parent \"up\" that is not drained";
        assert_eq!(drain("3"), Err(ParentOrderError::Conflict(last.into())));
        let restored = set_parent_drained(Some(&parents), ("up", &first), false);
        assert_eq!(restored, Ok((first, true)));
        let wrong =
            |parent: &str, server: &str| match set_parent_drained(Some(&parents), (parent, server), true) {
                Err(ParentOrderError::NotFound(what)) => what,
                other => panic!("{other:?}"),
            };
        assert!(wrong("upp", "1").ends_with("did you mean \"up\"?"));
        let what = wrong("up", "socks5h://ann:secret@192.0.2.1:108");
        assert!(
            what.contains("did you mean \"socks5h://192.0.2.1:1080\"?") && !what.contains("secret"),
            "{what}"
        );
        assert!(
            wrong("up", "0").starts_with("\"0\" is none of")
                && wrong("up", "4").starts_with("\"4\" is none of")
        );
        let none = set_parent_drained(None, ("up", "1"), true);
        assert_eq!(none, Err(ParentOrderError::NotFound("there is no [[parent]] \"up\"".into())));
    }

    /// Two logins at one place are two servers, and neither login is shown.
    #[test]
    fn servers_that_are_shown_alike_are_told_apart_by_their_places() {
        let parents =
            by_hand::parents_of(&[("up", &["192.0.2.1", "192.0.2.1", "192.0.2.2"])], Instant::now());
        let drain = |server: &str| set_parent_drained(Some(&parents), ("up", server), true);
        let Err(ParentOrderError::Conflict(what)) = drain("socks5h://192.0.2.1:1080") else {
            panic!("two of them")
        };
        assert!(what.ends_with("by its place, such as 1 or 2"), "{what}");
        assert_eq!(drain("2"), Ok(("socks5h://192.0.2.1:1080".to_owned(), true)));
        let states: Vec<&str> = parents_told(Some(&parents), std::iter::empty(), Instant::now())[0]
            .servers
            .iter()
            .map(|one| one.state.name())
            .collect();
        assert_eq!(states, ["up", "drained", "up"]);
    }
}
