//! The server as a child process: configured, started, watched, ended.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};
use serde_json::Value;
use tempfile::TempDir;

use super::DnsServer;
pub(crate) use super::engine::Engine;
use super::process::{collect, read_lines};
pub(crate) use super::process::{run_to_exit, run_with_input};
use super::tables::{self, Tables};
use super::users;
use super::wait::{self, PATIENCE};

/// A server that is yet to be started. Where nothing else is said: one worker that is not pinned, method
/// none, 127.0.0.1 at a port of the kernel's choice, loopback targets allowed, access records in a file.
pub(crate) struct Builder {
    directory: TempDir,
    tables: Tables,
    listen: Vec<String>,
    arguments: Vec<String>,
    prefix: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    program: PathBuf,
    allow_private: bool,
    stderr: Option<OwnedFd>,
    records_on_stdout: bool,
}

impl Builder {
    fn new() -> Self {
        let directory = TempDir::with_prefix("outflow-test-").expect("a temporary directory");
        let access = directory.path().join("access.jsonl");
        let builder = Self {
            directory,
            tables: Tables::new(),
            listen: vec!["127.0.0.1:0".to_owned()],
            arguments: Vec::new(),
            prefix: Vec::new(),
            environment: Vec::new(),
            program: binary().into(),
            allow_private: true,
            stderr: None,
            records_on_stdout: false,
        };
        // No test asks a name server of this machine by itself, and no server makes a call that the filter has not.
        let builder = builder.workers(1).set("server", "pin", "false").set("dns", "dns64", "\"off\"");
        let builder = builder.set("sandbox", "seccomp", "\"kill\"").set("sandbox", "landlock", "true");
        builder.set("log", "access", &quoted(access.to_str().expect("UTF-8")))
    }

    /// Sets a key of a table; `value` is written as TOML. The last word on a key wins.
    pub(crate) fn set(mut self, table: &str, key: &str, value: &str) -> Self {
        tables::put(&mut self.tables, table, key, Some(value));
        self
    }

    /// Has these rules, each as the keys of its table, one a line.
    pub(crate) fn rules(mut self, rules: &[&str]) -> Self {
        tables::put_all(&mut self.tables, "rule", rules);
        self
    }

    /// Has these limits, each as the keys of its table, one a line.
    pub(crate) fn limits(mut self, limits: &[&str]) -> Self {
        tables::put_all(&mut self.tables, "limit", limits);
        self
    }

    /// Has these listeners and no other, each as the keys of its table, one a line.
    pub(crate) fn listeners(mut self, listeners: &[&str]) -> Self {
        tables::put_all(&mut self.tables, "listener", listeners);
        self.listen(&[])
    }

    /// Sets one of the `[timeouts]`, in milliseconds.
    pub(crate) fn timeout(self, key: &str, millis: u64) -> Self {
        self.set("timeouts", key, &quoted(&format!("{millis}ms")))
    }

    pub(crate) fn engine(self, engine: Engine) -> Self {
        self.set("server", "relay", &quoted(engine.name()))
    }

    pub(crate) fn workers(self, workers: usize) -> Self {
        self.set("server", "workers", &workers.to_string())
    }

    /// Listens here instead of on 127.0.0.1.
    pub(crate) fn listen(mut self, addresses: &[&str]) -> Self {
        self.listen = addresses.iter().map(|a| a.to_string()).collect();
        self
    }

    /// Asks this name server, and neither the hosts file nor any other.
    pub(crate) fn dns(self, server: &DnsServer) -> Self {
        self.set("dns", "servers", &format!("[{}]", quoted(&server.addr.to_string())))
            .set("dns", "hosts", "false")
    }

    /// Demands a password; the users are hashed with argon2id at its least cost.
    pub(crate) fn users(self, users: &[(&str, &[u8])]) -> Self {
        let hashed: Vec<_> =
            users.iter().map(|(name, password)| (name.to_string(), users::argon2id(password))).collect();
        self.hashed_users(&hashed)
    }

    /// Demands a password; `NAME`, `HASH` pairs as they stand in the users file.
    pub(crate) fn hashed_users(self, users: &[(String, String)]) -> Self {
        let path = users::write_file(self.directory.path(), users);
        self.set("auth", "methods", "[\"password\"]").set(
            "auth",
            "users",
            &quoted(path.to_str().expect("UTF-8")),
        )
    }

    /// Leaves the refusal of special-purpose addresses in force.
    pub(crate) fn guarded(mut self) -> Self {
        self.allow_private = false;
        self
    }

    /// Keeps what is used of quotas among this server's files.
    pub(crate) fn keeping(self) -> Self {
        self.set("server", "state", "\".\"")
    }

    /// One more argument on the command line.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts with this RLIMIT_NOFILE, written as prlimit(1) takes it: `SOFT:HARD` or one number for both.
    pub(crate) fn nofile(self, limit: &str) -> Self {
        self.under(&["prlimit", &format!("--nofile={limit}")])
    }

    /// Starts through another command that becomes the server, so that its process is the server's: the
    /// last one said is the first to run.
    pub(crate) fn under(mut self, command: &[&str]) -> Self {
        self.prefix.splice(0..0, command.iter().map(|word| word.to_string()));
        self
    }

    /// The kernel refuses it these calls; the rules are those of refuse.py.
    pub(crate) fn refusing(self, rules: &[&str]) -> Self {
        let mut command = vec!["python3", "-c", include_str!("refuse.py")];
        command.extend(rules);
        command.push("--");
        self.under(&command)
    }

    /// Variables in the server's environment, beside those of this process; the last word on one wins.
    pub(crate) fn environment(mut self, variables: Vec<(&'static str, OsString)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Starts this executable, a copy of the server's.
    pub(crate) fn program(mut self, path: PathBuf) -> Self {
        self.program = path;
        self
    }

    /// Gives the server this as standard error; its log is not collected then.
    pub(crate) fn stderr(mut self, sink: impl Into<OwnedFd>) -> Self {
        self.stderr = Some(sink.into());
        self
    }

    /// Has access records written to standard output, and the ready line looked for in the log.
    pub(crate) fn records_on_stdout(mut self) -> Self {
        self.records_on_stdout = true;
        self.set("log", "access", "\"stdout\"")
    }

    /// The directory that holds this server's files; gone with the server.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the server and waits for its ready line.
    pub(crate) fn start(self) -> Relay {
        let mut child = self.command().spawn().expect("start the server");
        let log = child.stderr.take().map_or_else(Arc::default, collect);
        let lines = read_lines(child.stdout.take().expect("stdout"));
        let mut relay = Relay {
            child,
            status: None,
            ready: String::new(),
            addrs: Vec::new(),
            access: self.directory.path().join("access.jsonl"),
            log,
            lines,
            tables: self.tables,
            directory: self.directory,
        };
        relay.ready = match self.records_on_stdout {
            true => wait::until("a ready line in the log", PATIENCE, || {
                let log = relay.log();
                log.lines().find(|line| line.contains("listening on ")).map(str::to_owned)
            }),
            false => relay.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("no ready line: {e}")),
        };
        relay.addrs = listening(&relay.ready);
        relay
    }

    /// Has `check` look at the configuration; its exit status and output.
    pub(crate) fn check(self) -> Output {
        let config = self.write_configuration();
        let mut command = self.launcher();
        command.arg("check").arg("--config").arg(&config);
        run_to_exit(command)
    }

    /// Starts a server that is expected to end by itself, and gives its exit status and output.
    pub(crate) fn run_to_exit(self) -> Output {
        run_to_exit(self.command())
    }

    fn write_configuration(&self) -> PathBuf {
        tables::write(self.directory.path(), &self.tables)
    }

    /// The program behind what it starts through, in its environment.
    fn launcher(&self) -> Command {
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn command(&self) -> Command {
        let config = self.write_configuration();
        let mut command = self.launcher();
        command.arg("--config").arg(&config);
        for address in &self.listen {
            command.args(["--listen", address]);
        }
        if self.allow_private {
            command.arg("--allow-private");
        }
        command.args(&self.arguments);
        let stderr = self.stderr.as_ref().map(|sink| sink.try_clone().expect("a descriptor"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(stderr.map_or_else(Stdio::piped, Stdio::from));
        command
    }
}

/// A running server; killed when dropped.
pub(crate) struct Relay {
    child: Child,
    status: Option<ExitStatus>,
    /// The line that said it was ready.
    pub(crate) ready: String,
    addrs: Vec<SocketAddr>,
    access: PathBuf,
    log: Arc<Mutex<String>>,
    lines: mpsc::Receiver<String>,
    tables: Tables,
    directory: TempDir,
}

impl Relay {
    /// A server to configure.
    pub(crate) fn builder() -> Builder {
        Builder::new()
    }

    /// A server with nothing configured.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// The first listening address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// Every listening address, in the order of the ready line.
    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name without SIG, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        // The child is not reaped before wait_exit, so its number cannot have passed to another process.
        let line = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &line]).status().expect("run kill");
        assert!(status.success(), "{line}");
    }

    /// Sets keys of the file that it was started with, and says so to nobody.
    pub(crate) fn write(&mut self, keys: &[(&str, &str, &str)]) {
        keys.iter().for_each(|(table, key, value)| tables::put(&mut self.tables, table, key, Some(value)));
        // As a whole, for it may be read at any time.
        let next = TempDir::new_in(self.directory.path()).expect("a temporary directory");
        let written = tables::write(next.path(), &self.tables);
        std::fs::rename(written, self.directory.path().join("outflow.toml"))
            .expect("rename the configuration");
    }

    /// Has the next file with these rules in place of those that there are.
    pub(crate) fn put_rules(&mut self, rules: &[&str]) {
        tables::put_all(&mut self.tables, "rule", rules);
    }

    /// Has the next file with these limits in place of those that there are.
    pub(crate) fn put_limits(&mut self, limits: &[&str]) {
        tables::put_all(&mut self.tables, "limit", limits);
    }

    /// Has the next file with these listeners in place of those that there are.
    pub(crate) fn put_listeners(&mut self, listeners: &[&str]) {
        tables::put_all(&mut self.tables, "listener", listeners);
    }

    /// Has the next file without a key.
    pub(crate) fn forget(&mut self, table: &str, key: &str) {
        tables::put(&mut self.tables, table, key, None);
    }

    /// Sets keys of the file that it was started with, and waits until it has been read anew by every worker.
    pub(crate) fn reload(&mut self, keys: &[(&str, &str, &str)]) {
        self.write(keys);
        let times = |relay: &Relay| relay.log().matches("the configuration was read anew").count();
        let before = times(self);
        self.signal("HUP");
        wait::until_true("the configuration is read anew", PATIENCE, || times(self) > before);
    }

    /// Waits for the process to end; gives its exit code, or none if a signal ended it.
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> Option<i32> {
        let child = &mut self.child;
        let status =
            wait::until("the server's exit", limit, || child.try_wait().expect("wait for the server"));
        self.status = Some(status);
        // The reader lets go of the log once it has read the end.
        wait::until_true("the rest of the log", limit, || Arc::strong_count(&self.log) == 1);
        status.code()
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for the server").is_none()
    }

    /// Waits until `n` access records are written, insists that there are no more, and parses them.
    pub(crate) fn records(&self, n: usize) -> Vec<Value> {
        let what = format!("{n} access records");
        let records = wait::until(&what, PATIENCE, || Some(self.records_now()).filter(|r| r.len() >= n));
        assert_eq!(records.len(), n, "{records:#?}");
        records
    }

    /// Waits for the only access record.
    pub(crate) fn record(&self) -> Value {
        self.records(1).remove(0)
    }

    /// Waits for the record of the only session that was relayed; probes of the listener leave records too.
    pub(crate) fn relayed_record(&self) -> Value {
        let relayed = || self.records_now().into_iter().find(|record| record["reply"] == 0);
        wait::until("the record of the relayed session", PATIENCE, relayed)
    }

    /// The access records that are complete by now; each line must be one JSON object.
    pub(crate) fn records_now(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.access).unwrap_or_default();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert!(value.is_object(), "{line}");
                value
            })
            .collect()
    }

    /// The access log as written.
    pub(crate) fn access_text(&self) -> String {
        std::fs::read_to_string(&self.access).unwrap_or_default()
    }

    /// What the server has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Lines that the server has written to standard output after the ready line.
    pub(crate) fn further_output(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Where the access records of a server in its usual configuration stand.
    pub(crate) fn access_path(&self) -> &Path {
        &self.access
    }

    /// Waits for a line of the log that holds all of these words, and gives it.
    pub(crate) fn logged(&self, words: &[&str]) -> String {
        wait::until(&format!("{words:?} in the log"), PATIENCE, || {
            let log = self.log();
            let complete = &log[..log.rfind('\n').unwrap_or_default()];
            complete.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }

    /// How many file descriptors the process holds.
    pub(crate) fn fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("list the descriptors").count()
    }

    /// CPU time of the process so far, user and system, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("read stat");
        let (_, fields) = stat.rsplit_once(')').expect("the name in brackets");
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).map(|f| f.parse::<u64>().expect("ticks")).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).expect("sysconf").expect("CLK_TCK");
        ticks as f64 / per_second as f64
    }

    /// Changes RLIMIT_NOFILE of the running process, written as prlimit(1) takes it.
    pub(crate) fn set_nofile(&self, limit: &str) {
        let status = Command::new("prlimit")
            .args([format!("--pid={}", self.pid()), format!("--nofile={limit}")])
            .status()
            .expect("run prlimit");
        assert!(status.success(), "prlimit --nofile={limit}");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!(
                "{}\n---- access records\n{}---- log\n{}----",
                self.ready,
                self.access_text(),
                self.log()
            );
        }
    }
}

/// The server's executable.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_outflow")
}

/// Lets this process hold as many sockets as the machine allows it.
pub(crate) fn raise_own_nofile() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("setrlimit");
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The addresses in a ready line.
fn listening(ready: &str) -> Vec<SocketAddr> {
    let (_, rest) = ready.split_once("listening on ").expect("a ready line");
    let list = rest.split(';').next().expect("the list of addresses");
    let tcp = list.split(", ").filter(|one| !one.starts_with("unix:"));
    tcp.map(|a| a.parse().unwrap_or_else(|e| panic!("{e}: {a:?} in {ready:?}"))).collect()
}
