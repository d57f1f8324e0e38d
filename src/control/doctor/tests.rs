//! The judgements on a machine that is made up.

use super::addresses::missing;
use super::facts::{AskWay, InterfaceFacts};
use super::host::HostFacts;
use super::ports::ports_concern;
use super::ways::{WayTarget, asked};
use super::*;
use crate::policy::Locals;
use crate::policy::egress::{PoolSockets, PoolSpec};
use crate::sys::Errno;
use crate::sys::netlink::{PacketStart, RouteAnswer, RouteQuestion};

fn pool(addresses: &[&str], sockets: PoolSockets) -> ExaminedPool {
    let addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
    ExaminedPool::of(&PoolSpec { name: "area".into(), addresses, sockets, ..PoolSpec::default() })
}

fn plain(addresses: &[&str]) -> ExaminedPool {
    pool(addresses, PoolSockets::default())
}

/// One interface in 198.51.100.0/24 and 2001:db8::/64, and these blocks delivered.
fn machine(delivered: &[&str]) -> NetFacts {
    let own = ["198.51.100.9/24", "2001:db8::9/64"];
    let delivered = delivered.iter().copied().chain(["198.51.100.9/32", "2001:db8::9/128", "127.0.0.0/8"]);
    NetFacts {
        ports: Some(32_768..=60_999),
        tw_reuse: Some(1),
        timestamps: Some(1),
        locals: Some(Locals::new(delivered.map(|net| net.parse::<ipnet::IpNet>().unwrap()))),
        interfaces: vec![InterfaceFacts {
            number: 2,
            name: "eth0".to_owned(),
            addresses: own.iter().map(|net| net.parse().unwrap()).collect(),
            ..InterfaceFacts::default()
        }],
        ..NetFacts::default()
    }
}

/// Severity and check of each finding.
fn told(found: &[Finding]) -> Vec<(Severity, &'static str)> {
    found.iter().map(|finding| (finding.severity, finding.check)).collect()
}

#[test]
fn a_slice_that_the_kernel_passes_over_is_an_error_with_the_setting_that_mends_it() {
    for (slice, kernels, mend) in [
        (1_025..=1_034, 32_768..=60_999, Some("1025 60999")),
        (60_000..=61_000, 32_768..=60_999, Some("32768 61000")),
        (1_025..=65_000, 32_768..=60_999, Some("1025 65000")),
        (32_768..=60_999, 32_768..=60_999, None),
        (40_000..=40_000, 32_768..=60_999, None),
    ] {
        let concern = ports_concern(&slice, &kernels);
        let wanted = mend.map(|range| format!("sysctl -w net.ipv4.ip_local_port_range=\"{range}\""));
        assert_eq!(concern.map(|concern| concern.mend), wanted, "{slice:?}");
    }
}

#[test]
fn ports_that_the_kernel_reserves_are_counted() {
    let sliced = |reserve| {
        pool(
            &["198.51.100.9/32"],
            PoolSockets { ports: Some(40_000..=40_099), reserve, ..PoolSockets::default() },
        )
    };
    let with = |reserved: &[_]| NetFacts { reserved: reserved.to_vec(), ..machine(&[]) };
    let told = |pool: &ExaminedPool, facts: &NetFacts| told(&ports::findings(pool, facts));
    assert_eq!(told(&sliced(0), &with(&[])), []);
    assert_eq!(
        told(&sliced(0), &with(&[39_000..=40_009, 40_099..=40_200])),
        [(Severity::Warning, "reserved_ports")]
    );
    assert_eq!(ports::usable(&sliced(0), &with(&[39_000..=40_009, 40_099..=40_200])), 89);
    assert_eq!(told(&sliced(0), &with(&[1..=65_535])), [(Severity::Error, "reserved_ports")]);
    assert_eq!(told(&sliced(100), &with(&[])), [(Severity::Error, "reserve")]);
    assert_eq!(told(&sliced(99), &with(&[])), []);
    let blind = NetFacts { ports: None, ..machine(&[]) };
    assert_eq!(told(&sliced(0), &blind), [(Severity::Warning, "port_range")]);
}

#[test]
fn addresses_of_other_machines_are_named_with_what_adds_them() {
    let found =
        addresses::findings(&plain(&["198.51.100.9/32", "198.51.100.7/32", "203.0.113.1/32"]), &machine(&[]));
    assert_eq!(told(&found), [(Severity::Error, "addresses")]);
    assert!(
        found[0].what.starts_with("2 of 3 addresses are not of this machine: 198.51.100.7, 203.0.113.1;")
    );
    assert_eq!(found[0].mend, ["ip addr add 198.51.100.7/32 dev eth0", "ip addr add 203.0.113.1/32 dev lo"]);
    // A block that is missing as a whole takes one line.
    let found = addresses::findings(&plain(&["203.0.113.0/28"]), &machine(&[]));
    assert_eq!(found[0].mend, ["ip route add local 203.0.113.0/28 dev lo"]);
    assert!(
        found[0].what.contains("14 of 14 addresses") && found[0].what.contains("203.0.113.3 and 11 more")
    );
    assert_eq!(addresses::findings(&plain(&["203.0.113.0/28"]), &machine(&["203.0.113.0/28"])), []);
    // They can be left from, and nothing comes back.
    let free = pool(&["203.0.113.1/32"], PoolSockets { freebind: true, ..PoolSockets::default() });
    assert_eq!(told(&addresses::findings(&free, &machine(&[]))), [(Severity::Warning, "addresses")]);
}

#[test]
fn a_block_of_ipv6_needs_the_route_that_delivers_it() {
    let found = addresses::findings(&plain(&["2001:db8:5::/48"]), &machine(&["2001:db8:5::/64"]));
    assert_eq!(told(&found), [(Severity::Error, "anyip")]);
    assert_eq!(found[0].mend, ["ip -6 route add local 2001:db8:5::/48 dev lo"]);
    assert_eq!(addresses::findings(&plain(&["2001:db8:5::/48"]), &machine(&["2001:db8::/32"])), []);
}

/// In the link's own block somebody has to answer for it; elsewhere its router sends it here.
#[test]
fn a_block_that_neighbours_ask_for_needs_an_answer() {
    let (near, far) = (plain(&["2001:db8::ff00/120"]), plain(&["2001:db8:5::/48"]));
    let facts = machine(&["2001:db8::ff00/120", "2001:db8:5::/48"]);
    assert_eq!(told(&neighbours::findings(&near, &facts)), [(Severity::Warning, "neighbours")]);
    assert_eq!(neighbours::findings(&far, &facts), []);
    let found = neighbours::findings(&near, &facts);
    assert!(found[0].mend[0].ends_with("ip -6 route add 2001:db8::ff00/120 via 2001:db8::9"), "{found:?}");
}

#[test]
fn an_address_that_a_route_delivers_is_asked_for_in_the_links_block() {
    let facts = machine(&["198.51.100.7/32", "2001:db8::7/128"]);
    let (v4, v6) = (plain(&["198.51.100.7/32"]), plain(&["2001:db8::7/128"]));
    // ARP is answered for whatever is delivered, neighbour discovery is not.
    assert_eq!(neighbours::findings(&v4, &facts), []);
    assert_eq!(told(&neighbours::findings(&v6, &facts)), [(Severity::Warning, "neighbours")]);
    let mut strict = facts.clone();
    strict.interfaces[0].arp_ignore = 1;
    assert_eq!(told(&neighbours::findings(&v4, &strict)), [(Severity::Error, "neighbours")]);
    let mut answering = facts;
    answering.proxied.push((2, "2001:db8::7".parse().unwrap()));
    assert_eq!(neighbours::findings(&v6, &answering).len(), 1, "proxy_ndp is off");
    answering.interfaces[0].proxy_ndp = true;
    assert_eq!(neighbours::findings(&v6, &answering), []);
}

/// A kernel that has a way out by interface 2, if any, and one back in, if any.
struct Kernel {
    out: Result<(), Errno>,
    back: Result<(), Errno>,
    asked: Vec<RouteQuestion>,
}

impl AskWay for Kernel {
    fn way(&mut self, question: RouteQuestion) -> Result<RouteAnswer, Errno> {
        self.asked.push(question);
        let came = matches!(question.start, PacketStart::Came(_));
        let outcome = if came { self.back } else { self.out };
        outcome.map(|()| RouteAnswer { interface: Some(2), gateway: None, delivered: came })
    }
}

#[test]
fn an_address_without_a_way_is_an_error_towards_a_target_that_somebody_wants() {
    let (pool, facts) = (plain(&["198.51.100.9/32", "2001:db8::9/128"]), machine(&[]));
    let missing = missing(&pool, &facts);
    let mut kernel = Kernel { out: Err(Errno::ENETUNREACH), back: Ok(()), asked: Vec::new() };
    let found = asked(&pool, &facts, &missing, &WayTarget::all(&[]), &mut kernel);
    assert_eq!(told(&found), [(Severity::Warning, "route"); 2]);
    assert_eq!(found[0].mend, ["ip route add default via ROUTER dev eth0"]);
    assert_eq!(kernel.asked.len(), 2, "each family its own: {:?}", kernel.asked);
    let wanted = WayTarget::all(&["192.0.2.77:443".parse().unwrap()]);
    let found = asked(&pool, &facts, &missing, &wanted, &mut kernel);
    assert_eq!(told(&found), [(Severity::Error, "route")]);
    assert_eq!(found[0].mend, ["ip route add 192.0.2.77 via ROUTER dev eth0"]);
}

/// The kernel's word for it is "Invalid argument".
#[test]
fn loopback_addresses_are_said_to_lead_nowhere() {
    let (pool, facts) = (plain(&["127.0.0.4/32"]), machine(&[]));
    let mut kernel = Kernel { out: Err(Errno::EINVAL), back: Ok(()), asked: Vec::new() };
    let found = asked(&pool, &facts, &missing(&pool, &facts), &WayTarget::all(&[]), &mut kernel);
    assert!(found[0].what.ends_with(": an address of loopback reaches this machine alone"), "{found:?}");
}

#[test]
fn a_marked_packet_is_asked_for_with_its_mark() {
    let marked = pool(&["198.51.100.9/32"], PoolSockets { fwmark: Some(7), ..PoolSockets::default() });
    let facts = machine(&[]);
    let mut kernel = Kernel { out: Err(Errno::EACCES), back: Ok(()), asked: Vec::new() };
    let found = asked(&marked, &facts, &missing(&marked, &facts), &WayTarget::all(&[]), &mut kernel);
    assert_eq!(kernel.asked[0].mark, Some(7));
    assert_eq!(
        found[0].mend,
        ["ip rule add fwmark 7 lookup 7", "ip route add default via ROUTER dev eth0 table 7"]
    );
}

/// The kernel's word was EXDEV and is EINVAL; with a loose filter it is about something else.
#[test]
fn answers_that_rp_filter_drops_are_an_error() {
    let pool = plain(&["198.51.100.9/32"]);
    for (errno, rp_filter, wanted) in
        [(Errno::EXDEV, 1, 1), (Errno::EINVAL, 1, 1), (Errno::EINVAL, 2, 0), (Errno::EINVAL, 0, 0)]
    {
        let mut facts = machine(&[]);
        facts.interfaces[0].rp_filter = rp_filter;
        let mut kernel = Kernel { out: Ok(()), back: Err(errno), asked: Vec::new() };
        let found = asked(&pool, &facts, &missing(&pool, &facts), &WayTarget::all(&[]), &mut kernel);
        assert_eq!(found.len(), wanted, "{errno} {rp_filter}: {found:?}");
        if let Some(finding) = found.first() {
            assert_eq!((finding.severity, finding.check), (Severity::Error, "rp_filter"));
            assert_eq!(finding.mend, ["sysctl -w net.ipv4.conf.eth0.rp_filter=2"]);
        }
    }
}

#[test]
fn what_the_server_as_a_whole_lacks_is_said() {
    let mut config = Config::default();
    config.server.max_connections = 100_000;
    config.server.backlog = 4_096;
    let host = HostFacts {
        descriptors: 1_024,
        nr_open: Some(100_000),
        somaxconn: Some(128),
        conntrack: Some((12, 500)),
        sessions: 400,
    };
    let found = host::findings(&config, &host, &machine(&[]));
    assert_eq!(
        told(&found),
        [
            (Severity::Warning, "descriptors"),
            (Severity::Warning, "backlog"),
            (Severity::Warning, "conntrack")
        ]
    );
    assert!(found[0].mend[0].starts_with("sysctl -w fs.nr_open=") && found[0].mend.len() == 2, "{found:?}");
    assert_eq!(found[2].mend, ["sysctl -w net.netfilter.nf_conntrack_max=1600"]);
    let enough = HostFacts { somaxconn: Some(4_096), conntrack: None, sessions: 100_000, ..host };
    assert_eq!(host::findings(&config, &enough, &machine(&[])), []);
}

#[test]
fn time_wait_is_hinted_at_where_there_are_pools() {
    let config = |pools: &str| {
        let text = format!("{pools}\n");
        Config::parse(&text, std::path::Path::new("o.toml"), &crate::config::Flags::default()).unwrap()
    };
    let (none, one) = (config(""), config("[[egress]]\nname = \"a\"\naddresses = [\"127.0.0.9\"]"));
    let host = HostFacts { sessions: usize::MAX, ..HostFacts::default() };
    let with = |tw_reuse, timestamps| NetFacts { tw_reuse, timestamps, ..machine(&[]) };
    for (tw_reuse, timestamps, hints) in [(2, 1, 1), (0, 1, 1), (1, 1, 0), (1, 0, 1)] {
        let facts = with(Some(tw_reuse), Some(timestamps));
        assert_eq!(host::findings(&none, &host, &facts), []);
        let found = host::findings(&one, &host, &facts);
        assert_eq!(told(&found), [(Severity::Hint, "time_wait")].repeat(hints), "{tw_reuse} {timestamps}");
        assert_eq!(facts.reuses_time_wait(), hints == 0);
    }
}

#[test]
fn a_pool_holds_its_ports_times_its_addresses() {
    let four = pool(
        &["198.51.100.9/32", "198.51.100.16/31", "2001:db8::9/128"],
        PoolSockets { ports: Some(40_000..=40_999), ..PoolSockets::default() },
    );
    let slow = NetFacts { tw_reuse: Some(2), ..machine(&[]) };
    let held = capacity(&four, &slow);
    assert_eq!((held.addresses, held.ports, held.at_once, held.each_second), (4, 1_000, 4_000, 66));
    assert_eq!(capacity(&four, &machine(&[])).each_second, 4_000);
    assert_eq!(capacity(&plain(&["2001:db8::/64"]), &slow).at_once, (1_u128 << 64) * 28_232);
}
