//! What a server says of its own keytab before it serves, and what it never says at all.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::Uid;

use crate::gssapi_realm::realm;
use crate::gssapi_session::every_level;
use crate::support::client::{Client, connect_ip};
use crate::support::gss::{
    AUTHENTICATION, ENCAPSULATED, GssClient, Initiator, PROTECTION, SERVICE, USUAL, demand, frame,
};
use crate::support::realm::Realm;
use crate::support::relay::quoted;
use crate::support::{Origin, Relay};

/// Not even root reads what no mode bit lets it read.
const WITHOUT_PRIVILEGE: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

/// `check` and `run` alike end with 1 and name the key and the reason.
fn refused(realm: &Realm, keytab: &Path, service: &str, words: &[&str]) {
    let builder = || {
        let builder = demand(Relay::builder(), realm);
        let builder = if Uid::effective().is_root() { builder.under(&WITHOUT_PRIVILEGE) } else { builder };
        builder.set("auth.gssapi", "keytab", &quoted(keytab.to_str().expect("UTF-8"))).set(
            "auth.gssapi",
            "service",
            &quoted(service),
        )
    };
    for (command, output) in [("check", builder().check()), ("run", builder().run_to_exit())] {
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        for word in words {
            assert!(said.contains(word), "{command} does not say {word:?}: {said}");
        }
        assert!(!said.contains("listening on"), "{command}: {said}");
    }
}

#[test]
fn a_server_without_its_keytab_does_not_start() {
    let realm = realm!();
    let missing = realm.path("missing.keytab");
    refused(realm, &missing, "rcmd", &["auth.gssapi", "keytab", "missing.keytab"]);
    // A folder cannot be read as a file, by nobody.
    refused(realm, &realm.path(""), "rcmd", &["auth.gssapi", "keytab"]);
    let fifo = realm.path("fifo.keytab");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    refused(realm, &fifo, "rcmd", &["auth.gssapi", "keytab", "not a regular file"]);
    let junk = realm.path("junk.keytab");
    std::fs::write(&junk, b"this is no keytab").expect("write a file");
    refused(realm, &junk, "rcmd", &["auth.gssapi", "keytab", "junk.keytab"]);
    let empty = realm.path("empty.keytab");
    std::fs::write(&empty, b"\x05\x02").expect("write a file");
    refused(realm, &empty, "rcmd", &["auth.gssapi"]);
}

/// Where there is no library a server that needs none starts, and one that is told to use it does not.
#[test]
fn a_server_without_the_library_starts_only_without_gssapi() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["libgssapi_krb5.so.2", "libgssapi.so.3"] {
        std::fs::write(directory.path().join(name), b"").expect("a library that is none");
    }
    let builder = || {
        let path = directory.path().as_os_str().to_owned();
        Relay::builder().environment(vec![("LD_LIBRARY_PATH", path)])
    };
    let with_gssapi = || builder().set("auth", "methods", r#"["gssapi"]"#);
    for (command, output) in [("check", with_gssapi().check()), ("run", with_gssapi().run_to_exit())] {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        for word in
            ["[auth] key `methods`", "gssapi", "no GSSAPI library can be loaded", "libgssapi_krb5.so.2"]
        {
            assert!(said.contains(word), "{command} does not say {word:?}: {said}");
        }
    }
    let (relay, origin) = (builder().start(), Origin::echo());
    let mut client = Client::through(relay.addr(), origin.addr);
    client.send(b"ping");
    client.expect(b"ping");
}

#[test]
fn a_server_without_its_services_key_does_not_start() {
    let realm = realm!();
    refused(realm, &realm.other_keytab(), "rcmd", &["auth.gssapi", "rcmd"]);
    refused(realm, &realm.keytab(), "host", &["auth.gssapi", "host"]);
    refused(realm, &realm.keytab(), "rcmd@elsewhere.example", &["auth.gssapi", "rcmd@elsewhere.example"]);
}

#[test]
fn an_unreadable_keytab_keeps_the_server_from_starting() {
    let realm = realm!();
    let keytab = realm.path("unreadable.keytab");
    std::fs::copy(realm.keytab(), &keytab).expect("copy the keytab");
    std::fs::set_permissions(&keytab, Permissions::from_mode(0o000)).expect("chmod");
    refused(realm, &keytab, "rcmd", &["auth.gssapi", "keytab", "ermission"]);
}

/// The service may be named with its host, and then serves that one.
#[test]
fn a_service_may_be_named_with_its_host() {
    let realm = realm!();
    let relay = demand(Relay::builder(), realm).set("auth.gssapi", "service", "\"rcmd@localhost\"").start();
    let mut client = GssClient::established(relay.addr(), realm, "alice");
    assert_eq!(client.ask_level(2), Some(2));
    let output = demand(Relay::builder(), realm).check();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The ways in which bytes are written by those who log them.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
    vec![
        hex.concat(),
        hex.concat().to_uppercase(),
        hex.join(" "),
        hex.join(", "),
        decimal.join(", "),
        bytes.escape_ascii().to_string(),
        String::from_utf8_lossy(bytes).into_owned(),
    ]
}

/// Neither a token, nor a key, nor what a message holds is ever logged; good sessions and bad ones.
#[test]
fn no_token_and_no_key_is_logged() {
    let realm = realm!();
    let origin = Origin::echo();
    let keytab = std::fs::read(realm.keytab()).expect("the keytab");
    for (level, format) in [("trace", "text"), ("debug", "json"), ("trace", "json")] {
        let builder =
            Relay::builder().set("log", "level", &quoted(level)).set("log", "format", &quoted(format));
        let relay = every_level(builder, realm);
        let mut seen: Vec<Vec<u8>> =
            vec![keytab[keytab.len() - 32..].to_vec(), b"s3cr3t payload of a message".to_vec()];
        let mut client = GssClient::greeted(relay.addr(), Initiator::of(realm, "alice"));
        let token = client.gss.initiate(SERVICE, USUAL).expect("a token").token;
        client.send_frame(AUTHENTICATION, &token);
        let answer = client.recv_frame(AUTHENTICATION);
        client.gss.proceed(&answer).expect("the server's token");
        let asked = client.gss.wrap(&[2], false);
        client.send_frame(PROTECTION, &asked);
        assert_eq!(client.granted(), Some(2));
        let request = client.seal(&connect_ip(origin.addr));
        client.client.send(&request);
        assert_eq!(client.reply().rep, 0);
        client.send(b"s3cr3t payload of a message");
        client.expect(b"s3cr3t payload of a message");
        let wrong = frame(ENCAPSULATED, &[0x5a; 100]);
        client.client.send(&wrong);
        client.client.drain_to_end();
        // A context that fails, too.
        let mut changed = Initiator::of(realm, "alice").initiate(SERVICE, USUAL).expect("a token").token;
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let mut thief = GssClient::greeted(relay.addr(), Initiator::of(realm, "bob"));
        thief.send_frame(AUTHENTICATION, &changed);
        thief.client.drain_to_end();
        relay.records(2);
        seen.extend([token, answer, asked, request, wrong[4..].to_vec(), changed]);
        for text in [relay.log(), relay.access_text()] {
            for bytes in &seen {
                // Any eight bytes in a row, away from what every token has in common, would be too many.
                let tail = &bytes[bytes.len() - 8..];
                for spelling in spellings(tail) {
                    assert!(!text.contains(&spelling), "{spelling:?} in {text}");
                }
            }
        }
        assert!(relay.log().contains("gssapi") || relay.access_text().contains("gssapi"));
    }
}
