//! Wire codecs of RFC 1928, RFC 1929, RFC 1961, SOCKS4 and the PROXY protocol: bytes to values and back, no I/O and no clock.
//!
//! Every decoder takes all that has arrived so far and says one of three things: more is needed, here is
//! the value and how many bytes it took, or this can never become a message. It keeps nothing between
//! calls, so where the input was split cannot matter; an offending byte is an error as soon as it is there.
//! A decoder takes no byte beyond its own message: what follows belongs to the next phase.

pub mod address;
pub mod client;
mod error;
pub mod greeting;
pub mod gss;
pub mod http;
mod name_error;
pub mod proxy_protocol;
pub mod reply;
pub mod request;
pub mod socks4;
pub mod udp;
pub mod userpass;

pub use address::{Host, Name, Target};
pub use error::{Decoded, ProtoError};
pub use greeting::{Greeting, Method, MethodSet};
pub use name_error::NameError;
pub use reply::{EncodedReply, Rep};
pub use request::{Request, RequestCommand};
pub use userpass::Credentials;

/// The VER octet of every SOCKS5 message (RFC 1928 section 3).
pub const VERSION: u8 = 0x05;

#[cfg(test)]
pub(crate) mod splits {
    //! One rule for all decoders: where the input was split must not show.

    use super::{Decoded, ProtoError};
    use std::fmt::Debug;

    /// Feeds every prefix of `input` and returns what the whole of it decodes to. A value appears exactly
    /// when its last byte does and never changes; an error, once there, stays the same.
    pub(crate) fn every_split<T: PartialEq + Debug>(
        decode: impl Fn(&[u8]) -> Decoded<T>,
        input: &[u8],
    ) -> Decoded<T> {
        let whole = decode(input);
        let mut settled = false;
        for end in 0..input.len() {
            match (decode(&input[..end]), &whole) {
                (Ok(None), Ok(Some((_, used)))) => assert!(end < *used, "no value from {end} bytes"),
                (Ok(None), _) => assert!(!settled, "an outcome was withdrawn at {end} bytes"),
                (early @ Ok(Some((_, used))), _) => {
                    assert!(used <= end, "took {used} bytes of {end}");
                    assert_eq!(early, whole, "value changed after {end} bytes");
                    settled = true;
                }
                (early @ Err(_), _) => {
                    assert_eq!(early, whole, "error changed after {end} bytes");
                    settled = true;
                }
            }
        }
        whole
    }

    /// The error that `input` meets with its last byte and no sooner, at any split.
    pub(crate) fn error_at_last_byte<T: PartialEq + Debug>(
        decode: impl Fn(&[u8]) -> Decoded<T>,
        input: &[u8],
    ) -> ProtoError {
        assert_eq!(decode(&input[..input.len() - 1]), Ok(None), "the error came before the last byte");
        every_split(decode, input).expect_err("an error was due")
    }

    /// The value of `message` when it stands alone and when a payload follows: never a byte too many.
    pub(crate) fn value<T: PartialEq + Debug>(decode: impl Fn(&[u8]) -> Decoded<T>, message: &[u8]) -> T {
        let (_, used) = every_split(&decode, message).expect("no error").expect("a whole message");
        assert_eq!(used, message.len());
        let followed = [message, b"\x00\x05\xffpayload behind"].concat();
        let (value, used) = every_split(&decode, &followed).expect("no error").expect("a whole message");
        assert_eq!(used, message.len(), "bytes of the payload were taken");
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::error::Error as _;

    #[test]
    fn a_name_error_is_the_source_and_not_repeated() {
        let error = ProtoError::from(NameError::Empty);
        assert_eq!(error.to_string(), "bad host name");
        assert_eq!(error.source().map(ToString::to_string), Some("empty".into()));
        assert_eq!(
            ProtoError::Http(b'G').to_string(),
            "an HTTP request (first byte 'G') where SOCKS5 is due"
        );
    }

    fn userpass_parts(input: &[u8]) -> Decoded<(Vec<u8>, Vec<u8>)> {
        Ok(userpass::decode(input)?
            .map(|(read, used)| ((read.user, read.password.expect("a password").to_vec()), used)))
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_depend_on_the_split(
            input in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = splits::every_split(greeting::decode, &input);
            let _ = splits::every_split(userpass_parts, &input);
            let _ = splits::every_split(request::decode, &input);
            let _ = splits::every_split(socks4::decode, &input);
            let _ = splits::every_split(address::decode, &input);
            for due in [gss::MessageType::Authentication, gss::MessageType::ProtectionLevel, gss::MessageType::Encapsulated] {
                let _ = splits::every_split(|input| gss::decode(input, due).map(|found| found.map(|(token, used)| (token.to_vec(), used))), &input);
            }
            let _ = udp::decode(&input);
            let _ = Host::parse(&input);
        }

        #[test]
        fn nearly_valid_requests_never_panic_and_never_depend_on_the_split(
            command in 0u8..5, reserved in 0u8..2, address_type in 0u8..6,
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let input = [&[5, command, reserved, address_type][..], &rest].concat();
            let _ = splits::every_split(request::decode, &input);
        }

        #[test]
        fn nearly_valid_socks4_requests_never_panic_and_never_depend_on_the_split(
            command in 0u8..4, port in 0u8..2, last in 0u8..3,
            rest in proptest::collection::vec(0u8..0x80, 0..600),
        ) {
            let input = [&[4, command, 0, port, 0, 0, 0, last][..], &rest].concat();
            let _ = splits::every_split(socks4::decode, &input);
        }
    }
}
