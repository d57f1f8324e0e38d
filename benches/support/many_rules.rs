//! Rules as an operator with many customers and long block lists has them, and questions about them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use outflow::policy::rules::spec::{
    Action, Condition, Destination, GroupSpec, ListSpec, NamePattern, RuleSpec, RuleSpecs,
};
use outflow::policy::rules::{Asked, Question, RuleId};
use outflow::proto::address::{Host, Name};
use outflow::proto::request::RequestCommand;

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ManyRules {
    pub(crate) rules: usize,
    /// Blocks of lists.
    pub(crate) blocks: usize,
    /// Names of lists.
    pub(crate) names: usize,
}

impl fmt::Display for ManyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rules, {} blocks, {} names", self.rules, self.blocks, self.names)
    }
}

/// Lists that blocks and names are spread over.
const LISTS: usize = 100;
/// Groups, and how many users each has.
const GROUPS: usize = 200;
const MEMBERS: usize = 50;

/// Numbers that look like chance, the same in each run.
fn mix(number: usize) -> u64 {
    let mut mixed = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

fn name(text: &str) -> Name {
    match Host::parse(text.as_bytes()) {
        Ok(Host::Name(name)) => name,
        other => panic!("{text:?} became {other:?}"),
    }
}

/// A listed name: of two or three labels, under some fifty thousand domains.
fn listed_name(number: usize) -> Name {
    let mixed = mix(number);
    match number % 3 {
        0 => name(&format!("host{number:x}.example{}.com", mixed % 50_000)),
        1 => name(&format!("tracker-{mixed:x}.net")),
        _ => name(&format!("ads{number}.shop{}.org", mixed % 50_000)),
    }
}

/// A listed block: two of three IPv4, of 16 to 32 bits, the others IPv6 of 32 to 56.
fn listed_block(number: usize) -> IpNet {
    let mixed = mix(number);
    match number % 3 {
        0 => IpNet::V6(Ipv6Net::new_assert(listed_ipv6(mixed), 32 + (mixed % 7 * 4) as u8).trunc()),
        _ => IpNet::V4(Ipv4Net::new_assert(listed_ipv4(mixed), 16 + (mixed % 17) as u8).trunc()),
    }
}

fn listed_ipv4(mixed: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits((mixed >> 16) as u32)
}

fn listed_ipv6(mixed: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2000_u128 << 112 | u128::from(mixed >> 3) << 64 | 1)
}

fn user(number: usize) -> Arc<str> {
    format!("user{number}").into()
}

fn any<T>(values: impl Into<Vec<T>>) -> Condition<T> {
    Condition { any_of: values.into(), none_of: Vec::new() }
}

impl ManyRules {
    pub(crate) fn ids(&self) -> Vec<RuleId> {
        (1..=self.rules).map(|number| RuleId(u16::try_from(number).expect("a rule's number"))).collect()
    }

    pub(crate) fn groups(&self) -> Vec<GroupSpec> {
        let group = |group: usize| GroupSpec {
            name: format!("group{group}").into(),
            members: (0..MEMBERS)
                .map(|member| user((mix(group * MEMBERS + member) % 10_000) as usize))
                .collect(),
        };
        (0..GROUPS).map(group).collect()
    }

    pub(crate) fn specs(&self) -> RuleSpecs {
        let list = |list: usize| ListSpec {
            name: format!("list{list}").into(),
            names: (list..self.names).step_by(LISTS).map(|n| NamePattern::Under(listed_name(n))).collect(),
            networks: (list..self.blocks).step_by(LISTS).map(listed_block).collect(),
        };
        RuleSpecs {
            rules: (0..self.rules).map(|number| self.rule(number)).collect(),
            lists: (0..LISTS).map(list).collect(),
            groups: self.groups(),
            default: Action::Deny,
        }
    }

    /// The last allows everybody HTTPS; the others are about users, groups, sources and lists.
    fn rule(&self, number: usize) -> RuleSpec {
        let mixed = mix(number);
        let rule = RuleSpec {
            name: format!("rule{number}").into(),
            action: if mixed.is_multiple_of(3) { Action::Deny } else { Action::Allow },
            ..RuleSpec::default()
        };
        let list = Destination::List((mixed >> 8) as usize % LISTS);
        let source = IpNet::V4(Ipv4Net::new_assert(
            Ipv4Addr::new(10, (mixed >> 20) as u8, (mixed >> 28) as u8, 0),
            24,
        ));
        if number + 1 == self.rules {
            return RuleSpec { ports: any([443..=443]), action: Action::Allow, ..rule };
        }
        match number % 6 {
            0 => RuleSpec { users: any([user(number)]), to: any([list]), ports: any([443..=443]), ..rule },
            1 => RuleSpec {
                groups: any([number % GROUPS]),
                to: any([Destination::Name(NamePattern::Under(name(&format!("site{number}.example"))))]),
                ..rule
            },
            2 => RuleSpec {
                from: any([source]),
                to: any([Destination::Network(listed_block(number))]),
                ports: any([8000..=8099, 80..=80]),
                ..rule
            },
            3 => RuleSpec {
                groups: any([number % GROUPS]),
                to: any([list]),
                commands: any([RequestCommand::Connect]),
                ..rule
            },
            4 => RuleSpec {
                users: any([user(number), user(number + 1)]),
                to: Condition { any_of: Vec::new(), none_of: vec![list] },
                ports: any([1024..=65_535]),
                ..rule
            },
            _ => RuleSpec { from: any([source]), users: any([user(number)]), ..rule },
        }
    }

    /// A question of this number: of a user, about a name and its address, each of which is listed in three of four.
    pub(crate) fn asking(&self, number: usize) -> Asking {
        let mixed = mix(number ^ 0x5555_5555);
        let entry = |of: usize, shift: u32| (mixed >> shift) as usize % of.max(1);
        let unlisted = 1 << 40;
        let block = mix(if mixed & 3 == 0 { unlisted + number } else { entry(self.blocks, 4) });
        Asking {
            user: user(entry(10_000, 12)),
            name: listed_name(if mixed & 12 == 0 { unlisted + number } else { entry(self.names, 8) }),
            source: Ipv4Addr::new(10, (mixed >> 20) as u8, (mixed >> 28) as u8, 7).into(),
            address: match mixed >> 40 & 1 {
                0 => listed_ipv4(block).into(),
                _ => listed_ipv6(block).into(),
            },
            port: [443, 80, 8080, 22][(mixed >> 50) as usize % 4],
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Asking {
    user: Arc<str>,
    name: Name,
    source: IpAddr,
    address: IpAddr,
    port: u16,
}

impl Asking {
    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            user: Some(&self.user),
            source: self.source,
            listener: 0,
            command: RequestCommand::Connect,
            target: Asked::Address(self.address, self.port, Some(&self.name)),
        }
    }
}
