//! Limits as they are typed.

use super::bad_files::expect_complaints;
use super::parse;
use crate::config::{Config, LimitConfig, QuotaConfig, Zone};
use crate::policy::accounts::{BurstRate, OnReached, Per, QuotaDirection, QuotaPeriod};

/// A place for what is used of quotas.
const STATE: &str = "[server]\nstate = \"state\"\n";

fn quota() -> QuotaConfig {
    let (period, direction) = (QuotaPeriod::Month { day: 31, minute: 90 }, QuotaDirection::Up);
    QuotaConfig { bytes: 3, period, direction, zone: Zone::Named("Europe/Berlin".to_owned()) }
}

/// Every key of the limits, each with a value.
pub(super) fn put_every_key(config: &mut Config) {
    let rate = Some(BurstRate { rate: 1, burst: 1 });
    (config.per_source.new_per_second, config.per_source.bandwidth) = (rate, rate);
    (config.per_user.new_per_second, config.per_user.bandwidth) = (rate, rate);
    let rates = LimitConfig { new_per_second: rate, upload: rate, download: rate, ..LimitConfig::default() };
    let (quota, on_reached) = (Some(quota()), Some(OnReached::Slow));
    config.limits = vec![LimitConfig { datagrams: rate, quota, on_reached, ..rates }];
    (config.per_source.bytes_per_day, config.per_user.bytes_per_day) = (Some(1), Some(1));
    config.rules[0].limits = vec!["plan".into()];
    config.server.state = Some("/var/lib/outflow".into());
    config.proxy_out = parse("[[proxy_out]]\nto = \"192.0.2.7\"\nports = 25\n").expect("a target").proxy_out;
}

/// Values that are unlike the defaults.
pub(super) fn put_odd(config: &mut Config) {
    let rate = |rate, burst| Some(BurstRate { rate, burst });
    config.per_source.bandwidth = rate(1, 1_000_000_000_000);
    config.per_user.new_per_second = rate(5, 1);
    config.limits = vec![LimitConfig {
        name: "plan".into(),
        per: Per::Network,
        connections: 3,
        udp_associations: 2,
        new_per_second: rate(5, 9),
        upload: rate(1, 1),
        download: None,
        datagrams: rate(7, 8),
        quota: Some(quota()),
        on_reached: Some(OnReached::Close),
    }];
    config.per_user.bytes_per_day = Some(10);
    config.server.state = Some("/a \"b\"".into());
}

#[test]
fn problems_of_limits_name_key_and_nearest_word() {
    expect_complaints(&[
        (
            "[limits.per_user]\nnew_per_second = { rate = 0, brust = 3 }\nbandwidth = \"10 Mb\"\n",
            &[
                "2: [limits.per_user] key `new_per_second.brust`: unknown key; did you mean `burst`?",
                "2: [limits.per_user] key `new_per_second.rate`: 0 is out of range: 1 to 1000000000",
                "3: [limits.per_user] key `bandwidth`: \"10 Mb\" is no number of bytes: write it such as \"500kB\", \"10MB\" \
                 or \"1GiB\"",
            ],
        ),
        (
            "[limits.per_user]\nnew_per_second = { burst = 3 }\nbandwidth = [1]\n",
            &[
                "2: [limits.per_user] key `new_per_second`: needs a rate, such as { rate = 10, burst = 50 }",
                "3: [limits.per_user] key `bandwidth`: expected a rate such as { rate = \"10MB\", burst = \"20MB\" }, found \
                 an array",
            ],
        ),
        (
            "[[limit]]\nper = \"usr\"\nupload = 1\n[[limit]]\nname = \"a\"\n[[limit]]\nname = \"a\"\nper = \"user\"\ndatagrams = 1\n",
            &[
                "1: [[limit]] 1: needs a `name`: rules call it by that",
                "2: [[limit]] 1 key `per`: \"usr\" is none of \"user\", \"group\", \"source\", \"source/24\", \"source/64\", \"session\", \
                 \"rule\", \"listener\", \"global\"; did you mean \"user\"?",
                "4: [[limit]] 2: needs a `per`: whose sessions count together, such as \"user\"",
                "7: [[limit]] 3 key `name`: \"a\" is the name of [[limit]] 2, too",
            ],
        ),
        (
            "[[limit]]\nname = \"plan\"\nper = \"user\"\ndownload = 1\n\
             [[rule]]\nname = \"r\"\naction = \"allow\"\nlimits = [\"plam\"]\n\
             [[rule]]\nname = \"s\"\naction = \"deny\"\nlimits = [\"plan\"]\n",
            &[
                "8: [[rule]] 1 key `limits`: there is no [[limit]] \"plam\"; did you mean \"plan\"?",
                "12: [[rule]] 2 key `limits`: limit what a rule allows, and this one allows nothing: leave them out",
            ],
        ),
        (
            "[[limit]]\nname = \"a\"\nper = \"user\"\n",
            &[
                "1: [[limit]] 1: limits nothing: it needs one of `connections`, `udp_associations`, `new_per_second`, `upload`, \
               `download`, `datagrams`, `quota`",
            ],
        ),
    ]);
}

#[test]
fn quotas_are_read_and_printed() {
    let berlin = "zone = \"Europe/Berlin\"";
    for (typed, period) in [
        ("period = \"hour\"", QuotaPeriod::Hour { minute: 0 }),
        ("period = \"hour\", reset = 59", QuotaPeriod::Hour { minute: 59 }),
        ("period = \"day\"", QuotaPeriod::Day { minute: 0 }),
        ("period = \"day\", reset = \"23:59\"", QuotaPeriod::Day { minute: 1439 }),
        ("period = \"month\"", QuotaPeriod::Month { day: 1, minute: 0 }),
        ("period = \"month\", reset = 31", QuotaPeriod::Month { day: 31, minute: 0 }),
        ("period = \"month\", reset = \"15 06:30\"", QuotaPeriod::Month { day: 15, minute: 390 }),
    ] {
        let text = format!(
            "{STATE}[[limit]]\nname = \"a\"\nper = \"user\"\nquota = {{ bytes = \"1TB\", {typed}, direction = \"down\", {berlin} }}\n"
        );
        let config = parse(&text).unwrap();
        let quota = config.limits[0].quota.clone().expect("a quota");
        let zone = Zone::Named("Europe/Berlin".to_owned());
        let direction = QuotaDirection::Down;
        assert_eq!(quota, QuotaConfig { bytes: 1_000_000_000_000, period, direction, zone }, "{typed}");
        assert_eq!(parse(&config.to_toml()).unwrap(), config, "{typed}");
    }
}

#[test]
fn problems_of_quotas_name_key_and_nearest_word() {
    let limit = |keys: &str| format!("{STATE}[[limit]]\nname = \"a\"\nper = \"user\"\n{keys}\n");
    for (keys, problem) in [
        (
            "quota = \"10GB\"",
            "key `quota`: expected a table such as { bytes = \"500GB\", period = \"month\", zone",
        ),
        (
            "quota = { period = \"day\", zone = \"UTC\" }",
            "key `quota`: needs bytes, such as bytes = \"500GB\"",
        ),
        (
            "quota = { bytes = 1, zone = \"UTC\" }",
            "key `quota`: needs a period: \"hour\", \"day\" or \"month\"",
        ),
        ("quota = { bytes = 1, period = \"day\" }", "key `quota`: says no zone: add zone = \"local\""),
        (
            "quota = { bytes = 1, period = \"dai\", zone = \"UTC\" }",
            "key `quota.period`: \"dai\" is none of \"hour\", \"day\", \"month\"; did you mean \"day\"?",
        ),
        (
            "quota = { bytes = 0, period = \"day\", zone = \"UTC\" }",
            "key `quota.bytes`: 0 is out of range: 1 to 1000000000000000000",
        ),
        (
            "quota = { bytes = 1, period = \"hour\", reset = 60, zone = \"UTC\" }",
            "key `quota.reset`: \"60\" is not the minute of an hour, 0 to 59",
        ),
        (
            "quota = { bytes = 1, period = \"day\", reset = \"24:00\", zone = \"UTC\" }",
            "key `quota.reset`: \"24:00\" is not the time of a day, such as \"06:00\"",
        ),
        (
            "quota = { bytes = 1, period = \"month\", reset = \"0 06:00\", zone = \"UTC\" }",
            "key `quota.reset`: \"0 06:00\" is not the day of a month, 1 to 31, or such as \"15 06:00\"",
        ),
        (
            "quota = { byts = 1, bytes = 1, period = \"day\", zone = \"UTC\" }",
            "key `quota.byts`: unknown key; did you mean `bytes`?",
        ),
        (
            "connections = 1\non_reached = \"close\"",
            "key `on_reached`: says what comes of a quota, and there is none: add `quota`, or leave it out",
        ),
        (
            "quota = { bytes = 1, period = \"day\", zone = \"UTC\" }\non_reached = \"slow\"",
            "key `on_reached`: \"slow\" has the rates of the limit hold once the quota is used up: add `upload` or `download`",
        ),
    ] {
        let problems = parse(&limit(keys)).unwrap_err().to_string();
        assert!(problems.lines().count() == 1 && problems.contains(problem), "{keys}\n{problems}");
    }
    let own = "[[limit]]\nname = \"a\"\nper = \"session\"\nquota = { bytes = 1, period = \"day\", zone = \"UTC\" }\n";
    assert!(parse(own).unwrap_err().to_string().contains("refuses nobody, as each session has its own"));
    assert!(parse(&format!("{own}on_reached = \"close\"\n")).is_ok());
}

/// What is kept needs a place, and a place that a reload does not take is none.
#[test]
fn quotas_that_outlive_the_server_have_a_place() {
    let limit =
        "[[limit]]\nname = \"a\"\nper = \"user\"\nquota = { bytes = 1, period = \"day\", zone = \"UTC\" }\n";
    let short = "[limits.per_source]\nbytes_per_day = 1\n";
    let place = "is to outlive a restart: say in which directory, as [server] state = \"/var/lib/outflow\"";
    expect_complaints(&[
        (limit, &[&format!("4: [[limit]] 1 key `quota`: {place}")]),
        (short, &[&format!("2: [limits.per_source] key `bytes_per_day`: {place}")]),
    ]);
    for quota in [limit, short] {
        let config = parse(&format!("{STATE}{quota}")).unwrap();
        assert_eq!(config.server.state, Some("/etc/outflow/state".into()), "beside the file");
        let refused = config.clone().in_place_of(&Config::default()).unwrap_err().to_string();
        assert!(refused.contains("needs [server] state, which a reload does not take"), "{refused}");
        assert!(config.clone().in_place_of(&config).is_ok());
    }
}
