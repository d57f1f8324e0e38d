use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::*;

/// A login that is known by a number, and whether its client is still there.
#[derive(Clone)]
struct Client {
    number: u32,
    left: Rc<Cell<bool>>,
}

impl Waiter for Client {
    fn has_left(&self) -> bool {
        self.left.get()
    }
}

fn client(number: u32) -> Client {
    Client { number, left: Rc::default() }
}

fn source(n: u8) -> Source {
    Source::V4([192, 0, n, 1])
}

fn tag(n: u32) -> Tag {
    let mut tag = [0; 32];
    tag[..4].copy_from_slice(&n.to_le_bytes());
    tag
}

/// A queue whose verifications end at once, and wrong.
struct Queue {
    queue: FairQueue<Client>,
    now: Instant,
    start: Instant,
}

impl Queue {
    fn new() -> Queue {
        let now = Instant::now();
        Queue { queue: FairQueue::new(), now, start: now }
    }

    fn push(&mut self, source: Source, user: &str, n: u32) -> bool {
        let pair = self.queue.pair(source, user.as_bytes());
        self.queue.push(source, pair, tag(n), client(n))
    }

    fn next(&mut self) -> Option<u32> {
        let turn = self.queue.pop(self.now)?;
        self.queue.finished(turn.source);
        Some(turn.waiters[0].number)
    }

    fn take(&mut self, count: usize) -> Vec<u32> {
        (0..count).map_while(|_| self.next()).collect()
    }

    /// The next one, however long it has to wait; and when that is.
    fn await_next(&mut self) -> Option<(u32, Duration)> {
        loop {
            if let Some(n) = self.next() {
                return Some((n, self.now - self.start));
            }
            self.now = self.queue.next_due()?;
        }
    }
}

#[test]
fn sources_take_turns() {
    let mut queue = Queue::new();
    for n in 0..1_000 {
        queue.push(source(1), &format!("user {n}"), n);
    }
    for n in 1_000..1_002 {
        queue.push(source(2), &format!("user {n}"), n);
    }
    let order = queue.take(6);
    assert!(order[1] >= 1_000 && order[3] >= 1_000, "{order:?}");
    assert_eq!(order.iter().filter(|n| **n >= 1_000).count(), 2);
}

#[test]
fn the_sources_of_one_network_have_one_turn_together() {
    let mut queue = Queue::new();
    for n in 0..=u8::MAX {
        let source = Source::V6([0x20, 1, 0x0d, 0xb8, 0, 1, 0, n]);
        (0..10).for_each(|guess| _ = queue.push(source, "alice", u32::from(n) << 8 | guess));
    }
    queue.push(Source::V6([0x20, 1, 0x0d, 0xb8, 0, 2, 0, 0]), "alice", 1 << 20);
    assert!(queue.take(2).contains(&(1 << 20)));
}

/// The first login of each source of a network before the tenth of any.
#[test]
fn within_a_network_sources_take_turns() {
    let mut queue = Queue::new();
    for n in 0..10 {
        queue.push(Source::V4([192, 0, 2, 1]), &format!("user {n}"), n);
    }
    queue.push(Source::V4([192, 0, 2, 2]), "alice", 100);
    assert!(queue.take(2).contains(&100));
}

#[test]
fn a_guesser_does_not_keep_others_behind_his_address_waiting() {
    let mut queue = Queue::new();
    for n in 0..200 {
        queue.push(source(1), "user", n);
    }
    queue.push(source(1), "other", 1_000);
    assert!(queue.take(3).contains(&1_000));
}

/// Neither many names that were there before nor many that keep coming hold up another client of that address.
#[test]
fn one_who_tries_many_users_does_not_keep_others_behind_his_address_waiting() {
    for comes_later in [0, 1_000] {
        let mut queue = Queue::new();
        let mut n = 0;
        let mut spray = |queue: &mut Queue, count: u32| {
            for _ in 0..count {
                queue.push(source(1), &format!("user {n}"), n);
                n += 1;
            }
        };
        spray(&mut queue, 1_000 - comes_later.min(999));
        queue.push(source(1), "other", 10_000);
        let mut waited = None;
        while waited.is_none() {
            if comes_later > 0 {
                spray(&mut queue, 10);
            }
            waited = queue.await_next().and_then(|(n, waited)| (n == 10_000).then_some(waited));
        }
        assert!(waited < Some(Duration::from_secs(1)), "{waited:?}");
    }
}

/// Names are easily made up: whoever was right from there before has turns of his own, again and again.
#[test]
fn one_who_makes_up_users_does_not_keep_those_waiting_who_were_right_before() {
    let mut queue = Queue::new();
    let alice = queue.queue.pair(source(1), b"alice");
    queue.push(source(1), "alice", 0);
    assert_eq!(queue.next(), Some(0));
    queue.queue.was_right(source(1), alice);
    let mut n = 1_000;
    let mut spray = |queue: &mut Queue, count: u32| {
        for _ in 0..count {
            // Twice each, so that they come back for another turn as well.
            queue.push(source(1), &format!("user {}", n / 2), n);
            n += 1;
        }
    };
    spray(&mut queue, 1_000);
    for login in 1..4 {
        queue.push(source(1), "alice", login);
        let began = queue.now;
        while queue.await_next().unwrap().0 != login {
            spray(&mut queue, 10);
        }
        queue.queue.was_right(source(1), alice);
        assert!(queue.now - began < Duration::from_secs(1), "{:?}", queue.now - began);
    }
}

/// Addresses are easily had: many of them, of many networks, leave every second turn to whoever was right before.
#[test]
fn many_networks_do_not_keep_those_waiting_who_were_right_before() {
    let mut queue = Queue::new();
    let alice = queue.queue.pair(source(1), b"alice");
    queue.push(source(1), "alice", 0);
    assert_eq!(queue.next(), Some(0));
    queue.queue.was_right(source(1), alice);
    for n in 0..200 {
        queue.push(source(2 + n), "user", 1_000 + u32::from(n));
    }
    for login in 1..20 {
        queue.push(source(1), "alice", login);
        assert!(queue.take(2).contains(&login));
        queue.queue.was_right(source(1), alice);
    }
}

#[test]
fn a_network_runs_a_second_one_only_when_no_other_waits_for_its_first() {
    let mut queue = Queue::new();
    for n in 0..10 {
        queue.push(source(1), &format!("user {n}"), n);
    }
    let next = |queue: &mut Queue| queue.queue.pop(queue.now).map(|turn| turn.source);
    assert_eq!([next(&mut queue), next(&mut queue)], [Some(source(1)); 2]);
    for n in 10..13 {
        queue.push(source(2), &format!("user {n}"), n);
    }
    assert_eq!([next(&mut queue), next(&mut queue)], [Some(source(2)); 2]);
    queue.push(source(3), "user", 20);
    assert_eq!(next(&mut queue), Some(source(3)));
}

/// One source at one user, by however many connections: 24 of them once made 197 guesses a second.
#[test]
fn a_guesser_is_verified_a_few_times_and_then_once_in_every_interval() {
    let mut queue = Queue::new();
    (0..100).for_each(|n| _ = queue.push(source(1), "alice", n));
    let times: Vec<u64> = (0..9).map(|_| queue.await_next().unwrap().1.as_secs()).collect();
    assert_eq!(times, [0, 0, 0, 0, 0, 3, 6, 9, 12]);
    assert!(GUESSES_AT_ONCE == 5 && GUESS_INTERVAL == Duration::from_secs(3));
}

/// Whoever leaves after a moment has paid, and what he left behind costs nothing.
#[test]
fn a_guesser_who_leaves_early_gains_nothing() {
    let mut queue = Queue::new();
    let (mut verified, step) = (0, Duration::from_millis(10));
    for n in 0..3_000 {
        let guess = client(n);
        let pair = queue.queue.pair(source(1), b"alice");
        queue.queue.push(source(1), pair, tag(n), guess.clone());
        verified += queue.take(10).len();
        guess.left.set(true);
        queue.now += step;
    }
    let intervals = 3_000 * step.as_millis() / GUESS_INTERVAL.as_millis();
    assert!(verified as u128 <= u128::from(GUESSES_AT_ONCE) + intervals, "{verified}");
    queue.push(source(1), "alice", 5_000);
    assert_eq!(queue.await_next().map(|(n, _)| n), Some(5_000));
}

/// The right password of a user whose address guesses at him: neither parked guesses nor new ones keep it for good.
#[test]
fn a_right_password_among_guesses_is_reached_before_its_deadline() {
    for hit_and_run in [false, true] {
        let mut queue = Queue::new();
        (0..300).for_each(|n| _ = queue.push(source(1), "alice", n));
        queue.take(10);
        if hit_and_run {
            queue.queue.lines.clear();
            queue.queue = FairQueue { paces: queue.queue.paces, ..FairQueue::new() };
        }
        let began = queue.now;
        queue.push(source(1), "alice", 1_000);
        let mut n = 2_000;
        loop {
            if hit_and_run {
                (n..n + 50).for_each(|n| _ = queue.push(source(1), "alice", n));
                n += 50;
            }
            if queue.await_next().unwrap().0 == 1_000 {
                break;
            }
        }
        assert!(queue.now - began < Duration::from_secs(10), "{:?}", queue.now - began);
    }
}

#[test]
fn a_source_that_tries_one_password_at_every_user_is_slowed_too() {
    let mut queue = Queue::new();
    (0..1_000).for_each(|n| _ = queue.push(source(1), &format!("user {n}"), n));
    let at_once = queue.take(1_000).len();
    assert_eq!(at_once, SOURCE_GUESSES_AT_ONCE as usize);
    let (_, next) = queue.await_next().unwrap();
    assert_eq!(next, SOURCE_GUESS_INTERVAL);
}

#[test]
fn a_network_of_such_sources_is_slowed_too() {
    let mut queue = Queue::new();
    for n in 0..1_000_u32 {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        queue.push(Source::V6([0x20, 1, 0x0d, 0xb8, 0, 1, high, low]), "alice", n);
    }
    assert_eq!(queue.take(1_000).len(), NETWORK_GUESSES_AT_ONCE as usize);
    assert_eq!(queue.await_next().unwrap().1, NETWORK_GUESS_INTERVAL);
}

#[test]
fn right_passwords_are_never_slowed() {
    let mut queue = Queue::new();
    for n in 0..2_000 {
        queue.push(source(1), &format!("user {}", n % 500), n);
    }
    for _ in 0..2_000 {
        let turn = queue.queue.pop(queue.now).expect("a turn");
        queue.queue.was_right(turn.source, turn.pair);
        queue.queue.finished(turn.source);
    }
}

#[test]
fn identical_logins_share_a_turn_until_it_comes() {
    let mut queue = Queue::new();
    assert!(!queue.push(source(1), "alice", 1));
    assert!(!queue.push(source(1), "alice", 2));
    assert!(queue.push(source(1), "alice", 1));
    assert!(!queue.push(source(2), "alice", 1));
    let turn = queue.queue.pop(queue.now).unwrap();
    assert_eq!((turn.source, turn.waiters.len()), (source(1), 2));
    assert!(!queue.push(source(1), "alice", 1));
}

#[test]
fn those_who_left_are_swept_and_whoever_is_done_leaves_nothing() {
    let mut queue = Queue::new();
    for n in 0..3 * VERIFY_QUEUE_MAX as u32 {
        let user = format!("user {}", n % 100);
        let pair = queue.queue.pair(source(n as u8), user.as_bytes());
        let client = client(n);
        client.left.set(n % 100 != 0 || n > 5_000);
        queue.queue.push(source(n as u8), pair, tag(n), client);
        assert!(queue.queue.len <= VERIFY_QUEUE_MAX + 1);
    }
    let mut reached = 0;
    while queue.await_next().is_some() {
        reached += 1;
    }
    assert_eq!(reached, 51);
    let FairQueue { networks, nodes, sources, lines, rests, len, .. } = &queue.queue;
    assert!(
        networks.is_idle() && nodes.is_empty() && sources.is_empty() && lines.is_empty() && rests.is_empty()
    );
    assert_eq!(*len, 0);
}
