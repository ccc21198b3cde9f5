//! Events belong to an area (nips/geohash.md): `[geohash]` of relay.toml. In: an event's `g` tags, the compiled
//! area, and for replies and reactions what they are about. Out: a decision that names what is wrong with the
//! best of the tags.

use crate::config::{Replies, Settings};
use crate::event::{Event, Id, Kind, Tags, Verified};
use crate::geo::{Geohash, NotGeohash};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Related, Rule, Want};
use crate::words::any_of;

/// The keys that draw the area, and say what needs none.
const AREA_KEYS: &[&str] = &[
    "geohash.prefixes",
    "geohash.center",
    "geohash.radius_km",
    "geohash.box",
    "geohash.polygon",
    "geohash.polygon_file",
    "geohash.kinds_exempt",
];

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "geohash.valid",
        settings: &["geohash.kinds_exempt"],
        sentence: |settings| {
            let text = "A g tag holds a geohash in lower case: 0 to 9 and b to z without i, l and o.";
            settings.geohash.has_area().then(|| text.to_owned())
        },
        check: Check::Admit(|event, context| admit(event, context, "geohash.valid")),
    },
    Rule {
        id: "geohash.precision",
        settings: &["geohash.precision_min", "geohash.precision_max", "geohash.border_precision"],
        sentence: precision_sentence,
        check: Check::Admit(|event, context| admit(event, context, "geohash.precision")),
    },
    Rule {
        id: "geohash.area",
        settings: AREA_KEYS,
        sentence: |settings| {
            let area = settings.geohash.words()?;
            let exempt = &settings.geohash.kinds_exempt;
            let free =
                if exempt.is_empty() { String::new() } else { format!(" Kinds {exempt} need no place.") };
            Some(format!("Events say where they are: one g tag lies {area}.{free}"))
        },
        check: Check::Admit(|event, context| admit(event, context, "geohash.area")),
    },
    Rule {
        id: "geohash.reply",
        settings: &["geohash.replies", "geohash.kinds_about"],
        sentence: reply_sentence,
        check: Check::Place { wants, check: reply },
    },
];

/// What is wrong with the best `g` tag of an event; the last one is the nearest to being right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// It has none.
    Missing,
    /// It is no geohash.
    NotGeohash(NotGeohash),
    /// It lies outside of the area.
    Outside(Geohash),
    /// Some of it lies in the area, but it is too short to be taken.
    TooCoarse(Geohash),
    /// Some of it lies in the area, some outside.
    Straddles(Geohash),
    /// It lies in the area, but is too long to be taken.
    TooFine(Geohash),
}

impl Fault {
    /// The rule that this is a fault by.
    fn rule(self) -> &'static str {
        match self {
            Fault::NotGeohash(_) => "geohash.valid",
            Fault::TooCoarse(_) | Fault::Straddles(_) | Fault::TooFine(_) => "geohash.precision",
            Fault::Missing | Fault::Outside(_) => "geohash.area",
        }
    }

    fn refusal(self, context: &Context<'_>) -> Refusal {
        let settings = &context.config.geohash;
        let area = settings.words().unwrap_or_else(|| "in this community's area".to_owned());
        let (prefix, sentence) = match self {
            Fault::Missing => {
                (Prefix::Blocked, format!("it does not say where it is: give it a g tag that lies {area}"))
            }
            Fault::NotGeohash(why) => (Prefix::Invalid, format!("its g tag is no geohash: {why}")),
            Fault::Outside(cell) => (Prefix::Blocked, format!("{cell} does not lie {area}")),
            Fault::TooCoarse(cell) => (
                Prefix::Invalid,
                format!("{cell} is too coarse: a g tag here has at least {}", characters(least(context))),
            ),
            Fault::Straddles(cell) => (
                Prefix::Invalid,
                format!("not all of {cell} lies {area}: it is too coarse, a longer geohash may lie inside"),
            ),
            Fault::TooFine(cell) => {
                let most = settings.precision_max;
                let shorter = cell.cut(most);
                let most = characters(most);
                (
                    Prefix::Invalid,
                    format!("{cell} is too exact: a g tag here has at most {most}, such as {shorter}"),
                )
            }
        };
        Refusal::new(prefix, self.rule(), sentence)
    }
}

/// Where an event stands by itself.
enum Standing {
    /// It belongs, or needs no place.
    Fine,
    /// It has no place of its own, and may belong by what it is about: the store knows.
    Leaning,
    /// It does not belong.
    Wrong(Fault),
}

fn characters(count: usize) -> String {
    format!("{count} character{}", if count == 1 { "" } else { "s" })
}

/// Characters of a `g` tag at least.
fn least(context: &Context<'_>) -> usize {
    match context.config.geohash.precision_min {
        0 => context.known.area.shortest().unwrap_or(1),
        least => least,
    }
}

/// Whether one of the `g` tags lies in the area, with as many characters as are taken; else what is wrong with
/// the best of them. So a ladder of one place in several lengths passes by one rung.
fn locate(tags: &Tags, context: &Context<'_>) -> Result<(), Fault> {
    let area = &context.known.area;
    let mut best = Fault::Missing;
    for text in tags.values("g") {
        let fault = match Geohash::parse(text) {
            Err(why) => Fault::NotGeohash(why),
            Ok(cell) if !area.touches(cell) => Fault::Outside(cell),
            Ok(cell) if cell.length() < least(context) => Fault::TooCoarse(cell),
            Ok(cell) if !area.contains(cell) => Fault::Straddles(cell),
            Ok(cell) if cell.length() > context.config.geohash.precision_max => Fault::TooFine(cell),
            Ok(_) => return Ok(()),
        };
        best = best.max(fault);
    }
    Err(best)
}

fn standing(event: &Event, context: &Context<'_>) -> Standing {
    let settings = &context.config.geohash;
    // A request to vanish is followed wherever it comes from (NIP-62).
    if event.kind == Kind::VANISH || settings.kinds_exempt.contains(event.kind) {
        return Standing::Fine;
    }
    let Err(fault) = locate(&event.tags, context) else { return Standing::Fine };
    let is_about = settings.kinds_about.contains(event.kind);
    let may_reply = settings.replies != Replies::None && fault == Fault::Missing;
    if (is_about || may_reply) && !referred(&event.tags).is_empty() {
        return Standing::Leaning;
    }
    Standing::Wrong(fault)
}

/// One look serves three rules, so that each refusal bears the id of the rule whose sentence helps.
fn admit(event: &Event, context: &Context<'_>, rule: &'static str) -> Decision {
    match standing(event, context) {
        Standing::Wrong(fault) if fault.rule() == rule => Err(fault.refusal(context)),
        _ => Ok(()),
    }
}

/// What an event answers or is about: the roots and parents of a reply (NIP-10; where no `e` tag is marked, the
/// first and the last), and what `E`, `a` and `A` tags name first (NIP-22). Mentions do not count.
fn referred(tags: &Tags) -> Vec<Want> {
    let mut marked = Vec::new();
    let mut plain = Vec::new();
    for tag in tags.iter().filter(|tag| tag.name() == "e") {
        let Some(id) = tag.value().and_then(Id::from_hex) else { continue };
        match tag.get(3) {
            Some("root" | "reply") => marked.push(id),
            Some("mention") => {}
            _ => plain.push(id),
        }
    }
    let ids = if marked.is_empty() { plain } else { marked };
    let mut wants: Vec<Want> = ids.first().into_iter().chain(ids.last()).copied().map(Want::Id).collect();
    wants.extend(tags.values("E").filter_map(Id::from_hex).take(1).map(Want::Id));
    for name in ["a", "A"] {
        let addresses = tags.iter().filter(|tag| tag.name() == name && tag.get(3) != Some("mention"));
        wants.extend(
            addresses.filter_map(|tag| tag.value()).take(1).map(|value| Want::Address(value.to_owned())),
        );
    }
    let mut distinct = Vec::with_capacity(wants.len());
    for want in wants {
        if !distinct.contains(&want) {
            distinct.push(want);
        }
    }
    distinct
}

fn wants(event: &Event, _: &Related, context: &Context<'_>) -> Vec<Want> {
    match standing(event, context) {
        Standing::Leaning => referred(&event.tags),
        Standing::Fine | Standing::Wrong(_) => Vec::new(),
    }
}

fn reply(event: &Verified, related: &Related, context: &Context<'_>) -> Decision {
    let Standing::Leaning = standing(event, context) else { return Ok(()) };
    let settings = &context.config.geohash;
    let wants = referred(&event.tags);
    let found = wants.iter().filter_map(|want| related.one(want)).map(|arrived| &arrived.event);
    let mut here = found.filter(|found| locate(&found.tags, context).is_ok()).peekable();
    let is_free = settings.replies == Replies::All || settings.kinds_about.contains(event.kind);
    let any_here = here.peek().is_some();
    if any_here && (is_free || here.any(|found| found.pubkey == event.pubkey)) {
        return Ok(());
    }
    let (prefix, sentence) = if any_here {
        (Prefix::Restricted, "only the author of what it answers may leave out the g tag: say where you are")
    } else {
        (Prefix::Blocked, "what it is about has no place here, and it has no g tag that lies in the area")
    };
    Err(Refusal::new(prefix, "geohash.reply", sentence))
}

fn precision_sentence(settings: &Settings) -> Option<String> {
    let settings = &settings.geohash;
    settings.words()?;
    Some(match (settings.precision_min, settings.precision_max) {
        (0, most) => format!(
            "A g tag has enough characters to lie wholly in the area, and at most {most}; one such tag is enough."
        ),
        (least, most) if least == most => {
            format!("A g tag has {}; one such tag is enough.", characters(most))
        }
        (least, most) => format!("A g tag has {least} to {most} characters; one such tag is enough."),
    })
}

fn reply_sentence(settings: &Settings) -> Option<String> {
    let settings = &settings.geohash;
    settings.words()?;
    let replies = match settings.replies {
        Replies::None => None,
        Replies::Own => Some("replies to your own events".to_owned()),
        Replies::All => Some("replies".to_owned()),
    };
    let about =
        (!settings.kinds_about.is_empty()).then(|| format!("events of kinds {}", settings.kinds_about));
    let free: Vec<String> = replies.into_iter().chain(about).collect();
    (!free.is_empty())
        .then(|| format!("No g tag is needed for {}, if what they are about is here.", any_of(free)))
}
