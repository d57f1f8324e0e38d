//! Comparisons of servers with a manner: whoever dies, lies or is not there, the others are measured, and
//! nothing that was started is left.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::sched_getaffinity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Names the test that a process belongs to, in its environment.
const TAG: &str = "OUTFLOW_LOAD_TEST";
/// What a server is told in its environment.
const PORT: &str = "TEST_SERVER_PORT";
const MANNER: &str = "TEST_SERVER_MANNER";
/// The warm-up has 200 sessions; a server with a manner shows it after so many, within the first round.
const GOOD_SESSIONS: u32 = 300;
/// Longer than any of these runs takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A comparison with a folder of its own.
struct Bench {
    folder: TempDir,
    tag: String,
}

impl Bench {
    /// Servers by name and manner, at most two words of a shell before the server itself.
    fn new(test: &str, servers: &[(&str, &str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let this = env::current_exe().expect("the test binary has a path");
        let (server_cpu, load_cpu) = cpus();
        let mut plan = format!("[load]\nrounds = 2\nserver_cpu = {server_cpu}\nload_cpu = {load_cpu}\n");
        for (name, manner, before) in servers {
            let script =
                format!("{before} exec '{}' --exact compare::server --ignored --nocapture", this.display());
            plan.push_str(&format!(
                "[[server]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", {script:?}]\nstartup = 60\n\
                 env = {{ {PORT} = \"{{port}}\", {MANNER} = \"{manner}\" }}\n"
            ));
        }
        plan.push_str(
            "[[server]]\nname = \"nowhere\"\ncommand = [\"no-such-server\", \"{port}\"]\ninstall = \"look for it\"\n\
             [[scenario]]\nname = \"connect\"\ntitle = \"Sessions\"\norigin = \"page\"\ncurve = \"session\"\n\
             args = [\"connect\", \"--count\", \"300\", \"--in-flight\", \"4\", \"--patience\", \"4\"]\n\
             figures = [{ field = \"cpu_us_per_session\", better = \"lower\", title = \"CPU\", unit = \"us\" }]\n",
        );
        fs::write(folder.path().join("plan.toml"), plan).expect("the plan is written");
        Self { folder, tag: format!("{test}.{}", std::process::id()) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outflow-load"));
        command.args(["compare", "plan.toml", "--output", "out"]).current_dir(self.folder.path());
        command.env(TAG, &self.tag).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    fn run(&self) -> Output {
        self.command().output().expect("the comparison runs")
    }

    /// Starts it and waits until `line` is said on standard error.
    fn start_until(&self, line: &str) -> (Child, BufReader<impl Read>) {
        let mut child =
            self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut text = String::new();
        while !text.contains(line) {
            let more = said.read_line(&mut text).expect("text");
            assert!(more > 0, "it ended before it said {line:?}:\n{text}");
        }
        (child, said)
    }

    fn results(&self) -> Value {
        let text = fs::read_to_string(self.out("compare.json")).expect("results");
        serde_json::from_str(&text).expect("JSON")
    }

    fn out(&self, file: &str) -> PathBuf {
        self.folder.path().join("out").join(file)
    }

    /// Nothing lives that carries this test's tag.
    fn assert_nothing_is_left(&self) {
        let left = tagged(&self.tag);
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// The first and the last CPU that this process may use.
fn cpus() -> (usize, usize) {
    let ours = sched_getaffinity(Pid::from_raw(0)).expect("an affinity");
    let all = || (0..nix::sched::CpuSet::count()).filter(|&cpu| ours.is_set(cpu).unwrap_or(false));
    (all().next().expect("a CPU"), all().next_back().expect("a CPU"))
}

/// Processes with this tag in their environment: command lines.
fn tagged(tag: &str) -> Vec<String> {
    let words = |folder: PathBuf| fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
    tagged_folders(tag).into_iter().map(|folder| words(folder).replace('\0', " ")).collect()
}

/// Processes with this tag in their environment: their folders in /proc.
fn tagged_folders(tag: &str) -> Vec<PathBuf> {
    let wanted = format!("{TAG}={tag}");
    let carries = |folder: &PathBuf| {
        fs::read(folder.join("environ")).is_ok_and(|environment| {
            environment.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes())
        })
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    processes.filter(carries).collect()
}

fn outcome<'a>(results: &'a Value, server: &str) -> &'a Value {
    let entries = results["scenarios"][0]["entries"].as_array().expect("entries");
    entries.iter().find(|entry| entry["server"] == server).expect("every server has an entry")
}

#[test]
fn whoever_fails_the_others_are_measured() {
    let bench = Bench::new(
        "whoever_fails",
        &[
            ("good", "good", ""),
            ("dying", "die", ""),
            ("lying", "lie", ""),
            ("refusing", "refuse", ""),
            ("hanging", "hang", ""),
            ("unborn", "good", "echo no licence >&2; exit 7;"),
        ],
    );
    let output = bench.run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    bench.assert_nothing_is_left();

    let results = bench.results();
    let good = outcome(&results, "good");
    assert_eq!(good["outcome"], "measured", "{said}");
    assert_eq!(good["runs"].as_array().map(Vec::len), Some(2));
    assert!(good["runs"][1]["record"]["cpu_us_per_session"].as_f64() > Some(0.0));
    assert!(good["runs"][1]["curve"].as_array().is_some_and(|rows| rows.len() > 10));
    assert_eq!(outcome(&results, "nowhere")["outcome"], "absent");
    for (server, round, reason) in [
        ("dying", 1, "exit code 3"),
        ("lying", 1, "the data differ from what was sent"),
        ("refusing", 1, "REP 0x05"),
        ("hanging", 1, "nothing moved for 4 s"),
        ("unborn", 0, "ended before it listened (exit code 7)"),
    ] {
        let failed = &outcome(&results, server)["outcome"]["failed"];
        assert_eq!(failed["round"], round, "{server}: {failed}");
        assert!(failed["reason"].as_str().is_some_and(|text| text.contains(reason)), "{server}: {failed}");
        assert!(said.contains(&format!("{server}: connect, ")), "{server}: {said}");
    }
    assert!(said.contains("its log: no licence"), "{said}");

    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("* good") && table.contains("nowhere is absent; to get it: look for it"),
        "{table}"
    );
    assert!(table.contains("lying            FAILED in round 1: the data differ"), "{table}");
    let report = fs::read_to_string(bench.out("report.html")).expect("a report");
    assert!(["good", "dying", "nowhere", "look for it"].iter().all(|text| report.contains(text)));
}

#[test]
fn a_report_is_made_again_from_the_results() {
    let bench = Bench::new("again", &[("good", "good", "")]);
    let output = bench.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = fs::read(bench.out("report.html")).expect("a report");
    fs::remove_file(bench.out("report.html")).expect("it is there");
    let again = Command::new(env!("CARGO_BIN_EXE_outflow-load"))
        .args(["compare", "--report-only", "out"])
        .current_dir(bench.folder.path())
        .output()
        .expect("it runs");
    assert!(again.status.success());
    assert_eq!(again.stdout, output.stdout);
    assert!(fs::read(bench.out("report.html")).expect("a report") == report, "the reports differ");
}

/// Servers that fork into sessions of their own, and that do not mind TERM.
const STUBBORN: &str = "trap '' TERM; setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' &";

#[test]
fn stubborn_servers_and_their_daemons_are_ended() {
    let bench = Bench::new("stubborn", &[("stubborn", "good", STUBBORN), ("good", "good", "")]);
    let output = bench.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bench.assert_nothing_is_left();
}

#[test]
fn a_signal_ends_everything() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let bench = Bench::new("signal", &[("stubborn", "good", STUBBORN), ("good", "good", "")]);
        let (mut child, mut said) = bench.start_until("connect, round 1, stubborn");
        assert!(tagged(&bench.tag).len() > 3, "it has started a few");
        kill(Pid::from_raw(child.id() as i32), signal).expect("it lives");
        let mut rest = String::new();
        said.read_to_string(&mut rest).expect("text");
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{rest}");
        assert!(rest.contains(&format!("ended by {signal:?}")), "{rest}");
        bench.assert_nothing_is_left();
    }
}

/// The guardian among the processes with this tag.
fn guardian(tag: &str) -> PathBuf {
    let is_it = |folder: &PathBuf| {
        let words = fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
        words.split('\0').nth(1) == Some("guard-comparison")
    };
    tagged_folders(tag).into_iter().find(is_it).expect("a guardian stands")
}

#[test]
fn nothing_outlives_a_comparison_that_is_killed() {
    let bench = Bench::new("killed", &[("stubborn", "good", STUBBORN), ("other", "good", "")]);
    let (mut child, _said) = bench.start_until("connect, round 1, stubborn");
    assert!(tagged(&bench.tag).len() > 3, "it has started a few");

    let guardian = guardian(&bench.tag);
    let held = fs::read_dir(guardian.join("fd")).expect("it lives").flatten();
    let mut held: Vec<_> = held.map(|entry| entry.file_name().into_string().expect("a number")).collect();
    held.sort();
    assert_eq!(held, ["0", "1", "2"]);
    let stat = fs::read_to_string(guardian.join("stat")).expect("it lives");
    let session = stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(3));
    assert_eq!(session, guardian.file_name().and_then(|name| name.to_str()), "a session of its own");

    child.kill().expect("it lives");
    child.wait().expect("it ends");
    let until = Instant::now() + PATIENCE;
    while !tagged(&bench.tag).is_empty() {
        assert!(Instant::now() < until, "left behind: {:?}", tagged(&bench.tag));
        thread::yield_now();
    }
}

#[test]
fn a_plan_that_is_wrong_starts_nothing() {
    let bench = Bench::new("wrong", &[("good", "good", "")]);
    let path = bench.folder.path().join("plan.toml");
    let plan = fs::read_to_string(&path).expect("the plan");
    fs::write(&path, plan.replace("origin = ", "orgin = ")).expect("it is written");
    let output = bench.run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let line = plan.lines().position(|line| line.starts_with("origin = ")).expect("it is there") + 1;
    let expected = format!("plan.toml:{line}: key `orgin`: no such key here; the nearest is `origin`");
    assert!(said.contains(&expected), "{said}");
    assert!(!bench.out("").exists(), "nothing was begun");
}

/// A relay of a few lines. It does CONNECT to IPv4 addresses, well until it does not.
#[test]
#[ignore = "a server for other tests, which run it as a process"]
fn server() {
    let port = env::var(PORT).expect("a port").parse().expect("a number");
    let manner: &'static str = env::var(MANNER).expect("a manner").leak();
    let served = Arc::new(AtomicU32::new(0));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    for client in listener.incoming().flatten() {
        let served = Arc::clone(&served);
        // A client that leaves is no matter of the server's.
        thread::spawn(move || drop(serve(client, manner, &served)));
    }
}

fn serve(mut client: TcpStream, manner: &str, served: &AtomicU32) -> io::Result<()> {
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting)?;
    client.write_all(&[5, 0])?;
    let mut request = [0; 10];
    client.read_exact(&mut request)?;
    let bad = served.fetch_add(1, Ordering::Relaxed) >= GOOD_SESSIONS;
    if bad && manner == "refuse" {
        return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    if bad && manner == "die" {
        std::process::exit(3);
    }
    let ip = Ipv4Addr::new(request[4], request[5], request[6], request[7]);
    let port = u16::from_be_bytes([request[8], request[9]]);
    let mut target = TcpStream::connect(SocketAddr::new(ip.into(), port))?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
    let (mut from, mut to) = (client.try_clone()?, target.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write).and(copied)
    });
    if bad && manner == "hang" {
        thread::park();
    }
    let mut buffer = [0; 4096];
    loop {
        let count = target.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        buffer[0] ^= u8::from(bad && manner == "lie");
        client.write_all(&buffer[..count])?;
    }
}
