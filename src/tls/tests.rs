//! Connections in memory, with the library's own client at the other end.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;
use crate::auth::Identity;
use crate::config::UsersFrom;

/// Who issues certificates, and its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

/// A certificate with its key.
pub(crate) struct Certified {
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for a common name, where there is one, and other names.
    pub(crate) fn certify(&self, common_name: Option<&str>, others: &[SanType]) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = others.to_vec();
        params.not_after = date_time_ymd(2040, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certified { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// A listener's files.
    pub(crate) fn files(&self) -> TlsFiles {
        let Certified { pem, key, .. } = self.certify(None, &[dns("localhost")]);
        TlsFiles {
            cert: pem.into_bytes(),
            key: key.serialize_pem().into_bytes().into(),
            client_ca: None,
            users_from: None,
        }
    }

    /// What a client of such a listener goes by.
    pub(crate) fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<Certified>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.expect("versions").with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(Certified { der, key, .. }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                builder.with_client_auth_cert(vec![der], key).expect("a certificate and its key")
            }
        }
    }
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a host name"))
}

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// Both ends of a connection.
pub(crate) struct Ends {
    pub(crate) client: ClientConnection,
    pub(crate) server: TlsConnection,
    /// What has come of the client and is not opened.
    begun: Vec<u8>,
    /// Content that the server has.
    content: Vec<u8>,
    /// Content that the client has.
    heard: Vec<u8>,
    /// How opening ended last.
    opened: Result<TlsOpened, TlsError>,
}

impl Ends {
    pub(crate) fn new(files: &TlsFiles, config: ClientConfig) -> Ends {
        let server = Arc::new(TlsServer::new(files).expect("settings"));
        Ends::of(&server, Arc::new(config))
    }

    pub(crate) fn of(server: &Arc<TlsServer>, config: Arc<ClientConfig>) -> Ends {
        let name = ServerName::try_from("localhost").expect("a name");
        Ends {
            client: ClientConnection::new(config, name).expect("a client"),
            server: TlsConnection::new(Arc::clone(server)).expect("a server"),
            begun: Vec::new(),
            content: Vec::new(),
            heard: Vec::new(),
            opened: Ok(TlsOpened::More),
        }
    }

    /// Hands the server these bytes; what it says to them.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.begun.extend_from_slice(bytes);
        let mut replies = Vec::new();
        loop {
            let content = &mut self.content;
            let take = |part: &[u8]| content.extend_from_slice(part);
            let (used, opened) = self.server.open(&mut self.begun, take, &mut replies);
            self.begun.drain(..used);
            self.opened = opened;
            if self.opened != Ok(TlsOpened::Content) {
                return replies;
            }
        }
    }

    pub(crate) fn client_says(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut said).expect("memory");
        }
        said
    }

    fn client_hears(&mut self, mut said: &[u8]) -> Result<(), rustls::Error> {
        while !said.is_empty() {
            self.client.read_tls(&mut said).expect("memory");
            self.client.process_new_packets()?;
            let _ = self.client.reader().read_to_end(&mut self.heard);
        }
        Ok(())
    }

    /// Goes on until neither says anything, each flight in pieces that `split` makes of it.
    fn settle(&mut self, split: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
        loop {
            let said = self.client_says();
            if said.is_empty() {
                return;
            }
            for part in split(&said) {
                let replies = self.take(&part);
                self.client_hears(&replies).expect("the client understands");
            }
        }
    }

    pub(crate) fn settled(mut self) -> Ends {
        self.settle(|said| vec![said.to_vec()]);
        assert!(!self.server.shakes_hands() && !self.client.is_handshaking());
        self
    }

    /// The server says this; what the client has of it.
    fn server_says(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        self.server.seal_onto(plain, &mut records).expect("sealed");
        self.client_hears(&records).expect("the client understands");
        std::mem::take(&mut self.heard)
    }
}

#[test]
fn a_flight_split_anywhere_leads_to_the_same_connection() {
    let authority = Authority::new();
    let server = Arc::new(TlsServer::new(&authority.files()).expect("settings"));
    for version in VERSIONS {
        let config = Arc::new(authority.client_config(&[version], None));
        for at in (0..700).step_by(if version == VERSIONS[0] { 1 } else { 3 }) {
            let mut ends = Ends::of(&server, Arc::clone(&config));
            ends.settle(|said| {
                let (front, back) = said.split_at(at.min(said.len()));
                vec![front.to_vec(), back.to_vec()]
            });
            ends.client.writer().write_all(b"a greeting").expect("memory");
            ends.client.send_close_notify();
            ends.settle(|said| said.chunks(at % 7 + 1).map(<[u8]>::to_vec).collect());
            assert_eq!(
                (&ends.content[..], &ends.opened),
                (&b"a greeting"[..], &Ok(TlsOpened::Ended)),
                "{at}"
            );
        }
    }
}

#[test]
fn what_either_says_the_other_has_in_both_versions() {
    let authority = Authority::new();
    for (version, spoken) in VERSIONS.into_iter().zip([TlsVersion::Tls12, TlsVersion::Tls13]) {
        let mut ends = Ends::new(&authority.files(), authority.client_config(&[version], None)).settled();
        assert_eq!(ends.server.agreed(), Some((spoken, false)));
        for len in [1, 100, 16_384, 16_385, 100_000] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            for part in bytes.chunks(50_000) {
                ends.client.writer().write_all(part).expect("memory");
                ends.settle(|said| vec![said.to_vec()]);
            }
            assert!(std::mem::take(&mut ends.content) == bytes, "{len} bytes of the client");
            assert!(ends.server_says(&bytes) == bytes, "{len} bytes of the server");
        }
    }
}

#[test]
fn what_fits_by_our_reckoning_fits() {
    let authority = Authority::new();
    let provider = rustls::crypto::ring::default_provider();
    for suite in provider.cipher_suites {
        let version = suite.version();
        let versions = VERSIONS.into_iter().find(|one| one.version == version.version).expect("a version");
        let mut config = authority.client_config(&[versions], None);
        let mut only = rustls::crypto::ring::default_provider();
        only.cipher_suites = vec![suite];
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).expect("a root");
        let built = ClientConfig::builder_with_provider(Arc::new(only)).with_protocol_versions(&[versions]);
        if let Ok(built) = built {
            config = built.with_root_certificates(roots).with_no_client_auth();
        }
        if suite.suite().as_str().is_some_and(|name| name.contains("RSA")) {
            // The certificate here has another key.
            continue;
        }
        let mut ends = Ends::new(&authority.files(), config).settled();
        for room in [1_000, 16 * 1024, 20_000, 100_000, 256 * 1024] {
            let mut place = vec![0; room];
            let sealed = ends.server.seal(&vec![7; plain_max(room)], &mut place).expect("it fits");
            assert!(sealed <= room, "{suite:?}: {sealed} in {room}");
        }
        for plain in [0, 1, 16_384, 16_385, 50_000] {
            let mut out = Vec::new();
            ends.server.seal_onto(&vec![7; plain], &mut out).expect("it fits");
        }
    }
}

#[test]
fn each_end_says_once_that_nothing_follows() {
    let authority = Authority::new();
    for version in VERSIONS {
        let config = authority.client_config(&[version], None);
        let mut ends = Ends::new(&authority.files(), config).settled();
        ends.client.writer().write_all(b"the last").expect("memory");
        ends.client.send_close_notify();
        let said = [ends.client_says(), b"behind the end".to_vec()].concat();
        ends.take(&said);
        assert_eq!((&ends.content[..], &ends.opened), (&b"the last"[..], &Ok(TlsOpened::Ended)));
        assert!(ends.server.ended() && ends.begun.is_empty());
        // RFC 8446 section 6.1: the other way stays open.
        assert_eq!(ends.server_says(b"an answer"), b"an answer");
        let mut last = Vec::new();
        ends.server.end_onto(&mut last);
        ends.server.end_onto(&mut last);
        ends.client_hears(&last).expect("the client understands");
        assert_eq!(ends.client.reader().read(&mut [0; 8]).expect("an end in order"), 0);
    }
}

#[test]
fn keys_are_changed_on_the_way() {
    let authority = Authority::new();
    let config = authority.client_config(&[VERSIONS[1]], None);
    let mut ends = Ends::new(&authority.files(), config).settled();
    for round in 0..3 {
        ends.client.refresh_traffic_keys().expect("an update of keys");
        ends.client.writer().write_all(&[round; 100]).expect("memory");
        ends.settle(|said| vec![said.to_vec()]);
        assert_eq!(std::mem::take(&mut ends.content), [round; 100]);
        assert_eq!(ends.server_says(&[round; 50]), [round; 50]);
    }
}

/// A client hello by hand: of this version, with one suite, and no word of a later version.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let body = [&version[..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]].concat();
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[0x16, 3, 1, 0, message.len() as u8][..], &message].concat()
}

#[test]
fn who_speaks_an_old_version_or_none_is_told_so_by_an_alert() {
    const FATAL: u8 = 2;
    let authority = Authority::new();
    let server = Arc::new(TlsServer::new(&authority.files()).expect("settings"));
    let config = Arc::new(authority.client_config(&VERSIONS, None));
    for (bytes, alert) in [
        (old_hello([3, 2]), 40),
        (old_hello([3, 1]), 40),
        (old_hello([3, 0]), 40),
        // Application data before any hello, and a record beyond the longest.
        (vec![0x17, 3, 3, 0, 1, 0], 10),
        (vec![0x16, 3, 1, 0xff, 0xff], 50),
        (vec![0x16, 3, 1, 0, 5, 99, 0, 0, 1, 0], 50),
    ] {
        let mut ends = Ends::of(&server, Arc::clone(&config));
        let replies = ends.take(&bytes);
        assert!(ends.opened.is_err(), "{bytes:?}");
        assert_eq!(
            (replies.len(), &replies[..1], &replies[5..6]),
            (7, &[0x15][..], &[FATAL][..]),
            "{bytes:?}"
        );
        assert!(replies[6] == alert || alert == 50, "alert {} to {bytes:?}", replies[6]);
        let mut more = Vec::new();
        ends.server.end_onto(&mut more);
        assert!(more.is_empty() && ends.server.seal(b"x", &mut [0; 600]).is_err());
    }
}

#[test]
fn a_record_that_was_changed_ends_the_connection_behind_what_came_before() {
    let authority = Authority::new();
    for version in VERSIONS {
        let mut ends = Ends::new(&authority.files(), authority.client_config(&[version], None)).settled();
        ends.client.writer().write_all(b"good").expect("memory");
        let good = ends.client_says();
        ends.client.writer().write_all(b"changed").expect("memory");
        let mut changed = ends.client_says();
        *changed.last_mut().expect("bytes") ^= 1;
        let replies = ends.take(&[good, changed].concat());
        assert_eq!(ends.content, b"good");
        assert!(ends.opened.is_err());
        let heard = ends.client_hears(&replies);
        assert_eq!(heard, Err(rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
    }
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = Arc::new(TlsServer::new(&authority.files()).expect("settings"));
        let mut config = authority.client_config(&[version], None);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let resumed: Vec<bool> = (0..3)
            .map(|_| {
                let mut ends = Ends::of(&server, Arc::clone(&config)).settled();
                assert_eq!(ends.server_says(b"a word"), b"a word");
                ends.server.agreed().expect("agreed").1
            })
            .collect();
        assert_eq!(resumed, [false, true, true], "{version:?}");
    }
}

#[test]
fn http_is_agreed_on_where_it_is_named_and_h2_alone_is_refused() {
    let authority = Authority::new();
    let mut config = authority.client_config(&VERSIONS, None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let ends = Ends::new(&authority.files(), config.clone()).settled();
    assert_eq!(ends.client.alpn_protocol(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut ends = Ends::new(&authority.files(), config);
    let hello = ends.client_says();
    let replies = ends.take(&hello);
    assert_eq!(
        ends.client_hears(&replies),
        Err(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol))
    );
}

#[test]
fn a_certificate_says_who_its_client_is() {
    let authority = Authority::new();
    let mail = |name: &str| SanType::Rfc822Name(name.try_into().expect("a mail address"));
    let user = |name: &str| Some(Ok(Identity::User(name.into())));
    let none = |what: &str| Some(Err(what.to_owned()));
    let no_other = "it has no mail address or host name among its other names";
    for (common_name, others, by_cn, by_san) in [
        (Some("ann"), vec![], user("ann"), none(no_other)),
        (
            None,
            vec![dns("host.example"), mail("x@y.example")],
            none("its subject has no common name"),
            user("host.example"),
        ),
        (
            Some("b:c"),
            vec![mail("bob@example.org")],
            none("the user name holds a colon"),
            user("bob@example.org"),
        ),
    ] {
        for (from, identity) in
            [(Some(UsersFrom::CommonName), by_cn), (Some(UsersFrom::AlternativeName), by_san), (None, None)]
        {
            let mut files = authority.files();
            (files.client_ca, files.users_from) = (Some(authority.pem.clone().into_bytes()), from);
            for version in VERSIONS {
                let certified = authority.certify(common_name, &others);
                let config = authority.client_config(&[version], Some(certified));
                let ends = Ends::new(&files, config).settled();
                assert_eq!(ends.server.identity(), identity, "{common_name:?} by {from:?}");
            }
        }
    }
}

#[test]
fn a_client_without_the_right_certificate_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut files = authority.files();
    files.client_ca = Some(authority.pem.clone().into_bytes());
    for version in VERSIONS {
        for identity in [None, Some(other.certify(Some("ann"), &[]))] {
            let mut ends = Ends::new(&files, authority.client_config(&[version], identity));
            let mut heard = Ok(());
            while ends.opened.is_ok() {
                let said = ends.client_says();
                let replies = ends.take(&said);
                heard = ends.client_hears(&replies);
            }
            assert!(matches!(heard, Err(rustls::Error::AlertReceived(_))), "{heard:?}");
            assert!(ends.server.shakes_hands());
        }
    }
}

#[test]
fn files_that_are_wrong_are_named_with_what_is_wrong() {
    let authority = Authority::new();
    let wrong = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = authority.files();
        change(&mut files);
        match TlsServer::new(&files) {
            Ok(_) => panic!("they were taken"),
            Err(error) => error,
        }
    };
    let key = |files: &mut TlsFiles, text: &str| files.key = text.as_bytes().to_vec().into();
    let foreign = KeyPair::generate().expect("a key").serialize_pem();
    for ((file, what), named, says) in [
        (wrong(&|files| files.cert = b"nothing".to_vec()), TlsFile::Cert, "no certificate"),
        (wrong(&|files| files.cert.truncate(200)), TlsFile::Cert, "cannot be read"),
        (wrong(&|files| key(files, "nothing")), TlsFile::Key, "no private key"),
        (wrong(&|files| key(files, &foreign)), TlsFile::Key, "not the key of the certificate"),
        (
            wrong(&|files| key(files, &foreign.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))),
            TlsFile::Key,
            "password",
        ),
        (
            wrong(&|files| key(files, &foreign.replacen("-\n", "-\nProc-Type: 4,ENCRYPTED\n\n", 1))),
            TlsFile::Key,
            "password",
        ),
        (wrong(&|files| files.client_ca = Some(Vec::new())), TlsFile::ClientCa, "no certificate"),
    ] {
        assert!(file == named && what.contains(says), "{file:?}: {what}");
    }
}

#[test]
fn a_certificate_says_when_it_is_over() {
    let expires = TlsServer::new(&Authority::new().files()).expect("settings").expires();
    // 2040-01-01T00:00:00Z
    assert_eq!(expires.as_secs(), 2_208_988_800);
}

#[test]
fn a_record_is_whole_with_its_last_byte() {
    let record = [&[0x17, 3, 3, 1, 0][..], &[7; 256]].concat();
    for end in 0..record.len() {
        assert!(!is_whole(&record[..end]));
        assert_eq!(record_len(&record[..end]), (end >= 5).then_some(261));
    }
    assert!(is_whole(&record) && is_whole(&[&record[..], &[1]].concat()));
}
