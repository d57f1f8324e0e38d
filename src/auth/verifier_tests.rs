use std::time::Duration;

use crossbeam_channel::unbounded;
use zeroize::Zeroizing;

use super::*;

const ATTACKER: &str = "192.0.2.66";
/// Far beyond what any step takes: reached only when something never happens.
const NEVER: Duration = Duration::from_secs(30);

/// A verifier whose every verification says that it began and then waits to be let through.
struct Gated {
    verifier: Verifier,
    began: Receiver<String>,
    gate: Sender<()>,
    answers: Receiver<(u32, Option<Identity>)>,
    answer: Sender<(u32, Option<Identity>)>,
}

impl Gated {
    fn new(threads: usize) -> Gated {
        let (begin, began) = unbounded();
        let (gate, opened) = unbounded::<()>();
        let (answer, answers) = unbounded();
        let check = move |login: &Credentials| {
            let user = String::from_utf8(login.user.clone()).unwrap();
            begin.send(user.clone()).unwrap();
            opened.recv().ok()?;
            assert_ne!(user, "panic", "a verification that panics");
            (&login.password[..] == b"right").then(|| Identity::User(user.into()))
        };
        let verifier = Verifier::start_with(Arc::new(check), threads).unwrap();
        Gated { verifier, began, gate, answers, answer }
    }

    fn submit(&self, source: &str, user: &str, password: &[u8], number: u32) -> Result<(), Job> {
        let answer = self.answer.clone();
        self.verifier.submit(Job {
            source: source.parse().unwrap(),
            credentials: credentials(user, password),
            done: Box::new(move |verified| {
                let _ = answer.send((number, verified.identity));
            }),
        })
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

fn credentials(user: &str, password: &[u8]) -> Credentials {
    Credentials { user: user.into(), password: Zeroizing::new(password.to_vec()) }
}

fn user(name: &str) -> Option<Identity> {
    Some(Identity::User(name.into()))
}

#[test]
fn verifies_against_the_users_file_and_gives_the_credentials_back() {
    let text = "alice:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    let users = Users::parse(text, std::path::Path::new("users")).unwrap();
    let verifier = Verifier::start(Arc::new(users), 2).unwrap();
    for (password, expected) in [(&b"myPassword"[..], user("alice")), (b"other", None)] {
        let (send, receive) = unbounded();
        let done = Box::new(move |verified: Verified| send.send(verified).unwrap());
        let source = "2001:db8::1".parse().unwrap();
        verifier.submit(Job { source, credentials: credentials("alice", password), done }).unwrap();
        let verified = receive.recv_timeout(NEVER).unwrap();
        assert_eq!((verified.identity, &verified.credentials.password[..]), (expected, password));
    }
}

/// HAZARDS 8: a thousand wrong logins of one address, and others unaffected.
#[test]
fn a_flood_from_one_source_delays_another_by_a_few_verifications() {
    let gated = Gated::new(1);
    gated.submit(ATTACKER, "first", b"wrong", 0).unwrap();
    assert_eq!(gated.began(), "first");
    let admitted =
        (1..1_000).filter(|n| gated.submit(ATTACKER, &format!("guess {n}"), b"wrong", *n).is_ok()).count();
    assert_eq!(admitted, VERIFY_JOBS_PER_SOURCE_MAX);
    gated.submit("192.0.2.1", "alice", b"right", 5_000).unwrap();
    gated.submit("2001:db8::1", "bob", b"right", 5_001).unwrap();
    gated.open(admitted + 3);
    let order: Vec<_> = (0..admitted + 3).map(|_| gated.answer()).collect();
    let place = |number| order.iter().position(|answer| answer.0 == number).unwrap();
    assert!(place(5_000) <= 3, "alice was answered after {} others", place(5_000));
    assert!(place(5_001) <= 3, "bob was answered after {} others", place(5_001));
    assert_eq!(order[place(5_000)].1, user("alice"));
    assert_eq!(order.iter().filter(|answer| answer.1.is_some()).count(), 2);
}

#[test]
fn a_source_that_is_handed_back_may_come_again_when_its_turn_has_come() {
    let gated = Gated::new(1);
    gated.submit(ATTACKER, "first", b"wrong", 0).unwrap();
    gated.began();
    let mut waiting = 0;
    while gated.submit(ATTACKER, &format!("guess {waiting}"), b"wrong", 1).is_ok() {
        waiting += 1;
    }
    let job = gated.submit(ATTACKER, "alice", b"right", 2).unwrap_err();
    assert_eq!(format!("{job:?}"), "Job { source: 192.0.2.66, .. }");
    gated.open(1);
    gated.began();
    gated.verifier.submit(job).unwrap();
    gated.open(waiting + 1);
    let answers: Vec<_> = (0..waiting + 2).map(|_| gated.answer()).collect();
    assert_eq!(answers.last(), Some(&(2, user("alice"))));
}

#[test]
fn identical_logins_share_one_verification_and_do_not_fill_the_queue() {
    let gated = Gated::new(1);
    gated.submit("192.0.2.1", "other", b"wrong", 0).unwrap();
    assert_eq!(gated.began(), "other");
    let mut sent = 0;
    while sent < 1_000 {
        // Until the dispatcher has put them together, they count as different ones.
        match gated.submit("192.0.2.1", "alice", b"right", 1) {
            Ok(()) => sent += 1,
            Err(_) => thread::yield_now(),
        }
    }
    gated.open(2);
    assert_eq!(gated.answer(), (0, None));
    assert!((0..sent).all(|_| gated.answer() == (1, user("alice"))));
    assert_eq!(gated.began(), "alice");
    assert!(gated.began.is_empty());
    assert_eq!(gated.verifier.admission.total.load(Relaxed), 0);
    assert!(gated.verifier.admission.by_source.iter().all(|count| count.own.load(Relaxed) == 0));
}

#[test]
fn all_together_are_bounded() {
    let gated = Gated::new(1);
    gated.submit("192.0.2.1", "first", b"wrong", 0).unwrap();
    gated.began();
    let sent = (0..20_000_u32)
        .filter(|n| {
            let source = format!("2001:db8:{:x}:{:x}::1", n >> 4, n & 15);
            gated.submit(&source, "guess", b"wrong", *n).is_ok()
        })
        .count();
    assert_eq!(sent, VERIFY_JOBS_MAX - 1);
    // Dropped with all of them waiting: none of them is verified.
    let Gated { verifier, gate, answers, answer, .. } = gated;
    drop((gate, answer));
    drop(verifier);
    assert!(answers.iter().count() <= 3);
}

#[test]
fn a_panic_is_the_failure_of_its_own_login() {
    let gated = Gated::new(1);
    gated.open(3);
    gated.submit("192.0.2.1", "panic", b"right", 0).unwrap();
    assert_eq!(gated.answer(), (0, None));
    let source = "192.0.2.1".parse().unwrap();
    let done = Box::new(|_| panic!("an answer that panics"));
    gated.verifier.submit(Job { source, credentials: credentials("bob", b"right"), done }).unwrap();
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
