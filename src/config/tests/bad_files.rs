//! Bad files, written by hand, with the exact messages they get.

use super::{complaints, parse};
use crate::limits;

/// Each bad file gets exactly these messages.
#[track_caller]
pub(super) fn expect_complaints(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(complaints(text), *expected, "for {text:?}");
    }
}

#[test]
fn unknown_names_are_refused() {
    expect_complaints(&[
        ("[server]\nlisen = []\n", &["2: [server] key `lisen`: unknown key; did you mean `listen`?"]),
        ("[server]\nidle = 4\n", &["2: [server] key `idle`: unknown key; did you mean [timeouts] `idle`?"]),
        (
            "[log]\nzzz = 4\n",
            &[
                "2: [log] key `zzz`: unknown key; the keys are `level`, `format`, `access`, `on_full`, `udp_targets`",
            ],
        ),
        ("\n[lgo]\n", &["2: [lgo]: unknown table; did you mean [log]?"]),
        ("pin = true\n", &["1: key `pin`: stands outside any table; did you mean [server] `pin`?"]),
        ("server = 3\n", &["1: [server]: expected a table, found an integer"]),
        ("[[server]]\n", &["1: [server]: expected a table, found an array"]),
        (
            "[log]\n\"a\\nb\" = 1\n",
            &[
                "2: [log] key `a\\nb`: unknown key; the keys are `level`, `format`, `access`, `on_full`, `udp_targets`",
            ],
        ),
    ]);
}

#[test]
fn translators_that_there_cannot_be_are_named() {
    expect_complaints(&[
        (
            "[dns]\ndns64 = \"of\"\n",
            &[
                "2: [dns] key `dns64`: \"of\" is none of \"auto\", \"off\" and prefixes such as \"64:ff9b::/96\"; did you mean \"off\"?",
            ],
        ),
        (
            "[dns]\ndns64 = [\"64:ff9b::/95\"]\n",
            &[
                "2: [dns] key `dns64`: \"64:ff9b::/95\": a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits, and bits 64 to 71 of it are zero (RFC 6052 section 2.2)",
            ],
        ),
        ("[dns]\ndns64 = []\n", &["2: [dns] key `dns64`: is empty: it needs \"auto\", \"off\" or a prefix"]),
        (
            "[dns]\ndns64 = [\"fd64::/96\", \"fd64::/96\"]\n",
            &["2: [dns] key `dns64`: \"fd64::/96\" is listed twice"],
        ),
        (
            "[dns]\ndns64 = \"fd64::1/96\"\n",
            &[
                "2: [dns] key `dns64`: \"fd64::1/96\" has bits set beyond its prefix; did you mean \"fd64::/96\"?",
            ],
        ),
    ]);
}

#[test]
fn problems_of_a_limit_name_its_table() {
    expect_complaints(&[
        (
            "[limits]\nconnections = 3\nper_source = 3\nzz = 3\n",
            &[
                "2: [limits] key `connections`: unknown key; did you mean [limits.per_source] `connections`?",
                "3: [limits.per_source]: expected a table, found an integer",
                "4: [limits] key `zz`: unknown key; the tables in [limits] are [limits.per_source], [limits.per_user]",
            ],
        ),
        (
            "[limits]\nper_source = { conections = 3 }\n",
            &["2: [limits.per_source] key `conections`: unknown key; did you mean `connections`?"],
        ),
        (
            "[limits.per_source]\nconnections = -1\n",
            &["2: [limits.per_source] key `connections`: -1 is out of range: 0 to 536870912"],
        ),
    ]);
}

#[test]
fn problems_of_a_table_in_a_table_name_both() {
    expect_complaints(&[
        (
            "[auth.gssapi]\nkeytb = \"k\"\n",
            &["2: [auth.gssapi] key `keytb`: unknown key; did you mean `keytab`?"],
        ),
        (
            "[auth.gssapi]\nzzz = 1\n",
            &[
                "2: [auth.gssapi] key `zzz`: unknown key; the keys are `keytab`, `service`, `protection`, `nec`",
            ],
        ),
        (
            "[auth]\nkeytab = \"k\"\n",
            &["2: [auth] key `keytab`: unknown key; did you mean [auth.gssapi] `keytab`?"],
        ),
        ("[auth.gsapi]\nnec = true\n", &["1: [auth.gsapi]: unknown table; did you mean [auth.gssapi]?"]),
        ("[auth]\ngsapi = true\n", &["2: [auth] key `gsapi`: unknown key; did you mean [auth.gssapi]?"]),
        ("[tls]\ncert = \"c\"\n", &["1: [tls]: unknown table; did you mean [[listener]] `tls`?"]),
        (
            "[server]\ntls = { cert = \"c\" }\n",
            &["2: [server.tls]: unknown table; did you mean [[listener]] `tls`?"],
        ),
        ("[gssapi]\nnec = true\n", &["1: [gssapi]: unknown table; did you mean [auth.gssapi]?"]),
        (
            "[[egress]]\nname = \"a\"\naddresses = [\"127.0.0.7\"]\ntagz = { area = \"de\" }\n",
            &["4: [egress.tagz]: unknown table; did you mean [[egress]] `tags`?"],
        ),
        (
            "[\"auth.gssapi\"]\nnec = true\n",
            &["1: [auth.gssapi]: unknown table; did you mean [auth.gssapi]?"],
        ),
        ("[auth]\ngssapi = 3\n", &["2: [auth.gssapi]: expected a table, found an integer"]),
        ("[[auth.gssapi]]\nnec = true\n", &["1: [auth.gssapi]: expected a table, found an array"]),
        ("[auth.gssapi.nec]\n", &["1: [auth.gssapi] key `nec`: expected true or false, found a table"]),
        ("nec = true\n", &["1: key `nec`: stands outside any table; did you mean [auth.gssapi] `nec`?"]),
        (
            "[auth]\nmethods = [\"gsapi\"]\n",
            &[
                "2: [auth] key `methods`: \"gsapi\" is none of \"none\", \"password\", \"gssapi\"; did you mean \
             \"gssapi\"?",
            ],
        ),
    ]);
}

#[test]
fn bad_gssapi_tables_are_refused() {
    let service = |typed: &str, nearest: &str| {
        let what = "is not a service such as \"rcmd\" or \"rcmd@proxy.example.org\", of 255 bytes at most";
        let text = format!("[auth.gssapi]\nservice = \"{typed}\"\n");
        assert_eq!(
            complaints(&text),
            [format!("2: [auth.gssapi] key `service`: \"{typed}\" {what}{nearest}")]
        );
    };
    service("", "");
    service("rc md", "");
    service("rcmd/host", "; did you mean \"rcmd@host\"?");
    service("a/b/c", "");
    expect_complaints(&[
        (
            "[auth.gssapi]\nprotection = []\nkeytab = \"\"\n",
            &[
                "2: [auth.gssapi] key `protection`: is empty: it needs a level",
                "3: [auth.gssapi] key `keytab`: \"\" is not a path",
            ],
        ),
        (
            "[auth.gssapi]\nprotection = [\"none\", \"none\", \"secret\"]\nnec = 1\n",
            &[
                "2: [auth.gssapi] key `protection`: \"secret\" is none of \"confidentiality\", \"integrity\", \
                 \"per-message\", \"none\"",
                "2: [auth.gssapi] key `protection`: \"none\" is listed twice",
                "3: [auth.gssapi] key `nec`: expected true or false, found an integer",
            ],
        ),
    ]);
    let longest = "r".repeat(limits::GSS_SERVICE_MAX);
    let text = |service: &str| format!("[auth.gssapi]\nservice = \"{service}\"\n");
    assert!(parse(&text(&longest)).is_ok());
    assert_eq!(complaints(&text(&format!("{longest}r"))).len(), 1);
}

#[test]
fn wrong_types_are_refused() {
    expect_complaints(&[
        (
            "[server]\nlisten = \"127.0.0.1:1\"\n",
            &["2: [server] key `listen`: expected an array of strings, found a string; did you mean \
             [\"127.0.0.1:1\"]?"],
        ),
        ("[server]\nlisten = [\n  5]\n", &["3: [server] key `listen`: expected a string, found an integer"]),
        (
            "[server]\nworkers = \"4\"\n",
            &["2: [server] key `workers`: expected a whole number, found a string; did you mean 4?"],
        ),
        (
            "[server]\npin = \"yes\"\n",
            &["2: [server] key `pin`: expected true or false, found a string; did you mean true?"],
        ),
        ("[log]\nlevel = 3\n", &["2: [log] key `level`: expected a string, found an integer"]),
    ]);
}

#[test]
fn bad_durations_are_refused() {
    expect_complaints(&[
        (
            "[timeouts]\nidle = 7440\n",
            &[
                "2: [timeouts] key `idle`: expected a duration such as \"10s\", found an integer; did you mean \
             \"7440s\"?",
            ],
        ),
        (
            "[timeouts]\nidle = \"7440\"\n",
            &[
                "2: [timeouts] key `idle`: \"7440\" is not a duration such as \"10s\", \"2h\" or \"500ms\"; did \
             you mean \"7440s\"?",
            ],
        ),
        (
            "[timeouts]\nconnect = \"10 secnds\"\n",
            &["2: [timeouts] key `connect`: \"10 secnds\" is not a duration such as \"10s\", \"2h\" or \
             \"500ms\"; did you mean \"10s\"?"],
        ),
        (
            "[timeouts]\ndns = \"0s\"\nidle = \"8d\"\n",
            &[
                "2: [timeouts] key `dns`: \"0s\" is out of range: \"1ms\" to \"1h\"",
                "3: [timeouts] key `idle`: \"8d\" is out of range: \"1ms\" to \"7d\"",
            ],
        ),
    ]);
}

#[test]
fn bad_port_ranges_are_refused() {
    let complaint = |typed: &str, nearest: &str| {
        let what = "is not a range of ports from 1 to 65535 such as \"40000-49999\"";
        format!("2: [bind] key `ports`: \"{typed}\" {what}{nearest}")
    };
    for (typed, nearest) in [
        ("49999-40000", "; did you mean \"40000-49999\"?"),
        ("40000 - 49999", "; did you mean \"40000-49999\"?"),
        ("40000:49999", "; did you mean \"40000-49999\"?"),
        ("0-49999", ""),
        ("40000-70000", ""),
        ("any", ""),
    ] {
        let text = format!("[bind]\nports = \"{typed}\"\n");
        assert_eq!(complaints(&text), [complaint(typed, nearest)]);
    }
}

#[test]
fn bad_bind_tables_are_refused() {
    expect_complaints(&[
        ("[bind]\nport = \"1-2\"\n", &["2: [bind] key `port`: unknown key; did you mean `ports`?"]),
        ("[bind]\nports = 40000\n", &["2: [bind] key `ports`: expected a string, found an integer"]),
        (
            "[timeouts]\nbind = \"2h\"\n",
            &["2: [timeouts] key `bind`: \"2h\" is out of range: \"1ms\" to \"1h\""],
        ),
        (
            "[bind]\nadvertise = \"203.0.113.7:1080\"\n",
            &[
                "2: [bind] key `advertise`: \"203.0.113.7:1080\" is not an address such as \"203.0.113.7\" or \
             \"2001:db8::7\"; did you mean \"203.0.113.7\"?",
            ],
        ),
        (
            "[bind]\nadvertise = [\"::ffff:203.0.113.7\",\n\"0.0.0.0\"]\n",
            &[
                "2: [bind] key `advertise`: \"::ffff:203.0.113.7\" is an IPv4 address written as IPv6; did you \
                 mean \"203.0.113.7\"?",
                "3: [bind] key `advertise`: \"0.0.0.0\" is not an address that others can connect to",
            ],
        ),
        (
            "[bind]\nadvertise = [\"203.0.113.7\",\n\"203.0.113.8\"]\n",
            &["3: [bind] key `advertise`: \"203.0.113.8\" is a second IPv4 address: one is told"],
        ),
        (
            "[bind]\nadvertise = 5\n",
            &["2: [bind] key `advertise`: expected an array of strings, found an integer"],
        ),
    ]);
}

#[test]
fn bad_numbers_are_refused() {
    expect_complaints(&[
        (
            "[server]\nworkers = 1025\nbacklog = 0\n",
            &[
                "2: [server] key `workers`: 1025 is out of range: 0 to 1024",
                "3: [server] key `backlog`: 0 is out of range: 1 to 65535",
            ],
        ),
        ("[dns]\ncache_entries = -1\n", &["2: [dns] key `cache_entries`: -1 is out of range: 1 to 4194304"]),
    ]);
}

#[test]
fn unknown_words_are_refused() {
    expect_complaints(&[
        (
            "[server]\ncongestion = \"b b r\"\n",
            &[
                "2: [server] key `congestion`: \"b b r\" is neither \"auto\", \"system\" nor the name of a congestion \
             control, such as \"cubic\"",
            ],
        ),
        (
            "[server]\nrelay = \"slice\"\n",
            &["2: [server] key `relay`: \"slice\" is none of \"auto\", \"splice\", \"copy\"; did you mean \
             \"splice\"?"],
        ),
        (
            "[log]\nlevel = \"warning\"\naccess = \"Stdout\"\n",
            &[
                "2: [log] key `level`: \"warning\" is none of \"error\", \"warn\", \"info\", \"debug\", \
             \"trace\"; did you mean \"warn\"?",
                "3: [log] key `access`: \"Stdout\" is neither \"off\" nor \"stdout\"; a file is written as \
             \"./NAME\"; did you mean \"stdout\"?",
            ],
        ),
    ]);
}

#[test]
fn bad_addresses_are_refused() {
    expect_complaints(&[
        (
            "[server]\nlisten = [\"localhost:99\", \"::1:1080\",\n\"224.0.0.1:1\"]\n",
            &[
                "2: [server] key `listen`: \"localhost:99\" is not an address and port such as \
             \"127.0.0.1:1080\"; did you mean \"127.0.0.1:99\"?",
                "2: [server] key `listen`: \"::1:1080\" is not an address and port such as \"127.0.0.1:1080\"; \
             did you mean \"[::1]:1080\"?",
                "3: [server] key `listen`: \"224.0.0.1:1\" is not an address that one host can listen on",
            ],
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:1\",\n\"127.0.0.1:1\"]\n",
            &["3: [server] key `listen`: \"127.0.0.1:1\" is listed twice"],
        ),
        (
            "[server]\nlisten = []\n",
            &["2: [server] key `listen`: is empty: it needs an address, where there is no [[listener]]"],
        ),
        (
            "[dns]\nservers = [\"one\", \"192.0.2.1:0\"]\n",
            &[
                "2: [dns] key `servers`: \"one\" is not an address such as \"192.0.2.53\" or \
             \"[2001:db8::53]:53\"",
                "2: [dns] key `servers`: \"192.0.2.1:0\" is not an address that one can ask",
            ],
        ),
        (
            "[guard]\nallow = [\"10.1.2.3/8\", \"10.0.0.1\", \"::ffff:10.0.0.0/104\", \"10.0.0.0/33\"]\n",
            &[
                "2: [guard] key `allow`: \"10.1.2.3/8\" has bits set beyond its prefix; did you mean \
             \"10.0.0.0/8\"?",
                "2: [guard] key `allow`: \"10.0.0.1\" is not a block of addresses such as \"10.0.0.0/8\"; did \
             you mean \"10.0.0.1/32\"?",
                "2: [guard] key `allow`: \"::ffff:10.0.0.0/104\" is an IPv4 block written as IPv6; did you mean \
             \"10.0.0.0/8\"?",
                "2: [guard] key `allow`: \"10.0.0.0/33\" is not a block of addresses such as \"10.0.0.0/8\"",
            ],
        ),
    ]);
}

#[test]
fn bad_methods_are_refused() {
    expect_complaints(&[
        ("[auth]\nmethods = []\n", &["2: [auth] key `methods`: is empty: it needs a method"]),
        ("[auth]\nmethods = [\"none\", \"none\"]\n", &["2: [auth] key `methods`: \"none\" is listed twice"]),
        (
            "[auth]\nmethods = [\"pasword\"]\n",
            &[
                "2: [auth] key `methods`: \"pasword\" is none of \"none\", \"password\", \"gssapi\"; did you mean \
             \"password\"?",
            ],
        ),
        (
            "[auth]\nmethods = [\"password\"]\n",
            &["2: [auth] key `methods`: \"password\" needs a users file: set users = \"FILE\" in [auth] or \
             give --users FILE"],
        ),
        (
            "[log]\nlevel = \"info\"\non_full = \"refuse\"\n",
            &[
                "3: [log] key `on_full`: \"refuse\" keeps access records, but there are none: set access in [log] or \
             give --access",
            ],
        ),
        (
            "[log]\non_full = \"wait\"\n",
            &["2: [log] key `on_full`: \"wait\" is none of \"drop\", \"refuse\""],
        ),
        ("[auth]\nusers = \"\"\n", &["2: [auth] key `users`: \"\" is not a path"]),
    ]);
}

/// Every place that is no TOML, and nothing of what the rest might mean.
#[test]
fn files_of_no_toml_are_refused() {
    expect_complaints(&[(
        "[server]\nworkers = 1\nworkers = 2\npin = maybe\nbacklog = 0\n",
        &[
            "3: not TOML: duplicate key `workers`",
            "4: not TOML: string values must be quoted, expected literal string",
        ],
    )]);
}

/// One slip, one message: what the parser makes of the lines behind it is left out.
#[test]
fn an_unclosed_bracket_is_said_once_and_where_it_opens() {
    const ARRAY: &str = "not TOML: the array that begins here has no `]`";
    expect_complaints(&[
        (
            "[server]\nlisten = [\n  \"127.0.0.1:1080\",\nworkers = 2\nrelay = \"copy\"\n\n[timeouts]\nidle = \"7d\"\n",
            &[&format!("2: {ARRAY}")],
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:1080\"\n[log]\nlevel = \"info\"\nformat = \"text\"\n",
            &[&format!("2: {ARRAY}")],
        ),
        ("[dns]\nservers = [\"[::1]:53\", '[\"', # [\n", &[&format!("2: {ARRAY}")]),
        ("[dns]\nservers = [\"\"\"\n]\\\"\"\"\"\n", &[&format!("2: {ARRAY}")]),
        (
            "[server]\npin = maybe\nlisten = [[\"a\"], {b = 1}\n",
            &["2: not TOML: string values must be quoted, expected literal string", &format!("3: {ARRAY}")],
        ),
        (
            "[server]\nlisten = { a = 1\nworkers = 2\n",
            &["2: not TOML: the table that begins here has no `}`"],
        ),
    ]);
}

/// `[::]` takes IPv4, too, unless all of IPv4 is listened on beside it: a single address took it away, unseen.
#[test]
fn an_ipv4_address_beside_the_wildcard_of_both_families_is_refused() {
    let listen = |addresses: &str| format!("[server]\nopen_proxy = true\nlisten = [\n{addresses}\n]\n");
    for one in ["127.0.0.1:1080", "[::ffff:192.0.2.1]:1080"] {
        let what = format!(
            "5: [server] key `listen`: \"{one}\" is part of \"[::]:1080\", which takes IPv4, too: one of them is enough"
        );
        expect_complaints(&[(&listen(&format!("\"[::]:1080\",\n\"{one}\"")), &[&what])]);
    }
    super::config(&listen(
        "\"[::]:1080\", \"0.0.0.0:1080\", \"127.0.0.1:1081\", \"[::]:0\", \"127.0.0.1:0\"",
    ));
}

/// What the kernel would refuse at the second of them, whichever it is.
#[test]
fn an_address_beside_the_wildcard_that_has_it_is_refused() {
    let listen = |addresses: &str| format!("[server]\nopen_proxy = true\nlisten = [\n{addresses}\n]\n");
    let four = listen("\"127.0.0.1:1080\",\n\"0.0.0.0:1080\"");
    let mapped = listen("\"0.0.0.0:1080\",\n\"[::ffff:127.0.0.1]:1080\"");
    let six = listen("\"[::]:1080\",\n\"[::1]:1080\"");
    let part = |line, one, wide| {
        format!("{line}: [server] key `listen`: \"{one}\" is part of \"{wide}\": one of them is enough")
    };
    expect_complaints(&[
        (&four, &[&part(4, "127.0.0.1:1080", "0.0.0.0:1080")]),
        (&mapped, &[&part(5, "[::ffff:127.0.0.1]:1080", "0.0.0.0:1080")]),
        (&six, &[&part(5, "[::1]:1080", "[::]:1080")]),
    ]);
    super::config(&listen("\"0.0.0.0:0\", \"127.0.0.1:0\", \"0.0.0.0:1080\", \"127.0.0.1:1081\""));
}

#[test]
fn more_workers_than_connections_are_refused_where_they_were_typed() {
    let what = "4 workers cannot share max_connections = 3: 3 workers at most, or 0 for as many as CPUs";
    expect_complaints(&[(
        "[server]\nmax_connections = 3\nworkers = 4\n",
        &[&format!("3: [server] key `workers`: {what}")],
    )]);
    let config = super::config("[server]\nmax_connections = 1\nworkers = 0\n");
    assert_eq!((config.server.workers, config.server.max_connections), (1, 1));
    assert_eq!(super::config("[server]\nmax_connections = 4\nworkers = 4\n").server.workers, 4);
}
