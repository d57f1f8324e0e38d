//! `outflow top` before a real server, and the picture of it that docs/asking.md shows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::relay::binary;
use crate::support::terminal::Terminal;
use crate::support::{Client, DnsServer, Origin, Relay, svg};

/// `top` before this server.
fn top(relay: &Relay, size: (u16, u16)) -> Terminal {
    Terminal::start(&[binary(), "top", "--admin", &relay.admin_addr().to_string()], &[], size)
}

#[test]
fn a_real_session_is_seen_and_ended_by_keys() {
    let origin = Origin::echo();
    let relay = Relay::builder().admin().start();
    let mut other = Client::through(relay.addr(), origin.addr);
    let mut client = Client::through(relay.addr(), origin.addr);
    for client in [&mut other, &mut client] {
        client.send(b"ping");
        client.expect(b"ping");
    }
    let mut top = top(&relay, (120, 30));
    top.shows(&["outflow", "serving", &relay.addr().to_string()]);
    top.shows(&["2 sessions", "1 to 2", "by age"]);
    top.shows(&[&client.local().to_string(), &origin.addr.to_string(), "relays"]);
    // The oldest comes first: this one is the second row.
    top.press("\x1b[Bk");
    top.shows(&["End the session", &client.local().to_string(), "y ends it"]);
    top.press("y");
    client.expect_closed();
    top.shows(&["is ended"]);
    top.shows(&["1 sessions"]);
    let record = relay.record();
    assert_eq!(
        (record["reason"].as_str(), record["client"].as_str()),
        (Some("killed"), Some(client.local().to_string().as_str()))
    );
    other.send(b"still here");
    other.expect(b"still here");
    top.press("/source=192.0.2.1\r");
    top.shows(&["0 of 1 sessions", "source=192.0.2.1"]);
    top.press("/ usr=ann\r");
    top.shows(&["usr", "user"]);
    top.press("q");
    assert_eq!(top.wait_exit(), Ok(0));
    top.is_restored();
}

const PICTURE: &str = "docs/top.svg";

/// With OUTFLOW_WRITE_PICTURES=1 in the environment this test takes it anew, which lasts a minute.
#[test]
fn the_picture_is_of_a_real_run() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    if std::env::var_os("OUTFLOW_WRITE_PICTURES").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        std::fs::write(&path, taken()).expect("write the picture");
    }
    let picture = std::fs::read_to_string(&path).expect("the picture");
    for word in ["outflow", "serving", "top users", "ann", "relays"] {
        assert!(picture.contains(word), "{PICTURE} does not show {word:?}");
    }
    assert!(picture.len() < 200_000, "{} bytes", picture.len());
}

/// A minute of three users who fetch pages and hold some sessions, seen at its end.
fn taken() -> String {
    let users: [(&str, &[u8]); 3] =
        [("ann", b"wonderland-1"), ("bob", b"builder-1"), ("carol", b"christmas-1")];
    let (echo, pages) = (Origin::echo(), Origin::source(300_000));
    const HOSTS: [&str; 3] = ["cdn.example.com", "news.example.net", "mail.example.org"];
    let names = DnsServer::zone(&HOSTS.map(|name| (name, &["127.0.0.1"] as &[&str])));
    let relay = Relay::builder().workers(2).users(&users).dns(&names).admin().start();
    let (ends, address) = (AtomicBool::new(false), relay.addr());
    let session = |(name, password): (&str, &[u8]), host: &str, origin: &Origin| {
        let mut client = Client::connect(address);
        assert_eq!(client.login(name.as_bytes(), password), 0);
        assert_eq!(client.request_name(host.as_bytes(), origin.addr.port()).rep, 0);
        client
    };
    thread::scope(|scope| {
        for (number, user) in users.into_iter().enumerate() {
            let (ends, session, echo, pages) = (&ends, &session, &echo, &pages);
            scope.spawn(move || {
                let held = (0..9 - 3 * number).map(|at| session(user, HOSTS[at % 3], echo));
                let mut held: Vec<Client> = held.collect();
                let mut round = 0_usize;
                while !ends.load(Ordering::SeqCst) {
                    round += 1;
                    session(user, HOSTS[number], pages).recv_to_eof();
                    for client in &mut held {
                        client.send(&[7; 4000]);
                        client.expect(&[7; 4000]);
                    }
                    thread::sleep(Duration::from_millis(
                        20 + 40 * (number as u64 + 1) + 15 * (round as u64 / 20 % 8),
                    ));
                }
            });
        }
        scope.spawn(|| {
            while !ends.load(Ordering::SeqCst) {
                let mut guesser = Client::connect(address);
                guesser.login(b"ann", b"a guess");
                thread::sleep(Duration::from_secs(4));
            }
        });
        let mut top = top(&relay, (120, 36));
        top.shows(&["serving"]);
        thread::sleep(Duration::from_secs(60));
        top.press("\x1b[B\x1b[B");
        thread::sleep(Duration::from_secs(2));
        let picture = top.look(|screen| svg::picture(screen, "outflow top"));
        ends.store(true, Ordering::SeqCst);
        picture
    })
}
