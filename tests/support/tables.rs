//! A configuration file, table by table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The lines of each table.
pub(crate) type Tables = BTreeMap<String, Vec<String>>;

/// Sets a key, or takes it out.
pub(crate) fn put(tables: &mut Tables, table: &str, key: &str, value: Option<&str>) {
    let lines = tables.entry(table.to_owned()).or_default();
    lines.retain(|line| line.split('=').next().map(str::trim) != Some(key));
    lines.extend(value.map(|value| format!("{key} = {value}")));
}

/// Writes it as `outflow.toml`, and gives the path.
pub(crate) fn write(directory: &Path, tables: &Tables) -> PathBuf {
    let config = directory.join("outflow.toml");
    let text: String =
        tables.iter().map(|(table, lines)| format!("[{table}]\n{}\n\n", lines.join("\n"))).collect();
    std::fs::write(&config, text).expect("write the configuration");
    config
}
