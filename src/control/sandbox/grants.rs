//! Which files the server may open once it runs: those that the configuration names, and those of the system that it needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::files::{FileUse, NamedFile, is_of_process, named_files};
use crate::config::{AuthMethod, Config};
use crate::sys::files::Stamp;
use crate::sys::landlock::{FileAccess, FileGrant, resolved};

/// Folders that hold what is others', too: of a file in one of these, that file alone is granted, and not another that takes its place.
const SHARED: [&str; 22] = [
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/usr/local/etc",
    "/var",
    "/var/lib",
    "/var/run",
    "/var/tmp",
    "/var/spool",
];
/// Those of them in which the server makes nothing but sockets: a file that it writes there has to be there already.
const CLOSED: [&str; 13] = [
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/usr",
    "/usr/local",
    "/var",
    "/var/run",
];
/// Files that the C library and its kin read in /etc.
const OF_ETC: [&str; 16] = [
    "resolv.conf",
    "hosts",
    "host.conf",
    "gai.conf",
    "nsswitch.conf",
    "passwd",
    "group",
    "services",
    "protocols",
    "localtime",
    "ld.so.cache",
    "ld.so.conf",
    "krb5.conf",
    "krb5.conf.d",
    "gss",
    "machine-id",
];
/// What is read of the system beside it: libraries that are loaded when they are first needed, time zones, what the kernel tells.
const OF_SYSTEM: [&str; 7] = ["/usr", "/lib", "/lib64", "/nix/store", "/proc", "/sys", "/dev/urandom"];
/// The name servers of the system.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Devices that are written, too.
const DEVICES: [&str; 2] = ["/dev/null", "/dev/zero"];
/// Where the Kerberos library keeps what it has seen, if the environment says nothing else.
const REPLAY_CACHE: &str = "/var/tmp";

/// What decides which files are granted.
pub(super) struct Scene<'a> {
    pub(super) config: &'a Config,
    /// The configuration's own file.
    pub(super) file: Option<&'a Path>,
    /// Nothing but Landlock keeps the server from the files of others.
    pub(super) is_root: bool,
}

/// Why files are not confined, whatever the kernel has.
pub(super) fn obstacle(scene: &Scene) -> Option<String> {
    let namespaces = scene.config.egress.iter().filter_map(|pool| pool.netns.as_ref());
    let path = namespaces.into_iter().find(|path| is_of_process(path));
    let of_process =
        path.map(|path| format!("{} is of another process, which Landlock keeps to itself", path.display()));
    of_process.or_else(|| {
        // Whoever asks for it knows what it takes, and whoever does not is to miss nothing.
        let asked = scene.config.places.is_typed(("sandbox", None), "landlock");
        let lost = (!asked).then(|| unfollowed(scene)).flatten()?;
        Some(format!("{} is in a folder that is not the server's alone", lost.display()))
    })
}

/// A file that would not be found again once another has taken its place, as editors and `outflow user` have it.
fn unfollowed(scene: &Scene) -> Option<PathBuf> {
    let Scene { config, file, is_root } = scene;
    let etc = Path::new("/etc");
    let is_lost = |path: &Path| {
        path.parent().is_some_and(|folder| is_shared(folder) && (*is_root || resolved(folder) != etc))
    };
    let is_read_in_vain = |path: &Path| is_lost(path) || is_lost(&resolved(path));
    let named = named_files(config).into_iter().filter(|file| match file.used {
        FileUse::Read | FileUse::ReadAlways | FileUse::Replace => is_read_in_vain(&file.path),
        FileUse::Append => {
            let alone = FileGrant { path: file.path.clone(), access: FileAccess::Append };
            beside(&file.path, FileAccess::Append).contains(&alone)
        }
        FileUse::Listen | FileUse::Own => false,
    });
    let servers = Path::new(RESOLV_CONF);
    let asked = (*is_root && config.dns.servers.is_empty() && is_read_in_vain(servers)).then_some(servers);
    let own = file.filter(|file| is_read_in_vain(file));
    own.map(Path::to_owned).or_else(|| named.map(|file| file.path).next()).or(asked.map(Path::to_owned))
}

/// All that is granted.
pub(super) fn grants(scene: &Scene) -> Vec<FileGrant> {
    let mut grants = Vec::new();
    let mut grant = |path: &Path, access| grants.push(FileGrant { path: path.to_owned(), access });
    OF_SYSTEM.iter().for_each(|path| grant(Path::new(path), FileAccess::Read));
    DEVICES.iter().for_each(|path| grant(Path::new(path), FileAccess::Device));
    let etc = Path::new("/etc");
    match scene.is_root {
        // Others' secrets there would be open to it.
        true => OF_ETC.iter().for_each(|name| grant(&etc.join(name), FileAccess::Read)),
        // Files there are replaced by others, and modes keep what is secret.
        false => grant(etc, FileAccess::Read),
    }
    // Where those are links to, such as /run/systemd/resolve.
    for path in OF_ETC.iter().map(|name| resolved(&etc.join(name))) {
        read(&path).into_iter().for_each(|found| grant(&found.path, found.access));
    }
    if let Ok(program) = std::env::current_exe() {
        grant(&program, FileAccess::Read);
    }
    // Where the environment has libraries and time zones looked for.
    let zone = std::env::var("TZ").unwrap_or_default();
    let zone = Path::new(zone.trim_start_matches(':'));
    if zone.is_absolute() {
        read(zone).into_iter().for_each(|found| grant(&found.path, found.access));
    }
    let folders = ["LD_LIBRARY_PATH", "TZDIR"].iter().flat_map(|name| listed(name));
    folders.for_each(|folder| grant(&folder, FileAccess::Read));
    if scene.config.asks(AuthMethod::Gssapi) {
        grants.extend(of_kerberos());
    }
    grants.extend(scene.file.map(read).unwrap_or_default());
    grants.extend(named_files(scene.config).iter().flat_map(of_file));
    grants
}

/// The paths that a variable of the environment lists.
fn listed(name: &str) -> Vec<PathBuf> {
    let paths: Vec<_> = std::env::var_os(name).iter().flat_map(std::env::split_paths).collect();
    paths.into_iter().filter(|path| path.is_absolute()).collect()
}

/// What the Kerberos library reads and writes, as its environment says.
fn of_kerberos() -> Vec<FileGrant> {
    let configurations = ["KRB5_CONFIG", "KRB5_KDC_PROFILE", "GSS_MECH_CONFIG"];
    let mut grants: Vec<_> =
        configurations.iter().flat_map(|name| listed(name)).flat_map(|path| read(&path)).collect();
    // "TYPE:PATH", of which there may be one of the two.
    let cache = std::env::var_os("KRB5RCACHENAME").map(|name| {
        match name.to_str().and_then(|name| name.split_once(':')) {
            Some((_, path)) => OsString::from(path),
            None => name,
        }
    });
    let folder = ["KRB5RCACHEDIR", "TMPDIR"].iter().find_map(std::env::var_os);
    let folder = folder.map_or_else(|| PathBuf::from(REPLAY_CACHE), PathBuf::from);
    let caches = cache.iter().map(Path::new).filter_map(Path::parent).chain([folder.as_path()]);
    grants.extend(caches.map(|path| FileGrant { path: path.to_owned(), access: FileAccess::Replace }));
    grants
}

/// What a file of the configuration takes.
fn of_file(file: &NamedFile) -> Vec<FileGrant> {
    let path = &file.path;
    match file.used {
        FileUse::Read | FileUse::ReadAlways => read(path),
        FileUse::Append => [read(path), beside(path, FileAccess::Append)].concat(),
        FileUse::Replace => beside(path, FileAccess::Replace),
        FileUse::Listen => beside(path, FileAccess::Listen),
        FileUse::Own => vec![FileGrant { path: path.clone(), access: FileAccess::Replace }],
    }
}

/// Reads a file, and whatever stands at its path later, where its folder is for it and its like.
fn read(path: &Path) -> Vec<FileGrant> {
    let grant = |path: PathBuf| FileGrant { path, access: FileAccess::Read };
    let places = [path.to_owned(), resolved(path)];
    let folders = places.iter().filter_map(|place| place.parent());
    let mut grants: Vec<_> =
        folders.filter(|folder| !is_shared(folder)).map(|folder| grant(folder.to_owned())).collect();
    if places.iter().filter_map(|place| place.parent()).any(is_shared) {
        grants.push(grant(path.to_owned()));
    }
    grants
}

/// Makes files where this one stands: in its folder, and where it is a link to. What is no regular file is not replaced, but the link to
/// it may be.
fn beside(path: &Path, access: FileAccess) -> Vec<FileGrant> {
    let is_other = access == FileAccess::Append && path.metadata().is_ok_and(|found| !found.is_file());
    let device = is_other.then(|| FileGrant { path: path.to_owned(), access: FileAccess::Device });
    if is_other && !path.is_symlink() {
        return device.into_iter().collect();
    }
    let target =
        path.read_link().map(|target| path.with_file_name(target)).unwrap_or_else(|_| path.to_owned());
    let granted = |place: &Path| {
        let folder = place.parent()?;
        let closed = match access {
            FileAccess::Listen => false,
            // What is replaced is read, too.
            FileAccess::Replace => is_shared(folder),
            _ => CLOSED.iter().any(|one| resolved(folder) == Path::new(one)),
        };
        Some(FileGrant { path: if closed { place } else { folder }.to_owned(), access })
    };
    // The folder of a device holds others.
    let places = [Some(path), Some(&*target).filter(|target| !is_other && *target != path)];
    device.into_iter().chain(places.into_iter().flatten().filter_map(granted)).collect()
}

/// Whether a folder holds what is others', too.
fn is_shared(folder: &Path) -> bool {
    let folder = resolved(folder);
    let is_home = || std::env::var_os("HOME").is_some_and(|home| folder == resolved(Path::new(&home)));
    SHARED.iter().any(|shared| folder == Path::new(shared))
        || folder.parent() == Some(Path::new("/home"))
        || is_home()
}

/// What was granted, as it was then.
#[derive(Debug)]
pub(super) struct GrantedFile {
    grant: FileGrant,
    resolved: PathBuf,
    stood_there: Option<Stamp>,
}

impl GrantedFile {
    pub(super) fn of(grant: FileGrant) -> GrantedFile {
        let resolved = resolved(&grant.path);
        GrantedFile { stood_there: Stamp::of(&resolved).ok(), resolved, grant }
    }

    /// Whether all that the other grant permits is permitted by this one, as the kernel sees it.
    fn covers(&self, other: &FileGrant) -> bool {
        let there = resolved(&other.path);
        let is_same =
            || Stamp::of(&there).ok().zip(self.stood_there).is_some_and(|(now, then)| now.is_file_of(&then));
        self.grant.access.includes(other.access)
            && there.starts_with(&self.resolved)
            && (self.stood_there.is_some() && there != self.resolved || is_same())
    }
}

/// Why a file of the configuration cannot be had, where that is so.
pub(super) fn objection(granted: &[GrantedFile], file: &NamedFile) -> Option<String> {
    lacking(granted, &of_file(file), &file.path)
}

/// Why a file that is read cannot be had, where that is so.
pub(super) fn objection_to_file(granted: &[GrantedFile], path: &Path) -> Option<String> {
    lacking(granted, &read(path), path)
}

/// What of these was not granted, which this file takes, in words.
fn lacking(granted: &[GrantedFile], wanted: &[FileGrant], file: &Path) -> Option<String> {
    // What is not there is said where it is looked for.
    let there = wanted.iter().filter(|wanted| wanted.path.exists());
    let lacks = there.into_iter().find(|wanted| !granted.iter().any(|one| one.covers(wanted)))?;
    let file = file.display();
    Some(match granted.iter().any(|one| one.resolved == resolved(&lacks.path)) {
        true if lacks.path.is_dir() => format!(
            "{} is another folder than when the server started: restart it or hand over (SIGUSR2)",
            lacks.path.display()
        ),
        true => format!(
            "another file stands at {file} than when the server started, and of a folder that is for others, too, it may open that \
             one alone: restart it or hand over (SIGUSR2), or give the file a folder of its own"
        ),
        false => {
            format!(
                "{file} is none of the files that the server lets itself open since it started: restart it or hand over (SIGUSR2)"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn granted(text: &str, file: &str, is_root: bool) -> Vec<FileGrant> {
        let config = Config::parse(text, Path::new(file), &Flags::default()).unwrap();
        grants(&Scene { config: &config, file: Some(Path::new(file)), is_root })
    }

    /// What is granted of a path, by whatever folder it stands below.
    fn of<'a>(grants: &'a [FileGrant], path: &'a str) -> impl Iterator<Item = FileAccess> + 'a {
        grants.iter().filter(move |one| Path::new(path).starts_with(&one.path)).map(|one| one.access)
    }

    /// Wherever the files of a configuration stand, those of others beside them stay closed to root.
    #[test]
    fn no_folder_of_others_is_open_to_root() {
        let text = "[auth]\nmethods = [\"password\"]\nusers = \"users\"\n[log]\naccess = \"access\"\n\
                    [admin]\nlisten = [\"unix:/run/admin.sock\"]\n";
        let below = |folder: &str, name: &str| format!("/{folder}/{name}");
        for folder in ["etc", "root", "home/ann", "boot", "."] {
            let grants = granted(text, &below(folder, "outflow.toml"), true);
            for secret in ["etc", "root", "home/ann", "boot"].map(|other| below(other, "secret")) {
                // Beside a log others may be made, and none is read.
                let others = of(&grants, &secret).filter(|access| *access != FileAccess::Append);
                assert_eq!(others.count(), 0, "{secret} beside {folder}: {grants:#?}");
            }
            assert_eq!(of(&grants, "/run/other").collect::<Vec<_>>(), [FileAccess::Listen]);
        }
        let user = granted("", "/etc/outflow.toml", false);
        assert_eq!(of(&user, "/etc/replaced").collect::<Vec<_>>(), [FileAccess::Read], "modes keep the rest");
    }

    /// Files in a folder of others are found anew there by nobody who is confined: `outflow user add` beside a server in a home
    /// locked everybody out, and nobody had asked for that.
    #[test]
    fn nobody_is_confined_unasked_whose_files_would_be_lost() {
        let lost = |text: &str, file: &str, is_root: bool| {
            let text = format!("[dns]\nservers = [\"127.0.0.1\"]\n{text}");
            let config = Config::parse(&text, Path::new(file), &Flags::default()).unwrap();
            obstacle(&Scene { config: &config, file: Some(Path::new(file)), is_root })
        };
        let users = "[auth]\nmethods = [\"password\"]\nusers = \"users\"\n";
        let log = |path: &str| format!("[log]\naccess = \"{path}\"\n");
        for (text, file, is_root, which) in [
            (users, "/srv/outflow/outflow.toml", true, None),
            (users, "/opt/outflow.toml", true, Some("/opt/outflow.toml")),
            (users, "/srv/outflow.toml", false, Some("/srv/outflow.toml")),
            (users, "/etc/outflow.toml", true, Some("/etc/outflow.toml")),
            (users, "/etc/outflow.toml", false, None),
            (
                "[auth]\nmethods = [\"password\"]\nusers = \"/tmp/users\"\n",
                "/srv/outflow/outflow.toml",
                false,
                Some("/tmp/users"),
            ),
            (&log("/boot/access"), "/srv/outflow/outflow.toml", true, Some("/boot/access")),
            (&log("/dev/null"), "/srv/outflow/outflow.toml", true, None),
            (&log("/srv/log/access"), "/srv/outflow/outflow.toml", true, None),
            (&format!("{users}[sandbox]\nlandlock = true\n"), "/opt/outflow.toml", true, None),
        ] {
            let words = which.map(|path| format!("{path} is in a folder that is not the server's alone"));
            assert_eq!(lost(text, file, is_root), words, "{text}{file}");
        }
    }

    #[test]
    fn a_folder_of_its_own_is_open_with_all_that_comes_there() {
        let tls = "tls = { cert = \"proxy.pem\", key = \"/srv/keys/proxy.key\" }";
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n{tls}\n[server]\nstate = \"/srv/state\"\n[log]\naccess = \"/srv/log/a\""
        );
        let grants = granted(&text, "/etc/outflow/outflow.toml", true);
        for (path, access) in [
            ("/etc/outflow/renewed.pem", FileAccess::Read),
            ("/srv/keys/renewed.key", FileAccess::Read),
            ("/srv/state/quotas.db-wal", FileAccess::Replace),
            ("/srv/log/a.1", FileAccess::Append),
        ] {
            assert!(of(&grants, path).any(|one| one.includes(access)), "{path}: {grants:#?}");
        }
        assert_eq!(of(&grants, "/srv/other").count(), 0);
    }
}
