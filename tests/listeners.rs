//! Listeners with settings of their own: what is spoken where, and what rules and a reload make of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::api::Api;
use crate::support::client::request;
use crate::support::origin::V4;
use crate::support::relay::quoted;
use crate::support::udp::{Association, Target};
use crate::support::{Client, Origin, Relay, netns, users};

/// Two listeners, of which the second has these lines, too.
fn two(second: &str) -> [String; 2] {
    [
        "name = \"first\"\naddress = \"127.0.0.1:0\"".to_owned(),
        format!("name = \"second\"\naddress = \"127.0.0.1:0\"\n{second}"),
    ]
}

fn serve(second: &str) -> Relay {
    let [one, other] = two(second);
    Relay::builder().listeners(&[&one, &other]).start()
}

/// Has the second listener go by these lines from now on.
fn change(relay: &mut Relay, second: &str) {
    let [one, other] = two(second);
    relay.put_listeners(&[&one, &other]);
    relay.reload(&[]);
}

fn ask_at(at: SocketAddr, target: SocketAddr) -> u8 {
    Client::greeted(at).request_ip(target).rep
}

/// Insists that SOCKS5 is not spoken there, which is said in its own words.
fn expect_no_socks5(at: SocketAddr) {
    let mut client = Client::connect(at);
    client.send(&[0x05, 0x01, 0x00]);
    client.expect(&[0x05, 0xff]);
    client.expect_eof();
}

/// Which of two listeners at the same address is which, only their names tell.
#[test]
fn a_listener_speaks_what_is_on_its_list() {
    let (socks, web) =
        ("name = \"socks\"\naddress = \"127.0.0.1:0\"", "name = \"web\"\naddress = \"127.0.0.1:0\"");
    let http = |table: &str| format!("{table}\nprotocols = [\"http\"]");
    let mut relay = Relay::builder().listeners(&[socks, &http(web)]).start();
    let [first, second] = [relay.addrs()[0], relay.addrs()[1]];
    Client::greeted(first);
    expect_no_socks5(second);
    relay.put_listeners(&[web, socks]);
    relay.reload(&[]);
    Client::greeted(first);
    Client::greeted(second);
    relay.put_listeners(&[web, &http(socks)]);
    relay.reload(&[]);
    expect_no_socks5(first);
    Client::greeted(second);
}

/// Tables and the short form are one list: each is in the ready line, comes and goes by a reload, and is kept from clients.
#[test]
fn listeners_of_both_forms_stand_beside_each_other() {
    let origin = Origin::echo();
    let table = "name = \"table\"\naddress = \"127.0.0.2:0\"";
    let mut relay = Relay::builder().listeners(&[table]).set("server", "listen", "[\"127.0.0.1:0\"]").start();
    let [short, long] = [relay.addrs()[0], relay.addrs()[1]];
    assert_eq!((ask_at(short, origin.addr), ask_at(long, origin.addr)), (0x00, 0x00));
    assert_eq!(ask_at(short, long), 0x02, "its own listener");
    relay.forget("server", "listen");
    relay.reload(&[]);
    assert_eq!(ask_at(long, origin.addr), 0x00);
    assert!(std::net::TcpStream::connect(short).is_err(), "what is left out is not the default then");
    relay.put_listeners(&[]);
    relay.reload(&[("server", "listen", "[\"127.0.0.2:0\"]")]);
    assert_eq!(ask_at(long, origin.addr), 0x00, "the same address is the same listener");
}

/// By its name and by its address, whatever number it has after a reload.
#[test]
fn rules_know_a_listener_by_its_name() {
    let origin = Origin::echo();
    let (guests, staff) =
        ("name = \"guests\"\naddress = \"127.0.0.1:0\"", "name = \"staff\"\naddress = \"127.0.0.2:0\"");
    let deny = |listeners: &str| format!("name = \"no\"\n{listeners}\naction = \"deny\"");
    let (by_name, by_address) = (deny("listeners = \"guests\""), deny("listeners = \"127.0.0.2:0\""));
    let builder = Relay::builder().set("policy", "default", "\"allow\"").rules(&[&by_name]);
    let mut relay = builder.listeners(&[guests, staff]).start();
    let [first, second] = [relay.addrs()[0], relay.addrs()[1]];
    assert_eq!((ask_at(first, origin.addr), ask_at(second, origin.addr)), (0x02, 0x00));
    relay.put_listeners(&[staff, guests]);
    relay.reload(&[]);
    assert_eq!((ask_at(first, origin.addr), ask_at(second, origin.addr)), (0x02, 0x00));
    relay.put_rules(&[&by_address]);
    relay.reload(&[]);
    assert_eq!((ask_at(first, origin.addr), ask_at(second, origin.addr)), (0x00, 0x02));
    let swapped = [staff.replace("staff", "guests"), guests.replace("guests", "staff")];
    relay.put_listeners(&[&swapped[0], &swapped[1]]);
    relay.put_rules(&[&by_name]);
    relay.reload(&[]);
    assert_eq!((ask_at(first, origin.addr), ask_at(second, origin.addr)), (0x00, 0x02));
}

/// The users file is asked for by whichever listener has method password, and read at the reload that first needs it.
#[test]
fn a_listener_has_methods_of_its_own() {
    let origin = Origin::echo();
    let builder = Relay::builder();
    let hashed = [("alice".to_owned(), users::argon2id(b"wonderland"))];
    let path = users::write_file(builder.directory(), &hashed);
    let path = quoted(path.to_str().expect("UTF-8"));
    let [one, other] = two("methods = [\"password\"]");
    let mut relay = builder.listeners(&[&one, &other]).set("auth", "users", &path).start();
    let [first, second] = [relay.addrs()[0], relay.addrs()[1]];
    let logs_in = |at: SocketAddr| {
        let mut client = Client::connect(at);
        client.login(b"alice", b"wonderland") == 0 && client.ask(origin.addr)
    };
    let refuses = |at: SocketAddr, method: u8| {
        let mut client = Client::connect(at);
        client.send(&[0x05, 0x01, method]);
        client.expect(&[0x05, 0xff]);
    };
    assert_eq!(ask_at(first, origin.addr), 0x00);
    refuses(first, 0x02);
    assert!(logs_in(second));
    refuses(second, 0x00);
    change(&mut relay, "methods = [\"none\", \"password\"]");
    assert!(logs_in(second));
    assert_eq!(ask_at(second, origin.addr), 0x00);
    relay.forget("auth", "users");
    change(&mut relay, "");
    assert_eq!(ask_at(second, origin.addr), 0x00);
    refuses(second, 0x02);
    let [one, other] = two("methods = [\"password\"]");
    relay.put_listeners(&[&one, &other]);
    relay.write(&[]);
    relay.signal("HUP");
    relay.logged(&["[[listener]] 2 key `methods`", "needs a users file"]);
}

/// What is not taken is no policy of a rule: the answer is that there is no such command.
#[test]
fn a_listener_takes_the_commands_on_its_list() {
    let origin = Origin::echo();
    let mut relay = serve("commands = [\"connect\"]");
    let [first, second] = [relay.addrs()[0], relay.addrs()[1]];
    let rep_of = |at: SocketAddr, command: u8| {
        let mut client = Client::greeted(at);
        client.send(&request(command, origin.addr));
        client.reply().rep
    };
    assert_eq!((rep_of(first, 0x02), rep_of(first, 0x03)), (0x00, 0x00));
    assert_eq!((rep_of(second, 0x01), rep_of(second, 0x02), rep_of(second, 0x03)), (0x00, 0x07, 0x07));
    let records = relay.records(5);
    let refused: Vec<_> = records.iter().filter(|record| record["reply"] == 7).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|record| record["reason"] == "denied"), "{refused:?}");
    change(&mut relay, "commands = [\"bind\", \"udp_associate\"]");
    assert_eq!((rep_of(second, 0x01), rep_of(second, 0x02), rep_of(second, 0x03)), (0x07, 0x00, 0x00));
}

#[test]
fn a_listener_says_where_its_clients_send_datagrams() {
    netns::run(&test_name!(), "true", || {
        let mut relay = serve("advertise = \"203.0.113.7\"\nudp_ports = \"41000-41001\"");
        let [first, second] = [relay.addrs()[0], relay.addrs()[1]];
        let target = Target::on(V4);
        let door = |at: SocketAddr| {
            let mut client = Association::open(at);
            let told = client.door;
            client.door.set_ip(V4);
            client.send(target.addr, b"served");
            target.expect(b"served");
            told
        };
        assert_eq!(door(first).ip(), V4);
        assert_eq!(
            (door(second).ip().to_string(), door(second).port() / 10),
            ("203.0.113.7".to_owned(), 4100)
        );
        change(&mut relay, "udp_ports = \"42000-42001\"");
        relay.reload(&[("udp", "advertise", "\"203.0.113.9\"")]);
        assert_eq!(
            (door(second).ip().to_string(), door(second).port() / 10),
            ("203.0.113.9".to_owned(), 4200)
        );
        assert_eq!(door(first).ip().to_string(), "203.0.113.9");
    });
}

/// Who has sent a byte has the time of the handshake.
#[test]
fn a_silent_client_is_closed_where_the_listener_says() {
    let mut relay = serve("first_byte = \"200ms\"");
    let [first, second] = [relay.addrs()[0], relay.addrs()[1]];
    let (mut patient, mut silent) = (Client::connect(first), Client::connect(second));
    let mut slow = Client::connect(second);
    slow.send(&[0x05]);
    silent.expect_eof();
    assert_eq!(relay.record()["reason"], "handshake_timeout");
    slow.expect_silence(Duration::from_millis(300));
    slow.send(&[0x01, 0x00]);
    slow.expect(&[0x05, 0x00]);
    patient.greet_none();
    change(&mut relay, "");
    let mut silent = Client::connect(second);
    silent.expect_silence(Duration::from_millis(400));
}

/// Whoever has no name is called by where it listens, its port filled in.
#[test]
fn sessions_are_counted_recorded_and_found_by_listener_and_protocol() {
    let origin = Origin::echo();
    let table = "name = \"web\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"http\", \"socks5\"]";
    let builder = Relay::builder().listeners(&[table]).set("server", "listen", "[\"127.0.0.1:0\"]");
    let (relay, api) = Api::serve(builder);
    let [short, web] = [relay.addrs()[0], relay.addrs()[1]];
    let by_short = Client::through(short, origin.addr);
    let mut by_http = Client::connect(web);
    by_http.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr).as_bytes());
    by_http.expect(b"HTTP/1.1 200");
    let found = |query: &str| {
        let clients = api.sessions(query);
        clients.iter().map(|one| one["client"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let named = |client: &Client| vec![client.local().to_string()];
    assert_eq!(found("?listener=web"), named(&by_http));
    assert_eq!(found("?protocol=http"), named(&by_http));
    assert_eq!(found(&format!("?listener={short}&protocol=socks5")), named(&by_short));
    assert!(found("?listener=web&protocol=socks5").is_empty());
    let metrics = api.ask("GET", "/metrics", None).body;
    for (listener, protocol, count) in
        [("web", "http", 1), ("web", "socks5", 0), (&*short.to_string(), "socks5", 1), ("web", "none", 0)]
    {
        let line =
            format!("outflow_sessions_total{{listener=\"{listener}\",protocol=\"{protocol}\"}} {count}");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    drop((by_short, by_http));
    let records = relay.records(2);
    let told: BTreeSet<_> = records
        .iter()
        .map(|record| {
            (record["listener"].as_str().expect("text"), record["protocol"].as_str().expect("text"))
        })
        .collect();
    assert_eq!(told, BTreeSet::from([("web", "http"), (&*short.to_string(), "socks5")]));
}
