//! How names are resolved: what the configuration and the system's files say of it. The files are read again when they
//! change, as the C library does; one that cannot be read by then changes nothing.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::descriptors::DescriptorBudget;
use crate::config::Config;
use crate::dns::{self, Hosts, ResolvConf};
use crate::sys::files::Stamp;
use crate::sys::machine;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// A key of `[dns]`, and what is wrong with what it stands for.
pub(super) type Problem = (&'static str, String);

/// What is known of the files.
#[derive(Clone, Debug)]
pub(super) struct ResolverFiles {
    budget: DescriptorBudget,
    conf: ResolvConf,
    conf_file: SystemFile,
    hosts: Hosts,
    hosts_file: SystemFile,
    servers: Vec<SocketAddr>,
    /// The interfaces that servers are asked through, by name, and their indices when the servers were read.
    zones: Vec<(String, Option<u32>)>,
}

impl ResolverFiles {
    /// Reads the files, and says what is wrong with them.
    pub(super) fn read(config: &Config, budget: &DescriptorBudget) -> (ResolverFiles, Vec<Problem>) {
        let mut resolver_files = ResolverFiles {
            budget: *budget,
            conf: ResolvConf::default(),
            conf_file: SystemFile::of(RESOLV_CONF),
            hosts: Hosts::empty(),
            hosts_file: SystemFile::of(HOSTS),
            servers: Vec::new(),
            zones: Vec::new(),
        };
        let mut problems = Vec::new();
        resolver_files.look(config, &mut problems);
        (resolver_files, problems)
    }

    /// Reads the files anew for another configuration, and says what is wrong with them. What one of them said before is
    /// kept where it says nothing now.
    pub(super) fn reread(&mut self, config: &Config, budget: &DescriptorBudget) -> Vec<Problem> {
        self.budget = *budget;
        // Which servers are asked may be for the other configuration to say.
        self.conf_file.seen = None;
        if !config.dns.hosts {
            self.hosts = Hosts::empty();
            self.hosts_file.seen = None;
        }
        let mut problems = Vec::new();
        self.look(config, &mut problems);
        problems
    }

    /// Reads again what has changed; whether anything has. What is wrong with it goes to the log.
    pub(super) fn refresh(&mut self, config: &Config) -> bool {
        let mut problems = Vec::new();
        let changed = self.look(config, &mut problems);
        problems.iter().for_each(|(_, what)| tracing::warn!("{what}"));
        changed
    }

    /// What the workers' resolvers go by.
    pub(super) fn settings(&self, config: &Config) -> dns::Settings {
        dns::Settings {
            servers: self.servers.clone(),
            timeout: config.timeouts.dns,
            try_timeout: self.conf.timeout,
            attempts: self.conf.attempts,
            tcp: self.conf.tcp,
            cache_entries: (config.dns.cache_entries / config.server.workers.max(1)).max(1),
            prefer: config.dns.prefer,
            hosts: self.hosts.clone(),
            names: self.budget.names(),
            spare: self.budget.spare_names,
        }
    }

    fn look(&mut self, config: &Config, problems: &mut Vec<Problem>) -> bool {
        let conf = self.conf_file.changed() || self.zones_moved();
        let hosts = config.dns.hosts && self.hosts_file.changed();
        if conf {
            self.read_conf(config, problems);
        }
        if hosts {
            match regular(HOSTS).and_then(|()| Hosts::load(Path::new(HOSTS))) {
                Ok(hosts) => self.hosts = hosts,
                Err(error) => problems.push(("hosts", format!("{HOSTS} cannot be read: {error}"))),
            }
        }
        conf || hosts
    }

    fn zones_moved(&self) -> bool {
        self.zones.iter().any(|(name, index)| machine::interface_index(name) != *index)
    }

    fn read_conf(&mut self, config: &Config, problems: &mut Vec<Problem>) {
        let zones = RefCell::new(Vec::new());
        let index_of = |name: &str| {
            let index = machine::interface_index(name);
            zones.borrow_mut().push((name.to_owned(), index));
            index
        };
        let mut said = Vec::new();
        match regular(RESOLV_CONF).and_then(|()| ResolvConf::load(Path::new(RESOLV_CONF), &index_of)) {
            Ok(conf) => {
                said.extend(conf.problems.iter().map(|what| format!("{RESOLV_CONF}: {what}")));
                // One that is being written is empty for a moment: what it said before is better than nothing.
                let kept = !conf.names_servers && !self.servers.is_empty();
                if !conf.names_servers {
                    let asked = if kept { "those it named before are" } else { "127.0.0.1 is" };
                    said.push(format!("{RESOLV_CONF} names no server that can be asked: {asked} asked"));
                }
                if !kept {
                    self.conf = conf;
                }
            }
            Err(error) => said.push(format!("{RESOLV_CONF} cannot be read: {error}")),
        }
        self.servers = match config.dns.servers.is_empty() {
            true => {
                problems.extend(said.into_iter().map(|what| ("servers", what)));
                self.conf.servers.clone()
            }
            // Those of the file do not matter then.
            false => config.dns.servers.iter().filter_map(|server| server.scoped(index_of)).collect(),
        };
        self.zones = zones.into_inner();
    }
}

/// Opening a pipe would wait for who writes to it.
fn regular(path: &str) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() || found.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::other("not a file")),
        // Whoever reads it says so.
        Err(_) => Ok(()),
    }
}

/// A file that may be written, replaced or removed at any time.
#[derive(Clone, Debug)]
struct SystemFile {
    path: &'static str,
    /// What it was when it was looked at last, if it was.
    seen: Option<Option<Stamp>>,
}

impl SystemFile {
    fn of(path: &'static str) -> SystemFile {
        SystemFile { path, seen: None }
    }

    /// Whether the file is another than at the last call.
    fn changed(&mut self) -> bool {
        let stamp = Stamp::of(Path::new(self.path)).ok();
        self.seen.replace(stamp) != Some(stamp)
    }
}
