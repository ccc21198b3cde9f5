//! Small texts inside of events, settings and files: geohashes, domain names and links, blocklists, amounts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Chance, Target};
use crate::amount::Amount;
use crate::domain::lists::{Domains, Severity, WARNINGS_PER_LIST_MAX};
use crate::domain::{DomainSet, NAME_BYTES_MAX, host_of_url, link_hosts, normalize, with_parents};
use crate::geo::{Geohash, is_geohash_digit};

pub(super) const GEOHASH: Target = Target::new("geohash", 256, build_geohash, check_geohash);
pub(super) const DOMAIN: Target = Target::new("domain", 64 * 1024, build_domain, check_domain);
pub(super) const BLOCKLIST: Target = Target::new("blocklist", 64 * 1024, build_blocklist, check_blocklist);
pub(super) const AMOUNT: Target = Target::new("amount", 4 * 1024, build_amount, check_amount);

/// Lists in one input.
const LISTS_MAX: usize = 6;

const NAMES: &[&str] = &[
    "example.org",
    "EXAMPLE.org",
    "a.b.example.org",
    "bücher.example",
    "xn--bcher-kva.example",
    "例え.jp",
    "org",
    "192.0.2.1",
    "[::1]",
    "a_b.example",
    "example.org.",
    "*.example.org",
    "e%78ample.org",
    "faß.de",
    "ⅷ.example",
    "a\u{ad}b.org",
    "اختبار.example",
];

fn build_geohash(chance: &mut Chance) -> Vec<u8> {
    let digits = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let cell = |chance: &mut Chance| -> String {
        (0..1 + chance.below(12)).map(|_| char::from(digits[chance.below(32)])).collect()
    };
    let first = cell(chance);
    let other =
        if chance.one_in(2) { first[..1 + chance.below(first.len())].to_owned() } else { cell(chance) };
    format!("{first} {other}").into_bytes()
}

/// Two texts with a blank between them.
fn check_geohash(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (one, other) = text.split_once(' ').unwrap_or((text, ""));
    let is_cell = |text: &str| (1..=12).contains(&text.len()) && text.bytes().all(is_geohash_digit);
    for text in [one, other] {
        let parsed = Geohash::parse(text);
        assert_eq!(parsed.is_ok(), is_cell(text), "{text:?}: {parsed:?}");
        if let Ok(cell) = parsed {
            assert_cell(cell, text);
        }
    }
    let (Ok(cell), Ok(second)) = (Geohash::parse(one), Geohash::parse(other)) else { return false };
    assert_eq!(cell.cmp(&second), one.cmp(other), "{one} {other}");
    assert_eq!(cell.holds(second), other.starts_with(one), "{one} {other}");
    let bounds = cell.bounds();
    assert!(bounds.south < bounds.north && bounds.west < bounds.east, "{one}: {bounds:?}");
    true
}

fn assert_cell(cell: Geohash, text: &str) {
    assert_eq!((cell.to_string().as_str(), cell.length()), (text, text.len()));
    for length in 1..=text.len() {
        let cut = cell.cut(length);
        assert_eq!(cut.to_string(), text[..length]);
        assert!(cut.holds(cell));
    }
    assert_eq!(
        cell.parent().map(|cell| cell.to_string()),
        (text.len() > 1).then(|| text[..text.len() - 1].to_owned())
    );
    assert!(cell.children().all(|child| child.parent() == Some(cell)));
    let (latitude, longitude) = cell.bounds().center();
    assert_eq!(
        Geohash::at(latitude, longitude, cell.length()),
        Some(cell),
        "the middle of {text} lies in it"
    );
    for neighbour in cell.neighbours() {
        assert!(neighbour != cell && neighbour.neighbours().contains(&cell), "{text} and {neighbour}");
    }
}

/// A name, or an odd text with one in it.
fn name(chance: &mut Chance) -> String {
    match chance.below(4) {
        0 => format!("{}{}", chance.text(), chance.pick(NAMES)),
        1 => format!("{}.{}", "a".repeat(chance.edge() as usize % 300), chance.pick(NAMES)),
        _ => chance.pick(NAMES).to_owned(),
    }
}

fn build_domain(chance: &mut Chance) -> Vec<u8> {
    let mut words = vec![chance.pick(NAMES).to_owned()];
    words.extend(chance.some(40, |chance| {
        let scheme =
            chance.pick(&["", "", "https://", "HTTP://", "https:\\/\\/", "wss://", "at://", "https://u:p@"]);
        let end = chance.pick(&["", "/x", ":443/", "?a#b", ").", "を見て", "%2e"]);
        format!("{scheme}{}{end}", name(chance))
    }));
    words.join(chance.pick(&[" ", " ", " ", "", ",", "\n"])).into_bytes()
}

fn is_normal(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && normalize(name).as_deref() == Some(name)
}

fn check_domain(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let hosts: Vec<_> = link_hosts(text).collect();
    // A link has a colon, and a name at most twice.
    assert!(hosts.len() <= 2 * text.matches(':').count());
    hosts.iter().for_each(|host| assert!(is_normal(host), "{host:?} of {text:?}"));
    if let Some(host) = host_of_url(text) {
        assert!(is_normal(&host), "{host:?} of {text:?}");
    }
    let mut found = false;
    for word in text.split([' ', '\n']) {
        let Some(name) = normalize(word) else {
            assert!(
                word.trim().is_empty() || DomainSet::new([word]).is_err() || normalize(word.trim()).is_some()
            );
            continue;
        };
        found = true;
        assert!(is_normal(&name), "{name:?} of {word:?}");
        assert_eq!(normalize(&name.to_ascii_uppercase()), Some(name.clone()), "{word:?}");
        let set = DomainSet::new([&*name]).expect("a name");
        assert!(with_parents(&name).all(|above| !above.is_empty()), "{name}");
        assert!(set.covers(&name) && set.covers(&format!("x.{name}")) && !set.covers(&format!("x{name}")));
        assert_eq!(host_of_url(&format!("https://{name}/")).as_deref(), Some(&*name), "{word:?}");
        assert_eq!(link_hosts(&format!("see https://{name}/")).next().as_deref(), last_of(&name), "{word:?}");
    }
    found
}

/// What is found of a name in running text, where punctuation ends a sentence.
fn last_of(name: &str) -> Option<&str> {
    let kept = name.trim_end_matches(['-', '_', '.']);
    normalize(kept).is_some().then_some(kept)
}

fn build_blocklist(chance: &mut Chance) -> Vec<u8> {
    let mut text =
        chance.pick(&["", "\u{feff}", "#domain,#severity,#public_comment\n", "severity,domain\n"]).to_owned();
    for _ in 0..chance.below(30) {
        let comment = if chance.one_in(6) { chance.text() } else { "spam".to_owned() };
        let severity = chance.pick(&["suspend", "silence", "noop", "limit", "Suspend", "", "ban"]);
        let name = name(chance);
        text += &match chance.below(5) {
            0 => format!("{severity},{name}\n"),
            1 => format!("\"{name}\",\"{severity}\",\"{comment}\"\r\n"),
            _ => format!("{name},{severity},{comment}\n"),
        };
        if chance.one_in(40) {
            text += "\0\n";
        }
    }
    text.into_bytes()
}

/// Lists, each after a line of NUL.
fn check_blocklist(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let lists: Vec<(String, &str)> =
        text.splitn(LISTS_MAX, "\0\n").enumerate().map(|(at, text)| (format!("list {at}"), text)).collect();
    let (domains, warnings) = Domains::parse(&lists);
    assert_eq!(domains.reports().len(), lists.len());
    let mut counted = 0;
    for (report, (name, text)) in domains.reports().iter().zip(&lists) {
        assert_eq!(&report.name, name);
        let all = report.suspend + report.silence + report.noop;
        assert!(report.overruled + report.repeated <= all, "{report:?}");
        counted += all - report.overruled - report.repeated;
        let of_list: Vec<_> = warnings.iter().filter(|warning| warning.list == *name).collect();
        assert_eq!(of_list.len(), report.invalid.min(WARNINGS_PER_LIST_MAX), "{report:?}");
        let lines = text.matches(['\n', '\r']).count() as u64 + 1;
        assert!(of_list.iter().all(|warning| (1..=lines).contains(&warning.line)), "{of_list:?}");
        assert!(all + report.obfuscated <= lines as usize, "{report:?}");
        assert!(of_list.iter().all(|warning| warning.problem.len() < 600), "{of_list:?}");
    }
    assert_eq!(counted, domains.len());
    // The lists one by one say together what they say at once: the first that has a name, or one above it, decides.
    let alone: Vec<Domains> = lists.iter().map(|list| Domains::parse(std::slice::from_ref(list)).0).collect();
    let mut written: BTreeMap<String, Severity> = BTreeMap::new();
    for word in text.split(|letter: char| letter == ',' || letter == '"' || letter.is_whitespace()) {
        let Some(name) = normalize(word) else { continue };
        let verdict = domains.find(&name).map(|verdict| (verdict.severity, verdict.domain, verdict.list));
        let first = alone.iter().enumerate().find_map(|(at, alone)| Some((at, alone.find(&name)?)));
        let expected = first.map(|(at, verdict)| (verdict.severity, verdict.domain, lists[at].0.as_str()));
        assert_eq!(verdict, expected, "{name}");
        if let Some((severity, domain, _)) = verdict {
            written.insert(domain.to_owned(), severity);
        }
    }
    assert_written_is_read(&written, &domains);
    !domains.is_empty()
}

/// A list of these names reads as what it says.
fn assert_written_is_read(written: &BTreeMap<String, Severity>, domains: &Domains) {
    let line = |(name, severity): (&String, &Severity)| format!("{name},{severity:?}\n");
    let text: String = "domain,severity\n".to_owned() + &written.iter().map(line).collect::<String>();
    let (again, warnings) = Domains::parse(&[("again", &text)]);
    assert!(warnings.is_empty(), "{warnings:?} in {text}");
    assert_eq!(again.len(), written.len());
    for (name, severity) in written {
        assert_eq!(again.find(name).map(|verdict| verdict.severity), Some(*severity));
        assert!(domains.find(&format!("below.{name}")).is_some());
    }
}

fn build_amount(chance: &mut Chance) -> Vec<u8> {
    let amount = |chance: &mut Chance| match chance.below(4) {
        0 => chance.edge().to_string(),
        1 => format!("{}.{}", chance.edge(), chance.edge()),
        2 => format!("0{}.{:0>9}0", chance.edge(), chance.edge()),
        _ => "123.4500".to_owned(),
    };
    format!("{} {}", amount(chance), amount(chance)).into_bytes()
}

/// Two amounts with a blank between them: compared as digits that are filled up to one length.
fn check_amount(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (one, other) = text.split_once(' ').unwrap_or((text, "0"));
    let (Some(left), Some(right)) = (Amount::parse(one), Amount::parse(other)) else { return false };
    for (amount, text) in [(&left, one), (&right, other)] {
        assert_eq!(Amount::parse(&amount.to_string()).as_ref(), Some(amount), "{text}");
        assert!(amount.to_string().len() <= text.len().max(1), "{text}");
    }
    let parts = |text: &str| -> (String, String) {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        (whole.to_owned(), fraction.to_owned())
    };
    let ((a, b), (c, d)) = (parts(one), parts(other));
    let (whole, fraction) = (a.len().max(c.len()), b.len().max(d.len()));
    let filled = |w: &str, f: &str| format!("{w:0>whole$}{f:0<fraction$}");
    let expected = filled(&a, &b).cmp(&filled(&c, &d));
    assert_eq!(left.cmp(&right), expected, "{text}");
    assert_eq!(left == right, expected == Ordering::Equal, "{text}");
    if let Ok(number) = serde_json::from_str::<serde_json::Number>(one)
        && number.is_u64()
    {
        assert_eq!(Amount::from_json(&number).as_ref(), Some(&left));
    }
    true
}
