//! Which servers sessions are led through, and what becomes of those that fail.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::limits;
use crate::policy::way::ParentId;
use crate::proto::address::{Host, Target};
use crate::proto::client::ClientProtocol;

const WAIT: Duration = Duration::from_secs(30);

fn at(host: &str, port: u16) -> Target {
    Target { host: Host::parse(host.as_bytes()).unwrap(), port }
}

fn hop(protocol: ClientProtocol, host: &str) -> ParentHop {
    ParentHop {
        protocol,
        names: true,
        target: at(host, 1080),
        user: None,
        password: None,
        password_file: None,
    }
}

fn server(number: u16, weight: u32) -> ParentServer {
    let hops = vec![hop(ClientProtocol::Socks5, &format!("192.0.2.{number}"))];
    ParentServer { hops, weight, number }
}

fn spec(select: ParentSelect, weights: &[u32]) -> ParentSpec {
    let servers = (0..).zip(weights).map(|(number, weight)| server(number, *weight)).collect();
    ParentSpec { select, max_fails: 2, fail_timeout: WAIT, ..by_hand::spec("up", servers) }
}

/// A parent, a worker and its clock.
struct Bench {
    parent: Parent,
    turns: ParentTurns,
    now: Instant,
}

impl Bench {
    fn of(spec: ParentSpec) -> Bench {
        let now = Instant::now();
        Bench { parent: Parent::new(spec, None, now), turns: ParentTurns::new(7), now }
    }

    /// The servers that a session of this user would be led through, one after the other.
    fn tries(&mut self, user: &str) -> Vec<usize> {
        let mut trying = self.parent.choose(&asked(user));
        std::iter::from_fn(|| self.parent.next(&mut trying, &mut self.turns, self.now)).collect()
    }

    fn first(&mut self, user: &str) -> Option<usize> {
        let mut trying = self.parent.choose(&asked(user));
        self.parent.next(&mut trying, &mut self.turns, self.now)
    }

    /// Has this server fail until it is away.
    fn down(&mut self, place: usize) {
        assert!(!self.parent.failed(place, self.now) && self.parent.failed(place, self.now));
        assert!(self.parent.is_away(place));
    }
}

fn asked(user: &str) -> ParentAsked<'_> {
    let source = IpAddr::from([192, 0, 2, 1]);
    ParentAsked {
        session: None,
        user: Some(user.as_bytes()).filter(|user| !user.is_empty()),
        source,
        target: None,
    }
}

fn shares(bench: &mut Bench, count: usize) -> Vec<usize> {
    let mut shares = vec![0; bench.parent.spec().servers.len()];
    for nth in 0..count {
        shares[bench.first(&format!("user{nth}")).expect("a server")] += 1;
    }
    shares
}

#[test]
fn turns_are_taken_as_weights_say_and_stand_apart() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[3, 1, 1]));
    let order: Vec<usize> = (0..10).map(|_| bench.first("").unwrap()).collect();
    assert_eq!(order, [0, 1, 0, 2, 0, 0, 1, 0, 2, 0]);
}

#[test]
fn every_way_to_choose_gives_each_server_its_share() {
    for select in [ParentSelect::Random, ParentSelect::Sticky, ParentSelect::RoundRobin] {
        let mut bench = Bench::of(spec(select, &[5, 3, 2]));
        let shares = shares(&mut bench, 20_000);
        for (share, expected) in shares.iter().zip([10_000, 6_000, 4_000_usize]) {
            assert!(share.abs_diff(expected) < 300, "{select:?}: {shares:?}");
        }
    }
}

#[test]
fn the_server_with_the_fewest_sessions_for_its_weight_is_next() {
    let mut bench = Bench::of(spec(ParentSelect::LeastUsed, &[2, 1]));
    let mut held = [0; 2];
    for _ in 0..30 {
        let place = bench.first("").unwrap();
        held[place] += 1;
        bench.turns.hold(u16::try_from(place).unwrap());
    }
    assert_eq!(held, [20, 10]);
    (0..10).for_each(|_| bench.turns.release(0));
    assert_eq!((bench.turns.used(0), bench.first("")), (10, Some(0)));
}

#[test]
fn a_sticky_choice_is_the_same_for_every_worker_and_after_a_restart() {
    let mut one = Bench::of(spec(ParentSelect::Sticky, &[1, 1, 1, 1]));
    let mut other = Bench::of(spec(ParentSelect::Sticky, &[1, 1, 1, 1]));
    other.turns = ParentTurns::new(99);
    for user in 0..200 {
        let user = format!("user{user}");
        assert_eq!(one.tries(&user), other.tries(&user));
    }
    let key = |session: Option<&'static [u8]>, user: Option<&'static [u8]>, source: [u8; 4]| {
        super::choose::sticky_key(&ParentAsked { session, user, source: source.into(), target: None })
    };
    assert_eq!(key(Some(b"a"), Some(b"u"), [1; 4]), key(Some(b"a"), Some(b"u"), [2; 4]));
    assert_ne!(key(Some(b"a"), Some(b"u"), [1; 4]), key(Some(b"b"), Some(b"u"), [1; 4]));
    assert_ne!(key(Some(b"a"), Some(b"u"), [1; 4]), key(Some(b"a"), Some(b"v"), [1; 4]), "another's session");
    assert_ne!(key(Some(b"ab"), Some(b"c"), [1; 4]), key(Some(b"b"), Some(b"ca"), [1; 4]));
    assert_eq!(key(None, Some(b"u"), [1; 4]), key(None, Some(b"u"), [2; 4]));
    assert_ne!(key(None, None, [1; 4]), key(None, None, [2; 4]));
}

#[test]
fn a_server_that_goes_moves_no_other_key() {
    let mut four = Bench::of(spec(ParentSelect::Sticky, &[1, 1, 1, 1]));
    let mut three = Bench::of(spec(ParentSelect::Sticky, &[1, 1, 1]));
    let mut moved = 0;
    for user in 0..4_000 {
        let user = format!("user{user}");
        let (before, after) = (four.first(&user).unwrap(), three.first(&user).unwrap());
        match before {
            3 => moved += 1,
            before => assert_eq!(after, before, "{user}"),
        }
    }
    assert!((800..1_200).contains(&moved), "{moved}");
}

#[test]
fn a_session_tries_a_few_servers_each_once_and_backups_last() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 0, 1, 0]));
    let tries = bench.tries("");
    assert_eq!(&tries[..2], [0, 2]);
    assert!(tries[2] == 1 || tries[2] == 3);
    assert_eq!(tries.len(), limits::PARENT_TRIES_MAX as usize);
    bench.down(0);
    bench.down(2);
    assert!([Some(1), Some(3)].contains(&bench.first("")), "backups serve");
}

#[test]
fn a_server_with_too_many_fails_is_away_and_one_session_tries_it_again() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 1]));
    assert!(!bench.parent.failed(0, bench.now), "one is not too many");
    bench.now += WAIT;
    assert!(!bench.parent.failed(0, bench.now), "the first was too long ago");
    assert!(bench.parent.failed(0, bench.now) && !bench.parent.failed(0, bench.now), "said once");
    assert_eq!((0..10).map(|_| bench.first("")).collect::<Vec<_>>(), [Some(1); 10]);
    bench.now += WAIT;
    let tried: Vec<Option<usize>> = (0..10).map(|_| bench.first("")).collect();
    assert_eq!(tried.iter().filter(|place| **place == Some(0)).count(), 1, "{tried:?}");
    // What tries it fails: for as long it is away again.
    bench.parent.failed(0, bench.now);
    bench.now += WAIT - Duration::from_millis(1);
    assert_eq!((0..10).map(|_| bench.first("")).collect::<Vec<_>>(), [Some(1); 10]);
    bench.now += Duration::from_millis(1);
    assert!((0..10).any(|_| bench.first("") == Some(0)));
    assert!(bench.parent.is_away(0) && bench.parent.succeeded(0));
    assert!(!bench.parent.is_away(0) && !bench.parent.succeeded(0));
    let shares = shares(&mut bench, 100);
    assert!(shares[0].abs_diff(shares[1]) <= 4, "{shares:?}");
}

/// Workers look at the same moment: were each of them to try, a server that is down would cost as many sessions as there are workers.
#[test]
fn of_many_workers_one_tries_a_server_that_is_away() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 1]));
    bench.down(0);
    let (parent, now) = (&bench.parent, bench.now + WAIT);
    let tries_of = |seed| {
        let mut turns = ParentTurns::new(seed);
        let mut first = || parent.next(&mut parent.choose(&asked("")), &mut turns, now);
        (0..100).filter(|_| first() == Some(0)).count()
    };
    let tried: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|seed| scope.spawn(move || tries_of(seed))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    assert_eq!(tried, 1);
}

/// One client that asked for a target that is silent, or was gone at once, was the one who tried each time: a server that was back
/// stayed away for as long as the client came often enough.
#[test]
fn who_tried_a_server_and_found_nothing_out_lets_others_go_first() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 1]));
    bench.down(0);
    let tries = |bench: &mut Bench, user: &str, network: u8| {
        let source = IpAddr::from([192, 0, network, 1]);
        let mut trying = bench.parent.choose(&ParentAsked { source, ..asked(user) });
        (0..4).any(|_| bench.parent.next(&mut trying, &mut bench.turns, bench.now) == Some(0))
    };
    bench.now += WAIT;
    assert!(tries(&mut bench, "eve", 2));
    bench.now += WAIT;
    assert!(!tries(&mut bench, "eve", 2) && !tries(&mut bench, "eve", 3) && !tries(&mut bench, "eves", 2));
    assert!(tries(&mut bench, "ann", 4));
    assert!(bench.parent.succeeded(0));
    bench.down(0);
    bench.now += WAIT;
    assert!(tries(&mut bench, "eve", 2), "all of that is over");
    bench.now += 2 * WAIT;
    assert!(tries(&mut bench, "eve", 2), "nobody else came");
}

#[test]
fn successes_forget_fails_and_0_forgets_all() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1]));
    for _ in 0..10 {
        assert!(!bench.parent.failed(0, bench.now) && !bench.parent.succeeded(0));
    }
    assert_eq!(bench.parent.health(0).unwrap().fails(), 0);
    let never = ParentSpec { max_fails: 0, ..spec(ParentSelect::RoundRobin, &[1]) };
    bench = Bench::of(never);
    assert!((0..100).all(|_| !bench.parent.failed(0, bench.now)) && !bench.parent.is_away(0));
}

#[test]
fn where_all_are_away_the_least_bad_serves_unless_sessions_go_without() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 1, 0]));
    for place in [2, 0, 1] {
        bench.down(place);
        bench.now += Duration::from_secs(1);
    }
    assert_eq!(bench.tries(""), [2], "it is back soonest");
    let without = ParentSpec { fallback: Fallback::Direct, ..spec(ParentSelect::RoundRobin, &[1, 1]) };
    bench = Bench::of(without);
    bench.down(0);
    assert_eq!(bench.tries(""), [1]);
    bench.down(1);
    assert!(bench.tries("").is_empty());
}

#[test]
fn a_server_that_has_no_words_for_a_target_is_not_tried() {
    let mut servers = spec(ParentSelect::RoundRobin, &[1, 1, 1]);
    servers.servers[0].hops = vec![hop(ClientProtocol::Socks4, "192.0.2.1")];
    servers.servers[1].hops = vec![hop(ClientProtocol::Socks4a, "192.0.2.1")];
    let mut bench = Bench::of(servers);
    let mut tries = |target: &Target| {
        let mut trying = bench.parent.choose(&ParentAsked { target: Some(target), ..asked("") });
        let mut tries: Vec<usize> =
            std::iter::from_fn(|| bench.parent.next(&mut trying, &mut bench.turns, bench.now)).collect();
        tries.sort_unstable();
        tries
    };
    assert_eq!(tries(&at("example.com", 80)), [1, 2]);
    assert_eq!(tries(&at("2001:db8::1", 80)), [2]);
    assert_eq!(tries(&at("::ffff:192.0.2.1", 80)), [0, 1, 2]);
}

#[test]
fn a_reload_keeps_how_servers_are_that_stay() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 1]));
    bench.down(1);
    let mut new = spec(ParentSelect::Random, &[9, 9, 9]);
    new.servers.rotate_left(1);
    let parent = Parent::new(new, Some(&bench.parent), bench.now);
    assert!(parent.is_away(0) && !parent.is_away(1) && !parent.is_away(2));
    // Both are the same server: what one finds the other knows.
    assert!(bench.parent.succeeded(1) && !parent.is_away(0));
}

#[test]
fn a_drained_server_gets_no_session_and_serves_where_all_are_drained() {
    let mut bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 1, 0]));
    assert!(bench.parent.set_drained(0, true) && !bench.parent.set_drained(0, true), "it was so");
    assert_eq!((0..10).map(|_| bench.first("")).collect::<Vec<_>>(), [Some(1); 10]);
    assert_eq!(bench.tries(""), [1, 2], "nor is it one more to try");
    bench.down(1);
    assert_eq!(bench.first(""), Some(2), "backups come before it");
    bench.down(2);
    assert_eq!(bench.tries(""), [1], "and so does the least bad of those that are away");
    for place in [1, 2] {
        assert!(bench.parent.set_drained(place, true));
    }
    assert_eq!(bench.tries(""), [0]);
    let states = |parent: &Parent| [0, 1, 2].map(|place| parent.state(place).name());
    assert_eq!(states(&bench.parent), ["drained"; 3]);
    assert!(bench.parent.set_drained(1, false) && !bench.parent.is_away(1), "and what failed is forgotten");
    assert!(bench.parent.set_drained(2, false) && !bench.parent.set_drained(2, false));
    assert_eq!(states(&bench.parent), ["drained", "up", "backup"]);
    bench.down(1);
    assert_eq!(states(&bench.parent), ["drained", "down", "backup"]);
    assert_eq!(bench.parent.health(1).unwrap().away_for(bench.now), Some(WAIT));
    assert!(bench.parent.set_drained(1, false), "it was away");
}

/// A password that is another makes another server of it, and what an operator has set by hand is still meant.
#[test]
fn a_reload_keeps_what_was_set_by_hand_of_servers_that_stay() {
    let bench = Bench::of(spec(ParentSelect::RoundRobin, &[1, 1]));
    assert!(bench.parent.set_drained(1, true));
    let mut new = spec(ParentSelect::Random, &[9, 9, 9]);
    new.servers.rotate_left(1);
    new.servers[0].hops[0].password = Some(HopSecret::new(b"other".to_vec()));
    let parent = Parent::new(new, Some(&bench.parent), bench.now);
    let states = [0, 1, 2].map(|place| parent.state(place).name());
    assert_eq!(states, ["drained", "up", "up"]);
    // One order is for both, though a session may have begun by the one from before.
    assert!(bench.parent.set_drained(1, false) && parent.state(0).serves());
}

#[test]
fn parents_are_found_by_their_numbers() {
    let parent = |number| (ParentId(number), Arc::new(Bench::of(spec(ParentSelect::Random, &[1])).parent));
    let parents = Parents::new([parent(4), parent(1)]);
    assert!(parents.parent(ParentId(4)).is_some() && parents.parent(ParentId(0)).is_none());
    assert!(parents.parent(ParentId(5)).is_none());
    assert_eq!(parents.iter().map(|(id, _)| id).collect::<Vec<_>>(), [ParentId(1), ParentId(4)]);
}

#[test]
fn nothing_of_a_password_is_shown() {
    let mut one = server(1, 1);
    one.hops[0].user = Some(b"ann".as_slice().into());
    one.hops[0].password = Some(HopSecret::new(b"hunter2".to_vec()));
    assert_eq!(one.to_string(), "socks5h://192.0.2.1:1080");
    let shown = format!("{one:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    let login = one.hops[0].login(None).unwrap();
    assert_eq!((&login.user[..], login.password()), (&b"ann"[..], Some(&b"hunter2"[..])));
    assert_eq!(one.hops[0].login(Some(b"bob")).unwrap().user, b"bob");
    one.hops.push(hop(ClientProtocol::Http, "2001:db8::1"));
    assert_eq!(one.to_string(), "socks5h://192.0.2.1:1080>http://[2001:db8::1]:1080");
    assert!(one.hops[1].login(None).is_none());
}
