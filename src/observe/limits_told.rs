//! What of each limit was reached so far, for whoever looks: the limits in effect in their order, and those that were.

use std::collections::HashSet;
use std::sync::Arc;

use super::counters::Counters;
use super::limit_hits::ReachedOf;
use super::numbered::added_up;
use crate::config::unknown_value;
use crate::policy::accounts::{Accounts, HolderNames, Limit, LimitId, LimitKind, LimitTerms, Per};
use crate::policy::sources::Sources;

/// The limits in effect, and the names of all that there ever were.
#[derive(Clone, Debug, Default)]
pub struct LimitsInEffect {
    /// Whose sessions count together, and what they may have.
    pub limits: Vec<(Limit, LimitTerms)>,
    /// What they are called, and those who have accounts.
    pub names: Arc<HolderNames>,
    /// Where sessions are counted; `None` where there is no server.
    pub accounts: Option<Arc<Accounts>>,
    /// Where those of each source are counted from their first moment on, where that is limited.
    pub sources: Option<Arc<Sources>>,
}

/// A limit, and what of it was reached over all workers.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitTold {
    /// Its name.
    pub name: Arc<str>,
    /// Its number.
    pub id: LimitId,
    /// Whose sessions count together, and what they may have; `None` where it is no limit any more.
    pub says: Option<(Per, LimitTerms)>,
    /// How often it was reached.
    pub reached: ReachedOf,
}

impl LimitsInEffect {
    /// The limits in effect in their order, and then those that are gone and were reached.
    pub fn told<'a>(&self, workers: impl Iterator<Item = &'a Counters> + Clone) -> Vec<LimitTold> {
        let reached = |limit| added_up(workers.clone().map(|counters| counters.limits.of(limit)));
        let tell = |id: LimitId, says| {
            let name = Arc::clone(self.names.limit_name(id)?);
            Some(LimitTold { name, id, says, reached: reached(id) })
        };
        let stand: HashSet<LimitId> = self.limits.iter().map(|(limit, _)| limit.id).collect();
        let mut told: Vec<LimitTold> = self
            .limits
            .iter()
            .filter_map(|(limit, terms)| tell(limit.id, Some((limit.per, *terms))))
            .collect();
        let all = (0..=u16::MAX).take(self.names.limits.len()).map(LimitId);
        let gone = all.filter(|id| !stand.contains(id)).filter_map(|id| tell(id, None));
        told.extend(gone.filter(|limit| limit.total() > 0));
        told
    }

    /// The limit in effect of this name.
    ///
    /// # Errors
    /// There is none, and which may be meant.
    pub fn named(&self, name: &str) -> Result<LimitId, String> {
        let known = || self.limits.iter().filter_map(|(limit, _)| self.names.limit_name(limit.id));
        let found = self.names.limit(name).filter(|id| self.limits.iter().any(|(limit, _)| limit.id == *id));
        found.ok_or_else(|| unknown_value(name, known().map(|name| &**name)))
    }
}

impl LimitTold {
    /// How often anything of it was reached.
    pub fn total(&self) -> u64 {
        self.reached.iter().sum()
    }

    /// Each kind that it has a bound for, or had when it was reached, with how often.
    pub fn kinds(&self) -> impl Iterator<Item = (LimitKind, u64)> {
        let all = LimitKind::ALL.into_iter().zip(self.reached);
        let says = self.says;
        all.filter(move |(kind, count)| *count > 0 || says.is_some_and(|(_, terms)| kind.is_in(&terms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_their_order_with_what_is_gone() {
        let few = LimitTerms { connections: Some(3), ..LimitTerms::default() };
        let limit = |id, per| Limit { id: LimitId(id), per };
        let names = ["per_user", "gone", "never", "team"].map(Arc::from).into();
        let in_effect = LimitsInEffect {
            limits: vec![(limit(3, Per::Group), few), (limit(0, Per::User), few)],
            names: Arc::new(HolderNames { limits: names, ..HolderNames::default() }),
            ..LimitsInEffect::default()
        };
        let workers = [Counters::default(), Counters::default()];
        workers[0].limits.add(LimitId(3), LimitKind::Upload, 2);
        workers[1].limits.add(LimitId(3), LimitKind::Upload, 1);
        workers[1].limits.add(LimitId(1), LimitKind::Datagrams, 5);
        let told = in_effect.told(workers.iter());
        let lines: Vec<_> = told.iter().map(|one| (&*one.name, one.kinds().collect::<Vec<_>>())).collect();
        assert_eq!(
            lines,
            [
                ("team", vec![(LimitKind::Connections, 0), (LimitKind::Upload, 3)]),
                ("per_user", vec![(LimitKind::Connections, 0)]),
                ("gone", vec![(LimitKind::Datagrams, 5)]),
            ]
        );
        assert_eq!((told[2].says, told[0].total()), (None, 3));
        assert!(LimitsInEffect::default().told([Counters::default()].iter()).is_empty());
    }
}
