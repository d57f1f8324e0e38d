//! Hand-overs that come to nothing, or whose old server ends in the middle: somebody serves in any case, and whoever waits for it is
//! told (37).

use std::io::IoSlice;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::support::process::{copy_program, write_program};
use crate::support::relay::{Builder, binary, quoted};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};
use crate::systemd::Manager;

fn builder(folder: &TempDir) -> Builder {
    let path = quoted(folder.path().join("takeover").to_str().expect("UTF-8"));
    Relay::builder().set("server", "takeover", &path)
}

/// An old server by hand, whose place is asked for.
struct OldByHand {
    asked_at: Socket,
    listener: TcpListener,
}

impl OldByHand {
    fn at(path: &Path) -> OldByHand {
        let asked_at = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        asked_at.bind(&SockAddr::unix(path).expect("a path")).expect("a file");
        asked_at.listen(1).expect("it listens");
        OldByHand { asked_at, listener: TcpListener::bind("127.0.0.1:0").expect("a listener") }
    }

    /// Offers its listener to who asks, and ends once that could serve, having said so much more.
    fn ends_behind(self, says: &[&str]) {
        let (channel, _) = self.asked_at.accept().expect("somebody asks");
        channel.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        hears(&channel, "hello");
        let address = self.listener.local_addr().expect("its address");
        let told = format!(
            r#"{{"message":"listener","role":"clients","number":0,"called":"","address":{{"tcp":["{address}",null]}},"kept":false,"file":null,"sockets":1}}"#
        );
        let passed = [self.listener.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&passed)];
        let text = [IoSlice::new(told.as_bytes())];
        sendmsg::<()>(channel.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).expect("it is passed");
        channel.send(br#"{"message":"complete","boot":1}"#).expect("that was all");
        drop(self);
        hears(&channel, "ready");
        says.iter().for_each(|text| assert!(channel.send(text.as_bytes()).is_ok()));
    }
}

fn hears(mut channel: &Socket, kind: &str) {
    let mut buffer = vec![0; 1 << 16];
    let length = std::io::Read::read(&mut channel, &mut buffer).expect("a message");
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(text.contains(&format!(r#""message":"{kind}""#)), "{kind}: {text}");
}

/// Killed, or out of memory, as two servers are there at a time: whoever waits in its queues is served by the other.
#[test]
fn a_server_that_ends_while_it_gives_its_place_away_is_replaced() {
    let origin = Origin::echo();
    for says in [&[][..], &[r#"{"message":"released"}"#]] {
        let folder = TempDir::new().expect("a folder");
        let old = OldByHand::at(&folder.path().join("takeover"));
        let address = old.listener.local_addr().expect("its address");
        let mut waiting = Client::connect(address);
        let ending = std::thread::spawn(move || old.ends_behind(says));
        let state = quoted(folder.path().join("state").to_str().expect("UTF-8"));
        std::fs::create_dir(folder.path().join("state")).expect("a folder");
        let listen = address.to_string();
        let new =
            builder(&folder).set("server", "state", &state).listen(&[&listen]).argument("--takeover").start();
        ending.join().expect("it ends");
        waiting.greet_none();
        assert_eq!(waiting.request_ip(origin.addr).rep, 0);
        Client::through(new.addr(), origin.addr);
    }
    // Before it has offered anything: there is nothing to take, and the place is free.
    let folder = TempDir::new().expect("a folder");
    let old = OldByHand::at(&folder.path().join("takeover"));
    let ending = std::thread::spawn(move || {
        let (channel, _) = old.asked_at.accept().expect("somebody asks");
        drop(old);
        hears(&channel, "hello");
    });
    let new = builder(&folder).argument("--takeover").start();
    ending.join().expect("it ends");
    Client::through(new.addr(), origin.addr);
    // One that goes on says so: nobody else serves then.
    let folder = TempDir::new().expect("a folder");
    let old = OldByHand::at(&folder.path().join("takeover"));
    let listen = old.listener.local_addr().expect("its address").to_string();
    let refusing = std::thread::spawn(move || old.ends_behind(&[r#"{"message":"refused","why":"not now"}"#]));
    let output = builder(&folder).listen(&[&listen]).argument("--takeover").run_to_exit();
    refusing.join().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("the other server goes on: not now"), "{said}");
}

/// `systemctl reload` waits to be told of its end: it waited a minute and a half where the new program could not be started. And who
/// rotates the records has them opened anew by the same signal.
#[test]
fn a_reload_is_over_though_the_new_program_cannot_be_started() {
    let folder = TempDir::new().expect("a folder");
    let manager = Manager::at_a_path();
    let hears = || manager.hears(PATIENCE).expect("a message");
    let program = folder.path().join("outflow");
    copy_program(binary(), &program);
    let relay = builder(&folder).program(program.clone()).environment(vec![manager.variable()]).start();
    assert!(hears().starts_with("READY=1\n"));
    std::fs::remove_file(&program).expect("the old one");
    write_program(&program, "no program");
    let moved = relay.access_path().with_extension("1");
    std::fs::rename(relay.access_path(), &moved).expect("move the records away");
    relay.signal("HUP");
    relay.logged(&["no hand-over", "cannot be started"]);
    assert!(hears().starts_with("RELOADING=1\n"));
    assert!(hears().starts_with("READY=1\nSTATUS="));
    wait::until_true("records at their path", PATIENCE, || relay.access_path().exists());
    // A directory, a FIFO and one that nobody may run are no programs either.
    for make in ["mkdir", "mkfifo", "touch"] {
        let _ = std::fs::remove_file(&program).or_else(|_| std::fs::remove_dir(&program));
        assert!(std::process::Command::new(make).arg(&program).status().expect("it runs").success());
        relay.signal("HUP");
        assert!(hears().starts_with("RELOADING=1\n"), "{make}");
        assert!(hears().starts_with("READY=1\nSTATUS="), "{make}");
    }
    Client::through(relay.addr(), Origin::echo().addr);
}
