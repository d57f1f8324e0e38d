use std::cell::RefCell;
use std::time::Duration;

use crossbeam_channel::unbounded;

use super::*;

const FLOODER: &str = "192.0.2.66";
/// Far beyond what any step takes: reached only when something never happens.
const NEVER: Duration = Duration::from_secs(30);

/// An acceptor whose every round says that it began and then waits to be let through.
struct GatedAcceptor {
    library: &'static Library,
    began: Receiver<Vec<u8>>,
    gate: Sender<()>,
    answers: Receiver<(Vec<u8>, ContextState)>,
    answer: Sender<(Vec<u8>, ContextState)>,
    /// The clients that wait.
    pending: RefCell<Vec<Pending>>,
    /// Dropped behind the gate: it waits for its threads.
    acceptor: ContextAcceptor,
}

impl GatedAcceptor {
    /// `None` where the system has no GSSAPI library: a context is of its making.
    fn new(threads: usize) -> Option<GatedAcceptor> {
        let library = Library::load().inspect_err(|why| eprintln!("skipped: {why}")).ok()?;
        let (begin, began) = unbounded();
        let (gate, opened) = unbounded::<()>();
        let (answer, answers) = unbounded();
        let accept = move |_: &mut Context, token: &[u8]| {
            begin.send(token.to_vec()).unwrap();
            let _ = opened.recv();
            assert_ne!(token, b"panic", "a round that panics");
            let initiator = std::str::from_utf8(token).unwrap();
            let established = (token != b"more").then(|| established(initiator));
            Ok(Accepted { token: [b"to ", token].concat(), established })
        };
        let acceptor = ContextAcceptor::start_with(Arc::new(accept), threads).unwrap();
        Some(GatedAcceptor { library, acceptor, began, gate, answers, answer, pending: RefCell::default() })
    }

    fn submit(&self, source: &str, token: &str) -> Result<(), Exchange> {
        let answer = self.answer.clone();
        self.resubmit(Exchange {
            source: source.parse().unwrap(),
            context: Context::new(self.library),
            token: token.into(),
            done: Box::new(move |exchanged| {
                let _ = answer.send((exchanged.token, exchanged.outcome));
            }),
        })
    }

    fn resubmit(&self, exchange: Exchange) -> Result<(), Exchange> {
        self.acceptor.submit(exchange).map(|pending| self.pending.borrow_mut().push(pending))
    }

    fn began(&self) -> Vec<u8> {
        self.began.recv_timeout(NEVER).unwrap()
    }

    fn open(&self, times: usize) {
        (0..times).for_each(|_| self.gate.send(()).unwrap());
    }

    fn answer(&self) -> (Vec<u8>, ContextState) {
        self.answers.recv_timeout(NEVER).unwrap()
    }
}

fn established(initiator: &str) -> Established {
    Established {
        initiator: initiator.to_owned(),
        acceptor: "rcmd/proxy.example.org@EXAMPLE.ORG".to_owned(),
        replay_detection: true,
        sequence_detection: false,
        confidentiality: true,
        integrity: true,
    }
}

fn peer(user: &str) -> ContextState {
    ContextState::Established(Peer {
        identity: Identity::User(user.into()),
        replay_detection: true,
        sequence_detection: false,
        confidentiality: true,
        integrity: true,
    })
}

#[test]
fn each_round_gives_its_token_and_the_state_of_its_context() {
    let Some(gated) = GatedAcceptor::new(1) else { return };
    gated.open(3);
    gated.submit("192.0.2.1", "more").unwrap();
    assert_eq!(gated.answer(), (b"to more".to_vec(), ContextState::Continue));
    gated.submit("192.0.2.1", "alice@EXAMPLE.ORG").unwrap();
    assert_eq!(gated.answer(), (b"to alice@EXAMPLE.ORG".to_vec(), peer("alice")));
    gated.submit("192.0.2.1", "@EXAMPLE.ORG").unwrap();
    let failed = ContextState::Failed("the principal's name is empty".to_owned());
    assert_eq!(gated.answer(), (Vec::new(), failed));
}

#[test]
fn a_panic_is_the_failure_of_its_own_round() {
    let Some(gated) = GatedAcceptor::new(1) else { return };
    gated.open(3);
    gated.submit("192.0.2.1", "panic").unwrap();
    assert!(matches!(gated.answer(), (token, ContextState::Failed(_)) if token.is_empty()));
    let done = Box::new(|_| panic!("an answer that panics"));
    let context = Context::new(gated.library);
    let source = "192.0.2.1".parse().unwrap();
    gated.resubmit(Exchange { source, context, token: b"bob@B".to_vec(), done }).unwrap();
    gated.submit("192.0.2.1", "alice@A").unwrap();
    assert_eq!(gated.answer().1, peer("alice@A"));
}

#[test]
fn a_source_leaves_places_to_others() {
    let Some(gated) = GatedAcceptor::new(1) else { return };
    let admitted = (0..1_000).filter(|n| gated.submit(FLOODER, &format!("{n}@F")).is_ok()).count();
    assert_eq!(gated.acceptor.queue().load(), (admitted, GSS_JOBS_MAX), "each is told of");
    assert_eq!(admitted, GSS_JOBS_PER_SOURCE_MAX);
    gated.submit("192.0.2.1", "alice@A").unwrap();
    let refused = gated.submit(FLOODER, "again@F").unwrap_err();
    assert_eq!(format!("{refused:?}"), "Exchange { source: 192.0.2.66, .. }");
    gated.open(1);
    gated.answer();
    gated.resubmit(refused).unwrap();
    gated.open(admitted + 1);
    let order: Vec<_> = (0..=admitted).map(|_| gated.answer().1).collect();
    assert_eq!(order.last(), Some(&peer("again@F")));
    assert_eq!(order[admitted - 1], peer("alice@A"));
    assert!(gated.acceptor.pool.admission.is_empty());
}

/// An IPv6 /48 holds 65,536 sources.
#[test]
fn a_network_leaves_places_to_others() {
    let Some(gated) = GatedAcceptor::new(1) else { return };
    let admitted =
        (0..GSS_JOBS_MAX).filter(|n| gated.submit(&format!("2001:db8:1:{n:x}::1"), "a@B").is_ok()).count();
    assert_eq!(admitted, GSS_JOBS_PER_NETWORK_MAX);
    gated.submit("2001:db8:2::1", "alice@A").unwrap();
    gated.open(admitted + 1);
}

#[test]
fn an_exchange_whose_client_has_left_gives_up_its_place_and_its_round() {
    let Some(gated) = GatedAcceptor::new(1) else { return };
    gated.submit(FLOODER, "first@F").unwrap();
    gated.began();
    while gated.submit(FLOODER, "left@F").is_ok() {}
    gated.pending.borrow_mut().truncate(1);
    gated.submit(FLOODER, "alice@A").unwrap();
    gated.open(2);
    assert_eq!([gated.answer().1, gated.answer().1], [peer("first@F"), peer("alice@A")]);
    assert_eq!(gated.began(), b"alice@A");
    assert!(gated.began.is_empty());
}

#[test]
fn all_together_are_bounded() {
    let Some(gated) = GatedAcceptor::new(1) else { return };
    let source = |n: usize| format!("2001:db8:{n:x}::1");
    let admitted = (0..GSS_JOBS_MAX * 2).filter(|n| gated.submit(&source(*n), "a@B").is_ok()).count();
    assert_eq!(admitted, GSS_JOBS_MAX);
    gated.began();
    // It ends with all of them waiting: only what had begun is answered. The gate opens once that is known, or the
    // thread may be through several rounds before.
    let GatedAcceptor { mut acceptor, gate, answers, answer, .. } = gated;
    std::sync::Arc::get_mut(&mut acceptor.pool).expect("nobody else has them").stop();
    drop((gate, answer));
    drop(acceptor);
    assert!(answers.iter().count() <= 1);
}

#[test]
fn threads_work_side_by_side() {
    let Some(gated) = GatedAcceptor::new(3) else { return };
    for token in ["a@A", "b@A", "c@A"] {
        gated.submit("192.0.2.1", token).unwrap();
    }
    let mut began = [gated.began(), gated.began(), gated.began()];
    began.sort();
    assert_eq!(began, [b"a@A", b"b@A", b"c@A"]);
    gated.open(3);
}

#[test]
fn a_principal_of_another_realm_keeps_its_realm() {
    let acceptor = "rcmd/proxy.example.org@EXAMPLE.ORG";
    for (initiator, user) in [
        ("alice@EXAMPLE.ORG", "alice"),
        ("carol/admin@EXAMPLE.ORG", "carol/admin"),
        ("alice@OTHER.ORG", "alice@OTHER.ORG"),
        ("alice@example.org", "alice@example.org"),
        ("alice@SUB.EXAMPLE.ORG", "alice@SUB.EXAMPLE.ORG"),
        ("alice\\@EXAMPLE.ORG", "alice\\@EXAMPLE.ORG"),
        ("alice\\@EXAMPLE.ORG@OTHER.ORG", "alice\\@EXAMPLE.ORG@OTHER.ORG"),
        ("alice\\@OTHER.ORG@EXAMPLE.ORG", "alice\\@OTHER.ORG"),
        ("alice\\\\@EXAMPLE.ORG", "alice\\\\"),
        ("alice", "alice"),
        ("älice@EXAMPLE.ORG", "älice"),
    ] {
        assert_eq!(user_of(initiator, acceptor), Ok(user), "{initiator}");
    }
    assert_eq!(user_of("alice@A", "rcmd/proxy"), Ok("alice@A"));
    assert_eq!(user_of("alice", "rcmd/proxy"), Ok("alice"));
}

#[test]
fn a_name_that_no_record_can_hold_is_refused() {
    let acceptor = "rcmd/proxy@A";
    for initiator in ["", "@A", "al\nice@A", "al\u{1b}[0mice@A", "al\u{85}ice@A"] {
        assert!(user_of(initiator, acceptor).is_err(), "{initiator:?}");
    }
    let longest = "a".repeat(USER_NAME_MAX);
    assert_eq!(user_of(&format!("{longest}@A"), acceptor), Ok(&*longest));
    assert!(user_of(&format!("{longest}a@A"), acceptor).is_err());
    assert!(user_of(&format!("{longest}@B"), acceptor).is_err());
}
