//! Pools: who leaves from where, and that it stays so.

mod left_alone;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::proto::address::Host;

const V4_TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));

fn v6_target() -> IpAddr {
    "2001:db8:ffff::80".parse().unwrap()
}

fn spec(addresses: &[&str], choosing: Choosing) -> PoolSpec {
    let net = |text: &&str| match text.parse::<IpAddr>() {
        Ok(ip) => ip.into(),
        Err(_) => text.parse().unwrap_or_else(|error| panic!("{text}: {error}")),
    };
    PoolSpec {
        name: "pool".into(),
        addresses: addresses.iter().map(net).collect(),
        choosing,
        ..PoolSpec::default()
    }
}

fn pool(addresses: &[&str], choosing: Choosing) -> AddressPool {
    let spec = spec(addresses, choosing);
    AddressPool::new(EgressId(1), spec, OutboundOptions::default(), &Ledger::new(Instant::now()))
}

/// Pools of these names and areas, whose numbers are their places, from 1 on.
pub(crate) fn tagged_pools(pools: &[(&str, &str)]) -> Arc<Egress> {
    let spec = |(name, area): &(&str, &str)| PoolSpec {
        name: (*name).into(),
        tags: [("area".into(), (*area).into())].into(),
        ..spec(&["198.51.100.1"], Choosing::default())
    };
    let pools = (1..).map(EgressId).zip(pools.iter().map(spec));
    let pools = pools.map(|(id, spec)| (id, spec, OutboundOptions::default()));
    Arc::new(Egress::new(pools, None, Instant::now()))
}

fn select(select: PoolSelect) -> Choosing {
    Choosing { select, ..Choosing::default() }
}

fn from(source: u32) -> LeavingAsked<'static> {
    LeavingAsked {
        user: None,
        session: None,
        ttl: None,
        source: IpAddr::V4(source.into()),
        reached: None,
        target: None,
        unix_seconds: 1_700_000_000,
    }
}

/// All addresses that a session tries towards this target.
fn tried(pool: &AddressPool, asked: &LeavingAsked<'_>, turns: &mut PoolTurns, target: IpAddr) -> Vec<IpAddr> {
    let mut leaving = pool.choose(asked, turns);
    let now = Instant::now();
    std::iter::from_fn(|| pool.next(&mut leaving, target, now)).collect()
}

fn first(pool: &AddressPool, asked: &LeavingAsked<'_>) -> IpAddr {
    tried(pool, asked, &mut PoolTurns::new(1), V4_TARGET)[0]
}

/// Each address of the pool with how many of these sessions it has.
fn shares(pool: &AddressPool, sessions: u32) -> HashMap<IpAddr, u32> {
    let (mut turns, mut shares) = (PoolTurns::new(7), HashMap::new());
    for source in 0..sessions {
        *shares.entry(tried(pool, &from(source), &mut turns, V4_TARGET)[0]).or_default() += 1;
    }
    shares
}

/// A key's address is what the hash says, whoever asks and however the addresses are typed.
#[test]
fn a_sticky_session_has_the_same_address_on_every_gateway() {
    let typed = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];
    let mut other = typed;
    other.reverse();
    let (one, other) = (pool(&typed, Choosing::default()), pool(&other, Choosing::default()));
    let block = pool(&["198.51.100.2/31", "198.51.100.1", "198.51.100.4"], Choosing::default());
    for source in 0..1_000 {
        let all =
            |pool: &AddressPool| tried(pool, &from(source), &mut PoolTurns::new(source.into()), V4_TARGET);
        assert_eq!(all(&one), all(&other));
        assert_eq!(all(&one), all(&block));
        assert_eq!(all(&one).len(), 3, "the first and two others");
    }
}

/// What moves is what has to: with `hash % N` nearly all did.
#[test]
fn an_address_that_goes_or_comes_moves_its_own_keys_alone() {
    let addresses: Vec<String> = (1..=20).map(|last| format!("198.51.100.{last}")).collect();
    let typed: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let (with, without) = (pool(&typed, Choosing::default()), pool(&typed[1..], Choosing::default()));
    let gone: IpAddr = addresses[0].parse().unwrap();
    let mut moved = 0;
    for source in 0..100_000 {
        let all = tried(&with, &from(source), &mut PoolTurns::new(1), V4_TARGET);
        let after = first(&without, &from(source));
        match all[0] == gone {
            true => {
                moved += 1;
                assert_eq!(after, all[1], "the next in its order");
            }
            false => assert_eq!(after, all[0], "it was not moved"),
        }
    }
    assert!((4_500..5_500).contains(&moved), "{moved} of 100,000 keys had one of 20 addresses");
}

#[test]
fn sticky_random_and_round_robin_give_each_address_its_share() {
    let typed = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];
    for (by, off) in [(PoolSelect::Sticky, 1_000), (PoolSelect::Random, 1_000), (PoolSelect::RoundRobin, 1)] {
        for (address, share) in shares(&pool(&typed, select(by)), 100_000) {
            assert!((25_000 - off..=25_000 + off).contains(&share), "{by:?}: {address} has {share}");
        }
    }
}

/// Turns of several workers begin at different places.
#[test]
fn round_robin_goes_on_to_the_next_and_fails_over_to_it() {
    let round = pool(&["198.51.100.1", "198.51.100.2", "198.51.100.3"], select(PoolSelect::RoundRobin));
    let mut turns = PoolTurns::new(3);
    let lists: Vec<_> = (0..4).map(|_| tried(&round, &from(1), &mut turns, V4_TARGET)).collect();
    assert!(lists.windows(2).all(|two| two[0][1] == two[1][0]), "{lists:?}");
    assert_eq!(lists[0], lists[3]);
    assert!(lists.iter().all(|list| list.len() == 3));
}

/// Those that end and those that go on are told apart: the one with the fewest now, and not the one that had the fewest.
#[test]
fn least_used_is_the_one_with_the_fewest_sessions_now() {
    let pool = session(&["198.51.100.1", "198.51.100.2", "198.51.100.3"], |spec| {
        spec.choosing.select = PoolSelect::LeastUsed;
    });
    let pool = pool.pool().expect("it is there");
    let mut turns = PoolTurns::new(1);
    let mut begin = || {
        let ip = tried(pool, &from(1), &mut turns, V4_TARGET)[0];
        (ip, pool.standing(ip).expect("its own").begin(ip, "192.0.2.80:443".parse().unwrap()))
    };
    let mut held: Vec<_> = (0..9).map(|_| begin()).collect();
    let count = |held: &[(IpAddr, _)], ip: IpAddr| held.iter().filter(|(of, _)| *of == ip).count();
    let addresses: Vec<IpAddr> = pool.entries().iter().map(|net| net.addr()).collect();
    assert!(addresses.iter().all(|ip| count(&held, *ip) == 3));
    held.retain(|(ip, _)| *ip != addresses[1]);
    let next: Vec<_> = (0..3).map(|_| begin()).collect();
    assert!(next.iter().all(|(ip, _)| *ip == addresses[1]));
}

#[test]
fn a_key_is_made_of_the_parts_that_are_asked_for() {
    let typed: Vec<String> = (1..=200).map(|last| format!("198.51.100.{last}")).collect();
    let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
    let on = |parts: &[StickyOn]| pool(&typed, Choosing { sticky_on: parts.to_vec(), ..Choosing::default() });
    let host = |text: &str| Host::parse(text.as_bytes()).unwrap();
    let (a, b) = (host("a.example"), host("b.example"));
    let ann = LeavingAsked { user: Some("ann"), session: Some("s1"), target: Some(&a), ..from(1) };
    let by_user = on(&[StickyOn::User]);
    let same = [
        LeavingAsked { session: None, ..ann },
        LeavingAsked { target: Some(&b), ..ann },
        LeavingAsked { source: [192, 0, 2, 9].into(), ..ann },
    ];
    assert!(same.iter().all(|asked| first(&by_user, asked) == first(&by_user, &ann)));
    assert_ne!(first(&by_user, &LeavingAsked { user: Some("bob"), ..ann }), first(&by_user, &ann));
    let by_target = on(&[StickyOn::Target]);
    assert_ne!(first(&by_target, &LeavingAsked { target: Some(&b), ..ann }), first(&by_target, &ann));
    let by_both = on(&[StickyOn::Session, StickyOn::User]);
    assert_eq!(first(&by_both, &ann), first(&on(&[StickyOn::User, StickyOn::Session]), &ann));
    assert_ne!(first(&by_both, &ann), first(&by_user, &ann));
}

/// Who gives no session wants another address each time.
#[test]
fn who_lacks_a_part_of_the_key_has_any_address() {
    let sticky = Choosing { sticky_on: vec![StickyOn::User, StickyOn::Session], ..Choosing::default() };
    let pool = pool(&["198.51.100.0/24"], sticky);
    let ann = LeavingAsked { user: Some("ann"), ..from(1) };
    let mut turns = PoolTurns::new(5);
    let mut seen: Vec<_> = (0..50).map(|_| tried(&pool, &ann, &mut turns, V4_TARGET)[0]).collect();
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 30, "{}", seen.len());
}

#[test]
fn an_ipv6_source_is_its_64() {
    let pool = pool(&["198.51.100.0/24"], Choosing::default());
    let from_v6 = |text: &str| LeavingAsked { source: text.parse().unwrap(), ..from(0) };
    assert_eq!(first(&pool, &from_v6("2001:db8::1")), first(&pool, &from_v6("2001:db8::ffff:1")));
    assert_ne!(first(&pool, &from_v6("2001:db8::1")), first(&pool, &from_v6("2001:db8:0:1::1")));
    assert_eq!(first(&pool, &from_v6("::ffff:0.0.0.9")), first(&pool, &from(9)));
}

/// 64,000 sessions of a /64 have 64,000 addresses, none of which is the routers'.
#[test]
fn a_large_block_gives_each_key_an_address_of_its_own() {
    let pool = pool(&["2001:db8:1::/64"], Choosing::default());
    let block: ipnet::IpNet = "2001:db8:1::/64".parse().unwrap();
    let mut seen = std::collections::HashSet::new();
    for source in 0..64_000 {
        let all = tried(&pool, &from(source), &mut PoolTurns::new(1), v6_target());
        assert_eq!(all.len(), 3, "failover goes on within the block");
        assert!(all.iter().all(|ip| block.contains(ip) && *ip != block.network()));
        assert!(seen.insert(all[0]));
        assert_eq!(all, tried(&pool, &from(source), &mut PoolTurns::new(2), v6_target()));
    }
    assert!(tried(&pool, &from(1), &mut PoolTurns::new(1), V4_TARGET).is_empty(), "of the other family");
}

#[test]
fn network_and_broadcast_addresses_are_no_sources_unless_they_are_typed() {
    let entries = |typed: &[&str]| pool(typed, Choosing::default()).entries().len();
    assert_eq!((entries(&["198.51.100.0/28"]), entries(&["198.51.100.0/31"])), (14, 2));
    assert_eq!((entries(&["198.51.100.0"]), entries(&["2001:db8::/124"])), (1, 15));
    assert_eq!(entries(&["198.51.100.0/24", "198.51.102.0/23", "2001:db8::/64"]), 254 + 1 + 1);
    let large = pool(&["198.51.100.0/22"], Choosing::default());
    for source in 0..20_000 {
        let ip = first(&large, &from(source));
        assert!(ip != IpAddr::from([198, 51, 100, 0]) && ip != IpAddr::from([198, 51, 103, 255]), "{ip}");
    }
}

#[test]
fn without_failover_a_key_has_one_address() {
    let pinned = Choosing { failover: 0, ..Choosing::default() };
    let pool = pool(&["198.51.100.1", "198.51.100.2", "2001:db8::1"], pinned);
    let mut leaving = pool.choose(&from(1), &mut PoolTurns::new(1));
    let now = Instant::now();
    let v4 = pool.next(&mut leaving, V4_TARGET, now).expect("an address");
    assert_eq!(pool.next(&mut leaving, V4_TARGET, now), None);
    // Each family has its own.
    assert_eq!(pool.next(&mut leaving, v6_target(), now), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(pool.next(&mut leaving, v6_target(), now), None);
    let copy = pool.choose(&from(1), &mut PoolTurns::new(2));
    assert_eq!(pool.next(&mut { copy }, V4_TARGET, now), Some(v4));
}

#[test]
fn a_pool_leads_to_the_families_that_it_is_for() {
    let of = |family| pool(&["198.51.100.1", "2001:db8::1"], Choosing { family, ..Choosing::default() });
    let leads = |family| (of(family).leads_to(V4_TARGET), of(family).leads_to(v6_target()));
    assert_eq!(leads(PoolFamily::Match), (true, true));
    assert_eq!(leads(PoolFamily::V4), (true, false));
    assert_eq!(leads(PoolFamily::V6), (false, true));
}

#[test]
fn a_client_leaves_by_the_address_that_it_reached() {
    let pool = pool(&["198.51.100.1", "198.51.100.2", "198.51.100.3"], select(PoolSelect::Client));
    assert!(pool.wants_reached());
    let reached = |ip: [u8; 4]| LeavingAsked { reached: Some(ip.into()), ..from(1) };
    for last in 1..=3 {
        let all = tried(&pool, &reached([198, 51, 100, last]), &mut PoolTurns::new(1), V4_TARGET);
        assert_eq!((all[0], all.len()), (IpAddr::from([198, 51, 100, last]), 3));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2], "{all:?}");
    }
    // Who reached another is one of its source's.
    assert_eq!(first(&pool, &reached([10, 0, 0, 1])), first(&pool, &from(1)));
}

/// Were the epochs of all keys to begin at once, all would move at once.
#[test]
fn a_key_moves_on_when_its_time_is_over_and_not_with_the_others() {
    let ttl = Some(Duration::from_secs(600));
    let pool = pool(&["198.51.100.0/24"], Choosing { ttl, ..Choosing::default() });
    let at = |source, seconds: u64| LeavingAsked { unix_seconds: 1_700_000_000 + seconds, ..from(source) };
    let (mut moves, mut within_a_minute) = (0, 0);
    for source in 0..200 {
        let mut last = first(&pool, &at(source, 0));
        let mut changes = Vec::new();
        for seconds in (0..1_800).step_by(60) {
            let now = first(&pool, &at(source, seconds));
            if now != last {
                changes.push(seconds);
            }
            last = now;
        }
        moves += changes.len();
        within_a_minute += usize::from(changes.first() == Some(&60));
        assert!(changes.windows(2).all(|two| (two[1] - two[0]) % 600 == 0), "{changes:?}");
    }
    assert!((500..=600).contains(&moves), "{moves} in three times the ttl");
    assert!(within_a_minute < 50, "{within_a_minute} of 200 moved in the same minute");
    let own = LeavingAsked { ttl: Some(Duration::from_secs(60)), ..at(1, 0) };
    let later = LeavingAsked { unix_seconds: own.unix_seconds + 60, ..own };
    assert_ne!(first(&pool, &own), first(&pool, &later), "the session's own time is shorter");
}

#[test]
fn with_sliding_a_key_that_is_used_keeps_its_address() {
    let ttl = Some(Duration::from_secs(600));
    let pool = pool(&["198.51.100.0/24"], Choosing { ttl, sliding: true, ..Choosing::default() });
    let at = |seconds: u64| LeavingAsked { unix_seconds: 1_700_000_000 + seconds, ..from(1) };
    let begun = first(&pool, &at(0));
    assert!((0..20).all(|nth| first(&pool, &at(nth * 500)) == begun));
    assert_ne!(first(&pool, &at(19 * 500 + 600)), begun);
}

#[test]
fn a_pool_that_stays_is_the_same_and_another_has_its_own_number() {
    let named = |name: &str| PoolSpec { name: name.into(), ..spec(&["198.51.100.1"], Choosing::default()) };
    let tagged =
        |name: &str, area: &str| PoolSpec { tags: [("area".into(), area.into())].into(), ..named(name) };
    let (now, plain) = (Instant::now(), OutboundOptions::default);
    let one = |number, spec| (EgressId(number), spec, plain());
    let before = Egress::new([one(1, named("a")), one(2, tagged("b", "de"))], None, now);
    let after = Egress::new([one(2, tagged("b", "de")), one(3, tagged("c", "fr"))], Some(&before), now);
    assert!(std::ptr::eq(after.pool(EgressId(2)).unwrap(), before.pool(EgressId(2)).unwrap()));
    assert!(after.pool(EgressId(1)).is_none() && after.pool(EgressId(9)).is_none());
    assert_eq!((after.named("b"), after.named("a")), (Some(EgressId(2)), None));
    let by_area = |area| after.tagged([("area", area)].into_iter(), |_| true);
    assert_eq!((by_area("de"), by_area("fr"), by_area("us")), (Some(EgressId(2)), Some(EgressId(3)), None));
    assert_eq!(after.pools().map(|pool| &**pool.name()).collect::<Vec<_>>(), ["b", "c"]);
}

/// A pool of these addresses with keys of its own, as a session goes through it.
fn session(addresses: &[&str], change: impl FnOnce(&mut PoolSpec)) -> SessionPool {
    let mut spec = spec(addresses, select(PoolSelect::RoundRobin));
    spec.choosing.failover = 8;
    change(&mut spec);
    let options = OutboundOptions { ports: spec.sockets.ports.clone(), ..OutboundOptions::default() };
    let egress = Arc::new(Egress::new([(EgressId(1), spec, options)], None, Instant::now()));
    let (asked, turns) = (from(1), &mut PoolTurns::new(1));
    SessionPool::choose(&egress, EgressId(1), &asked, turns).expect("a pool")
}

/// Those with few ports left to a target come behind the others, and those with as many connections as may be do not come.
#[test]
fn sources_with_room_for_a_target_come_first() {
    let now = Instant::now();
    let (target, other) = ("192.0.2.80:443".parse().unwrap(), "192.0.2.81:443".parse().unwrap());
    let sources = |pool: &SessionPool, target| pool.sources(target, now).collect::<Vec<_>>();
    let three = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    let scarce = session(&three, |spec| {
        (spec.sockets.ports, spec.sockets.reserve) = (Some(40_000..=40_003), 2);
    });
    let all = sources(&scarce, target);
    assert_eq!((all.len(), &all), (3, &sources(&scarce, other)));
    let held: Vec<_> = (0..3).map(|_| scarce.begin(all[0], target)).collect();
    assert_eq!(sources(&scarce, target), [all[1], all[2], all[0]]);
    assert_eq!(sources(&scarce, other), all);
    drop(held);
    assert_eq!(sources(&scarce, target), all);
    let full = session(&three, |spec| spec.sockets.per_target = 1);
    let all = sources(&full, target);
    let _held = [full.begin(all[0], target), full.begin(all[2], target)];
    assert_eq!((sources(&full, target), sources(&full, other)), (vec![all[1]], all));
}

/// One session tries an address that was left alone; the others go by another, or by none where there is no other.
#[test]
fn an_address_that_may_have_recovered_is_tried_by_one_session() {
    let now = Instant::now();
    let target = "192.0.2.80:443".parse().unwrap();
    let pool = session(&["198.51.100.1", "198.51.100.2"], |_| {});
    let first = |now| pool.sources(target, now).next().unwrap();
    let missing = first(now);
    pool.note(missing, target.ip(), health::Outcome::AddressMissing, now);
    assert_ne!(first(now), missing);
    let later = now + Duration::from_secs(3600);
    assert_eq!(first(later), missing);
    assert_ne!(first(later), missing, "another session has it");
    pool.note(missing, target.ip(), health::Outcome::Connected, later);
    assert_eq!(first(later), missing);
    let alone = session(&["198.51.100.1"], |_| {});
    alone.note(missing, target.ip(), health::Outcome::AddressMissing, now);
    assert_eq!(alone.sources(target, now).count(), 1, "the least bad serves");
}

#[test]
fn a_session_has_the_key_of_what_it_sticks_to_and_no_other() {
    let sticky = |choosing| session(&["198.51.100.1"], |spec| spec.choosing = choosing).session_key();
    let key = sticky(Choosing::default()).expect("its source");
    assert_eq!(sticky(Choosing::default()), Some(key));
    assert_eq!(sticky(Choosing { sticky_on: vec![StickyOn::User], ..Choosing::default() }), None);
    assert_eq!(sticky(select(PoolSelect::Random)), None);
}

/// What others compute by the document is what is done here: the document's own vectors, of another program.
#[test]
fn the_documents_vectors_hold() {
    let document = include_str!("../../../docs/egress.md");
    let (_, vectors) = document.split_once("## Test vectors").expect("there are vectors");
    let (vectors, _) = vectors.split_once("## ").expect("and something behind them");
    let typed = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<Vec<Vec<String>>> = vectors
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains('='))
        .map(|line| line.trim_matches('|').split('|').map(typed).collect())
        .collect();
    assert!(rows.len() >= 12, "{}", rows.len());
    for row in rows {
        let [addresses, parts, time, key, expected] = &row[..] else { panic!("{row:?}") };
        let value = |name: &str| {
            parts.iter().find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let (user, session) = (value("user"), value("session"));
        let target = value("target").map(|text| Host::parse(text.as_bytes()).unwrap());
        let seconds: Vec<u64> = time.iter().map(|text| text.parse().unwrap()).collect();
        let asked = LeavingAsked {
            user: user.as_deref(),
            session: session.as_deref(),
            ttl: seconds.first().map(|ttl| Duration::from_secs(*ttl)),
            source: value("source").map_or(IpAddr::from([0, 0, 0, 0]), |text| text.parse().unwrap()),
            reached: None,
            target: target.as_ref(),
            unix_seconds: seconds.get(1).copied().unwrap_or_default(),
        };
        let sticky_on: Vec<StickyOn> = [
            (StickyOn::Session, "session"),
            (StickyOn::User, "user"),
            (StickyOn::Target, "target"),
            (StickyOn::Source, "source"),
        ]
        .into_iter()
        .filter(|(_, name)| value(name).is_some())
        .map(|(part, _)| part)
        .collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let pool = pool(&addresses, Choosing { sticky_on, ..Choosing::default() });
        assert_eq!(format!("{:016x}", pool.key(&asked, false).expect("a key")), key[0], "{row:?}");
        let target = if expected[0].contains(':') { v6_target() } else { V4_TARGET };
        let all = tried(&pool, &asked, &mut PoolTurns::new(1), target);
        assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>(), *expected, "{row:?}");
    }
}
