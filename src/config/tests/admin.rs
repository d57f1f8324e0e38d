//! The admin endpoint's addresses: who needs a token, and what is no address.

use super::bad_files::expect_complaints;
use super::{complaints, parse};

#[test]
fn an_admin_endpoint_that_others_reach_needs_a_token() {
    let line = "[admin]\nlisten = [\"127.0.0.1:9180\", \"0.0.0.0:9181\"]\n";
    let what = "2: [admin] key `listen`: \"0.0.0.0:9181\" is reached from beyond this machine: set token_file = \"FILE\" \
                in [admin], or listen on a loopback address or a unix socket";
    assert_eq!(complaints(line), [what]);
    assert!(parse(&format!("{line}token_file = \"t\"\n")).is_ok());
    assert!(parse("[admin]\nlisten = \"unix:/run/a.sock\"\n").is_ok());
    expect_complaints(&[
        (
            "[admin]\nlisten = [\"[::1]:1\", \"[::1]:1\", \"[::1]:0\", \"[::1]:0\"]\n",
            &["2: [admin] key `listen`: \"[::1]:1\" is listed twice"],
        ),
        (
            "[admin]\nlisten = \"/run/a\"\n",
            &[
                "2: [admin] key `listen`: \"/run/a\" is neither \"unix:PATH\" nor an address and port; did you mean \"unix:/run/a\"?",
            ],
        ),
    ]);
}

#[test]
fn an_admin_endpoint_where_clients_are_accepted_is_refused() {
    let text = |listen: &str, admin: &str| {
        format!(
            "[server]\nopen_proxy = true\nlisten = [\"{listen}\"]\n[admin]\ntoken_file = \"t\"\nlisten = [\"[::1]:9180\", \"{admin}\"]\n"
        )
    };
    for (listen, admin) in [
        ("127.0.0.1:1080", "127.0.0.1:1080"),
        ("127.0.0.1:1080", "[::ffff:127.0.0.1]:1080"),
        ("0.0.0.0:1080", "127.0.0.1:1080"),
        ("[::]:1080", "127.0.0.1:1080"),
        ("[::1]:1080", "[::]:1080"),
        ("[::]:1080", "0.0.0.0:1080"),
    ] {
        let what = format!(
            "6: [admin] key `listen`: \"{admin}\" is taken by \"{listen}\" of [server] listen: it needs an address of its own"
        );
        expect_complaints(&[(&text(listen, admin), &[&what])]);
    }
    for (listen, admin) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:1080", "127.0.0.2:1080"),
        ("0.0.0.0:1080", "[::1]:1080"),
        ("127.0.0.1:1080", "unix:/run/a.sock"),
    ] {
        assert!(parse(&text(listen, admin)).is_ok(), "{listen} {admin}");
    }
    let default = "[admin]\nlisten = \"127.0.0.1:1080\"\n";
    expect_complaints(&[(
        default,
        &[
            "2: [admin] key `listen`: \"127.0.0.1:1080\" is taken by \"127.0.0.1:1080\" of [server] listen: it needs an address of its own",
        ],
    )]);
}
