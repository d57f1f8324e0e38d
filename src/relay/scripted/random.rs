//! Random scripts: whatever the two sockets do, nothing is lost, doubled, kept or left standing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Driver, End, ReadTurn, World, WriteTurn};
use crate::config::RelayMode;
use crate::sys::Errno;

/// What happens outside, between two turns of the worker.
#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive(usize),
    Room,
    /// See [`World::nudge`].
    Nudge,
    /// The source ends, early.
    End,
    SinkFails(Errno),
}

#[derive(Clone, Debug)]
struct Script {
    mode: RelayMode,
    pending: usize,
    /// Each with the turns that the worker gets behind it.
    steps: Vec<(Step, usize)>,
    end: Option<End>,
    reads: Vec<ReadTurn>,
    writes: Vec<WriteTurn>,
    opens: Vec<bool>,
    /// What the first turns may take.
    allowances: Vec<usize>,
    /// The session is ended from outside, in the middle.
    cut: bool,
}

fn piece() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1usize..200, 2 => 1usize..20_000, 3 => 60_000usize..300_000, 2 => 200_000usize..2_500_000]
}

fn failure() -> impl Strategy<Value = Errno> {
    prop_oneof![Just(Errno::ECONNRESET), Just(Errno::EPIPE)]
}

fn refusal() -> impl Strategy<Value = Errno> {
    prop_oneof![Just(Errno::EINVAL), Just(Errno::ENOSYS)]
}

fn step() -> impl Strategy<Value = (Step, usize)> {
    let step = prop_oneof![
        20 => piece().prop_map(Step::Arrive),
        8 => Just(Step::Room),
        3 => Just(Step::Nudge),
        1 => Just(Step::End),
        1 => failure().prop_map(Step::SinkFails),
    ];
    (step, 0usize..4)
}

fn read_turn() -> impl Strategy<Value = ReadTurn> {
    prop_oneof![
        60 => Just(ReadTurn::Plain),
        20 => piece().prop_map(ReadTurn::Short),
        20 => piece().prop_map(ReadTurn::Arrive),
        1 => Just(ReadTurn::End),
        1 => Just(ReadTurn::Mark),
        1 => failure().prop_map(ReadTurn::Fail),
        2 => refusal().prop_map(ReadTurn::Refuse),
    ]
}

fn write_turn() -> impl Strategy<Value = WriteTurn> {
    prop_oneof![
        60 => Just(WriteTurn::All),
        20 => piece().prop_map(WriteTurn::Fill),
        20 => piece().prop_map(WriteTurn::Stop),
        10 => Just(WriteTurn::Block),
        3 => failure().prop_map(WriteTurn::Fail),
        2 => refusal().prop_map(WriteTurn::Refuse),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let end = prop_oneof![
        1 => Just(None),
        6 => Just(Some(End::Fin)),
        2 => Just(Some(End::FinThenReset)),
        2 => Just(Some(End::Reset)),
    ];
    (
        prop_oneof![3 => Just(RelayMode::Auto), 2 => Just(RelayMode::Splice), 1 => Just(RelayMode::Copy)],
        prop_oneof![Just(0), 1usize..1024],
        vec(step(), 0..24),
        end,
        vec(read_turn(), 0..40),
        vec(write_turn(), 0..40),
        vec(prop::bool::weighted(0.7), 0..12),
        vec(prop_oneof![1 => 0usize..3, 4 => piece()], 0..16),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(mode, pending, steps, end, reads, writes, opens, allowances, cut)| Script {
            mode,
            pending,
            steps,
            end,
            reads,
            writes,
            opens,
            allowances,
            cut,
        })
}

fn play(script: Script) {
    let Script { mode, pending, steps, end, reads, writes, opens, allowances, cut } = script;
    let world = World {
        planned_end: end,
        reads: reads.into(),
        writes: writes.into(),
        opens: opens.into(),
        ..World::default()
    };
    let mut driver = Driver::new(mode, pending, world);
    driver.allowances = allowances.into();
    for (step, turns) in steps {
        match step {
            Step::Arrive(count) => driver.world.arrive(count),
            Step::Room => driver.world.make_room(),
            Step::Nudge => driver.world.nudge(),
            Step::End => driver.world.end_source(),
            Step::SinkFails(errno) => {
                driver.world.sink_error.get_or_insert(errno);
                driver.half.sink_failed(errno, &mut driver.kit);
                driver.check();
            }
        }
        for _ in 0..turns {
            driver.turn();
        }
    }
    if !cut {
        driver.world.end_source();
        driver.settle();
        while driver.world.sink_full && driver.world.sink_error.is_none() {
            driver.world.make_room();
            driver.settle();
        }
    }
    driver.release();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_byte_arrives_once_in_order_and_no_wake_up_is_lost(script in script()) {
        play(script);
    }
}
