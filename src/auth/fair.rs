//! The order of verification: sources take turns, so that one that sends a thousand logins waits for
//! itself. Identical logins of one source share a verification.

use std::collections::{HashMap, VecDeque};

use subtle::ConstantTimeEq;

use crate::proto::userpass::Credentials;
use crate::shares::Source;

/// Logins with the same credentials that wait together; `W` is what each of them is answered through.
pub(super) struct Group<W> {
    pub(super) first: (Credentials, W),
    pub(super) others: Vec<(Credentials, W)>,
    /// How many groups of its user waited when it came.
    rank: usize,
}

/// The logins that wait, by source.
///
/// The next one belongs to the source with the fewest verifications under way, and among these to the
/// one that has not had its turn for longest. So a source runs more than one at a time only while no
/// other source waits for its first.
pub(super) struct FairQueue<W> {
    sources: HashMap<Source, Waiting<W>>,
    /// The sources with waiting logins, each once, the next in turn first.
    turns: VecDeque<Source>,
}

struct Waiting<W> {
    groups: VecDeque<Group<W>>,
    running: usize,
}

impl<W> FairQueue<W> {
    pub(super) fn new() -> FairQueue<W> {
        FairQueue { sources: HashMap::new(), turns: VecDeque::new() }
    }

    /// Adds a login of `source`, behind its others. Gives access to its waiter if it shares a
    /// verification that was due already.
    pub(super) fn push(&mut self, source: Source, credentials: Credentials, waiter: W) -> Option<&mut W> {
        let waiting =
            self.sources.entry(source).or_insert_with(|| Waiting { groups: VecDeque::new(), running: 0 });
        let twin = waiting.groups.iter().position(|group| same(&group.first.0, &credentials));
        if let Some(twin) = twin {
            let group = &mut waiting.groups[twin];
            group.others.push((credentials, waiter));
            return group.others.last_mut().map(|(_, waiter)| waiter);
        }
        if waiting.groups.is_empty() {
            self.turns.push_back(source);
        }
        // Users take turns within a source: behind one address there may be one who guesses and many who know.
        let of = |groups: &VecDeque<Group<W>>, user: &[u8]| {
            groups.iter().filter(|group| group.first.0.user == user).count()
        };
        let rank = of(&waiting.groups, &credentials.user);
        let at = waiting.groups.iter().position(|group| group.rank > rank).unwrap_or(waiting.groups.len());
        waiting.groups.insert(at, Group { first: (credentials, waiter), others: Vec::new(), rank });
        None
    }

    /// Takes the logins to verify next; [`FairQueue::finished`] must be told when they are.
    pub(super) fn pop(&mut self) -> Option<(Source, Group<W>)> {
        let mut next = None;
        for (turn, source) in self.turns.iter().enumerate() {
            let running = self.sources[source].running;
            if next.is_none_or(|(fewest, _)| running < fewest) {
                next = Some((running, turn));
            }
            if running == 0 {
                break;
            }
        }
        let source = self.turns.remove(next?.1)?;
        let waiting = self.sources.get_mut(&source)?;
        let group = waiting.groups.pop_front()?;
        waiting.running += 1;
        if !waiting.groups.is_empty() {
            self.turns.push_back(source);
        }
        Some((source, group))
    }

    /// A verification for `source` has ended.
    pub(super) fn finished(&mut self, source: Source) {
        if let Some(waiting) = self.sources.get_mut(&source) {
            waiting.running = waiting.running.saturating_sub(1);
            if waiting.running == 0 && waiting.groups.is_empty() {
                self.sources.remove(&source);
            }
        }
    }
}

/// Whether two logins are the same; the time does not tell where they differ.
fn same(a: &Credentials, b: &Credentials) -> bool {
    bool::from(a.user.ct_eq(&b.user) & a.password.ct_eq(&b.password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn login(n: u32) -> Credentials {
        Credentials { user: b"user".to_vec(), password: Zeroizing::new(n.to_le_bytes().to_vec()) }
    }

    fn source(n: u8) -> Source {
        Source::V4([192, 0, 2, n])
    }

    fn pop(queue: &mut FairQueue<u32>) -> Option<(Source, u32)> {
        queue.pop().map(|(source, group)| (source, group.first.1))
    }

    #[test]
    fn sources_take_turns() {
        let mut queue = FairQueue::new();
        for n in 0..1_000 {
            queue.push(source(1), login(n), n);
        }
        for n in 1_000..1_002 {
            queue.push(source(2), login(n), n);
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            let (source, n) = pop(&mut queue).unwrap();
            queue.finished(source);
            order.push(n);
        }
        assert_eq!(order, [0, 1_000, 1, 1_001, 2, 3]);
    }

    #[test]
    fn a_guesser_does_not_keep_others_behind_his_address_waiting() {
        let mut queue = FairQueue::new();
        for n in 0..200 {
            queue.push(source(1), login(n), n);
        }
        let other = Credentials { user: b"other".to_vec(), password: Zeroizing::new(b"right".to_vec()) };
        queue.push(source(1), other, 1_000);
        assert_eq!(pop(&mut queue), Some((source(1), 0)));
        assert_eq!(pop(&mut queue), Some((source(1), 1_000)));
        assert_eq!(pop(&mut queue), Some((source(1), 1)));
    }

    #[test]
    fn a_source_runs_a_second_one_only_when_no_other_waits_for_its_first() {
        let mut queue = FairQueue::new();
        for n in 0..10 {
            queue.push(source(1), login(n), n);
        }
        assert_eq!(pop(&mut queue), Some((source(1), 0)));
        assert_eq!(pop(&mut queue), Some((source(1), 1)));
        for n in 10..13 {
            queue.push(source(2), login(n), n);
        }
        assert_eq!(pop(&mut queue), Some((source(2), 10)));
        assert_eq!(pop(&mut queue), Some((source(2), 11)));
        queue.push(source(3), login(20), 20);
        assert_eq!(pop(&mut queue), Some((source(3), 20)));
    }

    #[test]
    fn identical_logins_share_a_verification_until_it_begins() {
        let mut queue = FairQueue::new();
        assert_eq!(queue.push(source(1), login(1), 1), None);
        assert_eq!(queue.push(source(1), login(2), 2), None);
        assert_eq!(queue.push(source(1), login(1), 3), Some(&mut 3));
        assert_eq!(queue.push(source(2), login(1), 4), None);
        let (_, group) = queue.pop().unwrap();
        assert_eq!(group.others.iter().map(|other| other.1).collect::<Vec<_>>(), [3]);
        assert_eq!(queue.push(source(1), login(1), 5), None);
    }

    #[test]
    fn a_source_that_is_done_leaves_nothing() {
        let mut queue = FairQueue::new();
        for n in 0..100 {
            queue.push(source(n as u8), login(n), n);
        }
        while let Some((source, _)) = queue.pop() {
            queue.finished(source);
        }
        assert!(queue.sources.is_empty() && queue.turns.is_empty());
    }
}
