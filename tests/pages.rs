//! What the pages of the documentation show is what people begin with: it is tried as it stands there.

mod commands;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use outflow::outcome::Reason;
use tempfile::TempDir;

use crate::support::relay::{binary, run_to_exit};

/// Ann's and bob's.
const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

/// The part of a page that a program writes: from its first heading below the title on.
pub(crate) fn written_below(page: &str) -> String {
    let text = fs::read_to_string(root().join(page)).expect("the page can be read");
    text.split_once("\n## ").map(|(_, written)| format!("\n## {written}")).expect("a heading")
}

/// The page has this below what is written by hand. With OUTFLOW_WRITE_DOCS=1 in the environment it is written there.
pub(crate) fn holds(page: &str, written: &str) {
    let path = root().join(page);
    if std::env::var_os("OUTFLOW_WRITE_DOCS").is_some() {
        let text = fs::read_to_string(&path).expect("the page can be read");
        let by_hand = text.split_once("\n## ").map_or(&*text, |(by_hand, _)| by_hand);
        return fs::write(path, format!("{by_hand}{written}")).expect("the page can be written");
    }
    let how = "OUTFLOW_WRITE_DOCS=1 cargo test --test tests the_docs_show writes it anew";
    assert_eq!(written_below(page), written, "{page}: {how}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, below the project's root and in docs/ and packaging/, but for that of all keys: it shows the defaults, which another
/// test holds.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "packaging"].map(|folder| root().join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("list the folder"));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    paths.filter(|path| is_page(path) && !path.ends_with("docs/keys.md")).collect()
}

/// The blocks of a page that are said to be TOML.
fn configurations(page: &str) -> impl Iterator<Item = &str> {
    page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().expect("a block"))
}

/// Where a service has its folders, as units and packages make them.
const FOLDERS: [&str; 3] = ["/run/outflow", "/var/lib/outflow", "/var/log/outflow"];

/// The configuration with ports that nobody has in place of those that it listens at, and with a service's folders in this one.
fn elsewhere(configuration: &str, folder: &Path) -> String {
    let listens = |line: &str| line.starts_with("listen = ") || line.starts_with("address = ");
    let line = |line: &str| if listens(line) { at_free_ports(line) } else { line.to_owned() };
    let moved = |text: String, of: &&str| text.replace(of, &format!("{}{of}", folder.display()));
    let text: String = configuration.lines().map(|one| line(one) + "\n").collect();
    FOLDERS.iter().fold(text, moved)
}

/// The line with 0 in place of each port that ends a string.
fn at_free_ports(line: &str) -> String {
    let part = |part: &str| match part.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{host}:0")
        }
        _ => part.to_owned(),
    };
    line.split('"').map(part).collect::<Vec<_>>().join("\"")
}

/// A folder with the files that the pages name, and with every folder that this configuration has below those of a service.
fn folder_of(configuration: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, text: &[u8], mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("write a file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    file("users.passwd", format!("ann:{HASH}\nbob:{HASH}\n").as_bytes(), 0o600);
    file("username.key", &[b'k'; 32], 0o600);
    file("malware.txt", b"malware.example\n", 0o644);
    let strings = configuration.split('"').map(|text| text.strip_prefix("unix:").unwrap_or(text));
    for path in strings.filter(|text| FOLDERS.iter().any(|of| text.starts_with(of))) {
        let path = folder.path().join(path.trim_start_matches('/'));
        let of_file = path.extension().and_then(|_| path.parent());
        fs::create_dir_all(of_file.unwrap_or(&path)).expect("a service's folder");
    }
    let state = folder.path().join("state");
    fs::create_dir(state).expect("a directory for state");
    folder
}

/// What `check` complains of, of a configuration of a page.
fn complaint(configuration: &str) -> Option<String> {
    let folder = folder_of(configuration);
    let configuration = elsewhere(configuration, folder.path());
    fs::write(folder.path().join("outflow.toml"), &configuration).expect("write the configuration");
    let mut check = Command::new(binary());
    check.args(["check", "--config"]).arg(folder.path().join("outflow.toml"));
    if !configuration.contains(":0\"") {
        check.args(["--listen", "127.0.0.1:0"]);
    }
    let output = run_to_exit(check);
    let said = String::from_utf8_lossy(&output.stderr);
    let good = output.status.code() == Some(0) && said.is_empty();
    (!good).then(|| format!("{}{said}{configuration}", output.status))
}

#[test]
fn every_configuration_passes_check() {
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).expect("the page can be read");
        for configuration in configurations(&text) {
            count += 1;
            wrong.extend(complaint(configuration).map(|said| format!("{}: {said}", page.display())));
        }
    }
    assert!(count >= 15, "{count} configurations: the reading is broken");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(complaint("[server]\nworker = 3\n").is_some());
    assert_eq!(
        at_free_ports("listen = [\"[::]:1080\", \"unix:/a:b\"]"),
        "listen = [\"[::]:0\", \"unix:/a:b\"]"
    );
}

/// Whoever reads a record finds each of its fields and reasons.
#[test]
fn the_page_of_records_has_every_field_and_reason() {
    let page = written_below("docs/records.md");
    let cells = |heading: &str| -> Vec<String> {
        let section = page.split_once(heading).expect("the section").1.split("\n## ").next().expect("text");
        let first = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        first
            .flat_map(|cell| cell.split('`').step_by(2))
            .map(str::to_owned)
            .filter(|name| !name.is_empty() && name != ", ")
            .collect()
    };
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let (shown, known) = (sorted(cells("\n## Reasons\n")), sorted(reasons.iter().map(|&one| one.to_owned())));
    assert_eq!(shown, known);
    let known = sorted(crate::records::FIELDS.iter().map(|&field| field.to_owned()));
    assert_eq!(sorted(cells("\n## Fields\n")), known);
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
}
