//! The page of all keys, as Markdown: a heading for each table and each key, so that who looks for a name finds it as one.

use super::entry::{KeyEntry, TableEntry, TakenAt};
use super::schema::Schema;

/// Every table with its keys at their defaults as TOML, and below it every key with what it is. What has no default stands in the TOML as a
/// comment, and so does an array of tables.
pub(super) fn reference<C: 'static>(schema: &Schema<C>, mut defaults: C) -> String {
    let has_keys = |table: &&TableEntry<C>| !table.keys.is_empty() || table.named.is_some();
    let mut page = String::new();
    for table in schema.tables().iter().filter(has_keys) {
        table.array.iter().for_each(|array| (array.renew)(&mut defaults, 1));
        let header = table.header();
        page.push_str(&format!("\n## `{header}`\n\n{}.\n\n```toml\n", table.help));
        let out = if table.array.is_some() { "# " } else { "" };
        page.push_str(&format!("{out}{header}\n"));
        let lines = table.keys.iter().map(|key| line(key, out, &defaults));
        let named = table.named.iter().map(|named| format!("# {}\n", named.example));
        page.extend(lines.chain(named));
        page.push_str("```\n");
        let keys = table.keys.iter().map(|key| entry(key, &header, &defaults));
        let named =
            table.named.iter().map(|named| format!("\nEach key is a name of yours: {}.\n", named.help));
        page.extend(keys.chain(named));
    }
    page
}

/// A key as it stands in the TOML of its table.
fn line<C>(key: &KeyEntry<C>, out: &str, defaults: &C) -> String {
    match ((key.print)(defaults, 0), &key.example) {
        (Some(value), _) => format!("{out}{} = {value}\n", key.name),
        (None, Some(example)) => format!("# {} = {example}\n", key.name),
        (None, None) => format!("# {} =\n", key.name),
    }
}

/// A key with all that there is to say of it.
fn entry<C>(key: &KeyEntry<C>, header: &str, defaults: &C) -> String {
    let default = match (key.print)(defaults, 0) {
        Some(value) => format!("Default: `{value}`."),
        None => "Without a default.".to_owned(),
    };
    let example = key.example.as_ref().map_or(String::new(), |example| format!(" Example: `{example}`."));
    let taken = match key.taken {
        TakenAt::Start => "Taken at the start alone (restart).",
        TakenAt::Reload => "Taken at a reload.",
    };
    let KeyEntry { name, help, kind, .. } = key;
    format!("\n### `{name}` in `{header}`\n\n{help}.\n\nType: {kind}. {default}{example} {taken}\n")
}
