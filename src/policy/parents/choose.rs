//! Which server of a parent a session is led through, and which next where that fails.

use std::net::IpAddr;
use std::time::Instant;

use super::hash::{StickyPart, key, score};
use super::health::ServerHealth;
use super::parent::Parent;
use super::spec::{Fallback, ParentSelect, ParentServer};
use super::triers::Trier;
use super::turns::ParentTurns;
use crate::limits;
use crate::proto::address::Target;

/// For whom a server is chosen.
#[derive(Clone, Copy, Debug)]
pub struct ParentAsked<'a> {
    /// The session that its user name named, where it did.
    pub session: Option<&'a [u8]>,
    /// Who logged in.
    pub user: Option<&'a [u8]>,
    /// Where the client comes from.
    pub source: IpAddr,
    /// What is asked for, as the parent would be told it; `None` where that is not known yet.
    pub target: Option<&'a Target>,
}

/// How far a session has come with the servers of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trying {
    /// A bit for each server that it has had.
    tried: u64,
    /// Servers that cannot be asked for what it wants.
    unfit: u64,
    /// By which a sticky choice goes.
    key: u64,
    /// Who tries whether a server is back.
    trier: Trier,
}

impl Trying {
    /// How many servers it has had.
    pub fn tries(&self) -> u32 {
        self.tried.count_ones()
    }
}

impl Parent {
    /// Begins to choose.
    pub fn choose(&self, asked: &ParentAsked<'_>) -> Trying {
        let unfit = |server: &ParentServer| asked.target.is_some_and(|target| !server.reaches(target));
        let bits = self.spec().servers.iter().enumerate().filter(|(_, server)| unfit(server));
        let unfit = bits.fold(0, |bits, (place, _)| bits | 1 << place);
        Trying { tried: 0, unfit, key: sticky_key(asked), trier: Trier::of(asked.user, asked.source) }
    }

    /// The place of the next server to try; `None` where no other is to be tried: the session fails, or goes without a parent where
    /// the parent's `fallback` says so.
    ///
    /// Those that are well come first, backups where there is no other. Where all are away the least bad serves, unless sessions
    /// may go without. One that an operator has drained serves where all are.
    pub fn next(&self, trying: &mut Trying, turns: &mut ParentTurns, now: Instant) -> Option<usize> {
        if trying.tries() >= limits::PARENT_TRIES_MAX {
            return None;
        }
        let open = self.all() & !trying.tried & !trying.unfit;
        let drained = self.drained();
        let place = self
            .well((open & !drained, false), trying, turns, now)
            .or_else(|| self.well((open & !drained, true), trying, turns, now))
            .or_else(|| self.least_bad(open, drained).filter(|_| trying.tried == 0))?;
        trying.tried |= 1 << place;
        Some(place)
    }

    /// A bit for each server.
    fn all(&self) -> u64 {
        let count = self.spec().servers.len().min(limits::PARENT_SERVERS_MAX);
        if count == 64 { u64::MAX } else { (1 << count) - 1 }
    }

    /// One of those that may be tried, of the backups or of the others.
    fn well(
        &self,
        (open, backups): (u64, bool),
        trying: &Trying,
        turns: &mut ParentTurns,
        now: Instant,
    ) -> Option<usize> {
        let mut open = places(open)
            .filter(|place| (self.spec().servers[*place].weight == 0) == backups)
            .fold(0, |open, place| open | 1_u64 << place);
        // Whoever is away is tried by one session, and only by one that was to go there: the others take no turn for it.
        while open != 0 {
            let place = self.select(open, trying.key, turns)?;
            let patience = self.spec().fail_timeout;
            if self.health(place).is_some_and(|health| health.may_try(trying.trier, patience, now)) {
                return Some(place);
            }
            open &= !(1 << place);
        }
        None
    }

    /// One of these by the parent's way to choose.
    fn select(&self, open: u64, key: u64, turns: &mut ParentTurns) -> Option<usize> {
        let servers = &self.spec().servers;
        // Backups have no weight: among themselves they are alike.
        let weight = |place: usize| servers[place].weight.max(1);
        match self.spec().select {
            ParentSelect::Sticky => {
                places(open).max_by_key(|place| score(self.identity(*place), weight(*place), key))
            }
            ParentSelect::Random => {
                let all = places(open).map(|place| u64::from(weight(place))).sum();
                let mut drawn = turns.below(all);
                places(open).find(|place| match drawn.checked_sub(u64::from(weight(*place))) {
                    Some(rest) => {
                        drawn = rest;
                        false
                    }
                    None => true,
                })
            }
            ParentSelect::RoundRobin => {
                let number = turns.turn(places(open).map(|place| (servers[place].number, weight(place))))?;
                places(open).find(|place| servers[*place].number == number)
            }
            ParentSelect::LeastUsed => {
                // Of two fractions the smaller one, without dividing; among equals whose turn it is.
                let load =
                    |place: usize| (u64::from(turns.used(servers[place].number)), u64::from(weight(place)));
                let least = places(open)
                    .map(load)
                    .reduce(|least, one| if one.0 * least.1 < least.0 * one.1 { one } else { least })?;
                let equal = places(open)
                    .filter(|place| {
                        let one = load(*place);
                        one.0 * least.1 == least.0 * one.1
                    })
                    .fold(0, |equal, place| equal | 1_u64 << place);
                let number = turns.turn(places(equal).map(|place| (servers[place].number, weight(place))))?;
                places(equal).find(|place| servers[*place].number == number)
            }
        }
    }

    /// The server that is back soonest, where all are away and sessions do not go without.
    fn least_bad(&self, open: u64, drained: u64) -> Option<usize> {
        let serves = self.spec().fallback == Fallback::Fail;
        let until = |place: &usize| (drained >> place & 1, self.health(*place).map(ServerHealth::away_until));
        places(open).filter(|_| serves).min_by_key(until)
    }
}

/// The places of these bits.
fn places(bits: u64) -> impl Iterator<Item = usize> + Clone {
    (0..limits::PARENT_SERVERS_MAX).filter(move |place| bits >> place & 1 == 1)
}

/// By which a sticky choice goes: the session that the user name named, with that name, else the user, else the source.
pub(super) fn sticky_key(asked: &ParentAsked<'_>) -> u64 {
    let user = asked.user.map(StickyPart::User);
    match (asked.session, user) {
        (Some(session), user) => key([StickyPart::Session(session)].into_iter().chain(user)),
        (None, Some(user)) => key([user]),
        (None, None) => key([StickyPart::Source(asked.source.to_canonical())]),
    }
}
