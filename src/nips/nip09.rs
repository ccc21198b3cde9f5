//! NIP-09, deletion requests (nips/09.md): what a request names. In: a kind 5 event. Out: ids and
//! addresses. Never deletes; the writer does, and only what the requester may delete.

use crate::event::{Event, Id, Kind, KindClass, PublicKey};

/// The ids that a deletion request names, its own excluded.
pub fn named_ids(request: &Event) -> impl Iterator<Item = Id> {
    request.tags.values("e").filter_map(Id::from_hex).filter(|id| *id != request.id)
}

/// The addresses of the requester's own that a deletion request names, as `kind:pubkey:d`.
pub fn named_addresses(request: &Event) -> impl Iterator<Item = &str> {
    request
        .tags
        .values("a")
        .filter(|address| parse_address(address).is_some_and(|(_, author, _)| author == request.pubkey))
}

/// Reads `kind:pubkey:d`; `None` unless its kind has addresses and it is written as events' addresses are:
/// what it deletes must be found by the same text when it comes again.
pub fn parse_address(address: &str) -> Option<(Kind, PublicKey, &str)> {
    let mut parts = address.splitn(3, ':');
    let (kind, author, identifier) = (parts.next()?, parts.next()?, parts.next()?);
    let is_plain =
        kind.bytes().all(|digit| digit.is_ascii_digit()) && (kind == "0" || !kind.starts_with('0'));
    let kind = Kind(kind.parse().ok().filter(|_| is_plain)?);
    match kind.class() {
        KindClass::Addressable => {}
        KindClass::Replaceable if identifier.is_empty() => {}
        _ => return None,
    }
    Some((kind, PublicKey::from_hex(author)?, identifier))
}

/// Whether a kind can be deleted by request: deletion requests cannot (NIP-09), nor can requests to
/// vanish, whose effect must last (NIP-62).
pub fn deletable(kind: Kind) -> bool {
    kind != Kind::DELETION && kind != Kind::VANISH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Signature, Tags};

    #[test]
    fn only_ones_own_addresses_count() {
        let (mine, other) = ("a".repeat(64), "b".repeat(64));
        let addresses = [
            (format!("30023:{mine}:x"), true),
            (format!("30023:{mine}:"), true),
            (format!("30023:{mine}:a:b"), true),
            (format!("10002:{mine}:"), true),
            (format!("0:{mine}:"), true),
            (format!("10002:{mine}:x"), false),
            (format!("030023:{mine}:x"), false),
            (format!("+30023:{mine}:x"), false),
            (format!("00:{mine}:"), false),
            (format!("30023:{mine}"), false),
            (format!("30023:{other}:x"), false),
            (format!("1:{mine}:"), false),
            (format!("20001:{mine}:x"), false),
            (format!("70000:{mine}:x"), false),
            ("::".to_owned(), false),
            (String::new(), false),
        ];
        for (address, named) in addresses {
            let request = Event {
                id: Id([0; 32]),
                pubkey: PublicKey([0xaa; 32]),
                created_at: 1,
                kind: Kind::DELETION,
                tags: [["a", &address]].into_iter().collect::<Tags>(),
                content: String::new(),
                sig: Signature([0; 64]),
            };
            assert_eq!(named_addresses(&request).count() == 1, named, "{address}");
        }
    }
}
