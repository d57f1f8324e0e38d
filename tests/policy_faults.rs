//! Bad days of rules, lists and limits: files that break at a reload, a zone that changes, a limit that is lowered below what
//! there is.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::origin::V4;
use crate::support::relay::{quoted, raise_own_nofile};
use crate::support::udp::{Association, Target, associate, counters, drops, zeros};
use crate::support::users::argon2id;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Engine, Origin, Relay};

fn echoes(client: &mut Client) {
    client.send(b"ping");
    client.expect(b"ping");
}

fn answer(relay: &Relay, target: SocketAddr) -> u8 {
    Client::greeted(relay.addr()).request_ip(target).rep
}

/// A zone's file (RFC 8536) whose clocks are so many hours ahead of UTC at any time.
fn clock(hours: i32) -> Vec<u8> {
    let counts: Vec<u8> = [0_u32, 0, 0, 0, 1, 4].iter().flat_map(|count| count.to_be_bytes()).collect();
    let head = [b"TZif2", &[0; 15][..], &counts].concat();
    let name = format!("+{hours:02}");
    let kind = [&(hours * 3600).to_be_bytes()[..], &[0, 0], name.as_bytes(), &[0]].concat();
    let footer = format!("\n<{name}>-{hours:02}\n");
    [&head[..], &kind, &head, &kind, footer.as_bytes()].concat()
}

/// What `zone = "local"` means is looked up at each reload, be it that nothing else has changed.
#[test]
fn the_zone_of_the_machine_is_the_one_of_the_last_reload() {
    let origin = Origin::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let zone = folder.path().join("localtime");
    fs::write(&zone, clock(0)).expect("write");
    // From an hour ago to in an hour, by UTC; days begin and end in it as anywhere.
    let minutes = jiff::Timestamp::now().as_second() / 60;
    let hour = |ahead: i64| {
        let minute = (minutes + ahead).rem_euclid(24 * 60);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    };
    let rule = format!(
        "name = \"now\"\nwhen = {{ hours = \"{}-{}\", zone = \"local\" }}\naction = \"deny\"",
        hour(-60),
        hour(60)
    );
    let mut relay = Relay::builder()
        .set("policy", "default", "\"allow\"")
        .rules(&[&rule])
        .environment(vec![("TZ", format!(":{}", zone.display()).into())])
        .start();
    assert_eq!(answer(&relay, origin.addr), 0x02);
    fs::write(&zone, clock(12)).expect("write");
    relay.reload(&[]);
    assert_eq!(answer(&relay, origin.addr), 0x00);
    fs::write(&zone, clock(0)).expect("write");
    relay.reload(&[]);
    assert_eq!(answer(&relay, origin.addr), 0x02);
}

/// A relay of two workers with users, rules and a list, all of which are files that may break, and what it answers.
struct Governed {
    relay: Relay,
    origin: Origin,
    users: PathBuf,
    list: PathBuf,
    hash: String,
    _server: DnsServer,
}

const LISTED: &str = "a.example\nb.example\n";

impl Governed {
    fn start(engine: Engine) -> Governed {
        let server = DnsServer::zone(&[("a.example", &["127.0.0.1"]), ("good.example", &["127.0.0.1"])]);
        let hash = argon2id(b"secret");
        let builder = Relay::builder().workers(2).engine(engine).nofile("8192").dns(&server);
        let builder = builder.hashed_users(&[("ann".to_owned(), hash.clone())]);
        let folder = builder.directory().to_owned();
        let (users, list) = (folder.join("users.passwd"), folder.join("blocked.txt"));
        fs::write(&list, LISTED).expect("write");
        let path = quoted(list.to_str().expect("UTF-8"));
        let relay =
            builder.set("[list]", "name", "\"blocked\"").set("[list]", "file", &path).rules(&RULES).start();
        Governed { relay, origin: Origin::echo(), users, list, hash, _server: server }
    }

    fn session(&self) -> Client {
        let mut client = Client::connect(self.relay.addr());
        assert_eq!(client.login(b"ann", b"secret"), 0);
        assert_eq!(client.request_name(b"good.example", self.origin.addr.port()).rep, 0);
        client
    }

    /// The rules, the list and the users of the beginning are in effect.
    fn is_as_it_was(&self) {
        for (name, rep) in [(&b"a.example"[..], 0x02), (b"good.example", 0x00)] {
            let mut client = Client::connect(self.relay.addr());
            assert_eq!(client.login(b"ann", b"secret"), 0);
            assert_eq!(
                client.request_name(name, self.origin.addr.port()).rep,
                rep,
                "{}",
                name.escape_ascii()
            );
        }
        let mut mallory = Client::connect(self.relay.addr());
        assert_eq!(mallory.login(b"mallory", b"secret"), 1);
    }

    /// Has it read what there is, which it refuses with all of these words.
    fn refused(&self, words: &[&str]) {
        let refusals = || self.relay.log().matches("nothing has changed").count();
        let before = refusals();
        let begun = self.relay.log().len();
        self.relay.signal("HUP");
        wait::until_true("the refusal", PATIENCE, || refusals() > before);
        let log = self.relay.log();
        let said = &log[begun..];
        for word in words {
            assert!(said.lines().any(|line| line.contains("ERROR") && line.contains(word)), "{word}: {said}");
        }
    }

    fn mend(&self) {
        fs::write(&self.users, format!("ann:{}\n", self.hash)).expect("write");
        fs::write(&self.list, LISTED).expect("write");
    }
}

const RULES: [&str; 2] =
    ["name = \"blocked\"\nto = [\"@blocked\"]\naction = \"deny\"", "name = \"all\"\naction = \"allow\""];

/// Users, rules and lists, each alone and together, beneath a thousand sessions.
fn what_breaks_at_a_reload_changes_nothing(engine: Engine) {
    raise_own_nofile();
    let mut governed = Governed::start(engine);
    let mut sessions: Vec<Client> = (0..1000).map(|_| governed.session()).collect();
    let broken_rules = ["name = \"blocked\"\nto = [\"@blockd\"]\naction = \"deny\"", RULES[1]];
    for broken in 1..8 {
        let (users, rules, list) = (broken & 1 != 0, broken & 2 != 0, broken & 4 != 0);
        let mut words = Vec::new();
        if rules {
            governed.relay.put_rules(&broken_rules);
            governed.relay.write(&[]);
            // What the file says cannot be had: what it names is not looked at.
            words.push("did you mean \"@blocked\"?");
        }
        if users {
            fs::write(&governed.users, "mallory\n").expect("write");
            words.extend(Some("users.passwd:1: ").filter(|_| !rules));
        }
        if list {
            fs::write(&governed.list, "good.example\nno name\n").expect("write");
            words.extend(Some("blocked.txt:2: ").filter(|_| !rules && !users));
        }
        governed.refused(&words);
        governed.is_as_it_was();
        governed.relay.put_rules(&RULES);
        governed.relay.write(&[]);
        governed.mend();
        governed.relay.reload(&[]);
        governed.is_as_it_was();
    }
    sessions.iter_mut().for_each(echoes);
    assert_eq!(counters(&governed.relay)["active"], 1000);
}
engines!(what_breaks_at_a_reload_changes_nothing);

/// A list's file that is none any more is refused in a moment, whatever it is.
#[test]
fn a_list_that_is_no_list_any_more_changes_nothing() {
    let mut governed = Governed::start(Engine::Auto);
    let mut session = governed.session();
    type Become = fn(&Path);
    let become_what: [(Become, &str); 5] = [
        (|_| {}, "No such file"),
        (|path| fs::create_dir(path).expect("a directory"), "not a regular file"),
        (
            |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"),
            "not a regular file",
        ),
        (
            |path| fs::File::create(path).expect("a file").set_len(2 << 30).expect("a sparse file"),
            "larger than 64 MiB",
        ),
        (|path| fs::write(path, b"a.example\n\x7fELF\x02\x01\xff\0\n").expect("write"), ":2: "),
    ];
    for (make, words) in become_what {
        fs::remove_file(&governed.list).expect("remove");
        make(&governed.list);
        let begun = Instant::now();
        governed.refused(&["blocked.txt", words]);
        assert!(begun.elapsed() < Duration::from_secs(5), "{words} took {:?}", begun.elapsed());
        governed.is_as_it_was();
        echoes(&mut session);
        match governed.list.is_dir() {
            true => fs::remove_dir(&governed.list).expect("remove"),
            false => drop(fs::remove_file(&governed.list)),
        }
        fs::write(&governed.list, LISTED).expect("write");
    }
    fs::write(&governed.list, "a.example\n").expect("write");
    governed.relay.reload(&[]);
    governed.relay.logged(&["INFO", "no key has changed; list \"blocked\": 1 entry now, of "]);
    governed.is_as_it_was();
}

/// A relay of two workers that limits each source in one way.
fn limited(term: &str) -> Relay {
    let (key, value) = term.split_once(" = ").expect("a key and its value");
    Relay::builder()
        .workers(2)
        .set("[limit]", "name", "\"few\"")
        .set("[limit]", "per", "\"source\"")
        .set("[limit]", key, value)
        .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"few\"]"])
        .start()
}

/// Nobody ends, and nobody comes until there are fewer than may be, on whichever worker.
#[test]
fn sessions_beyond_a_limit_that_is_lowered_go_on_and_nobody_joins_them() {
    let (mut relay, origin) = (limited("connections = 6"), Origin::echo());
    let mut held: Vec<Client> = (0..6).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    relay.reload(&[("[limit]", "connections", "2")]);
    while held.len() >= 2 {
        held.iter_mut().for_each(echoes);
        for _ in 0..4 {
            assert_eq!(answer(&relay, origin.addr), 0x02, "{} are there", held.len());
        }
        held.pop();
        let left = held.len() as u64;
        wait::until_true("it has left", PATIENCE, || counters(&relay)["active"] <= left);
    }
    let _second = Client::through(relay.addr(), origin.addr);
    assert_eq!(answer(&relay, origin.addr), 0x02);
    assert!(relay.records_now().iter().all(|record| record["reason"] != "killed"));
}

#[test]
fn associations_beyond_a_limit_that_is_lowered_go_on_and_nobody_joins_them() {
    let (mut relay, target) = (limited("udp_associations = 3"), Target::on(V4));
    let mut held: Vec<Association> = (0..3).map(|_| Association::open(relay.addr())).collect();
    relay.reload(&[("[limit]", "udp_associations", "1")]);
    let refused = |relay: &Relay| {
        let mut client = Client::greeted(relay.addr());
        associate(&mut client, zeros(V4)).rep == 0x02
    };
    while !held.is_empty() {
        for association in &held {
            association.send(target.addr, b"four");
            target.expect(b"four");
        }
        assert!(refused(&relay));
        held.pop();
        let left = held.len() as u64;
        wait::until_true("it has left", PATIENCE, || counters(&relay)["active"] <= left);
    }
    assert!(!refused(&relay));
}

#[test]
fn new_sessions_have_a_rate_that_is_lowered_as_from_now() {
    let (mut relay, origin) = (limited("new_per_second = { rate = 1000, burst = 1000 }"), Origin::echo());
    let mut held: Vec<Client> = (0..20).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    let lowered = Instant::now();
    relay.reload(&[("[limit]", "new_per_second", "{ rate = 1, burst = 2 }")]);
    let came = (0..20).filter(|_| answer(&relay, origin.addr) == 0x00).count() as u64;
    let most = 2 + lowered.elapsed().as_secs() + 1;
    assert!((1..=most).contains(&came), "{came} of {most}");
    held.iter_mut().for_each(echoes);
}

#[test]
fn datagrams_have_a_rate_that_is_lowered_as_from_now() {
    let (mut relay, target) = (limited("datagrams = { rate = 1000, burst = 1000 }"), Target::on(V4));
    let association = Association::open(relay.addr());
    for _ in 0..20 {
        association.send(target.addr, b"four");
        target.expect(b"four");
    }
    relay.reload(&[("[limit]", "datagrams", "{ rate = 1, burst = 5 }")]);
    // What was drawn at the old rate may go yet, 64 at most.
    for _ in 0..200 {
        association.send(target.addr, b"less");
    }
    target.expect(b"less");
    wait::until_true("the rest is dropped", PATIENCE, || {
        drops(&relay).get("limit").is_some_and(|dropped| *dropped >= 125)
    });
}

/// A transfer that is under way goes on at the lower rate, once the client has what the kernel held by then.
fn bytes_have_a_rate_that_is_lowered_under_them(engine: Engine) {
    let source = Origin::source(u64::MAX);
    let fast = "{ bandwidth = { rate = \"1GB\", burst = \"1GB\" } }";
    let mut relay = Relay::builder().engine(engine).workers(2).set("limits", "per_source", fast).start();
    let clients: Vec<Client> = (0..2).map(|_| Client::through(relay.addr(), source.addr)).collect();
    let (came, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for mut client in clients {
            let (came, over) = (&came, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    came.fetch_add(client.recv(10_000).len() as u64, Ordering::Relaxed);
                }
            });
        }
        let count = || came.load(Ordering::Relaxed);
        wait::until_true("both are fast", PATIENCE, || count() > 20_000_000);
        relay.reload(&[("limits", "per_source", "{ bandwidth = { rate = \"1MB\", burst = \"100kB\" } }")]);
        wait::until_true("a megabyte a second", PATIENCE, || {
            let (begun, before) = (Instant::now(), count());
            wait::until_true("another megabyte", PATIENCE, || count() >= before + 1_000_000);
            (800..1300).contains(&begun.elapsed().as_millis())
        });
        over.store(true, Ordering::Relaxed);
    });
}
engines!(bytes_have_a_rate_that_is_lowered_under_them);
