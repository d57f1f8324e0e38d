//! A Kerberos realm of the tests' own: a KDC on loopback, its principals, keytabs and ticket caches, all in a
//! temporary folder. Nothing of the machine's own Kerberos set-up is read or written.
//!
//! One KDC serves three realms: `OUTFLOW.TEST` has the service, `FRIEND.TEST` is trusted by it, `OTHER.TEST` is not.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::origin::V4;
use super::relay::{run_to_exit, run_with_input};
use super::skip;

/// The realm of the service.
pub(crate) const REALM: &str = "OUTFLOW.TEST";
/// A realm whose principals may come to `REALM`.
pub(crate) const FRIEND: &str = "FRIEND.TEST";
/// A realm whose principals may not.
pub(crate) const OTHER: &str = "OTHER.TEST";
/// Whoever has a ticket cache.
const USERS: [&str; 5] = ["alice", "bob", "carol/admin", "dave@FRIEND.TEST", "erin@OTHER.TEST"];
/// What Debian calls the packages.
const PACKAGES: &str = "krb5-kdc, krb5-admin-server, krb5-user";

/// How often another port is tried, should somebody take the one that was free a moment ago.
const PORTS_TRIED: usize = 5;
const KDC_READY: Duration = Duration::from_secs(10);

/// Waits for the end of its input, which comes with the end of this process, however that ends; then ends the
/// KDC and removes the folder. `$1` is the folder.
const KEEPER: &str = r#"
    trap '' INT
    krb5kdc -n -r OUTFLOW.TEST -r FRIEND.TEST -r OTHER.TEST -P "$1/kdc.pid" </dev/null >"$1/kdc.out" 2>&1 &
    kdc=$!
    read -r _
    kill -9 $kdc
    rm -rf "$1"
"#;

/// The realms, and the KDC that serves them while the value lives.
pub(crate) struct Realm {
    directory: TempDir,
    keeper: Child,
    caches: AtomicUsize,
}

impl Realm {
    /// The realm of all tests of this process, started by the first that asks. Where the programs for it lack, the
    /// test is skipped.
    pub(crate) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Realm, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match Self::missing() {
            Some(missing) => Err(missing),
            None => Ok(Self::start()),
        });
        match shared {
            Ok(realm) => Some(realm),
            Err(missing) => {
                skip::skip(test, missing);
                None
            }
        }
    }

    /// What lacks to have a realm here, if anything does.
    pub(crate) fn missing() -> Option<String> {
        let programs = ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"];
        let lacks = |name: &&str| !search_path().iter().any(|folder| folder.join(name).is_file());
        match programs.iter().find(|name| lacks(name)) {
            Some(name) => Some(format!("{name} is not installed (packages {PACKAGES})")),
            None => {
                python().is_none().then(|| "no python3 imports gssapi (package python3-gssapi)".to_owned())
            }
        }
    }

    /// Makes the realms and starts their KDC.
    pub(crate) fn start() -> Self {
        for _ in 0..PORTS_TRIED {
            let directory = TempDir::with_prefix("outflow-realm-").expect("a temporary directory");
            let port = free_port();
            write_configuration(directory.path(), port);
            create(directory.path());
            let keeper = with_environment(Command::new("sh"), directory.path())
                .args(["-c", KEEPER, "keeper"])
                .arg(directory.path())
                .stdin(Stdio::piped())
                .spawn()
                .expect("start the KDC");
            let mut realm = Self { directory, keeper, caches: AtomicUsize::new(0) };
            if realm.is_ready(port) {
                for user in USERS {
                    kinit(realm.directory.path(), user, &realm.tickets(user), &["-l", "1d"]);
                }
                return realm;
            }
        }
        panic!("no KDC after {PORTS_TRIED} attempts");
    }

    fn is_ready(&mut self, port: u16) -> bool {
        let started = Instant::now();
        while started.elapsed() < KDC_READY {
            let said = std::fs::read_to_string(self.path("kdc.out")).unwrap_or_default();
            if said.contains("starting...") {
                return TcpStream::connect(SocketAddr::new(V4, port)).is_ok();
            }
            if said.contains("rror") {
                eprintln!("another port for the KDC: {said}");
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the KDC says: {}", std::fs::read_to_string(self.path("kdc.out")).unwrap_or_default());
    }

    /// A file of the realm's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The keytab of `rcmd/localhost@OUTFLOW.TEST`.
    pub(crate) fn keytab(&self) -> PathBuf {
        self.path("rcmd.keytab")
    }

    /// A keytab with another service's key alone, `host/localhost`.
    pub(crate) fn other_keytab(&self) -> PathBuf {
        self.path("host.keytab")
    }

    /// What a process needs in its environment to know these realms and no others; replay caches stay in the folder.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        environment(self.directory.path())
    }

    /// The environment of a server that allows clocks to differ by this much, rather than by five minutes.
    pub(crate) fn strict_environment(&self, clock_skew: Duration) -> Vec<(&'static str, OsString)> {
        let strict = self.path(&format!("strict-{}.conf", self.next()));
        let usual = std::fs::read_to_string(self.path("krb5.conf")).expect("krb5.conf");
        let skew = format!("[libdefaults]\n    clockskew = {}\n", clock_skew.as_secs());
        std::fs::write(&strict, usual.replacen("[libdefaults]\n", &skew, 1)).expect("write a krb5.conf");
        let others = self.environment().into_iter().filter(|(name, _)| *name != "KRB5_CONFIG");
        others.chain([("KRB5_CONFIG", strict.into())]).collect()
    }

    /// The ticket cache of `alice`, `bob`, `carol/admin`, `dave@FRIEND.TEST` or `erin@OTHER.TEST`: good for a day.
    pub(crate) fn tickets(&self, user: &str) -> PathBuf {
        self.path(&cache_name(user))
    }

    /// A ticket cache of its own, whose tickets end after `life`.
    pub(crate) fn short_lived(&self, user: &str, life: Duration) -> PathBuf {
        let cache = self.path(&format!("short-{}.cc", self.next()));
        kinit(self.directory.path(), user, &cache, &["-l", &format!("{}s", life.as_secs())]);
        cache
    }

    /// A ticket cache that holds nothing.
    pub(crate) fn no_tickets(&self) -> PathBuf {
        self.path(&format!("none-{}.cc", self.next()))
    }

    fn next(&self) -> usize {
        self.caches.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        // The keeper ends with its input, and the KDC with it.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A python3 that can `import gssapi`: the first of the PATH, then the system's own.
pub(crate) fn python() -> Option<&'static str> {
    static FOUND: OnceLock<Option<&'static str>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        ["python3", "/usr/bin/python3"].into_iter().find(|python| {
            let mut command = Command::new(python);
            command.args(["-c", "import gssapi"]).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        })
    })
}

/// The PATH, and where Debian has the programs of administrators.
fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect()
}

/// A port at which nobody is, for UDP and TCP alike.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind((V4, 0)).expect("bind");
        let addr = udp.local_addr().expect("local address");
        if TcpListener::bind(addr).is_ok() {
            return addr.port();
        }
    }
}

fn write_configuration(folder: &Path, port: u16) {
    let realms = |of: &dyn Fn(&str) -> String| -> String {
        [REALM, FRIEND, OTHER].map(|name| format!("    {name} = {{\n{}    }}\n", of(name))).concat()
    };
    let client = realms(&|_| format!("        kdc = 127.0.0.1:{port}\n"));
    let log = folder.join("kdc.log").display().to_string();
    let text = format!(
        "[libdefaults]\n    default_realm = {REALM}\n    dns_lookup_realm = false\n    dns_lookup_kdc = false\n    \
         dns_canonicalize_hostname = false\n    rdns = false\n    permitted_enctypes = aes256-cts\n\
         [domain_realm]\n    localhost = {REALM}\n[realms]\n{client}\
         [logging]\n    kdc = FILE:{log}\n    admin_server = FILE:{log}\n    default = FILE:{log}\n\
         [capaths]\n    {FRIEND} = {{\n        {REALM} = .\n    }}\n"
    );
    std::fs::write(folder.join("krb5.conf"), text).expect("write krb5.conf");
    let at = folder.display();
    let server = realms(&|name| {
        format!(
            "        database_name = {at}/{name}.db\n        key_stash_file = {at}/{name}.stash\n        \
             max_life = 1d\n        supported_enctypes = aes256-cts:normal\n        master_key_type = aes256-cts\n        \
             kdc_listen = 127.0.0.1:{port}\n        kdc_tcp_listen = 127.0.0.1:{port}\n"
        )
    });
    let text = format!(
        "[kdcdefaults]\n    kdc_listen = 127.0.0.1:{port}\n    kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n{server}"
    );
    std::fs::write(folder.join("kdc.conf"), text).expect("write kdc.conf");
}

/// The databases, their principals, and the keytabs.
fn create(folder: &Path) {
    let trust = format!("addprinc -pw trusted krbtgt/{REALM}@{FRIEND}\n");
    let at = folder.display();
    let add = |user: &str| format!("addprinc -randkey {user}\nktadd -q -k {at}/users.keytab {user}\n");
    let service =
        |name: &str, file: &str| format!("addprinc -randkey {name}\nktadd -q -k {at}/{file} {name}\n");
    let own =
        [add("alice"), add("bob"), add("carol/admin"), service("rcmd/localhost", "rcmd.keytab")].concat();
    let script = own + &service("host/localhost", "host.keytab") + &trust;
    administer(folder, REALM, &script);
    administer(folder, FRIEND, &(add("dave") + &trust));
    administer(folder, OTHER, &(add("erin") + &service("rcmd/localhost", "foreign.keytab")));
}

fn administer(folder: &Path, realm: &str, script: &str) {
    let mut create = with_environment(Command::new("kdb5_util"), folder);
    create.args(["-r", realm, "create", "-s", "-P", "master"]);
    succeed(run_to_exit(create), "kdb5_util");
    let mut kadmin = with_environment(Command::new("kadmin.local"), folder);
    // By a name of its own: it would look for that of the user, who may have none.
    kadmin.args(["-r", realm, "-p", "root/admin"]);
    succeed(run_with_input(kadmin, script.as_bytes()), "kadmin.local");
}

fn succeed(output: std::process::Output, what: &str) {
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&said));
}

fn kinit(folder: &Path, user: &str, cache: &Path, options: &[&str]) {
    let mut kinit = with_environment(Command::new("kinit"), folder);
    kinit.arg("-k").arg("-t").arg(folder.join("users.keytab")).arg("-c").arg(cache).args(options).arg(user);
    succeed(run_to_exit(kinit), "kinit");
}

fn cache_name(user: &str) -> String {
    format!("{}.cc", user.replace(['/', '@'], "-"))
}

fn environment(folder: &Path) -> Vec<(&'static str, OsString)> {
    vec![
        ("KRB5_CONFIG", folder.join("krb5.conf").into()),
        ("KRB5_KDC_PROFILE", folder.join("kdc.conf").into()),
        ("KRB5RCACHEDIR", folder.into()),
        ("TMPDIR", folder.into()),
        // No cache but the one that a test names.
        ("KRB5CCNAME", folder.join("nobody.cc").into()),
    ]
}

fn with_environment(mut command: Command, folder: &Path) -> Command {
    let path = std::env::join_paths(search_path()).expect("the PATH");
    command.envs(environment(folder)).env("PATH", path);
    command
}
