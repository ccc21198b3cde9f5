//! Who may read and write what, by every path that there is: a table of things, people and ways. What nobody is to see
//! is looked for by all of them. `docs/access.md` tells the same.

#[path = "../common/mod.rs"]
mod common;
mod cost;
mod operator;
mod paths;
mod table;
mod town;
mod write;

use paths::PATHS;
use table::{THINGS, WHO, rendered};
use town::Town;

/// The page that has the tables.
const PAGE: &str = include_str!("../../docs/access.md");

#[test]
fn everybody_sees_what_is_theirs_to_see_and_nothing_else_by_every_path() {
    let mut town = Town::build();
    let mut wrong = Vec::new();
    let mut cells = 0;
    for path in PATHS {
        for who in WHO {
            for thing in THINGS {
                let expected = (path.expected)(thing, who);
                let seen = (path.sees)(&mut town, who, thing);
                cells += 1;
                if seen != expected {
                    let verb = if seen { "sees" } else { "does not see" };
                    wrong.push(format!("{} {verb} {} by {}", who.name(), thing.name, path.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cells, PATHS.len() * WHO.len() * THINGS.len());
    // What one reconciled was there for the next one, who saw the same and nothing else.
    assert!(town.shared_sets() > 100, "{} sets were shared", town.shared_sets());
}

#[test]
fn the_page_has_the_tables() {
    println!("{}\n{}", rendered(), write::rendered());
    for table in [rendered(), write::rendered()] {
        assert!(PAGE.contains(&table), "docs/access.md lacks this table:\n{table}");
    }
    for path in PATHS {
        assert!(PAGE.contains(path.name), "docs/access.md does not name the path {:?}", path.name);
    }
}
