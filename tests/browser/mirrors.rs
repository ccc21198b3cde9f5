//! Scenes of the view of mirrors: which there are, how each stands, what it has carried.

use plaza::config::Config;

use crate::common::{Person, TestRelay};
use crate::scenes::views;
use crate::town::{Town, is_clean, moderator, owner};

/// Has the town's root mirror another relay, or have no mirror any more.
fn mirror(town: &Town, text: &str) {
    let parsed = Config::parse(text, std::path::Path::new("relay.toml")).expect("settings");
    let mut config = Config::clone(&town.relay.relay().config());
    config.mirrors = parsed.mirrors;
    town.relay.relay().reconfigure(config).expect("the settings are taken");
}

#[test]
fn who_manages_a_community_sees_its_mirrors() {
    let (town, mut other) = (Town::new(), TestRelay::today());
    let ago = |seconds: u64| town.relay.clock.now() - seconds;
    let mut client = other.connect();
    for number in 0..3 {
        client.publish_ok(&Person::new(40).event(1, ago(60 + number), &[], &number.to_string()));
    }
    let Some(browser) = town.window_of(&owner(), "/") else { return };
    assert!(!views(&browser).iter().any(|view| view == "Mirrors"), "there is none");
    mirror(&town, &format!("[[mirror]]\nurl = \"{}\"\ndirection = \"down\"\n", other.url()));
    browser.script("location.reload()");
    browser.press("Mirrors");
    browser.sees(&other.url());
    browser.sees("up to date");
    browser.sees("3 taken");
    browser.sees("last event just now");
    assert!(!browser.shows("up: "), "nothing goes up");
    client.publish_ok(&Person::new(40).event(1, ago(1), &[], "one more"));
    browser.sees("4 taken");
    // All views can be reached by a key.
    browser.script("document.activeElement.blur()");
    let at = views(&browser).iter().position(|view| view == "Record").expect("a view") + 1;
    browser.keys(&at.to_string());
    browser.sees("Download (JSON Lines)");
    browser.press("Mirrors");
    other.stop();
    browser.wait("/waits to connect again|connects/.test(document.querySelector('main .entries').innerText)");
    browser.wait("document.querySelector('main .entries .wrong')?.innerText");
    mirror(&town, "");
    browser.sees("There are none any more.");
    is_clean(&town, &browser);
}

#[test]
fn mirrors_are_shown_to_who_may_see_them_and_where_they_are() {
    let town = Town::new();
    mirror(&town, "[[mirror]]\nurl = \"ws://127.0.0.1:9\"\n");
    for (path, who, is_offered) in
        [("/", owner(), true), ("/", moderator(), false), ("/berlin", owner(), false)]
    {
        let Some(browser) = town.window_of(&who, path) else { return };
        assert_eq!(views(&browser).iter().any(|view| view == "Mirrors"), is_offered, "{path}");
    }
}
