//! The text of a scrape, line by line; that Prometheus reads it, the integration suite shows.

use std::time::Duration;

use super::*;
use crate::config::Protocol;
use crate::observe::listeners_told::ListenerSays;
use crate::observe::parents_told::ParentServerTold;
use crate::observe::{Direction, METRICS, ParentCounts, ParentServerCounts};
use crate::outcome::Reason;
use crate::policy::accounts::{LimitId, LimitTerms, Per};
use crate::policy::egress::ports::PairUse;
use crate::policy::parents::ParentServerState;
use crate::policy::rules::spec::{Action, Mode};
use crate::relay::Engine;

fn observed() -> Observed {
    let (counters, mut latencies) = (Counters::default(), Latencies::default());
    counters.accept();
    counters.accept();
    counters.close(Reason::Idle);
    counters.relay(Direction::Up, Engine::Splice, 5);
    for ms in [1, 3, 40_000] {
        latencies.record(Timed::Handshake, Duration::from_millis(ms));
    }
    latencies.record(Timed::Turn, Duration::from_micros(1_500));
    let worker = WorkerObserved::of(&counters, &latencies);
    let process = ProcessUse {
        cpu_s: 1.25,
        rss_bytes: 4_096,
        virtual_bytes: 8_192,
        open_fds: 9,
        max_fds: 1_024,
        threads: 3,
        start_s: 1_700_000_000.5,
    };
    Observed {
        relay: "auto",
        totals: Totals::of([&counters]),
        latencies,
        workers: vec![WorkerObserved::default(), worker],
        rules: vec![
            RuleTold { name: "no-ads".into(), says: Some((Action::Deny, Mode::Report)), hits: [0, 3, 0, 0] },
            RuleTold { name: "gone".into(), says: None, hits: [1, 0, 0, 0] },
        ],
        limits: vec![LimitTold {
            name: "plan".into(),
            id: LimitId(2),
            says: Some((Per::User, LimitTerms { connections: Some(3), ..LimitTerms::default() })),
            reached: [0, 0, 0, 0, 7, 0, 0],
        }],
        listeners: vec![ListenerTold {
            says: ListenerSays {
                number: 3,
                name: "web".into(),
                protocols: vec![Protocol::Http],
                since: Default::default(),
            },
            spoken: [2, 0, 0, 1],
        }],
        pools: Vec::new(),
        parents: vec![ParentTold {
            name: "up".into(),
            select: "sticky",
            servers: [ParentServerState::Down, ParentServerState::Up].map(parent_server).to_vec(),
            counts: ParentCounts { sessions: 5, warm: 2, direct: 4, faults: [0, 3, 0, 0, 0, 0, 0, 0, 0, 0] },
        }],
        quota_store: None,
        process: Some(process),
    }
}

fn parent_server(state: ParentServerState) -> ParentServerTold {
    let counts = ParentServerCounts { active: 3, ..ParentServerCounts::default() };
    ParentServerTold { server: "http://a:1".into(), weight: 1, state, left: None, fails: 0, counts }
}

fn pool() -> PoolTold {
    PoolTold {
        name: "fleet".into(),
        select: "sticky",
        missing_interface: None,
        addresses: [3, 1, 0, 2],
        active: 7,
        sessions: 99,
        cooldowns: [2, 0, 5, 0, 0],
        ports_open: 6,
        ports_waiting: 4,
        ports_most: 1_000,
        fullest: vec![PairUse {
            source: [192, 0, 2, 1].into(),
            target: ([198, 51, 100, 1], 443).into(),
            in_use: 5,
            waiting: 4,
        }],
    }
}

/// Where there is no pool, nothing is said of them; and no address is ever a label.
#[test]
fn pools_are_told_by_their_names_alone() {
    let none = exposition(observed());
    assert!(!none.contains("egress"), "{none}");
    let text = exposition(Observed { pools: vec![pool()], ..observed() });
    has(
        &text,
        "# TYPE outflow_egress_sessions_active gauge
         outflow_egress_sessions_active{egress=\"fleet\"} 7
         # TYPE outflow_egress_sessions_total counter
         outflow_egress_sessions_total{egress=\"fleet\"} 99
         outflow_egress_addresses{egress=\"fleet\",state=\"serving\"} 3
         outflow_egress_addresses{egress=\"fleet\",state=\"cooled\"} 1
         outflow_egress_addresses{egress=\"fleet\",state=\"probed\"} 0
         outflow_egress_addresses{egress=\"fleet\",state=\"drained\"} 2
         outflow_egress_cooldowns_total{egress=\"fleet\",cause=\"missing\"} 2
         outflow_egress_cooldowns_total{egress=\"fleet\",cause=\"refused\"} 5
         outflow_egress_cooldowns_total{egress=\"fleet\",cause=\"timed_out\"} 0
         outflow_egress_ports_in_use{egress=\"fleet\",state=\"open\"} 6
         outflow_egress_ports_in_use{egress=\"fleet\",state=\"time_wait\"} 4
         outflow_egress_fullest_pair_ports{egress=\"fleet\"} 5
         outflow_egress_ports_max{egress=\"fleet\"} 1000",
    );
    assert!(!text.contains("192.0.2.1") && !text.contains("198.51.100.1"));
}

fn has(text: &str, lines: &str) {
    for line in lines.lines().map(str::trim) {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}

#[test]
fn counts_have_their_labels_and_zeros_are_told() {
    let text = exposition(observed());
    has(
        &text,
        "# HELP outflow_connections_closed_total Connections closed, by why.
         # TYPE outflow_connections_closed_total counter
         outflow_connections_closed_total{reason=\"idle\"} 1
         outflow_connections_closed_total{reason=\"killed\"} 0
         outflow_relayed_bytes_total{direction=\"up\",engine=\"splice\"} 5
         # TYPE outflow_connections_active gauge
         outflow_connections_active 1
         outflow_workers 2",
    );
    let version = env!("CARGO_PKG_VERSION");
    has(&text, &format!("outflow_build_info{{version=\"{version}\",relay=\"auto\"}} 1"));
    for metric in METRICS {
        let told = |line: &&str| {
            let name = line.strip_prefix("outflow_").and_then(|rest| rest.strip_prefix(metric.name));
            name.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        assert_eq!(text.lines().filter(told).count(), metric.cells(), "{}", metric.name);
    }
}

/// A rule that was changed keeps what it decided before.
#[test]
fn a_rule_has_the_verdict_that_it_gives_and_those_that_it_gave() {
    let text = exposition(observed());
    has(
        &text,
        "# TYPE outflow_rule_hits_total counter
         outflow_rule_hits_total{rule=\"no-ads\",verdict=\"deny\"} 3
         outflow_rule_hits_total{rule=\"no-ads\",verdict=\"would_deny\"} 0
         outflow_rule_hits_total{rule=\"gone\",verdict=\"allow\"} 1",
    );
    assert_eq!(text.matches("outflow_rule_hits_total{").count(), 3);
}

#[test]
fn a_parent_has_its_sessions_its_faults_and_the_servers_that_are_there() {
    let text = exposition(observed());
    has(
        &text,
        "# TYPE outflow_parent_sessions_total counter
         outflow_parent_sessions_total{parent=\"up\"} 5
         outflow_parent_warm_sessions_total{parent=\"up\"} 2
         outflow_parent_direct_sessions_total{parent=\"up\"} 4
         outflow_parent_failures_total{parent=\"up\",cause=\"refused\"} 3
         # TYPE outflow_parent_up gauge
         outflow_parent_up{parent=\"up\"} 1
         # TYPE outflow_parent_servers gauge
         outflow_parent_servers{parent=\"up\",state=\"up\"} 1
         outflow_parent_servers{parent=\"up\",state=\"backup\"} 0
         outflow_parent_servers{parent=\"up\",state=\"down\"} 1
         outflow_parent_servers{parent=\"up\",state=\"drained\"} 0
         # TYPE outflow_parent_sessions_active gauge
         outflow_parent_sessions_active{parent=\"up\"} 6",
    );
    assert_eq!(text.matches("outflow_parent_failures_total{").count(), 1);
    let without = exposition(Observed { parents: Vec::new(), ..observed() });
    assert!(!without.contains("outflow_parent_sessions"), "nobody is told of what there is not");
}

#[test]
fn a_listener_has_the_protocols_that_may_be_spoken_there_or_were() {
    let text = exposition(observed());
    has(
        &text,
        "# TYPE outflow_sessions_total counter
         outflow_sessions_total{listener=\"web\",protocol=\"socks5\"} 2
         outflow_sessions_total{listener=\"web\",protocol=\"http\"} 0
         outflow_sessions_total{listener=\"web\",protocol=\"none\"} 1",
    );
    assert_eq!(text.matches("outflow_sessions_total{").count(), 3);
}

/// What it has a bound for has a series from the start, and what it was reached in one ever after.
#[test]
fn a_limit_has_the_kinds_that_it_bounds_or_bounded() {
    let text = exposition(observed());
    has(
        &text,
        "# TYPE outflow_limit_reached_total counter
         outflow_limit_reached_total{limit=\"plan\",kind=\"connections\"} 0
         outflow_limit_reached_total{limit=\"plan\",kind=\"download\"} 7",
    );
    assert_eq!(text.matches("outflow_limit_reached_total{").count(), 2);
}

#[test]
fn a_histogram_is_cumulative_and_ends_with_all_of_it() {
    has(
        &exposition(observed()),
        "# TYPE outflow_handshake_seconds histogram
         outflow_handshake_seconds_bucket{le=\"0.0005\"} 0
         outflow_handshake_seconds_bucket{le=\"0.001\"} 1
         outflow_handshake_seconds_bucket{le=\"0.0025\"} 1
         outflow_handshake_seconds_bucket{le=\"0.005\"} 2
         outflow_handshake_seconds_bucket{le=\"30\"} 2
         outflow_handshake_seconds_bucket{le=\"+Inf\"} 3
         outflow_handshake_seconds_sum 40.004
         outflow_handshake_seconds_count 3
         outflow_turn_seconds_bucket{le=\"2.5e-05\"} 0
         outflow_turn_seconds_bucket{le=\"0.0025\"} 1",
    );
}

#[test]
fn only_what_shows_the_balance_is_told_of_each_worker() {
    let text = exposition(observed());
    has(
        &text,
        "outflow_worker_connections_active{worker=\"0\"} 0
         outflow_worker_connections_active{worker=\"1\"} 1
         outflow_worker_connections_accepted_total{worker=\"1\"} 2
         outflow_worker_busy_seconds_total{worker=\"1\"} 0.0015",
    );
    assert_eq!(text.matches("worker=\"1\"").count(), 3);
}

#[test]
fn a_process_is_told_by_the_names_that_all_have() {
    has(
        &exposition(observed()),
        "process_cpu_seconds_total 1.25
         process_resident_memory_bytes 4096
         process_virtual_memory_bytes 8192
         process_open_fds 9
         process_max_fds 1024
         process_start_time_seconds 1700000000.5",
    );
    let unknown = exposition(Observed { process: None, ..observed() });
    assert!(!unknown.contains("process_") && unknown.contains("outflow_workers 2"));
}

/// A metric that is 0 where there is no store would be an alarm of every server that has no quotas.
#[test]
fn a_store_of_quotas_is_told_where_there_is_one() {
    assert!(!exposition(observed()).contains("quota_store"));
    let told = StoreTold { trouble: None, errors: 3, rows: 7, behind: Duration::from_millis(1_500) };
    let text = |told: &StoreTold| exposition(Observed { quota_store: Some(told.clone()), ..observed() });
    has(
        &text(&told),
        "# TYPE outflow_quota_store_up gauge
         outflow_quota_store_up 1
         outflow_quota_store_behind_seconds 1.5
         outflow_quota_store_uses 7
         # TYPE outflow_quota_store_errors_total counter
         outflow_quota_store_errors_total 3",
    );
    has(&text(&StoreTold { trouble: Some("full".into()), ..told }), "outflow_quota_store_up 0");
}
