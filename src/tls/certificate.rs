//! What stands in a certificate (RFC 5280), beside what rustls makes of it.

use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::auth::{Identity, check_name};
use crate::config::UsersFrom;

/// id-at-commonName (RFC 4519 section 2.3).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// When a certificate is over, since 1970.
///
/// # Errors
/// In words: it is none.
pub(super) fn expires(der: &[u8]) -> Result<Duration, String> {
    let certificate = read(der)?;
    Ok(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}

/// The user that the owner of a certificate is taken for, which need not be one of the users file: whoever issues
/// certificates says who there is, as with GSSAPI.
///
/// # Errors
/// In words: it has no such name, or one that can be no user's.
pub(super) fn user_of(der: &[u8], from: UsersFrom) -> Result<Identity, String> {
    let certificate = read(der)?;
    let name = match from {
        UsersFrom::CommonName => common_name(&certificate).ok_or("its subject has no common name"),
        UsersFrom::AlternativeName => {
            alternative_name(&certificate).ok_or("it has no mail address or host name among its other names")
        }
    }?;
    check_name(&name).map_err(|error| error.to_string())?;
    Ok(Identity::User(name.into()))
}

fn read(der: &[u8]) -> Result<Certificate, String> {
    Certificate::from_der(der).map_err(|error| format!("it is no certificate: {error}"))
}

/// Its only one: of two there is no saying which is meant.
fn common_name(certificate: &Certificate) -> Option<String> {
    let subject = certificate.tbs_certificate().subject();
    let count = subject.iter().filter(|name| name.oid == COMMON_NAME).count();
    let name = subject.common_name().ok()?.filter(|_| count == 1)?;
    Some(name.value().into_owned())
}

fn alternative_name(certificate: &Certificate) -> Option<String> {
    let (_, names) = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()??;
    names.0.iter().find_map(|name| match name {
        GeneralName::Rfc822Name(name) | GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        _ => None,
    })
}
