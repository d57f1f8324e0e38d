//! `[[listener]]`: what is read, what it is called, and what does not go together.

use std::path::Path;

use super::{bad_files::expect_complaints, complaints, config, parse};
use crate::config::{AuthMethod, Config, Flags, ListenerConfig, Protocol, SocketMode};

/// A listener of which every key is printed.
pub(super) fn every_key() -> Vec<ListenerConfig> {
    config(
        "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:3128\"\nprotocols = [\"http\"]\nmethods = [\"none\"]\n\
         commands = [\"connect\", \"bind\"]\nadvertise = \"203.0.113.7\"\nudp_ports = \"50000-50009\"\nfirst_byte = \"2s\"\negress = \"carrier\"\n\
         proxy_protocol = \"optional\"\nproxy_from = [\"10.0.0.0/28\"]\n\
         tls = { cert = \"/c\", key = \"/k\", client_ca = \"/a\", users_from = \"san\" }\n\
         [[egress]]\nname = \"carrier\"\naddresses = \"198.51.100.1\"\n",
    )
    .listeners
    .into_iter()
    .map(|one| ListenerConfig { mode: Some(SocketMode(0o660)), owner: Some("ann".into()), ..one })
    .collect()
}

fn names(config: &Config) -> Vec<String> {
    config.all_listeners().map(|one| one.name().to_string()).collect()
}

#[test]
fn tables_and_the_short_form_make_one_list() {
    let table = "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:3128\"\nprotocols = [\"http\", \"socks4\"]\n\
                 [[listener]]\naddress = \"[::1]:0\"\n";
    let tables = config(table);
    assert_eq!(names(&tables), ["web", "[::1]:0"], "nobody typed the default");
    assert_eq!(tables.listeners[0].protocols, [Protocol::Http, Protocol::Socks4]);
    assert_eq!(tables.listeners[1].protocols, [Protocol::Socks5]);
    let both = config(&format!("[server]\nlisten = [\"127.0.0.1:1080\"]\n{table}"));
    assert_eq!(names(&both), ["127.0.0.1:1080", "web", "[::1]:0"]);
    assert_eq!(both.listener_count(), 3);
    assert!(both.listener_table(0).is_none());
    assert_eq!(both.listener_table(1).map(|table| &*table.name), Some("web"));
    assert_eq!(names(&config(&format!("[server]\nlisten = []\n{table}"))), ["web", "[::1]:0"]);
    for config in [tables, both] {
        assert_eq!(parse(&config.to_toml()).unwrap(), config);
    }
}

/// Whoever names addresses on the command line means all that are listened on.
#[test]
fn the_flag_names_the_whole_list() {
    let text = "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:3128\"\n";
    let flags = Flags { listen: vec!["127.0.0.1:9".to_owned()], ..Flags::default() };
    let config = Config::parse(text, Path::new("f"), &flags).unwrap();
    assert_eq!(names(&config), ["127.0.0.1:9"]);
    let wrong = format!("{text}protocols = [\"https\"]\n");
    assert!(Config::parse(&wrong, Path::new("f"), &flags).is_err(), "the file is wrong all the same");
}

#[test]
fn rules_call_a_listener_by_its_name_or_its_address() {
    let rule = |called: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:1\"]\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:2\"\n\
             [[rule]]\nname = \"r\"\naction = \"allow\"\nlisteners = [{called}]\n"
        )
    };
    let read = config(&rule("\"web\", \"127.0.0.1:2\", \"127.0.0.1:1\""));
    let resolved: Vec<_> =
        read.rules[0].listeners.iter().map(|called| read.listener_named(called).unwrap()).collect();
    assert_eq!(resolved.iter().map(|name| &**name).collect::<Vec<_>>(), ["web", "web", "127.0.0.1:1"]);
    let none = "there is no listener";
    assert_eq!(
        complaints(&rule("\"wep\"")),
        [format!(
            "9: [[rule]] 1 key `listeners`: {none} \"wep\", of [server] listen or [[listener]]; did you mean \"web\"?"
        )]
    );
    assert!(complaints(&rule("\"127.0.0.1\""))[0].contains("did you mean \"127.0.0.1:1080\"?"));
    assert!(complaints(&rule("\"1080\""))[0].contains("did you mean \"127.0.0.1:1080\"?"));
}

#[test]
fn a_listener_has_an_address_and_a_name_that_no_other_has() {
    let two = |first: &str, second: &str| format!("[[listener]]\n{first}\n[[listener]]\n{second}\n");
    let (one, other) = ("address = \"127.0.0.1:1\"", "address = \"127.0.0.1:2\"");
    let of_another = "is what another listener is called: it needs a `name` of its own";
    let free = "address = \"127.0.0.1:0\"";
    expect_complaints(&[
        (
            "[[listener]]\nname = \"a\"\n",
            &["1: [[listener]] 1: needs an `address`, such as \"127.0.0.1:1080\""],
        ),
        (
            &two(&format!("{one}\nname = \"a\""), &format!("{other}\nname = \"a\"")),
            &[&format!("6: [[listener]] 2 key `name`: \"a\" {of_another}")],
        ),
        (&two(free, free), &[&format!("3: [[listener]] 2: \"127.0.0.1:0\" {of_another}")]),
        (&two(one, one), &["4: [[listener]] 2 key `address`: \"127.0.0.1:1\" is listened on twice"]),
        (
            &two(one, &format!("{other}\nname = \"127.0.0.1:3\"")),
            &["5: [[listener]] 2 key `name`: \"127.0.0.1:3\" is an address, and another than its own"],
        ),
        (
            &format!("[server]\nlisten = [\"127.0.0.1:1\"]\n[[listener]]\n{one}\n"),
            &["4: [[listener]] 1 key `address`: \"127.0.0.1:1\" is listened on twice"],
        ),
        (
            "[server]\nopen_proxy = true\nlisten = [\"127.0.0.1:1\"]\n[[listener]]\naddress = \"0.0.0.0:1\"\n",
            &["3: [server] key `listen`: \"127.0.0.1:1\" is part of \"0.0.0.0:1\": one of them is enough"],
        ),
        (
            "[server]\nopen_proxy = true\nlisten = [\"[::]:1\"]\n[[listener]]\naddress = \"127.0.0.1:1\"\n",
            &[
                "5: [[listener]] 1 key `address`: \"127.0.0.1:1\" is part of \"[::]:1\", which takes IPv4, too: one of them is enough",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nprotocols = []\n",
            &["3: [[listener]] 1 key `protocols`: is empty: it needs a protocol"],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nname = \"\"\n",
            &[
                "3: [[listener]] 1 key `name`: \"\" is no name of 1 to 64 letters, digits, \"-\", \"_\" and \".\"",
            ],
        ),
        (
            "[server]\nlisten = [\"unix:/run/outflow.sock\"]\n",
            &[
                "2: [server] key `listen`: \"unix:/run/outflow.sock\" is a unix socket: it needs a [[listener]] of its own",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:1\"\n",
            &[
                "4: [admin] key `listen`: \"127.0.0.1:1\" is taken by \"127.0.0.1:1\" of [[listener]] 1: it needs an address of its own",
            ],
        ),
    ]);
    config(&two(&format!("{free}\nname = \"a\""), free));
}

#[test]
fn a_table_that_others_reach_is_no_open_proxy_either() {
    let open = "[[listener]]\nname = \"wide\"\naddress = \"0.0.0.0:1080\"\n";
    let said = complaints(open);
    let start = "3: [[listener]] 1 key `address`: \"0.0.0.0:1080\" with method \"none\" is an open proxy";
    assert!(said.len() == 1 && said[0].starts_with(start), "{said:?}");
    for rule in ["listeners = [\"wide\"]\naction = \"deny\"", "not_listeners = \"wide\"\naction = \"allow\""]
    {
        config(&format!("{open}[[rule]]\nname = \"r\"\n{rule}\n"));
    }
    let by_address = "listeners = [\"0.0.0.0:1080\"]\naction = \"allow\"";
    assert_eq!(complaints(&format!("{open}[[rule]]\nname = \"r\"\n{by_address}\n")).len(), 1);
}

/// Whoever has a method by a listener alone has to be able to use it, as by [auth].
#[test]
fn methods_of_a_listener_need_what_those_of_auth_need() {
    let table = |keys: &str| format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{keys}\n");
    let needs = "\"password\" needs a users file: set users = \"FILE\" in [auth] or give --users FILE";
    expect_complaints(&[
        (&table("methods = [\"password\"]"), &[&format!("3: [[listener]] 1 key `methods`: {needs}")]),
        (&table("methods = []"), &["3: [[listener]] 1 key `methods`: is empty: it needs a method"]),
        (
            &table("udp_ports = \"\""),
            &[
                "3: [[listener]] 1 key `udp_ports`: \"\" is not a range of ports from 1 to 65535 such as \"40000-49999\"",
            ],
        ),
        (
            &table("commands = [\"conect\"]"),
            &[
                "3: [[listener]] 1 key `commands`: \"conect\" is none of \"connect\", \"bind\", \"udp_associate\", \"resolve\"; did you mean \"connect\"?",
            ],
        ),
    ]);
    let asked = config(&format!("[auth]\nusers = \"u\"\n{}", table("methods = [\"password\"]")));
    assert!(asked.asks(AuthMethod::Password) && !asked.asks(AuthMethod::None));
    let wide = "[[listener]]\naddress = \"0.0.0.0:1\"\nmethods = [\"password\"]\n";
    config(&format!("[auth]\nusers = \"u\"\n{wide}"));
    let open =
        format!("[auth]\nmethods = [\"password\"]\nusers = \"u\"\n{}", wide.replace("password", "none"));
    let said = complaints(&open);
    assert!(said.len() == 1 && said[0].contains("set methods = [\"password\"] here"), "{said:?}");
}

#[test]
fn whose_word_is_taken_has_to_be_said() {
    let table = |keys: &str| format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{keys}\n");
    let needs = "3: [[listener]] 1 key `proxy_protocol`: needs `proxy_from`: the balancers whose word is taken, such as [\"10.0.0.0/28\"]";
    expect_complaints(&[
        (&table("proxy_protocol = \"required\""), &[needs]),
        (&table("proxy_protocol = \"optional\""), &[needs]),
        (
            &table("proxy_from = \"10.0.0.1\""),
            &[
                "3: [[listener]] 1 key `proxy_from`: says whose word is taken, and proxy_protocol is \"off\": set it, or leave this out",
            ],
        ),
        (
            &table("proxy_protocol = \"on\"\nproxy_from = [\"10.0.0.1\"]"),
            &[
                "3: [[listener]] 1 key `proxy_protocol`: \"on\" is none of \"off\", \"optional\", \"required\"",
            ],
        ),
    ]);
    config(&table("proxy_protocol = \"required\"\nproxy_from = [\"10.0.0.1\", \"2001:db8::/32\"]"));
}

#[test]
fn a_unix_socket_has_a_file_and_no_address() {
    let unix = |keys: &str| format!("[[listener]]\naddress = \"unix:/run/a.sock\"\n{keys}\n");
    let read = config(&unix("mode = \"660\"\nowner = \"ann:staff\""));
    assert_eq!(names(&read), ["unix:/run/a.sock"]);
    assert_eq!(
        (read.listeners[0].mode, read.listeners[0].owner.as_deref()),
        (Some(SocketMode(0o660)), Some("ann:staff"))
    );
    assert_eq!(parse(&read.to_toml()).unwrap(), read);
    let by_path = "[[rule]]\nname = \"r\"\naction = \"allow\"\nlisteners = \"unix:/run/a.sock\"\n";
    config(&format!("{}{by_path}", unix("")));
    let table = |key: &str, what: &str| format!("3: [[listener]] 1 key `{key}`: {what}");
    let no_datagrams = "at a unix socket there are no datagrams: leave it out";
    let no_file = "is of the file of a unix socket, and this listener has none: leave it out";
    expect_complaints(&[
        (&unix("udp_ports = \"1-2\""), &[&table("udp_ports", no_datagrams)]),
        (&unix("advertise = \"203.0.113.7\""), &[&table("advertise", no_datagrams)]),
        (
            &unix("commands = [\"bind\"]"),
            &[&table("commands", "at a unix socket there is no address for peers and datagrams to come to")],
        ),
        (&unix("mode = \"rw\""), &[&table("mode", "\"rw\" is no mode of a file such as \"0660\"")]),
        (&unix("mode = \"1777\""), &[&table("mode", "\"1777\" is no mode of a file such as \"0660\"")]),
        (
            &unix("owner = \"a b\""),
            &[&table("owner", "\"a b\" is no owner such as \"USER\", \"USER:GROUP\" or \":GROUP\"")],
        ),
        ("[[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"0660\"\n", &[&table("mode", no_file)]),
        (
            "[[listener]]\naddress = \"unix:a.sock\"\n",
            &[
                "2: [[listener]] 1 key `address`: \"unix:a.sock\" is not an absolute path such as \"unix:/run/outflow/admin.sock\"",
            ],
        ),
        (
            &format!("{}{}", unix(""), unix("name = \"b\"")),
            &["5: [[listener]] 2 key `address`: \"unix:/run/a.sock\" is listened on twice"],
        ),
        (
            &format!("{}[admin]\nlisten = \"unix:/run/a.sock\"\n", unix("")),
            &[
                "5: [admin] key `listen`: \"unix:/run/a.sock\" is taken by \"unix:/run/a.sock\" of [[listener]] 1: it needs an address of its own",
            ],
        ),
    ]);
}

/// A rule for some networks keeps nobody out who may say that he comes from there.
#[test]
fn who_may_say_whence_he_comes_is_kept_out_by_no_network() {
    let office = "[[rule]]\nname = \"office\"\nfrom = [\"10.0.0.0/8\"]\naction = \"allow\"\n";
    let others = "[policy]\ndefault = \"allow\"\n[[rule]]\nname = \"others\"\nnot_from = [\"10.0.0.0/8\"]\naction = \"deny\"\n";
    for rules in [office, others] {
        let with = |believed: &str| {
            format!(
                "{rules}[[listener]]\naddress = \"0.0.0.0:1080\"\nproxy_protocol = \"optional\"\nproxy_from = [{believed}]\n"
            )
        };
        config(&with("\"10.0.0.7\""));
        for everybody in ["\"0.0.0.0/0\"", "\"10.0.0.7\", \"::/0\"", "\"0.0.0.0/1\", \"128.0.0.0/1\""] {
            let said = complaints(&with(everybody));
            assert!(said.len() == 1 && said[0].contains("is an open proxy"), "{said:?}");
            let named =
                said[0].contains("name the balancers in proxy_from, which takes the word of everybody");
            assert_eq!(named, rules == office, "{said:?}");
            config(&format!("[server]\nopen_proxy = true\n{}", with(everybody)));
        }
    }
}
