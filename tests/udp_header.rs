//! The header of RFC 1928 section 7, and payloads of every size (HAZARD 44).

use std::net::{IpAddr, SocketAddr};

use crate::support::origin::pattern;
use crate::support::udp::{
    Sides, Stand, V4_MAX, V6_MAX, expect_dropped, expect_drops, expect_empty, fragment, while_stopped, wrap,
    wrap_name,
};
use crate::support::{DnsServer, Relay};

/// HAZARD 44: what is no header is dropped and counted, and takes nothing with it.
fn a_malformed_header_is_dropped_and_counted(sides: Sides) {
    let names = DnsServer::zone(&[]);
    let stand = Stand::over(Relay::builder().dns(&names), sides);
    stand.fence();
    let good = wrap(stand.target.addr, b"payload");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let address = if sides.target.is_ipv4() { 4 } else { 16 };
    let name = wrap_name(b"name.example", 80, b"");
    let mut malformed = vec![with(0, 1), with(0, 0x80), with(1, 1), with(0, 0xff), with(1, 0xff)];
    malformed.extend([0x00, 0x02, 0x05, 0x06, 0x80, 0xff].map(|atyp| with(3, atyp)));
    malformed.extend((0..4 + address + 2).map(|length| good[..length].to_vec()));
    malformed.extend((4..name.len()).map(|length| name[..length].to_vec()));
    malformed.push(wrap_name(b"", 80, b"payload"));
    // A length that reaches past the end, by one and by much.
    malformed.push(b"\x00\x00\x00\x03\x03a.b\x00".to_vec());
    malformed.push(b"\x00\x00\x00\x03\xffa.b\x00\x50payload".to_vec());
    for bytes in &malformed {
        stand.client.send_raw(bytes);
    }
    stand.fence();
    expect_drops(&stand.relay, &[("header", malformed.len() as u64)]);
    assert!(names.queries().is_empty(), "{:?}", names.queries());
}
families!(a_malformed_header_is_dropped_and_counted);

/// HAZARD 12 for datagrams: what is neither a name nor an address is dropped, and so is port 0.
fn an_impossible_target_is_dropped(sides: Sides) {
    let names = DnsServer::zone(&[]);
    let stand = Stand::over(Relay::builder().dns(&names), sides);
    stand.fence();
    let long_label = [&[b'a'; 64][..], b".example"].concat();
    let port = stand.target.addr.port();
    let mut impossible: Vec<Vec<u8>> = [
        &b"."[..],
        b"..",
        b"a..example",
        b".example",
        b"a\0.example",
        b"127.0.0.1\0.example",
        b"a b.example",
        b"a\r\n.example",
        b"[::1",
        b"256.0.0.1",
        b"1.2.3.4.5",
        &long_label,
    ]
    .iter()
    .map(|name| wrap_name(name, port, b"payload"))
    .collect();
    let zero = |ip: IpAddr| SocketAddr::new(ip, 0);
    impossible.push(wrap(zero(stand.target.addr.ip()), b"payload"));
    impossible.push(wrap_name(b"127.0.0.1", 0, b"payload"));
    impossible.push(wrap_name(b"name.example", 0, b"payload"));
    for bytes in &impossible {
        stand.client.send_raw(bytes);
    }
    stand.fence();
    expect_dropped(&stand.relay, impossible.len() as u64);
    assert!(names.queries().is_empty(), "{:?}", names.queries());
}
families!(an_impossible_target_is_dropped);

/// An address that is written as a name is that address, whatever its spelling; its answers name the address.
fn an_address_written_as_a_name_is_that_address(sides: Sides) {
    let stand = Stand::new(sides);
    let spellings: &[&[u8]] = if sides.target.is_ipv4() {
        &[b"127.0.0.1", b"127.0.0.1.", b"127.1", b"0x7f.1", b"2130706433", b"::ffff:127.0.0.1"]
    } else {
        &[b"::1", b"[::1]", b"0:0:0:0:0:0:0:1"]
    };
    for name in spellings {
        stand.client.send_name(name, stand.target.addr.port(), name);
        let external = stand.target.expect(name);
        stand.down(external, b"answer");
    }
    expect_drops(&stand.relay, &[]);
}
sides!(an_address_written_as_a_name_is_that_address);

/// HAZARD 44: nothing is a payload, too.
fn an_empty_payload_arrives(sides: Sides) {
    let stand = Stand::new(sides);
    for _ in 0..3 {
        let external = stand.up(b"");
        stand.down(external, b"");
    }
    expect_drops(&stand.relay, &[]);
}
sides!(an_empty_payload_arrives);

/// Every length around those that a header, an Ethernet frame or a buffer's size suggests; each byte counts.
fn datagrams_of_every_length_arrive_unchanged(sides: Sides) {
    let stand = Stand::new(sides);
    let lengths = [1, 9, 10, 11, 21, 22, 23, 255, 256, 257, 1200, 1452, 1472, 1473, 2047, 2048, 2049];
    let large = [4095, 4096, 4097, 8192, 9000, 16_384, 32_767, 32_768, 32_769, 65_000];
    for (n, length) in (0..).zip(lengths.into_iter().chain(large)) {
        let payload = pattern(8 * n, length);
        let external = stand.up(&payload);
        let answer = pattern(8 * n + 1_000_000, length);
        stand.down(external, &answer);
    }
    expect_drops(&stand.relay, &[]);
}
sides!(datagrams_of_every_length_arrive_unchanged);

/// Short ones behind long ones, all at once: no length sticks.
fn every_datagram_keeps_its_own_length(sides: Sides) {
    let stand = Stand::new(sides);
    let external = stand.fence();
    let payloads: Vec<Vec<u8>> =
        [5000, 1, 0, 1400, 1400, 3, 1399, 8000, 0, 2].iter().zip(0..).map(|(n, k)| pattern(k, *n)).collect();
    while_stopped(&stand.relay, || {
        payloads.iter().for_each(|payload| stand.client.send(stand.target.addr, payload));
        payloads.iter().for_each(|payload| stand.target.send(external, payload));
    });
    for payload in &payloads {
        stand.target.expect(payload);
        stand.client.expect(stand.target.addr, payload);
    }
}
sides!(every_datagram_keeps_its_own_length);

/// HAZARD 44: the largest that both sides can carry passes, and one byte more is dropped and counted.
fn the_largest_payload_arrives(sides: Sides) {
    let stand = Stand::new(sides);
    let most = sides.payload_max();
    let external = stand.up(&pattern(1, most));
    stand.down(external, &pattern(2, most));
    let target_max = if sides.target.is_ipv4() { V4_MAX } else { V6_MAX };
    let mut dropped = 0;
    for length in [most + 1, target_max].into_iter().filter(|length| (most + 1..=target_max).contains(length))
    {
        stand.target.send(external, &pattern(3, length));
        dropped += 1;
    }
    // Only a client over IPv6 can send what an IPv4 target cannot take.
    if sides == Sides::V6_TO_V4 {
        for length in [V4_MAX + 1, V6_MAX - 10] {
            stand.client.send(stand.target.addr, &pattern(4, length));
            dropped += 1;
        }
    }
    // What fits again, and nothing of what did not fit.
    let external = stand.up(&pattern(5, most));
    stand.down(external, &pattern(6, most));
    let wanted: &[(&str, u64)] = if dropped > 0 { &[("oversize", dropped)] } else { &[] };
    expect_drops(&stand.relay, wanted);
}
sides!(the_largest_payload_arrives);

/// FRAG without fragments: 80 ends a sequence at no position.
fn a_fragment_of_no_position_is_dropped(sides: Sides) {
    let stand = Stand::new(sides);
    stand.fence();
    stand.client.send_raw(&fragment(0x80, stand.target.addr, b"of no sequence"));
    stand.fence();
    expect_dropped(&stand.relay, 1);
    expect_empty(&stand.target.socket);
}
families!(a_fragment_of_no_position_is_dropped);
