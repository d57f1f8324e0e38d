//! Who is told where more come than can be served, and what a control group allows: its CPU quota counts for the number of
//! workers, its memory for the number of sessions.

use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::api::Api;
use crate::support::cgroup::Cgroup;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay, skip};

/// The group of a controller, or a note that this test is not run.
fn group(test: &str, controller: &str) -> Option<Cgroup> {
    Cgroup::new(controller).map_err(|why| skip::skip(test, &why)).ok()
}

fn words(words: &[String; 4]) -> [&str; 4] {
    words.each_ref().map(String::as_str)
}

/// Another process of a group, which uses memory; its end is that of its input.
struct Neighbour(Child);

impl Neighbour {
    fn start(group: &Cgroup) -> Neighbour {
        let [shell, flag, enter, name] = group.entering();
        let script = "held = b'x' * (256 << 20); print('ready', flush=True); input()";
        let mut child = Command::new(shell)
            .args([&flag, &enter, &name, "python3", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("a line");
        assert_eq!(said, "ready\n");
        Neighbour(child)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Workers beyond what the quota gives would only be throttled together.
#[test]
fn a_cpu_quota_counts_for_the_number_of_workers() {
    let Some(group) = group(&test_name!(), "cpu") else { return };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    if cpus < 2 {
        return skip::skip(&test_name!(), "there is one CPU");
    }
    let entering = group.entering();
    let workers = || {
        let relay = Relay::builder().workers(0).under(&words(&entering)).start();
        let said = relay.ready.clone();
        said.split("; ").find_map(|part| part.split_once(" worker")).map(|(count, _)| count.to_owned())
    };
    for (hundredths, expected) in [(50, 1), (150, 1), (100 * cpus as u32, cpus), (1000 * cpus as u32, cpus)] {
        group.set_cpu(hundredths);
        assert_eq!(workers(), Some(expected.to_string()), "{hundredths} hundredths of a CPU");
    }
}

/// Beyond the limit the kernel ends the process, and with it every session.
#[test]
fn where_memory_is_short_who_comes_is_reset_and_who_is_there_stays() {
    let Some(group) = group(&test_name!(), "memory") else { return };
    let origin = Origin::echo();
    let (relay, api) = Api::serve(Relay::builder().under(&words(&group.entering())));
    let mut first = Client::through(relay.addr(), origin.addr);
    let echoes = |client: &mut Client| {
        client.send(b"ping");
        client.expect(b"ping");
    };
    // So much that its sixteenth part is room enough for the server to go on.
    let _neighbour = Neighbour::start(&group);
    let mut held = Vec::new();
    wait::until_true("somebody is reset for want of memory", PATIENCE, || {
        // A sixteenth stays free: less than that is left now, of which the kernel takes back some.
        let used = group.memory_used();
        group.set_memory(used + used / 32);
        // Sessions come one after the other and stay; who ends makes room for another at any time.
        held.push(Client::connect(relay.addr()));
        thread::sleep(Duration::from_millis(50));
        relay.log().contains("cause=\"memory\"")
    });
    assert!(api.get("/api/v1/stats")["counters"]["shed_memory"].as_u64() > Some(0));
    echoes(&mut first);
    group.set_memory(1 << 34);
    wait::until_true("there is memory again", PATIENCE, || {
        let mut client = Client::connect(relay.addr());
        client.try_send(&[0x05, 0x01, 0x00]).is_ok()
            && !client.silent_for(Duration::from_millis(100))
            && client.stream.peek(&mut [0; 1]).is_ok_and(|count| count == 1)
    });
    let mut second = Client::through(relay.addr(), origin.addr);
    echoes(&mut second);
    echoes(&mut first);
}

/// Below the ceiling, too: others may have taken the descriptors, and whoever waits in silence for one does not go elsewhere.
#[test]
fn where_there_is_no_descriptor_who_waits_is_reset_within_two_seconds() {
    let origin = Origin::echo();
    let (relay, api) = Api::serve(Relay::builder().nofile("1024"));
    let mut running: Vec<Client> = (0..10).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    // The endpoint's connection stays open, with which it can be asked.
    let shed = || api.get("/api/v1/stats")["counters"]["shed_descriptors"].as_u64().expect("a count");
    assert_eq!(shed(), 0);
    relay.set_nofile(&format!("{}:1024", relay.fds()));
    let mut waiting: Vec<Client> = (0..40).map(|_| Client::connect(relay.addr())).collect();
    let is_reset = |client: &Client| {
        client.stream.set_nonblocking(true).expect("non-blocking");
        client.stream.peek(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    };
    let ((), lasted) = wait::timed(|| {
        wait::until_true("somebody is reset", PATIENCE, || waiting.iter().any(is_reset));
    });
    assert!(lasted < Duration::from_secs(2), "{lasted:?}");
    relay.logged(&["WARN", "reset connections", "cause=\"descriptors\""]);
    for client in &mut running {
        client.send(b"ping");
        client.expect(b"ping");
    }
    relay.set_nofile("1024:1024");
    // Who had not waited for too long is served, and whoever comes now.
    waiting.retain(|client| !is_reset(client));
    wait::until_true("nobody waits", PATIENCE, || {
        let answered = |client: &Client| {
            !client.stream.peek(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        waiting.iter_mut().for_each(|client| drop(client.try_send(&[0x05, 0x01, 0x00])));
        waiting.iter().all(answered)
    });
    Client::through(relay.addr(), origin.addr);
    assert!(shed() > 0);
}
