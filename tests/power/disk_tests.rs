//! The disk is as mean as it says and no meaner, by itself and mounted.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::disk::{Disk, Names, Node, ROOT};
use crate::mount::{Mounted, Power};
use crate::random::Chance;
use crate::survival::Survival;

const PIECES: Survival = Survival::Pieces { bytes: 512, kept_percent: 50 };

fn name(name: &str) -> &OsStr {
    OsStr::new(name)
}

/// A disk with a file of so many ones that is safe.
fn with_file(bytes: usize) -> (Disk, Node) {
    let mut disk = Disk::new(Names::WithTheirFolder);
    let file = disk.make_file(ROOT, name("f")).expect("a file");
    disk.write(file, 0, &vec![1; bytes]).expect("room");
    disk.sync(file).expect("a file");
    disk.sync(ROOT).expect("a folder");
    (disk, file)
}

fn content(disk: &Disk, file: Node) -> Vec<u8> {
    disk.read(file, 0, usize::MAX).expect("a file").to_owned()
}

#[test]
fn what_is_synced_stays_whatever_happens() {
    for seed in 0..200 {
        let chance = &mut Chance::new(seed);
        let (mut disk, file) = with_file(5_000);
        let cut = Survival::any(chance);
        disk.write(file, 6_000, &[2; 3_000]).expect("room");
        disk.cut(cut, chance);
        let left = content(&disk, file);
        assert!(left.len() == 5_000 || left.len() == 9_000, "{cut:?}: {}", left.len());
        assert_eq!(left[..5_000], [1; 5_000], "{cut:?}");
    }
}

#[test]
fn what_is_not_synced_is_lost_kept_or_torn() {
    let after = |survival, seed| {
        let (mut disk, file) = with_file(2_000);
        disk.write(file, 1_000, &[2; 2_000]).expect("room");
        disk.write(file, 1_000, &[3; 2_000]).expect("room");
        disk.cut(survival, &mut Chance::new(seed));
        content(&disk, file)
    };
    assert_eq!(after(Survival::Nothing, 0), [1; 2_000]);
    assert_eq!(after(Survival::Everything, 0), [&[1; 1_000][..], &[3; 2_000]].concat());
    assert_eq!(after(Survival::AllButLengths, 0), [&[1; 1_000][..], &[3; 1_000]].concat());
    let torn: Vec<Vec<u8>> = (0..100).map(|seed| after(PIECES, seed)).collect();
    for left in &torn {
        // The first piece that was touched is the old one up to where the write began.
        assert_eq!(left[..1_000], [1; 1_000]);
        let piece = &left[1_024..1_536];
        assert!(piece.iter().all(|byte| *byte == piece[0]), "a piece is of one moment");
    }
    for value in [1, 2, 3] {
        assert!(torn.iter().any(|left| left[1_024] == value), "a piece may be of moment {value}");
    }
    assert!(torn.iter().any(|left| left.len() == 3_000 && left[1_024] != left[1_536]), "writes are torn");
    assert!(torn.iter().any(|left| left.len() == 2_000), "a length may be the old one");
    assert!(torn.iter().any(|left| left.len() == 3_000 && left[2_600] == 0), "and the new one without data");
}

#[test]
fn names_are_safe_with_their_folder_or_their_journal() {
    for (names, by_file) in [(Names::WithTheirFolder, false), (Names::InOneJournal, true)] {
        let mut disk = Disk::new(names);
        let folder = disk.make_folder(ROOT, name("d")).expect("a folder");
        let file = disk.make_file(folder, name("new")).expect("a file");
        disk.sync(file).expect("a file");
        let mut other = disk;
        other.cut(Survival::Nothing, &mut Chance::new(1));
        assert_eq!(other.find(ROOT, name("d")).is_ok(), by_file, "{names:?}");
    }
    let mut disk = Disk::new(Names::WithTheirFolder);
    let folder = disk.make_folder(ROOT, name("d")).expect("a folder");
    let old = disk.make_file(folder, name("old")).expect("a file");
    disk.sync(folder).expect("a folder");
    disk.sync(ROOT).expect("a folder");
    disk.rename((folder, name("old")), (folder, name("new"))).expect("a file");
    disk.cut(Survival::Nothing, &mut Chance::new(1));
    assert_eq!((disk.find(folder, name("old")), disk.find(folder, name("new")).is_ok()), (Ok(old), false));
}

#[test]
fn a_mounted_disk_serves_files_and_loses_power() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(()) = crate::can_mount(folder.path()) else { return };
    let power = Power::new(Disk::new(Names::WithTheirFolder));
    let mounted = Mounted::new(&power, folder.path()).expect("a mount");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("d")).expect("a folder");
    fs::write(at("d/safe"), vec![7; 300_000]).expect("a file");
    fs::write(at("gone"), "x").expect("a file");
    for path in ["d/safe", "d", ""] {
        File::open(at(path)).and_then(|file| file.sync_all()).expect("a sync");
    }
    fs::remove_file(at("gone")).expect("a file");
    fs::rename(at("d/safe"), at("d/renamed")).expect("a file");
    let file = OpenOptions::new().write(true).read(true).open(at("d/renamed")).expect("a file");
    file.write_all_at(b"end", 299_999).expect("a write");
    let mut read = [0; 4];
    file.read_exact_at(&mut read, 299_998).expect("a read");
    assert_eq!((&read, file.metadata().expect("metadata").len()), (b"\x07end", 300_002));
    file.set_len(10).expect("a length");
    let names = |folder| fs::read_dir(at(folder)).expect("a list").flatten().map(|entry| entry.file_name());
    assert_eq!(names("d").collect::<Vec<_>>(), ["renamed"]);
    drop(file);
    // The last write waits for a disk without power, until it is told.
    power.cut_after(1);
    let writer = std::thread::spawn({
        let (one, two) = (at("one"), at("two"));
        move || (File::create(one).map(drop), File::create(two).and_then(|mut file| file.write_all(b"2")))
    });
    assert!(power.wait_until_off(Duration::from_secs(10)), "the second step is too much");
    power.release();
    let (one, two) = writer.join().expect("no panic");
    assert_eq!((one.is_ok(), two.is_ok()), (true, false));
    drop(mounted);
    power.restore(|disk| disk.cut(Survival::Nothing, &mut Chance::new(1)));
    let _mounted = Mounted::new(&power, folder.path()).expect("a mount");
    assert_eq!(fs::read(at("d/safe")).expect("a file"), vec![7; 300_000]);
    assert_eq!((names("d").count(), names("").count()), (1, 2));
}
