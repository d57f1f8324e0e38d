//! What a worker goes by where nothing of a session says which address it leaves from.

use crate::policy::way::EgressId;

/// The chance and the turns of one worker. Others have their own: nothing here is shared, and over all of them each address has
/// the same share.
#[derive(Clone, Debug)]
pub struct PoolTurns {
    state: u64,
    /// Whose turn it is, by the pools' numbers.
    turns: Vec<Option<u32>>,
}

impl PoolTurns {
    /// Turns that begin where this number says: no two workers have the same.
    pub fn new(seed: u64) -> PoolTurns {
        PoolTurns { state: seed, turns: Vec::new() }
    }

    /// Any number (SplitMix64): to spread sessions, and not to be hard to guess.
    pub fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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
