use std::time::Duration;

use super::*;
use crate::control::descriptors::divide;
use crate::control::limiting::no_limits;

fn maker() -> SnapshotMaker {
    let mut config = Config::default();
    config.auth.methods = vec![AuthMethod::Gssapi];
    let parts = Parts {
        budget: divide(1000, &config),
        congestion: CongestionControl::default(),
        resolver_files: ResolverFiles::read(&config, &divide(1000, &config)).0,
        rules: Arc::default(),
        limits: no_limits(),
        certificates: Certificates::default(),
        username: None,
        verifier: None,
        gssapi: None,
        records: None,
        learner: None,
    };
    SnapshotMaker::new(Arc::new(config), parts, Vec::new(), Arc::default())
}

/// A worker knows by the `Arc` what has changed, and its sessions count on nobody else's cache line.
#[test]
fn each_worker_has_a_snapshot_of_its_own_of_parts_that_only_a_change_replaces() {
    let mut maker = maker();
    let (one, other, policy) = (maker.snapshot(0), maker.snapshot(0), maker.policy());
    assert!(!Arc::ptr_eq(&one, &other));
    assert!(Arc::ptr_eq(&policy, &maker.policy()) && Arc::ptr_eq(&one.dns, &other.dns));

    maker.locals = LocalList::default();
    assert!(maker.refresh_locals() && !maker.refresh_locals());
    let changed = maker.snapshot(0);
    assert!(!Arc::ptr_eq(&maker.policy(), &policy));
    assert!(Arc::ptr_eq(&changed.dns, &one.dns) && Arc::ptr_eq(&changed.config, &one.config));
}

/// Lists of a million names were once there for each reload, for as long as the oldest session.
#[test]
fn rules_that_were_replaced_are_nobodys_soon() {
    let mut maker = maker();
    let first = Arc::new(OperatorRules::default());
    maker.put_rules(Arc::clone(&first));
    let (policy, of_a_session) = (Arc::downgrade(&maker.policy()), maker.snapshot(0));
    maker.put_rules(Arc::default());
    assert!(policy.upgrade().is_none(), "a session has it");
    drop(of_a_session);
    maker.every_second();
    assert!(Arc::strong_count(&first) > 1, "workers may still have them");
    (1..limits::RETIRED_RULES_SECONDS).for_each(|_| maker.every_second());
    // Another thread lets go of them.
    let until = Instant::now() + Duration::from_secs(10);
    while Arc::strong_count(&first) > 1 {
        assert!(Instant::now() < until, "they are kept");
        std::thread::yield_now();
    }
}

#[test]
fn the_threads_of_gssapi_are_those_of_the_workers_once_the_drain_begins() {
    let mut maker = maker();
    maker.gssapi = Some(Arc::new(gssapi::ContextAcceptor::of_no_library()));
    let of_a_worker = maker.snapshot(0);
    maker.drain();
    assert!(maker.snapshot(0).gssapi.is_none());
    assert_eq!(of_a_worker.gssapi.as_ref().map(Arc::strong_count), Some(1));
}
