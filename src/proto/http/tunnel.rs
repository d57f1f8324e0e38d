//! The response to CONNECT, as a client of another proxy reads it (RFC 9110 section 9.3.6).

use super::error::HeadError;
use super::head::FieldRoom;
use super::response::parse;

/// The head of a response to CONNECT. It says nothing of a body: behind 2xx there is none, and no other is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelAnswer {
    /// Its status: 100 to 999.
    pub status: u16,
    /// The error of Proxy-Status, where there is one (RFC 9209 section 2.1.2).
    pub error: Option<String>,
}

impl TunnelAnswer {
    /// Reads the head at the front of all bytes that have arrived, of which `scanned` were looked at before. What it gives is how
    /// many bytes the head has, too.
    ///
    /// # Errors
    /// [`HeadError`], final whatever follows.
    pub fn read(bytes: &[u8], scanned: &mut usize) -> Result<Option<(TunnelAnswer, usize)>, HeadError> {
        // What speaks first is no server of HTTP: most of it has no line that would end.
        if !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]) {
            return Err(HeadError::StatusLine);
        }
        let mut room = FieldRoom::new();
        let Some((status, parsed, end)) = parse(bytes, scanned, &mut room)? else { return Ok(None) };
        let said = parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("proxy-status"));
        let error = said.filter_map(|field| proxy_error(field.value)).next();
        Ok(Some((TunnelAnswer { status, error }, end)))
    }
}

/// The first error that a value of Proxy-Status has: of a list, whose first member is the proxy that is closest to the target (RFC
/// 9209 section 2), each with parameters. Commas and semicolons in strings part nothing (RFC 8941 section 3.3.3).
fn proxy_error(value: &[u8]) -> Option<String> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(|byte| {
        let parts = !quoted && matches!(byte, b',' | b';');
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        parts
    });
    let error = parts.filter_map(|part| part.trim_ascii().strip_prefix(b"error=")).next()?;
    let is_token =
        error.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
    // Longer ones than those of the registry are nobody's.
    (is_token && (1..=64).contains(&error.len())).then(|| String::from_utf8_lossy(error).into_owned())
}
