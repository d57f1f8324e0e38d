//! The version that every file names alike, and what a release refuses before it builds anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::path;
use crate::support::process::run_to_exit;
use crate::support::skip;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every file that names the version, and a part of the line in which it does.
const NAMED: [(&str, &str); 7] = [
    ("Cargo.toml", "version = \"V\"\nedition"),
    ("Cargo.lock", "name = \"outflow-load\"\nversion = \"V\""),
    ("CHANGELOG.md", "## [V] - "),
    ("packaging/debian/changelog", "outflow (V-"),
    ("packaging/container/Containerfile", "image.version=\"V\""),
    ("packaging/compose/compose.yaml", "image: outflow:V"),
    ("packaging/kubernetes/base/kustomization.yaml", "newTag: V"),
];

/// As much of the project as the scripts ask for before they build: its files, without what was changed since the release.
struct Tree {
    folder: TempDir,
}

impl Tree {
    fn new() -> Tree {
        let tree = Tree { folder: TempDir::with_prefix("outflow-release-").expect("a folder") };
        let scripts = ["version", "release", "epoch"].map(|script| format!("packaging/{script}"));
        let others = ["README.md", "packaging/README.md"].map(str::to_owned);
        for file in NAMED.map(|(file, _)| file.to_owned()).iter().chain(&scripts).chain(&others) {
            let there = tree.path(file);
            fs::create_dir_all(there.parent().expect("a folder")).expect("the folder");
            fs::copy(path("..").join(file), there).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        let changes = tree.read("CHANGELOG.md");
        let (head, rest) = changes.split_once("## [Unreleased]\n").expect("a section of what is to come");
        let released = &rest[rest.find("## [").expect("a section of a version")..];
        fs::write(tree.path("CHANGELOG.md"), format!("{head}## [Unreleased]\n\n{released}"))
            .expect("it is written");
        tree
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(self.path(file), text.replace(from, to)).expect("it is written");
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path(script));
        command.args(arguments);
        run_to_exit(command)
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(["-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "init.defaultBranch=main"])
            .args(arguments);
        let output = run_to_exit(git);
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "a state"]);
    }

    /// The release does not begin, and says why.
    fn refuses(&self, clue: &str) {
        let output = self.run("packaging/release", &[]);
        assert!(!output.status.success() && says(&output, clue), "not {clue:?}: {output:?}");
        assert!(output.stdout.is_empty(), "it has begun: {output:?}");
    }
}

fn says(output: &Output, clue: &str) -> bool {
    String::from_utf8_lossy(&output.stderr).contains(clue)
}

#[test]
fn every_file_names_the_version_that_cargo_has() {
    let mut command = Command::new(path("version"));
    command.current_dir("/");
    let output = run_to_exit(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{VERSION}\n"));
}

#[test]
fn a_file_that_names_another_version_is_found() {
    for (file, line) in NAMED {
        let tree = Tree::new();
        tree.replace(file, &line.replace('V', VERSION), &line.replace('V', "9.8.7"));
        let output = tree.run("packaging/version", &[]);
        // Where it is Cargo.toml that differs all the others do.
        let named = if file == "Cargo.toml" { "CHANGELOG.md" } else { file };
        assert!(!output.status.success() && says(&output, &format!("{named}: ")), "{file}: {output:?}");
        assert!(says(&output, "9.8.7"), "{file}: {output:?}");
    }
    let tree = Tree::new();
    tree.replace("packaging/README.md", "outflow_*_amd64.deb", &format!("outflow_{VERSION}-1_amd64.deb"));
    let output = tree.run("packaging/version", &[]);
    assert!(!output.status.success() && says(&output, "packaging/README.md:"), "{output:?}");
}

#[test]
fn a_release_is_one_of_a_whole_commit_and_its_own_version() {
    if skip::without("what a release refuses", "git", "git") {
        return;
    }
    let tree = Tree::new();
    tree.refuses("this is no git repository");
    tree.git(&["init", "--quiet"]);
    tree.commit();
    fs::write(tree.path("left"), "").expect("a file");
    tree.refuses("the tree differs from the commit:\n?? left");
    fs::remove_file(tree.path("left")).expect("it goes");
    tree.replace("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n- A change.\n");
    tree.commit();
    tree.refuses("CHANGELOG.md has changes that are in no version:\n- A change.");
    tree.replace("CHANGELOG.md", "\n- A change.\n", "");
    tree.replace("packaging/debian/changelog", &format!("outflow ({VERSION}-"), "outflow (0.0.1-");
    tree.commit();
    tree.refuses("packaging/debian/changelog: the latest entry is 0.0.1");
    tree.replace("packaging/debian/changelog", "outflow (0.0.1-", &format!("outflow ({VERSION}-"));
    tree.commit();
    tree.git(&["tag", "v0.0.1"]);
    tree.refuses(&format!("the commit is tagged v0.0.1, and its version is {VERSION}"));
    tree.git(&["tag", "--delete", "v0.0.1"]);
    tree.git(&["tag", &format!("v{VERSION}")]);
    tree.git(&["commit", "--quiet", "--allow-empty", "--message", "another"]);
    tree.refuses(&format!("v{VERSION} is another commit"));
    tree.git(&["tag", "--delete", &format!("v{VERSION}")]);
    let taken = TempDir::with_prefix("outflow-release-").expect("a folder");
    fs::write(taken.path().join("old"), "").expect("a file");
    let output = tree.run("packaging/release", &[taken.path().to_str().expect("UTF-8")]);
    assert!(!output.status.success() && says(&output, "is not empty"), "{output:?}");
    let output = tree.run("packaging/release", &["--without", "program,site"]);
    assert!(!output.status.success() && says(&output, "there is no part program"), "{output:?}");
}

/// What `sha256sum` says of the folder's files.
fn sums(folder: &Path) {
    let mut sha256sum = Command::new("sha256sum");
    sha256sum.current_dir(folder).args(["one.tar.gz", "two.deb"]);
    fs::write(folder.join("SHA256SUMS"), run_to_exit(sha256sum).stdout).expect("the sums");
}

#[test]
fn a_folder_is_checked_against_its_sums_and_their_signature() {
    if skip::without("the signature of a release", "git", "git") {
        return;
    }
    let folder = TempDir::with_prefix("outflow-release-").expect("a folder");
    let here = folder.path();
    let write = |file: &str, text: &str| fs::write(here.join(file), text).expect("a file");
    let release = |arguments: &[&str]| {
        let mut command = Command::new(path("release"));
        command.arg("--check").arg(here).args(arguments);
        run_to_exit(command)
    };
    let passes = |arguments: &[&str]| release(arguments).status.success();
    write("one.tar.gz", "one");
    write("two.deb", "two");
    assert!(says(&release(&[]), "has no SHA256SUMS"));
    sums(here);
    assert!(passes(&[]), "{:?}", release(&[]));
    write("two.deb", "another");
    assert!(!passes(&[]));
    write("two.deb", "two");
    write("three", "");
    assert!(says(&release(&[]), "other files"));
    fs::remove_file(here.join("three")).expect("it goes");

    // One key that may sign, and one that nobody knows.
    let keys = TempDir::with_prefix("outflow-release-").expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let keygen = |arguments: &[&str]| {
        let mut command = Command::new("ssh-keygen");
        command.current_dir(keys.path()).args(arguments);
        assert!(run_to_exit(command).status.success(), "ssh-keygen {arguments:?}");
    };
    for name in ["known", "unknown"] {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", name]);
    }
    let public = fs::read_to_string(key("known.pub")).expect("the key");
    fs::write(key("signers"), format!("maintainer {public}")).expect("the signers");
    let signers = key("signers").to_str().expect("UTF-8").to_owned();
    assert!(!passes(&[&signers]), "nobody has signed");
    let signed = here.join("SHA256SUMS").to_str().expect("UTF-8").to_owned();
    for (name, right) in [("unknown", false), ("known", true)] {
        keygen(&["-Y", "sign", "-q", "-n", "outflow-release", "-f", name, &signed]);
        assert_eq!(passes(&[&signers]), right, "{name}: {:?}", release(&[&signers]));
        if !right {
            fs::remove_file(here.join("SHA256SUMS.sig")).expect("it goes");
        }
    }
    write("one.tar.gz", "another one");
    sums(here);
    assert!(passes(&[]) && !passes(&[&signers]), "another's sums below the signature");
}
