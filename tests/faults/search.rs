//! The disk of search (NIP-50) is really full: the store and all else go on, what was indexed is found, and what was not
//! is when there is room again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plaza::event::Event;
use serde_json::json;

use crate::PATIENCE;
use crate::common::folder::Folder;
use crate::common::http::get;
use crate::common::program::{Program, free_port};
use crate::common::{Client, Person};
use crate::full::can_mount;
use crate::writer::now;

/// How large the disk is. Search begins no more where less is free than its writer's memory.
const DISK_MEBIBYTES: u64 = 40;
const WRITER_MEBIBYTES: u64 = 15;

/// More new events than a search looks at itself.
const MANY: u64 = 600;

/// A folder that is a small disk, in a world that others do not see; it ends with this.
struct World {
    holder: Child,
    folder: Folder,
    /// What is the disk.
    mounted: &'static str,
}

/// The relay in it.
struct House {
    world: World,
    relay: Program,
    client: Client,
    metrics: u16,
    sent: u64,
}

impl World {
    /// One whose disk is this folder.
    fn new(mounted: &'static str, settings: &str) -> World {
        let folder = Folder::new();
        folder.write("relay.toml", settings);
        let disk = folder.path(mounted);
        fs::create_dir_all(&disk).expect("a folder");
        let mut command = Command::new("unshare");
        let mount = "mount -t tmpfs -o size=${1}m plaza \"$2\" && echo mounted && exec sleep 3600";
        command.args(["-m", "sh", "-c", mount, "sh", &DISK_MEBIBYTES.to_string()]).arg(&disk);
        let mut holder = command.stdout(Stdio::piped()).spawn().expect("unshare runs");
        let mut line = String::new();
        let mut said = std::io::BufReader::new(holder.stdout.take().expect("what it says"));
        std::io::BufRead::read_line(&mut said, &mut line).expect("it says something");
        assert_eq!(line, "mounted\n");
        World { holder, folder, mounted }
    }

    /// A file of the disk, as this process reaches it.
    fn at(&self, name: &str) -> PathBuf {
        let disk = self.folder.path(self.mounted);
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(disk.strip_prefix("/").expect("a whole path")).join(name)
    }

    fn free(&self) -> u64 {
        plaza::store::Store::disk_free_bytes_at(&self.at("")).expect("a disk").expect("it says")
    }

    /// Leaves so much of it free.
    fn fill(&self, left: u64) {
        let mut file =
            fs::File::options().create(true).append(true).open(self.at("ballast")).expect("a file");
        loop {
            let more = self.free().saturating_sub(left).min(1 << 20) as usize;
            if more == 0 || file.write_all(&vec![0; more]).is_err() {
                return;
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.at("ballast")).expect("the ballast");
    }

    fn start(&self) -> (Program, String) {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.holder.id().to_string(), env!("CARGO_BIN_EXE_plaza")]);
        command.args(["--listen", "127.0.0.1:0", "--config"]).arg(self.folder.path("relay.toml"));
        command.arg("--data").arg(self.folder.path("data"));
        let relay = Program::start(command);
        let url = format!("ws://{}", relay.says("plaza: listening on ws://"));
        (relay, url)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl House {
    fn new(mounted: &'static str, more: &str, lag_seconds: u64) -> House {
        let metrics = free_port();
        let world = World::new(
            mounted,
            &format!(
                "[rate]\nenabled = false\n[server]\nsearch_memory_bytes = {}\n[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n\
                 [search]\nenabled = true\nlag_seconds = {lag_seconds}\n[limits]\nlimit_max = 5_000\n[store]\n\
                 cache_bytes = 16_777_216\n{more}\n",
                WRITER_MEBIBYTES << 20
            ),
        );
        let (relay, url) = world.start();
        let client = Client::connect(&url);
        let mut house = House { world, relay, client, metrics, sent: 0 };
        house.until("search answers", |house| house.number("plaza_search_ready") == 1);
        house.publish(20);
        house.until("all is indexed", |house| house.number("plaza_search_events") == 20);
        house
    }

    fn event(&mut self) -> Event {
        self.sent += 1;
        Person::new(1).event(1, now() - 10_000 + self.sent, &[], &format!("apple number{}", self.sent))
    }

    /// Publishes so many events, all of which must be taken.
    fn publish(&mut self, events: u64) {
        for _ in 0..events {
            let event = self.event();
            self.client.publish_ok(&event);
        }
    }

    fn number(&self, name: &str) -> u64 {
        let text = get(([127, 0, 0, 1], self.metrics).into(), "/metrics").body;
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit_once(' ').expect("a number").1.parse::<f64>().expect("a number") as u64
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut House) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many events a search finds, and whether it says that these are all.
    fn finds(&mut self, words: &str) -> (usize, bool) {
        let (ids, hint) = self.client.request("search", &[json!({"search": words, "limit": 5_000})]);
        self.client.send(&json!(["CLOSE", "search"]));
        (ids.len(), hint == "finish")
    }

    /// What the operator sees of it.
    fn stats(&self) -> String {
        let data = self.folder().join("data").display().to_string();
        let done = Command::new("nsenter")
            .args(["-m", "-t", &self.world.holder.id().to_string(), env!("CARGO_BIN_EXE_plaza")])
            .args(["stats", "--data", &data, "--config"])
            .arg(self.folder().join("relay.toml"))
            .output();
        String::from_utf8(done.expect("it runs").stdout).expect("UTF-8")
    }

    fn folder(&self) -> &Path {
        self.world.folder.0.path()
    }

    /// It says that its disk is full, wherever it says something.
    fn assert_full(&mut self) {
        self.relay.says("search takes in nothing more until there is room");
        assert_eq!((self.number("plaza_search_disk_full"), self.number("plaza_search_ready")), (1, 1));
        let stats = self.stats();
        assert!(stats.contains("its disk is full: nothing more is taken in until there is room"), "{stats}");
    }

    /// There is room again, and everything is found.
    fn assert_healed(&mut self) {
        self.relay.says("there is room for search again");
        let sent = self.sent;
        self.until("all is indexed", |house| house.number("plaza_search_events") == sent);
        assert_eq!(self.number("plaza_search_disk_full"), 0);
        assert_eq!(self.finds("apple"), (sent as usize, true));
        assert_eq!(self.client.ids(json!({"kinds": [1], "limit": 5_000})).len(), sent as usize);
    }
}

const ALONE: &str = "disk_free_bytes_min = 0";

#[test]
fn search_takes_in_nothing_while_its_disk_is_nearly_full() {
    if !can_mount() {
        return;
    }
    let mut house = House::new("data/search", ALONE, 0);
    house.world.fill((WRITER_MEBIBYTES - 1) << 20);
    house.publish(10);
    house.assert_full();
    // A search looks at what came since itself, up to a bound; beyond it, it does not say that this is all.
    assert_eq!(house.finds("apple"), (30, true));
    house.publish(MANY);
    assert_eq!(house.finds("apple"), (20, false));
    assert_eq!(house.finds("number3"), (1, false));
    house.world.empty();
    house.assert_healed();
}

/// The last byte is gone in the middle of it: with the kernel's own error, and the engine's.
#[test]
fn search_goes_on_where_the_disk_became_full_under_it() {
    if !can_mount() {
        return;
    }
    let mut house = House::new("data/search", ALONE, 2);
    for round in 0..3 {
        house.publish(10);
        house.world.fill(0);
        house.assert_full();
        assert_eq!(house.finds(&format!("number{}", 3 + round)), (1, true));
        house.publish(5);
        assert_eq!(house.finds("apple"), (house.sent as usize, true));
        house.world.empty();
        house.assert_healed();
    }
    // Nothing of what did not count is left: it would fill the disk by and by.
    let files = fs::read_dir(house.world.at("")).expect("a folder").count();
    assert!(files < 200, "{files} files");
}

/// Started while there is no room, it serves all but searches, until there is.
#[test]
fn a_relay_starts_while_the_disk_of_its_search_is_full() {
    if !can_mount() {
        return;
    }
    let mut house = House::new("data/search", ALONE, 0);
    house.world.fill(0);
    house.publish(10);
    house.assert_full();
    house.relay.signal("KILL");
    house.relay.wait();
    let (relay, url) = house.world.start();
    (house.client, house.relay) = (Client::connect(&url), relay);
    house.relay.says("search takes in nothing more until there is room");
    let why = house.client.closed("REQ", &[json!({"search": "apple"})]);
    assert!(why.starts_with("error: ") && why.contains("(search."), "{why}");
    assert_eq!(house.client.ids(json!({"kinds": [1]})).len(), 30);
    house.publish(5);
    house.world.empty();
    house.assert_healed();
}

/// Where one disk has all, events are refused before it is full, and searches go on.
#[test]
fn search_is_answered_while_the_store_has_no_room_either() {
    if !can_mount() {
        return;
    }
    let least = WRITER_MEBIBYTES << 20;
    let mut house = House::new("data", &format!("disk_free_bytes_min = {least}"), 0);
    house.publish(10);
    house.world.fill(least / 2);
    house.relay.says("new events are refused until there is more");
    let refused = house.event();
    house.sent -= 1;
    let why = house.client.publish_refused(&refused);
    assert!(why.contains("(store.disk_full)"), "{why}");
    assert_eq!(house.finds("apple"), (30, true));
    house.world.empty();
    house.until("events are taken", |house| house.client.publish(&refused).0);
    house.sent += 1;
    assert_eq!(house.finds("apple"), (31, true));
}
