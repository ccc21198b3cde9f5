//! A disk that is really full: the relay's data on a small tmpfs, with the kernel's own errors and the kernel's own
//! accounts of space. It is filled until events are refused, gets room, and is filled again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use plaza::event::Event;
use serde_json::json;

use crate::PATIENCE;
use crate::common::folder::{Folder, copy};
use crate::common::http::get;
use crate::common::program::Program;
use crate::common::{Client, Person};
use crate::writer::now;

/// How large the disk is, and how much of it something else takes that can be removed.
const DISK_MEBIBYTES: u64 = 24;
const BALLAST_MEBIBYTES: u64 = 10;

/// How long the text of an event is, so that some hundred fill the disk.
const TEXT_BYTES: usize = 48 << 10;

/// More events than the disk has room for.
const EVENTS_MAX: u64 = (DISK_MEBIBYTES << 20) / TEXT_BYTES as u64;

/// The relay takes events to the last byte, which is not its way unless it is told so.
const SETTINGS: &str = "[rate]\nenabled = false\n[store]\ncache_bytes = 16_777_216\ndisk_free_bytes_min = 0\n\
                        [limits]\nlimit_max = 1_000\n";

/// Mounts a disk that only this process and its children see, puts the ballast there, and becomes the relay.
const BECOME_RELAY: &str = "mount -t tmpfs -o size=${1}m plaza \"$3\" && \
                            head -c \"${2}M\" /dev/zero > \"$3/ballast\" && shift 3 && exec \"$@\"";

/// The relay, and who uses it.
struct House {
    relay: Program,
    url: String,
    disk: PathBuf,
    publisher: Client,
    reader: Client,
    acknowledged: BTreeSet<String>,
    sent: u64,
}

/// Whether a disk can be mounted that nobody else sees; says why not.
pub(crate) fn can_mount() -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let mut mount = Command::new("unshare");
    mount.args(["-m", "mount", "-t", "tmpfs", "-o", "size=1m", "plaza"]).arg(folder.path());
    match mount.output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!("skipped: no disk can be mounted here: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            println!("skipped: unshare cannot be run: {error}");
            false
        }
    }
}

fn url(relay: &Program) -> String {
    format!("ws://{}", relay.says("plaza: listening on ws://"))
}

impl House {
    fn new(folder: &Folder) -> House {
        folder.write("relay.toml", SETTINGS);
        let disk = folder.path("disk");
        fs::create_dir(&disk).expect("a folder");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", BECOME_RELAY, "sh"]);
        command.args([DISK_MEBIBYTES.to_string(), BALLAST_MEBIBYTES.to_string()]).arg(&disk);
        command.arg(env!("CARGO_BIN_EXE_plaza")).args(["--listen", "127.0.0.1:0"]);
        command.arg("--config").arg(folder.path("relay.toml")).arg("--data").arg(disk.join("data"));
        let relay = Program::start(command);
        let url = url(&relay);
        // The disk as that process sees it.
        let disk = Path::new(&format!("/proc/{}/root", relay.id()))
            .join(disk.strip_prefix("/").expect("a whole path"));
        let (publisher, reader) = (Client::connect(&url), Client::connect(&url));
        House { relay, url, disk, publisher, reader, acknowledged: BTreeSet::new(), sent: 0 }
    }

    fn event(&mut self) -> Event {
        self.sent += 1;
        let text = format!("{} {}", self.sent, "x".repeat(TEXT_BYTES));
        Person::new(1).event(1, now() - 10_000 + self.sent, &[], &text)
    }

    /// Publishes until an event is refused, which it returns.
    fn fill(&mut self) -> Event {
        for _ in 0..EVENTS_MAX {
            let event = self.event();
            let (accepted, why) = self.publisher.publish(&event);
            if !accepted {
                assert!(why.starts_with("error: "), "{why}");
                return event;
            }
            self.acknowledged.insert(event.id.to_string());
        }
        panic!("{EVENTS_MAX} events have no room on this disk");
    }

    /// Asserts that a reader is shown all that was acknowledged, and nothing else but what was refused last.
    fn assert_shown(&mut self, refused: &[&Event]) {
        assert_shown(&mut self.reader, &self.acknowledged, refused);
    }

    fn ready(&self) -> u16 {
        get(self.url.trim_start_matches("ws://").parse().expect("an address"), "/ready").status
    }

    fn await_ready(&self) {
        let began = Instant::now();
        while self.ready() != 200 {
            assert!(began.elapsed() < PATIENCE, "it takes events again within {PATIENCE:?}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn assert_shown(reader: &mut Client, acknowledged: &BTreeSet<String>, refused: &[&Event]) {
    let shown: BTreeSet<String> = reader.ids(json!({"limit": 1_000})).into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&shown).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let refused: BTreeSet<String> = refused.iter().map(|event| event.id.to_string()).collect();
    let strange: Vec<_> = shown.difference(acknowledged).filter(|id| !refused.contains(*id)).collect();
    assert!(strange.is_empty(), "nobody sent it: {strange:?}");
}

#[test]
fn a_full_disk_refuses_events_and_gives_reads_until_there_is_room_again() {
    if !can_mount() {
        return;
    }
    let folder = Folder::new();
    let mut house = House::new(&folder);
    let refused = house.fill();
    let before = house.acknowledged.len();
    assert!(before > 50, "{before} events are too few to fill anything");
    assert_eq!(house.ready(), 503);
    house.relay.says("No space left on device");
    house.assert_shown(&[&refused]);
    let again = house.event();
    assert!(house.publisher.publish_refused(&again).starts_with("error: "), "it is full still");
    house.assert_shown(&[&refused, &again]);

    fs::remove_file(house.disk.join("ballast")).expect("the ballast");
    house.relay.says("the store was opened anew, and new events are taken");
    house.await_ready();
    for event in [&refused, &again] {
        let (accepted, why) = house.publisher.publish(event);
        assert!(accepted, "{why}");
        house.acknowledged.insert(event.id.to_string());
    }
    house.assert_shown(&[]);

    // There is no ballast any more: what is full now stays so.
    let refused = house.fill();
    let after = house.acknowledged.len();
    assert!(after > before + 50, "{after} events after {before}: there was room");
    house.assert_shown(&[&refused]);
    println!("full with {before} events, and with {after} when there was room again; none lost");
    assert_kept_on_disk(house, &folder, &refused);
}

/// Another relay on what the disk holds shows all that was acknowledged.
fn assert_kept_on_disk(house: House, folder: &Folder, refused: &Event) {
    let House { mut relay, disk, acknowledged, .. } = house;
    relay.signal("STOP");
    // A socket is no file to copy.
    fs::remove_file(disk.join("data/control.sock")).expect("the socket of the relay");
    copy(&disk.join("data"), &folder.path("data"));
    relay.signal("KILL");
    relay.wait();
    let data = folder.path("data");
    let data = data.to_str().expect("UTF-8");
    let done = folder.run(&["verify", data, "--config", "relay.toml"]);
    assert!(done.code == 0 && done.said("all is well"), "{done:?}");
    let serving = folder.serve(&["--config", "relay.toml", "--data", data]);
    assert_shown(&mut Client::connect(&serving.url), &acknowledged, &[refused]);
    serving.end("TERM");
}
