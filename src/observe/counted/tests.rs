//! The list of what is counted: its line, and the metrics that it names.

use std::collections::HashMap;

use super::*;

/// What the log's line calls each value; tools read these names.
const LINE: &str = "accepted active
    closed_completed closed_client_reset closed_target_reset closed_idle closed_half_close closed_handshake_timeout
    closed_client_left closed_protocol closed_http closed_no_method closed_auth_failed closed_protection closed_denied
    closed_dns_failed closed_connect_failed closed_connect_timeout closed_associate_failed closed_drained
    closed_killed closed_internal
    bytes_up_copy bytes_up_splice bytes_up_sealed bytes_down_copy bytes_down_splice bytes_down_sealed
    logins_ok logins_failed no_local_port foreign_peers per_source_refused per_source_turned_away refused_unrecorded
    accept_paused stalls
    udp_associations udp_datagrams_up udp_datagrams_down udp_bytes_up udp_bytes_down
    pipe_fallbacks pipes_lent pipes_pooled records_lost log_lines_lost
    udp_dropped_stranger udp_dropped_header udp_dropped_seal udp_dropped_fragment udp_dropped_denied udp_dropped_loop
    udp_dropped_name udp_dropped_queue udp_dropped_oversize udp_dropped_unreachable udp_dropped_blocked
    udp_dropped_filtered udp_dropped_no_client";

/// The counters and gauges whose names and labels are promised to those who scrape them. `-` stands before what is
/// not counted yet, be it the whole metric or a label.
const PROMISED: &str = "
    -build_info{version,relay}             -workers
    connections_accepted_total             connections_active
    connections_closed_total{reason}       -requests_total{command,reply}
    auth_total{-method,result}             relayed_bytes_total{direction,engine}
    pipes{state}                           pipe_fallbacks_total{-cause}
    udp_associations_active                udp_datagrams_total{direction}
    udp_dropped_total{reason}              -denied_total{cause}
    accept_paused_total{-cause}";

#[test]
fn each_value_has_its_name_in_the_line() {
    let cells = std::array::from_fn(|at| at as u64 + 1);
    let expected: Vec<_> = LINE.split_whitespace().map(str::to_owned).zip(1..).collect();
    assert_eq!(log_fields(&cells), expected);
}

#[test]
fn the_line_leaves_out_zeros_but_those_of_connections() {
    let mut cells = [0; CELLS];
    assert_eq!(log_fields(&cells), [("accepted".to_owned(), 0), ("active".to_owned(), 0)]);
    cells[Counted::RelayedBytes(Direction::Down, Engine::Splice).cell()] = 7;
    assert_eq!(log_fields(&cells)[2..], [("bytes_down_splice".to_owned(), 7)]);
}

#[test]
fn values_are_told_apart_by_every_label() {
    let name_of = |counted: Counted| {
        let mut cells = [0; CELLS];
        cells[counted.cell()] = 1;
        log_fields(&cells).into_iter().find(|(_, value)| *value == 1).expect("a field").0
    };
    for reason in Reason::ALL {
        assert_eq!(name_of(Counted::Closed(reason)), format!("closed_{}", reason.name()));
    }
    for (direction, engine) in
        Direction::ALL.into_iter().flat_map(|direction| Engine::ALL.map(|engine| (direction, engine)))
    {
        let expected = format!("bytes_{}_{}", direction.name(), engine.name());
        assert_eq!(name_of(Counted::RelayedBytes(direction, engine)), expected);
    }
    for drop in Drop::ALL {
        assert_eq!(name_of(Counted::Dropped(drop)), format!("udp_dropped_{}", drop.name()));
    }
    assert_eq!(name_of(Counted::Login(LoginResult::Failed)), "logins_failed");
    assert_eq!(name_of(Counted::Pipes(PipeState::Pooled)), "pipes_pooled");
    assert_eq!(name_of(Counted::Stall), "stalls");
}

#[test]
fn metrics_have_the_names_and_labels_that_were_promised() {
    let ours: HashMap<&str, Vec<&str>> =
        METRICS.iter().map(|metric| (metric.name, metric.labels.iter().map(|l| l.key).collect())).collect();
    assert_eq!(ours.len(), METRICS.len(), "a name stands twice");
    for promised in PROMISED.split_whitespace() {
        let (name, labels) = promised.trim_end_matches('}').split_once('{').unwrap_or((promised, ""));
        if let Some(absent) = name.strip_prefix('-') {
            assert!(!ours.contains_key(absent), "{absent} is counted");
            continue;
        }
        let labels: Vec<&str> = labels.split(',').filter(|l| !l.is_empty() && !l.starts_with('-')).collect();
        assert_eq!(ours.get(name), Some(&labels), "{name}");
    }
}

#[test]
fn metrics_are_named_as_their_kind_wants() {
    for metric in METRICS {
        assert!(metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", metric.name);
        let is_total = metric.name.ends_with("_total");
        assert_eq!(is_total, metric.kind == MetricType::Counter, "{}", metric.name);
        assert!(
            metric.help.ends_with('.') && !metric.help.starts_with(' '),
            "{}: {}",
            metric.name,
            metric.help
        );
    }
}
