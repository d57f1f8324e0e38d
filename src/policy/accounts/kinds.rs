//! What of a limit is reached, as it is counted.

use super::{LimitId, LimitTerms, LimitedWay, Reached};

/// What a limit may have a bound for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Sessions at a time.
    Connections,
    /// Associations at a time.
    Associations,
    /// Sessions that begin.
    NewSessions,
    /// Bytes from clients.
    Upload,
    /// Bytes to clients.
    Download,
    /// Datagrams.
    Datagrams,
    /// Bytes of a period.
    Quota,
}

impl LimitKind {
    /// Every kind, in the order of its number.
    pub const ALL: [LimitKind; 7] = [
        LimitKind::Connections,
        LimitKind::Associations,
        LimitKind::NewSessions,
        LimitKind::Upload,
        LimitKind::Download,
        LimitKind::Datagrams,
        LimitKind::Quota,
    ];

    /// The word for it: the key that says it.
    pub fn name(self) -> &'static str {
        match self {
            LimitKind::Connections => "connections",
            LimitKind::Associations => "udp_associations",
            LimitKind::NewSessions => "new_per_second",
            LimitKind::Upload => "upload",
            LimitKind::Download => "download",
            LimitKind::Datagrams => "datagrams",
            LimitKind::Quota => "quota",
        }
    }

    /// Whether these say anything of it.
    pub fn is_in(self, terms: &LimitTerms) -> bool {
        match self {
            LimitKind::Connections => terms.connections.is_some(),
            LimitKind::Associations => terms.udp_associations.is_some(),
            LimitKind::NewSessions => terms.new_per_second.is_some(),
            LimitKind::Upload => terms.upload.is_some(),
            LimitKind::Download => terms.download.is_some(),
            LimitKind::Datagrams => terms.datagrams.is_some(),
            LimitKind::Quota => terms.quota.is_some(),
        }
    }
}

impl From<Reached> for LimitKind {
    fn from(reached: Reached) -> LimitKind {
        match reached {
            Reached::Connections => LimitKind::Connections,
            Reached::Associations => LimitKind::Associations,
            Reached::NewSessions => LimitKind::NewSessions,
            Reached::Quota => LimitKind::Quota,
        }
    }
}

impl From<LimitedWay> for LimitKind {
    fn from(way: LimitedWay) -> LimitKind {
        match way {
            LimitedWay::Up => LimitKind::Upload,
            LimitedWay::Down => LimitKind::Download,
        }
    }
}

/// How often what of which limit was reached since it was last asked. What reaches none takes no memory.
#[derive(Debug, Default)]
pub(super) struct ReachedCounts(Vec<(LimitId, LimitKind, u64)>);

impl ReachedCounts {
    /// It was reached once more.
    pub(super) fn note(&mut self, limit: LimitId, kind: LimitKind) {
        match self.0.iter_mut().find(|(id, of, _)| (*id, *of) == (limit, kind)) {
            Some((.., count)) => *count += 1,
            None => self.0.push((limit, kind, 1)),
        }
    }

    /// What there is, which is thereby taken.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (LimitId, LimitKind, u64)> {
        self.0.drain(..)
    }
}
