//! What came of each parent: one writer for each worker, like all its counters.

use super::numbered::NumberedCounts;
use crate::policy::ParentId;
use crate::proto::client::TalkError;
use crate::proto::reply::Rep;
use crate::session::DialError;

/// What kept a server of a parent from leading a session on, by its own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentFault {
    /// Its name has no address that was told in time.
    Name,
    /// It refused the connection.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// There is no way to it.
    Unreachable,
    /// It closed the connection before it had answered.
    Closed,
    /// What it said is none of its protocol.
    Protocol,
    /// It does not take our login, or has no method for it.
    Login,
    /// It says of itself that it is at fault.
    Itself,
    /// It is a listener of ours.
    Loop,
    /// Our own machine had no socket for it.
    Local,
}

impl ParentFault {
    /// Every fault, in the order of its number.
    pub const ALL: [ParentFault; 10] = [
        ParentFault::Name,
        ParentFault::Refused,
        ParentFault::TimedOut,
        ParentFault::Unreachable,
        ParentFault::Closed,
        ParentFault::Protocol,
        ParentFault::Login,
        ParentFault::Itself,
        ParentFault::Loop,
        ParentFault::Local,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            ParentFault::Name => "name",
            ParentFault::Refused => "refused",
            ParentFault::TimedOut => "timed_out",
            ParentFault::Unreachable => "unreachable",
            ParentFault::Closed => "closed",
            ParentFault::Protocol => "protocol",
            ParentFault::Login => "login",
            ParentFault::Itself => "itself",
            ParentFault::Loop => "loop",
            ParentFault::Local => "local",
        }
    }

    /// The fault of a chain in which one proxy said this of the next.
    pub fn of_next(error: &TalkError) -> ParentFault {
        match error.rep() {
            Rep::ConnectionRefused => ParentFault::Refused,
            Rep::TtlExpired => ParentFault::TimedOut,
            Rep::NetworkUnreachable | Rep::HostUnreachable => ParentFault::Unreachable,
            _ => ParentFault::of(error),
        }
    }

    /// The fault in what a server said.
    pub fn of(error: &TalkError) -> ParentFault {
        match error {
            TalkError::Closed(_) => ParentFault::Closed,
            TalkError::NoMethod | TalkError::Method(_) | TalkError::Login => ParentFault::Login,
            TalkError::Version(_) | TalkError::AddressType(_) | TalkError::Head(_) => ParentFault::Protocol,
            TalkError::Unspeakable(_)
            | TalkError::Refused(_)
            | TalkError::UnknownReply(_)
            | TalkError::Rejected(_)
            | TalkError::Status(..) => ParentFault::Itself,
        }
    }

    /// The fault in a connection that did not come about.
    pub fn of_dial(error: DialError) -> ParentFault {
        match error {
            DialError::Refused | DialError::SelfConnect => ParentFault::Refused,
            DialError::TimedOut | DialError::NobodyCame => ParentFault::TimedOut,
            DialError::HostUnreachable | DialError::NetworkUnreachable | DialError::Forbidden => {
                ParentFault::Unreachable
            }
            DialError::Ourselves => ParentFault::Loop,
            DialError::OtherFamily { .. }
            | DialError::NoLocalPort
            | DialError::Local(_)
            | DialError::Replied(_)
            | DialError::ParentAway => ParentFault::Local,
        }
    }

    /// Whether it is held against the server: what our own machine lacks is not.
    pub fn is_the_servers(self) -> bool {
        self != ParentFault::Local
    }
}

/// Kinds of what is counted: sessions that it led on, those for which an idle connection was there, those that went past it, and its
/// faults.
const KINDS: usize = 3 + ParentFault::ALL.len();

/// A worker's counts. Only that worker writes them.
#[derive(Debug, Default)]
pub struct ParentHits(NumberedCounts<KINDS>);

/// What was counted of one parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParentCounts {
    /// Sessions that it led to their targets.
    pub sessions: u64,
    /// Those of them for which an idle connection was there.
    pub warm: u64,
    /// Sessions that went to their targets without it, as its `fallback` has it.
    pub direct: u64,
    /// Its faults, in the order of [`ParentFault::ALL`].
    pub faults: [u64; ParentFault::ALL.len()],
}

impl ParentCounts {
    /// These and those of another worker.
    #[must_use]
    pub fn and(mut self, other: ParentCounts) -> ParentCounts {
        self.sessions += other.sessions;
        self.warm += other.warm;
        self.direct += other.direct;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, one)| *sum += one);
        self
    }
}

impl ParentHits {
    /// One more session that was led on.
    pub fn session(&self, ParentId(number): ParentId) {
        self.0.add(number, 0, 1);
    }

    /// One more that an idle connection served.
    pub fn warm(&self, ParentId(number): ParentId) {
        self.0.add(number, 1, 1);
    }

    /// One more that went past it.
    pub fn passed(&self, ParentId(number): ParentId) {
        self.0.add(number, 2, 1);
    }

    /// One more fault.
    pub fn failure(&self, ParentId(number): ParentId, fault: ParentFault) {
        self.0.add(number, 3 + fault as usize, 1);
    }

    /// What was counted of a parent.
    pub fn of(&self, ParentId(number): ParentId) -> ParentCounts {
        let [sessions, warm, direct, faults @ ..] = self.0.of(number);
        ParentCounts { sessions, warm, direct, faults }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parent_has_its_counts() {
        let hits = ParentHits::default();
        hits.session(ParentId(1));
        hits.session(ParentId(1));
        hits.warm(ParentId(1));
        hits.passed(ParentId(1));
        hits.failure(ParentId(2), ParentFault::Local);
        let one = hits.of(ParentId(1));
        assert_eq!((one.sessions, one.warm, one.direct, one.faults), (2, 1, 1, [0; 10]));
        let two = hits.of(ParentId(2));
        assert_eq!((two.sessions, two.faults[ParentFault::Local as usize]), (0, 1));
        assert_eq!(hits.of(ParentId(0)), ParentCounts::default());
        let numbers = ParentFault::ALL.map(|fault| fault as usize);
        assert!(numbers.iter().enumerate().all(|(place, number)| place == *number));
    }
}
