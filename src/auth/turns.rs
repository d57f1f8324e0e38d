//! Taking turns: whoever has the fewest under way is next, and among these whoever has waited longest.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Who waits for a turn, each once, and how much each has under way. So nobody has two under way while another waits
/// for his first.
#[derive(Debug)]
pub(super) struct Turns<K> {
    order: VecDeque<K>,
    running: HashMap<K, usize>,
}

impl<K> Default for Turns<K> {
    fn default() -> Turns<K> {
        Turns { order: VecDeque::new(), running: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Has `key`, which does not wait yet, wait for a turn.
    pub(super) fn push(&mut self, key: K) {
        self.order.push_back(key);
    }

    /// Takes the next one out of those that wait.
    pub(super) fn pop(&mut self) -> Option<K> {
        let mut next = None;
        for (turn, key) in self.order.iter().enumerate() {
            let running = self.running.get(key).copied().unwrap_or_default();
            if next.is_none_or(|(fewest, _)| running < fewest) {
                next = Some((running, turn));
            }
            if running == 0 {
                break;
            }
        }
        self.order.remove(next?.1)
    }

    /// Counts one more of `key`'s as under way.
    pub(super) fn started(&mut self, key: K) {
        *self.running.entry(key).or_default() += 1;
    }

    /// Counts one less of `key`'s as under way.
    pub(super) fn finished(&mut self, key: K) {
        if let Some(running) = self.running.get_mut(&key) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                self.running.remove(&key);
            }
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether nobody waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.order.is_empty() && self.running.is_empty()
    }
}
