//! The Kerberos realm and the initiator test themselves: initiator against acceptor, without a server.

use std::path::Path;
use std::time::Duration;

use crate::support::gss::{End, INTEGRITY, Initiator, MUTUAL, Round, SERVICE, USUAL, frame};
use crate::support::origin::pattern;
use crate::support::realm::Realm;
use crate::support::wait::{self, PATIENCE};

/// The realm, or the end of the test where there can be none.
macro_rules! realm {
    () => {
        match $crate::support::realm::Realm::shared(&test_name!()) {
            Some(realm) => realm,
            None => return,
        }
    };
}
pub(crate) use realm;

fn acceptor(realm: &Realm, keytab: &Path) -> End {
    let mut environment = realm.environment();
    environment.push(("KRB5_KTNAME", keytab.into()));
    let mut end = End::start(environment);
    end.listen().expect("credentials of the keytab");
    end
}

/// Leads two ends to a context; the acceptor's tokens.
fn establish(ours: &mut End, theirs: &mut End, flags: u32) -> Vec<Vec<u8>> {
    let mut round = ours.initiate(SERVICE, flags).expect("the first token");
    let mut answers = Vec::new();
    loop {
        let Round { done, token } = theirs.accept(&round.token).expect("accept");
        answers.push(token.clone());
        if !round.done {
            round = ours.proceed(&token).expect("the answer");
        }
        if done {
            assert!(round.done);
            return answers;
        }
    }
}

#[test]
fn a_message_is_wrapped_and_unwrapped_each_way() {
    let realm = realm!();
    let (mut ours, mut theirs) = (Initiator::of(realm, "alice"), acceptor(realm, &realm.keytab()));
    assert_eq!(establish(&mut ours, &mut theirs, USUAL).len(), 1);
    assert_eq!(theirs.initiator(), "alice@OUTFLOW.TEST");
    for confidential in [false, true] {
        for length in [0, 1, 16, 1000, 60_000] {
            let bytes = pattern(7, length);
            let token = ours.wrap(&bytes, confidential);
            assert_eq!(theirs.unwrap(&token), Ok((confidential, bytes.clone())));
            assert_eq!(
                token.windows(16).any(|window| length >= 16 && window == &bytes[..16]),
                !confidential && length >= 16
            );
            let token = theirs.wrap(&bytes, confidential);
            assert_eq!(ours.unwrap(&token), Ok((confidential, bytes)));
        }
        let most = ours.size_limit(confidential, 65_535);
        assert!((65_000..65_535).contains(&most), "{most}");
        let token = ours.wrap(&pattern(0, most as usize), confidential);
        assert!(token.len() <= 65_535);
        theirs.unwrap(&token).expect("the longest message");
    }
}

#[test]
fn a_changed_or_repeated_message_is_refused() {
    let realm = realm!();
    let (mut ours, mut theirs) = (Initiator::of(realm, "bob"), acceptor(realm, &realm.keytab()));
    establish(&mut ours, &mut theirs, USUAL);
    let token = ours.wrap(b"once", true);
    assert_eq!(theirs.unwrap(&token), Ok((true, b"once".to_vec())));
    let again = theirs.unwrap(&token).expect_err("a repeated message");
    assert!(again.contains("DuplicateToken"), "{again}");
    let mut changed = ours.wrap(b"twice", true);
    *changed.last_mut().expect("a token") ^= 1;
    assert!(theirs.unwrap(&changed).is_err());
}

/// RFC 1961 section 3.2: the acceptor's token is what mutual authentication is made of; without it there is none.
#[test]
fn an_acceptor_answers_though_nothing_is_asked_of_it() {
    let realm = realm!();
    let (mut ours, mut theirs) = (Initiator::of(realm, "alice"), acceptor(realm, &realm.keytab()));
    assert_eq!(establish(&mut ours, &mut theirs, INTEGRITY), [b""]);
    theirs.listen().expect("a new context");
    let answers = establish(&mut ours, &mut theirs, INTEGRITY | MUTUAL);
    assert!(answers.len() == 1 && !answers[0].is_empty());
}

#[test]
fn a_token_is_taken_once() {
    let realm = realm!();
    let (mut ours, mut theirs) = (Initiator::of(realm, "alice"), acceptor(realm, &realm.keytab()));
    let token = ours.initiate(SERVICE, USUAL).expect("a token").token;
    assert!(theirs.accept(&token).expect("accept").done);
    theirs.listen().expect("a new context");
    let error = theirs.accept(&token).expect_err("the same token");
    assert!(error.contains("replay"), "{error}");
}

#[test]
fn the_users_of_the_realms_are_whom_they_say() {
    let realm = realm!();
    let mut theirs = acceptor(realm, &realm.keytab());
    let users = [
        ("bob", "bob@OUTFLOW.TEST"),
        ("carol/admin", "carol/admin@OUTFLOW.TEST"),
        ("dave@FRIEND.TEST", "dave@FRIEND.TEST"),
    ];
    for (user, principal) in users {
        theirs.listen().expect("a new context");
        establish(&mut Initiator::of(realm, user), &mut theirs, USUAL);
        assert_eq!(theirs.initiator(), principal);
    }
    let mut erin = Initiator::of(realm, "erin@OTHER.TEST");
    erin.initiate("rcmd/localhost@OUTFLOW.TEST", USUAL).expect_err("no trust between the realms");
    let foreign =
        erin.initiate("rcmd/localhost@OTHER.TEST", USUAL).expect("a token for her own realm's service");
    theirs.listen().expect("a new context");
    theirs.accept(&foreign.token).expect_err("a ticket of another realm");
    Initiator::over(realm, &realm.no_tickets()).initiate(SERVICE, USUAL).expect_err("no tickets");
}

#[test]
fn a_short_ticket_expires() {
    let realm = realm!();
    let short = realm.short_lived("alice", Duration::from_secs(2));
    let initiator = || Initiator::over(realm, &short);
    initiator().initiate(SERVICE, USUAL).expect("still good");
    wait::until_true("the ticket expires", PATIENCE, || initiator().initiate(SERVICE, USUAL).is_err());
}

#[test]
fn the_kdc_ends_with_its_realm() {
    let _ = realm!();
    let realm = Realm::start();
    let pid =
        wait::until("the KDC's number", PATIENCE, || std::fs::read_to_string(realm.path("kdc.pid")).ok());
    let process = format!("/proc/{}/cmdline", pid.trim());
    let runs = || std::fs::read_to_string(&process).is_ok_and(|line| line.contains("krb5kdc"));
    assert!(runs(), "{process}");
    let folder = realm.path("");
    drop(realm);
    wait::until_true("the KDC is gone", PATIENCE, || !runs());
    assert!(!folder.exists());
}

#[test]
fn frames_by_hand() {
    assert_eq!(frame(1, b"ab"), b"\x01\x01\x00\x02ab");
    assert_eq!(frame(3, &[7; 300])[..4], [1, 3, 1, 44]);
}
