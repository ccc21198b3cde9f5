//! relay.toml: what is read is written as the same settings, and a fault is told with its file.

use std::path::Path;
use std::time::Duration;

use super::{Chance, Target};
use crate::config::{Config, Preset};
use crate::nips::nip11;
use crate::policy::{Policy, restricts_writes, sentences};

pub(super) const CONFIG: Target = Target::new("config", 64 * 1024, build, check).within(AREAS_TIME);

/// What it may take to draw areas of as many cells as there may be, some times over.
const AREAS_TIME: Duration = Duration::from_secs(10);

const FILE: &str = "town/relay.toml";

/// Settings with values of their own kind; `#` is a number, `$` a text, `&` a key.
const LINES: &[(&str, &[&str])] = &[
    (
        "relay",
        &[
            "name = $",
            "description = $",
            "icon = \"https://a.example/i.png\"",
            "urls = [\"wss://a.example\"]",
        ],
    ),
    (
        "server",
        &[
            "listen = \"[::1]:#\"",
            "trusted_proxies = [\"10.0.0.1/8\", \"::ffff:1.2.3.4\"]",
            "reader_threads = #",
        ],
    ),
    ("limits", &["message_bytes_max = #", "limit_max = #", "limit_default = #", "mode = \"shadow\""]),
    (
        "limits",
        &["content_chars_max_by_kind = { \"1,1111\" = #, \"7-9\" = # }", "created_at_future_seconds_max = #"],
    ),
    ("store", &["cache_bytes = #", "durability = \"process\"", "path = $"]),
    ("nip13", &["difficulty_min = #", "difficulty_max_trusted = #"]),
    ("kinds", &["allowed = [#, \"1-#\"]", "denied = [\"30000-39999\", #]"]),
    ("authors", &["members = [&, &]", "denied = [&]"]),
    ("outbox", &["enabled = true", "discover = [\"wss://a.example\"]", "kinds = [#, 1]", "relays_max = #"]),
    ("access", &["read = \"members\"", "write = \"members\""]),
    (
        "geohash",
        &["prefixes = [\"u33d\", \"u33e\"]", "precision_min = #", "precision_max = #", "replies = \"own\""],
    ),
    ("geohash", &["center = [#.5, #.25]", "radius_km = #.5", "border_precision = #"]),
    ("geohash", &["box = [1#, 13.1, 52.6, 1#]", "border_precision = #", "prefix_filters = true"]),
    (
        "geohash",
        &["polygon = '''{\"type\": \"Polygon\", \"coordinates\": [[[1, 1], [2#, 1], [2, #], [1, 1]]]}'''"],
    ),
    (
        "market",
        &[
            "enabled = true",
            "currencies = [\"sats\", $]",
            "price_min = { sats = \"#.5\" }",
            "price_max = { sats = # }",
        ],
    ),
    ("bridge", &["domains_refused = [\"bücher.example\", $]", "protocols_refused = [\"rss\"]"]),
    ("trust", &["roots = [&]", "hops_max = #", "write = true"]),
    ("zaps", &["enabled = true", "wallets = [&]", "after_closed = \"mark\""]),
    ("retention", &["events_max = #", "age_seconds_max = #"]),
    ("admin", &["owners = [&]"]),
    ("nip05", &["names = { ann = &, \"b.c\" = & }"]),
    ("rate", &["events_per_minute_per_author = #", "address_prefix_ipv6 = #"]),
];

/// `text` with its marks filled in.
fn filled(chance: &mut Chance, text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '#' => {
                let number = if chance.one_in(2) { chance.below(20) as u64 } else { chance.edge() };
                out += &number.to_string();
            }
            '$' => out += &toml::Value::from(chance.text()).to_string(),
            '&' => out += &format!("\"{}\"", chance.hex::<32>()),
            _ => out.push(letter),
        }
    }
    out
}

/// Some sections; below `[[community]]` their names begin with it.
fn sections(chance: &mut Chance, above: &str) -> String {
    let mut text = String::new();
    let mut named: Vec<&str> = Vec::new();
    for _ in 0..chance.below(4) {
        let (section, lines) = LINES[chance.below(LINES.len())];
        if named.contains(&section)
            || (!above.is_empty() && ["relay", "server", "store", "rate"].contains(&section))
        {
            continue;
        }
        named.push(section);
        text += &format!("[{above}{section}]\n");
        for line in lines.iter().filter(|_| chance.one_in(2)).collect::<Vec<_>>() {
            text += &format!("{}\n", filled(chance, line));
        }
    }
    text
}

fn build(chance: &mut Chance) -> Vec<u8> {
    let mut text = sections(chance, "");
    for at in 0..chance.below(3) {
        text += &format!(
            "[[community]]\npath = \"/{}\"\n",
            chance.pick(&["town", "a/b", "x"]).to_owned() + &at.to_string()
        );
        if chance.one_in(2) {
            let preset = Preset::ALL[chance.below(Preset::ALL.len())];
            text += &format!("preset = \"{}\"\n", preset.as_str());
        }
        text += &sections(chance, "community.");
    }
    if chance.one_in(20) {
        text += &format!("{} = {}\n", chance.text(), "[".repeat(chance.below(3_000)));
    }
    text.into_bytes()
}

fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let config = match Config::parse(text, Path::new(FILE)) {
        Ok(config) => config,
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(FILE), "{said}");
            assert!(said.len() <= 2_000, "{} bytes: {said:.300}", said.len());
            return false;
        }
    };
    let written = config.to_toml();
    let again = Config::parse(&written, Path::new(FILE)).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again, config, "settings that were written read the same: {written}");
    for settings in config.all() {
        settings.geohash.compile().expect("settings that were checked compile");
        let asked = sentences(settings).filter(|(_, sentence)| sentence.is_empty()).count();
        assert_eq!(asked, 0, "every rule says what it asks for");
        drop(Policy::new(settings));
        let document = nip11::document(settings, restricts_writes(settings)).to_string();
        let again: serde_json::Value = serde_json::from_str(&document).expect("a document is JSON");
        assert!(again.is_object());
    }
    true
}
