//! The units as they are shipped, under a real systemd: installed by the words at their head, started by a client,
//! confined, reloaded, restarted, killed, hung, misconfigured, and backed up. Left out where no container can be run.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::http::get;
use crate::common::machine::Machine;
use crate::common::program::{PATIENCE, free_port};
use crate::common::{Client, Person};

/// A machine with the relay installed as plaza.service says, on a port that is free.
fn installed() -> Option<(Machine, SocketAddr)> {
    let machine = Machine::boot()?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(env!("CARGO_BIN_EXE_plaza"), machine.path("/usr/local/bin/plaza")).expect("a copy");
    for unit in ["plaza.service", "plaza.socket"] {
        let text = fs::read_to_string(sources.join("systemd").join(unit)).expect("a unit");
        machine.write(&format!("/etc/systemd/system/{unit}"), &text);
    }
    let settings = fs::read_to_string(sources.join("relay.toml.example")).expect("the example");
    machine.write("/etc/plaza/relay.toml", &settings);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let port = format!("[Socket]\nListenStream=\nListenStream={address}\n");
    machine.write("/etc/systemd/system/plaza.socket.d/port.conf", &port);
    Some((machine, address))
}

/// A property of plaza.service.
fn property(name: &str) -> String {
    format!("systemctl show --value --property={name} plaza.service")
}

/// Connects, and reads these notes.
fn finds(url: &str, ids: &[String]) -> Client {
    let mut client = Client::connect(url);
    let mut found = client.ids(json!({"kinds": [1]}));
    found.sort();
    let mut wanted = ids.to_vec();
    wanted.sort();
    assert_eq!(found, wanted);
    client
}

#[test]
fn the_units_do_what_they_say() {
    let Some((machine, address)) = installed() else { return };
    let url = format!("ws://{address}");
    machine.does("systemctl daemon-reload && systemctl enable --now plaza.socket");
    assert_eq!(machine.run("systemctl is-active plaza.service").stdout.trim_ascii(), b"inactive");

    // The first client starts it.
    let person = Person::new(1);
    let notes = [person.note("one"), person.note("two"), person.note("three")];
    let ids: Vec<String> = notes.iter().map(|note| note.id.to_string()).collect();
    let mut client = Client::connect(&url);
    client.publish_ok(&notes[0]);
    assert_eq!(machine.does("systemctl is-active plaza.service"), "active");
    machine.comes_to(&property("StatusText"), |status| status == "Serving: 1 event, 1 connection");
    is_confined(&machine);

    // New settings reach it, and the client stays.
    machine.does("printf '\n[relay]\nname = \"A town\"\n' > /etc/plaza/relay.toml && systemctl reload plaza");
    comes_to_be_named(address, "A town");
    client.publish_ok(&notes[1]);

    // A restart loses nothing.
    machine.does("systemctl restart plaza");
    finds(&url, &ids[..2]).publish_ok(&notes[2]);

    // Nor does a kill.
    let before = machine.does(&property("MainPID"));
    machine.does("systemctl kill --kill-whom=main --signal=KILL plaza");
    let alive = |pid: &str| pid != "0" && pid != before;
    machine.comes_to(&property("MainPID"), alive);
    finds(&url, &ids);

    backs_up_and_exports(&machine, &ids);
}

/// Waits until the relay's page has this name on it.
fn comes_to_be_named(address: SocketAddr, name: &str) {
    let began = Instant::now();
    while !get(address, "/").body.contains(name) {
        assert!(began.elapsed() < PATIENCE, "the new settings count");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// It runs as nobody that exists otherwise, may do nothing that needs a privilege, and keeps its files to itself.
fn is_confined(machine: &Machine) {
    let pid = machine.does(&property("MainPID"));
    let status = machine.does(&format!("cat /proc/{pid}/status"));
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().to_owned()
    };
    assert!(!value("Uid:").starts_with("0\t"), "{status}");
    assert_eq!(value("CapEff:"), "0000000000000000");
    assert_eq!(value("CapBnd:"), "0000000000000000");
    assert_eq!(value("NoNewPrivs:"), "1");
    assert_eq!(value("Seccomp:"), "2", "system calls are filtered");
    assert_eq!(machine.does("stat --format=%a /var/lib/private/plaza"), "700");
    let verdict = machine.does("systemd-analyze security --no-pager plaza.service | tail -n 1");
    assert!(verdict.contains(" OK "), "{verdict}");
}

/// The commands that plaza.service names.
fn backs_up_and_exports(machine: &Machine, ids: &[String]) {
    machine.does("plaza backup /var/backups/plaza --data /var/lib/plaza");
    machine.does("plaza verify /var/backups/plaza");
    machine.does("systemctl stop plaza.socket plaza");
    machine.does(
        "systemd-run --pipe --wait --collect -p DynamicUser=yes -p User=plaza -p StateDirectory=plaza \
         /usr/local/bin/plaza export --data /var/lib/plaza > /root/events.jsonl",
    );
    let exported = fs::read_to_string(machine.path("/root/events.jsonl")).expect("a file");
    assert_eq!(exported.lines().count(), ids.len());
    ids.iter().for_each(|id| assert!(exported.contains(id), "{id} is exported"));
}

#[test]
fn who_hangs_is_started_anew_and_mistakes_are_told() {
    let Some((machine, address)) = installed() else { return };
    let url = format!("ws://{address}");
    let note = Person::new(1).note("still here");
    machine.write("/etc/systemd/system/plaza.service.d/quick.conf", "[Service]\nWatchdogSec=3\n");
    machine.does("systemctl daemon-reload && systemctl enable --now plaza.socket && systemctl start plaza");
    Client::connect(&url).publish_ok(&note);

    // A process that stands still says nothing, and systemd hears that.
    machine.does("systemctl kill --kill-whom=main --signal=STOP plaza");
    machine.comes_to(&property("NRestarts"), |restarts| restarts == "1");
    machine.comes_to(&property("ActiveState"), |state| state == "active");
    assert!(machine.does("journalctl --unit=plaza --no-pager").contains("Watchdog timeout"));
    finds(&url, &[note.id.to_string()]);

    // Settings with a mistake: it says which, and does not try for ever.
    let settings = fs::read_to_string(machine.path("/etc/plaza/relay.toml")).expect("the settings");
    machine.write("/etc/plaza/relay.toml", "[limits]\nsubscription_max = 3\n");
    machine.run("systemctl stop plaza.socket plaza; systemctl start plaza");
    machine.comes_to(&property("ActiveState"), |state| state == "failed");
    let journal = machine.does("journalctl --unit=plaza --no-pager");
    for words in ["/etc/plaza/relay.toml", "subscription_max"] {
        assert!(journal.contains(words), "{journal}");
    }

    // Put right, it serves what it had.
    machine.write("/etc/plaza/relay.toml", &settings);
    machine.does("systemctl reset-failed plaza && systemctl start plaza.socket plaza");
    finds(&url, &[note.id.to_string()]);
    assert_eq!(get(address, "/").status, 200);
}
