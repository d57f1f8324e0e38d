//! Sessions that have limits: which they count in, and what these let them move.
//!
//! A session has places from its request on, where any limit concerns it; a session that has none is not looked at again.

use super::connection::Connection;
use super::core::Core;
use super::next::Next;
use crate::limits;
use crate::outcome::Reason;
use crate::policy::accounts::{
    Allowance, LimitId, LimitKind, LimitPlaces, LimitPlan, LimitedWay, SessionKind,
};
use crate::policy::{Decision, Subject};
use crate::proto::request::RequestCommand;
use crate::relay::datagram::{Drop, Pumped};
use crate::relay::{Budget, Budgets, Relay, Side};
use crate::session::{Command, Facts, Failure, Peers};

/// Lets a session into the limits that what it asks for comes under: into those of all with its request, into those of
/// rules once it is known which allow it. Why it is not to go on, if it is not.
pub(super) fn enter(
    core: &Core,
    connection: &mut Connection,
    facts: &Facts,
    command: &Command,
) -> Option<Failure> {
    let plan = core.snapshot.limits.as_ref()?;
    let asked = facts.command?;
    let (listed, own) = match command {
        Command::Dial(addresses) | Command::Bind(Peers::Only(addresses)) => (&addresses[..], None),
        Command::Tell(one) | Command::ResolvePtr(one) => (std::slice::from_ref(one), None),
        Command::Bind(Peers::Any(..)) | Command::Associate(..) | Command::Through(_) => {
            (&[][..], facts.decision)
        }
        _ => (&[][..], None),
    };
    let decisions = listed.iter().map(|one| one.allowed.decision).chain(own);
    let subject = facts.subject(connection.incoming(), asked);
    enter_those_of(core, plan, connection, &subject, decisions)
}

/// Lets a session into the limits of the rule that allows the peer who came for it.
pub(super) fn enter_for_peer(
    core: &Core,
    connection: &mut Connection,
    subject: &Subject<'_>,
    decision: &Decision,
) -> Option<Failure> {
    let plan = core.snapshot.limits.as_ref()?;
    enter_those_of(core, plan, connection, subject, [*decision])
}

/// Lets a session into the limits of all, and into those of the rules that decided so.
fn enter_those_of(
    core: &Core,
    plan: &LimitPlan,
    connection: &mut Connection,
    subject: &Subject<'_>,
    decisions: impl IntoIterator<Item = Decision>,
) -> Option<Failure> {
    let kind = match subject.command {
        RequestCommand::UdpAssociate => SessionKind::Association,
        _ => SessionKind::Tunnel,
    };
    let rules = decisions.into_iter().filter_map(|one| one.by.rule());
    let mut places = connection.places.take().unwrap_or_default();
    if let Err(exceeded) = plan.enter(places.get_mut(), subject, rules, kind, core.now) {
        // It is over, and is counted in nothing while its reply is on its way.
        places.get_mut().withdraw(0);
        core.counters.limits.add(exceeded.limit, exceeded.reached.into(), 1);
        return Some(Failure::Limit(exceeded));
    }
    // What an association sends may come under the limits of any rule.
    let may_come = kind == SessionKind::Association && !plan.by_rule.is_empty();
    if may_come || !places.get_mut().is_empty() {
        connection.places = Some(places);
    }
    None
}

/// What a relay may move in this turn. Nothing is drawn for a direction in which nothing could be moved.
///
/// # Errors
/// The limit whose quota is used up and ends it.
pub(super) fn budgets(places: &mut LimitPlaces, relay: &Relay, core: &Core) -> Result<Budgets, LimitId> {
    let mut budget = |side, way| match relay.ready_from(side) {
        true => budget_of(places, way, core),
        false => Ok(Budget::of(0)),
    };
    let (up, down) = (budget(Side::Client, LimitedWay::Up), budget(Side::Target, LimitedWay::Down));
    count_reached(places, core);
    Ok(Budgets { up: up?, down: down? })
}

/// Counts what of which limit was reached since this was last done.
fn count_reached(places: &mut LimitPlaces, core: &Core) {
    places.take_reached().for_each(|(limit, kind, count)| core.counters.limits.add(limit, kind, count));
}

fn budget_of(places: &mut LimitPlaces, way: LimitedWay, core: &Core) -> Result<Budget, LimitId> {
    Ok(match places.allowance(way, core.now) {
        Allowance::Unlimited => Budget::TURN,
        Allowance::Of(bytes) => Budget::of(usize::try_from(bytes).unwrap_or(usize::MAX)),
        Allowance::From(moment_ns) => {
            // A reload may bring it sooner, and wakes nobody.
            let soon = core.now + limits::LIMIT_LOOKED_AT;
            let at = places.instant(moment_ns).unwrap_or(core.now).min(soon);
            Budget::until(core.ms(at), 0)
        }
        // It may have begun anew in this very moment: then nothing is ended, and nothing moved.
        Allowance::Ended => match places.ended() {
            Some(limit) => return Err(limit),
            None => Budget::of(0),
        },
    })
}

/// Ends a session whose quota is used up, and has its record say which limit that is.
pub(super) fn end_spent(core: &Core, connection: &mut Connection, limit: LimitId) -> Next {
    core.counters.limits.add(limit, LimitKind::Quota, 1);
    connection.facts.limit = Some(limit);
    Next::Close(Reason::Quota)
}

/// What an association moved, with the datagrams that its limits stopped among those that were dropped; and the limit whose
/// quota ends it, if that is used up by now.
pub(super) fn with_stopped(
    core: &Core,
    connection: &mut Connection,
    mut pumped: Pumped,
) -> (Pumped, Option<LimitId>) {
    let mut spent = None;
    if let Some(places) = &mut connection.places {
        pumped.drops.add(Drop::Limit, places.get_mut().take_stopped());
        spent = places.get_mut().count(pumped.up.bytes, pumped.down.bytes);
        count_reached(places.get_mut(), core);
    }
    (pumped, spent)
}
