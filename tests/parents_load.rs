//! Parents that are killed, that hang and that come back while sessions go on: none of them is to be lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::parent::{BOUND, FakeParent, greet, lead, request, through};
use crate::support::{Client, Origin, Relay, wait};

/// Sessions at a time.
const CLIENTS: usize = 4;
/// How long each stage may take.
const STAGE: Duration = Duration::from_secs(40);

/// Sessions that begin anew for as long as this is there.
#[derive(Default)]
struct Load {
    served: AtomicU64,
    lost: AtomicU64,
    over: AtomicBool,
}

impl Load {
    fn run(&self, relay: SocketAddr, target: SocketAddr) {
        while !self.over.load(Ordering::Relaxed) {
            let mut client = Client::greeted(relay);
            match client.request_ip(target).rep {
                0 => {
                    client.send(b"ping");
                    client.expect(b"ping");
                    self.served.fetch_add(1, Ordering::Relaxed);
                }
                _ => _ = self.lost.fetch_add(1, Ordering::Relaxed),
            }
        }
    }

    /// Waits until so many more were served.
    fn go_on(&self, what: &str, more: u64) {
        let wanted = self.served.load(Ordering::Relaxed) + more;
        wait::until_true(what, STAGE, || self.served.load(Ordering::Relaxed) >= wanted);
    }
}

/// A parent that can be told to say nothing to whoever comes.
fn moody(target: SocketAddr, hangs: &Arc<AtomicBool>) -> FakeParent {
    let hangs = Arc::clone(hangs);
    FakeParent::serve(move |mut stream, _| {
        if hangs.load(Ordering::Relaxed) {
            crate::support::origin::drain(stream);
            return Ok(());
        }
        greet(&mut stream)?;
        request(&mut stream)?;
        std::io::Write::write_all(&mut stream, &BOUND)?;
        lead(stream, target)
    })
}

#[test]
fn no_session_is_lost_while_parents_are_killed_hang_and_come_back() {
    let target = Origin::echo();
    let hangs = Arc::<AtomicBool>::default();
    let (killed, hanging) = (FakeParent::socks5(target.addr), moody(target.addr, &hangs));
    let at = killed.addr();
    let servers = [format!("socks5://{at}"), format!("socks5://{}", hanging.addr())];
    let keys = [("max_fails", "1"), ("fail_timeout", "\"1s\""), ("warm", "2")];
    let builder = Relay::builder().workers(2).timeout("connect", 3000);
    let relay = through(builder, &servers, &keys).start();
    let load = Arc::<Load>::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (load, relay, target) = (Arc::clone(&load), relay.addr(), target.addr);
            thread::spawn(move || load.run(relay, target))
        })
        .collect();
    load.go_on("both serve", 40);
    drop(killed);
    load.go_on("one is killed", 100);
    let back = FakeParent::socks5_at(at, target.addr);
    wait::until_true("it is back", STAGE, || back.told().len() >= 10);
    hangs.store(true, Ordering::Relaxed);
    load.go_on("the other hangs", 100);
    hangs.store(false, Ordering::Relaxed);
    let before = hanging.accepted();
    wait::until_true("it serves again", STAGE, || hanging.accepted() >= before + 10);
    load.over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    let (served, lost) = (load.served.load(Ordering::Relaxed), load.lost.load(Ordering::Relaxed));
    assert_eq!(lost, 0, "of {} sessions", served + lost);
}

/// A server that nobody uses is found by looks, and found again when it is back.
#[test]
fn looks_find_a_server_that_is_away_before_a_session_does() {
    let target = Origin::echo();
    let (first, second) = (FakeParent::socks5(target.addr), FakeParent::socks5(target.addr));
    let at = first.addr();
    let servers = [format!("socks5://{at}"), format!("socks5://{}", second.addr())];
    let check = format!("{{ target = \"{}\", every = \"1s\" }}", target.addr);
    let keys = [("max_fails", "1"), ("fail_timeout", "\"1h\""), ("check", check.as_str())];
    let relay = through(Relay::builder(), &servers, &keys).start();
    wait::until_true("looks at both", STAGE, || !first.told().is_empty() && !second.told().is_empty());
    drop(first);
    wait::until_true("one is away", STAGE, || relay.log().contains("is away"));
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_ip(target.addr).rep, 0);
    let _back = FakeParent::socks5_at(at, target.addr);
    wait::until_true("it is back", STAGE, || relay.log().contains("is back"));
    assert!(!relay.log().contains("panicked"), "{}", relay.log());
}
