//! The TLS of listeners: their files, read at the start and at each reload. What stands in files that are the same as before
//! stays what it was, with the keys of its tickets.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::config::{Config, ListenerTls};
use crate::limits;
use crate::sys::files::{Stamp, read_secret};
use crate::tls::{TlsFile, TlsFiles, TlsServer};

/// The TLS of each listener, at its place; `None` where none is spoken.
pub(super) type ListenersTls = Arc<[Option<Arc<TlsServer>>]>;

/// What was made of which files.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    made: Vec<Option<Made>>,
    servers: ListenersTls,
}

#[derive(Clone, Debug)]
struct Made {
    of: ListenerTls,
    stamps: Vec<Stamp>,
    server: Arc<TlsServer>,
}

/// What is wrong with a listener's TLS, or soon will be; the listener by its place among the tables.
pub(super) type Concern = (usize, String);

impl Certificates {
    /// Reads what these listeners need, as far as it is not known; what is to be said of it beside.
    ///
    /// # Errors
    /// Each listener whose TLS cannot be had, and why.
    pub(super) fn read(&self, config: &Config) -> Result<(Certificates, Vec<Concern>), Vec<Concern>> {
        let (mut made, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, listener) in config.all_listeners().enumerate() {
            let Some(tls) = listener.table().and_then(|table| table.tls.as_ref()) else {
                made.push(None);
                continue;
            };
            let table = nth - config.server.listen.len();
            match self.made_of(tls) {
                Ok(one) => {
                    let cert = tls.cert.display();
                    warnings.extend(aging(&one.server).map(|what| (table, format!("cert {cert}: {what}"))));
                    made.push(Some(one));
                }
                Err(what) => errors.push((table, what)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let servers: Vec<_> = made.iter().map(|one| Some(Arc::clone(&one.as_ref()?.server))).collect();
        // Workers are given the list: it is another only where one of them is.
        let same = servers.len() == self.servers.len()
            && servers.iter().zip(self.servers.iter()).all(|pair| match pair {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            });
        let servers = if same { Arc::clone(&self.servers) } else { servers.into() };
        Ok((Certificates { made, servers }, warnings))
    }

    /// The certificates whose files have others in them than these had, in words.
    pub(super) fn read_anew(&self, old: &Certificates) -> Vec<String> {
        let was = |of: &ListenerTls| old.made.iter().flatten().find(|made| made.of == *of);
        let anew = |one: &&Made| was(&one.of).is_some_and(|was| !Arc::ptr_eq(&was.server, &one.server));
        let mut told: Vec<String> = self.made.iter().flatten().filter(anew).map(Made::told).collect();
        told.dedup();
        told
    }

    /// What workers are given.
    pub(super) fn servers(&self) -> ListenersTls {
        Arc::clone(&self.servers)
    }

    fn made_of(&self, tls: &ListenerTls) -> Result<Made, String> {
        // The stamps first: a file that is replaced meanwhile is read again next time.
        let stamps = paths(tls).into_iter().map(|(word, path)| {
            Stamp::of(path).map_err(|error| format!("{word} {}: {error}", path.display()))
        });
        let stamps: Vec<Stamp> = stamps.collect::<Result<_, _>>()?;
        let known = self.made.iter().flatten().find(|made| made.of == *tls && made.stamps == stamps);
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let client_ca = tls.client_ca.as_deref().map(|path| read("client_ca", path)).transpose()?;
        let files = TlsFiles {
            cert: read("cert", &tls.cert)?.to_vec(),
            key: read("key", &tls.key)?,
            client_ca: client_ca.map(|bytes| bytes.to_vec()),
            users_from: tls.users_from,
        };
        let server = TlsServer::new(&files).map_err(|(file, what)| {
            let (word, path) = match (file, &tls.client_ca) {
                (TlsFile::Key, _) => ("key", &tls.key),
                (TlsFile::ClientCa, Some(path)) => ("client_ca", path),
                _ => ("cert", &tls.cert),
            };
            format!("{word} {}: {what}", path.display())
        })?;
        Ok(Made { of: tls.clone(), stamps, server: Arc::new(server) })
    }
}

impl Made {
    fn told(&self) -> String {
        let until = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + self.server.expires());
        format!("certificate {} is good until {until}", self.of.cert.display())
    }
}

fn paths(tls: &ListenerTls) -> Vec<(&'static str, &Path)> {
    let own = [("cert", &*tls.cert), ("key", &*tls.key)];
    own.into_iter().chain(tls.client_ca.as_deref().map(|path| ("client_ca", path))).collect()
}

fn read(word: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = read_secret(path, limits::TLS_FILE_MAX);
    read.map_err(|error| format!("{word} {}: cannot be read: {error}", path.display()))
}

/// What is to be said of a certificate that is over, or soon will be.
fn aging(server: &TlsServer) -> Option<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let left = server.expires().saturating_sub(now);
    let date = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + server.expires());
    if left.is_zero() {
        Some(format!("the certificate is over since {date}: clients refuse it"))
    } else if left < Duration::from_secs(limits::TLS_EXPIRY_WARNING_S) {
        Some(format!("the certificate is over at {date}"))
    } else {
        None
    }
}
