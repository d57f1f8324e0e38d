//! What is shown at each size.

use super::*;

const BUSY_80X24: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto        21:14:05Z
sessions     8,123 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s ▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       █          █
workers  0  █████████████████  5,416 1.25ms 1  ████████▌          2,707 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    ann 5.12 GB  bob 87 MB  carol/admin 1.20 kB
8,123 sessions  1 to 10  by age ▼
  AGE▼ USER     CLIENT          TARGET                  STATE       RATE   BYTES
 2h03m ann      192.0.2.0       host-0.example.com:443  relays 35.0 kB/s 1.23 MB
 2h02m bob      192.0.2.1       host-1.example.com:443  relays         - 1.24 MB
 2h02m carol/a… 192.0.2.2       host-2.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.3       host-3.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m bob      192.0.2.4       host-4.example.com:443  udp    35.0 kB/s 1.24 MB
 2h02m carol/a… 192.0.2.5       host-5.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.6       host-6.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m bob      192.0.2.7       host-7.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m carol/a… 192.0.2.8       host-8.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.9       host-9.example.com:443  relays 35.0 kB/s 1.24 MB
q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources";
const BUSY_120X40: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto  cpu 0%  mem 34.5 MB                           21:14:05Z
sessions     8,123 ▂▁                            ▁▂▃▄▅▅▆▇▇█ new/s          120 ▃▂▁                            ▁▂▃▄▅▅▆▇▇█
          peak 844 ████▇▆▅▅▄▃▃▂▂▂▂▁▁▂▂▂▂▃▃▄▅▅▆▇████████████           peak 845 █████▇▆▅▅▄▃▃▂▂▂▂▁▁▂▂▂▂▃▃▄▅▅▆▇████████████
up       1.23 MB/s   ▁▂▄▆█  ▁▂▄▆█  ▁▂▄▆   ▁▂▄▆█  ▁▂▄▆█  ▁▂▄ down     98.8 MB/s █  ▁▂▄▆█  ▁▂▄▆█  ▁▂▄▆   ▁▂▄▆█  ▁▂▄▆█  ▁▂▄
    peak 2.80 MB/s   █████▅▇█████▅▇████  ▇█████▅▇█████▅▇███     peak 2.80 MB/s █  █████▅▇█████▅▇████  ▇█████▅▇█████▅▇███
udp/s    up 1.50k down 820   lost 2.50                      refused/s     1.50     █          █          █          █
workers  0  ████████████████████  5,416 1.25ms 1  ██████████            2,707 2.25ms
latency      handshake           dns       connect      1st byte          turn         delay       session          auth
p50             0.40ms             -        1.20ms        3.10ms        0.05ms        0.06ms         4.00s             -
p99             4.00ms             -        12.0ms        31.0ms        0.50ms        0.60ms         40.0s             -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
failed   connect 250  dns 40
dropped  blocked 900  stranger 12
top users              bytes  sessions  top sources            bytes  sessions  top targets            bytes  sessions
ann                  5.12 GB       310  192.0.2.7               4 GB       280  cdn.example.com         5 GB       290
bob                    87 MB        42  2001:db8:1:2::/64    1.20 GB        75  mail.example.org     4.10 MB        20
carol/admin          1.20 kB         3


8,123 sessions  1 to 18  by age ▼
  AGE▼ USER             CLIENT                TARGET                          STATE       UP/S    DOWN/S      UP    DOWN
 2h03m ann              192.0.2.0:40000       host-0.example.com:443          relays   512 B/s 34.5 kB/s     0 B 1.23 MB
 2h02m bob              192.0.2.1:40001       host-1.example.com:443          relays         -         -    1 kB 1.23 MB
 2h02m carol/admin      192.0.2.2:40002       host-2.example.com:443          relays   512 B/s 34.5 kB/s    2 kB 1.23 MB
 2h02m ann              192.0.2.3:40003       host-3.example.com:443          relays   512 B/s 34.5 kB/s    3 kB 1.23 MB
 2h02m bob              192.0.2.4:40004       host-4.example.com:443          udp      512 B/s 34.5 kB/s    4 kB 1.23 MB
 2h02m carol/admin      192.0.2.5:40005       host-5.example.com:443          relays   512 B/s 34.5 kB/s    5 kB 1.23 MB
 2h02m ann              192.0.2.6:40006       host-6.example.com:443          relays   512 B/s 34.5 kB/s    6 kB 1.23 MB
 2h02m bob              192.0.2.7:40007       host-7.example.com:443          relays   512 B/s 34.5 kB/s    7 kB 1.23 MB
 2h02m carol/admin      192.0.2.8:40008       host-8.example.com:443          relays   512 B/s 34.5 kB/s    8 kB 1.23 MB
 2h02m ann              192.0.2.9:40009       host-9.example.com:443          relays   512 B/s 34.5 kB/s    9 kB 1.23 MB
 2h02m bob              192.0.2.10:40010      host-10.example.com:443         relays   512 B/s 34.5 kB/s   10 kB 1.23 MB
 2h02m carol/admin      192.0.2.11:40011      host-11.example.com:443         relays   512 B/s 34.5 kB/s   11 kB 1.23 MB
 2h02m ann              192.0.2.12:40012      host-12.example.com:443         relays   512 B/s 34.5 kB/s   12 kB 1.23 MB
 2h02m bob              192.0.2.13:40013      host-13.example.com:443         relays   512 B/s 34.5 kB/s   13 kB 1.23 MB
 2h02m carol/admin      192.0.2.14:40014      host-14.example.com:443         udp      512 B/s 34.5 kB/s   14 kB 1.23 MB
 2h02m ann              192.0.2.15:40015      host-15.example.com:443         relays   512 B/s 34.5 kB/s   15 kB 1.23 MB
 2h02m bob              192.0.2.16:40016      host-16.example.com:443         relays   512 B/s 34.5 kB/s   16 kB 1.23 MB
 2h02m carol/admin      192.0.2.17:40017      host-17.example.com:443         relays   512 B/s 34.5 kB/s   17 kB 1.23 MB
q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources  b sessions  r look now";
const BUSY_200X60: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto  cpu 0%  mem 34.5 MB                                                                                                           21:14:05Z
sessions     8,123                  ▁▂▃▄▅▆▆▇▇▇█▇▇▇▇▆▅▅▄▃▂▁                                  ▁▂▃▄▅▅▆ new/s          120                   ▁▂▃▄▅▆▆▇▇▇█▇▇▇▇▆▅▅▄▃▂▁                                  ▁▂▃▄▅▅▆
          peak 899           ▁▂▄▅▆▇████████████████████████▆▅▄▃▂▁                    ▁▂▃▄▅▆████████           peak 900            ▁▂▄▅▆▇████████████████████████▆▅▄▃▂▁                    ▁▂▃▄▅▆████████
                   ▂▂▃▃▄▄▅▆▇██████████████████████████████████████▇▆▅▄▃▃▃▂▂▂▂▃▃▃▄▅▆▇███████████████                    ▂▂▂▃▃▄▄▅▆▇██████████████████████████████████████▇▆▅▄▃▃▃▂▂▂▂▃▃▃▄▅▆▇███████████████
up       1.23 MB/s   ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅     ▂▅█    ▂▅█    ▂ down     98.8 MB/s    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅█    ▂▅     ▂▅█    ▂▅█    ▂
    peak 2.80 MB/s   ███ ▃▅████ ▃▅████   ████ ▃▅████ ▃▅████  ▅████ ▃▅████ ▃▅███  ▃▅████ ▃▅████ ▃▅██     peak 2.80 MB/s ▃  ███ ▃▅████ ▃▅████   ████ ▃▅████ ▃▅████  ▅████ ▃▅████ ▃▅███  ▃▅████ ▃▅████ ▃▅██
                     ██████████████████  ██████████████████  ██████████████████  ██████████████████                    █  ██████████████████  ██████████████████  ██████████████████  ██████████████████
udp/s    up 1.50k down 820   lost 2.50                                                              refused/s     1.50 █          █          █          █          █          █          █          █
workers  0  ████████████████████  5,416 1.25ms 1  ██████████            2,707 2.25ms
latency      handshake           dns       connect      1st byte          turn         delay       session          auth
p50             0.40ms             -        1.20ms        3.10ms        0.05ms        0.06ms         4.00s             -
p90             1.20ms             -        3.60ms        9.30ms        0.15ms        0.18ms         12.0s             -
p99             4.00ms             -        12.0ms        31.0ms        0.50ms        0.60ms         40.0s             -
p99.9           10.0ms             -        30.0ms        77.5ms        1.25ms        1.50ms         1m40s             -
max             16.0ms             -        48.0ms         124ms        2.00ms        2.40ms         2m40s             -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
failed   connect 250  dns 40
dropped  blocked 900  stranger 12
top users                                        bytes  sessions  top sources                                      bytes  sessions  top targets                                      bytes  sessions
ann                                            5.12 GB       310  192.0.2.7                                         4 GB       280  cdn.example.com                                   5 GB       290
bob                                              87 MB        42  2001:db8:1:2::/64                              1.20 GB        75  mail.example.org                               4.10 MB        20
carol/admin                                    1.20 kB         3







8,123 sessions  1 to 28  by age ▼
  AGE▼ ID                   USER             CLIENT                TARGET                                                 ADDRESS               STATE  ENGINE      UP/S    DOWN/S      UP    DOWN   IDLE
 2h03m 00c0ffee000000000000 ann              192.0.2.0:40000       host-0.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s     0 B 1.23 MB     0s
 2h02m 00c0ffee000000000001 bob              192.0.2.1:40001       host-1.example.com:443                                 198.51.100.7:443      relays splice         -         -    1 kB 1.23 MB     0s
 2h02m 00c0ffee000000000002 carol/admin      192.0.2.2:40002       host-2.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s    2 kB 1.23 MB     0s
 2h02m 00c0ffee000000000003 ann              192.0.2.3:40003       host-3.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s    3 kB 1.23 MB     0s
 2h02m 00c0ffee000000000004 bob              192.0.2.4:40004       host-4.example.com:443                                 198.51.100.7:443      udp    splice   512 B/s 34.5 kB/s    4 kB 1.23 MB     0s
 2h02m 00c0ffee000000000005 carol/admin      192.0.2.5:40005       host-5.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s    5 kB 1.23 MB     0s
 2h02m 00c0ffee000000000006 ann              192.0.2.6:40006       host-6.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s    6 kB 1.23 MB     0s
 2h02m 00c0ffee000000000007 bob              192.0.2.7:40007       host-7.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s    7 kB 1.23 MB     0s
 2h02m 00c0ffee000000000008 carol/admin      192.0.2.8:40008       host-8.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s    8 kB 1.23 MB     0s
 2h02m 00c0ffee000000000009 ann              192.0.2.9:40009       host-9.example.com:443                                 198.51.100.7:443      relays splice   512 B/s 34.5 kB/s    9 kB 1.23 MB     0s
 2h02m 00c0ffee00000000000a bob              192.0.2.10:40010      host-10.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   10 kB 1.23 MB     0s
 2h02m 00c0ffee00000000000b carol/admin      192.0.2.11:40011      host-11.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   11 kB 1.23 MB     0s
 2h02m 00c0ffee00000000000c ann              192.0.2.12:40012      host-12.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   12 kB 1.23 MB     0s
 2h02m 00c0ffee00000000000d bob              192.0.2.13:40013      host-13.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   13 kB 1.23 MB     0s
 2h02m 00c0ffee00000000000e carol/admin      192.0.2.14:40014      host-14.example.com:443                                198.51.100.7:443      udp    splice   512 B/s 34.5 kB/s   14 kB 1.23 MB     0s
 2h02m 00c0ffee00000000000f ann              192.0.2.15:40015      host-15.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   15 kB 1.23 MB     0s
 2h02m 00c0ffee000000000010 bob              192.0.2.16:40016      host-16.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   16 kB 1.23 MB     0s
 2h02m 00c0ffee000000000011 carol/admin      192.0.2.17:40017      host-17.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   17 kB 1.23 MB     0s
 2h02m 00c0ffee000000000012 ann              192.0.2.18:40018      host-18.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   18 kB 1.23 MB     0s
 2h02m 00c0ffee000000000013 bob              192.0.2.19:40019      host-19.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   19 kB 1.23 MB     0s
 2h02m 00c0ffee000000000014 carol/admin      192.0.2.20:40020      host-20.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   20 kB 1.23 MB     0s
 2h02m 00c0ffee000000000015 ann              192.0.2.21:40021      host-21.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   21 kB 1.23 MB     0s
 2h02m 00c0ffee000000000016 bob              192.0.2.22:40022      host-22.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   22 kB 1.23 MB     0s
 2h02m 00c0ffee000000000017 carol/admin      192.0.2.23:40023      host-23.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   23 kB 1.23 MB     0s
 2h02m 00c0ffee000000000018 ann              192.0.2.24:40024      host-24.example.com:443                                198.51.100.7:443      udp    splice   512 B/s 34.5 kB/s   24 kB 1.23 MB     0s
 2h02m 00c0ffee000000000019 bob              192.0.2.25:40025      host-25.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   25 kB 1.23 MB     0s
 2h02m 00c0ffee00000000001a carol/admin      192.0.2.26:40026      host-26.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   26 kB 1.23 MB     0s
 2h02m 00c0ffee00000000001b ann              192.0.2.27:40027      host-27.example.com:443                                198.51.100.7:443      relays splice   512 B/s 34.5 kB/s   27 kB 1.23 MB     0s
q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources  b sessions  r look now";
const BUSY_40X10: &str = "
outflow 0.1.0  serving  cpu 0% 21:14:05Z
sessions     8,123  new/s          120 █
up       1.23 MB/s  down     98.8 MB/s █
udp/s    up 1.50k   refused/s     1.50
users    ann 5.12 GB  bob 87 MB
8,123 sessions  1 to 2  by age ▼
  AGE▼ TARGET                       RATE
 2h03m host-0.example.com:443  35.0 kB/s
 2h02m host-1.example.com:443          -
q quit  ? help  s sort  S reverse";
const IDLE_80X24: &str = "
outflow 0.1.0  serving  up 0s  127.0.0.1:1080  relay auto  cpu 0%      21:00:00Z
sessions         0                      new/s            0
up           0 B/s                      down         0 B/s
udp/s    up 0     down 0     lost 0     refused/s        0
workers  0                            0      -
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50             -        -        -        -        -        -        -        -
p99             -        -        -        -        -        -        -        -
refused  none
dropped  none
users    none in the last minute
0 sessions  by age ▼
  AGE▼ USER     CLIENT          TARGET                  STATE       RATE   BYTES
no session









q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources";
const ASCII_80X24: &str = r#"
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto        21:14:05Z
sessions        20 ______-----=====#### new/s          120 _______-----=====####
up       1.23 MB/s   --==##_--==##_--== down     98.8 MB/s #  --==##_--==##_--==
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       #          #
workers  0  #################     14 1.25ms 1  #######                6 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    ann 5.12 GB  bob 87 MB  carol/admin 1.20 kB
20 sessions  1 to 10  by age v
  AGEv USER     CLIENT          TARGET                  STATE       RATE   BYTES
 2h03m ann      192.0.2.0       host-0.example.com:443  relays 35.0 kB/s 1.23 MB
 2h02m J\u{fc}~ 192.0.2.1       host-1.example.com:443  relays         - 1.24 MB
 2h02m carol/a~ 192.0.2.2       host-2.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.3       host-3.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m bob      192.0.2.4       host-4.example.com:443  udp    35.0 kB/s 1.24 MB
 2h02m carol/a~ 192.0.2.5       host-5.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.6       host-6.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m bob      192.0.2.7       host-7.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m carol/a~ 192.0.2.8       host-8.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.9       host-9.example.com:443  relays 35.0 kB/s 1.24 MB
q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources"#;

#[test]
fn everything_that_matters_fits_on_80_columns_and_24_rows() {
    let (mut model, now) = model(&MadeUp::busy(8123));
    shows(&drawn(&mut model, COLOURS, (80, 24), now), BUSY_80X24);
}

#[test]
fn a_larger_screen_shows_more() {
    let (mut model, now) = model(&MadeUp::busy(8123));
    shows(&drawn(&mut model, COLOURS, (120, 40), now), BUSY_120X40);
    shows(&drawn(&mut model, COLOURS, (200, 60), now), BUSY_200X60);
}

#[test]
fn the_smallest_screen_shows_what_matters_most() {
    let (mut model, now) = model(&MadeUp::busy(8123));
    shows(&drawn(&mut model, COLOURS, (40, 10), now), BUSY_40X10);
}

#[test]
fn a_server_that_nobody_uses_yet_is_readable() {
    let (mut model, now) = model(&MadeUp::idle());
    shows(&drawn(&mut model, COLOURS, (80, 24), now), IDLE_80X24);
}

#[test]
fn a_terminal_without_utf8_is_shown_ascii() {
    let mut endpoint = MadeUp::busy(20);
    endpoint.sessions[1]["user"] = json!("Jürgen");
    let (mut model, now) = model(&endpoint);
    let ascii = Theme { colours: true, utf8: false };
    let screen = drawn(&mut model, ascii, (80, 24), now);
    shows(&screen, ASCII_80X24);
    typed(&mut model, "?");
    for screen in [screen, drawn(&mut model, ascii, (80, 24), now), drawn(&mut model, ascii, (200, 60), now)]
    {
        assert!(rows(&screen).iter().all(|row| row.is_ascii()), "{screen}");
    }
}

#[test]
fn a_screen_that_is_too_small_is_said_to_be() {
    let (mut model, now) = model(&MadeUp::busy(3));
    let screen = drawn(&mut model, COLOURS, (39, 24), now);
    assert_eq!(rows(&screen)[0], "outflow top needs 40x10, this is 39x24");
    let screen = drawn(&mut model, COLOURS, (20, 9), now);
    assert_eq!(rows(&screen)[..3], ["outflow top needs", "40x10, this is 20x9", ""]);
}

#[test]
fn no_size_and_no_mode_is_too_much() {
    use ratatui::crossterm::event::KeyCode;
    let endpoint = MadeUp::busy(300);
    for keys in ["", "?", "/", "/user=ann", "k", "ttbp"] {
        let (mut model, now) = model(&endpoint);
        key(&mut model, KeyCode::Down);
        typed(&mut model, keys);
        for (width, height) in
            (1..230).step_by(19).flat_map(|width| (1..70).step_by(5).map(move |height| (width, height)))
        {
            drawn(&mut model, COLOURS, (width, height), now);
            assert!(model.shown().contains(&model.place()), "{width}x{height} {keys}");
        }
    }
}
