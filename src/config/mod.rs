//! What was typed becomes a validated, immutable Config.
//!
//! A file and the flags are first read as they were typed, each value with the place it came from
//! (`raw`), then turned into a [`Config`] in which nothing is left to check (`tables` and `form` value by value, `validate`
//! the rules between them). Problems are
//! collected, not thrown: whoever edits a file sees all of them at once, each on its own line.
//!
//! Nothing here opens a socket or reads any file but the configuration itself.

mod at;
mod choice;
mod diff;
mod dns64;
mod egress;
mod egress_table;
mod egress_values;
mod endpoint;
mod entry;
mod form;
mod key_page;
mod list_form;
mod listed;
mod listen_address;
mod listener_table;
mod listeners;
mod nearest;
mod open_proxy;
mod parent_table;
mod parent_url;
mod parents;
mod places;
mod print;
mod problem;
mod proxy_out;
mod proxy_table;
mod quotas;
mod rates;
mod raw;
mod reach;
mod rule_table;
mod rule_values;
mod rules;
mod sandbox_table;
mod schema;
mod syntax;
mod tables;
mod tls;
mod tor;
mod typed;
mod username;
mod username_format;
mod username_table;
mod validate;
mod value;
mod variables;
mod when;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use choice::{
    Access, AuthMethod, Choice, Congestion, Filtering, Format, Level, OnFull, OnReload, Prefer, Protection,
    ProtectionLevel, Protocol, ProxyProtocol, RelayMode, Steer, UsersFrom,
};
pub use diff::KeyChange;
pub use dns64::Dns64;
pub(crate) use egress::no_pool;
pub use egress_table::EgressConfig;
pub use endpoint::{Endpoint, overlap};
pub use listen_address::ListenAddress;
pub use listener_table::{ListenerConfig, SocketMode};
pub use listeners::ConfiguredListener;
pub(crate) use nearest::{nearest, unknown_value};
pub use parent_table::ParentConfig;
pub use places::Places;
pub use problem::Problems;
pub(crate) use problem::quoted;
pub use proxy_table::{ProxiedTarget, ProxyOutConfig, ProxyTlv};
pub use quotas::QuotaConfig;
pub use raw::Flags;
pub use reach::{Advertise, PortRange};
pub use rule_table::RuleConfig;
pub(crate) use rule_values::network;
pub use rule_values::{ListEntry, RuleDestination, RulePorts, entry as list_entry};
pub use sandbox_table::{SandboxConfig, Seccomp};
pub use tables::{
    AdminConfig, AuthConfig, Bind, Config, Dns, Gssapi, GuardConfig, HttpConfig, LimitConfig, ListConfig,
    Log, PerSource, PerUser, PolicyConfig, ServerConfig, Timeouts, UdpConfig,
};
pub use tls::ListenerTls;
pub use tor::TorConfig;
pub use username_format::UsernameFormat;
pub use username_table::{UsernameConfig, UsernamePreset};
pub(crate) use value::{block, duration};
pub use when::{When, Zone};

use crate::limits;
use at::At;
use raw::Raw;
use schema::Schema;
use validate::Draft;
use variables::Environment;

/// Where a configuration came from, so that it can be read again.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file; `None` where the flags are all there is.
    pub file: Option<PathBuf>,
    /// What the command line said.
    pub flags: Flags,
}

impl ConfigSource {
    /// Reads it, now.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config, Problems> {
        Config::load(self.file.as_deref(), &self.flags)
    }

    /// Reads it once more. What has no second reading in it, such as a pipe, is for `open` to refuse: it would say nothing
    /// now, and nothing is a configuration, too.
    ///
    /// # Errors
    /// As [`Config::load`], and what `open` said.
    pub fn load_again(&self, open: impl FnOnce(&Path) -> io::Result<File>) -> Result<Config, Problems> {
        match &self.file {
            Some(file) => Config::parse(&read(file, open)?, file, &self.flags),
            None => self.load(),
        }
    }
}

impl Config {
    /// Reads `file`, if there is one, and lays `flags` over it.
    ///
    /// Paths in the file are relative to its folder, paths in flags to the working directory.
    ///
    /// # Errors
    /// Everything that is wrong with either, or that the file cannot be read.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Config, Problems> {
        match file {
            Some(file) => Config::parse(&read(file, |file| File::open(file))?, file, flags),
            None => finish(Draft::new(Problems::default()), flags),
        }
    }

    /// Reads a configuration from text; `file` names it in messages, and its folder is where relative paths start. Variables
    /// in it (`"${NAME}"`) are those of this process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with the text or the flags.
    pub fn parse(text: &str, file: &Path, flags: &Flags) -> Result<Config, Problems> {
        let environment =
            if text.contains("${") { std::env::vars_os().collect() } else { Environment::new() };
        Config::parse_with(text, file, flags, &environment)
    }

    /// Reads a configuration as [`Config::parse`] does, in this environment.
    fn parse_with(
        text: &str,
        file: &Path,
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Config, Problems> {
        let mut draft = Draft::new(Problems::of(file));
        let raw = Raw::from_text(text, &whole_schema(), environment, draft.problems());
        draft.lay(&raw, file.parent().unwrap_or(Path::new("")), &whole_schema());
        finish(draft, flags)
    }

    /// The file that it was read from; `None` where the flags are all there was.
    pub fn file(&self) -> Option<&Path> {
        self.places.file()
    }

    /// The whole configuration as TOML, every key written out; parsing it gives this value again.
    pub fn to_toml(&self) -> String {
        print::to_toml(&whole_schema(), self)
    }

    /// One line that says what a key is, with its default: for the help of a flag that stands for it. Empty where there
    /// is no such key.
    pub fn help(table: &str, key: &str) -> String {
        whole_schema().help(table, key, &validate::defaults())
    }

    /// The words that a key may be; empty where it may be anything.
    pub fn words(table: &str, key: &str) -> Vec<&'static str> {
        whole_schema()
            .table(table)
            .and_then(|table| table.key(key))
            .map(|key| key.words.clone())
            .unwrap_or_default()
    }

    /// Every key as a comment, below what it is: the file to begin with.
    pub fn example() -> String {
        print::example(&whole_schema(), validate::defaults())
    }

    /// Every table and key with what it is, as Markdown: docs/keys.md but for what stands above the first heading.
    pub fn reference() -> String {
        key_page::reference(&whole_schema(), validate::defaults())
    }
}

thread_local! {
    static SCHEMA: Rc<Schema<Config>> = Rc::new(Schema::of(tables::all()));
}

/// All tables. Made once by each thread that asks: the help of every flag that stands for a key does.
fn whole_schema() -> Rc<Schema<Config>> {
    SCHEMA.with(Rc::clone)
}

/// Lays the flags over everything else.
fn finish(mut draft: Draft, flags: &Flags) -> Result<Config, Problems> {
    let raw = Raw::from_flags(flags, draft.problems());
    if !flags.listen.is_empty() {
        draft.drop_listeners();
    }
    draft.lay(&raw, Path::new(""), &whole_schema());
    draft.finish()
}

/// Reads the file as text, refusing one that is too large to be a configuration.
fn read(file: &Path, open: impl FnOnce(&Path) -> io::Result<File>) -> Result<String, Problems> {
    let fail = |at, what| {
        let mut problems = Problems::of(file);
        problems.push(at, what);
        Err(problems)
    };
    let mut bytes = Vec::new();
    let opened = open(file).and_then(|f| f.take(limits::MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        return fail(At::File, format!("cannot be read: {error}"));
    }
    if bytes.len() as u64 > limits::MAX_CONFIG_BYTES {
        return fail(At::File, format!("larger than {} bytes", limits::MAX_CONFIG_BYTES));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
            fail(At::Line(line), "not UTF-8".to_owned())
        }
    }
}
