//! `outflow doctor` before networks that lack something: what it finds, that the lines which it names mend it, and that the
//! kernel behaves as it says.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::api::Api;
use crate::support::crowd::SourceBook;
use crate::support::netns::{self, Far};
use crate::support::process::run_to_exit;
use crate::support::relay::{Builder, binary};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

/// What a command says of a configuration, whose files stand where they do on purpose.
fn said(command: &str, config: &str, arguments: &[&str]) -> Output {
    let config = format!("{config}\n[sandbox]\nlandlock = true\n");
    let directory = TempDir::with_prefix("outflow-test-").expect("a temporary directory");
    let path = directory.path().join("outflow.toml");
    std::fs::write(&path, config).expect("write the configuration");
    let mut doctor = Command::new(binary());
    doctor.arg(command).arg("--config").arg(&path).args(arguments);
    run_to_exit(doctor)
}

/// Exit code and findings.
fn diagnosis(config: &str, arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = said("doctor", config, &[arguments, &["--json"]].concat());
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().expect("an exit code"), told["findings"].as_array().expect("findings").clone())
}

fn text<'a>(finding: &'a Value, key: &str) -> &'a str {
    finding[key].as_str().expect("text")
}

/// Severity and check of each finding.
fn told(findings: &[Value]) -> Vec<(&str, &str)> {
    let pair = |one| (text(one, "severity"), text(one, "check"));
    findings.iter().map(pair).collect()
}

/// Does what a finding of this check says that mends it.
fn mend(findings: &[Value], check: &str) {
    let lines = findings.iter().filter(|one| one["check"] == check).flat_map(|one| {
        one["mend"].as_array().expect("lines").iter().map(|line| line.as_str().expect("a line").to_owned())
    });
    let lines: Vec<String> = lines.collect();
    assert!(!lines.is_empty(), "nothing mends {check}: {findings:?}");
    lines.iter().for_each(|line| netns::shell(line));
}

/// Settings by what every machine has: tests are about one thing each.
const PLAIN: &str = "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse";

/// A connection from an address of this namespace, for a second and a half.
fn reaches(source: &str, target: SocketAddr) -> bool {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).expect("a socket");
    socket.set_freebind_v4(true).expect("IP_FREEBIND");
    let source: IpAddr = source.parse().expect("a source");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("bind");
    let connected = socket.connect_timeout(&target.into(), Duration::from_millis(1500)).is_ok();
    drop::<TcpStream>(socket.into());
    connected
}

/// Every line that it names is carried out as it stands, and then nothing is left to find.
#[test]
fn the_lines_that_are_named_mend_what_is_found() {
    netns::run(&test_name!(), "", || {
        let far = Far::open();
        far.lead_here(&["198.51.100.1", "203.0.113.0/28", "2600:c::/64"]);
        let config = "[[egress]]\nname = \"area\"\nports = \"20000-20999\"\n\
                      addresses = [\"198.51.100.1\", \"203.0.113.0/28\", \"2600:c::/64\"]\n";
        let probes = ["--probe", "45.1.2.3:9", "--probe", "[2600::5]:9"];
        let (code, found) = diagnosis(config, &[]);
        assert_eq!(
            (code, told(&found).as_slice()),
            (
                1,
                &[("error", "port_range"), ("error", "addresses"), ("error", "anyip"), ("hint", "time_wait")]
                    [..]
            )
        );
        for check in ["port_range", "addresses", "anyip", "time_wait"] {
            mend(&found, check);
        }
        assert_eq!(diagnosis(config, &[]), (0, vec![]));
        // Refused is reached: nobody listens there.
        let (code, found) = diagnosis(config, &probes);
        assert!(code == 1 && found.iter().all(|one| one["check"] == "probe"), "{found:?}");
        assert!(found.iter().all(|one| one["what"].as_str().is_some_and(|what| what.contains("refused"))));
        let book = far.inside(SourceBook::open);
        let there = [format!("45.1.2.3:{}", book.port), format!("[2600::5]:{}", book.port)];
        assert_eq!(diagnosis(config, &["--probe", &there[0], "--probe", &there[1]]), (0, vec![]));
    });
}

/// The kernel passes over such a slice without a word: so it is refused wherever a configuration is taken.
#[test]
fn ports_outside_of_the_kernels_range_are_refused_by_check_and_by_run() {
    netns::run(&test_name!(), "echo 40000 40999 > /proc/sys/net/ipv4/ip_local_port_range", || {
        let config = |ports: &str| {
            format!(
                "[server]\nlisten = [\"127.0.0.1:0\"]\n[[egress]]\nname = \"area\"\naddresses = [\"127.0.0.9\"]\nports = \"{ports}\"\n"
            )
        };
        for (ports, right) in
            [("1025-1034", false), ("40900-41000", false), ("39999-40099", false), ("40000-40999", true)]
        {
            let checked = said("check", &config(ports), &[]);
            assert_eq!(
                checked.status.success(),
                right,
                "{ports}: {}",
                String::from_utf8_lossy(&checked.stderr)
            );
            if right {
                continue;
            }
            let run = said("run", &config(ports), &[]);
            for output in [checked, run] {
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    !output.status.success() && words.contains("outflow.toml:6: [[egress]] 1 key `ports`: "),
                    "{words}"
                );
                assert!(words.contains("ip_local_port_range, which is 40000 to 40999"), "{words}");
            }
        }
    });
}

#[test]
fn ports_outside_of_the_kernels_range_are_refused_by_a_reload() {
    netns::run(&test_name!(), "echo 40000 40999 > /proc/sys/net/ipv4/ip_local_port_range", || {
        let relay = Relay::builder().set("[egress]", "name", "\"area\"");
        let relay = relay.set("[egress]", "addresses", "[\"127.0.0.9\"]");
        let mut relay = relay.set("[egress]", "ports", "\"40000-40099\"").start();
        relay.write(&[("[egress]", "ports", "\"1025-1034\"")]);
        relay.signal("HUP");
        relay.logged(&["key `ports`", "1025 to 1034 is not within net.ipv4.ip_local_port_range"]);
        // What was in effect still is.
        let origin = Origin::echo();
        let mut client = Client::through(relay.addr(), origin.addr);
        client.send(b"still there");
        client.expect(b"still there");
    });
}

/// An interface that is not the machine's own way out, and a strict filter there: what is answered is dropped.
#[test]
fn answers_that_the_filter_drops_are_found_and_mended() {
    let setup = format!(
        "{PLAIN}; ip link add other type veth peer name peer; ip addr add 192.0.2.9/24 dev other; ip link set other up; ip link set peer up"
    );
    netns::run(&test_name!(), &setup, || {
        let far = Far::open();
        let book = far.inside(SourceBook::open);
        let target = format!("45.1.2.3:{}", book.port);
        netns::shell(
            "set -e; ip route replace default via 192.0.2.1 dev other; ip route add default via 25.0.0.2 dev near metric 9
            echo 1 > /proc/sys/net/ipv4/conf/near/rp_filter",
        );
        let config = format!(
            "[[egress]]\nname = \"area\"\naddresses = [\"{}\"]\ninterface = \"near\"\n",
            netns::NEAR_V4
        );
        let (code, found) = diagnosis(&config, &[]);
        assert_eq!((code, told(&found).as_slice()), (1, &[("error", "rp_filter")][..]));
        let probed = diagnosis(&config, &["--probe", &target]).1;
        assert_eq!(told(&probed), [("error", "rp_filter"), ("error", "probe")], "it is true");
        mend(&found, "rp_filter");
        assert_eq!(diagnosis(&config, &["--probe", &target]), (0, vec![]));
    });
}

#[test]
fn an_interface_or_a_way_that_is_not_there_is_found() {
    netns::run(&test_name!(), PLAIN, || {
        let config =
            |keys: &str| format!("[[egress]]\nname = \"area\"\naddresses = [\"198.51.100.1\"]\n{keys}\n");
        netns::shell("ip addr add 198.51.100.1/32 dev lo");
        let (code, found) = diagnosis(&config("interface = \"nosuch0\""), &[]);
        assert_eq!((code, found[0]["check"].as_str()), (1, Some("interface")));
        let (code, found) = diagnosis(&config(""), &[]);
        assert_eq!((code, told(&found).as_slice()), (0, &[("warning", "route")][..]));
        assert_eq!(diagnosis(&config(""), &["--strict"]).0, 1);
        let far = Far::open();
        far.lead_here(&["198.51.100.1"]);
        assert_eq!(diagnosis(&config(""), &["--strict"]), (0, vec![]));
        // A mark chooses a table in which there is no way.
        netns::shell("ip rule add fwmark 7 lookup 7; ip route add unreachable default table 7");
        let (_, found) = diagnosis(&config("fwmark = 7"), &[]);
        assert_eq!(told(&found), [("warning", "route")]);
    });
}

/// Nothing but `doctor` said so: sessions failed one by one.
#[test]
fn an_interface_that_is_not_there_is_told_at_the_start_and_as_it_comes_and_goes() {
    netns::run(&test_name!(), PLAIN, || {
        let pool = [("name", "\"nat\""), ("addresses", "[\"127.0.0.9\"]"), ("interface", "\"near0\"")];
        let set = |relay: Builder, (key, value)| relay.set("[egress]", key, value);
        let led = Relay::builder().rules(&["name = \"all\"\naction = \"allow\"\negress = \"nat\""]);
        let (mut relay, api) = Api::serve(pool.into_iter().fold(led, set));
        let lacks = || api.get("/api/v1/egress")["pools"][0]["missing_interface"].clone();
        relay.logged(&["WARN", "key `interface`: there is no interface \"near0\" here"]);
        wait::until_true("the pool knows of it", PATIENCE, || lacks() == "near0");
        let told = api.get("/api/v1/explain?to=8.8.8.8:443");
        assert_eq!(told["egress"]["missing_interface"], "near0", "{told}");
        netns::shell("ip link add near0 type veth peer name near1");
        relay.logged(&["INFO", "the interface of a pool is there again", "near0"]);
        wait::until_true("the pool knows of it", PATIENCE, || lacks().is_null());
        netns::shell("ip link del near0");
        relay.logged(&["WARN", "its interface is gone", "near0"]);
        relay.reload(&[("log", "level", "\"debug\"")]);
        let told = relay.log().matches("there is no interface \"near0\" here").count();
        assert_eq!(told, 2, "a reload says it anew: {}", relay.log());
    });
}

/// What `neighbours` rests on: of addresses that a route alone delivers ARP is answered, and neighbour discovery is not.
#[test]
fn neighbours_are_answered_as_it_says() {
    netns::run(&test_name!(), PLAIN, || {
        let far = Far::open();
        let book = far.inside(SourceBook::open);
        netns::shell(
            "set -e; ip addr add 26.0.0.1/24 dev near; ip -6 addr add 2600:e::1/64 dev near nodad
            ip route add local 26.0.0.16/28 dev lo; ip -6 route add local 2600:e::ff00/120 dev lo",
        );
        far.shell(
            "set -e; ip addr add 26.0.0.2/24 dev far0; ip -6 addr add 2600:e::2/64 dev far0 nodad
            ip route add 26.0.0.0/24 dev far0 table local; ip -6 route add 2600:e::/64 dev far0 table local",
        );
        let (v4, v6) =
            (SocketAddr::new([26, 0, 0, 2].into(), book.port), format!("[2600:e::2]:{}", book.port));
        let v6: SocketAddr = v6.parse().expect("a target");
        let config = |address: &str| format!("[[egress]]\nname = \"area\"\naddresses = [\"{address}\"]\n");
        let of = |address: &str| diagnosis(&config(address), &[]).1;
        assert!(reaches("26.0.0.17", v4) && of("26.0.0.16/28").is_empty());
        netns::shell("echo 1 > /proc/sys/net/ipv4/conf/near/arp_ignore");
        // From another address, for far away the first one is known by now.
        assert!(!reaches("26.0.0.18", v4));
        assert_eq!(told(&of("26.0.0.16/28")), [("error", "neighbours")]);
        assert!(!reaches("2600:e::ff01", v6));
        assert_eq!(told(&of("2600:e::ff00/120")), [("warning", "neighbours")]);
        assert_eq!(told(&of("2600:e::ff02")), [("warning", "neighbours")]);
        netns::shell(
            "set -e; echo 1 > /proc/sys/net/ipv6/conf/near/proxy_ndp; ip -6 neigh add proxy 2600:e::ff02 dev near
            echo 0 > /proc/sys/net/ipv6/neigh/near/proxy_delay",
        );
        // Nothing is forwarded, and so nobody is answered for.
        assert!(!reaches("2600:e::ff02", v6));
        assert_eq!(told(&of("2600:e::ff02")), [("warning", "neighbours")]);
        netns::shell("echo 1 > /proc/sys/net/ipv6/conf/near/forwarding");
        far.shell("ip -6 neigh flush dev far0");
        assert!(reaches("2600:e::ff02", v6) && of("2600:e::ff02").is_empty(), "{:?}", of("2600:e::ff02"));
    });
}

/// A pool's own network is looked at where its sockets are opened.
#[test]
fn a_pool_in_another_network_is_looked_at_there() {
    netns::run(&test_name!(), PLAIN, || {
        let far = Far::open();
        let gateway = far.gateway();
        gateway.machine.shell("echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse; echo 20000 20999 > /proc/sys/net/ipv4/ip_local_port_range");
        let config = format!(
            "[[egress]]\nname = \"area\"\naddresses = [\"198.51.100.1\"]\nports = \"20000-20099\"\nnetns = \"{}\"\n",
            gateway.machine.path()
        );
        // Files stay open beside a network of another process, and that is told each time.
        let looked = |config: &str| {
            let (code, found) = diagnosis(config, &[]);
            let is_of_files = |one: &Value| one["check"] == "sandbox";
            (code, found.into_iter().filter(|one| !is_of_files(one)).collect::<Vec<Value>>())
        };
        assert!(
            diagnosis(&config, &[]).1.iter().any(|one| text(one, "what").contains("is of another process"))
        );
        let (code, found) = looked(&config);
        assert_eq!((code, told(&found).as_slice()), (1, &[("error", "addresses")][..]));
        mend(&found, "addresses");
        assert_eq!(looked(&config), (0, vec![]));
        // Of the server's own network nothing leaves: it is the pool's that counts.
        netns::shell("echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse");
        assert_eq!(looked(&config), (0, vec![]));
        gateway.machine.shell("echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse");
        let (code, found) = looked(&config);
        assert_eq!((code, told(&found).as_slice()), (0, &[("hint", "time_wait")][..]));
        assert_eq!(text(&found[0], "subject"), "egress area");
        mend(&found, "time_wait");
        assert_eq!(looked(&config), (0, vec![]));
        let gone = config.replace(&gateway.machine.path(), "/nowhere/at/all");
        let (code, found) = looked(&gone);
        assert_eq!((code, told(&found).as_slice()), (1, &[("error", "netns")][..]));
        assert!(
            text(&found[0], "what").starts_with("there is no network namespace /nowhere/at/all"),
            "{found:?}"
        );
    });
}

/// A parent with this server, through which all goes.
fn through(server: &str, more: &str) -> String {
    format!(
        "[dns]\nhosts = true\n[[parent]]\nname = \"up\"\nservers = [\"{server}\"]\n\
         [[rule]]\nname = \"all\"\naction = \"allow\"\nparent = \"up\"\n{more}"
    )
}

/// Behind `through`: that all of it leaves from a pool.
const POOL: &str = "egress = \"area\"\n[[egress]]\nname = \"area\"\naddresses = [\"127.0.0.9\"]\n";

/// A port that nobody has.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

/// A parent was said nothing of, and a target had to be an address.
#[test]
fn servers_of_parents_are_reached_logged_in_to_and_asked_for_targets() {
    netns::run(&test_name!(), PLAIN, || {
        let parent = Relay::builder().users(&[("ann", b"wonderland")]).set("dns", "hosts", "true").start();
        let (origin, place, nobody) = (Origin::echo(), parent.addr(), nobody());
        let right = format!("socks5h://ann:wonderland@{place}");
        let (there, by_name) = (origin.addr.to_string(), format!("localhost:{}", origin.addr.port()));
        let probes = ["--probe", &there, "--probe", &by_name];
        assert_eq!(diagnosis(&through(&right, ""), &probes), (0, vec![]));
        assert_eq!(diagnosis(&through(&right, POOL), &probes), (0, vec![]));
        let left: Vec<_> = parent.records(6).iter().map(|one| one["client"].to_string()).collect();
        assert!(left.iter().any(|client| client.starts_with("\"127.0.0.9:")), "{left:?}");
        let wrong = [
            (
                format!("socks5h://ann:no@{place}"),
                "parent_login",
                "it refuses our login",
                "socks5h://USER:PASSWORD@",
            ),
            (format!("socks5h://{place}"), "parent_login", "it accepts no method", "USER:PASSWORD@"),
            (format!("http://{there}"), "parent_answer", "was asked for", "the scheme that is spoken at"),
            (format!("socks5h://{nobody}"), "parent_reach", "Connection refused", "another of `servers`"),
            ("socks5h://nowhere.invalid".to_owned(), "resolve", "has no address", "an address in its place"),
        ];
        for (server, check, what, mend) in wrong {
            let (code, found) = diagnosis(&through(&server, ""), &probes[..2]);
            assert_eq!((code, told(&found).as_slice()), (1, &[("error", check)][..]), "{server}");
            assert!(
                found[0]["subject"] == "parent up" && text(&found[0], "what").contains(what),
                "{found:?}"
            );
            assert!(found[0]["mend"][0].as_str().is_some_and(|line| line.contains(mend)), "{found:?}");
        }
        // What it says of the target may be so.
        let (code, found) = diagnosis(&through(&right, ""), &["--probe", &nobody.to_string()]);
        assert_eq!((code, told(&found).as_slice()), (0, &[("warning", "parent_target")][..]));
        assert!(text(&found[0], "what").ends_with("it replied 5"), "{found:?}");
        assert!(!format!("{found:?}").contains("wonderland"), "a password is shown nowhere");
        // What the first of a chain says of the second is told of the target no more.
        let chain = through(&right, "").replace("[\"", "[{ url = [\"");
        let chain = chain.replace("\"]\n", &format!("\", \"socks5h://{nobody}\"] }}]\n"));
        let (code, found) = diagnosis(&chain, &probes[..2]);
        assert_eq!((code, told(&found).as_slice()), (1, &[("error", "parent_answer")][..]), "{found:?}");
        let what =
            format!("socks5h://{place} does not connect to socks5h://{nobody} behind it: it replied 5");
        assert_eq!(text(&found[0], "what"), what);
    });
}

/// What the kernel knows is said, and no packet leaves.
#[test]
fn without_a_target_ways_to_servers_of_parents_are_asked_of_the_kernel_alone() {
    netns::run(&test_name!(), PLAIN, || {
        let route = [("error", "parent_route")];
        let (code, found) = diagnosis(&through("socks5h://198.51.100.9", ""), &[]);
        assert_eq!((code, told(&found).as_slice()), (1, &route[..]));
        let book = TcpListener::bind("127.0.0.1:0").expect("a server");
        let there = format!("socks5h://{}", book.local_addr().expect("an address"));
        assert_eq!(diagnosis(&through(&there, ""), &[]), (0, vec![]));
        book.set_nonblocking(true).expect("not to wait");
        assert!(book.accept().is_err(), "nobody came");
        let (_, found) = diagnosis(&through("socks5h://[2001:db8::9]", POOL), &[]);
        let lacks =
            |one: &Value| one["check"] == "parent_route" && text(one, "what").contains("no IPv6 address");
        assert!(found.iter().any(lacks), "{found:?}");
        let (_, found) = diagnosis(&through("socks5h://198.51.100.9", POOL), &[]);
        let no_way = |one: &Value| one["check"] == "route" && text(one, "what").contains("to 198.51.100.9");
        assert!(found.iter().any(no_way), "{found:?}");
        // A name is asked of nobody.
        assert_eq!(diagnosis(&through("socks5h://nowhere.invalid", ""), &[]), (0, vec![]));
    });
}

#[test]
fn without_pools_the_server_alone_is_looked_at() {
    netns::run(&test_name!(), "echo 64 > /proc/sys/net/core/somaxconn", || {
        let config = "[server]\nbacklog = 4096\n";
        let output = said("doctor", config, &[]);
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words}");
        assert!(
            words.contains("warning server: backlog is 4096, and net.core.somaxconn cuts it to 64"),
            "{words}"
        );
        assert!(words.ends_with("0 errors, 1 warning, 0 hints\n"), "{words}");
        mend(&diagnosis(config, &[]).1, "backlog");
        assert_eq!(diagnosis(config, &[]), (0, vec![]));
        let bad = said("doctor", "[server]\nbacklock = 1\n", &[]);
        assert_eq!(bad.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&bad.stderr).contains("did you mean `backlog`"));
    });
}

/// Folders that the server's user cannot write, or that others can; and why the sandbox leaves files open.
#[test]
fn folders_and_what_the_sandbox_leaves_open_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let place = TempDir::with_prefix("outflow-test-").expect("a folder");
    let shared = place.path().join("shared");
    std::fs::create_dir(&shared).expect("a folder");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    mode(place.path(), 0o755);
    mode(&shared, 0o777);
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nuser = \"4001234567:4001234567\"\ntakeover = \"{0}/takeover\"\nstate = \"{0}/none\"\n\
         [log]\naccess = \"{0}/shared/access\"\n[dns]\nservers = [\"127.0.0.1\"]\n",
        place.path().display()
    );
    let (_, found) = diagnosis(&config, &[]);
    let folders: Vec<(&str, String)> = found
        .iter()
        .filter(|one| one["check"] == "folders")
        .map(|one| {
            (text(one, "severity"), text(one, "what").replace(&place.path().display().to_string(), ""))
        })
        .collect();
    let cannot = "user 4001234567:4001234567 cannot make files in ";
    for (severity, what) in [
        ("error", format!("{cannot} ([server] takeover)")),
        ("error", format!("{cannot}/none ([server] state): it is not there")),
        (
            "warning",
            "everybody may put other files in the place of the server's in /shared ([log] access)".to_owned(),
        ),
    ] {
        assert!(folders.contains(&(severity, what.clone())), "{what} in {folders:?}");
    }
    assert_eq!(folders.len(), 3, "{folders:?}");
    // A configuration in a folder of everybody's is why files stay open.
    let file = std::env::temp_dir().join(format!("outflow-doctor-{}.toml", std::process::id()));
    std::fs::write(&file, "[server]\nlisten = [\"127.0.0.1:0\"]\n").expect("write");
    let output = run_to_exit({
        let mut doctor = Command::new(binary());
        doctor.arg("doctor").arg("--config").arg(&file);
        doctor
    });
    std::fs::remove_file(&file).expect("remove it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("hint") && said.contains("the sandbox leaves all files open"), "{said}");
}
