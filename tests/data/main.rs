//! What operators do with what is stored, as they do it: with the program, on a relay that runs and on an idle
//! store.

#[path = "../common/mod.rs"]
mod common;

mod backup;
mod compact;
mod control;
mod delete;
mod retention;
mod stats;
mod sync;
mod verify;

use common::Person;
use common::folder::{Done, Folder, Serving};
use plaza::event::Event;

/// A moment that is past on every machine.
pub const PAST: u64 = 1_700_000_000;

/// Settings with a second community.
pub const TWO: &str = "[[community]]\npath = \"/market\"\n[rate]\nenabled = false\n";

/// Notes of a person, one a second from [`PAST`] on.
pub fn notes(person: u32, numbers: std::ops::Range<u64>) -> Vec<Event> {
    let text = |number: u64| format!("note {number} {}", "bread ".repeat((number % 90) as usize));
    let person = Person::new(person);
    numbers.map(|number| person.event(1, PAST + number, &[&["t", "bread"]], &text(number))).collect()
}

/// A folder with settings, and a relay that serves it.
pub fn serve(settings: &str) -> (Folder, Serving) {
    let folder = Folder::new();
    folder.write("relay.toml", settings);
    let relay = folder.serve(&[]);
    (folder, relay)
}

/// Runs the program, which must succeed.
pub fn succeed(folder: &Folder, arguments: &[&str]) -> Done {
    let done = folder.run(arguments);
    assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    done
}

/// What a data folder holds, as exports of both communities.
pub fn all_of(folder: &Folder, data: &str) -> [String; 2] {
    ["/", "/market"].map(|community| folder.export(&["--data", data, "--community", community]))
}
