//! Plaza as people install it: by `cargo install` from a clean folder, and as a Debian package on a machine with a
//! real systemd. Builds a release, minutes of work the first time, so it asks for cargo-deb: without it, left out.

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::machine::Machine;
use common::program::{Program, free_port};
use common::{Client, Person};
use serde_json::json;
use tempfile::TempDir;

/// The project's files, and no others, in a folder of their own.
fn clean_copy() -> Option<TempDir> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(sources);
    let Some(listed) = git.output().ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: git does not say which files are the project's");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let names = String::from_utf8(listed.stdout).expect("UTF-8");
    for name in names.split_terminator('\0').filter(|name| sources.join(name).is_file()) {
        let target = folder.path().join(name);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(sources.join(name), target).expect("a copy");
    }
    Some(folder)
}

/// A command in that folder, whose builds are kept for the next run.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    let builds = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/installed");
    command.current_dir(folder).env("CARGO_TARGET_DIR", builds);
    command
}

fn succeeds(mut command: Command) {
    let output = command.output().expect("it runs");
    let words = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, words.concat());
}

#[test]
fn it_installs_from_a_clean_folder() {
    if !Command::new("cargo").args(["deb", "--version"]).output().is_ok_and(|output| output.status.success())
    {
        eprintln!("skipped: cargo-deb is not installed");
        return;
    }
    let Some(sources) = clean_copy() else { return };

    let root = tempfile::tempdir().expect("a folder");
    let mut install = command("cargo", sources.path());
    install.args(["install", "--locked", "--path", ".", "--root"]).arg(root.path());
    succeeds(install);
    serves_without_settings(&root.path().join("bin/plaza"));

    let package = root.path().join("plaza.deb");
    let mut deb = command("packaging/deb.sh", sources.path());
    deb.arg("--output").arg(&package);
    succeeds(deb);
    installs_and_leaves(package);
}

/// What `cargo install` made starts in an empty folder, and keeps what it takes.
fn serves_without_settings(program: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let note = Person::new(1).note("hello");
    for stored in [false, true] {
        let mut run = Command::new(program);
        run.args(["run", "--listen", "127.0.0.1:0"]).current_dir(&folder).env_clear();
        let mut relay = Program::start(run);
        let mut client = Client::connect(&format!("ws://{}", relay.says("plaza: listening on ws://")));
        assert_eq!(client.ids(json!({})).len(), usize::from(stored));
        client.publish(&note);
        relay.stop();
    }
}

/// The package brings all that it should, its relay serves, outlives an upgrade, and leaves with no word lost.
fn installs_and_leaves(package: PathBuf) {
    let Some(machine) = Machine::boot() else { return };
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let url = format!("ws://{address}");
    fs::copy(package, machine.path("/root/plaza.deb")).expect("a copy");
    machine.does("dpkg --install /root/plaza.deb");
    machine.does("plaza check-config /etc/plaza/relay.toml");
    machine.does("getent passwd plaza");
    machine.does("test -s /usr/share/doc/plaza/README.md && test -s /usr/share/man/man1/plaza.1.gz");
    machine.does("bash -c 'source /usr/share/bash-completion/completions/plaza && complete -p plaza'");
    assert_eq!(
        machine.run("systemctl is-active plaza").stdout.trim_ascii(),
        b"inactive",
        "it waits to be told"
    );

    machine.write("/etc/plaza/relay.toml", &format!("[server]\nlisten = \"{address}\"\n"));
    machine.does("systemctl enable --now plaza");
    let note = Person::new(1).note("hello");
    Client::connect(&url).publish_ok(&note);

    // An upgrade restarts what runs, and asks about no settings that were changed.
    let before = machine.does("systemctl show --value --property=MainPID plaza");
    machine.does("dpkg --force-confold --install /root/plaza.deb");
    assert_ne!(machine.does("systemctl show --value --property=MainPID plaza"), before);
    assert_eq!(Client::connect(&url).ids(json!({})), [note.id.to_string()]);

    machine.does("dpkg --remove plaza");
    assert_ne!(machine.run("systemctl is-active plaza").stdout.trim_ascii(), b"active");
    machine.does("test -e /etc/plaza/relay.toml && test ! -e /usr/bin/plaza");
    machine.does("dpkg --purge plaza");
    machine.does("test ! -e /etc/plaza/relay.toml && ls -A /var/lib/plaza/ | grep --quiet .");
}
