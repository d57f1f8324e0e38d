//! `policy.learn` and `outflow learn`: what live traffic needed becomes the rules that allow it, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::api::Api;
use crate::support::client::request;
use crate::support::origin::V4;
use crate::support::relay::{Builder, Engine, binary, quoted, run_to_exit};
use crate::support::udp::{Association, Target};
use crate::support::users::argon2id;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Origin, Relay};

const BOTH: [Engine; 2] = [Engine::Copy, Engine::Splice];

fn learned(file: &Path) -> BTreeSet<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn wait_for(file: &Path, lines: &[String]) {
    let wanted: BTreeSet<String> = lines.iter().cloned().collect();
    wait::until_true(&format!("{wanted:#?}"), PATIENCE, || learned(file) == wanted);
}

fn line(to: &str, port: u16, command: &str, user: Option<&str>) -> String {
    let user = user.map_or("null".to_owned(), quoted);
    format!("{{\"to\":\"{to}\",\"port\":{port},\"command\":\"{command}\",\"user\":{user}}}")
}

fn learn(files: &[&Path]) -> Output {
    let mut command = Command::new(binary());
    command.arg("learn").args(files);
    run_to_exit(command)
}

/// The tables that were printed, each without its header.
fn rules(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.split("[[rule]]\n").skip(1).map(str::to_owned).collect()
}

fn users(builder: Builder) -> Builder {
    let hash = argon2id(b"secret");
    builder.hashed_users(&["ann", "bob"].map(|name| (name.to_owned(), hash.clone())))
}

fn login(relay: &Relay, user: &str) -> Client {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(user.as_bytes(), b"secret"), 0);
    client
}

/// What one asks for: a name, an address, a peer and where datagrams go.
fn asks(relay: &Relay, user: &str, origin: &Origin, udp: &Target) -> [u8; 3] {
    let port = origin.addr.port();
    let name = login(relay, user).request_name(b"Farm.Example.", port).rep;
    let address = login(relay, user).request_ip(origin.addr).rep;
    let mut binder = login(relay, user);
    binder.send(&request(2, "127.0.0.1:7".parse().expect("an address")));
    let bound = binder.reply().rep;
    let association = Association::over(login(relay, user), "0.0.0.0:0".parse().expect("an address"));
    association.send(udp.addr, user.as_bytes());
    udp.expect(user.as_bytes());
    [name, address, bound]
}

#[test]
fn what_was_learned_becomes_rules_that_allow_it_and_nothing_else() {
    for engine in BOTH {
        let server = DnsServer::zone(&[("farm.example", &["127.0.0.1"]), ("other.example", &["127.0.0.1"])]);
        let (origin, udp, folder) = (Origin::echo(), Target::on(V4), TempDir::new().expect("a folder"));
        let (port, file) = (origin.addr.port(), folder.path().join("learned.jsonl"));
        let builder = users(Relay::builder()).engine(engine).dns(&server);
        let relay = builder
            .set("policy", "learn", &quoted(file.to_str().expect("UTF-8")))
            .set("policy", "default", "\"allow\"")
            .rules(&["name = \"rest\"\nmode = \"report\"\naction = \"deny\""])
            .start();
        for user in ["ann", "bob"] {
            assert_eq!(asks(&relay, user, &origin, &udp), [0; 3], "{user}");
        }
        let needs = |user| {
            [
                line("farm.example", port, "connect", Some(user)),
                line("127.0.0.1", port, "connect", Some(user)),
                line("127.0.0.1", 7, "bind", Some(user)),
                line("127.0.0.1", udp.addr.port(), "udp_associate", Some(user)),
            ]
        };
        wait_for(&file, &[needs("ann"), needs("bob")].concat());
        let mode = fs::metadata(&file).expect("the file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read who goes where: {mode:o}");
        drop(relay);

        let rules = rules(&learn(&[&file]));
        assert_eq!(rules.len(), 3, "{rules:#?}");
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let relay = users(Relay::builder())
            .engine(engine)
            .dns(&server)
            .set("policy", "default", "\"deny\"")
            .rules(&rules)
            .start();
        for user in ["ann", "bob"] {
            assert_eq!(asks(&relay, user, &origin, &udp), [0; 3], "{user}");
        }
        let another = Origin::echo();
        assert_eq!(login(&relay, "ann").request_ip(another.addr).rep, 2);
        assert_eq!(login(&relay, "ann").request_name(b"other.example", another.addr.port()).rep, 2);
    }
}

/// What the guard or a rule refuses was no need, and what was not reached is one: it was allowed.
#[test]
fn what_is_denied_is_not_learned() {
    let (origin, folder) = (Origin::echo(), TempDir::new().expect("a folder"));
    let file = folder.path().join("learned.jsonl");
    let relay = Relay::builder()
        .set("policy", "learn", &quoted(file.to_str().expect("UTF-8")))
        .set("policy", "default", "\"allow\"")
        .rules(&["name = \"no\"\nto = [\"127.0.0.2\"]\naction = \"deny\""])
        .start();
    let ask = |text: &str| Client::greeted(relay.addr()).request_ip(text.parse().expect("an address")).rep;
    assert_eq!((ask("127.0.0.2:9"), ask(&relay.addr().to_string())), (2, 2));
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    assert_eq!((ask(&closed.to_string()), ask(&origin.addr.to_string())), (5, 0));
    wait_for(
        &file,
        &[
            line("127.0.0.1", closed.port(), "connect", None),
            line("127.0.0.1", origin.addr.port(), "connect", None),
        ],
    );
}

/// The last need is written at the end, and the next run begins with what the one before learned.
#[test]
fn what_was_learned_outlives_a_restart() {
    let (origin, folder) = (Origin::echo(), TempDir::new().expect("a folder"));
    let (file, other) = (folder.path().join("learned.jsonl"), folder.path().join("other.jsonl"));
    let start =
        |file: &Path| Relay::builder().set("policy", "learn", &quoted(file.to_str().expect("UTF-8"))).start();
    let ask =
        |relay: &Relay, name: &[u8]| Client::greeted(relay.addr()).request_name(name, origin.addr.port()).rep;
    let mut before = line("127.0.0.1", origin.addr.port(), "connect", None);
    for (nth, name) in [&b"127.0.0.1"[..], b"127.0.0.3"].into_iter().enumerate() {
        let mut relay = start(&file);
        assert_eq!(ask(&relay, name), if nth == 0 { 0 } else { 5 });
        relay.signal("TERM");
        assert!(relay.wait_exit(PATIENCE).is_some());
        assert!(learned(&file).contains(&before), "{:?}", learned(&file));
        before = line("127.0.0.3", origin.addr.port(), "connect", None);
    }
    assert_eq!(learned(&file).len(), 2);

    // A reload takes another file, and leaves what the first one has.
    let mut relay = start(&file);
    relay.reload(&[("policy", "learn", &quoted(other.to_str().expect("UTF-8")))]);
    wait::until_true("the other file", PATIENCE, || {
        assert_eq!(ask(&relay, b"127.0.0.4"), 5);
        learned(&other).len() == 1
    });
    assert_eq!(learned(&file).len(), 2);
    let merged = rules(&learn(&[&file, &other]));
    assert!(
        merged.len() == 1 && ["127.0.0.1", "127.0.0.3", "127.0.0.4"].iter().all(|to| merged[0].contains(to)),
        "{merged:?}"
    );
}

#[test]
fn a_file_that_was_not_learned_is_refused_and_stays() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("learned.jsonl");
    fs::write(&file, "a.example 443\n").expect("write");
    let builder = || Relay::builder().set("policy", "learn", &quoted(file.to_str().expect("UTF-8")));
    for output in [builder().check(), builder().run_to_exit(), learn(&[&file])] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("learned.jsonl:1: expected"), "{said}");
    }
    let (_relay, api) = Api::serve(Relay::builder());
    assert_eq!(api.ask("POST", "/api/v1/reload", None).status, 200);
    assert_eq!(fs::read_to_string(&file).expect("read"), "a.example 443\n");
    let output = learn(&[&folder.path().join("none")]);
    assert_eq!(output.status.code(), Some(1));
}

/// Where others reach a listener that asks for no password, rules have to say who may use them: what was learned has no `from`
/// by itself, and is an open proxy then.
#[test]
fn what_was_learned_may_be_for_some_networks_alone() {
    let folder = TempDir::new().expect("a folder");
    let (file, config) = (folder.path().join("learned.jsonl"), folder.path().join("outflow.toml"));
    fs::write(&file, line("farm.example", 443, "connect", None) + "\n").expect("write");
    let learn_from = |from: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("learn").args(from).arg(&file);
        run_to_exit(command)
    };
    let check = |output: &Output| {
        let rules = String::from_utf8(output.stdout.clone()).expect("UTF-8");
        fs::write(&config, "[server]\nlisten = [\"0.0.0.0:0\"]\n".to_owned() + &rules).expect("write");
        let mut command = Command::new(binary());
        command.args(["check", "--config"]).arg(&config);
        let output = run_to_exit(command);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = check(&learn_from(&[]));
    assert!(
        code == Some(1) && said.contains("\"learned-1\" allows something to whoever reaches it"),
        "{said}"
    );
    let output = learn_from(&["--from", "192.0.2.0/24,2001:db8::1"]);
    assert_eq!(
        rules(&output),
        [
            "name = \"learned-1\"\nfrom = [\"192.0.2.0/24\", \"2001:db8::1/128\"]\nto = [\"farm.example\"]\nports = [443]\ncommands = [\"connect\"]\naction = \"allow\"\n"
        ]
    );
    assert_eq!(check(&output), (Some(0), String::new()));
    let output = learn_from(&["--from", "192.0.2.1/24"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("did you mean \"192.0.2.0/24\"?"), "{said}");
}
