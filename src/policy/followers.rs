//! Followers-only posts, `[followers]` (nips/followers.md): shown, counted and streamed only to their author and
//! to authenticated keys that stand in the wanted relation to them. In: a head, who asks, who follows whom. Out:
//! a decision. Never hides from a post's author.

use crate::config::{Settings, ShownTo};
use crate::event::{Kind, PublicKey, Tags};
use crate::filter::Filter;
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "followers.login",
        settings: &["followers.kinds"],
        sentence: |settings| {
            let kinds = &settings.followers.kinds;
            (!kinds.is_empty())
                .then(|| format!("Who asks for events of kinds {kinds} alone logs in (NIP-42)."))
        },
        check: Check::Query(login),
    },
    Rule {
        id: "followers.posts",
        settings: &["followers.kinds", "followers.marked", "followers.shown_to"],
        sentence,
        check: Check::Visible { shown: visible, hides: is_for_followers },
    },
];

fn sentence(settings: &Settings) -> Option<String> {
    let followers = &settings.followers;
    let to = match followers.shown_to {
        ShownTo::Either => "who follow their author or whom their author follows",
        ShownTo::Followers => "who follow their author",
        ShownTo::Followed => "whom their author follows",
        ShownTo::Mutual => "who follow their author and whom their author follows",
    };
    let marked = "posts marked [\"visibility\", \"followers\"]";
    let posts = match (followers.kinds.is_empty(), followers.marked) {
        (true, false) => return None,
        (true, true) => marked.to_owned(),
        (false, false) => format!("events of kinds {}", followers.kinds),
        (false, true) => format!("events of kinds {} and {marked}", followers.kinds),
    };
    Some(format!("Only people {to} see {posts}, after they log in (NIP-42)."))
}

/// Whether a post is marked as being for followers only: by the tag `["visibility", "followers"]`.
pub fn is_marked_for_followers(tags: &Tags) -> bool {
    tags.values("visibility").any(|value| value == "followers")
}

/// Deletions and requests to vanish tell everybody what is gone, whatever the settings say.
fn is_for_followers(kind: Kind, context: &Context<'_>) -> bool {
    context.config.followers.kinds.contains(kind) && kind != Kind::DELETION && kind != Kind::VANISH
}

fn visible(head: &Head<'_>, context: &Context<'_>) -> bool {
    let followers = &context.config.followers;
    if !(followers.marked && head.for_followers || is_for_followers(head.kind, context)) {
        return true;
    }
    let (people, author) = (&context.known.people, head.author);
    let may_see = |key: &PublicKey| match followers.shown_to {
        _ if key == author => true,
        ShownTo::Either => people.follows(key, author) || people.follows(author, key),
        ShownTo::Followers => people.follows(key, author),
        ShownTo::Followed => people.follows(author, key),
        ShownTo::Mutual => people.follows(key, author) && people.follows(author, key),
    };
    context.keys.iter().any(may_see)
}

/// Asks for authentication where nothing could be shown without it: when every filter names only kinds that
/// are for followers. Other queries are served what is public.
fn login(filters: &[Filter], context: &Context<'_>) -> Decision {
    let only_for_followers = |filter: &Filter| {
        let kinds = filter.kinds.as_deref().unwrap_or_default();
        !kinds.is_empty() && kinds.iter().all(|kind| is_for_followers(*kind, context))
    };
    if !context.keys.is_empty() || !filters.iter().all(only_for_followers) {
        return Ok(());
    }
    let sentence = "events of these kinds are shown only to followers; log in first";
    Err(Refusal::new(Prefix::AuthRequired, "followers.login", sentence))
}
