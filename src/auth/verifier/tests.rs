use std::cell::RefCell;
use std::sync::atomic::{AtomicI8, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use zeroize::Zeroizing;

use super::*;
use crate::auth::Identity;
use crate::limits::{GUESS_INTERVAL, GUESSES_AT_ONCE, VERIFY_QUEUE_MAX};

const ATTACKER: &str = "192.0.2.66";
/// Far beyond what any step takes: reached only when something never happens.
const NEVER: Duration = Duration::from_secs(30);

const CLOCKS: Clocks = Clocks { now: Instant::now, today: || jiff::civil::date(2026, 11, 28) };

/// A verifier whose every verification says that it began and then waits to be let through.
struct Gated {
    began: Receiver<String>,
    gate: Sender<()>,
    answers: Receiver<(u32, Option<Identity>)>,
    answer: Sender<(u32, Option<Identity>)>,
    /// The clients that wait.
    pending: RefCell<Vec<Pending>>,
    /// Dropped behind the gate: it waits for its threads.
    verifier: Verifier,
}

impl Gated {
    fn new(threads: usize) -> Gated {
        let (begin, began) = unbounded();
        let (gate, opened) = unbounded::<()>();
        let (answer, answers) = unbounded();
        let check = move |login: &Credentials, _: &mut Memory| {
            let user = String::from_utf8(login.user.clone()).unwrap();
            begin.send(user.clone()).unwrap();
            opened.recv().ok()?;
            assert_ne!(user, "panic", "a verification that panics");
            (login.password() == Some(b"right")).then(|| Identity::User(user.into()).into())
        };
        let verifier = Verifier::start_with(Arc::new(check), threads, CLOCKS).unwrap();
        Gated { verifier, began, gate, answers, answer, pending: RefCell::default() }
    }

    fn submit(&self, source: &str, user: &str, password: &[u8], number: u32) -> Result<(), LoginJob> {
        let answer = self.answer.clone();
        self.resubmit(LoginJob {
            source: source.parse().unwrap(),
            credentials: credentials(user, password),
            done: Box::new(move |verified| {
                let _ = answer.send((number, verified.admitted.map(|admitted| admitted.identity)));
            }),
        })
    }

    fn resubmit(&self, job: LoginJob) -> Result<(), LoginJob> {
        self.verifier.submit(job).map(|pending| self.pending.borrow_mut().push(pending))
    }

    /// All clients but the first few leave.
    fn leave(&self, staying: usize) {
        self.pending.borrow_mut().truncate(staying);
    }

    fn began(&self) -> String {
        self.began.recv_timeout(NEVER).unwrap()
    }

    fn open(&self, times: usize) {
        (0..times).for_each(|_| self.gate.send(()).unwrap());
    }

    fn answer(&self) -> (u32, Option<Identity>) {
        self.answers.recv_timeout(NEVER).unwrap()
    }
}

fn credentials(user: &str, password: &[u8]) -> Arc<Credentials> {
    Arc::new(Credentials { user: user.into(), password: Some(Zeroizing::new(password.to_vec())) })
}

fn user(name: &str) -> Option<Identity> {
    Some(Identity::User(name.into()))
}

#[test]
fn verifies_against_the_users_file_and_gives_the_credentials_back() {
    let text = "alice:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    let users = Users::parse(text, std::path::Path::new("users")).unwrap();
    let verifier = Verifier::start(Arc::new(users), 2, CLOCKS).unwrap();
    for (password, expected) in [(&b"myPassword"[..], user("alice")), (b"other", None)] {
        let (send, receive) = unbounded();
        let done = Box::new(move |verified: Verified| send.send(verified).unwrap());
        let source = "2001:db8::1".parse().unwrap();
        let job = LoginJob { source, credentials: credentials("alice", password), done };
        let _pending = verifier.submit(job).unwrap();
        let verified = receive.recv_timeout(NEVER).unwrap();
        assert_eq!(
            (verified.admitted.map(|admitted| admitted.identity), verified.credentials.password()),
            (expected, Some(password))
        );
    }
}

/// HAZARDS 8: a thousand wrong logins of one address, and others unaffected.
#[test]
fn a_flood_from_one_source_delays_another_by_a_few_verifications() {
    let gated = Gated::new(1);
    gated.submit(ATTACKER, "first", b"wrong", 0).unwrap();
    assert_eq!(gated.began(), "first");
    let admitted =
        (1..10_000).filter(|n| gated.submit(ATTACKER, &format!("guess {n}"), b"wrong", *n).is_ok()).count();
    assert_eq!(admitted, VERIFY_JOBS_PER_SOURCE_MAX - 1, "the first one counts until it is answered");
    gated.submit("198.51.100.1", "alice", b"right", 50_000).unwrap();
    gated.submit("2001:db8::1", "bob", b"right", 50_001).unwrap();
    gated.open(4);
    let order: Vec<_> = (0..4).map(|_| gated.answer()).collect();
    assert!(order.contains(&(50_000, user("alice"))) && order.contains(&(50_001, user("bob"))), "{order:?}");
}

/// An IPv6 /48 holds 65,536 sources, which once had a turn each.
#[test]
fn a_network_full_of_sources_delays_another_by_a_few_verifications() {
    let gated = Gated::new(1);
    gated.submit("2001:db8:1::1", "first", b"wrong", 0).unwrap();
    gated.began();
    let flood = |n: u32| gated.submit(&format!("2001:db8:1:{n:x}::1"), "alice", &n.to_le_bytes(), n).is_ok();
    let admitted = (1..10_000).filter(|n| flood(*n)).count();
    assert_eq!(admitted, VERIFY_JOBS_PER_NETWORK_MAX - 1);
    gated.submit("2001:db8:2::1", "alice", b"right", 50_000).unwrap();
    gated.open(3);
    let order: Vec<_> = (0..3).map(|_| gated.answer()).collect();
    assert!(order.contains(&(50_000, user("alice"))), "{order:?}");
}

/// Sixteen thousand clients that had closed already once kept everybody waiting for five seconds.
#[test]
fn a_login_whose_client_has_left_gives_up_its_place_and_its_verification() {
    let gated = Gated::new(1);
    gated.submit(ATTACKER, "first", b"wrong", 0).unwrap();
    gated.began();
    for round in 0..3 * VERIFY_QUEUE_MAX as u32 / VERIFY_JOBS_PER_SOURCE_MAX as u32 {
        let admitted = (1..)
            .take_while(|n| gated.submit(ATTACKER, &format!("{round} {n}"), b"wrong", *n).is_ok())
            .count();
        assert!(admitted >= VERIFY_JOBS_PER_SOURCE_MAX - 1, "{admitted} places in round {round}");
        gated.leave(1);
        // The way to the dispatcher has room for so many, too.
        while gated.verifier.letters.as_ref().is_some_and(|letters| !letters.is_empty()) {
            thread::yield_now();
        }
    }
    gated.submit(ATTACKER, "alice", b"right", 50_000).unwrap();
    gated.open(2);
    assert_eq!([gated.answer(), gated.answer()], [(0, None), (50_000, user("alice"))]);
    assert_eq!(gated.began(), "alice");
    assert!(gated.began.is_empty(), "a login that nobody waits for was verified");
    assert!(gated.verifier.admission.is_empty());
}

#[test]
fn a_source_that_is_handed_back_may_come_again_when_there_is_room() {
    let gated = Gated::new(1);
    gated.submit(ATTACKER, "first", b"wrong", 0).unwrap();
    gated.began();
    let mut users = (0..).map(|n| format!("guess {n}"));
    while users.next().is_some_and(|user| gated.submit(ATTACKER, &user, b"wrong", 1).is_ok()) {}
    let job = gated.submit(ATTACKER, "alice", b"right", 2).unwrap_err();
    assert_eq!(format!("{job:?}"), "LoginJob { source: 192.0.2.66, .. }");
    gated.leave(100);
    gated.resubmit(job).unwrap();
    gated.open(10);
    while gated.answer() != (2, user("alice")) {}
}

/// One hash of 64 that a user's clients ask for who connect together, by however many workers and addresses.
#[test]
fn identical_logins_are_verified_once() {
    let gated = Gated::new(2);
    gated.submit("192.0.2.1", "alice", b"right", 0).unwrap();
    assert_eq!(gated.began(), "alice");
    for n in 1..64 {
        gated
            .submit(["192.0.2.1", "192.0.2.2", "2001:db8::1"][n as usize % 3], "alice", b"right", n)
            .unwrap();
    }
    gated.open(1);
    assert!((0..64).all(|_| gated.answer().1 == user("alice")));
    // And those that come later, from wherever.
    gated.submit("198.51.100.1", "alice", b"right", 64).unwrap();
    assert_eq!(gated.answer(), (64, user("alice")));
    assert!(gated.began.is_empty());
    assert!(gated.verifier.admission.is_empty());
}

/// A client that repeats a wrong password pays for one verification, and is no guesser.
#[test]
fn a_wrong_login_that_is_repeated_is_verified_once() {
    let gated = Gated::new(1);
    gated.open(2);
    for n in 0..20 {
        gated.submit("192.0.2.1", "alice", b"wrong", n).unwrap();
        assert_eq!(gated.answer(), (n, None));
    }
    gated.submit("192.0.2.1", "alice", b"right", 20).unwrap();
    assert_eq!(gated.answer(), (20, user("alice")));
    assert_eq!((gated.began(), gated.began()), ("alice".to_owned(), "alice".to_owned()));
    assert!(gated.began.is_empty());
}

/// Whoever guesses learns nothing from how soon a right guess is answered, known as it may be.
#[test]
fn a_right_guess_of_a_guesser_is_not_told_by_anothers_login() {
    let gated = Gated::new(1);
    gated.open(20);
    for n in 0..GUESSES_AT_ONCE {
        gated.submit(ATTACKER, "alice", &n.to_le_bytes(), n).unwrap();
        assert_eq!(gated.answer(), (n, None));
    }
    let began = Instant::now();
    gated.submit(ATTACKER, "alice", b"right", 50).unwrap();
    // Without a turn of its own it would be told by this one.
    gated.submit("198.51.100.1", "alice", b"right", 51).unwrap();
    assert_eq!(gated.answer(), (51, user("alice")));
    assert_eq!(gated.answer(), (50, user("alice")));
    assert!(began.elapsed() > GUESS_INTERVAL / 2, "{:?}", began.elapsed());
}

#[test]
fn all_together_are_bounded_and_a_newcomer_finds_room() {
    let gated = Gated::new(1);
    gated.submit("192.0.2.1", "first", b"wrong", 0).unwrap();
    gated.began();
    let mut newcomers = 0;
    for network in 0..36 {
        let (mut n, source) = (0, format!("2001:db8:{network:x}::1"));
        while gated.submit(&source, "guess", &u32::to_le_bytes(n), n).is_ok() {
            n += 1;
        }
        // 32 of them could fill it. One may meet another in a counter, four in a row do not.
        newcomers += u32::from(network >= 32 && n > 0);
    }
    assert!(newcomers > 0);
    assert!(gated.pending.borrow().len() <= VERIFY_JOBS_MAX);
    // Dropped with all of them waiting: none of them is verified.
    let Gated { verifier, gate, answers, answer, pending, .. } = gated;
    drop((gate, answer));
    drop(verifier);
    assert!(answers.iter().count() <= 3);
    drop(pending);
}

#[test]
fn new_users_judge_who_comes_and_old_answers_go() {
    let text = "alice:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    let users = |text: &str| Arc::new(Users::parse(text, std::path::Path::new("users")).unwrap());
    let (old, new) = (users(text), users(""));
    let verifier = Verifier::start(Arc::clone(&old), 1, CLOCKS).unwrap();
    let judge = || {
        let (send, receive) = unbounded();
        let done = Box::new(move |verified: Verified| send.send(verified).unwrap());
        let source = "192.0.2.1".parse().unwrap();
        let _pending =
            verifier.submit(LoginJob { source, credentials: credentials("alice", b"myPassword"), done });
        let verified = receive.recv_timeout(NEVER).unwrap();
        (verified.generation, verified.admitted.map(|admitted| admitted.identity))
    };
    assert_eq!(judge(), (0, user("alice")));
    verifier.replace(Arc::clone(&new), Arc::new(old.changed_in(&new)));
    assert_eq!(judge(), (1, None));
    verifier.replace(old, Arc::default());
    assert_eq!(judge(), (2, user("alice")), "a refusal outlives the users that it was by");
}

/// The day on which they are verified counts, and the one on which they are remembered.
#[test]
fn who_is_remembered_is_refused_once_the_last_day_is_over() {
    static DAY: AtomicI8 = AtomicI8::new(30);
    let hash = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    let text = format!("alice:{hash}:expires=2027-01-30\nbob:{hash}:disabled\n");
    let users = Arc::new(Users::parse(&text, std::path::Path::new("users")).unwrap());
    let today = || jiff::civil::date(2027, 1, DAY.load(Ordering::Relaxed));
    let verifier = Verifier::start(users, 1, Clocks { now: Instant::now, today }).unwrap();
    let judge = |name: &str| {
        let (send, receive) = unbounded();
        let done = Box::new(move |verified: Verified| send.send(verified.admitted).unwrap());
        let source = "192.0.2.1".parse().unwrap();
        let _pending =
            verifier.submit(LoginJob { source, credentials: credentials(name, b"myPassword"), done });
        receive.recv_timeout(NEVER).unwrap().map(|admitted| admitted.identity)
    };
    assert_eq!((judge("alice"), judge("alice"), judge("bob")), (user("alice"), user("alice"), None));
    DAY.store(31, Ordering::Relaxed);
    assert_eq!((judge("alice"), judge("bob")), (None, None));
}

#[test]
fn a_panic_is_the_failure_of_its_own_login() {
    let gated = Gated::new(1);
    gated.open(3);
    gated.submit("192.0.2.1", "panic", b"right", 0).unwrap();
    assert_eq!(gated.answer(), (0, None));
    let source = "192.0.2.1".parse().unwrap();
    let done = Box::new(|_| panic!("an answer that panics"));
    gated.resubmit(LoginJob { source, credentials: credentials("bob", b"right"), done }).unwrap();
    gated.submit("192.0.2.1", "alice", b"right", 1).unwrap();
    assert_eq!(gated.answer(), (1, user("alice")));
}

#[test]
fn threads_work_side_by_side() {
    let gated = Gated::new(3);
    for n in 0..3 {
        gated.submit("192.0.2.1", &format!("user {n}"), b"right", n).unwrap();
    }
    let mut began = [gated.began(), gated.began(), gated.began()];
    began.sort();
    assert_eq!(began, ["user 0", "user 1", "user 2"]);
    gated.open(3);
    let mut answers = [gated.answer().0, gated.answer().0, gated.answer().0];
    answers.sort_unstable();
    assert_eq!(answers, [0, 1, 2]);
}
