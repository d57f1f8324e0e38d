//! Quotas whose period is over: by a clock that the test tells them.

use outflow::config::{LimitConfig, QuotaConfig, RuleConfig, Zone};
use outflow::policy::accounts::{BurstRate, OnReached, Per, QuotaDirection, QuotaPeriod};
use outflow::policy::rules::spec::Action;

use super::*;

/// Two workers, and a quota of an hour for each source.
fn start_with_quota(relay: RelayMode, bytes: u64, on_reached: OnReached) -> Server {
    let (period, direction) = (QuotaPeriod::Hour { minute: 0 }, QuotaDirection::Both);
    let zone = Zone::Named("UTC".to_owned());
    let rate = BurstRate { rate: 20_000, burst: 20_000 };
    let mut config = config(2, relay);
    config.limits = vec![LimitConfig {
        name: "plan".into(),
        per: Per::Source,
        quota: Some(QuotaConfig { bytes, period, direction, zone }),
        on_reached: Some(on_reached),
        download: (on_reached == OnReached::Slow).then_some(rate),
        ..LimitConfig::default()
    }];
    let (name, limits) = ("all".into(), vec!["plan".into()]);
    config.rules = vec![RuleConfig { name, action: Action::Allow, limits, ..RuleConfig::default() }];
    start(config)
}

const HOUR: Duration = Duration::from_secs(3600);

/// Whether a new session is let in.
fn lets_in(server: &Server, target: SocketAddr) -> bool {
    let mut stream = dial(server);
    let SocketAddr::V4(target) = target else { panic!("{target} is not IPv4") };
    let request = [b"\x05\x01\x00\x05\x01\x00\x01", &target.ip().octets()[..], &target.port().to_be_bytes()];
    stream.write_all(&request.concat()).expect("a request");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer");
    answer[3] == 0
}

#[test]
fn a_new_period_begins_with_all_of_it() {
    let target = echo();
    for relay in [RelayMode::Copy, RelayMode::Splice] {
        let mut server = start_with_quota(relay, 8, OnReached::Refuse);
        let mut live = connect(&server, target);
        for hour in 1..=3 {
            assert!(echoes(&mut live));
            await_that("refused", || !lets_in(&server, target));
            server.tell_quotas(HOUR * hour);
            await_that("let in", || lets_in(&server, target));
        }
        stop(server);
    }
}

/// Rates that hold because a quota is used up are lifted with the next one, under those who wait for them.
#[test]
fn a_new_period_lifts_the_rates_of_the_last() {
    const BYTES: usize = 400_000;
    for relay in [RelayMode::Copy, RelayMode::Splice] {
        let mut server = start_with_quota(relay, 8, OnReached::Slow);
        let mut live = connect(&server, echo());
        assert!(echoes(&mut live));
        let mut writer = live.try_clone().expect("a descriptor");
        let sender = thread::spawn(move || writer.write_all(&[7; BYTES]));
        let begun = Instant::now();
        live.read_exact(&mut [0; 60_000]).expect("some of it");
        assert!(begun.elapsed() > Duration::from_secs(1), "it is slow: {:?}", begun.elapsed());
        let reader = thread::spawn(move || live.read_exact(&mut [0; BYTES - 60_000]));
        // In each of these there are 8 bytes at full speed, and whatever a turn moves behind them.
        let mut hour = 0;
        await_that("all of it", || {
            hour += 1;
            server.tell_quotas(HOUR * hour);
            reader.is_finished()
        });
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "at its rate it would take 20 s: {:?}",
            begun.elapsed()
        );
        sender.join().expect("a writer").expect("sent");
        reader.join().expect("a reader").expect("received");
        stop(server);
    }
}
