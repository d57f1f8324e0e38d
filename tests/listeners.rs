//! Listeners with settings of their own: what is spoken where, and what rules and a reload make of them.

use std::net::SocketAddr;

use crate::support::{Client, Origin, Relay};

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
