//! The status codes that answers have.

/// A status code (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpStatus(u16);

/// The codes with their names, and what each is called on the wire.
macro_rules! statuses {
    ($($name:ident = $code:literal, $reason:literal, $doc:literal;)+) => {
        impl HttpStatus {
            $(
                #[doc = $doc]
                pub const $name: HttpStatus = HttpStatus($code);
            )+

            /// What stands behind the code on the wire.
            pub(super) fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)+
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    OK = 200, "OK", "It is done, or this is it.";
    BAD_REQUEST = 400, "Bad Request", "It makes no sense.";
    UNAUTHORIZED = 401, "Unauthorized", "It needs the token.";
    FORBIDDEN = 403, "Forbidden", "Not for whoever asks.";
    NOT_FOUND = 404, "Not Found", "There is no such thing.";
    METHOD_NOT_ALLOWED = 405, "Method Not Allowed", "That cannot be asked of it.";
    REQUEST_TIMEOUT = 408, "Request Timeout", "The request did not come in time.";
    CONFLICT = 409, "Conflict", "It cannot be done as things are.";
    LENGTH_REQUIRED = 411, "Length Required", "A body without a Content-Length.";
    CONTENT_TOO_LARGE = 413, "Content Too Large", "The body is too long.";
    URI_TOO_LONG = 414, "URI Too Long", "The target is too long.";
    UNSUPPORTED_MEDIA_TYPE = 415, "Unsupported Media Type", "The body is not JSON.";
    EXPECTATION_FAILED = 417, "Expectation Failed", "An Expect of something else than 100-continue.";
    MISDIRECTED = 421, "Misdirected Request", "The host that is asked is none of ours.";
    UNPROCESSABLE = 422, "Unprocessable Content", "It is well formed, and cannot be used.";
    TOO_MANY_REQUESTS = 429, "Too Many Requests", "Too many requests.";
    FIELDS_TOO_LARGE = 431, "Request Header Fields Too Large", "Too many fields, or too long ones.";
    INTERNAL = 500, "Internal Server Error", "It failed.";
    NOT_IMPLEMENTED = 501, "Not Implemented", "A method that nothing here has.";
    UNAVAILABLE = 503, "Service Unavailable", "Not now.";
    GATEWAY_TIMEOUT = 504, "Gateway Timeout", "Whoever knows did not answer in time.";
    VERSION_NOT_SUPPORTED = 505, "HTTP Version Not Supported", "Another version of HTTP.";
}

impl HttpStatus {
    /// The number.
    pub fn code(self) -> u16 {
        self.0
    }
}
