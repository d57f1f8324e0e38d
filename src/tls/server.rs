//! What a listener needs for TLS: its certificate and key, and whose certificates clients have to show.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::certificate;
use crate::config::UsersFrom;

/// The protocol that clients may name in the handshake (ALPN, RFC 7301), where they name any. HTTP/2 is not spoken.
const HTTP: &[u8] = b"http/1.1";

/// One of the files that a listener's TLS is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// The certificate, and those that it was issued by.
    Cert,
    /// The private key.
    Key,
    /// Who issues the certificates of clients.
    ClientCa,
}

/// What stands in these files.
pub struct TlsFiles {
    /// PEM: the certificate, then what it was issued by.
    pub cert: Vec<u8>,
    /// PEM: the private key, which no password protects.
    pub key: Zeroizing<Vec<u8>>,
    /// PEM: whoever issues the certificates that clients have to show; `None` where they show none.
    pub client_ca: Option<Vec<u8>>,
    /// Which name in a client's certificate is the user's; `None` where it makes nobody known.
    pub users_from: Option<UsersFrom>,
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").field("users_from", &self.users_from).finish_non_exhaustive()
    }
}

/// How a listener speaks TLS. Tickets by which clients resume go by keys of its own, which it changes by itself.
pub struct TlsServer {
    config: Arc<ServerConfig>,
    users_from: Option<UsersFrom>,
    /// When the certificate is over, since 1970.
    expires: Duration,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl TlsServer {
    /// Makes it of its files.
    ///
    /// # Errors
    /// Which of them is wrong, and how, without a word of what stands in a key.
    pub fn new(files: &TlsFiles) -> Result<TlsServer, (TlsFile, String)> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&files.cert).map_err(|what| (TlsFile::Cert, what))?;
        let expires = certificate::expires(&chain[0]).map_err(|what| (TlsFile::Cert, what))?;
        let key = key(&files.key).map_err(|what| (TlsFile::Key, what))?;
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                (TlsFile::Key, "this is not the key of the certificate".to_owned())
            }
            rustls::Error::InvalidCertificate(_) => (TlsFile::Cert, error.to_string()),
            error => (TlsFile::Key, format!("the key cannot be used: {error}")),
        })?;
        let config = settings(&provider, certified, files.client_ca.as_deref())
            .map_err(|what| (TlsFile::ClientCa, what))?;
        Ok(TlsServer { config: Arc::new(config), users_from: files.users_from, expires })
    }

    /// When the certificate is over, since 1970.
    pub fn expires(&self) -> Duration {
        self.expires
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    pub(super) fn users_from(&self) -> Option<UsersFrom> {
        self.users_from
    }
}

fn settings(
    provider: &Arc<CryptoProvider>,
    certified: CertifiedKey,
    client_ca: Option<&[u8]>,
) -> Result<ServerConfig, String> {
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(client_ca) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(client_ca)? {
                roots.add(root).map_err(|error| error.to_string())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
            builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![HTTP.to_vec()];
    // A ticket has all that is known of a session: nothing of it is kept here for a client that may never come back.
    config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The certificates of a file, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err("there is no certificate in it (PEM, \"BEGIN CERTIFICATE\")".to_owned())
        }
        Ok(all) => Ok(all),
        Err(error) => Err(format!("its certificates cannot be read: {error}")),
    }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        // The older form says so in a field above the key.
        _ if [&b"ENCRYPTED PRIVATE KEY"[..], b"4,ENCRYPTED"].iter().any(|mark| contains(pem, mark)) => {
            "the key is protected by a password, which nobody could type here: `openssl pkey` writes one without".to_owned()
        }
        PemError::NoItemsFound => "there is no private key in it (PEM, \"BEGIN PRIVATE KEY\")".to_owned(),
        error => format!("its key cannot be read: {error}"),
    })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
