//! Placeholders in commands and files: `{port}`, `{tls_port}`, `{tls}`, `{dir}`, `{bin}`, `{SERVICE}` and
//! `{relay_SERVICE}`.
//!
//! Only lower-case words in braces with nothing else between count, so that configuration files keep
//! their own braces.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::compare::complaint::near;
use crate::origin;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word<'a> {
    /// The number of the port to listen on at 127.0.0.1.
    Port,
    /// The number of the port to listen on for TLS.
    TlsPort,
    /// A folder with `cert.pem`, `key.pem` and `both.pem`, for a server that speaks TLS.
    Tls,
    /// The server's own folder.
    Dir,
    /// The folder of the running outflow-load, where outflow stands, too.
    Bin,
    /// Address of one of the origin's services.
    Service(&'a str),
    /// Address at which a relay accepts for that service.
    Front(&'a str),
}

impl<'a> Word<'a> {
    /// Reads what stands between the braces.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let is_service = |name: &str| origin::services().any(|service| service == name);
        match text {
            "port" => Ok(Self::Port),
            "tls_port" => Ok(Self::TlsPort),
            "tls" => Ok(Self::Tls),
            "dir" => Ok(Self::Dir),
            "bin" => Ok(Self::Bin),
            _ if is_service(text) => Ok(Self::Service(text)),
            _ => match text.strip_prefix("relay_") {
                Some(service) if is_service(service) => Ok(Self::Front(service)),
                _ => {
                    let fronts = origin::services().map(|name| format!("relay_{name}"));
                    let plain =
                        ["port", "tls_port", "tls", "dir", "bin"].into_iter().chain(origin::services());
                    let all: Vec<String> = plain.map(str::to_owned).chain(fronts).collect();
                    Err(near("placeholder", text, all.iter().map(String::as_str)))
                }
            },
        }
    }
}

/// What stands between braces in `text`, in order.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(word_at)
}

/// The word that `rest`, which follows a brace, begins with.
fn word_at(rest: &str) -> Option<&str> {
    let (word, _) = rest.split_once('}')?;
    let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    plain.then_some(word)
}

/// The values of one start of a server.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) tls: String,
    pub(crate) dir: String,
    pub(crate) bin: String,
    pub(crate) services: BTreeMap<String, SocketAddr>,
    pub(crate) fronts: BTreeMap<String, SocketAddr>,
}

impl Values {
    /// `text` with every placeholder replaced; the plan has checked that each is known.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut parts = text.split('{');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for rest in parts {
            match word_at(rest).and_then(|word| Some((word, self.value(Word::parse(word).ok()?)?))) {
                Some((word, value)) => {
                    out.push_str(&value);
                    out.push_str(&rest[word.len() + 1..]);
                }
                None => {
                    out.push('{');
                    out.push_str(rest);
                }
            }
        }
        out
    }

    fn value(&self, word: Word<'_>) -> Option<String> {
        match word {
            Word::Port => Some(self.port.to_string()),
            Word::TlsPort => Some(self.tls_port.to_string()),
            Word::Tls => Some(self.tls.clone()),
            Word::Dir => Some(self.dir.clone()),
            Word::Bin => Some(self.bin.clone()),
            Word::Service(name) => self.services.get(name).map(SocketAddr::to_string),
            Word::Front(name) => self.fronts.get(name).map(SocketAddr::to_string),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_are_replaced() {
        let page: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
        let values = Values {
            port: 1080,
            tls_port: 1443,
            tls: "/t".to_owned(),
            dir: "/d".to_owned(),
            bin: "/b".to_owned(),
            services: BTreeMap::from([("page".to_owned(), page)]),
            fronts: BTreeMap::new(),
        };
        assert_eq!(values.expand("{bin}/x -p {port} {page}"), "/b/x -p 1080 127.0.0.1:4000");
        assert_eq!(values.expand("{tls_port} {tls}/key.pem"), "1443 /t/key.pem");
        let json = r#"{"port":{port},"a":{}} acl { src 1 } {UP} {"#;
        assert_eq!(values.expand(json), r#"{"port":1080,"a":{}} acl { src 1 } {UP} {"#);
    }

    #[test]
    fn words_are_found_and_judged() {
        assert_eq!(words("a {port} { x } {relay_page}").collect::<Vec<_>>(), ["port", "relay_page"]);
        assert_eq!(Word::parse("relay_page"), Ok(Word::Front("page")));
        assert!(Word::parse("prot").expect_err("unknown").contains("`port`"));
    }
}
