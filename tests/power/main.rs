//! Power cuts

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod disk_tests;
mod mount;
#[path = "../model/random.rs"]
#[allow(dead_code, reason = "only its numbers are used here")]
mod random;
mod survival;

use std::path::Path;

use disk::{Disk, Names};
use mount::{Mounted, Power};

/// Whether file systems can be served here; says why not.
fn can_mount(folder: &Path) -> Option<()> {
    match Mounted::new(&Power::new(Disk::new(Names::WithTheirFolder)), folder) {
        Ok(_) => Some(()),
        Err(error) => {
            println!(
                "skipped: no file system can be mounted here, for want of /dev/fuse or fusermount3: {error}"
            );
            None
        }
    }
}
