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

/// Puts these tables of one name in the place of those that there are.
pub(crate) fn put_all(tables: &mut Tables, table: &str, bodies: &[&str]) {
    let between = format!("\n\n[[{table}]]\n");
    let name = format!("[{table}]");
    match bodies {
        [] => drop(tables.remove(&name)),
        bodies => drop(tables.insert(name, vec![bodies.join(&between)])),
    }
}

/// Writes it as `outflow.toml`, and gives the path.
pub(crate) fn write(directory: &Path, tables: &Tables) -> PathBuf {
    let config = directory.join("outflow.toml");
    let text: String =
        tables.iter().map(|(table, lines)| format!("[{table}]\n{}\n\n", lines.join("\n"))).collect();
    std::fs::write(&config, text).expect("write the configuration");
    config
}
