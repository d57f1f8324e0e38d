//! Credentials of the Basic scheme (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::proto::userpass::Credentials;

/// Who the value of Proxy-Authorization says that the client is; absent where it is of another scheme. Inside it is absent
/// where the scheme is Basic and nobody can be meant: no base64, no colon, or a name or password that is empty or longer than
/// any login has (RFC 1929 section 2).
pub fn credentials(value: &[u8]) -> Option<Option<Credentials>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    Some(decode(rest.trim_ascii()))
}

/// Writes credentials as the value of the Basic scheme has them, behind its name. A colon in the name would begin the password: such
/// a name is nobody's there.
pub fn write_credentials(credentials: &Credentials, out: &mut Zeroizing<Vec<u8>>) {
    let mut pair = Zeroizing::new(Vec::with_capacity(credentials.user.len() + 256));
    pair.extend_from_slice(&credentials.user);
    pair.push(b':');
    pair.extend_from_slice(credentials.password().unwrap_or_default());
    let encoded = Zeroizing::new(STANDARD.encode(&*pair));
    out.extend_from_slice(encoded.as_bytes());
}

fn decode(encoded: &[u8]) -> Option<Credentials> {
    let pair = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    // RFC 7617 section 2: a user-id has no colon, a password may have some.
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    let fits = |part: &[u8]| (1..=usize::from(u8::MAX)).contains(&part.len());
    (fits(user) && fits(password))
        .then(|| Credentials { user: user.to_vec(), password: Some(Zeroizing::new(password.to_vec())) })
}
