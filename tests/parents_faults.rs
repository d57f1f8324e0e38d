//! Whose fault it is that a session through a parent fails: the server's, the target's, or the pool's that it leaves from.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::egress_net::{FOUR, ip};
use crate::support::netns::{self, Far};
use crate::support::origin::drain;
use crate::support::parent::{BOUND, FakeParent, greet, lead, request, through};
use crate::support::relay::Builder;
use crate::support::{Client, DnsServer, Engine, Origin, Relay, wait};

engines!(
    a_parent_that_closes_on_a_dead_target_serves_others,
    no_session_goes_past_a_parent_that_closes_on_its_target,
    a_parent_that_closes_on_all_targets_is_away_where_another_leads_on,
    early_bytes_go_to_another_address_where_none_was_connected_to,
);

fn url(parent: &FakeParent) -> String {
    format!("socks5://{}", parent.addr())
}

/// Many proxies close where the target is down. One client that asked for such a target had everybody kept away from them.
fn a_parent_that_closes_on_a_dead_target_serves_others(engine: Engine) {
    let target = Origin::echo();
    let to = target.addr;
    let parent = FakeParent::serve(move |mut stream, _| {
        greet(&mut stream)?;
        if request(&mut stream)? != to.to_string() {
            return Ok(());
        }
        stream.write_all(&BOUND)?;
        lead(stream, to)
    });
    let keys = [("max_fails", "1"), ("fail_timeout", "\"1h\"")];
    let relay = through(Relay::builder().engine(engine), &[url(&parent)], &keys).start();
    for last in 1..=12 {
        let mut client = Client::greeted(relay.addr());
        let dead = SocketAddr::from(([127, 0, 0, last], 9));
        assert_ne!(client.request_ip(dead).rep, 0);
    }
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_ip(to).rep, 0);
    client.send(b"ping");
    client.expect(b"ping");
    assert!(!relay.log().contains("is away"), "{}", relay.log());
}

/// Many filters close on what they do not let through: the client had it without them.
fn no_session_goes_past_a_parent_that_closes_on_its_target(engine: Engine) {
    let target = Origin::echo();
    let parent = FakeParent::serve(|mut stream, _| {
        greet(&mut stream)?;
        request(&mut stream).map(drop)
    });
    let keys = [("fallback", "\"direct\"")];
    let relay = through(Relay::builder().engine(engine), &[url(&parent)], &keys).start();
    for _ in 0..8 {
        let mut client = Client::greeted(relay.addr());
        assert_ne!(client.request_ip(target.addr).rep, 0);
    }
    assert_eq!((parent.accepted(), target.accepted()), (8, 0));
}

fn a_parent_that_closes_on_all_targets_is_away_where_another_leads_on(engine: Engine) {
    let target = Origin::echo();
    let bad = FakeParent::serve(|mut stream, _| {
        greet(&mut stream)?;
        request(&mut stream).map(drop)
    });
    let good = FakeParent::socks5(target.addr);
    let servers =
        format!("[{{ url = \"{}\", weight = 1 }}, {{ url = \"{}\", weight = 0 }}]", url(&bad), url(&good));
    let keys = [("servers", &*servers), ("max_fails", "1"), ("fail_timeout", "\"1h\"")];
    let relay = through(Relay::builder().engine(engine), &[], &keys).start();
    let session = |last: u8| {
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_ip(SocketAddr::from(([127, 0, 0, last], 7))).rep, 0);
        client.send(b"ping");
        client.expect(b"ping");
    };
    (1..=3).for_each(session);
    assert!(!relay.log().contains("is away"), "three targets may be closed to it: {}", relay.log());
    (4..=40).for_each(session);
    relay.logged(&["is away", "closed"]);
    assert!(bad.accepted() < 40, "{}", bad.accepted());
}

/// What a parent has of a client goes to another address of the target where the reply says that nothing was connected to. Behind
/// a general failure and an answer that did not come in time it may have been: a request that is no query was done twice.
fn early_bytes_go_to_another_address_where_none_was_connected_to(engine: Engine) {
    for (code, again) in [(5, true), (4, true), (1, false), (6, false), (0x42, false)] {
        let served = AtomicUsize::new(0);
        let parent = FakeParent::serve(move |mut stream, _| {
            greet(&mut stream)?;
            request(&mut stream)?;
            let mut early = [0; 5];
            stream.read_exact(&mut early)?;
            match served.fetch_add(1, Ordering::SeqCst) {
                0 => stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]),
                _ => stream.write_all(&[&BOUND[..], &early].concat()),
            }
        });
        let dns = DnsServer::zone(&[("two.example", &["127.0.0.71", "127.0.0.72"])]);
        let builder = Relay::builder().engine(engine).dns(&dns);
        let relay = through(builder, &[url(&parent)], &[("resolve", "\"here\"")]).start();
        let mut client = Client::greeted(relay.addr());
        client.send(&[&connect_to("two.example")[..], b"early"].concat());
        match again {
            true => {
                assert_eq!(client.reply().rep, 0, "code {code}");
                client.expect(b"early");
            }
            false => assert_ne!(client.reply().rep, 0, "code {code}"),
        }
        assert_eq!(parent.accepted(), 1 + usize::from(again), "code {code}");
    }
}

fn connect_to(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a name");
    [&[5, 1, 0, 3, length], name.as_bytes(), &[0, 80]].concat()
}

/// A parent at every address far away, and from where it was connected to.
fn everywhere(far: &Far) -> (FakeParent, Arc<Mutex<BTreeSet<IpAddr>>>) {
    let came = Arc::<Mutex<BTreeSet<IpAddr>>>::default();
    let seen = Arc::clone(&came);
    let parent = far.inside(|| {
        FakeParent::serve_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), move |mut stream, _| {
            greet(&mut stream)?;
            request(&mut stream)?;
            seen.lock().expect("who came").insert(stream.peer_addr()?.ip());
            stream.write_all(&BOUND)?;
            drain(stream);
            Ok(())
        })
    });
    (parent, came)
}

/// Sessions through these servers leave from four addresses in turn, of which few attempts are judged.
fn through_servers(servers: &[String]) -> Builder {
    let keys = [("max_fails", "2"), ("fail_timeout", "\"1h\"")];
    let cooldown = "{ refused = 50, reset_rate = 50, min_samples = 8, max = \"1h\" }";
    through(Relay::builder().workers(1).timeout("connect", 1_000), servers, &keys)
        .rules(&["name = \"led\"\naction = \"allow\"\nparent = \"up\"\negress = \"area\""])
        .set("[egress]", "name", "\"area\"")
        .set("[egress]", "addresses", &format!("{FOUR:?}"))
        .set("[egress]", "select", "\"round-robin\"")
        .set("[egress]", "cooldown", cooldown)
}

const DEAD: &str = FOUR[1];
/// In the world every address is its own by the first rule of all: this makes room for others before it.
const ROOM: &str = "ip rule add pref 10 lookup local; ip rule del pref 0";

fn session(relay: &Relay) -> u8 {
    Client::greeted(relay.addr()).request_ip("45.9.9.9:80".parse().expect("a target")).rep
}

/// One dead address of a pool had everybody kept away from a parent that serves.
#[test]
fn a_dead_address_of_a_pool_is_not_the_parents_fault() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        far.pool(&FOUR);
        far.shell(ROOM);
        let (parent, came) = everywhere(&far);
        for action in ["unreachable", "blackhole"] {
            let rule = format!("pref 5 from {DEAD} iif far0 {action}");
            far.shell(&format!("ip rule add {rule}"));
            let relay = through_servers(&[format!("socks5://45.1.0.1:{}", parent.addr().port())])
                .set("[egress]", "addresses", &format!("[\"{DEAD}\"]"))
                .start();
            let from_dead = || assert_ne!(session(&relay), 0, "{action}");
            (0..4).for_each(|_| from_dead());
            assert!(!relay.log().contains("is away"), "{action}: {}", relay.log());
            far.shell(&format!("ip rule del {rule}"));
            wait::until_true("it serves", Duration::from_secs(30), || session(&relay) == 0);
            assert_eq!(*came.lock().expect("who came"), [ip(DEAD)].into(), "{action}");
        }
    });
}

/// What leaves from it went on to time out, for parents alone were asked.
#[test]
fn a_pool_learns_of_an_address_that_no_parent_answers() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        far.pool(&FOUR);
        far.shell(ROOM);
        let (parent, came) = everywhere(&far);
        far.shell(&format!("ip rule add pref 5 from {DEAD} iif far0 blackhole"));
        let server = |last: u8| format!("socks5://45.1.0.{last}:{}", parent.addr().port());
        let relay = through_servers(&(1..=12).map(server).collect::<Vec<_>>()).start();
        wait::until_true("it is left alone", Duration::from_secs(60), || {
            let _ = session(&relay);
            relay.log().contains("an address is left alone")
        });
        relay.logged(&["an address is left alone", DEAD, "timed_out"]);
        assert!(!came.lock().expect("who came").contains(&ip(DEAD)));
        assert!(!relay.log().contains("is away"), "{}", relay.log());
    });
}

/// A server that is dead is found though all sessions leave from a pool: other servers show that its addresses work.
#[test]
fn a_dead_server_is_away_though_sessions_leave_from_a_pool() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        far.pool(&FOUR);
        far.shell(ROOM);
        let (parent, _) = everywhere(&far);
        far.shell("ip rule add pref 5 to 45.1.0.1 iif far0 blackhole");
        let port = parent.addr().port();
        let servers = ["45.1.0.1", "45.1.0.2"].map(|at| format!("socks5://{at}:{port}"));
        let relay = through_servers(&servers).start();
        wait::until_true("it is away", Duration::from_secs(30), || {
            let _ = session(&relay);
            relay.log().contains("is away")
        });
        relay.logged(&["is away", "45.1.0.1", "timed_out"]);
    });
}
