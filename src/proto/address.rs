//! Addresses (RFC 1928 section 5), and names made canonical before anyone looks at them.
//!
//! A client may write an address as a name, in any spelling that a C resolver takes. Policy and resolver must
//! never disagree on what such a name is, so every spelling becomes the address here, and what is neither an
//! address nor a host name is refused. Nothing is resolved here.
//!
//! What is not ASCII becomes what the URL standard makes of it: UTS #46, whose result may be an address. So whoever writes a
//! rule and whoever asks mean the same name, whichever of them writes it in A-labels.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::error::{Decoded, ProtoError};
use super::name_error::NameError;
use crate::limits::{LABEL_MAX, NAME_MAX, NAME_TYPED_MAX};

/// ATYP of four octets of address.
pub const ATYP_IPV4: u8 = 0x01;
/// ATYP of a length octet and a name.
pub const ATYP_NAME: u8 = 0x03;
/// ATYP of sixteen octets of address.
pub const ATYP_IPV6: u8 = 0x04;

/// A host name in canonical form: ASCII letters in lower case, digits, hyphens and underscores in labels of
/// 1 to 63 bytes, at most 253 bytes in all, no trailing dot, and not an address in any spelling.
///
/// Underscores, and hyphens at the ends of a label, are no host names by the letter (RFC 1123 section 2.1)
/// but stand in the DNS and are asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lets a map by name be asked with a `&str`.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A target without its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address, however it was spelt. An IPv4-mapped IPv6 address is kept as it is: whether it may be
    /// reached is the guard's question.
    Ip(IpAddr),
    /// A name to resolve.
    Name(Name),
}

impl Host {
    /// Makes the bytes of a name canonical: an address in any spelling that `getaddrinfo` takes (parts left
    /// out, octal, hexadecimal, one number, full-width digits and dots, brackets, a trailing dot, any case)
    /// is [`Host::Ip`], the rest is [`Host::Name`], in A-labels where it is not ASCII.
    ///
    /// # Errors
    /// [`NameError`] when it is neither. A name whose last label is a number must be an IPv4 address, as in
    /// the URL standard ("ends in a number"), so no resolver can read one into it later.
    pub fn parse(typed: &[u8]) -> Result<Self, NameError> {
        let mut room = [0; NAME_TYPED_MAX];
        let text = &*to_ascii(typed, &mut room)?;
        if text.contains(':') || text.starts_with('[') {
            return ipv6(text).map(|address| Self::Ip(address.into()));
        }
        if text.is_empty() || text == "." {
            return Err(NameError::Empty);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let last = text.rsplit('.').next().unwrap_or(text);
        if is_number(last) {
            return loose_ipv4(text).map(|address| Self::Ip(address.into())).ok_or(NameError::NotAnAddress);
        }
        check_labels(text)?;
        Ok(Self::Name(Name(text.into())))
    }
}

impl fmt::Display for Host {
    /// As a person writes it; an IPv6 address without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// DST.ADDR and DST.PORT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The address or name.
    pub host: Host,
    /// The port; may be 0 here.
    pub port: u16,
}

impl fmt::Display for Target {
    /// `host:port`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Reads ATYP, address and port, which requests and UDP headers share.
///
/// # Errors
/// [`ProtoError::AddressType`] on its byte, [`ProtoError::Name`] as soon as the name is whole (for an empty
/// one, on the length). Port 0 is none: it depends on the command.
pub fn decode(input: &[u8]) -> Decoded<Target> {
    let Some((&kind, rest)) = input.split_first() else { return Ok(None) };
    let host = match kind {
        ATYP_IPV4 => rest.split_first_chunk::<4>().map(|(octets, rest)| (Host::Ip((*octets).into()), rest)),
        ATYP_IPV6 => rest.split_first_chunk::<16>().map(|(octets, rest)| (Host::Ip((*octets).into()), rest)),
        ATYP_NAME => match rest.split_first() {
            None => None,
            Some((&length, rest)) => match rest.split_at_checked(usize::from(length)) {
                None => None,
                Some((name, rest)) => Some((Host::parse(name)?, rest)),
            },
        },
        other => return Err(ProtoError::AddressType(other)),
    };
    let Some((host, rest)) = host else { return Ok(None) };
    let Some((port, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    Ok(Some((Target { host, port: u16::from_be_bytes(*port) }, input.len() - rest.len())))
}

/// Lower case, and A-labels for what is not ASCII.
fn to_ascii<'a>(typed: &[u8], room: &'a mut [u8; NAME_TYPED_MAX]) -> Result<Cow<'a, str>, NameError> {
    let lower = room.get_mut(..typed.len()).ok_or(NameError::TooLong(NAME_TYPED_MAX + 1))?;
    if let Some(&byte) = typed.iter().find(|byte| byte.is_ascii_control()) {
        return Err(NameError::Control(byte));
    }
    if !typed.is_ascii() {
        let mapped = Uts46::new().to_ascii(typed, AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
        return mapped.map(|text| Cow::Owned(text.into_owned())).map_err(|_| NameError::NonAscii);
    }
    lower.copy_from_slice(typed);
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).map(Cow::Borrowed).map_err(|_| NameError::NonAscii)
}

/// An IPv6 address, with brackets or without.
fn ipv6(text: &str) -> Result<Ipv6Addr, NameError> {
    let bare = match text.strip_prefix('[') {
        Some(opened) => opened.strip_suffix(']').ok_or(NameError::NotAnAddress)?,
        None => text,
    };
    if bare.contains('%') {
        return Err(NameError::Zone);
    }
    bare.parse().map_err(|_| NameError::NotAnAddress)
}

/// Whether a label reads as a number: decimal digits (octal among them), or 0x and hexadecimal ones.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The address that `inet_aton` reads: one to four numbers, of which the last fills the bytes that remain.
fn loose_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = [0_u64; 4];
    let mut count = 0;
    for part in text.split('.') {
        *parts.get_mut(count)? = number(part)?;
        count += 1;
    }
    let (&last, heads) = parts[..count].split_last()?;
    let room = 32 - 8 * heads.len();
    if last >> room != 0 || heads.iter().any(|&head| head > 0xff) {
        return None;
    }
    let address = heads.iter().enumerate().fold(last, |sum, (place, head)| sum | head << (24 - 8 * place));
    u32::try_from(address).ok().map(Ipv4Addr::from_bits)
}

/// A number as C writes it: 0x is hexadecimal, a leading 0 octal.
fn number(digits: &str) -> Option<u64> {
    // `from_str_radix` would take a sign.
    if !is_number(digits) {
        return None;
    }
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(hexadecimal) => (hexadecimal, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

fn check_labels(text: &str) -> Result<(), NameError> {
    if text.len() > NAME_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    for label in text.split('.') {
        match label.len() {
            0 => return Err(NameError::EmptyLabel),
            1..=LABEL_MAX => {}
            length => return Err(NameError::LabelTooLong(length)),
        }
        let stray = label.bytes().find(|byte| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte));
        if let Some(byte) = stray {
            return Err(NameError::Character(byte));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::splits::{error_at_last_byte, value};
    use super::*;

    fn address(typed: &str) -> IpAddr {
        match Host::parse(typed.as_bytes()) {
            Ok(Host::Ip(address)) => address,
            other => panic!("{typed:?} became {other:?}"),
        }
    }

    fn name(typed: &str) -> String {
        match Host::parse(typed.as_bytes()) {
            Ok(Host::Name(name)) => name.as_str().to_owned(),
            other => panic!("{typed:?} became {other:?}"),
        }
    }

    fn refused(typed: &[u8]) -> NameError {
        Host::parse(typed).expect_err(&format!("\"{}\" was taken", typed.escape_ascii()))
    }

    #[test]
    fn every_spelling_of_loopback_is_the_address() {
        let spellings = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "127.0.0.1.",
            "127.1.",
            "0x7f.1",
            "0X7F.0.0.0x1",
            "2130706433",
            "0x7f000001",
            "0x7F000001.",
            "017700000001",
            "0177.0.0.1",
            "0177.0.1",
            "00000177.00.0.01",
            "127.0x1",
            "１２７.0.0.1",
            "１２７．０．０．１",
            "127。0｡0．1",
            "０ｘ７ｆ.1",
            "０ｘ７Ｆ．１",
            "２１３０７０６４３３",
        ];
        for typed in spellings {
            assert_eq!(address(typed), IpAddr::from([127, 0, 0, 1]), "{typed:?}");
        }
    }

    #[test]
    fn numbers_fill_the_bytes_that_remain() {
        assert_eq!(address("0"), IpAddr::from([0, 0, 0, 0]));
        assert_eq!(address("1.65535"), IpAddr::from([1, 0, 255, 255]));
        assert_eq!(address("1.2.65535"), IpAddr::from([1, 2, 255, 255]));
        assert_eq!(address("4294967295"), IpAddr::from([255, 255, 255, 255]));
        assert_eq!(address("1.16777215"), IpAddr::from([1, 255, 255, 255]));
    }

    #[test]
    fn ipv6_with_and_without_brackets() {
        for typed in ["::1", "[::1]", "0:0:0:0:0:0:0:1", "[0000::0001]", "::０００１", "::0.0.0.1"] {
            assert_eq!(address(typed), IpAddr::V6(Ipv6Addr::LOCALHOST), "{typed:?}");
        }
        assert_eq!(address("2001:DB8::A"), address("2001:db8::a"));
    }

    #[test]
    fn an_ipv4_mapped_address_is_kept_as_typed() {
        assert_eq!(address("::ffff:127.0.0.1").to_string(), "::ffff:127.0.0.1");
        assert_eq!(address("[::FFFF:7f00:1]").to_string(), "::ffff:127.0.0.1");
    }

    #[test]
    fn names_lose_case_and_trailing_dot() {
        assert_eq!(name("Example.COM."), "example.com");
        assert_eq!(name("localhost"), "localhost");
        assert_eq!(name("ｅＸample．ｃom"), "example.com");
        assert_eq!(
            name("_dmarc.a-b.r3---sn-4g5.xn--bcher-kva.example"),
            "_dmarc.a-b.r3---sn-4g5.xn--bcher-kva.example"
        );
        assert_eq!(name("1.2.3.4.example"), "1.2.3.4.example");
        assert_eq!(name("0x7g"), "0x7g");
        assert_eq!(name("1e3"), "1e3");
    }

    #[test]
    fn a_name_that_ends_in_a_number_and_is_no_address_is_refused() {
        let typed = [
            "256.0.0.1",
            "1.2.3.256",
            "1.2.3.4.5",
            "4294967296",
            "1.16777216",
            "08",
            "1.2.3.09",
            "0x",
            "1.0x",
            "example.1",
            "example.0x1f",
            "a.b.1.",
            "1..1",
            ".1",
            "+127.0.0.1",
            "-1.1",
            "99999999999999999999999",
            "127.0.0.1 .1",
            "0x100000000",
        ];
        for typed in typed {
            assert_eq!(refused(typed.as_bytes()), NameError::NotAnAddress, "{typed:?}");
        }
    }

    #[test]
    fn broken_ipv6_and_zones_are_refused() {
        for typed in [
            "[::1",
            "::1]",
            "[::1].",
            "::1.",
            "[127.0.0.1]",
            "[]",
            "[",
            ":",
            "1::2::3",
            "::12345",
            "a:80",
            "[a]",
        ] {
            assert_eq!(refused(typed.as_bytes()), NameError::NotAnAddress, "{typed:?}");
        }
        for typed in ["fe80::1%eth0", "[fe80::1%1]", "::1%"] {
            assert_eq!(refused(typed.as_bytes()), NameError::Zone, "{typed:?}");
        }
    }

    #[test]
    fn control_bytes_and_strange_characters_are_refused() {
        assert_eq!(refused(b"127.0.0.1\0.example"), NameError::Control(0));
        assert_eq!(refused(b"\0"), NameError::Control(0));
        for byte in [b'\r', b'\n', b'\t', 0x1b, 0x7f] {
            assert_eq!(refused(&[b'a', byte, b'b']), NameError::Control(byte));
        }
        for byte in *b" \"'\\/@%*,;?#()<>{}|~`^&=+!$" {
            assert_eq!(refused(&[b'a', byte, b'b']), NameError::Character(byte));
        }
        for typed in [&b"a\xff"[..], b"\xc0\x80", "a\u{85}b".as_bytes(), "a\u{e000}.example".as_bytes()] {
            assert_eq!(refused(typed), NameError::NonAscii);
        }
        // Right to left and left to right in one label (RFC 5893), and a mark that nothing bears.
        for typed in ["a\u{5d0}.example", "\u{301}a.example", "xn--a\u{fc}.example"] {
            assert_eq!(refused(typed.as_bytes()), NameError::NonAscii, "{typed:?}");
        }
    }

    /// A rule that names what a client asks for has to have it, in whichever form either of them writes it.
    #[test]
    fn a_name_beyond_ascii_becomes_its_a_labels() {
        for typed in ["bücher.example", "BÜCHER.Example.", "bu\u{308}cher。example", "xn--bcher-KVA.example"]
        {
            assert_eq!(name(typed), "xn--bcher-kva.example", "{typed:?}");
        }
        assert_eq!(name("faß.example"), "xn--fa-hia.example");
        assert_eq!(name("例え.テスト"), "xn--r8jz45g.xn--zckzah");
        assert_eq!(name("مثال.إختبار"), "xn--mgbh0fb.xn--kgbechtv");
    }

    /// What is mapped to an address is one: the guard must not take it for a name.
    #[test]
    fn an_address_in_other_characters_is_the_address() {
        for typed in ["①②⑦.0.0.1", "１２７\u{ad}.1", "0ⓧ7f.1", "\u{1d7d9}\u{1d7da}\u{1d7df}.0.0.1"]
        {
            assert_eq!(address(typed), IpAddr::from([127, 0, 0, 1]), "{typed:?}");
        }
        assert_eq!(address("：：１"), IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(refused("fe80：：1％1".as_bytes()), NameError::Zone);
        assert_eq!(refused("a\u{a0}b".as_bytes()), NameError::Character(b' '));
        assert_eq!(refused("a／b".as_bytes()), NameError::Character(b'/'));
    }

    #[test]
    fn lengths_are_held() {
        assert_eq!(refused(b""), NameError::Empty);
        assert_eq!(refused(b"."), NameError::Empty);
        for typed in ["..", "a..b", ".a", "a.."] {
            assert_eq!(refused(typed.as_bytes()), NameError::EmptyLabel, "{typed:?}");
        }
        assert_eq!(name(&"a".repeat(63)).len(), 63);
        assert_eq!(refused("a".repeat(64).as_bytes()), NameError::LabelTooLong(64));
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(name(&longest).len(), 253);
        assert_eq!(name(&format!("{longest}.")).len(), 253);
        assert_eq!(refused(format!("{longest}b").as_bytes()), NameError::TooLong(254));
        assert_eq!(refused("a".repeat(255).as_bytes()), NameError::TooLong(255));
        assert_eq!(refused("a".repeat(4000).as_bytes()), NameError::TooLong(256));
        assert_eq!(refused("ü".repeat(128).as_bytes()), NameError::TooLong(256));
        // Few characters of two bytes each, and an A-label of more than 63.
        let many: String =
            ('\u{e0}'..='\u{f6}').chain('\u{f8}'..='\u{ff}').chain('\u{100}'..='\u{120}').collect();
        assert!(matches!(refused(many.as_bytes()), NameError::LabelTooLong(64..)));
    }

    #[test]
    fn addresses_on_the_wire_at_every_split() {
        assert_eq!(value(decode, b"\x01\x7f\x00\x00\x01\x00\x50").to_string(), "127.0.0.1:80");
        assert_eq!(
            value(decode, b"\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\x00\x00").to_string(),
            "[::ffff:127.0.0.1]:0"
        );
        assert_eq!(value(decode, b"\x03\x05A.b-.\xff\xff").to_string(), "a.b-:65535");
        assert_eq!(error_at_last_byte(decode, b"\x02"), ProtoError::AddressType(2));
        assert_eq!(error_at_last_byte(decode, b"\x03\x00"), NameError::Empty.into());
    }
}
