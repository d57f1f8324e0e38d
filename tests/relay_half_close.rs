//! Half-close: each direction ends for itself, with every byte before its FIN.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::support::client::connect_ip;
use crate::support::keyed::{End, Keyed};
use crate::support::pairs::{
    KIB, Listener, MIB, Pair, Shape, Stand, Way, connect, expect_method, expect_success, finish, local,
};
use crate::support::socket_table::{self, TcpState};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Relay};

ways!(auto: eof_arrives_behind_the_bytes_of_a_full_pipe, one_fin_ends_its_own_direction);
ways!(a_large_answer_after_fin_arrives_whole, half_closed_and_silent_ends_on_time);
engines!(fin_during_connect_is_a_half_close, idle_half_closed_sessions_cost_no_cpu);

/// HAZARDS 24: the sender's FIN waits behind every byte, however long the reader does not read.
fn eof_arrives_behind_the_bytes_of_a_full_pipe(engine: Engine, way: Way) {
    const TOTAL: u64 = 12 * MIB;
    let stand = Stand::narrow(Relay::builder().engine(engine));
    let pair = stand.open();
    let (from, to) = pair.ends(way);
    thread::scope(|scope| {
        scope.spawn(|| {
            Keyed::new(1).send(from, TOTAL);
            finish(from);
        });
        // The reader does nothing for a while: that is the case itself, no event stands for it.
        thread::sleep(Duration::from_secs(1));
        Keyed::new(1).receive_all(to, TOTAL);
    });
    let name = pair.name();
    finish(to);
    assert_eq!(Keyed::new(0).receive_to_end(from), End::Fin);
    let record = stand.record(name);
    assert_eq!((record.up + record.down, record.reason.as_str()), (TOTAL, "completed"));
}

/// After the FIN of one direction the other works on, in small steps and in bulk.
fn one_fin_ends_its_own_direction(engine: Engine, way: Way) {
    let stand = Stand::new(engine);
    let pair = stand.open();
    pair.exchange(2, 100);
    let (from, to) = pair.ends(way);
    Keyed::new(3).send(from, 10);
    finish(from);
    Keyed::new(3).receive_all(to, 10);
    let (mut sent, mut received) = (Keyed::new(4), Keyed::new(4));
    for len in [1, 32, 1448, 20_000, 3 * MIB, 7] {
        thread::scope(|scope| {
            scope.spawn(|| sent.send(to, len));
            received.receive(from, len);
        });
    }
    finish(to);
    received.receive_all(from, received.count);
    let record = stand.record(pair.name());
    assert_eq!(record.up + record.down, 200 + 10 + received.count);
    assert_eq!(record.reason, "completed");
}

/// HAZARDS 30: a request, its FIN, and only then an answer much larger than every buffer.
fn a_large_answer_after_fin_arrives_whole(engine: Engine, way: Way) {
    const TOTAL: u64 = 256 * MIB;
    let stand = Stand::new(engine);
    let pair = stand.open();
    let (from, to) = pair.ends(way);
    Keyed::new(5).send(from, 100);
    finish(from);
    Keyed::new(5).receive_all(to, 100);
    thread::scope(|scope| {
        scope.spawn(|| {
            Keyed::new(6).send(to, TOTAL);
            finish(to);
        });
        Keyed::new(6).receive_all(from, TOTAL);
    });
    assert_eq!(stand.record(pair.name()).reason, "completed");
}

/// HAZARDS 30: the client has said all it has to say, and its FIN, before the connect is done.
fn fin_during_connect_is_a_half_close(engine: Engine) {
    let stand = Stand::new(engine);
    for payload in [1, 64 * 1024] {
        // A full backlog drops the SYN; the kernel repeats it after a second, and by then there is room.
        let slow = Listener::with_backlog(Shape::Plain, 0);
        let filler = std::net::TcpStream::connect(slow.addr()).expect("fill the backlog");
        let mut client = connect(stand.relay.addr(), Shape::Plain);
        let mut burst = vec![5, 1, 0];
        burst.extend(connect_ip(slow.addr()));
        burst.extend(Keyed::new(7).take(payload));
        client.write_all(&burst).expect("send everything at once");
        finish(&client);
        wait::until_true("the server's SYN is out", PATIENCE, || {
            socket_table::towards(slow.addr()).iter().any(|entry| entry.state == TcpState::SynSent)
        });
        drop(slow.accept());
        drop(filler);
        expect_method(&client);
        expect_success(&client);
        let target = slow.accept();
        Keyed::new(7).receive_all(&target, payload as u64);
        Keyed::new(8).send(&target, 100 * KIB);
        finish(&target);
        Keyed::new(8).receive_all(&client, 100 * KIB);
        let record = stand.record(local(&client));
        assert_eq!((record.up, record.down), (payload as u64, 100 * KIB));
        assert_eq!(record.reason, "completed");
    }
}

/// HAZARDS 27: a half-closed socket is readable for ever; whoever asks again and again spins.
fn idle_half_closed_sessions_cost_no_cpu(engine: Engine) {
    const SESSIONS: usize = 1000;
    let stand = Stand::new(engine);
    let mut pairs = Vec::new();
    for number in 0..SESSIONS {
        let pair = stand.open();
        let (from, to) = pair.ends(if number % 2 == 0 { Way::Up } else { Way::Down });
        finish(from);
        Keyed::new(0).receive_all(to, 0);
        pairs.push(pair);
    }
    let mut used = 0.0;
    let at_rest = crate::support::pairs::one_of_three(|| {
        let before = cpu_nanos(&stand.relay);
        thread::sleep(Duration::from_secs(2));
        used = (cpu_nanos(&stand.relay) - before) as f64 / 2e9;
        used < 0.01
    });
    assert!(at_rest, "{SESSIONS} idle sessions cost {:.1} % of a CPU", used * 100.0);
    for (number, pair) in pairs.iter().enumerate() {
        let (from, to) = pair.ends(if number % 2 == 0 { Way::Up } else { Way::Down });
        Keyed::new(9).send(to, 10);
        finish(to);
        Keyed::new(9).receive_all(from, 10);
    }
    assert!(stand.records(SESSIONS).iter().all(|record| record.reason == "completed"));
}

/// Time on a CPU of every thread of the server; finer than the ticks of /proc/PID/stat.
fn cpu_nanos(relay: &Relay) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", relay.pid())).expect("list the threads");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// HAZARDS 27: a session of which one side is finished and the other silent is ended by its own timer, and
/// leaves no socket behind.
fn half_closed_and_silent_ends_on_time(engine: Engine, way: Way) {
    const SESSIONS: usize = 50;
    let stand = Stand::over(Relay::builder().engine(engine).timeout("half_close", 1000));
    let sockets = stand.sockets();
    let pairs: Vec<Pair> = (0..SESSIONS).map(|_| stand.open()).collect();
    for pair in &pairs {
        let (from, to) = pair.ends(way);
        finish(from);
        Keyed::new(0).receive_all(to, 0);
    }
    for record in stand.records(SESSIONS) {
        assert_eq!(record.reason, "half_close", "{record:?}");
    }
    for pair in &pairs {
        Keyed::new(0).receive_to_end(pair.ends(way).0);
    }
    wait::until_true("the sockets are gone", PATIENCE, || stand.sockets() <= sockets);
    let waiting = socket_table::tcp4().into_iter().filter(|entry| {
        entry.state == TcpState::CloseWait
            && (entry.local == stand.relay.addr() || entry.remote == stand.target.addr())
    });
    assert_eq!(waiting.count(), 0, "sockets in CLOSE_WAIT");
}
