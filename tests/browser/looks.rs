//! How the page looks: nothing is wider than a small phone, everything has a name, texts stand out from their ground.
//! With `PLAZA_PICTURES=folder` each view is also kept as a picture there, for somebody to look at.

use std::path::PathBuf;

use serde_json::json;

use crate::common::Person;
use crate::driver::Browser;
use crate::town::{Town, grumbler, owner};

/// What is too faint: texts whose contrast with the ground behind them is below 4.5, or 3 for large ones (WCAG 2, AA).
const FAINT: &str = r#"
  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
    if (!says || !element.checkVisibility() || element.closest("noscript, .skip")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [light(parse(style.color)), light(ground(element))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (isLarge ? 3 : 4.5)) faint.push(`${contrast.toFixed(2)} ${element.textContent.trim().slice(0, 40)}`);
  }
  return faint;
"#;

/// What has no name for who cannot see it, or no place of its own.
const NAMELESS: &str = r#"
  const name = (one) => one.getAttribute("aria-label") || one.labels?.[0]?.innerText
    || one.getAttribute("alt") || one.textContent.trim() || one.getAttribute("aria-labelledby");
  const controls = [...document.querySelectorAll("button, a, input, textarea, select, summary, svg, section")];
  const nameless = controls.filter((one) => one.checkVisibility() && !name(one)).map((one) => one.outerHTML.slice(0, 90));
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `the id ${id} is there twice`);
  const heads = [...document.querySelectorAll("h1")].filter((one) => one.checkVisibility());
  const lost = ["main", "header", "nav"].filter((one) => !document.querySelector(one));
  return [...nameless, ...twice, ...(heads.length === 1 ? [] : ["not one h1"]), ...lost];
"#;

/// What reaches beyond the right edge.
const WIDE: &str = r#"
  if (document.documentElement.scrollWidth <= innerWidth) return [];
  return [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 90));
"#;

fn check(browser: &Browser, what: &str) {
    for (script, fault) in [(FAINT, "too faint"), (NAMELESS, "no name"), (WIDE, "too wide")] {
        assert_eq!(browser.script(script), json!([]), "{what}: {fault}");
    }
}

/// Opens a view and waits until it has what it shows.
fn visit(browser: &Browser, view: &str, ready: &str) {
    browser.script(&format!("location.hash = '{view}'"));
    browser.sees(ready);
    browser.wait("!document.body.innerText.includes('Looking…')");
    // Names of people come by themselves.
    browser.wait("[...document.querySelectorAll('#me .name')].every((one) => one.innerText !== '')");
}

/// A town in which something was done already.
fn busy() -> Town {
    let town = Town::new();
    let calls = [
        ("allowpubkey", json!([Person::new(10).hex(), "runs the bakery"])),
        ("allowpubkey", json!([Person::new(12).hex(), "neighbour since 1998"])),
        ("banpubkey", json!([Person::new(40).hex(), "the same advert, forty times"])),
        ("blockip", json!(["192.0.2.0/24", "floods"])),
        ("setname", json!(["amira", Person::new(10).hex()])),
        ("createrole", json!(["baker", "Baker", "bakes for all of us", "#b8860b", 1])),
        ("assignrole", json!([Person::new(10).hex(), "baker"])),
        ("disallowkind", json!([30_023])),
        ("dismissreports", json!([Person::new(41).hex(), "a quarrel between neighbours"])),
        ("changesettings", json!([{"access.read": "authenticated", "limits.content_chars_max": 8_000}])),
        (
            "changesettings",
            json!([{"access.read": null, "retention.age_days_max_by_kind": {"7": 30, "20-29": 7}}]),
        ),
        ("banevent", json!([grumbler().note("gone").id.to_string(), "insults"])),
    ];
    for (method, params) in calls {
        town.relay.call_ok(&owner(), method, params);
    }
    for _ in 0..7 {
        town.relay.connect().publish_refused(&grumbler().event(4, town.relay.clock.now(), &[], ""));
    }
    town
}

#[test]
fn views_fit_small_and_large_screens_in_light_and_dark() {
    let town = busy();
    let Some(browser) = town.window((1200, 850)) else { return };
    let pictures = std::env::var_os("PLAZA_PICTURES").map(PathBuf::from);
    let keep = |name: &str| {
        if let Some(folder) = &pictures {
            browser.picture(&folder.join(format!("{name}.png")));
        }
    };
    let screens = [("phone", 320, 690), ("desktop", 1200, 850)];
    let schemes = ["light", "dark"];
    browser.open(&town.page("/"));
    browser.sees("Log in to manage");
    browser.press("Without an extension");
    let look_everywhere = |view: &str| {
        for (screen, width, height) in screens {
            for scheme in schemes {
                browser.window(width, height);
                browser.scheme(scheme);
                browser.script("scrollTo(0, 0)");
                check(&browser, &format!("{view}, {screen}, {scheme}"));
                keep(&format!("{screen}-{scheme}-{view}"));
            }
        }
    };
    look_everywhere("login");
    town.log_in(&browser, &owner());
    let views = [
        ("queue", "Who reported it"),
        ("people", "Names"),
        ("rules", "What it says of itself"),
        ("settings", "Whose events are taken"),
        ("now", "Subscriptions"),
        ("record", "blocked"),
    ];
    for (view, ready) in views {
        visit(&browser, view, ready);
        if view == "now" {
            // Something to draw: two looks, and one event between them.
            let look = |events: usize| {
                let wanted = format!(
                    "[...document.querySelectorAll('.tile strong')].some((one) => one.innerText === '{events}')"
                );
                browser.wait(&wanted);
            };
            let stored = town.relay.stored();
            look(stored);
            town.relay.connect().publish_ok(&grumbler().event(1, town.relay.clock.now(), &[], "again"));
            look(stored + 1);
        }
        if view == "rules" {
            browser.fill("Event or draft, as JSON", r#"{"kind": 30402, "content": "a bicycle"}"#);
            browser.press("Ask the rules");
            browser.sees("It would be");
        }
        look_everywhere(view);
        if view == "settings" {
            // Every group, and then what was changed alone.
            browser.script("document.querySelectorAll('.group').forEach((group) => { group.open = true; })");
            check(&browser, "all settings");
            browser.click("#only");
            browser.sees("2 settings.");
            look_everywhere("settings-changed");
        }
    }
    browser.keys("?");
    browser.wait("document.getElementById('keys').open");
    browser.window(320, 690);
    assert_eq!(browser.script(WIDE), json!([]), "keys");
    keep("phone-dark-keys");
}

#[test]
fn the_page_without_owners_fits_too() {
    let relay = crate::common::TestRelay::start();
    let Some(browser) = Browser::start(320, 690) else { return };
    browser.open(&format!("http://{}/admin", relay.relay().address()));
    browser.sees("Nobody manages here yet");
    assert_eq!(browser.script(WIDE), json!([]));
    assert_eq!(browser.script(FAINT), json!([]));
    assert_eq!(browser.console(), Vec::<String>::new());
}
