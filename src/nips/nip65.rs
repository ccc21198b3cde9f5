//! NIP-65, relay lists (nips/65.md): where people write, and from which relays all of some people are reached. In: relay
//! lists. Out: URLs in one form, and who is to be read where. Pure; never connects to anything.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Uri;

use crate::event::{Event, Kind, PublicKey};

/// Relay lists.
pub const RELAY_LIST: Kind = Kind(10_002);

/// Relays of one list that are looked at: people are told to keep them short.
const RELAYS_OF_LIST_MAX: usize = 8;

/// The longest URL that is looked at, in bytes.
const URL_BYTES_MAX: usize = 200;

/// The relays that a list says its author writes to, in one form, each once, in its order.
pub fn write_relays(list: &Event) -> Vec<String> {
    let mut relays = Vec::new();
    for tag in list.tags.iter().filter(|tag| tag.name() == "r") {
        let is_written = tag.get(2).is_none_or(|marker| marker.is_empty() || marker == "write");
        let url = tag.value().filter(|_| is_written).and_then(normalized);
        if let Some(url) = url.filter(|url| !relays.contains(url)) {
            relays.push(url);
        }
        if relays.len() == RELAYS_OF_LIST_MAX {
            break;
        }
    }
    relays
}

/// A relay's URL in the one form in which URLs that mean the same are the same; `None` for what is none.
pub fn normalized(url: &str) -> Option<String> {
    let url = url.trim();
    let uri: Uri = Some(url).filter(|url| url.len() <= URL_BYTES_MAX)?.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "ws" | "wss"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let has_port = authority.as_str().len() > authority.host().len();
    if host.is_empty()
        || has_port && authority.port_u16().is_none()
        || url.contains(['#', '?'])
        || host.ends_with(".onion")
    {
        return None;
    }
    let usual = if scheme == "wss" { 443 } else { 80 };
    let port =
        authority.port_u16().filter(|port| *port != usual).map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{scheme}://{host}{port}{}", uri.path().trim_end_matches('/')))
}

/// Chooses relays so that each of some people is read from so many of theirs, as far as they name so many, with few
/// relays and at most so many; and says who is read where.
pub fn plan(
    people: &BTreeMap<PublicKey, Vec<String>>,
    relays_per_person: usize,
    relays_max: usize,
) -> BTreeMap<String, BTreeSet<PublicKey>> {
    let mut writers: BTreeMap<&str, BTreeSet<PublicKey>> = BTreeMap::new();
    for (key, relays) in people {
        for relay in relays {
            writers.entry(relay).or_default().insert(*key);
        }
    }
    let mut lacking: BTreeMap<PublicKey, usize> =
        people.iter().map(|(key, relays)| (*key, relays.len().min(relays_per_person))).collect();
    let mut chosen: BTreeMap<String, BTreeSet<PublicKey>> = BTreeMap::new();
    while chosen.len() < relays_max {
        let lacks = |key: &PublicKey| lacking.get(key).is_some_and(|left| *left > 0);
        // The one that helps most; of several the first by name, so that the choice stays.
        let helps = |(relay, keys): (&&str, &BTreeSet<PublicKey>)| {
            (keys.iter().filter(|key| lacks(key)).count(), std::cmp::Reverse((*relay).to_owned()))
        };
        let best = writers.iter().map(helps).max().filter(|(count, _)| *count > 0);
        let Some((_, std::cmp::Reverse(relay))) = best else { break };
        let keys = writers.remove(relay.as_str()).unwrap_or_default();
        let read: BTreeSet<PublicKey> = keys.into_iter().filter(|key| lacks(key)).collect();
        for key in &read {
            lacking.entry(*key).and_modify(|left| *left -= 1);
        }
        chosen.insert(relay, read);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::SplitMix;

    fn key(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    #[test]
    fn urls_that_mean_the_same_are_the_same() {
        let table = [
            ("wss://Relay.Example", Some("wss://relay.example")),
            (" wss://relay.example:443/ ", Some("wss://relay.example")),
            ("ws://relay.example:80", Some("ws://relay.example")),
            ("wss://relay.example:8443/a/", Some("wss://relay.example:8443/a")),
            ("wss://relay.example./", Some("wss://relay.example")),
            ("https://relay.example", None),
            ("relay.example", None),
            ("wss://user:word@relay.example", None),
            ("wss://relay.example/?key=1", None),
            ("wss://x.onion", None),
            ("wss://relay.example:", None),
            ("wss://relay.example:x", None),
            ("wss://", None),
            ("", None),
        ];
        for (url, expected) in table {
            assert_eq!(normalized(url).as_deref(), expected, "{url}");
        }
        assert_eq!(normalized(&format!("wss://{}.example", "a".repeat(200))), None);
    }

    #[test]
    fn few_relays_reach_everybody_as_often_as_may_be() {
        let lists = [
            (1, vec!["wss://a", "wss://b"]),
            (2, vec!["wss://a", "wss://c"]),
            (3, vec!["wss://a", "wss://b", "wss://d"]),
            (4, vec!["wss://e"]),
            (5, vec![]),
        ];
        let people: BTreeMap<PublicKey, Vec<String>> = lists
            .iter()
            .map(|(number, relays)| (key(*number), relays.iter().map(|one| (*one).to_owned()).collect()))
            .collect();
        let read = |relays: &[(&str, &[u8])]| -> BTreeMap<String, BTreeSet<PublicKey>> {
            let keys = |keys: &[u8]| keys.iter().map(|number| key(*number)).collect();
            relays.iter().map(|(relay, people)| ((*relay).to_owned(), keys(people))).collect()
        };
        assert_eq!(plan(&people, 1, 10), read(&[("wss://a", &[1, 2, 3]), ("wss://e", &[4])]));
        let twice = [("wss://a", &[1, 2, 3][..]), ("wss://b", &[1, 3]), ("wss://c", &[2]), ("wss://e", &[4])];
        assert_eq!(plan(&people, 2, 10), read(&twice));
        assert_eq!(plan(&people, 2, 2), read(&twice[..2]));
    }

    #[test]
    fn bounds_hold_for_any_lists() {
        let mut random = SplitMix(65);
        for _ in 0..200 {
            let people: BTreeMap<PublicKey, Vec<String>> = (0..random.below(40) as u8)
                .map(|number| {
                    let names: BTreeSet<u64> = (0..random.below(5)).map(|_| random.below(12)).collect();
                    (key(number), names.into_iter().map(|name| format!("wss://r{name}")).collect())
                })
                .collect();
            let (each, most) = (1 + random.below(3) as usize, 1 + random.below(12) as usize);
            let chosen = plan(&people, each, most);
            assert!(chosen.len() <= most);
            for (person, relays) in &people {
                let read = chosen.iter().filter(|(_, keys)| keys.contains(person));
                let read: Vec<&String> = read.map(|(relay, _)| relay).collect();
                assert!(read.len() <= each && read.iter().all(|relay| relays.contains(relay)));
                assert!(chosen.len() == most || read.len() == each.min(relays.len()));
            }
            assert!(chosen.values().all(|keys| !keys.is_empty()));
        }
    }
}
