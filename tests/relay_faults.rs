//! The kernel says no: splice and pipes that fail, and pipes that shrink, cost speed and not one byte.

use std::os::unix::fs::chown;

use nix::unistd::Uid;

use crate::support::keyed::Keyed;
use crate::support::pairs::{KIB, MIB, Pair, Stand, WAYS, finish, transfer};
use crate::support::process::copy_program;
use crate::support::relay::{Builder, binary};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Relay, skip};

/// The identity of nobody, which every Linux system has.
const NOBODY: u32 = 65_534;

/// HAZARDS 25: splice works at first and then does not.
#[test]
fn splice_einval_in_mid_stream_loses_nothing() {
    survives("splice:error=EINVAL:when=20+");
}

/// HAZARDS 25: as under a system call filter that came after the pipes.
#[test]
fn splice_enosys_in_mid_stream_loses_nothing() {
    survives("splice:error=ENOSYS:when=21+");
}

/// HAZARDS 25: only now and then, so that bytes are in a pipe when the next call fails.
#[test]
fn splice_that_fails_now_and_then_loses_nothing() {
    survives("splice:error=EINVAL:when=8+7");
}

/// HAZARDS 25: no descriptors for a pipe.
#[test]
fn no_pipe_at_all_means_a_copy() {
    survives("pipe2:error=EMFILE");
}

/// HAZARDS 25: the third pipe is refused, and all after it.
#[test]
fn no_further_pipe_means_a_copy() {
    survives("pipe2:error=EMFILE:when=3+");
}

/// Bulk, both ways and on several sessions, through a server of whose system calls some fail.
fn survives(fault: &str) {
    if skip::without(&test_name!(), "strace", "strace") {
        return;
    }
    for engine in [Engine::Splice, Engine::Auto] {
        let (call, _) = fault.split_once(':').expect("CALL:FAULT");
        let trace = format!("trace={call}");
        let inject = format!("inject={fault}");
        // -D: the server is our own child, and the tracer ends with it.
        let strace = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        // A call that strace has fail is none that a filter of system calls knows.
        let builder = Relay::builder().engine(engine).set("sandbox", "seccomp", "\"off\"");
        let stand = Stand::over(builder.under(&strace));
        for number in 0..4 {
            let pair = stand.open();
            for (key, way) in [(2 * number, WAYS[0]), (2 * number + 1, WAYS[1])] {
                let (from, to) = pair.ends(way);
                transfer(from, to, key, 8 * MIB);
            }
            let name = pair.name();
            pair.finish();
            let record = stand.record(name);
            assert_eq!((record.up, record.down), (8 * MIB, 8 * MIB), "{fault} {engine:?}");
            assert_eq!(record.reason, "completed", "{fault} {engine:?}");
        }
    }
}

/// HAZARDS 26: an unprivileged user's pipes shrink to 8 KiB after the first 1,024 (pipe-user-pages-soft), and
/// large ones are refused after 64. Every session has bytes pending at once.
#[test]
fn shrunken_pipes_break_no_session() {
    if Uid::effective().is_root() && skip::without(&test_name!(), "setpriv", "util-linux") {
        return;
    }
    for engine in [Engine::Splice, Engine::Auto] {
        let stand = Stand::narrow(unprivileged(Relay::builder().engine(engine)));
        many_sessions_with_bytes_pending(&stand);
    }
}

fn many_sessions_with_bytes_pending(stand: &Stand) {
    const SESSIONS: usize = 1500;
    let pairs: Vec<Pair> = (0..SESSIONS).map(|_| stand.open()).collect();
    for way in WAYS {
        let sent: Vec<Keyed> = pairs
            .iter()
            .enumerate()
            .map(|(key, pair)| {
                let mut sent = Keyed::new(key as u64);
                sent.send_what_fits(pair.ends(way).0, 256 * KIB);
                sent
            })
            .collect();
        for (key, (pair, sent)) in pairs.iter().zip(sent).enumerate() {
            let (from, to) = pair.ends(way);
            finish(from);
            Keyed::new(key as u64).receive_all(to, sent.count);
        }
    }
    drop(pairs);
    assert!(stand.records(SESSIONS).iter().all(|record| record.reason == "completed"));
    wait::until_true("every session's sockets are closed", PATIENCE, || stand.sockets() < 100);
}

/// The server as a user whom the kernel's limits on pipes bind.
fn unprivileged(builder: Builder) -> Builder {
    if !Uid::effective().is_root() {
        return builder;
    }
    // Neither the build's directory nor the server's own is nobody's to read.
    let program = builder.directory().join("outflow");
    copy_program(binary(), &program);
    chown(builder.directory(), Some(NOBODY), Some(NOBODY)).expect("give the directory to nobody");
    let id = NOBODY.to_string();
    let become_nobody = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
    builder.under(&become_nobody).program(program)
}
