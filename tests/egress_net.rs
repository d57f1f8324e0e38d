//! Where sessions leave from, as targets see it: over wires and routes, in namespaces.

use std::net::SocketAddr;

use crate::support::crowd::{Crowd, EndsFirst, SourceBook};
use crate::support::netns::{self, Far};
use crate::support::{Relay, wait};

/// Targets far away, each at its own address of either family.
fn targets(port: u16, count: u16) -> Vec<SocketAddr> {
    (0..count).map(|nth| SocketAddr::from(([45, 1, (nth >> 8) as u8, nth as u8], port))).collect()
}

/// What the proofs count with: every session is told of, whoever ends it.
#[test]
fn a_crowd_without_a_pool_comes_from_the_gateways_own_address() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        let book = far.inside(SourceBook::open);
        let relay = Relay::start();
        let crowd = Crowd::new(relay.addr(), targets(book.port, 16), 500, EndsFirst::Either);
        assert_eq!(crowd.run(), [(0, 500)].into());
        let came = book.take();
        assert_eq!(came.len(), 500);
        let near = netns::NEAR_V4.parse().expect("an address");
        assert_eq!(SourceBook::shares(&came), [(near, 500)].into());
        wait::until_true("a record of each", wait::PATIENCE, || relay.records(500).len() == 500);
    });
}
