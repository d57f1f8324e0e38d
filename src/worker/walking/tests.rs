//! What a worker tells of its sessions, and how it ends them, turn by turn.

mod running;
mod standing;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::*;
use crate::config::{Access, Config};
use crate::observe::live::{LiveSession, LiveState, SessionId};
use crate::observe::{Counted, Totals, lines};
use crate::worker::mailbox::Killed;
use crate::worker::snapshot::{Ceilings, Snapshot};
use crate::worker::tests::{ask_for, connection, open_to_all, setup, worker_of};
use crate::worker::tokens::Key;
use crate::worker::watch::Edge;
use crate::worker::{Mail, phases};

/// A worker with room for many sessions, of which there is one, and its client's end.
fn roomy() -> (Worker, Key, TcpStream) {
    worker_of(setup(), roomy_snapshot())
}

fn roomy_snapshot() -> Snapshot {
    let ceilings = Ceilings { sessions: 10_000, second_attempts: 0, names_beside: 8, pipes: 8 };
    Snapshot { ceilings, ..open_to_all(limits::LINGER) }
}

/// One more session, and its client's end.
fn join(worker: &mut Worker) -> (Key, TcpStream) {
    let (accepted, incoming, client) = connection();
    let key = Key::new(worker.slots.vacant_key(), worker.core.next_serial);
    worker.admit(accepted, incoming);
    (key, client)
}

/// Asks for those that pass.
fn ask(worker: &mut Worker, filter: SessionFilter) -> Receiver<Listed> {
    let (sender, answers) = unbounded();
    worker.read_mail(Mail::List { filter: Arc::new(filter), reply: Reply::new(sender, None) });
    answers
}

/// Asks for the end of these.
fn ask_to_kill(worker: &mut Worker, which: Selection) -> Receiver<Killed> {
    let (sender, answers) = unbounded();
    worker.read_mail(Mail::Kill { which: Arc::new(which), reply: Reply::new(sender, None) });
    answers
}

/// Goes on until no walk is left.
fn walk_to_the_end(worker: &mut Worker) {
    while !worker.walks.is_empty() {
        assert_eq!(
            worker.timeout(Instant::now()),
            Some(Duration::ZERO),
            "a worker that walks does not sleep"
        );
        worker.walk();
    }
}

/// Everything that was told, and how that ended.
fn told(answers: &Receiver<Listed>) -> (Vec<LiveSession>, Option<(Walked, usize)>) {
    let (mut sessions, mut ended) = (Vec::new(), None);
    for answer in answers.try_iter() {
        assert!(ended.is_none(), "nothing comes behind the end");
        match answer {
            Listed::Page(page) => {
                assert!(page.len() <= limits::LIST_PAGE_SESSIONS);
                sessions.extend(page);
            }
            Listed::End { walked, total, .. } => ended = Some((walked, total)),
        }
    }
    (sessions, ended)
}

fn list(worker: &mut Worker, filter: SessionFilter) -> Vec<LiveSession> {
    let answers = ask(worker, filter);
    walk_to_the_end(worker);
    let (sessions, ended) = told(&answers);
    assert_eq!(ended, Some((Walked::Whole, worker.slots.len())));
    sessions
}

fn kill(worker: &mut Worker, which: Selection) -> u64 {
    let answers = ask_to_kill(worker, which);
    walk_to_the_end(worker);
    let killed = answers.try_recv().expect("an answer");
    assert_eq!(killed.walked, Walked::Whole);
    killed.ended
}

fn id(worker: &Worker, key: Key) -> SessionId {
    View::of(&worker.core, &worker.slots[key.index()]).id()
}

/// Whether the other side ended the connection, and reset it.
fn is_reset(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// Whether a connection is there still.
fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn who_stays_is_told_of_once_however_many_come_and_go_meanwhile() {
    let (mut worker, first, client) = roomy();
    let mut live = HashMap::from([(first.index(), (first, client))]);
    for _ in 0..299 {
        let (key, client) = join(&mut worker);
        live.insert(key.index(), (key, client));
    }
    let there: HashSet<SessionId> = live.values().map(|(key, _)| id(&worker, *key)).collect();
    let answers = ask(&mut worker, SessionFilter::default());
    let (mut gone, mut turn) = (HashSet::new(), 0);
    while !worker.walks.is_empty() {
        worker.walk();
        // Some of the places that are looked at next, and some that were, fall to others.
        for index in (turn..300).step_by(7) {
            let (key, _client) = live.remove(&index).expect("a session in every place");
            gone.insert(id(&worker, key));
            worker.close(index, Reason::Completed);
        }
        for _ in (turn..300).step_by(7) {
            let (key, client) = join(&mut worker);
            live.insert(key.index(), (key, client));
        }
        turn += 1;
    }
    let (sessions, ended) = told(&answers);
    assert_eq!(ended, Some((Walked::Whole, 300)));
    let ids: HashSet<SessionId> = sessions.iter().map(|session| session.id).collect();
    assert_eq!(ids.len(), sessions.len(), "none is told of twice");
    assert!(turn > 3 && gone.intersection(&there).count() > 100, "the test moves too little");
    let left_out: Vec<_> = there.difference(&gone).filter(|id| !ids.contains(id)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn too_many_who_ask_at_a_time_are_refused_and_the_others_answered() {
    let (mut worker, ..) = roomy();
    let answers: Vec<_> =
        (0..=limits::WALKS_MAX).map(|_| ask(&mut worker, SessionFilter::default())).collect();
    let killed = ask_to_kill(&mut worker, Selection::Ids(HashSet::new()));
    assert_eq!(killed.try_recv(), Ok(Killed { worker: 0, walked: Walked::Refused, ended: 0 }));
    walk_to_the_end(&mut worker);
    let (refused, others) = answers.split_last().expect("some asked");
    let (sessions, ended) = told(refused);
    assert_eq!((sessions.len(), ended), (0, Some((Walked::Refused, 1))));
    for answers in others {
        let (sessions, ended) = told(answers);
        assert_eq!((sessions.len(), ended), (1, Some((Walked::Whole, 1))));
    }
}

#[test]
fn a_listing_that_nobody_reads_any_more_ends() {
    let (mut worker, ..) = roomy();
    drop(ask(&mut worker, SessionFilter::default()));
    worker.walk();
    assert!(worker.walks.is_empty());
    let (sender, answers) = crossbeam_channel::bounded(0);
    worker.read_mail(Mail::List { filter: Arc::default(), reply: Reply::new(sender, None) });
    worker.walk();
    assert!(worker.walks.is_empty(), "a worker waits for nobody who does not take his pages");
    drop(answers);
}

#[test]
fn who_asked_a_worker_that_ends_is_told_so() {
    let (mut worker, ..) = roomy();
    let listed = ask(&mut worker, SessionFilter::default());
    let killed = ask_to_kill(&mut worker, Selection::Filter(SessionFilter::default()));
    drop(worker);
    assert_eq!(told(&listed).1, Some((Walked::Broken, 0)));
    assert_eq!(killed.try_recv(), Ok(Killed { worker: 0, walked: Walked::Broken, ended: 0 }));
}

/// A session that relays to `target`: its key, and the target's end.
fn relay(worker: &mut Worker, key: Key, client: &mut TcpStream) -> TcpStream {
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    ask_for(worker, key, client, &target);
    worker.with(key, |core, slot| phases::event(core, slot, 1, Edge { writable: true, ..Edge::default() }));
    assert!(matches!(worker.slots[key.index()].phase, Phase::Relaying(_)));
    client.read_exact(&mut [0; 12]).expect("a method and a reply");
    target.accept().expect("a connection").0
}

#[test]
fn a_relay_is_told_of_with_all_that_its_record_would_say_now() {
    let (mut worker, key, mut client) = roomy();
    let mut target = relay(&mut worker, key, &mut client);
    client.write_all(b"hello").expect("the client sends");
    worker.with(key, |core, slot| phases::event(core, slot, 0, Edge { readable: true, ..Edge::default() }));
    target.read_exact(&mut [0; 5]).expect("the bytes");
    worker.core.now += Duration::from_millis(1500);
    let [session] = &list(&mut worker, SessionFilter::default())[..] else { panic!("one session") };
    let asked = target.local_addr().expect("its address");
    assert_eq!(session.target.as_ref().map(ToString::to_string), Some(asked.to_string()));
    assert_eq!(session.address, Some(asked));
    assert_eq!(session.local, target.peer_addr().ok());
    assert_eq!(Some(session.client), client.local_addr().ok());
    assert_eq!(
        (session.command, session.method, session.user.as_deref()),
        (Some("connect"), Some("none"), None)
    );
    assert_eq!((session.state, session.engine, session.reply), (LiveState::Relaying, Some("copy"), Some(0)));
    assert_eq!((session.bytes_up, session.bytes_down), (5, 0));
    assert!((1500..9000).contains(&session.age_ms) && session.idle_ms >= 1500, "{session:?}");
}

#[test]
fn a_filter_chooses_who_is_told_of_and_who_is_ended() {
    let (mut worker, key, mut client) = roomy();
    let (_, mut other) = join(&mut worker);
    let target = relay(&mut worker, key, &mut client);
    let asked = target.local_addr().expect("its address").to_string();
    let of_target = || SessionFilter { target: asked.parse().ok(), ..SessionFilter::default() };
    let handshakes = || SessionFilter { state: Some(LiveState::Handshake), ..SessionFilter::default() };
    assert_eq!(list(&mut worker, of_target()).len(), 1);
    assert_eq!(list(&mut worker, handshakes()).len(), 1);
    assert_eq!(kill(&mut worker, Selection::Filter(of_target())), 1);
    assert_eq!(list(&mut worker, of_target()).len(), 0);
    assert!(is_reset(&mut client) && is_open(&mut other));
    assert_eq!(kill(&mut worker, Selection::Filter(handshakes())), 1);
    assert!(is_reset(&mut other));
}

#[test]
fn those_with_these_ids_are_ended_in_shares_of_a_turn_and_no_others() {
    let (queue, receiver) = lines(1 << 20);
    let mut snapshot = roomy_snapshot();
    let mut config = Config::clone(&snapshot.config);
    config.log.access = Access::Stdout;
    (snapshot.config, snapshot.records) = (Arc::new(config), Some(queue));
    let (mut worker, first, first_client) = worker_of(setup(), snapshot);
    let mut sessions = vec![(first, first_client)];
    sessions.extend((0..99).map(|_| join(&mut worker)));
    let ids: HashSet<SessionId> = sessions.iter().step_by(2).map(|(key, _)| id(&worker, *key)).collect();
    let others = ids.iter().map(|id| SessionId { worker: 1, ..*id });
    let elsewhere = Selection::Ids(others.chain([SessionId { boot: 9, ..id(&worker, first) }]).collect());
    assert_eq!(kill(&mut worker, elsewhere), 0);
    let answers = ask_to_kill(&mut worker, Selection::Ids(ids));
    worker.walk();
    assert_eq!(worker.slots.len(), 100 - limits::KILLS_PER_TURN);
    walk_to_the_end(&mut worker);
    assert_eq!(answers.try_recv(), Ok(Killed { worker: 0, walked: Walked::Whole, ended: 50 }));
    for (number, (_, client)) in sessions.iter_mut().enumerate() {
        assert!(if number % 2 == 0 { is_reset(client) } else { is_open(client) }, "session {number}");
    }
    let totals = Totals::of([&*worker.core.counters]);
    assert_eq!(totals.count_of(Counted::Closed(Reason::Killed)), 50);
    worker.core.records.flush(worker.core.now, true);
    let batch = receiver.receive(Duration::ZERO).expect("no error").expect("records");
    let text = String::from_utf8_lossy(&batch.bytes).into_owned();
    assert_eq!(text.matches("\"reason\":\"killed\"").count(), 50, "{text}");
}
