//! The list of what is counted: its line, and the metrics that it names.

use std::collections::HashMap;

use super::*;

/// What the log's line calls each value; tools read these names.
const LINE: &str = "accepted active
    closed_completed closed_client_reset closed_target_reset closed_idle closed_half_close closed_handshake_timeout
    closed_client_left closed_protocol closed_http closed_tls closed_no_method closed_auth_failed closed_bad_parameters closed_protection closed_denied
    closed_dns_failed closed_connect_failed closed_no_local_port closed_connect_timeout closed_parent_failed closed_bad_response closed_associate_failed closed_drained
    closed_killed closed_revoked closed_quota closed_internal
    bytes_up_copy bytes_up_splice bytes_up_sealed bytes_up_tls bytes_down_copy bytes_down_splice bytes_down_sealed bytes_down_tls
    logins_ok logins_failed no_local_port foreign_peers per_source_refused per_source_turned_away refused_unrecorded
    accept_paused shed short_queues stalls
    udp_associations udp_datagrams_up udp_datagrams_down udp_bytes_up udp_bytes_down
    pipe_fallbacks pipes_lent pipes_pooled records_lost log_lines_lost needs_lost
    udp_dropped_stranger udp_dropped_header udp_dropped_seal udp_dropped_fragment udp_dropped_denied udp_dropped_loop
    udp_dropped_name udp_dropped_queue udp_dropped_oversize udp_dropped_unreachable udp_dropped_blocked
    udp_dropped_filtered udp_dropped_no_client udp_dropped_limit udp_reassembled
    requests_connect_succeeded requests_connect_general_failure requests_connect_not_allowed
    requests_connect_network_unreachable requests_connect_host_unreachable requests_connect_connection_refused
    requests_connect_ttl_expired requests_connect_command_not_supported requests_connect_address_type_not_supported
    requests_connect_none
    requests_bind_succeeded requests_bind_general_failure requests_bind_not_allowed requests_bind_network_unreachable
    requests_bind_host_unreachable requests_bind_connection_refused requests_bind_ttl_expired
    requests_bind_command_not_supported requests_bind_address_type_not_supported requests_bind_none
    requests_udp_associate_succeeded requests_udp_associate_general_failure requests_udp_associate_not_allowed
    requests_udp_associate_network_unreachable requests_udp_associate_host_unreachable
    requests_udp_associate_connection_refused requests_udp_associate_ttl_expired
    requests_udp_associate_command_not_supported requests_udp_associate_address_type_not_supported
    requests_udp_associate_none
    requests_resolve_succeeded requests_resolve_general_failure requests_resolve_not_allowed
    requests_resolve_network_unreachable requests_resolve_host_unreachable requests_resolve_connection_refused
    requests_resolve_ttl_expired requests_resolve_command_not_supported requests_resolve_address_type_not_supported
    requests_resolve_none
    requests_resolve_ptr_succeeded requests_resolve_ptr_general_failure requests_resolve_ptr_not_allowed
    requests_resolve_ptr_network_unreachable requests_resolve_ptr_host_unreachable
    requests_resolve_ptr_connection_refused requests_resolve_ptr_ttl_expired
    requests_resolve_ptr_command_not_supported requests_resolve_ptr_address_type_not_supported
    requests_resolve_ptr_none
    requests_unknown_succeeded requests_unknown_general_failure requests_unknown_not_allowed
    requests_unknown_network_unreachable requests_unknown_host_unreachable requests_unknown_connection_refused
    requests_unknown_ttl_expired requests_unknown_command_not_supported requests_unknown_address_type_not_supported
    requests_unknown_none
    denied_special_purpose denied_own_listener denied_own_port denied_rule denied_default denied_no_pool denied_machine
    denied_listener denied_per_source
    denied_limit_connections denied_limit_associations denied_limit_new_sessions denied_quota
    denied_turned_away denied_unrecorded denied_foreign_peer
    dials dials_failed_refused dials_failed_timed_out dials_failed_host_unreachable dials_failed_network_unreachable
    dials_failed_other_family dials_failed_machine dials_failed_own_listener dials_failed_self_connect dials_failed_no_local_port
    dials_failed_local
    names_found names_not_found names_no_address names_server_failure names_timeout names_busy names_no_servers
    cache_names_hit cache_names_miss cache_logins_hit cache_logins_miss
    sealed_sessions
    tls_handshakes_full_tls12 tls_handshakes_full_tls13 tls_handshakes_full_unknown
    tls_handshakes_resumed_tls12 tls_handshakes_resumed_tls13 tls_handshakes_resumed_unknown
    tls_handshakes_failed_tls12 tls_handshakes_failed_tls13 tls_handshakes_failed_unknown
    parameters_refused_unknown parameters_refused_duplicate parameters_refused_incomplete parameters_refused_value
    parameters_refused_signature
    parent_warm connections_max worker_panics
    queue_used_records queue_used_log queue_used_mailboxes queue_used_names queue_used_logins queue_used_contexts
    queue_max_records queue_max_log queue_max_mailboxes queue_max_names queue_max_logins queue_max_contexts
    dns_server_answers";

/// The counters and gauges whose names and labels are promised to those who scrape them. `build_info` and `workers`
/// are nobody's count: they come with the exposition.
const PROMISED: &str = "
    connections_accepted_total             connections_active
    connections_closed_total{reason}       requests_total{command,reply}
    auth_total{method,result}             relayed_bytes_total{direction,engine}
    pipes{state}                           pipe_fallbacks_total{cause}
    udp_associations_active                udp_datagrams_total{direction}
    udp_dropped_total{reason}              denied_total{cause}
    accept_paused_total{cause}             shed_total{cause}                      short_queues";

#[test]
fn each_value_has_its_name_in_the_line() {
    let names: Vec<_> = LINE.split_whitespace().collect();
    let fields = log_fields(&[1; CELLS], false);
    assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
    let apart = ["accept_paused_descriptors", "accept_paused_system_descriptors", "accept_paused_memory"];
    let shed = ["shed_queue", "shed_connections", "shed_descriptors", "shed_memory"];
    let fallbacks = ["pipe_fallbacks_ceiling", "pipe_fallbacks_refused"];
    let apart = [&apart[..], &["accept_paused_other"], &shed, &fallbacks].concat();
    let all: Vec<String> = log_fields(&[0; CELLS], true).into_iter().map(|(name, _)| name).collect();
    let (more, line): (Vec<&str>, Vec<&str>) =
        all.iter().map(String::as_str).partition(|name| apart.contains(name));
    assert_eq!((line, more), (names, apart), "zeros, where they are asked for");
}

/// What the line told before there were labels it tells still: the sum over them.
#[test]
fn the_line_sums_up_what_only_metrics_tell_apart() {
    let mut cells = [0; CELLS];
    for (value, counted) in (1..).zip([
        Counted::Login(LoginMethod::Password, LoginResult::Ok),
        Counted::Login(LoginMethod::Gssapi, LoginResult::Ok),
        Counted::Login(LoginMethod::Gssapi, LoginResult::Failed),
        Counted::PipeFallbacks(NoPipe::Ceiling),
        Counted::PipeFallbacks(NoPipe::Refused),
        Counted::AcceptPaused(PauseCause::Memory),
    ]) {
        cells[counted.cell()] = value;
    }
    let fields = log_fields(&cells, false);
    let expected = [("logins_ok", 3), ("logins_failed", 3), ("accept_paused", 6), ("pipe_fallbacks", 9)];
    assert_eq!(fields[2..], expected.map(|(name, value)| (name.to_owned(), value)));
    let all = log_fields(&cells, true);
    let value = |name: &str| all.iter().find(|(one, _)| one == name).map(|(_, value)| *value);
    assert_eq!(["accept_paused", "accept_paused_memory"].map(value), [Some(6), Some(6)]);
    assert_eq!(["pipe_fallbacks_ceiling", "pipe_fallbacks_refused"].map(value), [Some(4), Some(5)]);
}

#[test]
fn the_line_leaves_out_zeros_but_those_of_connections() {
    let mut cells = [0; CELLS];
    assert_eq!(log_fields(&cells, false), [("accepted".to_owned(), 0), ("active".to_owned(), 0)]);
    cells[Counted::RelayedBytes(Direction::Down, Engine::Splice).cell()] = 7;
    assert_eq!(log_fields(&cells, false)[2..], [("bytes_down_splice".to_owned(), 7)]);
}

#[test]
fn values_are_told_apart_by_every_label() {
    let name_of = |counted: Counted| {
        let mut cells = [0; CELLS];
        cells[counted.cell()] = 1;
        log_fields(&cells, false).into_iter().find(|(_, value)| *value == 1).expect("a field").0
    };
    for reason in Reason::ALL {
        assert_eq!(name_of(Counted::Closed(reason)), format!("closed_{}", reason.name()));
    }
    for (direction, engine) in
        Direction::ALL.iter().flat_map(|direction| Engine::ALL.map(|engine| (*direction, engine)))
    {
        let word = Direction::word(direction as usize);
        let expected = format!("bytes_{word}_{}", engine.name());
        assert_eq!(name_of(Counted::RelayedBytes(direction, engine)), expected);
    }
    for drop in Drop::ALL {
        assert_eq!(name_of(Counted::Dropped(drop)), format!("udp_dropped_{}", drop.name()));
    }
    assert_eq!(name_of(Counted::Login(LoginMethod::Gssapi, LoginResult::Failed)), "logins_failed");
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
        let labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
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
