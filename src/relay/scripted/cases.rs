//! What would go wrong, one by one.

use super::{Driver, End, MORE_AT_MS, ReadTurn, World, WriteTurn};
use crate::config::RelayMode;
use crate::limits;
use crate::relay::half::{Ending, Stage};
use crate::relay::{Budget, Engine, Resume};
use crate::sys::Errno;

fn reading(turns: &[ReadTurn]) -> World {
    World { reads: turns.iter().copied().collect(), ..World::default() }
}

fn writing(turns: &[WriteTurn]) -> World {
    World { writes: turns.iter().copied().collect(), ..World::default() }
}

impl Driver {
    /// Bytes arrive, and all that follows from it.
    fn receive(&mut self, count: usize) {
        self.world.arrive(count);
        self.settle();
    }

    fn receive_end(&mut self, end: End) {
        self.world.planned_end = Some(end);
        self.world.end_source();
        self.settle();
    }
}

#[test]
fn eagain_from_a_splice_into_an_empty_pipe_is_not_taken_for_a_full_sink() {
    let mut driver = Driver::new(RelayMode::Splice, 0, World::default());
    driver.world.source_edge = true;
    driver.settle();
    assert_eq!(driver.half.stage(), Stage::Open);
    driver.receive(100);
    assert_eq!(driver.half.bytes(), 100);
    driver.release();
}

#[test]
fn a_short_splice_is_not_taken_for_a_full_sink() {
    let mut driver = Driver::new(RelayMode::Splice, 0, writing(&[WriteTurn::Stop(10), WriteTurn::Stop(1)]));
    driver.receive(100);
    assert_eq!(driver.half.bytes(), 100);
    driver.release();
}

#[test]
fn a_fin_that_races_with_a_short_read_is_not_lost() {
    let world = World { planned_end: Some(End::Fin), ..reading(&[ReadTurn::End]) };
    let mut driver = Driver::new(RelayMode::Auto, 0, world);
    driver.receive(100);
    assert_eq!(driver.half.stage(), Stage::Done(Ending::Fin));
    driver.release();
}

#[test]
fn a_reset_in_one_event_with_the_last_bytes_is_not_hidden_by_a_short_read() {
    for (end, ending) in [(End::Reset, Ending::Reset), (End::FinThenReset, Ending::Fin)] {
        let mut driver = Driver::new(RelayMode::Auto, 0, World::default());
        driver.world.arrive(100);
        driver.receive_end(end);
        assert_eq!((driver.half.bytes(), driver.half.stage()), (100, Stage::Done(ending)));
        driver.release();
    }
}

#[test]
fn a_reset_after_a_clean_fin_keeps_what_was_due() {
    let mut driver = Driver::new(RelayMode::Auto, 0, writing(&[WriteTurn::Fill(10)]));
    driver.world.arrive(100);
    driver.receive_end(End::Fin);
    assert_eq!(driver.half.stage(), Stage::Draining(Ending::Fin));
    driver.half.source_was_reset();
    driver.world.make_room();
    driver.settle();
    assert_eq!((driver.half.bytes(), driver.half.stage()), (100, Stage::Done(Ending::Fin)));
    assert_eq!(driver.release().fins, 1);
}

#[test]
fn an_end_behind_a_reset_that_a_write_met_is_no_fin() {
    let mut driver = Driver::new(RelayMode::Auto, 0, World::default());
    driver.world.arrive(100);
    driver.turn();
    driver.half.source_was_reset();
    // The write took the error away: the next read gives an end in order.
    driver.world.end = Some(End::Fin);
    let moved = driver.half.pump(&mut driver.world, &mut driver.kit, &mut { Budget::TURN });
    assert_eq!(moved.resume, Resume::OnEvent);
    assert_eq!((driver.half.bytes(), driver.half.stage()), (100, Stage::Done(Ending::Reset)));
    assert_eq!(driver.release().fins, 0);
}

#[test]
fn a_read_that_stops_at_urgent_data_is_not_taken_for_the_last() {
    let world = World { urgent: true, ..reading(&[ReadTurn::Short(10), ReadTurn::Short(1)]) };
    let mut driver = Driver::new(RelayMode::Copy, 0, world);
    driver.half.source_unsettled();
    driver.receive(100);
    assert_eq!(driver.half.bytes(), 100);
    driver.release();
}

#[test]
fn an_urgent_byte_before_a_fin_is_not_taken_for_the_end() {
    let mut driver = Driver::new(RelayMode::Splice, 0, reading(&[ReadTurn::Short(10), ReadTurn::Mark]));
    driver.world.arrive(100);
    driver.receive_end(End::Fin);
    assert_eq!((driver.half.bytes(), driver.half.stage()), (100, Stage::Done(Ending::Fin)));
    driver.release();
}

#[test]
fn a_pipe_with_bytes_for_a_gone_sink_is_closed_and_not_pooled() {
    let mut driver = Driver::new(
        RelayMode::Splice,
        0,
        writing(&[WriteTurn::All, WriteTurn::Stop(10), WriteTurn::Fail(Errno::EPIPE)]),
    );
    driver.receive(100);
    assert_eq!(driver.kit.pipes(), (0, 1));
    driver.receive(100);
    // What splice says of a gone sink is no proof of a FIN before it.
    assert_eq!(driver.half.stage(), Stage::SinkGone(Errno::ECONNRESET));
    assert_eq!(driver.kit.pipes(), (0, 0));
    driver.release();
}

#[test]
fn a_gone_sink_is_not_forgotten_over_a_fin() {
    let mut driver = Driver::new(RelayMode::Copy, 0, writing(&[WriteTurn::Fail(Errno::ECONNRESET)]));
    driver.world.arrive(100);
    driver.receive_end(End::Fin);
    assert_eq!(driver.half.stage(), Stage::SinkGone(Errno::ECONNRESET));
    assert_eq!(driver.release().fins, 0);
}

#[test]
fn a_pipe_with_bytes_is_closed_when_the_session_is_cut() {
    let mut driver = Driver::new(RelayMode::Splice, 0, writing(&[WriteTurn::Fill(10)]));
    driver.receive(100);
    assert_eq!(driver.kit.pipes(), (1, 0));
    driver.release();
}

#[test]
fn bytes_in_a_pipe_outlive_a_sink_that_refuses_splice() {
    let mut driver =
        Driver::new(RelayMode::Splice, 0, writing(&[WriteTurn::Stop(10), WriteTurn::Refuse(Errno::EINVAL)]));
    driver.receive(1_000_000);
    driver.receive(1_000_000);
    assert_eq!(driver.half.bytes(), 2_000_000);
    driver.release();
}

#[test]
fn no_pipe_to_be_had_means_a_copy() {
    let mut driver = Driver::new(RelayMode::Splice, 0, World { opens: [false].into(), ..World::default() });
    driver.receive(100);
    assert_eq!((driver.half.bytes(), driver.kit.take_pipe_fallbacks()), (100, [0, 1]));
    driver.release();
}

#[test]
fn large_reads_are_spliced_and_small_moves_copied_again() {
    let mut driver = Driver::new(RelayMode::Auto, 0, World::default());
    let mut engines = Vec::new();
    for count in [limits::PROMOTE_READ_BYTES, 1, 100_000, 100_000, 100_000, 1, 1, 1, 1, 1] {
        driver.world.arrive(count);
        engines.push(if driver.turn().by(Engine::Splice) > 0 { 's' } else { 'c' });
    }
    // A small read between large ones starts the count anew.
    assert_eq!(engines.iter().collect::<String>(), "ccccsssscc");
    driver.release();
}

#[test]
fn a_source_of_single_bytes_does_not_hold_the_worker() {
    let mut driver = Driver::new(RelayMode::Splice, 0, reading(&[ReadTurn::Arrive(1); 100]));
    driver.world.arrive(1);
    let moved = driver.turn();
    assert_eq!(moved.resume, Resume::NextTurn);
    assert!(moved.by(Engine::Splice) <= limits::PUMP_ROUNDS_MAX, "{moved:?}");
    driver.settle();
    assert_eq!(driver.half.bytes(), 101);
    driver.release();
}

#[test]
fn the_second_small_write_waits_for_no_ack_whatever_was_the_first() {
    for (mode, pending) in
        [(RelayMode::Copy, 0), (RelayMode::Copy, 10), (RelayMode::Splice, 0), (RelayMode::Splice, 10)]
    {
        let mut driver = Driver::new(mode, pending, World::default());
        driver.settle();
        if pending == 0 {
            driver.receive(10);
        }
        assert_eq!(driver.world.nodelays, 0, "the first is free: {mode:?}, {pending} pending");
        for _ in 0..2 {
            driver.receive(10);
            assert_eq!(driver.world.nodelays, 1, "{mode:?}, {pending} pending");
        }
        driver.release();
    }
}

#[test]
fn a_budget_is_moved_to_the_byte_and_the_rest_once_there_is_more() {
    for mode in [RelayMode::Copy, RelayMode::Splice, RelayMode::Auto] {
        let mut driver = Driver::new(mode, 0, World::default());
        driver.world.arrive(900_000);
        for (allowance, moved_bytes) in [(300_000, 300_000), (0, 0), (1, 1)] {
            driver.allowances = [allowance].into();
            let moved = driver.turn();
            assert_eq!((moved.bytes(), moved.resume), (moved_bytes, Resume::AtMs(MORE_AT_MS)), "{mode:?}");
            assert!(driver.half.ready() && driver.half.pending_bytes() == 0, "{mode:?}");
        }
        driver.settle();
        assert_eq!(driver.half.bytes(), 900_000);
        driver.release();
    }
}

#[test]
fn an_end_behind_a_spent_budget_is_found_once_there_is_more() {
    for end in [End::Fin, End::FinThenReset, End::Reset] {
        let mut driver =
            Driver::new(RelayMode::Auto, 0, World { planned_end: Some(end), ..World::default() });
        driver.allowances = [100].into();
        driver.world.arrive(100);
        driver.world.end_source();
        let moved = driver.turn();
        assert_eq!((moved.bytes(), moved.resume), (100, Resume::AtMs(MORE_AT_MS)));
        assert_eq!(driver.half.stage(), Stage::Open);
        driver.settle();
        assert!(matches!(driver.half.stage(), Stage::Done(_)));
        driver.release();
    }
}

#[test]
fn a_session_whose_sink_is_full_waits_for_the_sink_and_not_for_its_budget() {
    let mut driver = Driver::new(RelayMode::Copy, 0, writing(&[WriteTurn::Fill(10)]));
    driver.allowances = [100].into();
    driver.world.arrive(200);
    assert_eq!(driver.turn().resume, Resume::OnEvent);
    driver.world.make_room();
    driver.settle();
    assert_eq!(driver.half.bytes(), 200);
    driver.release();
}
