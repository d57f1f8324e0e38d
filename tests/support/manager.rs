//! A real systemd in namespaces of its own: with the units of packaging/, as this machine's version of it is.
//!
//! It is the first process of its own world of processes, files, cgroups and addresses: nothing that it does shows outside, and
//! all of it ends with the one process that is started here, after `LIFE_MAX` at the latest. It takes root to make one.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::unistd::geteuid;
use tempfile::TempDir;

use super::relay::{binary, run_to_exit};
use super::wait::{self, PATIENCE};

/// For so long one may run; then all that it started is killed with it.
const LIFE_MAX: Duration = Duration::from_secs(180);

/// How long the service may take to come to a state: it may have to be missed first, and started anew.
const LONG: Duration = Duration::from_secs(30);

/// What it begins with. $1: the units, $2: the program, $3: the configuration.
const INIT: &str = r#"
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
cp -a "$1" /run/units
mkdir /run/systemd /run/etc
touch /run/program
mount --bind "$2" /run/program
for file in passwd group shadow gshadow nsswitch.conf hosts resolv.conf localtime ld.so.cache; do
    cp -aL /etc/$file /run/etc/ 2>/dev/null || true
done
mkdir /run/etc/outflow
cp "$3" /run/etc/outflow/outflow.toml
mount --bind /run/etc /etc
mount -t tmpfs tmpfs /var
mkdir -p /var/lib /var/log /var/tmp
systemd-sysusers /run/units/sysusers.conf
ip link set lo up
export SYSTEMD_UNIT_PATH=/run/units container=test
exec "$4" --system --unit=default.target --log-target=console
"#;

/// Units that others stand on, and that do nothing here.
const TARGETS: [&str; 6] = ["default", "basic", "sysinit", "shutdown", "sockets", "multi-user"];

/// The systemd that runs.
pub(crate) struct Systemd {
    /// What ends all of it.
    child: Child,
    /// Its first process, as this world counts.
    pid: u32,
    cgroup: PathBuf,
    _folder: TempDir,
}

impl Systemd {
    /// Why this machine does not permit one, if so.
    pub(crate) fn lacking() -> Option<String> {
        if !geteuid().is_root() {
            return Some("a systemd of its own takes root".to_owned());
        }
        if program().is_none() {
            return Some("there is no systemd (package systemd)".to_owned());
        }
        let tried = Command::new("unshare")
            .args(["--pid", "--mount", "--fork", "--cgroup", "--net", "true"])
            .stdin(Stdio::null())
            .output();
        match (tried.is_ok_and(|tried| tried.status.success()), own_cgroup()) {
            (true, Some(_)) => None,
            _ => Some("namespaces with a hierarchy of cgroups v2 are not permitted here".to_owned()),
        }
    }

    /// Starts one with the units of packaging/systemd, this configuration, and these lines in a drop-in of the service.
    pub(crate) fn start(configuration: &str, service: &str) -> Systemd {
        let folder = TempDir::with_prefix("outflow-systemd-").expect("a folder");
        let units = folder.path().join("units");
        write_units(&units, service);
        let file = folder.path().join("outflow.toml");
        fs::write(&file, configuration).expect("write the configuration");
        let cgroup =
            own_cgroup().expect("a cgroup").join(format!("outflow-test-{}-{}", std::process::id(), nth()));
        fs::create_dir(&cgroup).expect("a cgroup");
        let enter = format!("echo $$ >'{}/cgroup.procs' && exec \"$@\"", cgroup.display());
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new("timeout")
            .args(["--kill-after=1", &LIFE_MAX.as_secs().to_string(), "sh", "-c", &enter, "sh", "unshare"])
            .args(["--pid", "--mount", "--fork", "--cgroup", "--ipc", "--uts", "--net", "--kill-child=KILL"])
            .args(["sh", "-c", INIT, "sh"])
            .args([&units, Path::new(binary()), &file, &program().expect("systemd")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("start unshare");
        let mut systemd = Systemd { child, pid: 0, cgroup, _folder: folder };
        systemd.pid = wait::until("the first process", PATIENCE, || systemd.first_process());
        let runs = |output: &Output| {
            let said = String::from_utf8_lossy(&output.stdout);
            said.starts_with("running") || said.starts_with("degraded")
        };
        wait::until_true("systemd", PATIENCE, || runs(&systemd.systemctl(&["is-system-running"])));
        systemd
    }

    /// The process that became systemd: the child of unshare, which is the child of timeout.
    fn first_process(&self) -> Option<u32> {
        let child_of = |pid: u32| {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        };
        let first = child_of(child_of(self.child.id())?)?;
        let name = fs::read_to_string(format!("/proc/{first}/comm")).ok()?;
        (name.trim() == "systemd").then_some(first)
    }

    /// A command in there.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--all"]).args(words);
        command
    }

    /// What systemctl comes to.
    pub(crate) fn systemctl(&self, words: &[&str]) -> Output {
        run_to_exit(self.command(&[&["systemctl", "--no-pager"], words].concat()))
    }

    /// Has systemctl do something, and insists on its success.
    #[track_caller]
    pub(crate) fn does(&self, words: &[&str]) {
        let output = self.systemctl(words);
        assert!(output.status.success(), "systemctl {words:?}: {output:?}\n{}\n{}", self.said(), self.log());
    }

    /// A property of the service.
    pub(crate) fn property(&self, name: &str) -> String {
        let output = self.systemctl(&["show", "outflow.service", "--value", "--property", name]);
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Waits until a property of the service is this.
    #[track_caller]
    pub(crate) fn awaits(&self, name: &str, value: &str) {
        let began = Instant::now();
        while self.property(name) != value {
            if began.elapsed() > LONG {
                let status = String::from_utf8(self.systemctl(&["status", "outflow.service"]).stdout);
                let (now, said, log) = (self.property(name), self.said(), self.log());
                panic!("{name} is {now} and not {value}\n{}\n{said}\n{log}", status.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends the main process of the service a signal by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        self.does(&["kill", "--kill-who=main", &format!("--signal={name}"), "outflow.service"]);
    }

    /// Writes the configuration that the next reload or start reads.
    pub(crate) fn configure(&self, configuration: &str) {
        fs::write(self.path("/etc/outflow/outflow.toml"), configuration).expect("write the configuration");
    }

    /// A path in there.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// What the service wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("/run/outflow.log")).unwrap_or_default()
    }

    /// What systemd itself wrote.
    fn said(&self) -> String {
        fs::read_to_string(self._folder.path().join("log")).unwrap_or_default()
    }

    /// Does something in its network.
    pub(crate) fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.pid)).expect("its network");
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&network, CloneFlags::CLONE_NEWNET).expect("enter its network");
                body()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Whether somebody listens there.
    pub(crate) fn listens(&self, at: SocketAddr) -> bool {
        self.inside(|| std::net::TcpStream::connect(at).is_ok())
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if self.pid != 0 {
            // The first process of a world takes all of it along.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(self.pid as i32),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Cgroups go once nobody is in them.
        wait::until_true("the cgroups are empty", PATIENCE, || remove(&self.cgroup));
    }
}

fn write_units(units: &Path, service: &str) {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    fs::create_dir(units).expect("a folder");
    for target in TARGETS {
        fs::write(units.join(format!("{target}.target")), "[Unit]\nDefaultDependencies=no\n").expect("write");
    }
    for socket in socket_units() {
        fs::copy(packaged.join(&socket), units.join(&socket)).expect("copy");
    }
    fs::copy(packaged.join("sysusers.d/outflow.conf"), units.join("sysusers.conf")).expect("copy");
    for name in ["outflow.service", "outflow@.service"] {
        let unit = fs::read_to_string(packaged.join(name)).expect("the service");
        fs::write(units.join(name), unit.replace("/usr/bin/outflow", "/run/program")).expect("write");
        let drop_ins = units.join(format!("{name}.d"));
        fs::create_dir(&drop_ins).expect("a folder");
        if version() < 254 {
            let old = packaged.join("outflow.service.d/systemd-252.conf");
            fs::copy(old, drop_ins.join("10-old.conf")).expect("copy");
        }
        let ours =
            format!("[Service]\nStandardOutput=append:/run/outflow.log\nStandardError=inherit\n{service}");
        fs::write(drop_ins.join("20-test.conf"), ours).expect("write");
    }
}

/// The names of the socket units in packaging/systemd.
pub(crate) fn socket_units() -> Vec<String> {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    let entries =
        fs::read_dir(packaged).expect("the units").map(|entry| entry.expect("an entry").file_name());
    let names = entries.map(|name| name.into_string().expect("UTF-8"));
    names.filter(|name| name.ends_with(".socket")).collect()
}

/// The version of systemd here.
fn version() -> u32 {
    let mut command = Command::new(program().expect("systemd"));
    command.arg("--version");
    let said = String::from_utf8(run_to_exit(command).stdout).expect("UTF-8");
    said.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a version")
}

fn program() -> Option<PathBuf> {
    let places = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
    places.into_iter().map(PathBuf::from).find(|path| path.exists())
}

/// The folder of our own cgroup in the hierarchy of version 2.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let at = mounts.find(|fields| fields.get(2) == Some(&"cgroup2"))?[1].to_owned();
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(&at).join(own))
}

/// Removes a cgroup with those in it; whether it is gone.
fn remove(cgroup: &Path) -> bool {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}

/// A number that no other of this process has.
fn nth() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
