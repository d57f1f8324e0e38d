//! What a worker goes by where nothing of a session says which address it leaves from.

use crate::policy::numbers::SpreadNumbers;
use crate::policy::way::EgressId;

/// The chance and the turns of one worker. Others have their own: nothing here is shared, and over all of them each address has
/// the same share.
#[derive(Clone, Debug)]
pub struct PoolTurns {
    numbers: SpreadNumbers,
    /// Whose turn it is, by the pools' numbers.
    turns: Vec<Option<u32>>,
}

impl PoolTurns {
    /// Turns that begin where this number says: no two workers have the same.
    pub fn new(seed: u64) -> PoolTurns {
        PoolTurns { numbers: SpreadNumbers::new(seed), turns: Vec::new() }
    }

    /// Any number.
    pub fn random(&mut self) -> u64 {
        self.numbers.next()
    }

    /// Whose turn it is in a pool, counted on and on from any number. Grows when a pool is met for the first time.
    pub(super) fn turn(&mut self, EgressId(number): EgressId) -> u32 {
        let place = usize::from(number);
        if self.turns.len() <= place {
            self.turns.resize(place + 1, None);
        }
        let turn = match self.turns[place] {
            Some(turn) => turn,
            None => self.random() as u32,
        };
        self.turns[place] = Some(turn.wrapping_add(1));
        turn
    }
}
