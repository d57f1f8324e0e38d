use super::*;
use crate::auth::secret::count;

const TODAY: Date = jiff::civil::date(2026, 11, 28);

/// "password", from the reference implementation's tests.
const ARGON2ID: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
/// "myPassword", from the Apache documentation's htpasswd example.
const HTPASSWD: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

fn parse(text: &str) -> Users {
    Users::parse(text, Path::new("users.passwd")).unwrap()
}

fn refusal(text: &str) -> String {
    Users::parse(text, Path::new("users.passwd")).unwrap_err().to_string()
}

/// A users file of two users, one of each kind, both with `password` at the lowest cost.
fn both_kinds(password: &[u8]) -> Users {
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let phc = argon2::PasswordHasher::hash_password(&argon2, password).unwrap();
    let bcrypt = bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap();
    parse(&format!("argon:{phc}\nbcrypt:{bcrypt}\n"))
}

fn user(name: &str) -> Option<Identity> {
    Some(Identity::User(name.into()))
}

#[test]
fn reads_fixed_hashes_of_both_kinds_between_comments_and_blank_lines() {
    let users =
        parse(&format!("\u{feff}# who may pass\r\n\r\nalice:{ARGON2ID}\r\n  \nmy Näme:{HTPASSWD}  \n"));
    assert_eq!(users.len(), 2);
    assert_eq!(users.verify(b"alice", b"password", TODAY), user("alice"));
    assert_eq!(users.verify("my Näme".as_bytes(), b"myPassword", TODAY), user("my Näme"));
    assert_eq!(users.verify(b"alice", b"myPassword", TODAY), None);
    assert_eq!(users.verify(b"Alice", b"password", TODAY), None);
}

/// HAZARDS 4.
#[test]
fn only_the_exact_password_matches() {
    let right = b"correct horse";
    let users = both_kinds(right);
    let mut one_off = right.to_vec();
    one_off[4] ^= 1;
    let wrong: [&[u8]; 13] = [
        b"",
        b"c",
        b"correct hors",
        b"orrect horse",
        b"correct horsee",
        b" correct horse",
        b"Correct horse",
        &one_off,
        b"correct horse\0",
        b"correct horse\0correct horse",
        b"correct\0horse",
        b"correct horse\xff",
        &[b'x'; 255],
    ];
    for name in ["argon", "bcrypt"] {
        assert_eq!(users.verify(name.as_bytes(), right, TODAY), user(name));
        for password in wrong {
            assert_eq!(users.verify(name.as_bytes(), password, TODAY), None, "{name} {password:?}");
        }
    }
}

/// HAZARDS 4: the name is compared as exactly as the password.
#[test]
fn only_the_exact_name_matches() {
    let users = both_kinds(b"pw");
    for name in
        [&b""[..], b"argo", b"rgon", b"argonn", b"argon\0", b"ARGON", b"argon ", b"\xff\xfe", &[b'a'; 255]]
    {
        assert_eq!(users.verify(name, b"pw", TODAY), None, "{name:?}");
    }
}

/// HAZARDS 4: what argon2id can hold it tells apart in full.
#[test]
fn argon2id_takes_255_bytes_nul_and_other_than_utf8() {
    let mut long = [b'p'; 255];
    for right in [&[0xff, 0xfe, 0x80][..], b"a\0b", &long.clone()] {
        assert_eq!(both_kinds(right).verify(b"argon", right, TODAY), user("argon"), "{right:?}");
    }
    let users = both_kinds(&long);
    assert_eq!(users.verify(b"argon", &long[..254], TODAY), None);
    long[254] = b'q';
    assert_eq!(users.verify(b"argon", &long, TODAY), None);
    assert_eq!(both_kinds(b"a\0b").verify(b"argon", b"a\0c", TODAY), None);
    assert_eq!(both_kinds(b"a\0b").verify(b"argon", b"a", TODAY), None);
}

#[test]
fn bcrypt_never_matches_by_truncation() {
    let long = [b'p'; 255];
    // bcrypt computes one hash for all of these.
    assert_eq!(both_kinds(&long[..72]).verify(b"bcrypt", &long[..72], TODAY), user("bcrypt"));
    assert_eq!(both_kinds(&long[..71]).verify(b"bcrypt", &long[..72], TODAY), None);
    for hashed in [72, 73, 255] {
        let users = both_kinds(&long[..hashed]);
        for sent in [73, 74, 255] {
            assert_eq!(users.verify(b"bcrypt", &long[..sent], TODAY), None, "{hashed} {sent}");
        }
    }
    assert_eq!(both_kinds(b"a").verify(b"bcrypt", b"a\0a", TODAY), None);
    assert_eq!(both_kinds(b"a").verify(b"bcrypt", b"a\0", TODAY), None);
    assert_eq!(both_kinds(b"\xff\xa3").verify(b"bcrypt", b"\xff\xa3", TODAY), user("bcrypt"));
    assert_eq!(both_kinds(b"\xff\xa3").verify(b"bcrypt", b"\xff\xa4", TODAY), None);
}

#[test]
fn every_login_does_one_comparison_and_an_unknown_user_the_costliest() {
    let argon2id = Work::Argon2id { memory_kib: 256, passes: 2, lanes: 1, output: 32 };
    let only_argon2id = parse(&format!("alice:{ARGON2ID}"));
    let both = parse(&format!("alice:{ARGON2ID}\nbob:{HTPASSWD}"));
    let long = [b'p'; 255];
    count::take();
    for password in [&b"password"[..], b"wrong", b"", b"a\0b", &long] {
        for (users, name, work) in [
            (&only_argon2id, &b"alice"[..], argon2id),
            (&only_argon2id, b"nobody", argon2id),
            (&only_argon2id, b"\xff", argon2id),
            (&both, b"bob", Work::Bcrypt { cost: 5 }),
            (&both, b"nobody", Work::Bcrypt { cost: 5 }),
            (&both, b"", Work::Bcrypt { cost: 5 }),
        ] {
            users.verify(name, password, TODAY);
            assert_eq!(count::take(), [work], "{name:?} {password:?}");
        }
    }
    assert_eq!(parse("").unknown.work(), Work::default());
}

/// Whoever tries passwords learns of nobody that he has the right one.
#[test]
fn who_may_not_log_in_costs_what_a_wrong_password_does() {
    let text = format!(
        "ann:{HTPASSWD}:disabled\nbob:{HTPASSWD}:expires=2026-11-27\neve:{HTPASSWD}:groups=a expires=2026-11-28\n"
    );
    let users = parse(&text);
    count::take();
    for (name, expected) in [("ann", None), ("bob", None), ("eve", user("eve"))] {
        for (password, expected) in [(&b"myPassword"[..], &expected), (b"wrong", &None)] {
            assert_eq!(users.verify(name.as_bytes(), password, TODAY), *expected, "{name}");
            assert_eq!(count::take(), [Work::Bcrypt { cost: 5 }], "{name}");
        }
    }
    assert_eq!(users.verify(b"eve", b"myPassword", TODAY.tomorrow().unwrap()), None);
}

#[test]
fn attributes_stand_behind_a_second_colon() {
    let users = parse(&format!(
        "ann:{ARGON2ID}:groups=night,staff expires=2027-01-31\r\nbob:{HTPASSWD}: \neve:{HTPASSWD}:groups=staff disabled"
    ));
    let attributes = |name| users.attributes(name).map(ToString::to_string);
    assert_eq!(attributes("ann").unwrap(), "groups=night,staff expires=2027-01-31");
    assert_eq!((attributes("bob").unwrap(), attributes("dan")), (String::new(), None));
    let groups: Vec<String> =
        users.groups().iter().map(|(group, users)| format!("{group}: {}", users.join(" "))).collect();
    assert_eq!(groups, ["night: ann", "staff: ann eve"]);
}

#[test]
fn whose_attributes_are_others_has_changed() {
    let line = |attributes: &str| parse(&format!("ann:{HTPASSWD}{attributes}\nbob:{HTPASSWD}\n"));
    for (old, new, changed) in
        [("", "", 0), ("", ":disabled", 1), (":groups=a", ":groups=b", 1), (":groups=a", ": groups=a ", 0)]
    {
        let changed_users = line(old).changed_in(&line(new));
        assert_eq!(changed_users.len(), changed, "{old} {new}: {changed_users:?}");
        assert!(!changed_users.contains("bob"));
    }
}

#[test]
fn errors_name_file_and_line_and_no_hash() {
    let cases = [
        (
            format!("alice:{ARGON2ID}\n\nalice:{HTPASSWD}"),
            "users.passwd:3: user \"alice\" stands on line 1 already",
        ),
        ("# x\nalice".into(), "users.passwd:2: expected NAME:HASH"),
        (format!(":{HTPASSWD}"), "users.passwd:1: the user name is empty"),
        (format!("a\tb:{HTPASSWD}"), "users.passwd:1: the user name holds a control character"),
        (
            format!(" a:{HTPASSWD}"),
            "users.passwd:1: the user name begins with # or has white space at an end",
        ),
        (
            format!("{}:{HTPASSWD}", "n".repeat(256)),
            "users.passwd:1: the user name has 256 bytes, at most 255 can be sent",
        ),
        (
            "bob:$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
                .into(),
            "users.passwd:1: user \"bob\": this hash asks for too much or too little: argon2id memory (m) is over 256 MiB",
        ),
        (
            "bob:hunter2".into(),
            "users.passwd:1: user \"bob\": plain text (or DES crypt) is not accepted: use an argon2id PHC string or \
             bcrypt (htpasswd -B)",
        ),
        (
            "bob:hunter2:groups=staff".into(),
            "users.passwd:1: user \"bob\": plain text (or DES crypt) is not accepted: use an argon2id PHC string or \
             bcrypt (htpasswd -B)",
        ),
        (
            format!("# x\nbob:{HTPASSWD}:group=staff"),
            "users.passwd:2: user \"bob\": \"group\" is none of \"groups=\", \"limits=\", \"egress=\", \"expires=\", \"disabled\", \"ident\"; did you mean \
             \"groups\"?",
        ),
        (
            format!("bob:{HTPASSWD}:expires=soon"),
            "users.passwd:1: user \"bob\": \"soon\" is no day: expected YEAR-MONTH-DAY",
        ),
        (
            format!("bob:{HTPASSWD}:disabled:more"),
            "users.passwd:1: user \"bob\": \"disabled:more\" is none of \"groups=\", \"limits=\", \"egress=\", \"expires=\", \"disabled\", \"ident\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(&text), expected);
    }
    assert!(Users::parse(&format!("{}:{HTPASSWD}", "n".repeat(255)), Path::new("f")).is_ok());
}

#[test]
fn load_names_the_line_that_is_not_utf8_and_the_file_that_is_absent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, [b"alice:", HTPASSWD.as_bytes(), b"\nb\xff:", HTPASSWD.as_bytes()].concat())
        .unwrap();
    let error = Users::load(&path).unwrap_err();
    assert_eq!((error.line(), error.to_string().contains(":2: not UTF-8")), (Some(2), true), "{error}");

    std::fs::write(&path, format!("alice:{HTPASSWD}\n")).unwrap();
    assert_eq!(Users::load(&path).unwrap().verify(b"alice", b"myPassword", TODAY), user("alice"));

    let error = Users::load(&dir.path().join("absent")).unwrap_err();
    assert!(error.to_string().contains("absent: cannot read the users file"), "{error}");
}

#[test]
fn debug_shows_no_hash() {
    let text = format!("{:?}", parse(&format!("alice:{ARGON2ID}\nbob:{HTPASSWD}")));
    assert!(!text.contains("nf65EO") && !text.contains("c4WoM") && !text.contains("c29tZXNhbHQ"), "{text}");
}

/// A user without a password is nobody's by a password, the empty one included, and by name only where the line says so; a user
/// with a password is never had by name.
#[test]
fn a_name_alone_is_enough_for_those_alone_who_are_listed_so() {
    let text = format!(
        "ann:*:ident groups=staff\nbob:*\ncarl:{HTPASSWD}\ndora:*:ident disabled\nemil:*:ident expires=2027-01-30\n"
    );
    let users = Users::parse(&text, Path::new("users")).expect("users");
    let day = |day| jiff::civil::date(2027, 1, day);
    for name in ["ann", "bob", "dora", "emil"] {
        for password in [&b""[..], b"*", b"ann", b"secret"] {
            assert_eq!(users.verify(name.as_bytes(), password, day(1)), None, "{name}");
        }
    }
    let named = |name: &[u8], today| users.named(name, today).map(|admitted| admitted.identity);
    assert_eq!(named(b"ann", day(1)), Some(Identity::User("ann".into())));
    assert_eq!(named(b"emil", day(30)), Some(Identity::User("emil".into())));
    assert_eq!(named(b"emil", day(31)), None, "his last day is over");
    for name in [&b"bob"[..], b"carl", b"dora", b"Ann", b"an", b"ann\0", b"", b"\xff"] {
        assert_eq!(named(name, day(1)), None, "{}", name.escape_ascii());
    }
    let both = Users::parse(&format!("ann:{HTPASSWD}:ident\n"), Path::new("users")).expect_err("both");
    assert!(both.to_string().contains("who has a password is not let in by name alone"), "{both}");
}

#[test]
fn who_is_given_a_password_is_changed_and_so_is_who_loses_it() {
    let users = |line: &str| Users::parse(&format!("{line}\n"), Path::new("users")).expect("users");
    let (named, plain, hashed) = (users("ann:*:ident"), users("ann:*"), users(&format!("ann:{HTPASSWD}")));
    for (before, after) in [(&named, &plain), (&plain, &named), (&named, &hashed), (&hashed, &named)] {
        assert_eq!(before.changed_in(after).len(), 1);
    }
    assert!(named.changed_in(&users("ann:*:ident")).is_empty());
}
