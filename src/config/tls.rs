//! TLS of a listener, as it is typed.

use std::path::PathBuf;

use super::at::Typed;
use super::choice::{Choice, UsersFrom};
use super::form::{Form, ValueReader, choice, path};
use super::nearest::unknown_key;
use super::typed::Value;
use super::value::{path_text, string};

/// The files that a listener's TLS is made of. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The certificate, and what it was issued by.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who issues the certificates that clients have to show; `None` where they show none.
    pub client_ca: Option<PathBuf>,
    /// Which name in these is the user's; `None` where they make nobody known. Only beside `client_ca`.
    pub users_from: Option<UsersFrom>,
}

const KEYS: [&str; 4] = ["cert", "key", "client_ca", "users_from"];
pub(super) const EXAMPLE: &str = "{ cert = \"proxy.pem\", key = \"proxy.key\" }";

/// Reads and prints it: a table.
#[derive(Clone)]
struct TlsForm;

pub(super) fn listener_tls() -> impl Form<ListenerTls> {
    TlsForm
}

impl Form<ListenerTls> for TlsForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<ListenerTls> {
        let Value::Table(entries) = &typed.value else {
            return reader.wrong_type(typed, &format!("a table such as {EXAMPLE}"), None);
        };
        let (mut cert, mut key, mut client_ca, mut users_from, mut right) = (None, None, None, None, true);
        for (name, typed) in entries {
            right &= match name.as_str() {
                "cert" => take(path().read(typed, reader), &mut cert),
                "key" => take(path().read(typed, reader), &mut key),
                "client_ca" => take(path().read(typed, reader), &mut client_ca),
                "users_from" => take(choice::<UsersFrom>().read(typed, reader), &mut users_from),
                other => {
                    reader.refuse(&typed.at, unknown_key(other, &KEYS));
                    false
                }
            };
        }
        let has = |key: &str| entries.iter().any(|(name, _)| name == key);
        for (needed, what) in [
            (!has("cert"), "needs cert, the file of the certificate"),
            (!has("key"), "needs key, the file of the certificate's private key"),
            (
                has("users_from") && !has("client_ca"),
                "has users_from and no client_ca: without that no client shows a certificate",
            ),
        ] {
            if needed {
                reader.refuse(&typed.at, what.to_owned());
                right = false;
            }
        }
        Some(ListenerTls { cert: cert?, key: key?, client_ca, users_from }).filter(|_| right)
    }

    fn print(&self, ListenerTls { cert, key, client_ca, users_from }: &ListenerTls) -> Option<String> {
        let file = |name: &str, path: &PathBuf| format!("{name} = {}", string(&path_text(path)));
        let mut all = vec![file("cert", cert), file("key", key)];
        all.extend(client_ca.as_ref().map(|path| file("client_ca", path)));
        all.extend(users_from.map(|from| format!("users_from = \"{}\"", from.name())));
        Some(format!("{{ {} }}", all.join(", ")))
    }
}

/// Takes a value that could be read; whether there is one.
fn take<T>(read: Option<T>, value: &mut Option<T>) -> bool {
    *value = read;
    value.is_some()
}
