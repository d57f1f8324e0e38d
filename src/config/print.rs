//! A configuration as TOML, and a file to begin with.

use super::entry::{KeyEntry, TableEntry, TakenAt};
use super::schema::Schema;
use super::value::quoted_key;

/// The whole configuration, every key written out; reading it gives the same one.
pub(super) fn to_toml<C: 'static>(schema: &Schema<C>, config: &C) -> String {
    let mut page = Page(String::new());
    for table in schema.tables() {
        for nth in 0..table.count(config) {
            let names = table.named.iter().flat_map(|named| (named.names)(config));
            let named: Vec<String> = names.filter_map(|name| named_line(table, config, &name)).collect();
            if named.is_empty() && table.keys.is_empty() {
                continue;
            }
            page.table(&table.header());
            for key in &table.keys {
                if let Some(value) = (key.print)(config, nth) {
                    page.line(&format!("{} = {value}", key.name));
                }
            }
            named.iter().for_each(|line| page.line(line));
        }
    }
    page.0
}

/// A file to begin with: every key as a comment, with an example or its default, and the table that it stands in. What can be
/// typed has no blank behind its `#`; what is said of it stands above.
pub(super) fn example<C: 'static>(schema: &Schema<C>, mut defaults: C) -> String {
    let mut page = Page(String::new());
    for table in schema.tables() {
        if table.keys.is_empty() && table.named.is_none() {
            continue;
        }
        // One that there may be several of says something by being there.
        let out = if table.array.is_some() { "#" } else { "" };
        page.blank();
        page.said(table.help);
        page.line(&format!("{out}{}", table.header()));
        table.array.iter().for_each(|array| (array.renew)(&mut defaults, 1));
        for key in &table.keys {
            let value = key.example.clone().or_else(|| (key.print)(&defaults, 0)).unwrap_or_default();
            page.blank();
            page.said(&about(key));
            page.line(&format!("#{} = {value}", key.name));
        }
        if let Some(named) = &table.named {
            page.said(named.help);
            page.line(&format!("#{}", named.example));
        }
    }
    page.0
}

/// What a key is, the words that it may be, and whether it is taken at the start alone.
fn about<C>(key: &KeyEntry<C>) -> String {
    let words = if key.words.is_empty() { String::new() } else { format!(" ({})", key.words.join(", ")) };
    let restart = if key.taken == TakenAt::Start { " (restart)" } else { "" };
    format!("{}{words}{restart}", key.help)
}

/// The line of a key that is a name.
fn named_line<C: 'static>(table: &TableEntry<C>, config: &C, name: &str) -> Option<String> {
    let value = (table.named.as_ref()?.print)(config, name)?;
    Some(format!("{} = {value}", key_text(name)))
}

/// A key as TOML: in quotes where it has to be.
pub(super) fn key_text(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match !name.is_empty() && name.bytes().all(bare) {
        true => name.to_owned(),
        false => quoted_key(name),
    }
}

/// The text so far.
struct Page(String);

impl Page {
    /// A blank line, but for the first one.
    fn blank(&mut self) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
    }

    /// A line of words alone.
    fn said(&mut self, words: &str) {
        self.line(&format!("# {words}"));
    }

    /// The header of a table.
    fn table(&mut self, header: &str) {
        self.blank();
        self.line(header);
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}
