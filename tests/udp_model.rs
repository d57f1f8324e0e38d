//! A seeded mix of all that clients and targets may send, against a model of what must come of it: for each
//! association and target the same bytes in the same order, and records that agree.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::support::origin::{V4, V6};
use crate::support::random::Random;
use crate::support::udp::{
    Association, Sides, Target, expect_empty, fragment, hold, send_segmented, serving, socket, wrap,
    wrap_name,
};
use crate::support::{DnsServer, Relay};

const PARTIES: usize = 3;
const TARGETS: usize = 4;
const ROUNDS: usize = 60;
/// Operations of one round: what they send finds room in every buffer on its way.
const OPERATIONS: usize = 40;

/// The end of a flow: which association, which target.
type Flow = (usize, usize);
type Expected = BTreeMap<Flow, VecDeque<Vec<u8>>>;

/// Fragments under way: their target, the highest position, what came so far.
struct Sequence {
    target: usize,
    highest: u8,
    bytes: Vec<u8>,
}

/// What a record must say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    datagrams: u64,
    bytes: u64,
}

impl Counts {
    fn add(&mut self, payload: &[u8]) {
        self.datagrams += 1;
        self.bytes += payload.len() as u64;
    }
}

struct Party {
    client: Association,
    /// Its ports towards IPv4 and IPv6 targets.
    external: BTreeMap<bool, SocketAddr>,
    sequence: Option<Sequence>,
    up: Counts,
    down: Counts,
}

struct World {
    relay: Relay,
    _names: DnsServer,
    parties: Vec<Party>,
    targets: Vec<Target>,
    /// Not sent to by anybody, at an address of its own; and one who is not the client of anybody.
    unasked: Target,
    stranger: UdpSocket,
    at_target: Expected,
    at_client: Expected,
    random: Random,
}

impl World {
    fn new(seed: u64, front: IpAddr) -> Self {
        let names = DnsServer::zone(&[("four.example", &["127.0.0.1"]), ("six.example", &["::1"])]);
        let relay = serving(Relay::builder().dns(&names).workers(2), front);
        let targets: Vec<Target> = (0..TARGETS).map(|n| Target::on([V4, V6][n % 2])).collect();
        let parties = (0..PARTIES).map(|_| Party::new(&relay, &targets)).collect();
        Self {
            relay,
            _names: names,
            parties,
            targets,
            unasked: Target::on("127.0.0.9".parse().expect("an address")),
            stranger: socket(SocketAddr::new(front, 0)),
            at_target: Expected::new(),
            at_client: Expected::new(),
            random: Random::new(seed),
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let most = *self.random.pick(&[1, 20, 200, 1400]);
        let length = self.random.index(most + 1);
        self.random.bytes(length)
    }

    /// One thing that somebody does; what must come of it goes into the model.
    fn operate(&mut self) {
        let (party, target) = (self.random.index(PARTIES), self.random.index(TARGETS));
        match self.random.below(16) {
            0..4 => self.plain(party, target),
            4..7 => self.answer(party, target),
            7..11 => self.fragment(party, target),
            11 => self.segmented(party, target),
            12 => self.segmented_answer(party, target),
            13 => self.junk(party, target),
            14 => {
                let payload = self.payload();
                self.parties[party]
                    .client
                    .send_raw_from(&self.stranger, &wrap(self.targets[target].addr, &payload));
            }
            _ => self.unasked.send(self.parties[party].external[&true], b"unasked"),
        }
    }

    /// Notes that a whole datagram goes up.
    fn passes_up(&mut self, party: usize, target: usize, payload: &[u8]) {
        self.parties[party].up.add(payload);
        self.at_target.entry((party, target)).or_default().push_back(payload.to_vec());
    }

    fn passes_down(&mut self, party: usize, target: usize, payload: &[u8]) {
        self.parties[party].down.add(payload);
        self.at_client.entry((party, target)).or_default().push_back(payload.to_vec());
    }

    /// A standalone datagram, to the address in one of its spellings or to its name.
    fn plain(&mut self, party: usize, target: usize) {
        let payload = match self.random.one_in(30) {
            true => self.random.bytes(20_000),
            false => self.payload(),
        };
        let addr = self.targets[target].addr;
        let bytes = match (addr.ip(), self.random.below(3)) {
            (IpAddr::V4(ip), 0) => wrap(SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()), &payload),
            (ip, 1) => wrap_name(name_of(ip), addr.port(), &payload),
            _ => wrap(addr, &payload),
        };
        self.parties[party].client.send_raw(&bytes);
        self.parties[party].sequence = None;
        self.passes_up(party, target, &payload);
    }

    fn answer(&mut self, party: usize, target: usize) {
        let payload = self.payload();
        let external = self.parties[party].external[&self.targets[target].addr.is_ipv4()];
        self.targets[target].send(external, &payload);
        self.passes_down(party, target, &payload);
    }

    /// A fragment that goes on, ends, leaves a gap or starts anew. FRAG that equals the highest is left out, as
    /// RFC 1928 says nothing of it.
    fn fragment(&mut self, party: usize, target: usize) {
        let payload = self.random.bytes(30);
        let (target, highest) = match &self.parties[party].sequence {
            Some(sequence) => (sequence.target, sequence.highest),
            None => (target, 0),
        };
        let position = match self.random.below(8) {
            0 => highest + 2,
            1 if highest > 1 => 1,
            2 if highest > 2 => highest - 1,
            _ => highest + 1,
        };
        let ends = self.random.one_in(4);
        let frag = position | if ends { 0x80 } else { 0 };
        self.parties[party].client.send_raw(&fragment(frag, self.targets[target].addr, &payload));
        let before = self.parties[party].sequence.take();
        let mut bytes = match before {
            Some(sequence) if position == highest + 1 => sequence.bytes,
            _ if position == 1 => Vec::new(),
            _ => return,
        };
        bytes.extend(payload);
        if ends {
            self.passes_up(party, target, &bytes);
        } else {
            self.parties[party].sequence = Some(Sequence { target, highest: position, bytes });
        }
    }

    /// Payloads of one length, the last one shorter.
    fn payloads(&mut self) -> Vec<Vec<u8>> {
        let (length, count) = (1 + self.random.index(300), 2 + self.random.index(6));
        let last = self.random.index(length) + 1;
        (1..=count).map(|n| self.random.bytes(if n == count { last } else { length })).collect()
    }

    /// One send of many datagrams, for this target and another of its family.
    fn segmented(&mut self, party: usize, target: usize) {
        let payloads = self.payloads();
        let mut datagrams = Vec::new();
        for payload in &payloads {
            let target = if self.random.one_in(3) { (target + 2) % TARGETS } else { target };
            datagrams.push(wrap(self.targets[target].addr, payload));
            self.passes_up(party, target, payload);
        }
        self.parties[party].sequence = None;
        let client = &self.parties[party].client;
        send_segmented(&client.socket, client.door, &datagrams);
    }

    fn segmented_answer(&mut self, party: usize, target: usize) {
        let payloads = self.payloads();
        let external = self.parties[party].external[&self.targets[target].addr.is_ipv4()];
        send_segmented(&self.targets[target].socket, external, &payloads);
        payloads.iter().for_each(|payload| self.passes_down(party, target, payload));
    }

    /// What is dropped and changes nothing.
    fn junk(&mut self, party: usize, target: usize) {
        let good = wrap(self.targets[target].addr, b"payload");
        let bytes = match self.random.below(3) {
            0 => [b"\x01", &good[1..]].concat(),
            1 => good[..self.random.index(10)].to_vec(),
            _ => [&good[..3], b"\x02", &good[4..]].concat(),
        };
        self.parties[party].client.send_raw(&bytes);
    }

    /// Takes all that the model awaits, and insists on it.
    fn settle(&mut self) {
        for at in 0..TARGETS {
            let due: usize =
                (0..PARTIES).filter_map(|p| self.at_target.get(&(p, at))).map(VecDeque::len).sum();
            for _ in 0..due {
                let (payload, from) = self.targets[at].receive();
                let party = self.parties.iter().position(|p| p.external[&from.is_ipv4()] == from);
                let party = party.unwrap_or_else(|| panic!("from {from}, which is nobody's"));
                take(&mut self.at_target, (party, at), &payload, "up");
            }
            expect_empty(&self.targets[at].socket);
        }
        for party in 0..PARTIES {
            let due: usize =
                (0..TARGETS).filter_map(|t| self.at_client.get(&(party, t))).map(VecDeque::len).sum();
            for _ in 0..due {
                let got = self.parties[party].client.receive();
                let target = self.targets.iter().position(|t| t.addr == got.from);
                let target = target.unwrap_or_else(|| panic!("from {}, which is no target", got.from));
                take(&mut self.at_client, (party, target), &got.payload, "down");
            }
            expect_empty(&self.parties[party].client.socket);
        }
    }

    /// Ends all and compares the records with the model.
    fn finish(self) {
        let mut wanted = BTreeMap::new();
        for party in self.parties {
            wanted.insert(party.client.control.local().to_string(), (party.up, party.down));
        }
        for record in self.relay.records(PARTIES) {
            let number =
                |field: &str| record[field].as_u64().unwrap_or_else(|| panic!("{field} of {record}"));
            let counts = |way: &str| Counts {
                datagrams: number(&format!("datagrams_{way}")),
                bytes: number(&format!("bytes_{way}")),
            };
            let client = record["client"].as_str().expect("text");
            assert_eq!((counts("up"), counts("down")), wanted[client], "{record}");
        }
    }
}

impl Party {
    /// Opened, with its ports known, and both names resolved.
    fn new(relay: &Relay, targets: &[Target]) -> Self {
        let client = Association::open(relay.addr());
        let (mut external, mut up) = (BTreeMap::new(), Counts::default());
        for target in targets {
            client.send_name(name_of(target.addr.ip()), target.addr.port(), b"by name");
            external.insert(target.addr.is_ipv4(), target.expect(b"by name"));
            up.add(b"by name");
        }
        Self { client, external, sequence: None, up, down: Counts::default() }
    }
}

fn name_of(ip: IpAddr) -> &'static [u8] {
    if ip.is_ipv4() { b"four.example" } else { b"six.example" }
}

fn take(expected: &mut Expected, flow: Flow, payload: &[u8], way: &str) {
    let next = expected.get_mut(&flow).and_then(VecDeque::pop_front);
    let next = next.unwrap_or_else(|| panic!("one too many {way} of flow {flow:?}: {} bytes", payload.len()));
    assert!(next == payload, "{way} of flow {flow:?}: {} bytes, {} are due", payload.len(), next.len());
}

fn run(seed: u64, front: IpAddr) {
    let mut world = World::new(seed, front);
    for _ in 0..ROUNDS {
        // In every other round the server finds all of it waiting.
        let held = world.random.one_in(2);
        if held {
            hold(&world.relay);
        }
        (0..OPERATIONS).for_each(|_| world.operate());
        if held {
            world.relay.signal("CONT");
        }
        world.settle();
    }
    world.finish();
}

fn a_random_mix_does_what_the_model_says(sides: Sides) {
    for seed in [1, 2, 3] {
        run(seed, sides.client);
    }
}
families!(a_random_mix_does_what_the_model_says);
