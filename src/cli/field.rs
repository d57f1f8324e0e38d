//! Fields of an answer, read without trust: what is missing or of another type is what `null` is.

use serde_json::Value;

use super::text::visible;
use crate::console::complain;

/// What a cell says of something that is not known.
pub(super) const UNKNOWN: &str = "-";

/// The value at a path of names.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// The elements of the list at a name.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A number as it is read in words or in a unit.
pub(super) fn number(value: &Value, shown: impl FnOnce(f64) -> String) -> String {
    value.as_f64().map_or_else(|| UNKNOWN.to_owned(), shown)
}

/// A whole number.
pub(super) fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A text, fit for a terminal.
pub(super) fn text(value: &Value) -> String {
    match value.as_str() {
        Some("") | None => UNKNOWN.to_owned(),
        Some(text) => visible(text),
    }
}

/// A moment to the second, as nobody reads further.
pub(super) fn moment(value: &Value) -> String {
    let moment = text(value);
    match moment.split_once('.') {
        Some((moment, _)) => moment.replace('T', " ") + "Z",
        None => moment,
    }
}

/// Says what an answer has not, where a part of the server did not answer; whether that is so.
pub(super) fn warned(answer: &Value) -> bool {
    let warning = answer.get("warning").and_then(Value::as_str);
    warning.map(|warning| complain(&format_args!("warning: {}", visible(warning)))).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_or_of_another_type_is_not_known() {
        let value = json!({"a": {"b": 7.5}, "c": [1], "d": "x\u{1b}", "e": ""});
        assert_eq!(at(&value, &["a", "b"]), &json!(7.5));
        assert_eq!(at(&value, &["a", "b", "c"]), &Value::Null);
        assert_eq!((list(&value, "c").len(), list(&value, "a").len(), list(&value, "z").len()), (1, 0, 0));
        assert_eq!(number(at(&value, &["a", "b"]), |n| n.to_string()), "7.5");
        assert_eq!(number(at(&value, &["d"]), |n| n.to_string()), "-");
        assert_eq!(["d", "e", "a", "z"].map(|name| text(at(&value, &[name]))), ["x\\u{1b}", "-", "-", "-"]);
        assert_eq!(whole(&json!(-1)), 0);
        assert_eq!(moment(&json!("2026-11-27T21:00:00.123Z")), "2026-11-27 21:00:00Z");
        assert_eq!(moment(&Value::Null), "-");
        assert!(!warned(&value) && !warned(&json!({"warning": null})) && warned(&json!({"warning": "late"})));
    }
}
