//! What a dial leaves by, and whom it finds.

use std::net::{IpAddr, SocketAddr, TcpListener};

use mio::{Events, Poll};
use socket2::SockRef;

use super::*;
use crate::observe::Totals;
use crate::policy::{Guard, Route};
use crate::shares::Pool;
use crate::sys::set_mark;

/// What dialling this listener by a route comes to, and who came to it.
fn dialled(listener: &TcpListener, route: Route) -> (Result<Won, DialError>, Option<SocketAddr>) {
    let mut poll = Poll::new().unwrap();
    let (registry, now) = (poll.registry().try_clone().unwrap(), Instant::now());
    let (policy, counters) = (Policy::new(Guard::new(true, Vec::new(), Vec::new())), Counters::default());
    let dialler =
        Dialler { key: Key::new(0, 0), now, registry: &registry, policy: &policy, counters: &counters };
    let allowed = Allowed { route, ..Allowed::default() };
    let to = RoutedAddress { address: listener.local_addr().unwrap(), allowed };
    let second = Pool::of(0).nothing(IpAddr::from([127, 0, 0, 1]).into());
    let deadline = now + Duration::from_secs(10);
    let mut dial = Dial::new(vec![to], CongestionControl::default(), deadline, second);
    if let Err(error) = dial.start_next(&dialler) {
        return (Err(error), None);
    }
    poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(10))).unwrap();
    let edge = Edge { writable: true, ..Edge::default() };
    let won = dial.event(1, edge, &dialler).map(|won| won.expect("a connection"));
    let totals = Totals::of([&counters]);
    assert_eq!(totals.count_of(Counted::DialBegun), 1);
    (won, Some(listener.accept().unwrap().1))
}

#[test]
fn a_dial_leaves_from_the_source_of_its_route() {
    let source: IpAddr = [127, 0, 0, 2].into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (won, came) = dialled(&listener, Route { source: Some(source), mark: None });
    let local = won.unwrap().dialed.local;
    assert_eq!((local.ip(), came), (source, Some(local)));
    let (won, came) = dialled(&listener, Route::default());
    assert_eq!(
        (won.unwrap().dialed.local.ip(), came.unwrap().ip()),
        ([127, 0, 0, 1].into(), [127, 0, 0, 1].into())
    );
}

#[test]
fn a_source_that_this_machine_does_not_have_is_our_own_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let by = |source: &str| dialled(&listener, Route { source: Some(source.parse().unwrap()), mark: None }).0;
    assert_eq!(by("192.0.2.1").unwrap_err(), DialError::Local(Errno::EADDRNOTAVAIL as i32));
    assert_eq!(by("::1").unwrap_err(), DialError::NetworkUnreachable, "of another family");
}

/// A mark takes CAP_NET_ADMIN: without it nothing is dialled unmarked.
#[test]
fn a_dial_has_the_mark_of_its_route_or_none_is_made() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let permitted = set_mark(&listener, 7);
    let won = dialled(&listener, Route { source: None, mark: Some(9) }).0;
    match permitted {
        Ok(()) => assert_eq!(SockRef::from(&won.unwrap().upstream.stream).mark().unwrap(), 9),
        Err(errno) => assert_eq!(won.unwrap_err(), DialError::Local(errno as i32)),
    }
}

/// From another address than the target's a connection to this machine does not show by its ends that it is one.
#[test]
fn an_address_of_this_machine_is_found_whatever_the_source() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let guard = Guard::new(false, Vec::new(), Vec::new()).with_locals(crate::policy::Locals::default());
    let policy = Policy::new(guard);
    let route = Route { source: Some([127, 0, 0, 2].into()), mark: None };
    let (stream, address) =
        (dialled(&listener, route).0.unwrap().upstream.stream, listener.local_addr().unwrap());
    let attempt = |route| Attempt {
        socket_index: 1,
        stream,
        to: RoutedAddress { address, allowed: Allowed { route, ..Allowed::default() } },
        route,
        began: Instant::now(),
        left: None,
    };
    let edge = Edge { writable: true, ..Edge::default() };
    assert_eq!(finish(&attempt(route), edge, &policy), Err(DialError::Ourselves));
}
