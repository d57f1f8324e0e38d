//! What is shown in each state: of the server, of the keys, of the connection to it.

use ratatui::crossterm::event::KeyCode;

use super::*;

const END_OF_20000: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto        21:14:05Z
sessions    20,000 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s ▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       █          █
workers  0  █████████████████ 13,334 1.25ms 1  ████████▌          6,666 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    ann 5.12 GB  bob 87 MB  carol/admin 1.20 kB
20,000 sessions  19,991 to 20,000  by age ▼
  AGE▼ USER     CLIENT          TARGET                  STATE       RATE   BYTES
 1h17m bob      192.0.2.240     host-19990.example.com… relays 35.0 kB/s 21.2 MB
 1h17m carol/a… 192.0.2.241     host-19991.example.com… relays 35.0 kB/s 21.2 MB
 1h17m ann      192.0.2.242     host-19992.example.com… relays 35.0 kB/s 21.2 MB
 1h17m bob      192.0.2.243     host-19993.example.com… relays 35.0 kB/s 21.2 MB
 1h17m carol/a… 192.0.2.244     host-19994.example.com… udp    35.0 kB/s 21.2 MB
 1h17m ann      192.0.2.245     host-19995.example.com… relays 35.0 kB/s 21.2 MB
 1h17m bob      192.0.2.246     host-19996.example.com… relays 35.0 kB/s 21.2 MB
 1h17m carol/a… 192.0.2.247     host-19997.example.com… relays 35.0 kB/s 21.2 MB
 1h17m ann      192.0.2.248     host-19998.example.com… relays 35.0 kB/s 21.2 MB
 1h17m bob      192.0.2.249     host-19999.example.com… relays 35.0 kB/s 21.2 MB
q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources";
const HOSTILE: &str = r#"
outflow 0.1.0   \u{1b}]0;serving\u{7}   up 3h04m  relay auto  cpu 0%   21:14:05Z
sessions         9 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s ▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       █          █
workers  0  █████████████████      6 1.25ms 1  ████████▌              3 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    \u{1b}[2J\u{1b}[31mred 1 kB  a\r\nb\tc\0 1 kB  \u{202e}gnp.exe 1 kB
9 sessions  1 to 9  by age ▼
  AGE▼ USER     CLIENT          TARGET                  STATE       RATE   BYTES
 2h03m \u{1b}[… 192.0.2.0       \u{1b}[2J\u{1b}[31mred… relays 35.0 kB/s 1.23 MB
 2h02m a\r\nb\… 192.0.2.1       a\r\nb\tc\0.example:443 relays         - 1.24 MB
 2h02m \u{202e… 192.0.2.2       \u{202e}gnp.exe.exampl… relays 35.0 kB/s 1.24 MB
 2h02m \u{634}… 192.0.2.3       \u{634}\u{631}\u{643}\… relays 35.0 kB/s 1.24 MB
 2h02m \u{5e2}… 192.0.2.4       \u{5e2}\u{5d1}\u{5e8}\… udp    35.0 kB/s 1.24 MB
 2h02m 日本語…  192.0.2.5       日本語のユーザー名前.e… relays 35.0 kB/s 1.24 MB
 2h02m e\u{301… 192.0.2.6       e\u{301}\u{301}\u{301}… relays 35.0 kB/s 1.24 MB
 2h02m 👩\u{20… 192.0.2.7       👩\u{200d}👩\u{200d}👧… relays 35.0 kB/s 1.24 MB
 2h02m \u{9b}3… 192.0.2.8       \u{9b}31m\u{7f}.exampl… relays 35.0 kB/s 1.24 MB

q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources"#;
const FILTER_OPEN: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto        21:14:05Z
sessions        20 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s ▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       █          █
workers  0  █████████████████     14 1.25ms 1  ███████▎               6 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    ann 5.12 GB  bob 87 MB  carol/admin 1.20 kB
20 sessions  1 to 10  by age ▼
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
show only user=ann target=*.example.com";
const FILTERED: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto        21:14:05Z
sessions        20 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s ▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       █          █
workers  0  █████████████████     14 1.25ms 1  ███████▎               6 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    ann 5.12 GB  bob 87 MB  carol/admin 1.20 kB
7 of 20 sessions  1 to 7  by age ▼   user=ann target=*.example.com
  AGE▼ USER     CLIENT          TARGET                  STATE       RATE   BYTES
 2h03m ann      192.0.2.0       host-0.example.com:443  relays 35.0 kB/s 1.23 MB
 2h02m ann      192.0.2.3       host-3.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.6       host-6.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.9       host-9.example.com:443  relays 35.0 kB/s 1.24 MB
 2h02m ann      192.0.2.12      host-12.example.com:443 relays 35.0 kB/s 1.25 MB
 2h02m ann      192.0.2.15      host-15.example.com:443 relays 35.0 kB/s 1.25 MB
 2h02m ann      192.0.2.18      host-18.example.com:443 relays 35.0 kB/s 1.25 MB



q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources";
const ASKED: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto        21:14:05Z
sessions        20 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s ▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       █          █
workers  0  █████████████████     14 1.25ms 1  ███████▎               6 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    ann 5.12 GB  bob 87 MB  carol/admin 1.20 kB
20 sessions  1 to 10  by age ▼
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
End the session of bob from 192.0.2.1:40001 to host-1.e… y ends it, Esc does not";
const HELP: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto        21:14:05Z
sessions        20 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
┌ keys ───────────────────────────────────────────────────────────────────────┐▆
│ Up Down             choose a session                                        │
│ PgUp PgDn Home End  choose one that is further away                         │
│ s                   sort by the next column                                 │h
│ S                   sort the other way round                                │-
│ /                   show only some sessions: user=ann target=*.example.com  │-
│                     user source target command state worker min_age max_age │
│                     min_bytes max_bytes min_rate; none shows all again      │
│ k                   end the chosen session, once y has confirmed it         │
│ t                   the next of top users, sources and targets              │
│ b                   rank them by bytes or by sessions                       │S
│ p                   pause, and go on                                        │B
│ r                   look now                                                │B
│ q Ctrl-C            quit                                                    │B
│ Esc                 leave what is open                                      │B
│                                                                             │B
│ workers             sessions, and how long ready sockets waited (p99)       │B
│ latency, top        of the last minute                                      │B
│ refused, failed     since the start; +1/s: so many a second now             │B
└─────────────────────────────────────────────────────────────────────────────┘B
 2h02m ann      192.0.2.9       host-9.example.com:443  relays 35.0 kB/s 1.24 MB
q quit  ? help  s sort  S reverse  / filter  k end  p pause  t sources";
const GONE: &str = "
 no figures for 12s, tried each second: nothing listens on 127.0.0.1:9180: is o…
sessions        20 ▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s ▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50  refused/s     1.50       █          █
workers  0  █████████████████     14 1.25ms 1  ███████▎               6 2.25ms
latency handshake      dns  connect 1st byte     turn    delay  session     auth
p50        0.40ms        -   1.20ms   3.10ms   0.05ms   0.06ms    4.00s        -
p99        4.00ms        -   12.0ms   31.0ms   0.50ms   0.60ms    40.0s        -
refused  special_purpose 1,200  rule 34  auth_failed 17  protocol 3
dropped  blocked 900  stranger 12
users    ann 5.12 GB  bob 87 MB  carol/admin 1.20 kB
20 sessions  1 to 10  by age ▼
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
const MANY_WORKERS: &str = "
outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto  cpu 0%  mem 34.5 MB                           21:14:05Z
sessions       900 ▅▄▄▄▃▃▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█ new/s          120 ▅▅▄▄▄▃▃▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇▇█
up       1.23 MB/s   ▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ down     98.8 MB/s █  ▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆▇  ▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆
udp/s    up 1.50k down 820   lost 2.50                      refused/s     1.50     █          █          █          █
workers  64 with 100 to 163 sessions   1 stand still   delay p99 to 63.5ms (worker 63)
         0  ██▌     100 0.50ms 1  ██▌     101 1.50ms 2  ██▌     102 2.50ms 3  ██▌     103 3.50ms 4  ██▌     104 4.50ms
         5  ██▋     105 5.50ms 6  ██▋     106 6.50ms 7  ██▋     107 stands 8  ██▋     108 8.50ms 9  ██▋     109 9.50ms
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


900 sessions  1 to 18  by age ▼
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

#[test]
fn the_last_of_20000_sessions_are_reached() {
    let endpoint = MadeUp::busy(20_000);
    let (mut model, now) = model(&endpoint);
    key(&mut model, KeyCode::End);
    endpoint.answer(&mut model);
    shows(&drawn(&mut model, COLOURS, (80, 24), now), END_OF_20000);
}

#[test]
fn no_name_leaves_its_column() {
    let mut endpoint = MadeUp::busy(9);
    let names = [
        "\x1b[2J\x1b[31mred",
        "a\r\nb\tc\0",
        "\u{202e}gnp.exe",
        "شركة1",
        "עברית",
        "日本語のユーザー名前",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}",
        "👩\u{200d}👩\u{200d}👧🇩🇪👍🏽",
        "\u{9b}31m\u{7f}",
    ];
    for (session, name) in endpoint.sessions.iter_mut().zip(names) {
        session["user"] = json!(name);
        session["target"] = json!(format!("{name}.example:443"));
    }
    endpoint.top["users"] = json!(names.map(|name| json!({"name": name, "sessions": 1, "bytes": 1000})));
    endpoint.stats["state"] = json!("\x1b]0;serving\x07");
    endpoint.stats["listeners"] = json!(["\x1b[5m127.0.0.1:1080"]);
    let (mut model, now) = model(&endpoint);
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    shows(&screen, HOSTILE);
    // The columns behind a name stand where they stand in every row.
    for row in &rows(&screen)[13..22] {
        let client = row.find("192.0.2.").unwrap();
        assert_eq!(crate::cli::top::text::width(&row[..client]), 16, "{row}");
    }
    key(&mut model, KeyCode::Char('k'));
    assert!(
        rows(&drawn(&mut model, COLOURS, (120, 30), now))[29]
            .starts_with("End the session of \\u{1b}[2J\\u{1b}[31mred from")
    );
}

#[test]
fn a_filter_is_typed_in_the_last_line_and_shown_while_it_holds() {
    let endpoint = MadeUp::busy(20);
    let (mut model, now) = model(&endpoint);
    typed(&mut model, "/");
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    assert!(screen.cursor_visible());
    assert_eq!(rows(&screen)[23], "show only    such as user=ann target=*.example.com min_age=5m");
    typed(&mut model, "user=ann target=*.example.com");
    let mut screen = drawn(&mut model, COLOURS, (80, 24), now);
    shows(&screen, FILTER_OPEN);
    screen.assert_cursor_position((39, 23));
    key(&mut model, KeyCode::Enter);
    let page = model.next_page().unwrap();
    model.asked_for(page.clone());
    let mut seen = endpoint.look().sessions.unwrap();
    (seen.matched, seen.total) = (7, 20);
    seen.sessions.retain(|session| session.user.as_deref() == Some("ann"));
    model.take(LookReport::Listed(page, Ok(seen)), now);
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    shows(&screen, FILTERED);
    assert!(!screen.cursor_visible());
}

#[test]
fn a_long_filter_is_shown_from_its_end() {
    let (mut model, now) = model(&MadeUp::busy(1));
    typed(&mut model, "/user=");
    typed(&mut model, &"x".repeat(100));
    typed(&mut model, "end");
    let mut screen = drawn(&mut model, COLOURS, (60, 24), now);
    assert_eq!(rows(&screen)[23], format!("show only {}end", "x".repeat(46)));
    screen.assert_cursor_position((59, 23));
    // A line that is no filter is said above it.
    key(&mut model, KeyCode::Char(' '));
    typed(&mut model, "bob");
    key(&mut model, KeyCode::Enter);
    assert_eq!(
        rows(&drawn(&mut model, COLOURS, (80, 24), now))[11],
        "`bob` is no filter: write KEY=VALUE, such as user=ann"
    );
}

#[test]
fn a_session_is_named_before_it_is_ended() {
    let (mut model, now) = model(&MadeUp::busy(20));
    key(&mut model, KeyCode::Down);
    key(&mut model, KeyCode::Char('k'));
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    shows(&screen, ASKED);
    assert_eq!(screen.buffer()[(0, 23)].bg, Color::Yellow);
    // Whoever is asked is told what to press, however little room there is.
    let narrow = drawn(&mut model, COLOURS, (40, 10), now);
    assert_eq!(rows(&narrow)[9], "End the session… y ends it, Esc does not");
}

#[test]
fn help_names_every_key() {
    let (mut model, now) = model(&MadeUp::busy(20));
    key(&mut model, KeyCode::Char('?'));
    shows(&drawn(&mut model, COLOURS, (80, 24), now), HELP);
}

#[test]
fn while_nobody_answers_the_last_figures_are_grey_below_a_banner() {
    let (mut model, now) = model(&MadeUp::busy(20));
    let gone = Trouble::Gone("nothing listens on 127.0.0.1:9180: is outflow run with --admin?".to_owned());
    model.take(LookReport::Missed(gone), now + Duration::from_secs(12));
    let now = now + Duration::from_secs(12);
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    shows(&screen, GONE);
    let cell = |x, y| &screen.buffer()[(x, y)];
    assert_eq!(
        (cell(79, 0).bg, cell(12, 1).fg, cell(30, 14).fg),
        (Color::Red, Color::DarkGray, Color::DarkGray)
    );
    assert_eq!(cell(0, 23).fg, Color::Reset, "keys still do what they did");
}

#[test]
fn without_colours_everything_is_the_same_and_legible() {
    let (mut model, now) = model(&MadeUp::busy(8123));
    let trouble = |model: &mut Model| {
        model.stats.state = "draining".to_owned();
        model.stats.workers[1].stalled = Some(true);
        model.stats.not_ready = Some("at the ceiling".to_owned());
    };
    for keys in ["", "p", "?", "/", "/user=ann", "k", "gone"] {
        typed(&mut model, keys);
        if keys == "gone" {
            model.take(LookReport::Missed(Trouble::Gone("hung up".to_owned())), now);
        }
        trouble(&mut model);
        let coloured = drawn(&mut model, COLOURS, (80, 24), now);
        let plain = drawn(&mut model, NO_COLOUR, (80, 24), now);
        assert_eq!(rows(&plain), rows(&coloured));
        let cells = plain.buffer().content();
        assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)), "{keys}");
        // The chosen row and what is wrong stand out all the same.
        assert!(
            plain.buffer()[(2, 13)].modifier.contains(Modifier::REVERSED | Modifier::BOLD) || keys == "?"
        );
        key(&mut model, KeyCode::Esc);
    }
    assert!(
        drawn(&mut model, NO_COLOUR, (80, 24), now).buffer()[(1, 0)].modifier.contains(Modifier::REVERSED)
    );
}

#[test]
fn what_the_server_does_is_said_in_the_first_line() {
    let first = |change: &dyn Fn(&mut MadeUp), keys: &str| {
        let mut endpoint = MadeUp::busy(2);
        change(&mut endpoint);
        let (mut model, now) = model(&endpoint);
        typed(&mut model, keys);
        let screen = drawn(&mut model, COLOURS, (100, 24), now);
        let fine = screen.buffer()[(15, 0)].bg == Color::Reset;
        (rows(&screen)[0].clone(), fine)
    };
    let of = |line: &str, fine: bool| (line.to_owned(), fine);
    assert_eq!(
        first(&|_| {}, ""),
        of(
            "outflow 0.1.0  serving  up 3h04m  127.0.0.1:1080 +1  relay auto  cpu 0%  mem 34.5 MB       21:14:05Z",
            true
        )
    );
    assert_eq!(
        first(
            &|endpoint| {
                endpoint.stats["state"] = json!("draining");
                endpoint.stats["not_ready"] = json!("draining");
            },
            "p"
        ),
        of(
            "outflow 0.1.0   draining   up 3h04m  127.0.0.1:1080 +1  relay auto  cpu 0%         paused  21:14:05Z",
            false
        )
    );
    assert_eq!(
        first(&|endpoint| endpoint.stats["not_ready"] = json!("no working name server"), ""),
        of(
            "outflow 0.1.0  serving  not ready: no working name server   up 3h04m  127.0.0.1:1080 +1    21:14:05Z",
            true
        )
    );
    assert_eq!(
        first(
            &|endpoint| {
                endpoint.stats["alive"] = json!(false);
                endpoint.stats["listeners"] = json!([]);
            },
            ""
        ),
        of(
            "outflow 0.1.0  serving  a worker stands still   up 3h04m  relay auto  cpu 0%  mem 34.5 MB  21:14:05Z",
            true
        )
    );
}

#[test]
fn a_worker_that_stands_still_is_seen() {
    let mut endpoint = MadeUp::busy(900);
    endpoint.stats["workers"][1]["stalled"] = json!(true);
    let (mut model, now) = model(&endpoint);
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    assert_eq!(
        rows(&screen)[4],
        "workers  0  █████████████████    600 1.25ms 1  ████████▌            300 stands"
    );
}

#[test]
fn workers_that_are_too_many_are_summed_up() {
    let mut endpoint = MadeUp::busy(900);
    let worker = |number: usize| json!({"number": number, "active": 100 + number, "stalled": number == 7, "delay_ms": {"p99": 0.5 + number as f64}});
    endpoint.stats["workers"] = (0..64).map(worker).collect();
    let (mut model, now) = model(&endpoint);
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    let all = "workers  64 with 100 to 163 sessions   1 stand still   delay p99 to 63.5ms";
    assert_eq!(rows(&screen)[4], all);
    shows(&drawn(&mut model, COLOURS, (120, 40), now), MANY_WORKERS);
}

#[test]
fn causes_that_come_now_stand_first() {
    let mut endpoint = MadeUp::busy(3);
    let (mut model, now) = model(&endpoint);
    endpoint.stats["counters"]["closed_auth_failed"] = json!(17 + 26);
    model.take(LookReport::Looked(Box::new(endpoint.look())), now + Duration::from_secs(2));
    let screen = drawn(&mut model, COLOURS, (80, 24), now);
    assert_eq!(rows(&screen)[8], "refused  auth_failed 43 +13/s  special_purpose 1,200  rule 34  protocol 3");
    let narrow = drawn(&mut model, COLOURS, (46, 24), now);
    assert_eq!(rows(&narrow)[8], "refused  auth_failed 43 +13/s  …");
}

#[test]
fn what_a_key_came_to_stands_in_the_last_line_until_the_next() {
    let (mut model, now) = model(&MadeUp::busy(3));
    model.take(LookReport::Ended("00c0ffee000000000001".to_owned(), Ok(1)), now);
    assert_eq!(rows(&drawn(&mut model, COLOURS, (80, 24), now))[23], "session 00c0ffee000000000001 is ended");
    key(&mut model, KeyCode::Down);
    assert!(rows(&drawn(&mut model, COLOURS, (80, 24), now))[23].starts_with("q quit"));
}
