//! What the one verdict makes of the guard's word and of the rules'.

use jiff::tz::TimeZone;

use super::rules::by_hand::{allow, any, at, deny, name, rules, to};
use super::rules::schedule::{Hours, Schedule};
use super::rules::spec::{Mode, RuleSpec};
use super::rules::{RuleKey, RuleStep};
use super::*;
use crate::auth::Identity;
use crate::proto::request::RequestCommand;

const PUBLIC: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(9, 9, 9, 9)), 53);

fn subject(command: RequestCommand) -> Subject<'static> {
    let incoming = Incoming { client: "[::ffff:192.0.2.1]:4000".parse().unwrap(), listener: 0 };
    Subject { incoming, identity: &Identity::Anonymous, parameters: None, command }
}

fn judged(policy: &Policy, object: Object<'_>) -> Verdict {
    policy.judge(&subject(RequestCommand::Connect), object)
}

fn decision(verdict: Verdict) -> Decision {
    match verdict {
        Verdict::Allow(Allowed { decision, .. }) | Verdict::Deny(_, decision) => decision,
    }
}

fn ruled(default: Action, list: impl IntoIterator<Item = RuleSpec>) -> Policy {
    Policy::default().with_rules(Some(rules(default, list)))
}

#[test]
fn without_rules_what_the_guard_permits_is_allowed_by_default() {
    let policy = Policy::default();
    assert_eq!(judged(&policy, Object::To(PUBLIC, None)), Verdict::Allow(Allowed::default()));
    assert_eq!(decision(judged(&policy, Object::AnyPeer)), Decision::BY_DEFAULT);
    let private = judged(&policy, Object::To("10.0.0.1:80".parse().unwrap(), None));
    assert_eq!(decision(private), Decision::BY_GUARD);
}

/// A client of a dual-stack listener comes from an IPv4-mapped address.
#[test]
fn rules_know_a_client_by_its_plain_address() {
    let policy = ruled(Action::Deny, [allow(|rule| rule.from = any(["192.0.2.0/24".parse().unwrap()]))]);
    assert!(decision(judged(&policy, Object::To(PUBLIC, None))).allowed);
}

#[test]
fn private_addresses_are_for_what_their_rule_names_alone() {
    let lan = || {
        allow(|rule| {
            rule.to = to(["10.1.0.0/16", ".corp.example"]);
            rule.allow_private = true;
        })
    };
    let policy = ruled(Action::Allow, [lan()]);
    let (corp, other) = (name("db.corp.example"), name("db.example"));
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    for (object, allowed) in [
        (Object::To(address("10.1.2.3:80"), None), true),
        (Object::To(address("10.2.2.3:80"), None), false),
        (Object::To(address("10.2.2.3:80"), Some(&corp)), true),
        (Object::To(address("10.2.2.3:80"), Some(&other)), false),
        (Object::From(address("[::ffff:10.1.2.3]:80"), None), true),
    ] {
        let verdict = judged(&policy, object);
        assert_eq!(decision(verdict).allowed, allowed, "{object:?}");
        let by_guard = decision(verdict).by == DecidedBy::Guard;
        assert_eq!(by_guard, !allowed, "{object:?}");
    }
    let datagram = |to, name| {
        let subject = subject(RequestCommand::UdpAssociate);
        decision(policy.judge_datagram(&subject, to, name, &OwnPorts::default(), |_| false)).allowed
    };
    assert!(datagram(address("10.2.2.3:53"), Some(&corp)) && !datagram(address("10.2.2.3:53"), None));
    let denied = ruled(Action::Allow, [deny(|rule| rule.ports = any([80..=80])), lan()]);
    assert!(!decision(judged(&denied, Object::To(address("10.1.2.3:80"), None))).allowed);
}

/// A translator's prefix is one thing, and the private networks that it leads to another.
#[test]
fn private_addresses_behind_a_translator_are_named_by_what_they_are() {
    let prefix = "2001:db8:64::/96".parse().ok().and_then(Nat64::new).unwrap();
    let guard = Guard::new(false, vec!["2001:db8::/32".parse().unwrap()], Vec::new()).with_nat64(&[prefix]);
    let allowed = |named: &str, to_v6: &str| {
        let rule = allow(|rule| {
            rule.to = to([named]);
            rule.allow_private = true;
        });
        let policy = Policy::new(guard.clone()).with_rules(Some(rules(Action::Allow, [rule])));
        let corp = name("db.corp.example");
        decision(judged(&policy, Object::To(SocketAddr::new(to_v6.parse().unwrap(), 80), Some(&corp))))
            .allowed
    };
    let (private, public) = ("2001:db8:64::a00:1", "2001:db8:64::909:909");
    assert!(allowed("10.0.0.0/8", private) && allowed(".corp.example", private));
    assert!(!allowed("2001:db8:64::/96", private) && !allowed("10.1.0.0/16", private));
    assert!(allowed("2001:db8:64::/96", public) && allowed("10.1.0.0/16", public));
}

/// The kernel takes the unspecified address for the loopback address: a rule about that is a rule about both.
#[test]
fn the_unspecified_address_is_judged_as_the_loopback_address_that_it_reaches() {
    let denying = |blocks: &'static [&'static str]| {
        let policy = Policy::new(Guard::new(true, Vec::new(), Vec::new()));
        policy.with_rules(Some(rules(Action::Allow, [deny(|rule| rule.to = to(blocks.iter().copied()))])))
    };
    let allowed = |policy: &Policy, target: &str| {
        decision(judged(policy, Object::To(SocketAddr::new(target.parse().unwrap(), 80), None))).allowed
    };
    let (v4, v6) = (denying(&["127.0.0.0/8"]), denying(&["::1/128"]));
    for target in ["0.0.0.0", "::ffff:0.0.0.0", "127.0.0.1"] {
        assert!(!allowed(&v4, target) && allowed(&v6, target), "{target}");
    }
    for target in ["::", "::1"] {
        assert!(allowed(&v4, target) && !allowed(&v6, target), "{target}");
    }
    assert!(!allowed(&denying(&["0.0.0.0/32"]), "0.0.0.0"));
    let lan = allow(|rule| {
        rule.to = to(["127.0.0.0/8"]);
        rule.allow_private = true;
    });
    let opened = ruled(Action::Deny, [lan]);
    assert!(allowed(&opened, "0.0.0.0") && !allowed(&opened, "::"));
}

/// What packets to an address may come out as is denied with it, and allows nothing of it.
#[test]
fn a_rule_about_an_ipv4_address_denies_what_carries_it() {
    let carriers = [
        "::10.1.2.3",
        "::ffff:10.1.2.3",
        "::ffff:0:10.1.2.3",
        "64:ff9b::10.1.2.3",
        "64:ff9b:1:fffe::10.1.2.3",
        "2002:a01:203::1",
        "2001:0:4136:e378:8000:63bf:f5fe:fdfc",
        "2600::5efe:10.1.2.3",
        "2600::200:5efe:10.1.2.3",
    ];
    let open = || Policy::new(Guard::new(true, Vec::new(), Vec::new()));
    let with = |policy: Policy, default, rule: RuleSpec| policy.with_rules(Some(rules(default, [rule])));
    let block = |text: &'static str| move |rule: &mut RuleSpec| rule.to = to([text]);
    let decided = |policy: &Policy, target: &str| {
        decision(judged(policy, Object::To(SocketAddr::new(target.parse().unwrap(), 80), None)))
    };
    let denying = with(open(), Action::Allow, deny(block("10.0.0.0/8")));
    let elsewhere = with(open(), Action::Allow, deny(block("10.2.0.0/16")));
    let allowing = with(open(), Action::Deny, allow(block("10.0.0.0/8")));
    for target in carriers {
        assert_eq!(
            (decided(&denying, target).allowed, decided(&denying, target).by),
            (false, DecidedBy::Rule(RuleId(1))),
            "{target}"
        );
        assert!(decided(&elsewhere, target).allowed, "{target}");
        assert_eq!(decided(&allowing, target).allowed, target == "::ffff:10.1.2.3", "{target}");
    }
    // A rule for the tunnels opens them, and nothing private behind them.
    let tunnels = |text| {
        let rule = allow(|rule| {
            block(text)(rule);
            rule.allow_private = true;
        });
        with(Policy::default(), Action::Deny, rule)
    };
    assert!(decided(&tunnels("2002::/16"), "2002:909:909::1").allowed);
    assert!(!decided(&tunnels("2002::/16"), "2002:a01:203::1").allowed);
    assert!(!decided(&tunnels("10.0.0.0/8"), "2002:a01:203::1").allowed, "no rule allows the tunnel");
    let both = allow(|rule| {
        rule.to = to(["2002::/16", "10.0.0.0/8"]);
        rule.allow_private = true;
    });
    assert!(decided(&with(Policy::default(), Action::Deny, both), "2002:a01:203::1").allowed);
}

/// What a connection shows once it stands is the guard's word, too, and the rule has had its say.
#[test]
fn a_connection_that_turns_out_to_be_local_stands_where_its_rule_may_have_private_addresses() {
    let guard = Guard::new(false, Vec::new(), vec!["127.0.0.1:1080".parse().unwrap()]);
    let policy = Policy::new(guard);
    let connected = |port: u16, private| {
        let (local, remote) =
            (SocketAddr::from(([192, 0, 2, 9], 9)), SocketAddr::from(([192, 0, 2, 9], port)));
        policy.check_connected(local, remote, &Allowed { private, ..Allowed::default() }, || false)
    };
    assert!(matches!(connected(80, false), Err(Refusal::SpecialPurpose(_))));
    assert_eq!(connected(80, true), Ok(()));
    let guard = Guard::new(false, Vec::new(), vec!["0.0.0.0:1080".parse().unwrap()]);
    let policy = Policy::new(guard);
    let (local, remote) = (SocketAddr::from(([192, 0, 2, 9], 9)), SocketAddr::from(([192, 0, 2, 9], 1080)));
    let own =
        policy.check_connected(local, remote, &Allowed { private: true, ..Allowed::default() }, || false);
    assert_eq!(own, Err(Refusal::OwnListener));
}

#[test]
fn a_rule_in_report_mode_decides_nothing_and_is_told() {
    let reports = |mut rule: RuleSpec| {
        rule.mode = Mode::Report;
        rule
    };
    let policy = ruled(Action::Allow, [reports(deny(|_| {}))]);
    let would_deny = decision(judged(&policy, Object::To(PUBLIC, None)));
    assert_eq!((would_deny.allowed, would_deny.would_deny()), (true, Some(RuleId(1))));
    let policy = ruled(Action::Deny, [reports(allow(|_| {}))]);
    let would_allow = decision(judged(&policy, Object::To(PUBLIC, None)));
    assert_eq!((would_allow.allowed, would_allow.would), (false, Some(RuleId(1))));
    assert_eq!(would_allow.would_deny(), None);
}

#[test]
fn the_log_tells_what_the_rule_says_and_else_what_the_policy_says() {
    let all = || allow(|rule| rule.log = Some(Logged::All));
    let none = || deny(|rule| rule.log = Some(Logged::Nothing));
    let usual = |action| RuleSpec { action, ..RuleSpec::default() };
    for (log, rule, logged) in [
        (Logged::Deny, usual(Action::Deny), true),
        (Logged::Deny, usual(Action::Allow), false),
        (Logged::Deny, all(), true),
        (Logged::Deny, none(), false),
        (Logged::All, usual(Action::Allow), true),
        (Logged::All, none(), false),
        (Logged::Nothing, usual(Action::Deny), false),
        (Logged::Nothing, all(), true),
    ] {
        let policy = ruled(Action::Allow, [rule.clone()]).with_log(log);
        let decision = decision(judged(&policy, Object::To(PUBLIC, None)));
        assert_eq!(decision.logged, logged, "{log:?}, {rule:?}");
    }
    for (log, allowed, denied) in
        [(Logged::Deny, false, true), (Logged::All, true, true), (Logged::Nothing, false, false)]
    {
        let policy = Policy::default().with_log(log);
        let private = Object::To("10.0.0.1:80".parse().unwrap(), None);
        assert_eq!(decision(judged(&policy, Object::To(PUBLIC, None))).logged, allowed, "{log:?}");
        assert_eq!(decision(judged(&policy, private)).logged, denied, "{log:?}");
    }
}

#[test]
fn rules_are_the_same_where_they_are_one_value_for_the_same_listeners() {
    let one = rules(Action::Allow, [deny(|rule| rule.listeners = any(["a".into()]))]);
    let with = |number| Policy::default().with_rules(Some(at(&one, &[("a", number), ("b", 9)])));
    assert!(with(1).rules_as(&with(1)) && Policy::default().rules_as(&Policy::default()));
    assert!(!with(1).rules_as(&with(2)) && !with(1).rules_as(&Policy::default()));
    assert!(!with(1).rules_as(&ruled(Action::Allow, [])));
}

/// What is remembered of a target goes by the epoch.
#[test]
fn the_time_of_day_changes_what_rules_say_and_their_epoch() {
    let night = Schedule {
        days: Vec::new(),
        hours: vec![Hours { start: 22 * 60, end: 6 * 60 }],
        zone: TimeZone::UTC,
    };
    let policy = ruled(Action::Allow, [deny(|rule| rule.when = any([night.clone()]))]);
    let allowed = || decision(judged(&policy, Object::To(PUBLIC, None))).allowed;
    let tell = |moment: &str| policy.rules().unwrap().tell_time(moment.parse().unwrap());
    assert!(allowed(), "a rule with times holds at no time that nobody told");
    tell("2026-11-27T21:59:59Z");
    let day = (allowed(), policy.epoch());
    tell("2026-11-27T22:00:00Z");
    let night = (allowed(), policy.epoch());
    assert!(day.0 && !night.0 && day.1 != night.1);
    assert_eq!(Policy::default().epoch(), 0);
    let timeless = ruled(Action::Allow, [deny(|_| {})]);
    let before = timeless.epoch();
    timeless.rules().unwrap().tell_time("2026-11-27T22:00:00Z".parse().unwrap());
    assert_eq!(timeless.epoch(), before, "nothing is judged anew for a time that nothing depends on");
}

/// A rule that allows a block has not seen where a name leads that a parent resolves: it may not let every name through.
#[test]
fn a_name_that_a_parent_is_told_meets_no_condition_on_addresses() {
    let policy = ruled(
        Action::Deny,
        [
            deny(|rule| rule.to = to(["bad.example", "10.0.0.0/8"])),
            allow(|rule| rule.to = to(["203.0.113.0/24"])),
            allow(|rule| {
                rule.to.none_of = to(["198.51.100.0/24"]).any_of;
                rule.ports = any([443..=443]);
            }),
        ],
    );
    let (good, bad) = (name("good.example"), name("bad.example"));
    let rule = |object| match decision(judged(&policy, object)) {
        Decision { by: DecidedBy::Rule(RuleId(number)), allowed, .. } => (number, allowed),
        other => panic!("{other:?}"),
    };
    assert_eq!(rule(Object::Unresolved(&good, 80)), (2, true), "it might lead there");
    assert_eq!(rule(Object::Told(&good, 80)), (RuleId::DEFAULT.0, false));
    assert_eq!(rule(Object::Told(&good, 443)), (3, true), "none of these addresses is known to be it");
    assert_eq!(rule(Object::Told(&bad, 443)), (1, false));
    let told = policy.steps(&subject(RequestCommand::Connect), Object::Told(&good, 443));
    let steps: Vec<RuleStep> = told.iter().map(|(_, step)| *step).collect();
    let unmet = RuleStep::Fails { key: RuleKey::To, negated: false };
    assert_eq!(steps, [unmet, unmet, RuleStep::Decides]);
}

#[test]
fn a_parent_may_be_anywhere_but_at_our_own_listeners() {
    let own: Vec<SocketAddr> = vec!["0.0.0.0:1080".parse().unwrap()];
    let locals = Locals::new(["192.0.2.9/32".parse::<ipnet::IpNet>().unwrap()]);
    let policy = Policy::new(Guard::new(false, Vec::new(), own).with_locals(locals));
    for ours in ["127.0.0.1:1080", "192.0.2.9:1080", "[::ffff:127.8.8.8]:1080", "0.0.0.0:1080"] {
        assert_eq!(policy.check_parent(ours.parse().unwrap()), Err(Refusal::OwnListener), "{ours}");
    }
    for other in ["127.0.0.1:9050", "192.0.2.9:1081", "10.0.0.1:1080", "169.254.169.254:80"] {
        assert_eq!(policy.check_parent(other.parse().unwrap()), Ok(()), "{other}");
    }
}

/// A server of a parent could have what it likes sent into our network.
#[test]
fn a_server_far_away_takes_datagrams_at_itself_or_where_a_client_may_send_them() {
    let policy = Policy::new(Guard::new(false, Vec::new(), Vec::new()));
    let check =
        |relay: &str, server: &str| policy.check_relay(relay.parse().unwrap(), server.parse().unwrap());
    for (relay, server) in [
        ("93.184.215.14", "93.184.215.14"),
        ("::ffff:93.184.215.14", "93.184.215.14"),
        ("93.184.215.15", "93.184.215.14"),
        ("10.0.0.7", "10.0.0.6"),
        ("10.0.0.7", "127.0.0.1"),
    ] {
        assert_eq!(check(relay, server), Ok(()), "{relay} of {server}");
    }
    for relay in ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "224.0.0.1", "::ffff:127.0.0.1"] {
        assert!(matches!(check(relay, "93.184.215.14"), Err(Refusal::SpecialPurpose(_))), "{relay}");
    }
}
