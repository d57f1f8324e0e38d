//! Parents and those who would use them against others: clients whose targets or logins come to nothing, names whose addresses
//! rules lead by several ways, and parents that lead elsewhere than they were asked to.

use crate::support::parent::FakeParent;
use crate::support::{Client, DnsServer, Origin, Relay};

/// A rule that leads to these by a parent, whose keys stand behind it.
fn led_to(to: &str, parent: &str, keys: &str) -> String {
    let rule = format!("name = \"by-{parent}\"\nto = [\"{to}\"]\naction = \"allow\"\nparent = \"{parent}\"");
    format!("{rule}\n\n[[parent]]\nname = \"{parent}\"\n{keys}")
}

/// A name may have an address that is led and one that is not: whoever has the name in hand would choose the way by it.
#[test]
fn an_address_that_is_led_is_not_dialled_beside_one_that_is_not() {
    let target = Origin::echo();
    let parent = FakeParent::socks5(target.addr);
    let dns = DnsServer::zone(&[("both.example", &["127.0.0.9", "127.0.0.1"])]);
    let led = led_to("127.0.0.1", "up", &format!("servers = [\"socks5://{}\"]", parent.addr()));
    let direct = "name = \"direct\"\nto = [\"127.0.0.9\"]\naction = \"allow\"";
    let relay = Relay::builder().dns(&dns).rules(&[direct, &led]).start();
    let mut client = Client::greeted(relay.addr());
    // Nobody listens at the first.
    let rep = client.request_name(b"both.example", target.addr.port()).rep;
    let straight = target.accepted() > parent.accepted();
    assert!(!straight, "reply {rep}: the second was dialled without its parent");
}

/// A parent that is away and may be done without says nothing of the parent that an address has.
#[test]
fn a_session_that_goes_without_one_parent_goes_through_the_next() {
    let target = Origin::echo();
    let (gone, other) = (Origin::echo().addr, FakeParent::socks5(target.addr));
    let dns = DnsServer::zone(&[("near.example", &["127.0.0.1"])]);
    let by_address = led_to("127.0.0.1", "other", &format!("servers = [\"socks5://{}\"]", other.addr()));
    let keys = format!("servers = [\"socks5h://{gone}\"]\nfallback = \"direct\"");
    let by_name = led_to("*.example", "up", &keys);
    let relay = Relay::builder().dns(&dns).rules(&[&by_address, &by_name]).start();
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"near.example", target.addr.port()).rep, 0);
    client.send(b"ping");
    client.expect(b"ping");
    assert_eq!(other.told_once().target, target.addr.to_string());
}
