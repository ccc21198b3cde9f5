//! Scenes of the view of groups (NIP-29): they are made, opened, filled and ended there, and people's clients see it.

use serde_json::{Value, json};

use crate::common::{Client, Person};
use crate::driver::Browser;
use crate::scenes::{is_clean_but_refusals, views};
use crate::town::{Town, admin, moderator, owner};

/// Where the community with groups is.
const PATH: &str = "/berlin";

/// What the relay says of a group by an event of this kind, to who has proved these keys: its tags without the group's id.
fn told(town: &Town, people: &[&Person], kind: u16, group: &str) -> Option<Vec<Value>> {
    let mut client = town.relay.connect_at(PATH);
    let url = town.relay.url_at(PATH);
    people.iter().for_each(|person| client.authenticate(person, &url, town.relay.clock.now()));
    client.subscribe("told", &[json!({"kinds": [kind], "#d": [group]})]);
    let message = client.receive();
    let tags = message[2]["tags"].as_array()?.clone();
    Some(tags.into_iter().filter(|tag| tag[0] != "d").collect())
}

/// An event for a group, of now.
fn send(town: &Town, client: &mut Client, who: &Person, kind: u16, tags: &[&[&str]]) {
    client.publish_ok(&who.event(kind, town.relay.clock.now(), tags, ""));
}

/// The entries of a list, as they are read.
fn entries(browser: &Browser, section: &str) -> Vec<String> {
    let texts = browser.script(&format!(
        "return [...document.querySelectorAll('[aria-labelledby={section}] .entries > li')]\
         .map((one) => one.innerText.replace(/\\s+/g, ' ').trim())"
    ));
    serde_json::from_value(texts).expect("texts")
}

/// Waits until an entry of a list says something.
fn lists(browser: &Browser, section: &str, text: &str) {
    browser.until(text, || entries(browser, section).iter().any(|entry| entry.contains(text)).then_some(()));
}

/// Presses a button of the entry that names somebody, in a list.
fn press_beside(browser: &Browser, section: &str, key: &str, button: &str) {
    let found = format!(
        "[...document.querySelectorAll('[aria-labelledby={section}] .entries > li')]\
         .find((one) => one.querySelector('[data-key=\"{key}\"]'))"
    );
    browser.wait(&format!("!!{found}"));
    browser.script(&format!(
        "[...{found}.querySelectorAll('button')].find((one) => one.innerText === {}).click()",
        json!(button)
    ));
}

#[test]
fn a_group_is_made_filled_and_ended_in_the_page() {
    let town = Town::new();
    let Some(browser) = town.window_of(&owner(), PATH) else { return };
    assert!(views(&browser).iter().any(|view| view == "Groups"));
    browser.press("Groups");
    browser.sees("There are none.");
    let (gardener, guest) = (Person::new(10), Person::new(11));
    browser.fill("Id", "garden");
    browser.fill("Name", "<b>The garden</b>");
    browser.press("Make the group");
    browser.sees("The group is made.");
    // What people write is text, and who is logged in is its admin unless somebody else is named.
    let listed = entries(&browser, "groups");
    assert!(
        listed.len() == 1 && listed[0].contains("<b>The garden</b> garden 1 member, made by"),
        "{listed:?}"
    );
    assert_eq!(told(&town, &[], 39_000, "garden"), Some(vec![json!(["name", "<b>The garden</b>"])]));
    assert_eq!(told(&town, &[], 39_001, "garden"), Some(vec![json!(["p", owner().hex(), "admin"])]));
    browser.press("Show");
    browser.sees("Who is in garden");
    browser.fill("Public key", &gardener.hex());
    browser.script(
        "const role = document.querySelector('[aria-labelledby=group-members] select'); role.value = 'moderator'",
    );
    browser.press("Put in");
    browser.sees("They are in.");
    let listed = entries(&browser, "group-members");
    assert_eq!(listed.iter().filter(|entry| entry.contains("moderator")).count(), 1, "{listed:?}");
    // Who was put in manages the group with a client of their own, and the page shows it.
    let mut client = town.relay.connect_at(PATH);
    send(&town, &mut client, &gardener, 9_009, &[&["h", "garden"], &["code", "compost"]]);
    send(
        &town,
        &mut client,
        &owner(),
        9_002,
        &[&["h", "garden"], &["name", "Garden"], &["closed"], &["private"]],
    );
    browser.press("Now");
    browser.press("Groups");
    lists(&browser, "groups", "Garden garden private closed 2 members");
    browser.press("Show");
    lists(&browser, "group-codes", "compost used 0 times");
    browser.press("Make a code");
    browser.sees("The code is ");
    let codes = entries(&browser, "group-codes");
    assert_eq!(codes.len(), 2, "{codes:?}");
    let made = codes.iter().find(|code| !code.contains("compost")).expect("another code");
    let made = made.split(' ').next().expect("a code").to_owned();
    send(&town, &mut client, &guest, 9_021, &[&["h", "garden"], &["code", &made]]);
    press_beside(&browser, "group-members", &gardener.hex(), "Remove");
    browser.sees("They are out.");
    browser.wait("document.querySelectorAll('[aria-labelledby=group-members] .entries > li').length === 2");
    let members: Vec<Value> = told(&town, &[&guest], 39_002, "garden").expect("members");
    assert!(members.contains(&json!(["p", guest.hex()])) && members.len() == 2, "{members:?}");
    browser.press("Take away");
    browser.sees("The code counts no more.");
    browser.press("End");
    browser.sees("The group is ended.");
    browser.sees("There are none.");
    assert_eq!(told(&town, &[&owner()], 39_000, "garden"), None);
    let entry = town.relay.call_at(PATH, &owner(), "listauditlog", json!([1])).1["result"][0].clone();
    assert_eq!(entry["method"], "deletegroup");
    is_clean_but_refusals(&town, &browser);
}

#[test]
fn what_goes_wrong_with_a_group_is_said_where_it_was_tried() {
    let town = Town::new();
    let Some(browser) = town.window_of(&admin_of_berlin(&town), PATH) else { return };
    let mut client = town.relay.connect_at(PATH);
    send(&town, &mut client, &Person::new(10), 9_007, &[&["h", "den"], &["hidden"]]);
    browser.press("Groups");
    // Who manages the community sees also what is hidden from guests.
    lists(&browser, "groups", "den den hidden");
    assert_eq!(told(&town, &[], 39_000, "den"), None);
    browser.fill("Id", "den");
    browser.press("Make the group");
    browser.sees("There is a group \"den\" already");
    browser.press("Show");
    browser.fill("Public key", "nobody");
    browser.press("Put in");
    browser.sees("Needed: ");
    assert_eq!(entries(&browser, "group-members").len(), 1);
    // It ended elsewhere, a moment ago.
    send(&town, &mut client, &Person::new(10), 9_008, &[&["h", "den"]]);
    browser.press("Make a code");
    browser.sees("There is no group \"den\" here");
    is_clean_but_refusals(&town, &browser);
}

/// Who is an admin of the community with groups.
fn admin_of_berlin(town: &Town) -> Person {
    let given = town.relay.call_at(PATH, &owner(), "assignrole", json!([admin().hex(), "admin"]));
    assert_eq!(given.0, 200, "{}", given.1);
    admin()
}

#[test]
fn groups_are_offered_where_there_are_some_to_who_may_see_them() {
    let town = Town::new();
    for (path, who, is_offered) in [("/", owner(), false), (PATH, owner(), true), (PATH, moderator(), false)]
    {
        if path == PATH {
            let given =
                town.relay.call_at(PATH, &owner(), "assignrole", json!([moderator().hex(), "moderator"]));
            assert_eq!(given.0, 200, "{}", given.1);
        }
        let Some(browser) = town.window_of(&who, path) else { return };
        let views = views(&browser);
        assert_eq!(views.iter().any(|view| view == "Groups"), is_offered, "{path}: {views:?}");
    }
}
