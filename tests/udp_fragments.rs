//! Fragments (RFC 1928 section 7, HAZARD 48): reassembled in order and in time, bounded, or not at all.

use std::thread;
use std::time::Duration;

use crate::support::Relay;
use crate::support::origin::pattern;
use crate::support::udp::{
    Association, Sides, Stand, Target, V4_MAX, drops, expect_drops, fragment, serving, while_stopped,
};
use crate::support::wait;

/// The high-order bit of FRAG: this one ends its sequence.
const END: u8 = 0x80;

/// What one fragment carries: its FRAG and its payload.
type Fragment<'a> = (u8, &'a [u8]);

fn send(stand: &Stand, fragments: &[Fragment<'_>]) {
    for (frag, payload) in fragments {
        stand.client.send_raw(&fragment(*frag, stand.target.addr, payload));
    }
}

/// Sends these and insists that the target gets just `wanted`, and nothing more.
fn give(stand: &Stand, fragments: &[Fragment<'_>], wanted: &[&[u8]]) {
    send(stand, fragments);
    for payload in wanted {
        stand.target.expect(payload);
    }
    stand.fence();
}

/// One datagram of what came in order, whatever the lengths, and one record's worth of it.
fn a_sequence_in_order_becomes_one_datagram(sides: Sides) {
    let stand = Stand::new(sides);
    give(&stand, &[(1 | END, b"alone")], &[b"alone"]);
    give(&stand, &[(1, b"one, "), (2 | END, b"two")], &[b"one, two"]);
    give(&stand, &[(1, b"a"), (2, b""), (3, b"bc"), (4 | END, b"d")], &[b"abcd"]);
    give(&stand, &[(1, b""), (2 | END, b"")], &[b""]);
    give(&stand, &[(1, b"again "), (2 | END, b"anew")], &[b"again anew"]);
    // Two sequences with nothing between.
    give(&stand, &[(1, b"a"), (2 | END, b"b"), (1, b"c"), (2 | END, b"d")], &[b"ab", b"cd"]);
    expect_drops(&stand.relay, &[]);
    let Stand { relay, client, .. } = stand;
    drop(client);
    let record = relay.record();
    let payload = 5 + 8 + 4 + 10 + 2 + 2 + 6 * 8;
    assert_eq!((&record["datagrams_up"], &record["bytes_up"]), (&13.into(), &payload.into()), "{record}");
}
sides!(a_sequence_in_order_becomes_one_datagram);

/// The longest sequence that FRAG can count, all at once.
fn the_longest_sequence_is_reassembled(sides: Sides) {
    let stand = Stand::new(sides);
    let whole = pattern(7, 127 * 100);
    while_stopped(&stand.relay, || {
        for (position, part) in (1_u8..).zip(whole.chunks(100)) {
            let frag = if position == 127 { position | END } else { position };
            send(&stand, &[(frag, part)]);
        }
    });
    stand.target.expect(&whole);
    stand.fence();
    expect_drops(&stand.relay, &[]);
}
families!(the_longest_sequence_is_reassembled);

/// "less than the highest FRAG value processed": the queue is abandoned and a sequence starts.
fn a_lower_fragment_starts_anew(sides: Sides) {
    let stand = Stand::new(sides);
    give(&stand, &[(1, b"old "), (2, b"old "), (1, b"new "), (2 | END, b"end")], &[b"new end"]);
    give(&stand, &[(1, b"old "), (2, b"old "), (3, b"old "), (1 | END, b"new")], &[b"new"]);
    let restarts = [(1, &b"a"[..]), (2, b"b"), (1, b"c"), (2, b"d"), (1, b"e"), (2, b"f"), (3 | END, b"g")];
    give(&stand, &restarts, &[b"efg"]);
    expect_dropped_fragments(&stand, 4, 2 + 3 + 4);
}
families!(a_lower_fragment_starts_anew);

/// A gap abandons what came before it, and what comes behind it is part of nothing.
fn a_gap_abandons_the_sequence(sides: Sides) {
    let stand = Stand::new(sides);
    give(&stand, &[(1, b"one"), (3 | END, b"three")], &[]);
    give(&stand, &[(1, b"one"), (3, b"three"), (4 | END, b"four")], &[]);
    // The missing one comes late: 2 is less than 3, and begins nothing.
    give(&stand, &[(1, b"one"), (3, b"three"), (2, b"two"), (4 | END, b"four")], &[]);
    // A sequence begins with 1.
    give(&stand, &[(2, b"two"), (3 | END, b"three")], &[]);
    give(&stand, &[(2 | END, b"two")], &[]);
    give(&stand, &[(127 | END, b"last")], &[]);
    give(&stand, &[(1, b"whole "), (2 | END, b"again")], &[b"whole again"]);
    expect_dropped_fragments(&stand, 6, 2 + 3 + 4 + 2 + 1 + 1);
}
families!(a_gap_abandons_the_sequence);

/// FRAG 0 "indicates that this datagram is standalone": it passes, and ends the sequence around it.
fn a_standalone_datagram_passes_and_ends_the_sequence(sides: Sides) {
    let stand = Stand::new(sides);
    give(&stand, &[(1, b"one"), (0, b"alone"), (2 | END, b"two")], &[b"alone"]);
    give(&stand, &[(1, b"one"), (2, b"two"), (0, b""), (3 | END, b"three")], &[b""]);
    give(&stand, &[(1, b"one "), (0, b"alone"), (1, b"new "), (2 | END, b"end")], &[b"alone", b"new end"]);
    expect_dropped_fragments(&stand, 3, 2 + 3 + 1);
}
families!(a_standalone_datagram_passes_and_ends_the_sequence);

/// What is no datagram at all says nothing about the sequence around it.
#[test]
fn a_malformed_datagram_leaves_the_sequence_as_it_was() {
    let stand = Stand::new(Sides::V4_TO_V4);
    send(&stand, &[(1, b"one ")]);
    stand.client.send_raw(b"\x00\x01\x02\x01\x7f\x00\x00\x01\x00\x09x");
    stand.client.send_raw(b"\x00\x00\x02");
    send(&stand, &[(2 | END, b"two")]);
    stand.target.expect(b"one two");
    expect_drops(&stand.relay, &[("header", 2)]);
}

/// A sequence for two targets is for none: no part reaches a target that it was not for.
#[test]
fn no_part_of_a_sequence_reaches_another_target() {
    let stand = Stand::new(Sides::V4_TO_V4);
    let other = Target::on(stand.target.addr.ip());
    for (first, last) in [(stand.target.addr, other.addr), (other.addr, stand.target.addr)] {
        stand.client.send_raw(&fragment(1, first, b"for the first "));
        stand.client.send_raw(&fragment(2 | END, last, b"for the last"));
        // Either nothing or a part of its own; never what was for the other.
        stand.client.send(other.addr, b"fence");
        let seen = std::iter::repeat_with(|| other.receive().0).take_while(|payload| payload != b"fence");
        let foreign: &[u8] = if first == other.addr { b"for the last" } else { b"for the first " };
        for payload in seen {
            assert!(!payload.windows(foreign.len()).any(|part| part == foreign), "{payload:?}");
        }
    }
}

/// Bounded as a whole by what UDP can carry: the largest passes, one byte more does not.
fn a_sequence_is_bounded_as_a_datagram_is(sides: Sides) {
    let stand = Stand::new(sides);
    let whole = pattern(3, V4_MAX);
    let (first, last) = whole.split_at(40_000);
    give(&stand, &[(1, first), (2 | END, last)], &[&whole]);
    expect_drops(&stand.relay, &[]);
    let one_more = pattern(4, last.len() + 1);
    give(&stand, &[(1, first), (2 | END, &one_more)], &[]);
    give(&stand, &[(1, first), (2, first), (3, first), (4 | END, last)], &[]);
    give(&stand, &[(1, b"small "), (2 | END, b"again")], &[b"small again"]);
    // Many large ones without an end, each the first of a sequence or one too many.
    for _ in 0..20 {
        for position in 1..=5 {
            send(&stand, &[(position, first)]);
        }
        stand.fence();
    }
    give(&stand, &[(1, b"small "), (2 | END, b"again")], &[b"small again"]);
    // Fragments that are too large: either word is true.
    let sum = || drops(&stand.relay).values().sum::<u64>();
    wait::until_true("the fragments are counted", wait::PATIENCE, || sum() >= 1 + 1 + 20);
    let words = drops(&stand.relay);
    assert!(words.keys().all(|word| word == "fragment" || word == "oversize"), "{words:?}");
    assert!(sum() <= 2 + 4 + 100, "{words:?}");
}
families!(a_sequence_is_bounded_as_a_datagram_is);

/// "The reassembly timer MUST be no less than 5 seconds": one that ends within four is whole, and one that
/// takes seven has been given up. These sleeps are the case itself.
fn the_reassembly_timer_is_right(sides: Sides) {
    let stand = Stand::new(sides);
    let (late, never) = (Association::open(stand.relay.addr()), Association::open(stand.relay.addr()));
    for client in [&stand.client, &late, &never] {
        client.send_raw(&fragment(1, stand.target.addr, b"one "));
    }
    thread::sleep(Duration::from_secs(4));
    stand.client.send_raw(&fragment(2 | END, stand.target.addr, b"in time"));
    stand.target.expect(b"one in time");
    thread::sleep(Duration::from_secs(3));
    // Abandoned when the timer fired, not only when the next one came.
    expect_dropped_fragments(&stand, 2, 2);
    late.send_raw(&fragment(2 | END, stand.target.addr, b"late"));
    late.send_raw(&fragment(1, stand.target.addr, b"new "));
    late.send_raw(&fragment(2 | END, stand.target.addr, b"sequence"));
    stand.target.expect(b"new sequence");
    stand.fence();
    expect_dropped_fragments(&stand, 3, 3);
}

#[test]
fn the_reassembly_timer_is_right_over_v4() {
    the_reassembly_timer_is_right(Sides::V4_TO_V4);
}

/// `udp.fragments = false`: "an implementation that does not support fragmentation MUST drop any datagram whose
/// FRAG field is other than X'00'".
fn a_refused_fragment_is_dropped(sides: Sides) {
    let stand = Stand::over(Relay::builder().set("udp", "fragments", "false"), sides);
    give(&stand, &[(1, b"one"), (2, b"two"), (3 | END, b"three")], &[]);
    give(&stand, &[(1 | END, b"alone"), (127, b"last"), (END, b"of none"), (255, b"last")], &[]);
    give(&stand, &[(1, b"one"), (0, b"alone"), (2 | END, b"two")], &[b"alone"]);
    expect_drops(&stand.relay, &[("fragment", 9)]);
}
families!(a_refused_fragment_is_dropped);

/// A sequence belongs to its association: another one's fragments, and its end, are no part of it.
fn a_sequence_belongs_to_its_association(sides: Sides) {
    let relay = serving(Relay::builder(), sides.client);
    let target = Target::on(sides.target);
    let clients = [(); 3].map(|()| Association::open(relay.addr()));
    for position in 1..=4_u8 {
        for (n, client) in (0_u8..).zip(&clients) {
            let frag = if position == 4 { position | END } else { position };
            client.send_raw(&fragment(frag, target.addr, &[n, position]));
            if position == 4 {
                target.expect(&[n, 1, n, 2, n, 3, n, 4]);
            }
        }
    }
    // One that ends in the middle leaves the others whole.
    let [first, second, third] = clients;
    for client in [&first, &second] {
        client.send_raw(&fragment(1, target.addr, b"one "));
    }
    drop(first);
    wait::until_true("the record of the first", wait::PATIENCE, || relay.records_now().len() == 1);
    second.send_raw(&fragment(2 | END, target.addr, b"two"));
    target.expect(b"one two");
    third.send(target.addr, b"fence");
    target.expect(b"fence");
}
families!(a_sequence_belongs_to_its_association);

/// Fragments that came to nothing, counted one by one or by the sequence: nothing says which.
fn expect_dropped_fragments(stand: &Stand, sequences: u64, fragments: u64) {
    let counted = || drops(&stand.relay).remove("fragment").unwrap_or_default();
    wait::until_true("the fragments are counted", wait::PATIENCE, || counted() >= sequences);
    let count = counted();
    assert!(count <= fragments, "{count} of {fragments} fragments are dropped");
    expect_drops(&stand.relay, &[("fragment", count)]);
}
