//! An association between sockets of loopback: what policy is asked, and what comes of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::auth::Identity;
use crate::config::{Filtering, Prefer};
use crate::policy::own_ports::OwnPorts;
use crate::policy::rules::by_hand::{allow, any, at, deny, rules, to};
use crate::policy::rules::spec::Action;
use crate::policy::{Guard, Incoming, Object, Policy, Route, Subject, Way};
use crate::proto::request::RequestCommand;
use crate::shares::{Pool, Source};
use crate::sys::udp::DatagramSocket;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A socket that waits for what is sent to it.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((LOOPBACK, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    socket
}

/// No targets for the clients of listener 1, all for those of listener 2, as long as they are alice's associations.
fn by_listener(policy: Policy) -> Policy {
    let allowed = allow(|rule| {
        rule.users = any(["alice".into()]);
        rule.commands = any([RequestCommand::UdpAssociate]);
    });
    let denied = deny(|rule| {
        rule.listeners = any(["one".into()]);
        rule.to = to(["127.0.0.0/8"]);
    });
    policy.with_rules(Some(at(&rules(Action::Deny, [denied, allowed]), &[("one", 1), ("two", 2)])))
}

/// Targets are sent to from 127.0.0.3 alone.
fn from_127_0_0_3(object: Object<'_>) -> Route {
    let source = matches!(object, Object::To(..)).then_some([127, 0, 0, 3].into());
    Route { source, mark: None }
}

struct Setting {
    policy: Policy,
    own_ports: Arc<OwnPorts>,
    alice: Identity,
    association: Association,
    kit: DatagramKit,
}

impl Setting {
    fn new(with: impl FnOnce(Policy) -> Policy) -> Setting {
        let own_ports = Arc::default();
        let front = DatagramSocket::bind((LOOPBACK, 0).into(), 65_536).expect("a port");
        let at = front.local_address().expect("its address");
        let held = Pool::of(1_000).nothing(Source::from(LOOPBACK));
        let expected = Expected { ip: LOOPBACK, port: None };
        Setting {
            policy: with(Policy::new(Guard::new(true, Vec::new(), Vec::new()))),
            association: Association::new(expected, front, at, &own_ports, held),
            own_ports,
            alice: Identity::User("alice".into()),
            kit: DatagramKit::default(),
        }
    }

    /// Moves what has come, for a client of this listener and by this version of the policy.
    fn pump(&mut self, listener: u16, policy_version: u64) -> Pumped {
        let incoming = Incoming { client: SocketAddr::new(LOOPBACK, 1), listener };
        let command = RequestCommand::UdpAssociate;
        let terms = Terms {
            policy: &self.policy,
            policy_version,
            subject: Subject { incoming, identity: &self.alice, parameters: None, command },
            own_ports: &self.own_ports,
            filtering: Filtering::Address,
            fragments: true,
            prefer: Prefer::HappyEyeballs,
            learns: false,
            plan: None,
            places: None,
            now: std::time::Instant::now(),
            now_ms: 0,
        };
        self.association.front_ready();
        self.association.target_ready(Family::V4);
        self.association.pump(&mut self.kit, &terms)
    }
}

/// How many datagrams went up, came down and were denied.
fn counts(pumped: &Pumped) -> (u64, u64, u64) {
    (pumped.up.datagrams, pumped.down.datagrams, pumped.drops.0[Drop::Denied as usize])
}

/// By the route from this source.
fn by(source: IpAddr) -> Outward {
    Outward { route: Route { source: Some(source), mark: None }, way: Way::default() }
}

#[test]
fn targets_are_sent_to_by_the_route_of_the_association() {
    let mut setting = Setting::new(|policy| policy);
    let source: IpAddr = [127, 0, 0, 3].into();
    setting.association.leave_by(by(source), None);
    let (client, target) = (socket(), socket());
    client.connect(setting.association.front().local_address().expect("its address")).expect("a way");
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    client.send(&[&b"\0\0\0\x01\x7f\0\0\x01"[..], &port, b"ping"].concat()).expect("sent");
    assert_eq!(counts(&setting.pump(0, 0)), (1, 0, 0));
    assert_eq!(target.recv_from(&mut [0; 64]).expect("a datagram").1.ip(), source);
    // Of the other family there is no way from there.
    let to_v6 = [&b"\0\0\0\x04"[..], &[0; 15], &[1], &port, b"ping"].concat();
    client.send(&to_v6).expect("sent");
    assert_eq!(setting.pump(0, 0).drops.0[Drop::Unreachable as usize], 1);
}

#[test]
fn a_datagram_leaves_by_the_route_of_its_verdict_or_not_at_all() {
    let mut setting = Setting::new(|policy| policy.with_routes(from_127_0_0_3));
    let (client, target) = (socket(), socket());
    client.connect(setting.association.front().local_address().expect("its address")).expect("a way");
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    for (source, leaves) in [(4, 0), (3, 1)] {
        setting.association.leave_by(by([127, 0, 0, source].into()), None);
        client.send(&[&b"\0\0\0\x01\x7f\0\0\x01"[..], &port, b"ping"].concat()).expect("sent");
        let pumped = setting.pump(0, 0);
        assert_eq!((pumped.up.datagrams, pumped.drops.0[Drop::Unreachable as usize]), (leaves, 1 - leaves));
    }
}

#[test]
fn each_datagram_is_judged_with_the_subject_of_its_association_both_ways() {
    let mut setting = Setting::new(by_listener);
    let (client, target) = (socket(), socket());
    client.connect(setting.association.front().local_address().expect("its address")).expect("a way");
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    let datagram = [&b"\0\0\0\x01\x7f\0\0\x01"[..], &port, b"ping"].concat();
    let ask = || client.send(&datagram).expect("sent");
    let mut buffer = [0; 64];

    ask();
    assert_eq!(counts(&setting.pump(1, 0)), (0, 0, 1));
    ask();
    assert_eq!(counts(&setting.pump(2, 1)), (1, 0, 0));
    let (len, from) = target.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..len], b"ping");
    target.send_to(b"pong", from).expect("sent");
    assert_eq!(counts(&setting.pump(1, 2)), (0, 0, 1));
    target.send_to(b"pong", from).expect("sent");
    assert_eq!(counts(&setting.pump(2, 3)), (0, 1, 0));
    assert_eq!(client.recv(&mut buffer).expect("an answer"), 10 + b"pong".len());
    // What was said is remembered, both ways, but not for another policy.
    ask();
    assert_eq!(counts(&setting.pump(2, 3)), (1, 0, 0));
    ask();
    target.send_to(b"pong", from).expect("sent");
    assert_eq!(counts(&setting.pump(1, 3)), (1, 1, 0));
    ask();
    assert_eq!(counts(&setting.pump(1, 4)), (0, 0, 1));
    // One for each way and each policy that had something to judge.
    assert_eq!(setting.kit.decisions.len(), 6);
}

#[test]
fn without_rules_nothing_is_remembered_of_what_they_say() {
    let mut setting = Setting::new(|policy| policy);
    let (client, target) = (socket(), socket());
    client.connect(setting.association.front().local_address().expect("its address")).expect("a way");
    let port = target.local_addr().expect("its address").port().to_be_bytes();
    client.send(&[&b"\0\0\0\x01\x7f\0\0\x01"[..], &port, b"ping"].concat()).expect("sent");
    assert_eq!(counts(&setting.pump(0, 0)), (1, 0, 0));
    let (_, from) = target.recv_from(&mut [0; 64]).expect("a datagram");
    target.send_to(b"pong", from).expect("sent");
    assert_eq!(counts(&setting.pump(0, 0)), (0, 1, 0));
    assert!(setting.association.verdicts.is_none() && setting.kit.decisions.capacity() == 0);
}
