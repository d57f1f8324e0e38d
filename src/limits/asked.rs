//! Bounds of what a worker tells, and ends, when an operator asks.

use std::time::Duration;

/// Sessions that are copied into one page, a turn's share: a page takes 20 to 30 us, all of its turn included
/// (benches/listing.rs), so that 8,000 sessions are listed in some 4 ms and nobody waits longer for it than for a bulk read.
pub const LIST_PAGE_SESSIONS: usize = 64;
/// Places of the slab that one turn looks at for whoever asks, whether or not a session stands there.
pub const WALK_PLACES_PER_TURN: usize = 256;
/// Sessions that one turn ends for an operator: each resets two sockets, and on loopback the kernel does the other ends' work
/// in the same call, 40 to 90 us in all (benches/listing.rs).
pub const KILLS_PER_TURN: usize = 4;
/// Walks over the sessions of one worker at a time; the next one is refused. They take turns, so that more of them cost the
/// sessions no more.
pub const WALKS_MAX: usize = 8;

/// Requests that operators suppose of one worker and whose names are being resolved; the next one is refused.
pub const EXPLANATIONS_MAX: usize = 8;

/// Addresses of a name whose explanation has a line for each rule; others have their verdict.
pub const EXPLAINED_ADDRESSES: usize = 16;
/// Lines for rules that an explanation has: past it addresses have their verdict alone. With those of the last address, which may
/// go past it by all the rules that there are, some 6 MB of JSON.
pub const EXPLAINED_STEPS: usize = 32_768;
/// Descriptors by which `outflow explain` reckons, which resolves one name and opens nothing else.
pub const EXPLAIN_DESCRIPTORS: usize = 65_536;

/// The window that talkers are counted in: what leaves the last minute leaves it in such steps.
pub const TALKERS_WINDOW: Duration = Duration::from_secs(10);
/// Windows of the last minute.
pub const TALKERS_WINDOWS: u64 = 6;
/// Users, sources or targets that one window counts of a worker, each by sessions and by bytes: 36 such counts, of some 100
/// bytes a place 0.9 MiB. None is off by more than the 256th part of all.
pub const TALKERS_COUNTED: usize = 256;

const _: () = assert!(TALKERS_WINDOW.as_secs() * TALKERS_WINDOWS == 60, "the last minute");
const _: () = assert!(LIST_PAGE_SESSIONS <= WALK_PLACES_PER_TURN && KILLS_PER_TURN <= WALK_PLACES_PER_TURN);
