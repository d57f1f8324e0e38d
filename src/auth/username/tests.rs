//! Names and passwords as clients type them, and what is read of them.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::limits::{PARAMETER_VALUE_MAX, USER_NAME_MAX};

const DASH: Separators = Separators { lead: b'-', joint: b'-' };
const UNDERSCORE: Separators = Separators { lead: b'_', joint: b'-' };

/// The words of the format in the documentation, and one for each other kind.
fn words() -> Vec<(String, ParameterKind)> {
    [
        ("session", ParameterKind::Session),
        ("sessid", ParameterKind::Session),
        ("ttl", ParameterKind::Ttl(TtlUnit::Minutes)),
        ("lifetime", ParameterKind::Ttl(TtlUnit::Written)),
        ("seconds", ParameterKind::Ttl(TtlUnit::Seconds)),
        ("hours", ParameterKind::Ttl(TtlUnit::Hours)),
        ("country", ParameterKind::Tag(0)),
        ("city", ParameterKind::Tag(1)),
        ("egress", ParameterKind::Pool),
        ("sign", ParameterKind::Signature),
        ("streaming", ParameterKind::Ignored),
    ]
    .map(|(word, kind)| (word.to_owned(), kind))
    .into()
}

fn rules_of(prefix: &str, separators: Separators, position: ParameterPosition) -> UsernameRules {
    UsernameRules {
        syntax: ParameterSyntax::new(prefix, separators, words(), ["area".to_owned(), "city".to_owned()]),
        position,
        on_unknown: OnParameter::Refuse,
        on_duplicate: OnParameter::Refuse,
        max_ttl: Duration::from_secs(7 * 86_400),
        key: None,
    }
}

fn rules() -> UsernameRules {
    rules_of("", DASH, ParameterPosition::User)
}

fn login(user: &[u8], password: &[u8]) -> Credentials {
    Credentials { user: user.to_vec(), password: Some(Zeroizing::new(password.to_vec())) }
}

/// What was read, in a form to compare: the bare name, the bare password, session, seconds, tags, pool.
fn read(rules: &UsernameRules, user: &str, password: &str) -> Result<String, ParameterFault> {
    let mut login = login(user.as_bytes(), password.as_bytes());
    let parameters = rules.take(&mut login)?;
    let (name, secret) = (
        String::from_utf8_lossy(&login.user),
        String::from_utf8_lossy(login.password().expect("a password")),
    );
    let Some(parameters) = parameters else { return Ok(format!("{name}:{secret}")) };
    let SessionParameters { session, ttl, tags, pool, .. } = *parameters;
    let or_none = |text: Option<Box<str>>| text.unwrap_or_else(|| "none".into());
    let seconds = ttl.map_or(0, |ttl| ttl.as_secs());
    let tags: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(format!("{name}:{secret} {} {seconds} [{}] {}", or_none(session), tags.join(","), or_none(pool)))
}

fn user(typed: &str) -> Result<String, ParameterFault> {
    read(&rules(), typed, "pw")
}

#[test]
fn parameters_stand_behind_the_user_in_any_order() {
    for typed in [
        "alice-session-x7-ttl-10-country-de-egress-lab",
        "alice-egress-lab-country-de-ttl-10-session-x7",
        "alice-country-de-sessid-x7-egress-lab-seconds-600",
    ] {
        assert_eq!(user(typed), Ok("alice:pw x7 600 [area=de] lab".into()), "{typed}");
    }
    assert_eq!(user("alice-city-a_b.c~d"), Ok("alice:pw none 0 [city=a_b.c~d] none".into()));
    assert_eq!(user("alice-streaming-1-streaming-1"), Ok("alice:pw none 0 [] none".into()));
}

/// The user is what stands before the first separator, known word, separator.
#[test]
fn the_first_known_word_between_separators_ends_the_user() {
    for (typed, bare) in [
        ("alice", "alice"),
        ("alice-b-c", "alice-b-c"),
        ("alice-session", "alice-session"),
        ("session-x", "session-x"),
        ("alice-sessions-x", "alice-sessions-x"),
        ("alice-Session-x", "alice-Session-x"),
        ("alice--session", "alice--session"),
        ("", ""),
        ("-", "-"),
        ("alice_session_x", "alice_session_x"),
    ] {
        assert_eq!(user(typed), Ok(format!("{bare}:pw")), "{typed}");
    }
    assert_eq!(user("b-c-session-x"), Ok("b-c:pw x 0 [] none".into()));
    assert_eq!(user("session-session-x"), Ok("session:pw x 0 [] none".into()));
    assert_eq!(user("alice--session-x"), Ok("alice-:pw x 0 [] none".into()));
    assert_eq!(user("\u{e9}-session-x"), Ok("\u{e9}:pw x 0 [] none".into()));
}

#[test]
fn what_is_no_parameter_fails_the_login() {
    let long = format!("alice-session-{}", "x".repeat(PARAMETER_VALUE_MAX + 1));
    for (typed, fault) in [
        ("alice-session-x-foo-1", ParameterFault::Unknown),
        ("alice-session-x-SESSION-y", ParameterFault::Unknown),
        ("alice-session-x-session-y", ParameterFault::Duplicate),
        ("alice-session-x-sessid-x", ParameterFault::Duplicate),
        ("alice-ttl-1-lifetime-1h", ParameterFault::Duplicate),
        ("alice-country-de-country-fr", ParameterFault::Duplicate),
        ("alice-session-", ParameterFault::Incomplete),
        ("alice-session-x-", ParameterFault::Incomplete),
        ("alice-session-x-ttl", ParameterFault::Incomplete),
        ("alice-session--x", ParameterFault::Incomplete),
        ("alice-session-x--y", ParameterFault::Incomplete),
        ("-session-x", ParameterFault::Incomplete),
        ("alice-session-a b", ParameterFault::Value),
        ("alice-session-a%20b", ParameterFault::Value),
        ("alice-session-\u{e9}", ParameterFault::Value),
        ("alice-session-a\0", ParameterFault::Value),
        ("alice-session-a:b", ParameterFault::Value),
        (&long, ParameterFault::Value),
        ("alice-ttl-0", ParameterFault::Value),
        ("alice-ttl-10m", ParameterFault::Value),
        ("alice-ttl-1.5", ParameterFault::Value),
        ("alice-ttl-1234567890", ParameterFault::Value),
        ("alice-lifetime-10", ParameterFault::Value),
        ("alice-lifetime-h", ParameterFault::Value),
        ("alice-lifetime-1w", ParameterFault::Value),
        ("alice-lifetime-1h30m", ParameterFault::Value),
    ] {
        let mut given = login(typed.as_bytes(), b"pw");
        assert_eq!(rules().take(&mut given), Err(fault), "{typed}");
        assert_eq!(given.user, typed.as_bytes(), "the login is left as it was");
        assert!(rules().bare(typed.as_bytes()).len() <= 5, "{typed}");
    }
}

#[test]
fn unknown_words_and_second_ones_may_be_ignored() {
    let ignoring =
        UsernameRules { on_unknown: OnParameter::Ignore, on_duplicate: OnParameter::Ignore, ..rules() };
    let read = |typed| read(&ignoring, typed, "pw");
    assert_eq!(read("alice-session-x-foo-1-ttl-1"), Ok("alice:pw x 60 [] none".into()));
    assert_eq!(read("alice-session-x-sessid-y-ttl-1-ttl-2"), Ok("alice:pw x 60 [] none".into()));
    // The user still ends at the first word that is known, and not before.
    assert_eq!(read("alice-foo-1-session-x"), Ok("alice-foo-1:pw x 0 [] none".into()));
    assert_eq!(read("alice-session-x-foo"), Err(ParameterFault::Incomplete));
    assert_eq!(read("alice-session-x-foo-a%b"), Err(ParameterFault::Value));
}

#[test]
fn times_have_units_and_are_capped() {
    for (typed, seconds) in [
        ("ttl-10", 600),
        ("seconds-90", 90),
        ("hours-2", 7_200),
        ("lifetime-90s", 90),
        ("lifetime-30m", 1_800),
        ("lifetime-24h", 86_400),
        ("lifetime-7d", 604_800),
        ("lifetime-168h", 604_800),
        ("lifetime-169h", 604_800),
        ("hours-999999999", 604_800),
        ("lifetime-999999999d", 604_800),
        ("ttl-000000001", 60),
    ] {
        let expected = format!("alice:pw none {seconds} [] none");
        assert_eq!(user(&format!("alice-{typed}")), Ok(expected), "{typed}");
    }
}

#[test]
fn parameters_behind_the_password_are_cut_off_it() {
    let rules = rules_of("", UNDERSCORE, ParameterPosition::Password);
    let read = |password| read(&rules, "alice_session-x", password);
    assert_eq!(
        read("secret_session-x7_lifetime-168h"),
        Ok("alice_session-x:secret x7 604800 [] none".into())
    );
    assert_eq!(read("se_cr-et_city-b"), Ok("alice_session-x:se_cr-et none 0 [city=b] none".into()));
    assert_eq!(read("secret_session_x"), Ok("alice_session-x:secret_session_x".into()));
    assert_eq!(read("_session-x"), Err(ParameterFault::Incomplete));
    assert_eq!(read("secret_session-x-y"), Err(ParameterFault::Value), "the other separator, too");
    assert_eq!(read("secret_session-x_"), Err(ParameterFault::Incomplete));
    assert_eq!(read("secret_session-x_session_y"), Err(ParameterFault::Incomplete));
    let mut given = login(b"alice", b"secret_session-x");
    let parameters = rules.take(&mut given).unwrap().unwrap();
    assert_eq!((parameters.typed.as_deref(), parameters.session.as_deref()), (None, Some("x")));
}

#[test]
fn parameters_may_stand_behind_both() {
    let rules = rules_of("", DASH, ParameterPosition::Both);
    assert_eq!(read(&rules, "alice-session-x", "pw-ttl-1"), Ok("alice:pw x 60 [] none".into()));
    assert_eq!(read(&rules, "alice", "pw-ttl-1"), Ok("alice:pw none 60 [] none".into()));
    assert_eq!(read(&rules, "alice-session-x", "pw"), Ok("alice:pw x 0 [] none".into()));
    assert_eq!(read(&rules, "alice-session-x", "pw-session-y"), Err(ParameterFault::Duplicate));
    // A name alone, as SOCKS4 has it.
    let mut named = Credentials { user: b"alice-session-x".to_vec(), password: None };
    assert_eq!(rules.take(&mut named).unwrap().unwrap().session.as_deref(), Some("x"));
    assert_eq!((&named.user[..], named.password()), (&b"alice"[..], None));
}

#[test]
fn a_prefix_is_no_part_of_the_user() {
    let rules = rules_of("customer-", DASH, ParameterPosition::User);
    assert_eq!(read(&rules, "customer-alice-session-x", "pw"), Ok("alice:pw x 0 [] none".into()));
    assert_eq!(read(&rules, "alice-session-x", "pw"), Ok("alice:pw x 0 [] none".into()));
    assert_eq!(read(&rules, "alice", "pw"), Ok("alice:pw".into()));
    assert_eq!(read(&rules, "customer-", "pw"), Err(ParameterFault::Incomplete));
    let mut given = login(b"customer-alice", b"pw");
    let parameters = rules.take(&mut given).unwrap().unwrap();
    assert_eq!((parameters.typed.as_deref(), &given.user[..]), (Some("customer-alice"), &b"alice"[..]));
}

/// Made by Python's hmac: `hmac.new(key, text, "sha256").hexdigest()[:32]`.
#[test]
fn a_signature_is_that_of_the_name_and_the_parameters_before_it() {
    let key = SignatureKey::of_file(b"0123456789abcdef0123456789abcdef\n");
    assert!(key.is_some() && SignatureKey::of_file(b"0123456789abcdef0123456789abcde\n").is_none());
    let signed = UsernameRules { key: key.clone(), ..rules() };
    let right = "alice-session-x7-ttl-10-sign-58b749e184634f8f5be743f6c332283e";
    let take = |typed: &str| read(&signed, typed, "pw");
    assert_eq!(take(right), Ok("alice:pw x7 600 [] none".into()));
    assert_eq!(take("alice"), Ok("alice:pw".into()), "nothing is signed where nothing is said");
    for wrong in [
        "alice-session-x7-ttl-10",
        "bob-session-x7-ttl-10-sign-58b749e184634f8f5be743f6c332283e",
        "alice-session-x8-ttl-10-sign-58b749e184634f8f5be743f6c332283e",
        "alice-ttl-10-session-x7-sign-58b749e184634f8f5be743f6c332283e",
        &right.to_uppercase().replace("ALICE-SESSION-X7-TTL-10-SIGN", "alice-session-x7-ttl-10-sign"),
        &right[..right.len() - 1],
        &right[..right.len() - 2],
        &format!("{right}0"),
        &format!("{right}-country-de"),
        &format!("{right}-sign-58b749e184634f8f5be743f6c332283e"),
        "alice-session-x7-ttl-10-sign-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    ] {
        assert_eq!(take(wrong), Err(ParameterFault::Signature), "{wrong}");
    }
    // Behind the password it is the same: nothing of the password is signed.
    let behind = rules_of("", UNDERSCORE, ParameterPosition::Password);
    let behind = UsernameRules { key: key.clone(), ..behind };
    for secret in ["secret", "other"] {
        let password = format!("{secret}_session-x7_lifetime-168h_sign-c08439b442f5097e12cbcd1724334715");
        assert_eq!(read(&behind, "alice", &password), Ok(format!("alice:{secret} x7 604800 [] none")));
    }
    // Behind both it is the last of all, and signs what stands behind the name, too.
    let both = UsernameRules { key, ..rules_of("", DASH, ParameterPosition::Both) };
    let (of_all, of_name) = ("58b749e184634f8f5be743f6c332283e", "63ac61b8b22f7509e402c89e98c73507");
    assert!(read(&both, "alice-session-x7", &format!("pw-ttl-10-sign-{of_all}")).is_ok());
    assert!(read(&both, &format!("alice-session-x7-sign-{of_name}"), "pw").is_ok());
    let spliced = read(&both, &format!("alice-session-x7-sign-{of_name}"), "pw-ttl-10");
    assert_eq!(spliced, Err(ParameterFault::Signature));
    assert_eq!(read(&both, "alice-session-x7", "pw-ttl-10"), Err(ParameterFault::Signature));
    assert_eq!(format!("{:?}", both.key), "Some(SignatureKey)");
}

/// The longest names of separators, words and both: each byte is looked at as part of one word at most, so that what a name
/// costs grows as its length does, whoever chose it.
#[test]
fn no_byte_of_a_name_is_in_two_words() {
    let repeated = |unit: &str| unit.repeat(USER_NAME_MAX)[..USER_NAME_MAX].to_owned();
    for separators in [DASH, UNDERSCORE] {
        let rules = rules_of("", separators, ParameterPosition::Both);
        for unit in ["-", "_", "-a", "-session", "_session-", "-session-x", "_session_x", "-_", "a"] {
            let typed = repeated(unit);
            let looked_at: usize =
                rules.syntax.words_in(typed.as_bytes()).map(|word| 1 + word.text.len()).sum();
            assert!(looked_at <= USER_NAME_MAX, "{unit}: {looked_at}");
        }
    }
}

/// Prints what names of 16, 64 and 255 bytes cost, of the units that cost most for a byte:
/// `cargo test --release --lib the_cost_of_a_name -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_name_is_that_of_its_bytes() {
    for unit in ["-", "-a", "-sessioo-", "a-", "alice"] {
        // The best of many that are short: what else the machine does adds to the others.
        let cost = |length: usize| {
            let typed = unit.repeat(length)[..length].to_owned();
            let (rules, times) = (rules(), 20_u32);
            let batch = |_| {
                let began = std::time::Instant::now();
                let cut = || rules.syntax.cut(std::hint::black_box(typed.as_bytes()));
                assert_eq!((0..times).filter(|_| cut().is_some()).count(), 0, "{unit}");
                began.elapsed() / times
            };
            (0..5_000).map(batch).min().expect("batches")
        };
        let [short, middle, long] = [16, 64, USER_NAME_MAX].map(cost);
        println!("{unit:?}: {short:?} for 16 bytes, {middle:?} for 64, {long:?} for 255");
        // Of 16 bytes the last ones are too few to begin a parameter: they cost nothing.
        assert!(long < 8 * middle, "more than twice as much for a byte");
    }
}

/// Half of the bytes are separators: a parameter for each two of them.
#[test]
fn as_many_parameters_as_255_bytes_have_are_read_or_refused() {
    let ignoring =
        UsernameRules { on_unknown: OnParameter::Ignore, on_duplicate: OnParameter::Ignore, ..rules() };
    let many = format!("a-ttl-1{}", "-b-c".repeat(62));
    assert_eq!(many.len(), USER_NAME_MAX);
    assert_eq!(read(&ignoring, &many, "pw"), Ok("a:pw none 60 [] none".into()));
    assert_eq!(user(&many), Err(ParameterFault::Unknown));
    assert_eq!(read(&ignoring, &"-".repeat(USER_NAME_MAX), "pw"), Ok(format!("{}:pw", "-".repeat(255))));
}

/// What the documentation says, read by splitting and comparing, with no thought for what it costs.
fn slowly(rules: &UsernameRules, typed: &str) -> Result<String, ParameterFault> {
    let Separators { lead, joint } = rules.syntax.separators;
    let (lead, joint) = (char::from(lead), char::from(joint));
    let words: HashMap<String, ParameterKind> = words().into_iter().collect();
    let starts =
        |at: usize| words.keys().any(|word| typed[at..].starts_with(&format!("{lead}{word}{joint}")));
    let Some(cut) = (0..typed.len()).find(|at| typed.is_char_boundary(*at) && starts(*at)) else {
        return Ok(format!("{typed}:pw"));
    };
    if cut == 0 {
        return Err(ParameterFault::Incomplete);
    }
    let mut seen: HashMap<&str, String> = HashMap::new();
    let mut parts: Vec<&str> = typed[cut + 1..].split(lead).collect();
    if lead == joint {
        // Word and value take turns: two parts are one parameter.
        let halves = std::mem::take(&mut parts);
        for pair in halves.chunks(2) {
            let [word, value] = pair else { return first_fault(&seen, pair[0]) };
            one(rules, &words, &mut seen, word, value)?;
        }
    }
    for part in parts {
        let Some((word, value)) = part.split_once(joint) else { return first_fault(&seen, part) };
        one(rules, &words, &mut seen, word, value)?;
    }
    let text = |key: &str| seen.get(key).cloned().unwrap_or_else(|| "none".to_owned());
    let seconds = match seen.get("ttl") {
        None => 0,
        Some(typed) => seconds_of(typed).ok_or(ParameterFault::Value)?.min(rules.max_ttl.as_secs()),
    };
    let tags: Vec<String> =
        ["area", "city"].iter().filter_map(|tag| Some(format!("{tag}={}", seen.get(*tag)?))).collect();
    let name = &typed[..cut];
    Ok(format!("{name}:pw {} {seconds} [{}] {}", text("session"), tags.join(","), text("pool")))
}

fn first_fault(seen: &HashMap<&str, String>, _: &str) -> Result<String, ParameterFault> {
    match seen.contains_key("sign") {
        true => Err(ParameterFault::Signature),
        false => Err(ParameterFault::Incomplete),
    }
}

fn one(
    rules: &UsernameRules,
    words: &HashMap<String, ParameterKind>,
    seen: &mut HashMap<&'static str, String>,
    word: &str,
    value: &str,
) -> Result<(), ParameterFault> {
    let Separators { lead, joint } = rules.syntax.separators;
    if seen.contains_key("sign") {
        return Err(ParameterFault::Signature);
    }
    if word.is_empty() || value.is_empty() {
        return Err(ParameterFault::Incomplete);
    }
    let allowed = |c: char| {
        (c.is_ascii_alphanumeric() || "._~".contains(c)) && c != char::from(lead) && c != char::from(joint)
    };
    if value.len() > PARAMETER_VALUE_MAX || !value.chars().all(allowed) {
        return Err(ParameterFault::Value);
    }
    let key = match words.get(word) {
        None if rules.on_unknown == OnParameter::Ignore => return Ok(()),
        None => return Err(ParameterFault::Unknown),
        Some(ParameterKind::Ignored) => return Ok(()),
        Some(ParameterKind::Session) => "session",
        Some(ParameterKind::Ttl(_)) => "ttl",
        Some(ParameterKind::Tag(0)) => "area",
        Some(ParameterKind::Tag(_)) => "city",
        Some(ParameterKind::Pool) => "pool",
        Some(ParameterKind::Signature) => "sign",
    };
    let value = if key == "ttl" { format!("{word} {value}") } else { value.to_owned() };
    match seen.contains_key(key) {
        true if rules.on_duplicate == OnParameter::Refuse => Err(ParameterFault::Duplicate),
        true => Ok(()),
        false => {
            seen.insert(key, value);
            Ok(())
        }
    }
}

fn seconds_of(typed: &str) -> Option<u64> {
    let (word, value) = typed.split_once(' ')?;
    let (digits, unit) = match word {
        "ttl" => (value, 60),
        "seconds" => (value, 1),
        "hours" => (value, 3_600),
        _ => {
            let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
            units.iter().find_map(|(unit, seconds)| Some((value.strip_suffix(unit)?, *seconds)))?
        }
    };
    let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|number| plain && *number > 0).map(|number| number * unit)
}

/// What names are made of here: words, separators, values, and what is none of them.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["-", "_", "--", "_-"]).prop_map(str::to_owned),
        4 => prop::sample::select(vec![
            "session", "sessid", "ttl", "lifetime", "seconds", "hours", "country", "city", "egress", "streaming", "sign",
        ])
        .prop_map(str::to_owned),
        4 => prop::sample::select(vec!["x", "10", "0", "1h", "7d", "a.b", "a_b", "%20", "\u{e9}", " ", ":"])
            .prop_map(str::to_owned),
        1 => "[a-z0-9_.~-]{0,12}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Names of whole parameters, in which a single byte may be another.
fn nearly_right() -> impl Strategy<Value = String> {
    let words = vec!["session", "ttl", "lifetime", "country", "city", "egress", "streaming", "foo"];
    let values = vec!["x", "10", "1h", "de", "a.b"];
    let one = (prop::sample::select(words), prop::sample::select(values));
    (prop::collection::vec(one, 0..6), any::<bool>(), any::<prop::sample::Index>(), "[-_a%0]?").prop_map(
        |(pairs, dash, at, other)| {
            let lead = if dash { '-' } else { '_' };
            let mut typed = String::from("alice");
            pairs.iter().for_each(|(word, value)| typed += &format!("{lead}{word}-{value}"));
            typed.insert_str(at.index(typed.len()), &other);
            typed
        },
    )
}

proptest! {
    #[test]
    fn what_is_read_is_what_a_slow_reader_reads(
        typed in prop_oneof![pieces(), nearly_right()],
        underscore in any::<bool>(),
        (unknown, duplicate) in any::<(bool, bool)>(),
    ) {
        let on = |ignore| if ignore { OnParameter::Ignore } else { OnParameter::Refuse };
        let separators = if underscore { UNDERSCORE } else { DASH };
        let rules = UsernameRules {
            on_unknown: on(unknown),
            on_duplicate: on(duplicate),
            ..rules_of("", separators, ParameterPosition::User)
        };
        prop_assert_eq!(read(&rules, &typed, "pw"), slowly(&rules, &typed));
    }

    #[test]
    fn any_bytes_are_read_and_a_password_is_never_longer(
        user in prop::collection::vec(any::<u8>(), 1..256),
        password in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'-')], 1..256),
    ) {
        let rules = rules_of("", DASH, ParameterPosition::Both);
        let mut given = login(&user, &password);
        let taken = rules.take(&mut given);
        let (name, secret) = (&given.user, given.password().expect("a password"));
        prop_assert!(user.starts_with(name) && password.starts_with(secret));
        prop_assert!(!matches!(taken, Ok(None)) || (*name == user && secret == password));
    }
}
