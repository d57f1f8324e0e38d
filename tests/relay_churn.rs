//! Sessions that end at the worst moment leave nothing to those that come after: no byte, no event, no
//! descriptor.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use crate::support::client::{connect_ip, reset};
use crate::support::keyed::{End, Keyed, mix};
use crate::support::pairs::{
    KIB, Listener, MIB, Pair, Record, Shape, Stand, WAYS, Way, connect, expect_method, expect_success,
    finish, transfer,
};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Relay};

engines!(
    killed_sessions_leave_no_bytes_to_others,
    an_old_event_does_not_reach_the_new_owner_of_its_descriptor
);
engines!(no_descriptor_leaks, records_count_what_was_delivered);

/// HAZARDS 22: sessions are killed with bytes in every buffer and pipe, while others of the same worker
/// borrow and return them. Whatever any reader ever sees belongs to its own stream.
fn killed_sessions_leave_no_bytes_to_others(engine: Engine) {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 500;
    let stand = Stand::new(engine);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let server = stand.relay.addr();
            scope.spawn(move || {
                let target = Listener::new(Shape::Narrow);
                for round in 0..ROUNDS {
                    let pair = Pair::open(server, &target, Shape::Narrow);
                    live_or_die(pair, thread * ROUNDS + round);
                }
            });
        }
    });
    let records = stand.records((THREADS * ROUNDS) as usize);
    let reset = records.iter().filter(|record| record.reason.ends_with("_reset")).count();
    assert!(reset > records.len() / 2, "{reset} of {} were killed", records.len());
}

fn live_or_die(pair: Pair, number: u64) {
    let chance = mix(number);
    let way = WAYS[(chance & 1) as usize];
    let (up, down) = (number << 1, (number << 1) | 1);
    let key = if way == Way::Up { up } else { down };
    match (chance >> 8) % 4 {
        // Bytes everywhere, none read: the sender kills it.
        0 => {
            let (from, to) = pair.into_ends(way);
            Keyed::new(key).send_what_fits(&from, 2 * MIB);
            reset(from);
            assert_eq!(Keyed::new(key).receive_to_end(&to), End::Reset, "{number}");
        }
        // Some read: the receiver kills it.
        1 => {
            let (from, to) = pair.into_ends(way);
            let mut sent = Keyed::new(key);
            sent.send_what_fits(&from, 2 * MIB);
            Keyed::new(key).receive(&to, sent.count.min(chance >> 40 & 0xffff));
            reset(to);
            sent.try_send(&from, 64 * MIB).expect_err("the sender learns of the reset");
        }
        // Both ways full; both ends kill it.
        2 => {
            Keyed::new(up).send_what_fits(&pair.client, MIB);
            Keyed::new(down).send_what_fits(&pair.target, MIB);
            reset(pair.client);
            reset(pair.target);
        }
        // This one lives: bytes both ways, all right.
        _ => {
            for (key, way) in [(up, Way::Up), (down, Way::Down)] {
                let (from, to) = pair.ends(way);
                let mut sent = Keyed::new(key);
                sent.send_what_fits(from, 256 * KIB);
                finish(from);
                Keyed::new(key).receive_all(to, sent.count);
            }
        }
    }
}

/// HAZARDS 33: while the server is stopped, sessions die and others come, so that one batch of events holds
/// the end of the old and the bytes of the new, and new sockets get the numbers of the old.
fn an_old_event_does_not_reach_the_new_owner_of_its_descriptor(engine: Engine) {
    const HALF: usize = 24;
    const ROUNDS: usize = 40;
    let stand = Stand::new(engine);
    let mut keys = 0..;
    let mut live: Vec<(Pair, u64)> = keys.by_ref().take(2 * HALF).map(|key| (stand.open(), key)).collect();
    for round in 0..ROUNDS {
        stand.relay.signal("STOP");
        let survivors = live.split_off(HALF);
        for (number, (pair, _)) in live.drain(..).enumerate() {
            end_somehow(pair, number + round);
        }
        for (pair, key) in &survivors {
            Keyed::new(*key).send(&pair.client, 5 * KIB);
            Keyed::new(!*key).send(&pair.target, 5 * KIB);
        }
        let newcomers = keys.by_ref().take(HALF).map(|key| (everything_said(&stand, key), key)).collect();
        stand.relay.signal("CONT");
        for (pair, key) in &survivors {
            Keyed::new(*key).receive(&pair.target, 5 * KIB);
            Keyed::new(!*key).receive(&pair.client, 5 * KIB);
        }
        live = survivors;
        live.extend(paired(&stand, newcomers));
    }
    drop(live);
    stand.records((ROUNDS + 2) * HALF);
}

fn end_somehow(pair: Pair, number: usize) {
    match number % 4 {
        0 => reset(pair.client),
        1 => reset(pair.target),
        2 => {
            reset(pair.client);
            reset(pair.target);
        }
        _ => drop(pair),
    }
}

/// A client that has sent its greeting, its request and 5 KiB, and read nothing.
fn everything_said(stand: &Stand, key: u64) -> TcpStream {
    let mut client = connect(stand.relay.addr(), Shape::Plain);
    let mut burst = vec![5, 1, 0];
    burst.extend(connect_ip(stand.target.addr()));
    burst.extend(Keyed::new(key).take(5 * 1024));
    client.write_all(&burst).expect("send everything at once");
    client
}

/// Finds the far end of each client by the address in its reply, and its 5 KiB there.
fn paired(stand: &Stand, clients: Vec<(TcpStream, u64)>) -> Vec<(Pair, u64)> {
    let mut targets: HashMap<SocketAddr, TcpStream> = HashMap::new();
    for _ in &clients {
        let target = stand.target.accept();
        targets.insert(target.peer_addr().expect("peer address"), target);
    }
    let mut pairs = Vec::new();
    for (client, key) in clients {
        expect_method(&client);
        let bound = expect_success(&client);
        let target = targets.remove(&bound).expect("BND is the address of a connection");
        Keyed::new(key).receive(&target, 5 * KIB);
        pairs.push((Pair { client, target }, key));
    }
    pairs
}

/// Sessions come and go in every way; the server ends with the sockets it began with, and with no more pipes
/// than one round could borrow at a time.
fn no_descriptor_leaks(engine: Engine) {
    const SESSIONS: u64 = 16;
    let stand = Stand::narrow(Relay::builder().engine(engine));
    let (sockets, others) = (stand.sockets(), stand.relay.fds() - 2 * stand.pipes() - stand.sockets());
    for round in 0..12 {
        thread::scope(|scope| {
            for number in round * SESSIONS..(round + 1) * SESSIONS {
                let pair = stand.open();
                scope.spawn(move || live_or_die(pair, number));
            }
        });
        wait::until_true("every socket is closed", PATIENCE, || stand.sockets() == sockets);
        let pipes = stand.pipes();
        assert!(pipes <= 2 * SESSIONS as usize, "{pipes} pipes after round {round}");
    }
    assert_eq!(stand.relay.fds() - 2 * stand.pipes() - stand.sockets(), others, "other descriptors");
    stand.records(12 * SESSIONS as usize);
}

/// Every session leaves one record, and its bytes are those that were delivered.
fn records_count_what_was_delivered(engine: Engine) {
    let stand = Stand::new(engine);
    let mut truth: Vec<Record> = Vec::new();
    for number in 0..40 {
        let pair = stand.open();
        let up = [0, 1, 1000, 65_536, 300_000, 2 * MIB + 1][number as usize % 6];
        let down = [0, 3 * MIB + 7, 17, 70_000, 1][number as usize % 5];
        transfer(&pair.client, &pair.target, number, up);
        transfer(&pair.target, &pair.client, number, down);
        truth.push(Record { client: pair.name(), reason: "completed".to_owned(), up, down });
        pair.finish();
    }
    let mut records = stand.records(truth.len());
    records.sort_by_key(|record| record.client);
    truth.sort_by_key(|record| record.client);
    assert_eq!(records, truth);
}
