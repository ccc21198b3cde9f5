//! Quotas: how much one author may have here (nips/retention.md). In: an event, what its author has stored. Out: a
//! decision. Never counts, and never removes what gives way; `src/pipeline/retention.rs` does.

use crate::config::{AuthorFull, Retention, Settings};
use crate::event::{Event, KindClass, Verified};
use crate::rule::{Check, Context, Decision, Load, Prefix, Refusal, Related, Rule, Usage, Want};
use crate::words;

/// The rules in the order in which they are run: after all others, since they say nothing of the event itself.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "retention.events_per_author",
        settings: &["retention.events_per_author_max", "retention.author_full", "retention.kinds_protected"],
        sentence: |settings| match settings.retention.events_per_author_max {
            0 => None,
            most => Some(format!(
                "One author has up to {} events here; {}",
                words::number(most),
                and_then(settings)
            )),
        },
        check: Check::Place { wants, check: events },
    },
    Rule {
        id: "retention.bytes_per_author",
        settings: &["retention.bytes_per_author_max", "retention.author_full", "retention.kinds_protected"],
        sentence: |settings| match settings.retention.bytes_per_author_max {
            0 => None,
            most => Some(format!(
                "One author's events take up to {} here; {}",
                words::bytes(most),
                and_then(settings)
            )),
        },
        check: Check::Place { wants, check: bytes },
    },
];

/// What happens to an event beyond it.
fn and_then(settings: &Settings) -> &'static str {
    match settings.retention.author_full {
        AuthorFull::Refuse => "what is beyond is not taken until some are deleted.",
        AuthorFull::Oldest => "what is beyond takes the place of their oldest.",
    }
}

/// What an author would have too much of with what is added.
pub fn excess(retention: &Retention, has: Load, adds: Load) -> Load {
    let over = |max: u64, has: u64, adds: u64| match max {
        0 => 0,
        max => (has + adds).saturating_sub(max),
    };
    Load {
        events: over(retention.events_per_author_max, has.events, adds.events),
        bytes: over(retention.bytes_per_author_max, has.bytes, adds.bytes),
    }
}

/// Whether an event counts: it is stored, and of no protected kind.
fn counts(event: &Event, retention: &Retention) -> bool {
    event.kind.class() != KindClass::Ephemeral && !retention.protects(event.kind)
}

fn wants(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    counts(event, &context.config.retention).then_some(Want::Usage).into_iter().collect()
}

/// What there is too much of, unless the author's oldest give way.
fn beyond(event: &Event, related: &Related, context: &Context<'_>) -> Option<(Usage, Load)> {
    let retention = &context.config.retention;
    let usage = related.usage().filter(|_| counts(event, retention))?;
    let gives_way = retention.author_full == AuthorFull::Oldest && usage.can_make_room;
    (!gives_way).then(|| (usage, excess(retention, usage.has, usage.adds)))
}

fn refuse(rule: &'static str, has: &str, most: &str) -> Decision {
    let sentence = format!("{has} here already, and {most} is the most; delete some first");
    Err(Refusal::new(Prefix::Blocked, rule, sentence))
}

fn events(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    match beyond(event, related, context) {
        Some((usage, excess)) if excess.events > 0 => refuse(
            "retention.events_per_author",
            &format!("you have {} events", words::number(usage.has.events)),
            &words::number(context.config.retention.events_per_author_max),
        ),
        _ => Ok(()),
    }
}

fn bytes(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    match beyond(event, related, context) {
        Some((usage, excess)) if excess.bytes > 0 => refuse(
            "retention.bytes_per_author",
            &format!("your events take {}", words::bytes(usage.has.bytes)),
            &words::bytes(context.config.retention.bytes_per_author_max),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Id, Kind, PublicKey, Signature, Tags};
    use crate::rule::{Known, RelayNames};

    fn event(kind: u16) -> Verified {
        Verified::assumed(Event {
            id: Id([1; 32]),
            pubkey: PublicKey([2; 32]),
            created_at: 1,
            kind: Kind(kind),
            tags: Tags::default(),
            content: String::new(),
            sig: Signature([0; 64]),
        })
    }

    #[test]
    fn an_author_has_so_much_and_no_more() {
        let settings = |text: &str| -> Settings {
            toml::from_str(&format!("[retention]\n{text}")).unwrap_or_else(|error| panic!("{text}: {error}"))
        };
        let (few, small) = ("events_per_author_max = 10\n", "bytes_per_author_max = 1_000\n");
        let oldest = "author_full = \"oldest\"";
        let load = |events, bytes| Load { events, bytes };
        // Settings, kind, what the author has, whether older ones suffice, and which of the rules refuses.
        let table = [
            (few.to_owned(), 1, load(9, 5_000), false, None),
            (few.to_owned(), 1, load(10, 0), true, Some("retention.events_per_author")),
            (few.to_owned(), 0, load(10, 0), false, None),
            (few.to_owned(), 20_001, load(10, 0), false, None),
            (small.to_owned(), 1, load(99, 900), false, None),
            (small.to_owned(), 1, load(99, 901), true, Some("retention.bytes_per_author")),
            (format!("{few}{small}"), 1, load(10, 901), false, Some("retention.events_per_author")),
            (format!("{few}{oldest}"), 1, load(10, 0), true, None),
            (format!("{few}{oldest}"), 1, load(10, 0), false, Some("retention.events_per_author")),
            (format!("{small}{oldest}"), 1, load(10, 950), false, Some("retention.bytes_per_author")),
        ];
        for (text, kind, has, can_make_room, refused) in table {
            let (settings, known, relay) = (settings(&text), Known::default(), RelayNames::default());
            let context =
                Context { now: 0, config: &settings, keys: &[], relay: &relay, known: &known, asked: false };
            let mut related = Related::default();
            related.add_usage(Usage { has, adds: load(1, 100), can_make_room });
            let event = event(kind);
            let active = RULES.iter().filter(|rule| (rule.sentence)(&settings).is_some());
            let refusal = active.map(|rule| rule.check).find_map(|check| match check {
                Check::Place { check, .. } => check(&event, &related, &context).err(),
                _ => None,
            });
            assert_eq!(refusal.map(|refusal| refusal.rule), refused, "{text}, kind {kind}, {has:?}");
        }
    }
}
