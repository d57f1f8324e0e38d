//! Reloads that change the endpoint by which they are asked for.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::Relay;
use crate::support::api::Api;
use crate::support::http::Http;
use crate::support::wait::{self, PATIENCE};

const RELOAD: &str = "/api/v1/reload";

/// A server with an endpoint, and its file.
fn serve() -> (Relay, Api, PathBuf) {
    // Within Landlock a reload opens sockets beside others alone.
    let builder = Relay::builder().set("sandbox", "landlock", "false");
    let file = builder.directory().join("outflow.toml");
    let (relay, api) = Api::serve(builder);
    (relay, api, file)
}

/// Gives the file an `[admin]` with this list.
fn write(file: &Path, listen: &str) {
    let text = std::fs::read_to_string(file).expect("the configuration");
    let tables = text.split("\n\n").filter(|table| !table.starts_with("[admin]"));
    let admin = format!("[admin]\nlisten = {listen}\n");
    let text: Vec<&str> = [&*admin].into_iter().chain(tables).collect();
    std::fs::write(file, text.join("\n\n")).expect("write the configuration");
}

/// What a reload by this file comes to, whose `[admin]` has this list.
fn reload(api: Api, file: &Path, listen: &str, dry_run: bool) -> Value {
    write(file, listen);
    let answer = api.ask("POST", RELOAD, Some(&json!({ "dry_run": dry_run }).to_string()));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Who asks for the endpoint's end by the endpoint is told that it ended, and nobody waits for its thread.
#[test]
fn the_answer_to_a_reload_that_ends_the_endpoint_is_sent() {
    let (relay, api, file) = serve();
    let told = reload(api, &file, "[]", false);
    assert_eq!((&told["applied"], &told["changes"][0]["key"]), (&json!(true), &json!("admin.listen")));
    let gone = || std::net::TcpStream::connect(relay.admin_addr()).is_err();
    wait::until_true("the endpoint's end", PATIENCE, gone);
}

/// What an earlier server left behind is the reload's to replace, and not the dry run's.
#[test]
fn a_dry_run_leaves_each_file_as_it_is() {
    let (_relay, api, file) = serve();
    let folder = file.parent().expect("a folder");
    drop(UnixListener::bind(folder.join("left.sock")).expect("a socket"));
    let at = folder.display();
    let listen = format!("[\"127.0.0.1:0\", \"unix:{at}/left.sock\", \"unix:{at}/new.sock\"]");
    let told = reload(api, &file, &listen, true);
    assert_eq!((&told["applied"], &told["changes"][0]["key"]), (&json!(false), &json!("admin.listen")));
    let there = |name: &str| folder.join(name).exists();
    assert_eq!((there("left.sock"), there("new.sock")), (true, false));
    reload(api, &file, &listen, false);
    assert_eq!((there("left.sock"), there("new.sock")), (true, true));
}

/// From one address of a port to all of them and back, in one reload each; the dry run says so, too.
#[test]
fn an_address_takes_the_place_of_one_that_has_its_port() {
    let (relay, api, file) = serve();
    let port = relay.admin_addr().port();
    let token = file.with_file_name("token");
    std::fs::write(&token, "correct-horse-battery-staple\n").expect("write the token");
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("close the token");
    let socket = file.with_file_name("operator.sock");
    let unix = format!("\"unix:{}\"", socket.display());
    reload(api, &file, &format!("[\"127.0.0.1:{port}\", {unix}]"), false);
    for address in ["0.0.0.0", "127.0.0.1"] {
        for dry_run in [true, false] {
            let listen = format!("[\"{address}:{port}\", {unix}]\ntoken_file = \"token\"");
            write(&file, &listen);
            let body = json!({ "dry_run": dry_run }).to_string();
            let answer = Http::unix(&socket).ask("POST", RELOAD, Some(&body));
            assert_eq!((answer.status, &answer.json()["applied"]), (200, &json!(!dry_run)), "{answer:?}");
        }
        assert_eq!(Http::connect(relay.admin_addr()).get("/healthz").status, 200, "{address}");
    }
}
