//! Certificates, and clients that speak TLS: rustls' own, over real sockets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::client::connect_ip;
use super::relay::quoted;
use super::wait::PATIENCE;

/// The versions that are spoken.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// Who issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate with its key.
pub(crate) struct Certified {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for this common name and these other names, good up to this year.
    fn certify(&self, common_name: &str, others: &[SanType], last_year: i32) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = others.to_vec();
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certified { der: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// A certificate of a client.
    pub(crate) fn client(&self, common_name: &str, mail: &str) -> Certified {
        self.certify(common_name, &[SanType::Rfc822Name(mail.try_into().expect("a mail address"))], 2040)
    }

    /// Writes the files of a listener, of a certificate that is good up to this year.
    pub(crate) fn write(&self, directory: &Path, last_year: i32) {
        let localhost = SanType::DnsName("localhost".try_into().expect("a name"));
        let Certified { pem, key, .. } = self.certify("the relay", &[localhost], last_year);
        for (name, text) in [("cert.pem", &pem), ("key.pem", &key.serialize_pem()), ("ca.pem", &self.pem)] {
            std::fs::write(directory.join(name), text).expect("write a file");
        }
    }

    /// What a client goes by.
    pub(crate) fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Certified>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.expect("versions").with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(Certified { der, key, .. }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                builder.with_client_auth_cert(vec![der.clone()], key).expect("a certificate and its key")
            }
        })
    }
}

impl Certified {
    /// The certificate and its key, as files of these names.
    pub(crate) fn write(&self, directory: &Path, cert: &str, key: &str) {
        std::fs::write(directory.join(cert), &self.pem).expect("write a file");
        std::fs::write(directory.join(key), self.key.serialize_pem()).expect("write a file");
    }
}

/// The table of a listener whose files stand in this directory, with more keys of its TLS and of its own.
pub(crate) fn table(directory: &Path, tls: &str, more: &str) -> String {
    let path = |name: &str| quoted(directory.join(name).to_str().expect("UTF-8"));
    let tls = tls.replace("CA", &path("ca.pem"));
    format!(
        "name = \"tls\"\naddress = \"127.0.0.1:0\"\ntls = {{ cert = {}, key = {}{tls} }}\n{more}",
        path("cert.pem"),
        path("key.pem")
    )
}

/// A client behind TLS.
pub(crate) struct TlsStream {
    pub(crate) tls: ClientConnection,
    pub(crate) socket: TcpStream,
}

impl TlsStream {
    /// Connects; nothing is sent yet.
    pub(crate) fn connect(relay: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(relay).expect("connect to the relay");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        socket.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("write timeout");
        let name = ServerName::try_from("localhost").expect("a name");
        Self { tls: ClientConnection::new(Arc::clone(config), name).expect("a client"), socket }
    }

    /// What stands to be sent.
    pub(crate) fn flight(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("memory");
        }
        bytes
    }

    /// Goes on with the handshake until it is over.
    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.socket)?;
        }
        Ok(())
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.shake_hands().expect("a handshake");
        for part in bytes.chunks(32 * 1024) {
            self.try_send(part).expect("send");
        }
    }

    /// Some bytes, as [`Read::read`] gives them.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.tls.complete_io(&mut self.socket)?;
                }
                other => return other,
            }
        }
    }

    pub(crate) fn recv(&mut self, length: usize) -> Vec<u8> {
        let (mut bytes, mut filled) = (vec![0; length], 0);
        while filled < length {
            match self.read(&mut bytes[filled..]).expect("read") {
                0 => panic!("an end after {filled} of {length} bytes"),
                count => filled += count,
            }
        }
        bytes
    }

    pub(crate) fn expect(&mut self, wanted: &[u8]) {
        assert_eq!(self.recv(wanted.len()), wanted);
    }

    /// What comes up to an end in order, which the relay has to say.
    pub(crate) fn recv_to_end(&mut self) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            match self.read(&mut buffer).expect("an end in order") {
                0 => return bytes,
                count => bytes.extend(&buffer[..count]),
            }
        }
    }

    /// Says that nothing follows, and sends FIN behind it.
    pub(crate) fn finish(&mut self) {
        self.tls.send_close_notify();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket).expect("send");
        }
        self.socket.shutdown(std::net::Shutdown::Write).expect("FIN");
    }

    /// A session up to the relayed bytes.
    pub(crate) fn through(relay: SocketAddr, config: &Arc<ClientConfig>, target: SocketAddr) -> Self {
        let mut client = Self::connect(relay, config);
        client.send(b"\x05\x01\x00");
        client.expect(b"\x05\x00");
        client.send(&connect_ip(target));
        assert_eq!(client.recv(10)[..2], [5, 0]);
        client
    }
}
