//! What a worker remembers of its choices among servers: whose turn it is, and how many of its sessions each has.

use crate::policy::numbers::SpreadNumbers;

/// A worker's own: nobody else writes or reads it. It has as many entries as servers have had numbers.
#[derive(Clone, Debug)]
pub struct ParentTurns {
    numbers: SpreadNumbers,
    by_number: Vec<ServerTurn>,
}

/// Of one server.
#[derive(Clone, Copy, Debug, Default)]
struct ServerTurn {
    /// What it has gained in turns that others had.
    credit: i64,
    /// Sessions that it has.
    used: u32,
}

impl ParentTurns {
    /// Those of a worker that has chosen nothing yet; the seed is to be another for each worker.
    pub fn new(seed: u64) -> ParentTurns {
        ParentTurns { numbers: SpreadNumbers::new(seed), by_number: Vec::new() }
    }

    /// Takes note that a session uses the server of this number.
    pub fn hold(&mut self, number: u16) {
        let turn = self.of(number);
        turn.used = turn.used.saturating_add(1);
    }

    /// Takes note that one does no longer.
    pub fn release(&mut self, number: u16) {
        let turn = self.of(number);
        turn.used = turn.used.saturating_sub(1);
    }

    /// How many sessions use the server of this number.
    pub fn used(&self, number: u16) -> u32 {
        self.by_number.get(usize::from(number)).map_or(0, |turn| turn.used)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.numbers.below(end)
    }

    /// Whose turn it is of these, each a number and a weight: it gains as much as its weight in each turn, and pays all of theirs
    /// for one of its own. So turns of one server stand apart from each other as far as they can.
    pub(super) fn turn(&mut self, servers: impl Iterator<Item = (u16, u32)> + Clone) -> Option<u16> {
        let mut all = 0;
        let mut best: Option<(i64, u16)> = None;
        for (number, weight) in servers {
            let turn = self.of(number);
            turn.credit += i64::from(weight);
            all += i64::from(weight);
            if best.is_none_or(|(credit, _)| turn.credit > credit) {
                best = Some((turn.credit, number));
            }
        }
        let (_, number) = best?;
        self.of(number).credit -= all;
        Some(number)
    }

    fn of(&mut self, number: u16) -> &mut ServerTurn {
        let place = usize::from(number);
        if self.by_number.len() <= place {
            self.by_number.resize(place + 1, ServerTurn::default());
        }
        &mut self.by_number[place]
    }
}
