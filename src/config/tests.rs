//! What files and flags come to, and the rules that hold between values.

mod admin;
mod arrays;
mod bad_files;
mod egress;
mod listeners;
mod parents;
mod rules;
mod typed_limits;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::Nat64;
use crate::policy::rules::spec::Logged;

const FILE: &str = "/etc/outflow/o.toml";

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, Path::new(FILE), &Flags::default())
}

#[track_caller]
fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The messages without the file's name, which every one of them begins with.
#[track_caller]
fn complaints(text: &str) -> Vec<String> {
    let problems = parse(text).expect_err("a bad file was taken").to_string();
    let strip =
        |line: &str| line.strip_prefix(FILE).and_then(|line| line.strip_prefix(':')).map(str::to_owned);
    problems.lines().map(|line| strip(line).expect("a message without its file")).collect()
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let Config { server, timeouts, auth, dns, guard, bind, udp, per_source, log, admin, .. } = config("");
    let Config { policy, groups, lists, rules, .. } = config("");
    assert_eq!((policy.default, policy.log, policy.on_reload), (None, Logged::Deny, OnReload::Keep));
    assert!(groups.is_empty() && lists.is_empty() && rules.is_empty());
    let Config { limits: plans, per_user, .. } = config("");
    assert_eq!((plans, per_user), (Vec::new(), PerUser::default()));
    assert_eq!(server.listen, ["127.0.0.1:1080".parse().unwrap()]);
    assert_eq!(server.workers, tables::available_cpus());
    assert_eq!((server.pin, server.relay, server.steer), (true, RelayMode::Auto, Steer::Hash));
    assert_eq!((server.max_connections, server.backlog), (0, 4096));
    assert_eq!((server.busy_poll, server.open_proxy), (Duration::ZERO, false));
    assert_eq!(server.congestion, Congestion::Auto);
    let seconds = [
        timeouts.handshake,
        timeouts.connect,
        timeouts.idle,
        timeouts.half_close,
        timeouts.drain,
        timeouts.dns,
        timeouts.unacked,
        timeouts.bind,
        timeouts.udp_idle,
    ];
    assert_eq!(seconds, [10, 15, 7440, 240, 30, 5, 300, 60, 300].map(Duration::from_secs));
    let levels = [ProtectionLevel::Confidentiality, ProtectionLevel::Integrity, ProtectionLevel::None];
    let gssapi = Gssapi {
        keytab: PathBuf::from("/etc/krb5.keytab"),
        service: "rcmd".to_owned(),
        protection: Protection::new(&levels).unwrap(),
        nec: false,
    };
    assert_eq!(
        auth,
        AuthConfig { methods: vec![AuthMethod::None], users: None, socks4_ident: false, gssapi }
    );
    assert_eq!((dns.servers.len(), dns.hosts, dns.cache_entries), (0, true, 65_536));
    assert_eq!((dns.prefer, dns.dns64), (Prefer::HappyEyeballs, Dns64::Auto));
    assert_eq!((guard.allow.len(), guard.allow_private), (0, false));
    assert_eq!((bind.ports, bind.advertise), (None, Advertise::default()));
    assert_eq!((udp.ports, udp.advertise), (None, Advertise::default()));
    assert_eq!((udp.fragments, udp.filtering), (true, Filtering::Address));
    assert_eq!(per_source.connections, 0);
    assert_eq!(admin, AdminConfig { listen: Vec::new(), token_file: None });
    assert_eq!(
        log,
        Log {
            level: Level::Info,
            format: Format::Text,
            access: Access::Off,
            on_full: OnFull::Drop,
            udp_targets: false
        }
    );
}

#[test]
fn translators_are_a_word_or_prefixes() {
    let prefix = |text: &str| Nat64::new(text.parse().unwrap()).unwrap();
    for (typed, expected) in [
        ("\"auto\"", Dns64::Auto),
        ("[\"off\"]", Dns64::Off),
        ("\"64:ff9b::/96\"", Dns64::Prefixes(vec![prefix("64:ff9b::/96")])),
        (
            "[\"64:ff9b:1:fffe::/96\", \"fd64::/64\"]",
            Dns64::Prefixes(vec![prefix("64:ff9b:1:fffe::/96"), prefix("fd64::/64")]),
        ),
    ] {
        let read = config(&format!("[dns]\ndns64 = {typed}\n"));
        assert_eq!(read.dns.dns64, expected, "{typed}");
        assert_eq!(parse(&read.to_toml()).unwrap().dns.dns64, expected, "{typed}");
    }
}

#[test]
fn every_value_is_read() {
    let all = config(
        r#"
[server]
listen = ["[::1]:1080", "127.0.0.1:0", "127.0.0.1:0"]
workers = 3
pin = false
relay = "copy"
max_connections = 1000
backlog = 1
busy_poll = "50us"
open_proxy = true
steer = "cpu"
congestion = "cubic"
[timeouts]
handshake = "500ms"
idle = "2h 4m"
[auth]
methods = ["password", "none"]
users = "users.passwd"
[dns]
servers = ["192.0.2.1", "192.0.2.1:5353", "[::1]:53", "2001:db8::1", "[2001:db8::2]"]
hosts = false
cache_entries = 1
prefer = "ipv6-only"
[guard]
allow = ["10.0.0.0/8", "fd00::/8"]
allow_private = true
[bind]
ports = "40000-49999"
advertise = ["2001:db8::7", "203.0.113.7"]
[udp]
ports = "50000-50001"
advertise = "203.0.113.8"
fragments = false
filtering = "endpoint-independent"
[log]
level = "trace"
format = "json"
access = "log/access"
on_full = "refuse"
"#,
    );
    assert_eq!(all.server.listen.len(), 3, "two ephemeral ports differ");
    assert_eq!((all.server.workers, all.server.pin), (3, false));
    assert_eq!((all.server.relay, all.server.steer), (RelayMode::Copy, Steer::Cpu));
    assert_eq!(all.server.congestion, Congestion::Named("cubic".to_owned()));
    assert_eq!((all.server.max_connections, all.server.backlog), (1000, 1));
    assert_eq!((all.server.busy_poll, all.server.open_proxy), (Duration::from_micros(50), true));
    assert_eq!(all.timeouts.handshake, Duration::from_millis(500));
    assert_eq!(all.timeouts.idle, Duration::from_secs(7440));
    assert_eq!(all.auth.methods, [AuthMethod::Password, AuthMethod::None]);
    assert_eq!(all.auth.users, Some(PathBuf::from("/etc/outflow/users.passwd")));
    let servers: Vec<_> = all.dns.servers.iter().map(ToString::to_string).collect();
    let expected = ["192.0.2.1:53", "192.0.2.1:5353", "[::1]:53", "[2001:db8::1]:53", "[2001:db8::2]:53"];
    assert_eq!(servers, expected);
    assert_eq!((all.dns.hosts, all.dns.cache_entries, all.dns.prefer), (false, 1, Prefer::Ipv6Only));
    assert_eq!(all.guard.allow, ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()));
    assert!(all.guard.allow_private);
    assert_eq!(all.bind.ports, PortRange::new(40_000, 49_999));
    let ips = ["203.0.113.7", "2001:db8::7"].map(|ip| ip.parse().unwrap());
    assert_eq!(all.bind.advertise, ips.into_iter().collect());
    assert_eq!(all.udp.ports, PortRange::new(50_000, 50_001));
    assert_eq!(all.udp.advertise.v4, Some([203, 0, 113, 8].into()));
    assert_eq!((all.udp.fragments, all.udp.filtering), (false, Filtering::EndpointIndependent));
    assert_eq!((all.log.level, all.log.format), (Level::Trace, Format::Json));
    assert_eq!(all.log.access, Access::Path(PathBuf::from("/etc/outflow/log/access")));
    assert_eq!(all.log.on_full, OnFull::Refuse);
}

#[test]
fn a_limit_is_read_as_a_table_and_in_one_line() {
    for text in ["[limits]\nper_source = { connections = 9 }\n", "[limits.per_source]\nconnections = 9\n"] {
        assert_eq!(config(text).per_source.connections, 9);
    }
}

#[test]
fn each_problem_keeps_to_its_line() {
    let long = format!("[log]\nlevel = \"{}\\n\\u001b\"\n", "x".repeat(500));
    assert_eq!(complaints(&long).len(), 1);
    assert!(complaints(&long)[0].contains("xxx...\""));
    let control = complaints("[log]\nlevel = \"a\\n\\u001bb\"\n");
    assert!(control[0].starts_with("2: [log] key `level`: \"a\\n\\u{1b}b\" is none of"), "{control:?}");
}

#[test]
fn many_problems_are_counted() {
    let text: String = (0..250).map(|nth| format!("zz{nth} = 1\n")).collect();
    let problems = parse(&format!("[log]\n{text}")).unwrap_err();
    assert_eq!(problems.len(), 250);
    let shown = problems.to_string();
    assert_eq!(shown.lines().count(), limits::MAX_CONFIG_PROBLEMS + 1);
    assert!(shown.ends_with("o.toml: and 150 more problems"), "{shown}");
}

#[test]
fn an_open_proxy_is_refused() {
    for address in ["0.0.0.0:1080", "192.0.2.1:0", "[::]:1080", "[2001:db8::1]:1080", "[::ffff:192.0.2.1]:1"]
    {
        let text = format!("[server]\nlisten = [\"127.0.0.1:1\",\n\"{address}\"]\n");
        let said = complaints(&text);
        let start = format!("3: [server] key `listen`: \"{address}\" with method \"none\" is an open proxy");
        assert!(said.len() == 1 && said[0].starts_with(&start), "{said:?}");
        assert!(said[0].contains("write open_proxy = true in [server]"), "{said:?}");
        // What the message names as ways out.
        config(&text.replace("[server]", "[server]\nopen_proxy = true"));
        config(&format!("{text}[auth]\nmethods = [\"password\"]\nusers = \"u\"\n"));
        // A password that may be left out is none.
        let both = format!("{text}[auth]\nmethods = [\"password\", \"none\"]\nusers = \"u\"\n");
        assert_eq!(complaints(&both).len(), 1);
    }
    for address in ["127.0.0.1:1080", "127.9.9.9:1", "[::1]:1080", "[::ffff:127.0.0.1]:1"] {
        config(&format!("[server]\nlisten = [\"{address}\"]\n"));
    }
}

#[test]
fn an_unread_open_proxy_key_is_not_taken_for_no() {
    let said = complaints("[server]\nlisten = [\"0.0.0.0:1\"]\nopen_proxy = \"true\"\n");
    assert_eq!(
        said,
        ["3: [server] key `open_proxy`: expected true or false, found a string; did you mean true?"]
    );
}

#[test]
fn flags_win_over_the_file() {
    let text = "[server]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nworkers = 9\nrelay = \"copy\"\n\
                [log]\nlevel = \"error\"\nformat = \"text\"\naccess = \"stdout\"\n";
    let some = |text: &str| Some(text.to_owned());
    let flags = Flags {
        listen: vec!["127.0.0.1:3".to_owned()],
        workers: some("2"),
        no_pin: true,
        relay: some("splice"),
        allow_private: true,
        users: some("/srv/users"),
        log_level: some("debug"),
        log_format: some("json"),
        access: some("off"),
        admin: vec!["unix:/run/a".into(), "[::1]:9180".into()],
    };
    let config = Config::parse(text, Path::new(FILE), &flags).unwrap();
    assert_eq!(config.server.listen, ["127.0.0.1:3".parse().unwrap()]);
    assert_eq!((config.server.workers, config.server.pin), (2, false));
    assert_eq!((config.server.relay, config.guard.allow_private), (RelayMode::Splice, true));
    assert_eq!(config.auth.methods, [AuthMethod::Password]);
    assert_eq!(config.auth.users, Some(PathBuf::from("/srv/users")));
    assert_eq!((config.log.level, config.log.format), (Level::Debug, Format::Json));
    assert_eq!(config.log.access, Access::Off);
    let admin: Vec<String> = config.admin.listen.iter().map(ToString::to_string).collect();
    assert_eq!(admin, ["unix:/run/a", "[::1]:9180"]);
}

#[test]
fn users_flag_alone_asks_for_passwords() {
    let flags = Flags { users: Some("/srv/users".to_owned()), ..Flags::default() };
    let methods = |text| Config::parse(text, Path::new(FILE), &flags).unwrap().auth.methods;
    assert_eq!(methods(""), [AuthMethod::Password]);
    assert_eq!(methods("[auth]\nmethods = [\"none\"]\n"), [AuthMethod::Password]);
    let both = [AuthMethod::Password, AuthMethod::None];
    assert_eq!(methods("[auth]\nmethods = [\"password\", \"none\"]\n"), both, "as the file chose");
    assert_eq!(methods("[server]\nlisten = [\"0.0.0.0:1\"]\n"), [AuthMethod::Password]);
    // Kerberos was once dropped.
    let either = [AuthMethod::Gssapi, AuthMethod::Password];
    assert_eq!(methods("[auth]\nmethods = [\"gssapi\"]\n"), either);
    assert_eq!(methods("[auth]\nmethods = [\"none\", \"gssapi\"]\n"), either);
    assert_eq!(methods("[auth]\nusers = \"u\"\n"), [AuthMethod::Password], "the flag asks for passwords");
}

/// Everybody was once let in, without a word.
#[test]
fn a_users_file_that_nobody_is_asked_for_is_refused() {
    let start = "[auth] key `users`: nobody is asked for a password while methods = ";
    let end = " in [auth], or leave users out";
    for (text, line, found, wanted) in [
        ("[auth]\nusers = \"u\"\n", 2, "\"none\"", "\"password\""),
        ("[auth]\nmethods = [\"none\"]\nusers = \"u\"\n", 3, "\"none\"", "\"password\""),
        ("[auth]\nmethods = [\"gssapi\"]\nusers = \"u\"\n", 3, "\"gssapi\"", "\"gssapi\", \"password\""),
    ] {
        assert_eq!(complaints(text), [format!("{line}: {start}[{found}]: set methods = [{wanted}]{end}")]);
        // What the message says to write.
        config(&format!("[auth]\nusers = \"u\"\nmethods = [{wanted}]\n"));
    }
    assert_eq!(complaints("[auth]\nmethods = [\"pasword\"]\nusers = \"u\"\n").len(), 1);
}

#[test]
fn bad_flags_are_named_after_the_file() {
    let flags = Flags {
        listen: vec!["0.0.0.0:1".to_owned(), "1080".to_owned()],
        workers: Some("many".to_owned()),
        relay: Some("slice".to_owned()),
        ..Flags::default()
    };
    let said = Config::parse("[server]\nrelay = \"x\"\n", Path::new(FILE), &flags).unwrap_err().to_string();
    let starts = [
        // Wrong, though the flag replaces it.
        "/etc/outflow/o.toml:2: [server] key `relay`: \"x\" is none of",
        "--workers: expected a whole number, found \"many\"",
        "--listen: \"1080\" is not an address and port such as \"127.0.0.1:1080\"; did you mean",
        "--relay: \"slice\" is none of \"auto\", \"splice\", \"copy\"; did you mean \"splice\"?",
        "--listen: \"0.0.0.0:1\" with method \"none\" is an open proxy",
    ];
    assert_eq!(said.lines().count(), starts.len(), "{said}");
    for (line, start) in said.lines().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn files_that_are_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let said = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let said = Config::load(Some(&file), &Flags::default()).unwrap_err().to_string();
        said.strip_prefix(file.to_str().unwrap()).unwrap().to_owned()
    };
    let largest = limits::MAX_CONFIG_BYTES as usize;
    assert_eq!(said("large", &vec![b'\n'; largest + 1]), ": larger than 8388608 bytes");
    assert_eq!(said("latin", b"# one\n# caf\xe9\n"), ":2: not UTF-8");
    let exact = dir.path().join("exact");
    std::fs::write(&exact, vec![b'\n'; largest]).unwrap();
    assert_eq!(Config::load(Some(&exact), &Flags::default()).unwrap(), Config::default());
    let missing = Config::load(Some(&dir.path().join("none")), &Flags::default()).unwrap_err();
    assert!(missing.to_string().contains("none: cannot be read: No such file"), "{missing}");
}

#[test]
fn what_is_printed_gives_the_same_configuration() {
    let mut odd = config("");
    odd.server.listen = vec!["[fe80::1%2]:1".parse().unwrap(), "[fe80::1%eth0]:0".parse().unwrap()];
    odd.server.open_proxy = true;
    odd.server.busy_poll = Duration::from_nanos(1_500);
    odd.timeouts.handshake = Duration::from_millis(1_250);
    odd.auth.methods = vec![AuthMethod::Password, AuthMethod::None];
    odd.auth.users = Some(PathBuf::from("/a \"b\"\\c\n\u{7f}é/users"));
    odd.auth.gssapi.keytab = PathBuf::from("/var/lib/keytab");
    odd.auth.gssapi.service = "socks@proxy.example.org".to_owned();
    odd.auth.gssapi.protection =
        Protection::new(&[ProtectionLevel::None, ProtectionLevel::PerMessage]).unwrap();
    odd.auth.gssapi.nec = true;
    odd.dns.servers = vec!["[2001:db8::1]:53".parse().unwrap()];
    odd.guard.allow = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    odd.bind.ports = PortRange::new(1, 65_535);
    odd.bind.advertise.v6 = Some("2001:db8::7".parse().unwrap());
    odd.per_source.connections = 7;
    typed_limits::put_odd(&mut odd);
    odd.log.udp_targets = true;
    odd.log.access = Access::Path(PathBuf::from("/var/log/stdout"));
    for given in [config(""), odd] {
        assert_eq!(config(&given.to_toml()), given, "{}", given.to_toml());
    }
}

#[test]
fn every_key_of_the_gssapi_table_is_read() {
    let text = "[auth]\nmethods = [\"gssapi\", \"none\"]\n[auth.gssapi]\nkeytab = \"k/rcmd.keytab\"\n\
                service = \"rcmd@host\"\nprotection = [\"integrity\"]\nnec = true\n";
    let auth = config(text).auth;
    assert_eq!(auth.methods, [AuthMethod::Gssapi, AuthMethod::None]);
    let expected = Gssapi {
        keytab: PathBuf::from("/etc/outflow/k/rcmd.keytab"),
        service: "rcmd@host".to_owned(),
        protection: Protection::new(&[ProtectionLevel::Integrity]).unwrap(),
        nec: true,
    };
    assert_eq!(auth.gssapi, expected);
    assert_eq!(config("").auth.gssapi, Gssapi::default());
}

#[test]
fn gssapi_alone_is_no_open_proxy() {
    let text = "[server]\nlisten = [\"0.0.0.0:1\"]\n[auth]\nmethods = [\"gssapi\"";
    assert!(parse(&format!("{text}]\n")).is_ok());
    assert!(parse(&format!("{text}, \"none\"]\n")).is_err());
}

#[test]
fn every_key_of_the_schema_is_printed_and_no_other() {
    let mut full = config("");
    (full.server.user, full.auth.users) = (Some("outflow".into()), Some(PathBuf::from("/u")));
    full.admin.token_file = Some(PathBuf::from("/t"));
    let all = rules::every_key();
    (full.policy, full.groups, full.lists, full.rules) = (all.policy, all.groups, all.lists, all.rules);
    (full.rules[0].egress, full.rules[0].parent) = (Some("carrier".into()), Some("up".into()));
    full.server.takeover = Some(PathBuf::from("/t"));
    typed_limits::put_every_key(&mut full);
    full.listeners = listeners::every_key();
    full.egress = egress::every_key();
    full.parents = parents::every_key();
    full.username = super::username_table::every_key();
    let printed: toml::Table = full.to_toml().parse().unwrap();
    let schema = Schema::of(tables::all());
    assert_eq!(printed.len(), schema.tables().iter().filter(|table| !table.name.contains('.')).count());
    for table in schema.tables() {
        let name = table.name;
        let inner = |inner: &&str| schema.table_in(Some(name), inner).is_some();
        let part = |table: &toml::Table, part: &str| match &table[part] {
            toml::Value::Array(tables) => tables[0].as_table().unwrap().clone(),
            table => table.as_table().unwrap().clone(),
        };
        let printed = name.split('.').fold(printed.clone(), |table, name| part(&table, name));
        if table.named.is_some() {
            assert_eq!(printed.len(), 1);
            continue;
        }
        let mut printed: Vec<_> = printed.keys().map(String::as_str).filter(|name| !inner(name)).collect();
        let mut keys: Vec<_> = table.names().collect();
        printed.sort_unstable();
        keys.sort_unstable();
        assert_eq!(printed, keys, "[{name}]");
    }
}

/// Lines that are nearly a configuration: right and wrong names, right and wrong values.
fn line() -> impl Strategy<Value = String> {
    let all = tables::all();
    let mut keys: Vec<&str> = all.iter().flat_map(|table| table.names()).collect();
    keys.extend(["", "x.y", "\"\\n\"", "gssapi"]);
    let tables: Vec<&str> =
        all.iter().map(|table| table.name).chain(["[rule]", "[list]", "[x]", "a.b"]).collect();
    let value = prop_oneof![
        "[-+0-9._xe]{0,40}",
        "\"[ -~µ]{0,12}\"",
        "\"[0-9]{1,22} ?[a-zµ]{0,3}\"",
        "\"[0-9a-f:.\\[\\]%/]{0,30}\"",
        "\\[(\"[0-9:./]{0,20}\",? ?){0,4}\\]",
        "\\[(\"[*.@]{0,2}[a-c0-9:./ü-]{0,12}\",? ?){0,4}\\]",
        "\\{ days = \"(mon|sun-sat|x)\", hours = \"2[0-9]:00-0[0-9]:[0-6]0\", zone = \"(UTC|local|)\" \\}",
        "\\PC{0,10}",
    ];
    prop_oneof![
        1 => "\\PC{0,30}",
        2 => prop::sample::select(tables).prop_map(|name| format!("[{name}]")),
        6 => (prop::sample::select(keys), value).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

proptest! {
    /// Whatever is typed is judged, on one line for each problem, and what is taken can be printed.
    #[test]
    fn no_text_panics(lines in prop::collection::vec(line(), 0..12)) {
        match parse(&lines.join("\n")) {
            Ok(config) => prop_assert_eq!(parse(&config.to_toml()).unwrap(), config),
            Err(problems) => prop_assert_eq!(problems.to_string().lines().count(), problems.len()),
        }
    }

    /// Single values too, where the text is not filtered by TOML first.
    #[test]
    fn no_value_panics(text in "\\PC{0,40}|[0-9:.\\[\\]/%]{0,40}|[0-9]{0,22}[ a-zµ.]{0,8}") {
        let _ = value::duration(&text);
        let _ = (value::relay_address(&text), crate::config::listen_address::admin_address(&text));
        let _ = value::dns_server(&text);
        let _ = value::block(&text);
        let _ = reach::ports(&text);
        let _ = reach::advertised(&text);
        let _ = value::access(&text, Path::new("/"));
        let _ = value::choice::<Level>(&text);
        let _ = (rule_values::destination(&text), rule_values::network(&text), rule_values::ports(&text));
    }
}

#[test]
fn durations_print_as_people_write_them() {
    for (seconds, text) in
        [(604_800, "7d"), (7440, "2h 4m"), (240, "4m"), (90, "1m 30s"), (86_401, "1d 1s"), (0, "0us")]
    {
        let duration = Duration::from_secs(seconds);
        assert_eq!(value::duration_text(duration), text);
        assert!(seconds == 0 || value::duration(text) == Ok(duration), "{text}");
    }
    assert_eq!(value::duration_text(Duration::from_micros(1_500)), "1ms 500us");
    assert_eq!(value::duration_text(Duration::from_nanos(1)), "1ns");
}
