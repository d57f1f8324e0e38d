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
