//! NIP-13, proof of work (nips/13.md). In: an event, the settings. Out: a decision.

use crate::config::{Nip13, Settings};
use crate::event::{Event, Id, Kind, PublicKey};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};

/// What events must have cost.
pub const RULES: &[Rule] = &[Rule {
    id: "nip13.difficulty",
    settings: &[
        "nip13.difficulty_min",
        "nip13.difficulty_min_by_kind",
        "nip13.difficulty_max_members",
        "nip13.difficulty_max_trusted",
        "nip13.commitment_required",
    ],
    sentence,
    check: Check::Admit(admit),
}];

fn sentence(settings: &Settings) -> Option<String> {
    let Nip13 { difficulty_min, difficulty_min_by_kind: by_kind, difficulty_max_trusted, .. } =
        &settings.nip13;
    let general = (*difficulty_min > 0).then(|| format!("events {difficulty_min} bits"));
    let by_kind = by_kind.iter().map(|(kinds, bits)| format!("events of kinds {kinds} {bits} bits"));
    let each: Vec<String> = general.into_iter().chain(by_kind).collect();
    let members = settings.nip13.difficulty_max_members;
    let members = (!settings.authors.members.is_empty()).then_some(("Members", members));
    let trusted = difficulty_max_trusted.map(|bits| ("People who are trusted here", bits));
    let owes = |(who, bits): (&str, u8)| match bits {
        0 => format!(" {who} owe none."),
        bits => format!(" {who} owe {bits} bits at most."),
    };
    let exceptions: String = members.into_iter().chain(trusted).map(owes).collect();
    (!each.is_empty())
        .then(|| format!("Proof of work (NIP-13) is asked for: {}.{exceptions}", each.join(", ")))
}

/// How many bits the id begins with that are zero.
pub fn difficulty(id: &Id) -> u32 {
    let mut bits = 0;
    for byte in id.0 {
        bits += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    bits
}

/// The difficulty that the author set out to reach: the third element of the `nonce` tag.
fn commitment(event: &Event) -> Option<u32> {
    event.tags.iter().find(|tag| tag.name() == "nonce")?.get(2)?.parse().ok()
}

/// The bits that an author owes for an event of a kind: strangers what `[nip13]` says, members and trusted people
/// no more than their own bounds.
fn owed(author: &PublicKey, kind: Kind, context: &Context<'_>) -> u32 {
    let settings = &context.config.nip13;
    let by_kind = settings.difficulty_min_by_kind.get(kind).copied();
    let mut bits = by_kind.unwrap_or(settings.difficulty_min);
    if bits > 0 && context.is_member(author) {
        bits = bits.min(settings.difficulty_max_members);
    }
    if let Some(most) = settings.difficulty_max_trusted
        && bits > most
        && context.is_trusted(author)
    {
        bits = most;
    }
    u32::from(bits)
}

/// Refuses events with less work than `[nip13]` asks for, or that reached it by luck while
/// aiming lower.
fn admit(event: &Event, context: &Context<'_>) -> Decision {
    let settings = &context.config.nip13;
    let least = owed(&event.pubkey, event.kind, context);
    // A request to vanish is followed whoever sends it (NIP-62).
    if least == 0 || event.kind == Kind::VANISH {
        return Ok(());
    }
    let refuse = |sentence: String| Err(Refusal::new(Prefix::Pow, "nip13.difficulty", sentence));
    let reached = difficulty(&event.id);
    if reached < least {
        return refuse(format!("difficulty {reached} is less than {least}"));
    }
    match commitment(event) {
        _ if !settings.commitment_required => Ok(()),
        None => refuse(format!("the nonce tag does not commit to a difficulty of {least}")),
        Some(aimed) if aimed < least => {
            refuse(format!("the nonce tag commits to {aimed}, less than {least}"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulty_counts_leading_zero_bits() {
        let id = |text: &str| Id::from_hex(&format!("{text:0<64}")).expect("hex");
        let table = [("8", 0), ("1", 3), ("0f", 4), ("008", 8), ("000006d8", 21), ("0", 256)];
        for (hex, bits) in table {
            assert_eq!(difficulty(&id(hex)), bits, "{hex}");
        }
    }
}
