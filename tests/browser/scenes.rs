//! Scenes: what people do there, and what they are told.

use serde_json::{Value, json};

use crate::common::Person;
use crate::driver::{Browser, DOWN, ENTER, TAB};
use crate::town::{Town, admin, grumbler, is_clean, moderator, owner, seller, sign};

/// The names of the views that are offered.
pub(crate) fn views(browser: &Browser) -> Vec<String> {
    let names =
        browser.script("return [...document.querySelectorAll('#views a')].map((one) => one.innerText)");
    serde_json::from_value(names).expect("names")
}

/// Waits until a call that was made is on record: the newest entry.
fn record(town: &Town) -> Value {
    town.relay.call_ok(&owner(), "listauditlog", json!([1]))[0].clone()
}

#[test]
fn an_owner_works_the_queue_with_keys_and_sees_it_on_record() {
    let town = Town::new();
    let Some(browser) = town.window_of(&owner(), "/") else { return };
    let [listing, picture, note] = [0, 1, 2].map(|at| &town.reported[at]);
    assert_eq!(views(&browser), ["Queue", "People", "Rules", "Settings", "Now", "Record"]);
    browser.sees("3 reports to decide about");
    browser.sees("Watch, as new");
    browser.sees("voucher code and then never wrote again");
    browser.sees("Best Deals 24");
    browser.sees("What else they wrote here");
    browser.sees("Genuine watches, write me for prices. Only today!");
    // What somebody wrote is text, whatever it looks like; pictures are behind a click.
    browser.keys("j");
    browser.sees("2 of 3");
    browser.sees("<script>document.title = 'x'</script><b>Ask</b>");
    assert_eq!(browser.script("return document.title"), "Queue – Rosental Square");
    browser.sees("Show the picture from pictures.example");
    assert_eq!(browser.script("return document.querySelectorAll('main img').length"), 0);
    browser.keys(DOWN);
    browser.sees("3 of 3");
    browser.keys("jkk");
    browser.sees("1 of 3");
    browser.fill("Reason, for the record (may stay empty)", "asks for vouchers");
    assert!(town.shows(listing), "letters of a reason are no decisions");
    browser.script("document.activeElement.blur()");
    browser.keys("r");
    browser.sees("Removed. Press u to undo. 2 reports left.");
    assert!(!town.shows(listing));
    assert_eq!(record(&town)["about"]["reason"], "asks for vouchers");
    browser.keys("u");
    browser.sees("Undone.");
    browser.sees("1 of 3");
    assert!(town.shows(listing));
    browser.keys("jj");
    browser.sees("3 of 3");
    browser.keys("a");
    browser.sees("Approved. Press u to undo. 2 reports left.");
    assert!(town.shows(note));
    // Everything of an author goes at once, and comes back at once.
    browser.keys("b");
    browser.sees("All done");
    assert!(!town.shows(listing) && !town.shows(picture) && town.shows(note));
    browser.keys("u");
    browser.sees("2 reports to decide about");
    assert!(town.shows(listing) && town.shows(picture));
    browser.press("Ban author b");
    browser.sees("All done");
    browser.press("Record");
    browser.sees("banned");
    let entries = browser.script(
        "return [...document.querySelectorAll('.record li > span:last-child')].slice(0, 3)\
         .map((one) => one.innerText.replace(/\\s+/g, ' '))",
    );
    let entries: Vec<String> = serde_json::from_value(entries).expect("entries");
    for (entry, wanted) in entries.iter().zip(["banned", "lifted the ban of", "banned"]) {
        assert!(entry.contains(wanted), "{entry} does not say {wanted}");
    }
    is_clean(&town, &browser);
}

#[test]
fn who_was_a_member_is_one_again_after_an_undone_ban() {
    let town = Town::new();
    town.relay.call_ok(&owner(), "allowpubkey", json!([seller().hex(), "a neighbour"]));
    let Some(browser) = town.window_of(&moderator(), "/") else { return };
    browser.sees("1 of 3");
    browser.keys("b");
    browser.sees("Banned.");
    browser.keys("u");
    browser.sees("Undone.");
    let members = town.relay.call_ok(&owner(), "listallowedpubkeys", json!([]));
    assert_eq!(
        (&members[0]["pubkey"], &members[0]["reason"]),
        (&json!(seller().hex()), &json!("a neighbour"))
    );
}

#[test]
fn a_picture_is_fetched_when_somebody_asks_for_it() {
    let town = Town::new();
    let Some(browser) = town.window_of(&moderator(), "/") else { return };
    browser.sees("1 of 3");
    browser.keys("j");
    browser.press("Show the picture from pictures.example");
    browser.sees("The picture cannot be loaded from there any more.");
    let asked = browser.requests();
    assert!(asked.iter().any(|url| url == "https://pictures.example/watch.jpg"), "{asked:?}");
}

#[test]
fn a_moderator_sees_what_their_rank_allows_and_no_more() {
    let town = Town::new();
    let Some(browser) = town.window_of(&moderator(), "/") else { return };
    assert_eq!(views(&browser), ["Queue", "People", "Rules", "Now"]);
    browser.press("People");
    browser.sees("Who manages");
    browser.sees("Lena from the bakery");
    browser.sees("Banned people");
    for absent in ["Blocked addresses", "Give the role", "Make the role", "Give the name"] {
        assert!(!browser.shows(absent), "{absent}");
    }
    // Somebody who manages more is out of reach, and the page says so where it was tried.
    browser.fill("Public key", &admin().hex());
    browser.press("Welcome");
    browser.sees("This person manages here as much as you do, or more.");
    browser.press("Rules");
    browser.sees("Would this event be accepted?");
    for absent in ["What it says of itself", "The settings file", "Settings"] {
        assert!(!browser.shows(absent), "{absent}");
    }
    is_clean_but_refusals(&town, &browser);
}

/// Refused calls are failed requests, which the browser notes by itself.
pub(crate) fn is_clean_but_refusals(town: &Town, browser: &Browser) {
    let console = browser.console();
    let odd: Vec<&String> = console.iter().filter(|line| !line.contains("Failed to load resource")).collect();
    assert!(odd.is_empty(), "{odd:?}");
    is_clean(town, browser);
}

#[test]
fn a_stranger_is_told_and_so_is_who_has_no_extension() {
    let town = Town::new();
    let Some(browser) = town.window((1000, 800)) else { return };
    browser.open(&town.page("/"));
    town.log_in(&browser, &Person::new(99));
    browser.sees("This key manages nothing here.");
    browser.script("delete window.nostr");
    browser.press("Log in with your extension");
    browser.sees("This browser has no Nostr extension (NIP-07) that answers here.");
    browser.press("Without an extension");
    browser.sees(&format!("plaza admin token --url http://{} --key FILE", town.relay.relay().address()));
    browser.fill("Token", "x");
    browser.press("Log in with this token");
    browser.sees("The token is not in base64.");
    is_clean_but_refusals(&town, &browser);
}

#[test]
fn who_may_do_one_thing_is_told_which() {
    let town = Town::new();
    town.relay.call_ok(&owner(), "assignmethod", json!([Person::new(30).hex(), "banevent"]));
    let Some(browser) = town.window_of(&Person::new(30), "/") else { return };
    browser.sees("You may call banevent, for which this page has no view. Use plaza admin call.");
    is_clean(&town, &browser);
}

#[test]
fn the_record_goes_on_and_can_be_taken_along() {
    let town = Town::new();
    for kind in 100..160 {
        town.relay.call_ok(&owner(), "disallowkind", json!([kind]));
    }
    let Some(browser) = town.window_of(&admin(), "/") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let downloads = json!({"behavior": "allow", "downloadPath": folder.path()});
    browser.devtools("Browser.setDownloadBehavior", downloads);
    browser.press("Record");
    browser.sees("ruled out kind 159");
    let entries = "document.querySelectorAll('.record li').length";
    browser.wait(&format!("{entries} === 50"));
    browser.press("More");
    // Two roles were given before.
    browser.wait(&format!("{entries} === 62"));
    assert!(!browser.shows("More"));
    browser.press("Download (JSON Lines)");
    browser.sees("62 entries are downloaded.");
    let file = browser.until("a file", || {
        let names =
            std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
        names.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
    });
    let text = std::fs::read_to_string(file).expect("a text");
    let numbers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["number"].clone())
        .collect();
    assert_eq!(numbers, (0..62).rev().map(Value::from).collect::<Vec<_>>());
    is_clean(&town, &browser);
}

#[test]
fn a_lost_session_leads_back_to_where_one_was() {
    let town = Town::new();
    let Some(browser) = town.window_of(&admin(), "/") else { return };
    browser.press("People");
    browser.sees("Banned people");
    // All that the view asks for has come, or it would be what meets the lost session first.
    browser.wait("[...document.querySelectorAll('main .entries')].every((list) => list.children.length > 0)");
    browser.sees("Lena from the bakery");
    let key = "document.querySelector('[aria-labelledby=banned] input')";
    browser.script(&format!("{key}.value = '{}'", grumbler().hex()));
    town.relay.call_ok(&admin(), "logout", json!([]));
    browser.click("[aria-labelledby=banned] button[type=submit]");
    browser.sees("Your session has ended. What you typed is still here once you log in again.");
    town.log_in(&browser, &admin());
    browser.sees("They are banned.");
    let banned = town.relay.call_ok(&owner(), "listbannedpubkeys", json!([]));
    assert_eq!(banned[0]["pubkey"], grumbler().hex());
    // A page that is loaded again is still logged in; one that was logged out is not.
    browser.script("location.reload()");
    browser.sees("Banned people");
    browser.press("Log out");
    browser.sees("You are logged out.");
    browser.script("location.reload()");
    browser.sees("Log in to manage");
    assert_eq!(browser.script("return sessionStorage.length"), 0);
}

#[test]
fn the_rules_say_what_they_would_do_with_an_event() {
    let town = Town::new();
    let Some(browser) = town.window_of(&owner(), "/") else { return };
    browser.press("Rules");
    browser.sees("Events of kinds 4 are not taken.");
    browser.fill("Event or draft, as JSON", r#"{"kind": 4, "content": "hello"}"#);
    browser.press("Ask the rules");
    browser.sees("It would be refused: blocked: events of kind 4 are not taken here (kinds.denied)");
    let first = browser.script("return document.querySelector('tbody tr').innerText");
    assert!(first.as_str().is_some_and(|row| row.starts_with("kinds.denied")), "{first}");
    browser.script("document.querySelector('textarea.code').value = '{\"kind\": 1}'");
    browser.press("Ask the rules");
    browser.sees("It would be accepted.");
    browser.script("document.querySelector('textarea.code').value = 'kind 1'");
    browser.press("Ask the rules");
    browser.sees("This is no JSON.");
    // What the community says of itself.
    browser.wait(
        "[...document.querySelectorAll('label')].find((one) => one.innerText === 'Name').control.value",
    );
    browser.fill("Description", ", for all");
    browser.press("Save");
    browser.sees("Saved.");
    assert_eq!(record(&town)["about"]["text"], "Notes and small trade around Rosental, for all");
    browser.fill("Kind", "30402");
    browser.press("Decide");
    browser.sees("Kind 30402 is ruled out");
    browser.fill("Kind", "many");
    browser.press("Decide");
    browser.sees("Needed: a kind is a whole number from 0 to 65535.");
    // A decision is turned, or taken back.
    browser.press("Allow");
    browser.sees("Kind 30402 is allowed");
    browser.press("Take back");
    browser.sees("Kind 30402 is left to the settings.");
    assert_eq!(record(&town)["method"], "resetkind");
    for list in ["listallowedkinds", "listdisallowedkinds"] {
        assert_eq!(town.relay.call_ok(&owner(), list, json!([])), json!([]));
    }
    // The relay of a test has no settings file; the page passes on that it says so.
    browser.press("Read the settings file again");
    browser.wait("document.querySelector('[aria-labelledby=reload] .wrong, #said').innerText");
    is_clean_but_refusals(&town, &browser);
}

/// The row of a setting, by its key.
fn row(key: &str) -> String {
    format!(
        "[...document.querySelectorAll('.setting')].find((one) => one.querySelector('code').textContent === '{key}')"
    )
}

/// Puts a value into the field of a setting, as who writes there does.
fn write(browser: &Browser, key: &str, value: &str) {
    browser.wait(&format!("!!{}", row(key)));
    browser.script(&format!(
        "const field = {}.querySelector('input, select, textarea'); field.value = {}; \
         field.closest('details').open = true; field.dispatchEvent(new Event('input'));",
        row(key),
        json!(value)
    ));
}

/// Presses the button that saves the group of a setting.
fn save(browser: &Browser, key: &str) {
    browser.script(&format!("{}.closest('form').querySelector('button[type=submit]').click()", row(key)));
}

#[test]
fn settings_are_changed_and_taken_back() {
    let town = Town::new();
    let Some(browser) = town.window_of(&admin(), "/") else { return };
    browser.press("Settings");
    browser.sees("Whose events are taken");
    let value = |key: &str| {
        browser.script(&format!("return {}.querySelector('input, select, textarea').value", row(key)))
    };
    let from = |key: &str| browser.script(&format!("return {}.querySelector('.tag').textContent", row(key)));
    assert_eq!((value("access.write"), from("access.write")), (json!("all"), json!("default")));
    assert_eq!((value("kinds.denied"), from("kinds.denied")), (json!("4"), json!("relay.toml")));
    // Two of one group at once; what was typed elsewhere stays.
    write(&browser, "nip13.difficulty_min", "12");
    write(&browser, "access.write", "members");
    write(&browser, "authors.members", &format!("{}\n", Person::new(10).hex()));
    save(&browser, "access.write");
    browser.sees("Saved: Whose events are taken, Members.");
    browser.sees("2 changed here");
    assert_eq!((value("access.write"), from("access.write")), (json!("members"), json!("changed here")));
    assert_eq!(value("nip13.difficulty_min"), json!("12"));
    let note = |who: &Person| who.event(1, town.relay.clock.now(), &[], "settings");
    town.relay.connect().publish_ok(&note(&Person::new(10)));
    let refused = "restricted: only members write here (access.write)";
    assert_eq!(town.relay.connect().publish_refused(&note(&Person::new(11))), refused);
    // What is wrong is said where it was tried, and changes nothing.
    write(&browser, "nip13.difficulty_min", "a lot");
    save(&browser, "nip13.difficulty_min");
    browser.sees("Nip13.difficulty_min: must be a whole number from 0 to 64, but is \"a lot\"");
    browser.wait("document.activeElement.getAttribute('aria-invalid') === 'true'");
    // Lists and tables are written as lines.
    write(&browser, "kinds.denied", "4, 7-8");
    save(&browser, "kinds.denied");
    browser.sees("Saved: Kinds that are refused.");
    write(&browser, "retention.age_days_max_by_kind", "1, 7: 365\n20000-29999: 1");
    save(&browser, "retention.age_days_max_by_kind");
    browser.sees("Saved: Age by kind.");
    let about = record(&town)["about"]["settings"]["retention.age_days_max_by_kind"].clone();
    assert_eq!(about, json!({"from": {}, "to": {"1,7": 365, "20000-29999": 1}}));
    // Only what was changed; then back to the file, one by one.
    browser.click("#only");
    browser.sees("4 settings.");
    browser.fill("Find a setting", "denied");
    browser.sees("1 setting.");
    browser.sees("The value from relay.toml is 4.");
    browser.press("Take back: Kinds that are refused");
    browser.sees("Kinds that are refused: taken back.");
    browser.sees("There is no such setting here.");
    assert_eq!((value("kinds.denied"), from("kinds.denied")), (json!("4"), json!("relay.toml")));
    browser.press("Record");
    browser.sees("changed kinds.denied from");
    browser.sees("to what relay.toml says");
    is_clean(&town, &browser);
}

#[test]
fn settings_that_do_not_go_with_the_file_are_told() {
    let town = Town::new();
    town.relay.call_ok(&owner(), "changesettings", json!([{"limits.limit_default": 4_000}]));
    let mut config = plaza::config::Config::clone(&town.relay.relay().config());
    (config.root.limits.limit_default, config.root.limits.limit_max) = (500, 1_000);
    town.relay.relay().reconfigure(config).expect("they are taken");
    let Some(browser) = town.window_of(&owner(), "/") else { return };
    browser.press("Settings");
    browser.sees("Changed here, but does not go with relay.toml: limits.limit_default.");
    browser.sees("must be at most limits.limit_max (1_000), but is 4_000");
    browser.press("Take back");
    browser.sees("Taken back.");
    browser.wait("!document.body.innerText.includes('does not go with relay.toml')");
    is_clean(&town, &browser);
}

#[test]
fn reports_about_a_person_are_dismissed_and_taken_up_again() {
    let town = Town::new();
    let report =
        Person::new(11).event(1_984, town.relay.clock.now(), &[&["p", &grumbler().hex(), "other"]], "rude");
    town.relay.connect().publish_ok(&report);
    let Some(browser) = town.window_of(&moderator(), "/") else { return };
    browser.sees("Reported person");
    browser.sees("Dismiss a");
    browser.sees("Welcome as a member");
    browser.keys("a");
    browser.sees("Dismissed. Press u to undo. 3 reports left.");
    assert_eq!(record(&town)["method"], "dismissreports");
    browser.keys("u");
    browser.sees("Undone.");
    browser.sees("Reported person");
    browser.press("Dismiss a");
    browser.sees("3 reports to decide about");
    browser.press("People");
    browser.sees("Reports put aside");
    browser.press("Take up again");
    browser.sees("Their reports count again.");
    browser.press("Queue");
    browser.sees("4 reports to decide about");
    is_clean(&town, &browser);
}

#[test]
fn people_are_managed() {
    let town = Town::new();
    let Some(browser) = town.window_of(&owner(), "/") else { return };
    browser.press("People");
    let submit = |section: &str, values: &[&str]| {
        browser.wait(&format!("document.querySelector('[aria-labelledby={section}] .entries li')"));
        for (at, value) in values.iter().enumerate() {
            let set = format!(
                "document.querySelectorAll('[aria-labelledby={section}] form :is(input, select)')[{at}].value = {}",
                json!(value)
            );
            browser.script(&set);
        }
        browser.click(&format!("[aria-labelledby={section}] button[type=submit]"));
    };
    let jonas = Person::new(11);
    browser.wait("document.querySelector('#staff ~ form select option[value=admin]')");
    submit("staff", &[&jonas.hex(), "admin"]);
    browser.sees("The role is given.");
    let rank = |who: &Person| {
        let staff = town.relay.call_ok(&owner(), "liststaff", json!([]));
        let entry = staff.as_array().expect("a list").iter().find(|one| one["pubkey"] == who.hex()).cloned();
        entry.map_or(json!("none"), |entry| entry["rank"].clone())
    };
    assert_eq!(rank(&jonas), "admin");
    submit("addresses", &["192.0.2.0/24", "floods"]);
    browser.sees("The address is blocked.");
    browser.sees("192.0.2.0/24");
    submit("names", &["jonas", &jonas.hex()]);
    browser.sees("The name is given.");
    submit("names", &["Jonas!", &jonas.hex()]);
    browser.sees("Needed: a local name");
    let npub = browser.script(&format!(
        "return document.querySelector('[aria-labelledby=names] [data-key=\"{}\"]').title",
        jonas.hex()
    ));
    // The page writes keys as the relay reads them.
    submit("members", &[npub.as_str().expect("npub1…"), "since 2019"]);
    browser.sees("They are welcome.");
    let members = town.relay.call_ok(&owner(), "listallowedpubkeys", json!([]));
    assert_eq!((&members[0]["pubkey"], &members[0]["reason"]), (&json!(jonas.hex()), &json!("since 2019")));
    // What was removed is named by what it says.
    town.relay.call_ok(&owner(), "banevent", json!([town.reported[2].id.to_string(), "untrue"]));
    browser.press("Now");
    browser.press("People");
    browser.sees("The bakery sells yesterday's rolls as fresh.");
    browser.press("Put back");
    browser.sees("The event is shown again.");
    assert!(town.shows(&town.reported[2]));
    browser.press("Unblock");
    browser.sees("No address is blocked.");
    is_clean_but_refusals(&town, &browser);
}

#[test]
fn the_present_is_drawn_while_one_looks() {
    let town = Town::new();
    let Some(browser) = town.window_of(&moderator(), "/") else { return };
    browser.press("Now");
    let events = "[...document.querySelectorAll('.tile')].find((one) => one.innerText.startsWith('Events'))";
    let stored = town.relay.stored().to_string();
    browser.wait(&format!("{events}?.querySelector('strong').innerText === '{stored}'"));
    town.relay.connect().publish_ok(&Person::new(11).event(1, town.relay.clock.now(), &[], "one more"));
    town.relay.connect().publish_refused(&Person::new(11).event(4, town.relay.clock.now(), &[], ""));
    browser.wait(&format!("{events}.innerText.includes('+1 since you came')"));
    browser.sees("kinds.denied · refused");
    browser
        .wait(&format!("{events}.querySelector('polyline').getAttribute('points').split(' ').length >= 2"));
    is_clean(&town, &browser);
}

#[test]
fn each_community_is_managed_at_its_own_page() {
    let town = Town::new();
    let Some(browser) = town.window_of(&owner(), "/berlin") else { return };
    browser.sees("Nothing is waiting.");
    browser.press("Rules");
    browser.sees("What this community asks for");
    assert!(!browser.shows("Events of kinds 4 are not taken."), "that is a rule of the root");
    assert!(!browser.shows("The settings file"));
    // A session of one is none of the other.
    browser.open(&town.page("/"));
    browser.sees("Log in to manage");
}

/// Moves the focus by the keyboard until it is on what an expression finds.
fn tab_to(browser: &Browser, wanted: &str) {
    for _ in 0..60 {
        browser.keys(TAB);
        if browser.script(&format!("return document.activeElement === ({wanted})")) == json!(true) {
            return;
        }
    }
    panic!("the keyboard does not lead to {wanted}");
}

#[test]
fn everything_is_done_by_keyboard_alone() {
    let town = Town::new();
    let Some(browser) = town.window((1200, 850)) else { return };
    browser.open(&town.page("/"));
    browser.sees("Log in to manage");
    tab_to(&browser, "document.querySelector('#login button')");
    browser.keys(ENTER);
    sign(&browser, &owner());
    browser.sees("3 reports to decide about");
    // Views have keys; the focus goes to the new view's heading, which a screen reader then reads.
    browser.keys("?");
    browser.wait("document.getElementById('keys').open");
    browser.sees("Ban the author, with all their events");
    // Who dictates to a computer turns them off: then what is said decides nothing.
    browser.click("#keys-on");
    browser.press("Close");
    browser.keys("rj?");
    assert_eq!(browser.script("return document.getElementById('keys').open"), false);
    browser.sees("1 of 3");
    browser.press("Keys ?");
    browser.click("#keys-on");
    browser.script("document.activeElement.blur()");
    browser.keys("?");
    browser.wait("!document.getElementById('keys').open");
    browser.keys("2");
    browser.sees("Who manages");
    browser.wait("document.activeElement.tagName === 'H1'");
    tab_to(&browser, "document.querySelector('[aria-labelledby=banned] input')");
    // Letters and digits that are typed are no keys of the page.
    browser.keys(&grumbler().hex());
    browser.keys(ENTER);
    browser.sees("They are banned.");
    // Settings too: the groups open and the fields are reached by keys alone, and the choice is made by its letter.
    browser.script("document.querySelector('h1').focus()");
    browser.keys("4");
    browser.sees("Whose events are taken");
    tab_to(&browser, "document.querySelector('.group select')");
    browser.keys("m");
    tab_to(&browser, "document.querySelector('.group button[type=submit]')");
    browser.keys(ENTER);
    browser.sees("Saved: Whose events are taken.");
    tab_to(&browser, "document.querySelector('.back button')");
    browser.keys(ENTER);
    browser.sees("Whose events are taken: taken back.");
    browser.script("document.querySelector('h1').focus()");
    browser.keys("1");
    browser.sees("2 reports to decide about");
    browser.keys("j");
    browser.wait("document.activeElement.tagName === 'H2'");
    tab_to(&browser, "document.querySelector('button.remove')");
    browser.keys(ENTER);
    browser.sees("Removed. Press u to undo. 1 report left.");
    browser.wait("document.activeElement.tagName === 'H2'");
    is_clean(&town, &browser);
}
