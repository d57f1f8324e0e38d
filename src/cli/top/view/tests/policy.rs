//! What rules decided and how full limits are.

use super::*;
/// Where nothing is limited, nothing is said of it.
#[test]
fn limits_have_a_row_with_the_fullest_first() {
    let mut endpoint = MadeUp::busy(30);
    let limit = |name: &str, fill: Option<f64>, reached: u64| json!({"limit": name, "per": "user", "reached": reached, "subjects": 3, "fill": fill});
    endpoint.stats["limits"] =
        json!([limit("basic", Some(0.125), 30), limit("gold", Some(1.0), 7), limit("none", None, 0)]);
    let (mut model, now) = model(&endpoint);
    endpoint.stats["limits"][1]["reached"] = json!(12);
    model.take(LookReport::Looked(Box::new(endpoint.look())), now + Duration::from_secs(1));
    let screen = rows(&drawn(&mut model, COLOURS, (80, 24), now));
    assert!(
        screen.iter().any(|row| row.starts_with("limits") && row.contains("gold 100% +5/s  basic 12%")),
        "{screen:#?}"
    );
    let (mut model, now) = self::model(&MadeUp::busy(30));
    assert!(rows(&drawn(&mut model, COLOURS, (80, 24), now)).iter().all(|row| !row.starts_with("limits")));
}

/// Where there are no rules, nothing is said of them.
#[test]
fn rules_have_a_row_with_those_first_that_decide_now() {
    let mut endpoint = MadeUp::busy(30);
    let rule =
        |name: &str, hits: u64| json!({"rule": name, "action": "deny", "mode": "enforce", "hits": hits});
    endpoint.stats["rules"] = json!([rule("no-ads", 1200), rule("office", 30), rule("never", 0)]);
    let (mut model, now) = model(&endpoint);
    endpoint.stats["rules"][1]["hits"] = json!(35);
    model.take(LookReport::Looked(Box::new(endpoint.look())), now + Duration::from_secs(1));
    let screen = rows(&drawn(&mut model, COLOURS, (80, 24), now));
    assert!(
        screen.iter().any(|row| row.starts_with("rules") && row.contains("office 35 +5/s  no-ads 1,200")),
        "{screen:#?}"
    );
    let (mut model, now) = self::model(&MadeUp::busy(30));
    assert!(rows(&drawn(&mut model, COLOURS, (80, 24), now)).iter().all(|row| !row.starts_with("rules")));
}

/// Where there are no pools, nothing is said of them.
#[test]
fn pools_have_a_row_with_those_first_of_which_an_address_is_left_alone() {
    let mut endpoint = MadeUp::busy(30);
    let pool = |name: &str, states: [u64; 4], sessions: u64| {
        let [serving, cooled, probed, drained] = states;
        let addresses = json!({"serving": serving, "cooled": cooled, "probed": probed, "drained": drained});
        json!({"egress": name, "select": "sticky", "addresses": addresses, "sessions_active": sessions})
    };
    endpoint.stats["egress"] = json!([pool("all-well", [4, 0, 0, 0], 1_200), pool("fleet", [5, 1, 1, 1], 7)]);
    let (mut model, now) = model(&endpoint);
    let screen = rows(&drawn(&mut model, COLOURS, (80, 24), now));
    let wanted = "fleet 5/8 2 cooled 1 drained (7)  all-well 4/4 (1,200)";
    assert!(screen.iter().any(|row| row.starts_with("pools") && row.contains(wanted)), "{screen:#?}");
    let (mut model, now) = self::model(&MadeUp::busy(30));
    assert!(rows(&drawn(&mut model, COLOURS, (80, 24), now)).iter().all(|row| !row.starts_with("pools")));
}

/// Where there are no parents, nothing is said of them.
#[test]
fn parents_have_a_row_with_those_first_of_which_a_server_is_kept_from() {
    let mut endpoint = MadeUp::busy(30);
    let parent = |name: &str, states: [u64; 4], sessions: u64| {
        let [up, backup, down, drained] = states;
        let servers = json!({"up": up, "backup": backup, "down": down, "drained": drained});
        json!({"parent": name, "select": "sticky", "servers": servers, "sessions_active": sessions})
    };
    endpoint.stats["parents"] =
        json!([parent("all-well", [3, 1, 0, 0], 1_200), parent("tor", [1, 0, 2, 1], 7)]);
    let (mut model, now) = model(&endpoint);
    let screen = rows(&drawn(&mut model, COLOURS, (80, 24), now));
    let wanted = "tor 1/4 2 down 1 drained (7)  all-well 4/4 (1,200)";
    assert!(screen.iter().any(|row| row.starts_with("parents") && row.contains(wanted)), "{screen:#?}");
    let (mut model, now) = self::model(&MadeUp::busy(30));
    assert!(rows(&drawn(&mut model, COLOURS, (80, 24), now)).iter().all(|row| !row.starts_with("parents")));
}
