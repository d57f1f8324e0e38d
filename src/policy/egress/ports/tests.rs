use proptest::prelude::*;

use super::*;

fn source(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn target(last: u8) -> SocketAddr {
    ([198, 51, 100, last], 443).into()
}

fn open(ports: &Ports, source: IpAddr, target: SocketAddr) -> u32 {
    ports.least(ports.cells(source, target), PortUses::open)
}

fn in_use(ports: &Ports, source: IpAddr, target: SocketAddr) -> u32 {
    ports.least(ports.cells(source, target), PortUses::in_use)
}

/// Another program may use the port until then, and connect(2) would have to look at each.
#[test]
fn a_port_in_time_wait_is_in_use_for_a_minute() {
    let began = Instant::now();
    let ports = Ports::new(began);
    let (one, there) = (source(1), target(1));
    let at = |seconds: u64| ports.fade(began + Duration::from_secs(seconds), std::iter::empty());
    for begun in [0, 3, 9] {
        at(begun);
        let cells = ports.take(one, there);
        ports.give(cells, NetworkPorts::default().left_waiting(there));
    }
    assert_eq!((open(&ports, one, there), in_use(&ports, one, there)), (0, 3));
    (10..=69).for_each(at);
    assert_eq!(in_use(&ports, one, there), 3, "the last of them was closed 60 seconds ago");
    at(70);
    assert_eq!(in_use(&ports, one, there), 0);
}

#[test]
fn a_port_that_may_be_taken_out_of_time_wait_is_free_after_a_second() {
    let began = Instant::now();
    let ports = Ports::new(began);
    let here: SocketAddr = "127.0.0.1:80".parse().unwrap();
    let mapped: SocketAddr = "[::ffff:127.0.0.1]:80".parse().unwrap();
    let network = NetworkPorts::default();
    assert_eq!(network.left_waiting(here), PortLeft::WaitingShortly, "as kernels are by themselves");
    assert_eq!(network.left_waiting(mapped), PortLeft::WaitingShortly);
    assert_eq!(network.left_waiting(target(1)), PortLeft::Waiting);
    network.set(Some(1_000), TimeWaitReuse::Never);
    assert_eq!(network.left_waiting(here), PortLeft::Waiting);
    network.set(None, TimeWaitReuse::Always);
    assert_eq!((network.range(), network.left_waiting(target(1))), (1_000, PortLeft::WaitingShortly));
    let cells = ports.take(source(1), target(1));
    ports.give(cells, PortLeft::WaitingShortly);
    ports.fade(began + Duration::from_millis(1_000), std::iter::empty());
    assert_eq!(in_use(&ports, source(1), target(1)), 1, "it may have been closed a moment ago");
    ports.fade(began + Duration::from_millis(2_000), std::iter::empty());
    assert_eq!(in_use(&ports, source(1), target(1)), 0);
}

#[test]
fn a_thread_that_was_late_gives_back_all_that_is_due() {
    let began = Instant::now();
    let ports = Ports::new(began);
    let cells = ports.take(source(1), target(1));
    ports.give(cells, PortLeft::Waiting);
    ports.fade(began + Duration::from_secs(3_600), std::iter::empty());
    assert_eq!(in_use(&ports, source(1), target(1)), 0);
}

#[test]
fn the_next_source_is_due_when_few_ports_are_left_to_that_target() {
    let ports = Ports::new(Instant::now());
    let terms = PortTerms { most: 10, reserve: 3, per_target: 0 };
    let room = || ports.room(source(1), target(1), &terms);
    let held: Vec<_> = (0..7).map(|_| ports.take(source(1), target(1))).collect();
    assert_eq!(room(), PortRoom::Enough, "three are left");
    let eighth = ports.take(source(1), target(1));
    assert_eq!(room(), PortRoom::Scarce);
    assert_eq!(ports.room(source(2), target(1), &terms), PortRoom::Enough);
    assert_eq!(ports.room(source(1), target(2), &terms), PortRoom::Enough);
    ports.give(eighth, PortLeft::Waiting);
    assert_eq!(room(), PortRoom::Scarce, "TIME_WAIT is in use");
    let most = PortTerms { per_target: 7, ..PortTerms::default() };
    assert_eq!(ports.room(source(1), target(1), &most), PortRoom::Full);
    ports.give(held[0], PortLeft::Waiting);
    assert_eq!(ports.room(source(1), target(1), &most), PortRoom::Enough, "TIME_WAIT is no session");
    assert_eq!(ports.room(source(1), target(1), &PortTerms::default()), PortRoom::Enough);
}

#[test]
fn the_fullest_pairs_are_known_by_name_in_bounded_memory() {
    let began = Instant::now();
    let ports = Ports::new(began);
    // So many that no table has them all, of which three have more than all others.
    for port in 1..2_000 {
        let there = SocketAddr::new(target(1).ip(), port);
        let _ = ports.take(source(9), there);
    }
    let held: Vec<_> = (1..=3)
        .map(|last| {
            (0..100 * u32::from(last)).map(|_| ports.take(source(last), target(2))).collect::<Vec<_>>()
        })
        .collect();
    let fullest = ports.fullest();
    assert!(fullest.len() <= limits::FULLEST_PAIRS);
    let first: Vec<_> = fullest.iter().take(3).map(|pair| (pair.source, pair.in_use)).collect();
    assert_eq!(first, [(source(3), 300), (source(2), 200), (source(1), 100)]);
    held[2].iter().for_each(|cells| ports.give(*cells, PortLeft::Waiting));
    let pair = ports.fullest()[0];
    assert_eq!((pair.source, pair.in_use, pair.waiting), (source(3), 300, 300));
    (1..=7).for_each(|turn| ports.fade(began + limits::TIME_WAIT_TURN * turn, std::iter::empty()));
    assert_eq!(ports.fullest()[0].source, source(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against an exact count of everything that happens.
    #[test]
    fn no_pair_is_counted_too_low_and_nothing_is_left_in_the_end(
        events in prop::collection::vec((0u8..4, 0u8..4, 0u8..4, 0u64..30), 0..300)
    ) {
        let began = Instant::now();
        let ports = Ports::of(64, began);
        let (mut held, mut waiting, mut seconds) = (Vec::new(), Vec::new(), 0);
        for (what, from, to, passes) in events {
            seconds += passes;
            ports.fade(began + Duration::from_secs(seconds), std::iter::empty());
            let (from, to) = (source(from), target(to));
            match what {
                0 | 1 => held.push((from, to, ports.take(from, to))),
                _ if held.is_empty() => {}
                2 => {
                    let (_, _, cells) = held.remove(0);
                    ports.give(cells, PortLeft::Free);
                }
                _ => {
                    let (from, to, cells) = held.remove(0);
                    ports.give(cells, PortLeft::Waiting);
                    waiting.push((from, to, seconds));
                }
            }
            let exact_open = held.iter().filter(|(f, t, _)| (*f, *t) == (from, to)).count() as u32;
            let recent = |closed: u64| seconds - closed < 60;
            let exact_waiting =
                waiting.iter().filter(|(f, t, at)| (*f, *t) == (from, to) && recent(*at)).count() as u32;
            prop_assert!(open(&ports, from, to) >= exact_open);
            prop_assert!(in_use(&ports, from, to) >= exact_open + exact_waiting);
        }
        held.into_iter().for_each(|(_, _, cells)| ports.give(cells, PortLeft::Free));
        ports.fade(began + Duration::from_secs(seconds + 80), std::iter::empty());
        prop_assert!(ports.uses.counts.iter().all(|count| count.load(Ordering::Relaxed) == 0));
    }
}
