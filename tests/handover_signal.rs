//! A signal that has the program started anew, in the place of the server that it goes to; and what a service manager hears of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::process::{copy_program, write_program};
use crate::support::relay::{Builder, binary, quoted};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};
use crate::systemd::Manager;

/// A server that was started by another and is nobody's child here; killed when dropped.
pub(crate) struct Started(pub(crate) Pid);

impl Started {
    /// The one that a server's log says has taken its place.
    pub(crate) fn by(old: &Relay) -> Started {
        let line = old.logged(&["another server has taken this one's place"]);
        let (_, rest) = line.split_once("pid=").expect("its number");
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Started(Pid::from_raw(number.parse().expect("a number")))
    }

    fn is_running(&self) -> bool {
        // One that nobody has waited for yet has no program any more.
        std::fs::read_link(format!("/proc/{}/exe", self.0)).is_ok()
    }

    fn program(&self) -> PathBuf {
        std::fs::read_link(format!("/proc/{}/exe", self.0)).expect("it runs")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.0, signal).expect("it runs");
    }

    pub(crate) fn wait_exit(&self) {
        wait::until_true("its end", PATIENCE, || !self.is_running());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

/// Waits for the end of a server whose log goes on with the one that it started.
fn wait_end(old: &mut Relay) {
    wait::until_true("the end of the old server", PATIENCE, || !old.is_running());
}

fn builder(folder: &TempDir) -> Builder {
    let path = quoted(folder.path().join("takeover").to_str().expect("UTF-8"));
    // Its configuration goes with the first server, and a port has to be known to be the same.
    Relay::builder().set("server", "takeover", &path)
}

fn copy_of_the_program(folder: &Path) -> PathBuf {
    let copy = folder.join("outflow");
    copy_program(binary(), &copy);
    copy
}

#[test]
fn sigusr2_starts_the_program_anew_in_its_place() {
    let (folder, origin) = (TempDir::new().expect("a folder"), Origin::echo());
    let mut old = builder(&folder).start();
    let mut before = Client::through(old.addr(), origin.addr);
    old.signal("USR2");
    let new = Started::by(&old);
    assert_ne!(new.0.as_raw() as u32, old.pid());
    let mut after = Client::through(old.addr(), origin.addr);
    for client in [&mut before, &mut after] {
        client.send(b"both");
        client.expect(b"both");
    }
    drop(before);
    wait_end(&mut old);
    // And once more, by the one that was started.
    new.signal(Signal::SIGUSR2);
    after.send(b"there yet");
    after.expect(b"there yet");
    drop(after);
    new.wait_exit();
    let taken = || old.log().matches("this server has taken the place of another").count();
    wait::until_true("the third server", PATIENCE, || taken() == 2);
    let third = Started(last_pid(&old));
    Client::through(old.addr(), origin.addr);
    third.signal(Signal::SIGTERM);
    third.wait_exit();
}

/// The number of the process that took a place last, of any server that writes to this log.
fn last_pid(relay: &Relay) -> Pid {
    let log = relay.log();
    let line = log.lines().rfind(|line| line.contains("another server has taken this one's place"));
    let (_, rest) = line.expect("a line").split_once("pid=").expect("its number");
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Pid::from_raw(number.parse().expect("a number"))
}

#[test]
fn without_a_place_to_ask_at_the_log_says_what_is_missing() {
    let relay = Relay::start();
    relay.signal("USR2");
    relay.logged(&["WARN", "no hand-over", "[server] takeover"]);
    Client::connect(relay.addr());
    assert_eq!(children_of(relay.pid()), [0_u32; 0], "no process beside it");
}

pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).expect("it runs");
    text.split_whitespace().map(|one| one.parse().expect("a number")).collect()
}

/// A program that cannot be started, or that is another one altogether, leaves the server serving.
#[test]
fn a_program_that_does_not_start_leaves_the_old_one_serving() {
    let (folder, origin) = (TempDir::new().expect("a folder"), Origin::echo());
    let program = copy_of_the_program(folder.path());
    let mut old = builder(&folder).program(program.clone()).start();
    for (text, words) in
        [("no program", "cannot be started"), ("#!/bin/sh\nexit 3\n", "the other server ended")]
    {
        std::fs::remove_file(&program).expect("the old one");
        write_program(&program, text);
        let failures = |relay: &Relay| relay.log().matches("this server serves on").count();
        let before = failures(&old);
        old.signal("USR2");
        wait::until_true("what came of it", PATIENCE, || failures(&old) == before + 1);
        old.logged(&["ERROR", "no hand-over", words]);
        // Of a reload nothing came either, and that is said.
        old.signal("HUP");
        wait::until_true("what came of it", PATIENCE, || failures(&old) == before + 2);
        old.logged(&["ERROR", "no hand-over", words, "and the configuration was not read anew either"]);
        Client::through(old.addr(), origin.addr);
    }
    old.signal("TERM");
    assert_eq!(old.wait_exit(PATIENCE), Some(0));
}

/// What starts programs has rights that the server has given up: nobody who has got hold of that fills the machine with them.
#[test]
fn programs_are_started_once_a_second_at_most() {
    let folder = TempDir::new().expect("a folder");
    let program = copy_of_the_program(folder.path());
    let old = builder(&folder).program(program.clone()).start();
    let started = folder.path().join("started");
    std::fs::remove_file(&program).expect("the old one");
    write_program(&program, &format!("#!/bin/sh\ndate +%s%N >>{}\n", started.display()));
    for count in 1..=3 {
        old.signal("USR2");
        wait::until_true("what came of it", PATIENCE, || {
            old.log().matches("this server serves on").count() == count
        });
    }
    let at: Vec<u64> = std::fs::read_to_string(started)
        .expect("times")
        .lines()
        .map(|line| line.parse().expect("nanoseconds"))
        .collect();
    let apart: Vec<u64> = at.windows(2).map(|two| two[1] - two[0]).collect();
    // The shell takes its time, each time another one.
    assert!(apart.len() == 2 && apart.iter().all(|apart| *apart > 900_000_000), "{apart:?}");
}

/// `systemctl reload` behind an upgrade: SIGHUP reads the configuration anew, and starts another program where there is one.
#[test]
fn sighup_hands_over_where_the_program_is_another_by_now() {
    let folder = TempDir::new().expect("a folder");
    let program = copy_of_the_program(folder.path());
    let mut old = builder(&folder).program(program.clone()).start();
    old.signal("HUP");
    old.logged(&["the configuration was read anew"]);
    let next = folder.path().join("next");
    std::fs::create_dir(&next).expect("a folder");
    std::fs::rename(copy_of_the_program(&next), &program).expect("an upgrade");
    old.signal("HUP");
    let new = Started::by(&old);
    assert_eq!(new.program(), program);
    wait_end(&mut old);
    new.signal(Signal::SIGTERM);
    new.wait_exit();
}

/// The old one says who is the service's process, the new one that it is ready; no end is told, and none of what was meant
/// for the old one alone is taken by the new one.
#[test]
fn the_service_manager_hears_of_a_hand_over() {
    let (folder, manager) = (TempDir::new().expect("a folder"), Manager::at_a_path());
    let hears = || manager.hears(PATIENCE).expect("a message");
    let environment = vec![manager.variable(), ("WATCHDOG_USEC", "400000".into())];
    let mut old = builder(&folder).environment(environment).start();
    assert!(hears().starts_with("READY=1\n"));
    old.signal("USR2");
    let new = Started::by(&old);
    let mut heard = Vec::new();
    while heard.iter().filter(|message: &&String| message.starts_with("READY=1")).count() == 0 {
        heard.push(hears());
    }
    heard.retain(|message| message != "WATCHDOG=1\n");
    assert!(heard[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{heard:?}");
    assert_eq!(heard[1], format!("MAINPID={}\n", new.0), "{heard:?}");
    assert!(heard[2].starts_with("READY=1\nSTATUS=") && heard.len() == 3, "{heard:?}");
    wait_end(&mut old);
    while manager.hears(Duration::from_millis(1)).is_some() {}
    assert_eq!(hears(), "WATCHDOG=1\n", "the new one is fed");
    new.signal(Signal::SIGTERM);
    wait::until_true("its end is told", Duration::from_secs(5), || hears().starts_with("STOPPING=1"));
    new.wait_exit();
}

#[test]
fn a_terminals_signals_do_not_end_what_starts_programs() {
    let folder = TempDir::new().expect("a folder");
    let mut old = builder(&folder).start();
    let beside = children_of(old.pid());
    assert_eq!(beside.len(), 1);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        kill(Pid::from_raw(beside[0] as i32), signal).expect("it runs");
    }
    old.signal("USR2");
    let new = Started::by(&old);
    wait_end(&mut old);
    let started = Started(Pid::from_raw(beside[0] as i32));
    started.wait_exit();
    drop(new);
}
