//! Random communities: relay.toml texts out of every section that a community can have, valid by construction.
//! In: chance. Out: text, and the files that it names. Never knows what a rule decides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::common::Person;
use crate::random::Chance;

/// What a community is mostly about: its own sections are nearly always set, others now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    Place,
    Market,
    Zaps,
    Bridge,
    People,
    Media,
    Access,
    Limits,
    /// Neither is one of those that come in turn: there is one such community of each in every relay.
    Groups,
    Members,
}

impl Theme {
    pub(crate) const ALL: [Theme; 8] = [
        Theme::Place,
        Theme::Market,
        Theme::Zaps,
        Theme::Bridge,
        Theme::People,
        Theme::Media,
        Theme::Access,
        Theme::Limits,
    ];
}

/// The wallet that signs receipts, the one that nobody knows, and a bridge.
pub(crate) const WALLET: u32 = 20;
pub(crate) const OTHER_WALLET: u32 = 21;
pub(crate) const BRIDGE: u32 = 22;

/// Who signs what the relay itself says.
pub(crate) const RELAY: u32 = 23;

/// A polygon around the middle of Berlin.
const POLYGON: &str = r#"{"type": "Polygon", "coordinates": [[[13.3, 52.45], [13.5, 52.45], [13.5, 52.6], [13.3, 52.6], [13.3, 52.45]]]}"#;

/// A blocklist that suspends and silences some of the domains of random events.
const BLOCKLIST: &str = "#domain,#severity\nspam.example,suspend\nloud.example,silence\nfine.example,noop\n";

const PRESETS: [&str; 6] = ["geohash-hub", "marketplace", "town-square", "members-only", "bridge", "video"];

/// The sections of a community: keys and values as relay.toml has them.
struct Draft<'c> {
    chance: &'c mut Chance,
    theme: Theme,
    sections: BTreeMap<&'static str, Vec<String>>,
}

impl Draft<'_> {
    /// Whether to set a section that belongs to a theme.
    fn wants(&mut self, theme: Theme) -> bool {
        let percent = if self.theme == theme { 95 } else { 12 };
        self.chance.percent(percent)
    }

    /// Sets a key to one of some values, so many times in a hundred.
    fn some(&mut self, percent: u64, section: &'static str, key: &str, values: &[&str]) {
        if self.chance.percent(percent) {
            let value = (*self.chance.pick(values)).to_owned();
            self.set(section, key, &value);
        }
    }

    fn set(&mut self, section: &'static str, key: &str, value: &str) {
        self.sections.entry(section).or_default().push(format!("{key} = {value}"));
    }

    /// Sometimes the section only counts. What a theme is about mostly refuses.
    fn mode(&mut self, section: &'static str) {
        self.some(12, section, "mode", &["\"shadow\"", "\"shadow\"", "\"enforce\""]);
    }

    /// One to three people, as a list.
    fn people(&mut self) -> String {
        let people: Vec<String> =
            (0..=self.chance.below(3)).map(|_| format!("\"{}\"", self.chance.person().hex())).collect();
        format!("[{}]", people.join(", "))
    }
}

/// One community's sections, without their headers.
fn sections(chance: &mut Chance, theme: Theme, folder: &Path) -> BTreeMap<&'static str, Vec<String>> {
    let mut draft = Draft { chance, theme, sections: BTreeMap::new() };
    if draft.wants(Theme::Place) {
        place(&mut draft, folder);
    }
    if draft.wants(Theme::Market) {
        market(&mut draft);
    }
    if draft.wants(Theme::Zaps) {
        zaps(&mut draft);
    }
    if draft.wants(Theme::Bridge) {
        bridge(&mut draft, folder);
    }
    if draft.wants(Theme::People) {
        people(&mut draft);
    }
    if draft.wants(Theme::Media) {
        media(&mut draft);
    }
    if theme != Theme::Members && draft.wants(Theme::Access) {
        access(&mut draft);
    }
    if draft.wants(Theme::Limits) {
        limits(&mut draft);
    }
    match theme {
        Theme::Groups => groups(&mut draft),
        Theme::Members => members(&mut draft),
        _ => {}
    }
    draft.sections
}

/// Groups, with bounds that are met.
fn groups(draft: &mut Draft<'_>) {
    draft.set("nip29", "enabled", "true");
    draft.some(95, "nip29", "create", &["\"all\"", "\"all\"", "\"all\"", "\"all\"", "\"staff\""]);
    draft.some(40, "nip29", "late_seconds_max", &["4", "50"]);
    draft.some(20, "nip29", "previous_min", &["1", "2"]);
    draft.some(30, "nip29", "code_uses_max", &["1"]);
    draft.some(30, "nip29", "code_seconds_max", &["3"]);
    draft.some(20, "nip29", "groups_max", &["2", "3"]);
    draft.some(20, "nip29", "groups_per_creator_max", &["1"]);
    draft.some(30, "nip29", "members_max", &["2"]);
    draft.some(20, "nip29", "memberships_max", &["4"]);
    draft.some(40, "nip29", "codes_max", &["1"]);
    draft.some(40, "nip29", "pins_max", &["1"]);
}

/// Members, who may do what others may not.
fn members(draft: &mut Draft<'_>) {
    draft.set("nip43", "enabled", "true");
    draft.some(40, "nip43", "invite", &["\"staff\"", "\"members\""]);
    draft.some(50, "nip43", "code_seconds_max", &["60"]);
    draft.some(50, "nip43", "code_uses_max", &["2", "3"]);
    draft.some(30, "nip43", "codes_max", &["1", "2"]);
    draft.some(60, "nip43", "window_seconds", &["2", "50"]);
    draft.some(25, "nip43", "publish_members", &["false"]);
    draft.mode("access");
    draft.some(75, "access", "write", &["\"members\"", "\"members\"", "\"authenticated\""]);
    draft.some(50, "access", "read", &["\"members\"", "\"members\"", "\"authenticated\""]);
    if draft.chance.percent(60) {
        let people = draft.people();
        draft.set("authors", "members", &people);
    }
}

fn place(draft: &mut Draft<'_>, folder: &Path) {
    draft.mode("geohash");
    match draft.chance.below(6) {
        0 => draft.set("geohash", "prefixes", "[\"u33d\"]"),
        1 => draft.set("geohash", "prefixes", "[\"u33dc\", \"u33e\"]"),
        2 => {
            draft.set("geohash", "center", "[52.52, 13.40]");
            draft.set("geohash", "radius_km", "5.5");
        }
        3 => draft.set("geohash", "box", "[52.45, 13.3, 52.6, 13.5]"),
        4 => draft.set("geohash", "polygon", &format!("'''{POLYGON}'''")),
        _ => {
            let file = folder.join("area.geojson");
            std::fs::write(&file, POLYGON).expect("a file");
            draft.set("geohash", "polygon_file", &format!("'{}'", file.display()));
        }
    }
    // Coarse borders: the coverings of a debug build are quick.
    draft.set("geohash", "border_precision", "6");
    draft.some(40, "geohash", "precision_min", &["1", "5", "6"]);
    draft.some(50, "geohash", "precision_max", &["7", "8"]);
    draft.some(50, "geohash", "replies", &["\"own\"", "\"all\""]);
    draft.some(60, "geohash", "prefix_filters", &["true"]);
    draft.some(30, "geohash", "replay_seconds", &["5"]);
    draft.some(20, "geohash", "kinds_exempt", &["[0, 3, 5, 10000]", "[]"]);
    draft.some(20, "geohash", "kinds_about", &["[7]", "[]"]);
}

fn market(draft: &mut Draft<'_>) {
    draft.mode("market");
    draft.some(95, "market", "enabled", &["true"]);
    draft.some(25, "market", "currencies", &["[\"sats\", \"EUR\"]"]);
    draft.some(25, "market", "categories", &["[\"bread\", \"fish\"]"]);
    draft.some(30, "market", "price_min", &["{ sats = 5, EUR = \"0.50\" }"]);
    draft.some(30, "market", "price_max", &["{ sats = 1_000, EUR = \"50\" }"]);
    draft.some(40, "market", "price_required", &["false"]);
    draft.some(40, "market", "listings_per_author_max", &["1", "2", "4"]);
    draft.some(35, "market", "images_min", &["1"]);
    draft.some(35, "market", "images_max", &["2"]);
    draft.some(35, "market", "location_required", &["true"]);
    draft.some(35, "market", "geohash_required", &["true"]);
}

fn zaps(draft: &mut Draft<'_>) {
    draft.mode("zaps");
    draft.some(95, "zaps", "enabled", &["true"]);
    draft.some(30, "zaps", "description_hash_required", &["true"]);
    draft.some(30, "zaps", "amount_required", &["true"]);
    draft.some(40, "zaps", "requests_accepted", &["false"]);
    draft.some(80, "zaps", "after_closed", &["\"refuse\"", "\"refuse\"", "\"mark\"", "\"accept\""]);
    if draft.chance.percent(60) {
        draft.set("zaps", "wallets", &format!("[\"{}\"]", Person::new(WALLET).hex()));
    }
}

fn bridge(draft: &mut Draft<'_>, folder: &Path) {
    draft.mode("bridge");
    draft.some(50, "bridge", "ids_checked", &["true"]);
    draft.some(15, "bridge", "protocols_allowed", &["[\"activitypub\", \"atproto\", \"other\"]"]);
    draft.some(40, "bridge", "protocols_refused", &["[\"rss\"]", "[\"web\", \"other\"]"]);
    draft.some(40, "bridge", "protocols_hidden", &["[\"atproto\"]", "[\"activitypub\"]"]);
    draft.some(15, "bridge", "domains_allowed", &["[\"fine.example\", \"loud.example\"]"]);
    draft.some(25, "bridge", "domains_refused", &["[\"refused.example\"]"]);
    draft.some(25, "bridge", "domains_hidden", &["[\"hidden.example\", \"fine.example\"]"]);
    draft.some(20, "bridge", "unbridged_hashtag", &["\"bread\""]);
    if draft.chance.percent(70) {
        draft.set("bridge", "bridge_keys", &format!("[\"{}\"]", Person::new(BRIDGE).hex()));
    }
    if draft.chance.percent(70) {
        let file = folder.join("blocklist.csv");
        std::fs::write(&file, BLOCKLIST).expect("a file");
        draft.mode("blocklist");
        draft.set("blocklist", "files", &format!("['{}']", file.display()));
        draft.some(30, "blocklist", "apply_to", &["[\"proxy\"]", "[\"nip05\", \"links\"]"]);
        draft.some(20, "blocklist", "domains_allowed", &["[\"loud.example\"]"]);
    }
}

fn people(draft: &mut Draft<'_>) {
    draft.mode("trust");
    let roots = draft.people();
    draft.set("trust", "roots", &roots);
    draft.some(60, "trust", "hops_max", &["0", "1", "3"]);
    draft.some(20, "trust", "rate_exempt", &["true"]);
    // Who may hardly write has little to report.
    if draft.chance.percent(50) {
        draft.some(50, "trust", "write", &["true"]);
        draft.some(40, "trust", "nip05_required", &["true"]);
        draft.some(40, "trust", "nip05_domains", &["[\"fine.example\"]"]);
    }
    draft.mode("reports");
    if draft.chance.percent(60) {
        let moderators = draft.people();
        draft.set("reports", "moderators", &moderators);
    }
    if draft.chance.percent(75) {
        let reporters = draft.people();
        draft.set("reports", "reporters", &reporters);
        draft.some(90, "reports", "event_threshold", &["1", "1", "2"]);
        draft.some(60, "reports", "author_threshold", &["1", "2"]);
        draft.some(30, "reports", "by_members", &["true"]);
        draft.some(30, "reports", "hops_max", &["0"]);
        draft.some(10, "reports", "types", &["[\"spam\"]"]);
        draft.some(40, "reports", "labels", &["{ \"com.example.moderation\" = [\"spam\"], \"ugc\" = [] }"]);
        draft.some(30, "reports", "refuse", &["false"]);
        draft.some(10, "reports", "reports_max", &["2"]);
    }
    draft.mode("followers");
    draft.some(60, "followers", "kinds", &["[1, 20]", "[\"20-30\", 1111]"]);
    draft.some(70, "followers", "marked", &["true"]);
    draft.some(70, "followers", "shown_to", &["\"followers\"", "\"followed\"", "\"either\"", "\"mutual\""]);
}

fn media(draft: &mut Draft<'_>) {
    draft.mode("media");
    draft.some(70, "media", "videos_checked", &["true"]);
    draft.some(70, "media", "duration_seconds_max_by_kind", &["{ \"22,34236\" = 60, \"1-21\" = 600 }"]);
    draft.some(60, "media", "imeta_checked", &["true"]);
    draft.some(30, "media", "imeta_fields_required", &["[\"m\", \"x\"]"]);
    draft.some(25, "media", "hosts_allowed", &["[\"fine.example\"]"]);
    draft.some(40, "media", "hosts_denied", &["[\"spam.example\"]"]);
    draft.some(60, "media", "content_warning", &["\"required\"", "\"refused\""]);
    draft.some(20, "media", "content_warning_kinds", &["[1, 22]"]);
    draft.some(50, "media", "labels_refused", &["[\"nsfw\", \"com.example.moderation:spam\"]"]);
}

fn access(draft: &mut Draft<'_>) {
    draft.mode("access");
    draft.some(55, "access", "write", &["\"authenticated\"", "\"members\"", "\"members\"", "\"none\""]);
    draft.some(60, "access", "read", &["\"authenticated\"", "\"members\""]);
    draft.some(40, "access", "auth_for_gift_wraps", &["true"]);
    draft.mode("authors");
    for key in ["members", "denied"] {
        if draft.chance.percent(60) {
            let people = draft.people();
            draft.set("authors", key, &people);
        }
    }
    if draft.chance.percent(45) {
        let people = draft.people();
        draft.set("authors", "allowed", &people);
    }
    draft.mode("kinds");
    draft.some(30, "kinds", "denied", &["[4, \"20000-20010\"]", "[7]"]);
    draft.some(20, "kinds", "allowed", &["[0, 1, 3, 4, 5, 7, 62, 1059, \"9000-40000\"]"]);
    draft.mode("tags");
    draft.some(40, "tags", "required", &["{ \"1\" = [\"t\"], \"30000-39999\" = [\"d\", \"title\"] }"]);
    draft.mode("nip70");
    draft.some(30, "nip70", "accept", &["false"]);
    draft.some(20, "nip17", "enabled", &["false"]);
    draft.some(20, "nip17", "private_kinds", &["[4, 1059]", "[]"]);
    // Follows from what was drawn: seeds go on as they did.
    if draft.sections.get("kinds").map_or(0, Vec::len) == 1 {
        draft.set("nip17", "count_parties_only", "true");
    }
}

fn limits(draft: &mut Draft<'_>) {
    draft.mode("nip13");
    draft.some(40, "nip13", "difficulty_min", &["1", "3"]);
    draft.some(50, "nip13", "difficulty_min_by_kind", &["{ \"1\" = 4, \"30000-39999\" = 2 }"]);
    draft.some(30, "nip13", "difficulty_max_members", &["2"]);
    draft.some(30, "nip13", "difficulty_max_trusted", &["0", "1"]);
    draft.some(40, "nip13", "commitment_required", &["false"]);
    draft.mode("limits");
    draft.some(50, "limits", "created_at_future_seconds_max", &["1", "3"]);
    draft.some(50, "limits", "created_at_past_seconds_max", &["4", "50"]);
    draft.some(50, "limits", "event_tags_max", &["3", "8"]);
    draft.some(30, "limits", "event_tags_max_by_kind", &["{ \"7\" = 2 }"]);
    draft.some(50, "limits", "tag_value_bytes_max", &["64", "200"]);
    draft.some(50, "limits", "content_chars_max", &["40", "300"]);
    draft.some(30, "limits", "content_chars_max_by_kind", &["{ \"7\" = 1, \"30000-39999\" = 10 }"]);
    draft.some(50, "limits", "filters_per_request_max", &["1", "2"]);
    draft.some(50, "limits", "filter_values_max", &["2", "5"]);
    // Quotas follow from what was drawn, so that all else of a seed stays as it is.
    let drawn = draft.sections.get("limits").map_or(0, Vec::len);
    match drawn % 3 {
        _ if draft.theme != Theme::Limits => {}
        0 => draft.set("retention", "events_per_author_max", "3"),
        1 => draft.set("retention", "bytes_per_author_max", "1_000"),
        _ => {
            draft.set("retention", "events_per_author_max", "3");
            draft.set("retention", "author_full", "\"oldest\"");
        }
    }
}

/// A relay.toml with a root and several communities, each of a theme; the root is at the first one. The last ones, of
/// groups and of members, are drawn by chances of their own, so that the others of a seed are what they are without them.
pub(crate) fn relay_toml(
    chance: &mut Chance,
    [groups, members]: [&mut Chance; 2],
    themes: &[Theme],
    folder: &Path,
) -> String {
    let mut text = String::new();
    for (number, theme) in themes.iter().enumerate() {
        let (chance, speaks) = match theme {
            Theme::Groups => (&mut *groups, true),
            Theme::Members => (&mut *members, true),
            _ => (&mut *chance, false),
        };
        let (relay, prefix) = if number == 0 { ("[relay]", "") } else { ("[[community]]", "community.") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{relay}");
        if number > 0 {
            let _ = writeln!(text, "path = \"/{}\"", path_of(number).trim_start_matches('/'));
        }
        if speaks {
            // A key of the seed's, so that what the relay says has the same ids again.
            let file = folder.join("key");
            std::fs::write(&file, Person::new(RELAY).secret()).expect("a file");
            let _ = writeln!(text, "secret_key_file = '{}'", file.display());
        }
        // Few presets let groups and members be.
        let preset = chance.percent(if speaks { 8 } else { 25 }).then(|| *chance.pick(&PRESETS));
        if let Some(preset) = preset {
            let _ = writeln!(text, "preset = \"{preset}\"");
        }
        let mut sections = sections(chance, *theme, folder);
        if let Some(lines) = sections.get_mut("nip70").filter(|_| preset == Some("members-only")) {
            // Who joins sends what is protected.
            lines.retain(|line| line != "accept = false");
        }
        for (section, lines) in sections {
            let _ = writeln!(text, "[{prefix}{section}]\n{}", lines.join("\n"));
        }
        // What a preset has the relay say itself is nobody's here.
        if *theme != Theme::Members {
            let _ = writeln!(text, "[{prefix}nip43]\npublish_members = false");
        }
    }
    text
}

/// Where the community of this number is.
pub(crate) fn path_of(number: usize) -> String {
    if number == 0 { "/".to_owned() } else { format!("/c{number}") }
}
