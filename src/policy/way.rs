//! By which pool of addresses and through which parent something leaves, as rules say it: names made numbers.

/// A pool of `[[egress]]`: the same name has the same number for as long as the process lives, whatever is reloaded, and no
/// other name has it. 0 is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressId(pub u16);

/// A parent of `[[parent]]`, numbered as pools are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParentId(pub u16);

/// By which way something leaves. What leaves by one way does not obey another: neither a peer nor a datagram of another
/// pool's is a session's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Way {
    /// The pool that it leaves from; `None`: from whatever address the kernel takes.
    pub egress: Option<EgressId>,
    /// The parent that it goes through; `None`: straight to the target.
    pub parent: Option<ParentId>,
}

impl Way {
    /// This way, and what it leaves open as another says it.
    #[must_use]
    pub fn or(self, other: Way) -> Way {
        Way { egress: self.egress.or(other.egress), parent: self.parent.or(other.parent) }
    }

    /// Whether what leaves by this way leaves as `wanted` says: what that leaves open may be anything.
    pub fn obeys(self, wanted: Way) -> bool {
        wanted.or(self) == self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_way_leaves_open_another_says() {
        let pool = |number| Way { egress: Some(EgressId(number)), parent: None };
        let both = Way { egress: Some(EgressId(2)), parent: Some(ParentId(1)) };
        assert_eq!(pool(1).or(both), Way { egress: Some(EgressId(1)), parent: Some(ParentId(1)) });
        assert_eq!(Way::default().or(both), both);
        assert_eq!(both.or(Way::default()), both);
        assert!(both.obeys(Way::default()) && both.obeys(pool(2)) && both.obeys(both));
        assert!(!both.obeys(pool(1)) && !pool(2).obeys(both) && !Way::default().obeys(pool(2)));
    }
}
