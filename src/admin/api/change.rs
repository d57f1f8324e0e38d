//! Changes of the running server: the order that a request gives, and what is said of its outcome.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::query::{Query, switch};
use crate::admin::answer::HttpAnswer;
use crate::admin::orders::{Done, Order, OrderError, ReloadReport};
use crate::admin::status::HttpStatus;
use crate::auth::{
    AttributeChange, UserAttributes, check_name, check_password, read_day, read_groups, read_limits,
    read_pool,
};
use crate::config::{Choice, KeyChange, Level, unknown_value};
use crate::limits;

/// A body that says how a reload or a drain is meant; without one all is as it mostly is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReloadBody {
    dry_run: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DrainBody {
    exit: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogBody {
    level: String,
}

/// No `Debug`: it holds a password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    #[serde(default, deserialize_with = "secret")]
    password: Option<Zeroizing<String>>,
    groups: Option<Vec<String>>,
    limits: Option<Vec<String>>,
    #[serde(default, deserialize_with = "nullable")]
    egress: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    expires: Option<Option<String>>,
    disabled: Option<bool>,
    #[serde(default)]
    revoke: bool,
}

/// Text that is erased once it is dropped.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(Zeroizing::new(text)))
}

/// A value that null takes away: it is told from one that is not said.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The order to reload.
///
/// # Errors
/// The body is not as it should be.
pub(super) fn reload(body: &[u8]) -> Result<Order, String> {
    let ReloadBody { dry_run } = optional(body, r#"{"dry_run": false}"#)?;
    Ok(Order::Reload { dry_run })
}

/// The order to drain.
///
/// # Errors
/// The body is not as it should be.
pub(super) fn drain(body: &[u8]) -> Result<Order, String> {
    let DrainBody { exit } = optional(body, r#"{"exit": false}"#)?;
    Ok(Order::Drain { exit })
}

/// The order to log from another level on.
///
/// # Errors
/// The body is not as it should be, or its level is none.
pub(super) fn log(body: &[u8]) -> Result<Order, String> {
    let LogBody { level } = required(body, r#"{"level": "debug"}"#)?;
    let words = Level::ALL.iter().map(|(word, _)| *word);
    let level =
        Level::from_name(&level).ok_or_else(|| format!("`level`: {}", unknown_value(&level, words)))?;
    Ok(Order::SetLevel(level))
}

/// The order to add a user, or to give one another password or other attributes.
///
/// # Errors
/// The body is not as it should be, or says nothing; the name or the password is none that a client can log in with; an
/// attribute is none.
pub(super) fn set_user(name: &str, body: &[u8]) -> Result<Order, String> {
    check_name(name).map_err(|error| error.to_string())?;
    // What serde_json says may quote what stands in the place of a password.
    let form = r#"{"password": "…", "groups": ["staff"], "limits": ["gold"], "egress": "carrier", "expires": "2027-01-31", "disabled": false, "revoke": false}"#;
    let UserBody { password, groups, limits, egress, expires, disabled, revoke } =
        serde_json::from_slice(body).map_err(|_| format!("the body is not of the form {form}"))?;
    if let Some(password) = &password {
        check_password(password.as_bytes()).map_err(|error| format!("`password`: {error}"))?;
    }
    let password = password.map(|password| Zeroizing::new(password.as_bytes().to_vec()));
    let groups = groups.map(|names| read_groups(names.iter().map(String::as_str))).transpose();
    let limits = limits.map(|names| read_limits(names.iter().map(String::as_str))).transpose();
    let egress = egress.map(|egress| egress.map(|typed| read_pool(&typed)).transpose()).transpose();
    let expires = expires.map(|expires| expires.map(|typed| read_day(&typed)).transpose()).transpose();
    let attributes = AttributeChange {
        groups: groups.map_err(|error| format!("`groups`: {error}"))?,
        limits: limits.map_err(|error| format!("`limits`: {error}"))?,
        egress: egress.map_err(|error| format!("`egress`: {error}"))?,
        expires: expires.map_err(|error| format!("`expires`: {error}"))?,
        disabled,
    };
    if password.is_none() && attributes.is_empty() {
        return Err(format!("nothing is to be changed: the body is of the form {form}"));
    }
    Ok(Order::SetUser { name: name.to_owned(), password, attributes, revoke })
}

/// The order to remove a user.
///
/// # Errors
/// The name is none that can stand in a users file; a parameter is wrong.
pub(super) fn remove_user(name: &str, query: &str) -> Result<Order, String> {
    check_name(name).map_err(|error| error.to_string())?;
    let revoke = Query::read(query, &["revoke"])?.value("revoke", switch)?;
    Ok(Order::RemoveUser { name: name.to_owned(), revoke: revoke.unwrap_or(false) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetBody {
    limit: String,
    holder: Option<String>,
    #[serde(default)]
    all: bool,
}

/// The order to have nothing used of a quota any more.
///
/// # Errors
/// The body is not as it should be, or does not say whose use is meant.
pub(super) fn reset_quota(body: &[u8]) -> Result<Order, String> {
    let form = r#"{"limit": "plan", "holder": "user:ann"} or {"limit": "plan", "all": true}"#;
    let ResetBody { limit, holder, all } = required(body, form)?;
    match (&holder, all) {
        (Some(_), true) => {
            Err(format!("`holder` and `all` exclude each other: the body is of the form {form}"))
        }
        (None, false) => Err(format!("whose use is meant is to be said: the body is of the form {form}")),
        _ => Ok(Order::ResetQuota { limit, holder }),
    }
}

fn optional<'a, T: Default + Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, String> {
    if body.is_empty() { Ok(T::default()) } else { required(body, form) }
}

fn required<'a, T: Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not of the form {form}: {error}"))
}

/// The answer that tells an outcome.
pub(super) fn outcome(outcome: &Result<Done, OrderError>) -> HttpAnswer {
    let done = match outcome {
        Ok(Done::Reload(report)) => reloaded(report),
        Ok(Done::Draining { sessions }) => json!({"state": "draining", "sessions": sessions}),
        Ok(Done::Serving { sessions }) => json!({"state": "serving", "sessions": sessions}),
        Ok(Done::Level { level, was }) => json!({"level": level.name(), "was": was.name()}),
        Ok(Done::Users(users)) => listed(users),
        Ok(Done::UserSet { name, added, ended }) => json!({"user": name, "added": added, "ended": ended}),
        Ok(Done::UserRemoved { name, ended }) => json!({"user": name, "removed": true, "ended": ended}),
        Ok(Done::QuotaReset { limit, holder, accounts, bytes, kept }) => {
            json!({"limit": limit, "holder": holder, "accounts": accounts, "bytes": bytes, "kept": kept})
        }
        Err(error) => return failed(error),
    };
    HttpAnswer::json(HttpStatus::OK, &done)
}

/// The names of all users, and the attributes of those who have any.
fn listed(users: &[(String, UserAttributes)]) -> Value {
    let names: Vec<&str> = users.iter().map(|(name, _)| name.as_str()).collect();
    let described = users.iter().filter(|(_, attributes)| !attributes.is_empty());
    let attributes: serde_json::Map<String, Value> = described
        .map(|(name, UserAttributes { groups, limits, egress, expires, disabled, ident })| {
            let names = |all: &[Arc<str>]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
            let (groups, limits, expires) =
                (names(groups), names(limits), expires.map(|day| day.to_string()));
            let mut told =
                json!({"groups": groups, "limits": limits, "expires": expires, "disabled": disabled});
            if let Some(pool) = egress {
                told["egress"] = (&**pool).into();
            }
            if *ident {
                told["ident"] = true.into();
            }
            (name.clone(), told)
        })
        .collect();
    json!({"users": names, "attributes": attributes})
}

fn failed(error: &OrderError) -> HttpAnswer {
    let status = match error {
        OrderError::Config(problems) => {
            let lines: Vec<String> = problems.lines().take(limits::MAX_CONFIG_PROBLEMS).collect();
            let error = "the configuration cannot be used: nothing has changed";
            return HttpAnswer::json(HttpStatus::UNPROCESSABLE, &json!({"error": error, "problems": lines}));
        }
        OrderError::NotFound(_) => HttpStatus::NOT_FOUND,
        OrderError::Invalid(_) => HttpStatus::BAD_REQUEST,
        OrderError::Conflict(_) => HttpStatus::CONFLICT,
        OrderError::Failed(_) => HttpStatus::INTERNAL,
    };
    HttpAnswer::error(status, error.to_string())
}

fn reloaded(report: &ReloadReport) -> Value {
    let ReloadReport { applied, changes, files, warnings } = report;
    let shown: Vec<Value> = changes
        .iter()
        .map(|change| {
            let KeyChange { key, from, to, taken, hidden } = change;
            let mut told = json!({"key": key, "from": from, "to": to, "taken": taken});
            if *hidden {
                told["hidden"] = true.into();
            }
            told
        })
        .collect();
    let waiting: Vec<&str> =
        changes.iter().filter(|change| !change.taken).map(|change| change.key.as_str()).collect();
    json!({
        "applied": applied,
        "changes": shown,
        "files": files,
        "needs_hand_over": waiting,
        "warnings": warnings,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags};

    #[test]
    fn a_body_gives_an_order_and_none_the_usual_one() {
        assert!(matches!(reload(b""), Ok(Order::Reload { dry_run: false })));
        assert!(matches!(reload(br#"{"dry_run": true}"#), Ok(Order::Reload { dry_run: true })));
        assert!(matches!(drain(b"{}"), Ok(Order::Drain { exit: false })));
        assert!(matches!(drain(br#"{"exit":true}"#), Ok(Order::Drain { exit: true })));
        assert!(matches!(log(br#"{"level":"warn"}"#), Ok(Order::SetLevel(Level::Warn))));
        let Ok(Order::SetUser { name, password: Some(password), attributes, revoke: true }) =
            set_user("ann", br#"{"password": "p\u00e4ss", "revoke": true}"#)
        else {
            panic!("no such order")
        };
        assert_eq!((name.as_str(), &password[..]), ("ann", "päss".as_bytes()));
        assert!(attributes.is_empty());
        let attributes = |body: &str| match set_user("ann", body.as_bytes()) {
            Ok(Order::SetUser { password: None, attributes, revoke: false, .. }) => attributes,
            other => panic!("{body}: {other:?}"),
        };
        let change = attributes(r#"{"groups": ["a", "b"], "expires": null, "disabled": true}"#);
        assert_eq!((change.groups, change.expires), (Some(vec!["a".into(), "b".into()]), Some(None)));
        assert_eq!(change.disabled, Some(true));
        let change = attributes(r#"{"groups": [], "limits": ["gold"], "expires": "2027-01-31"}"#);
        assert_eq!(change.limits, Some(vec!["gold".into()]));
        assert_eq!((change.groups, change.disabled), (Some(Vec::new()), None));
        assert_eq!(change.expires, Some(Some(jiff::civil::date(2027, 1, 31))));
        assert!(matches!(remove_user("ann", "revoke=true"), Ok(Order::RemoveUser { revoke: true, .. })));
        assert!(matches!(remove_user("ann", ""), Ok(Order::RemoveUser { revoke: false, .. })));
    }

    #[test]
    fn a_body_that_is_wrong_is_said_and_no_password_is_told() {
        let error = |order: Result<Order, String>| order.map(drop).expect_err("it was taken");
        let wrong = error(reload(br#"{"dryrun": true}"#));
        assert!(
            wrong.starts_with(r#"the body is not of the form {"dry_run": false}: unknown field `dryrun`"#),
            "{wrong}"
        );
        assert!(error(drain(b"[")).contains("EOF"));
        assert!(error(log(b"")).contains(r#"{"level": "debug"}"#));
        assert!(error(log(br#"{"level":"debgu"}"#)).ends_with("did you mean \"debug\"?"));
        for body in [
            r#"{"password": 123456}"#,
            r#"{"password": "s3cret", "revoke": "s3cret"}"#,
            r#"{"password": null}"#,
            r#"{"revoke": true}"#,
            r#"{"groups": "s3cret"}"#,
            r#""123456""#,
            "",
            "{}",
        ] {
            let wrong = error(set_user("ann", body.as_bytes()));
            assert!(
                wrong.contains("form") && !wrong.contains("3cret") && !wrong.contains("123456"),
                "{wrong}"
            );
        }
        assert_eq!(error(set_user("ann", br#"{"password": ""}"#)), "`password`: the password is empty");
        for names in ["groups", "limits"] {
            let body = json!({names: ["a b"]}).to_string();
            assert!(
                error(set_user("ann", body.as_bytes())).starts_with(&format!("`{names}`: \"a b\" cannot"))
            );
        }
        assert!(
            error(set_user("ann", br#"{"expires": "soon"}"#)).starts_with("`expires`: \"soon\" is no day")
        );
        let long = format!(r#"{{"password": "{}"}}"#, "p".repeat(256));
        assert!(error(set_user("ann", long.as_bytes())).contains("255 bytes"));
        for name in ["", "a:b", "#a", "a\nb"] {
            error(set_user(name, br#"{"password": "p"}"#));
            error(remove_user(name, ""));
        }
        assert!(error(remove_user("ann", "revok=true")).contains("did you mean `revoke`?"));
    }

    fn told(answer: &HttpAnswer) -> (u16, Value) {
        (answer.status().code(), serde_json::from_slice(answer.body()).unwrap())
    }

    #[test]
    fn an_outcome_has_its_status_and_words() {
        let said = |result| told(&outcome(&result));
        assert_eq!(
            said(Ok(Done::Draining { sessions: 3 })),
            (200, json!({"state": "draining", "sessions": 3}))
        );
        assert_eq!(
            said(Ok(Done::Serving { sessions: 3 })),
            (200, json!({"state": "serving", "sessions": 3}))
        );
        assert_eq!(
            said(Ok(Done::Level { level: Level::Debug, was: Level::Info })),
            (200, json!({"level": "debug", "was": "info"}))
        );
        let user = |rest: Value| {
            let mut user = json!({"user": "ann"});
            user.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            (200, user)
        };
        assert_eq!(
            said(Ok(Done::UserSet { name: "ann".into(), added: true, ended: 0 })),
            user(json!({"added": true, "ended": 0}))
        );
        assert_eq!(
            said(Ok(Done::UserRemoved { name: "ann".into(), ended: 2 })),
            user(json!({"removed": true, "ended": 2}))
        );
        let error = |words: &str| json!({"error": words});
        assert_eq!(said(Err(OrderError::NotFound("no".into()))), (404, error("no")));
        assert_eq!(said(Err(OrderError::Invalid("bad".into()))), (400, error("bad")));
        assert_eq!(said(Err(OrderError::Conflict("busy".into()))), (409, error("busy")));
        assert_eq!(said(Err(OrderError::Failed("full".into()))), (500, error("full")));
    }

    #[test]
    fn a_reload_tells_each_key_and_which_ones_wait() {
        let change = |key: &str, taken| KeyChange {
            key: key.into(),
            from: Some("1".into()),
            to: None,
            taken,
            hidden: false,
        };
        let report = ReloadReport {
            applied: true,
            changes: vec![change("timeouts.idle", true), change("server.workers", false)],
            files: vec!["list \"l\"".into()],
            warnings: vec!["w".into()],
        };
        assert_eq!(
            told(&outcome(&Ok(Done::Reload(report)))),
            (
                200,
                json!({
                    "applied": true,
                    "changes": [
                        {"key": "timeouts.idle", "from": "1", "to": null, "taken": true},
                        {"key": "server.workers", "from": "1", "to": null, "taken": false},
                    ],
                    "files": ["list \"l\""],
                    "needs_hand_over": ["server.workers"],
                    "warnings": ["w"],
                })
            )
        );
        let problems = Config::parse("[server]\nrelay = \"fast\"\n", Path::new("a.toml"), &Flags::default());
        let problems = OrderError::Config(problems.expect_err("no such relay"));
        let (status, said) = told(&outcome(&Err(problems)));
        assert_eq!((status, said["problems"].as_array().unwrap().len()), (422, 1));
        assert!(
            said["problems"][0].as_str().unwrap().starts_with("a.toml:2: [server] key `relay`: "),
            "{said}"
        );
    }
}
