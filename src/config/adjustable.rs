//! The settings that owners and admins change without relay.toml: one row a setting, in the order in which a form shows
//! them. What a value must be is said where relay.toml is checked; a row says how people see and write it.

use super::explain::WANTED;
use super::validate::range_of;
use super::{Config, PROCESS};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Adjustable {
    /// Its key in relay.toml.
    pub key: &'static str,
    /// The heading under which it stands.
    pub group: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// How its value is written.
    pub form: Form,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Yes or no.
    Switch,
    /// One of these words, each with what it means.
    Choice(&'static [(&'static str, &'static str)]),
    /// A whole number of this.
    Number(&'static str),
    /// A list of kinds and ranges of them.
    Kinds,
    /// A list of public keys.
    Keys,
    /// A list of texts.
    Texts,
    /// Numbers of this, by kinds.
    ByKind(&'static str),
    /// Amounts by currency.
    Prices,
}

impl Form {
    /// Its name, and the unit of its numbers.
    pub const fn name(self) -> (&'static str, &'static str) {
        match self {
            Form::Switch => ("switch", ""),
            Form::Choice(_) => ("choice", ""),
            Form::Number(unit) => ("number", unit),
            Form::Kinds => ("kinds", ""),
            Form::Keys => ("keys", ""),
            Form::Texts => ("texts", ""),
            Form::ByKind(unit) => ("numbers by kind", unit),
            Form::Prices => ("prices", ""),
        }
    }
}

const WRITE: &[(&str, &str)] = &[
    ("all", "everybody"),
    ("authenticated", "everybody who logs in"),
    ("members", "members"),
    ("none", "nobody: it is read-only"),
];

const READ: &[(&str, &str)] =
    &[("all", "everybody"), ("authenticated", "everybody who logs in"), ("members", "members who log in")];

const AUTHOR_FULL: &[(&str, &str)] =
    &[("refuse", "it is refused"), ("oldest", "it takes the place of the author's oldest")];

const REPLIES: &[(&str, &str)] = &[
    ("none", "none"),
    ("own", "authors' replies to themselves"),
    ("all", "all, if what they answer has one"),
];

const SHOWN_TO: &[(&str, &str)] = &[
    ("either", "who follows the author or is followed"),
    ("followers", "who follows the author"),
    ("followed", "whom the author follows"),
    ("mutual", "who follows the author and is followed"),
];

const CONTENT_WARNING: &[(&str, &str)] = &[
    ("free", "as authors like"),
    ("required", "required"),
    ("refused", "refused: what needs one is not taken"),
];

const AFTER_CLOSED: &[(&str, &str)] =
    &[("accept", "are taken"), ("mark", "are taken and counted"), ("refuse", "are refused")];

const CREATE: &[(&str, &str)] =
    &[("all", "everybody"), ("members", "members"), ("staff", "who manages this community")];

const INVITE: &[(&str, &str)] = &[("members", "members"), ("staff", "who manages this community")];

const PEOPLE: &str = "Who writes and reads";
const KINDS: &str = "Kinds of events";
const SIZES: &str = "Size and time of events";
const REQUESTS: &str = "Requests";
const RATES: &str = "Rates, all communities together";
const WORK: &str = "Proof of work";
const KEPT: &str = "What is kept";
const QUOTAS: &str = "Quotas of each author";
const TRUST: &str = "Trust and reports";
const PLACES: &str = "Places";
const MARKET: &str = "Market";
const MEDIA: &str = "Videos and media";
const GROUPS: &str = "Groups and invitations, where they are on";
const MORE: &str = "Bridges, zaps and followers";

const fn row(group: &'static str, key: &'static str, form: Form, title: &'static str) -> Adjustable {
    Adjustable { key, group, title, form }
}

use Form::{ByKind, Choice, Keys, Kinds, Number, Prices, Switch, Texts};

/// All of them. None counts only at the next start, and none names a file.
const ADJUSTABLE: &[Adjustable] = &[
    row(PEOPLE, "access.write", Choice(WRITE), "Whose events are taken"),
    row(PEOPLE, "access.read", Choice(READ), "Who may ask for events"),
    row(PEOPLE, "access.auth_for_gift_wraps", Switch, "Gift wraps come from who logged in"),
    row(PEOPLE, "authors.members", Keys, "Members"),
    row(PEOPLE, "authors.allowed", Keys, "The only authors whose events are taken"),
    row(PEOPLE, "authors.denied", Keys, "Authors whose events are refused"),
    row(PEOPLE, "nip70.accept", Switch, "Protected events are taken from their authors"),
    row(PEOPLE, "nip17.count_parties_only", Switch, "Messages are counted for their parties alone"),
    row(KINDS, "kinds.allowed", Kinds, "The only kinds that are taken"),
    row(KINDS, "kinds.denied", Kinds, "Kinds that are refused"),
    row(SIZES, "limits.message_bytes_max", Number("bytes"), "Size of a message"),
    row(SIZES, "limits.content_chars_max", Number("characters"), "Length of a text"),
    row(SIZES, "limits.content_chars_max_by_kind", ByKind("characters"), "Length of a text by kind"),
    row(SIZES, "limits.event_tags_max", Number("tags"), "Tags of an event"),
    row(SIZES, "limits.event_tags_max_by_kind", ByKind("tags"), "Tags of an event by kind"),
    row(SIZES, "limits.tag_value_bytes_max", Number("bytes"), "Length of a tag's value"),
    row(
        SIZES,
        "limits.created_at_future_seconds_max",
        Number("seconds"),
        "How far ahead an event may be dated",
    ),
    row(
        SIZES,
        "limits.created_at_past_seconds_max",
        Number("seconds"),
        "How old an event may be; 0: any age",
    ),
    row(
        REQUESTS,
        "limits.subscriptions_per_connection_max",
        Number("subscriptions"),
        "Subscriptions at a time",
    ),
    row(REQUESTS, "limits.filters_per_request_max", Number("filters"), "Filters of a request"),
    row(REQUESTS, "limits.filter_values_max", Number("values"), "Values of a filter"),
    row(REQUESTS, "limits.limit_default", Number("events"), "Events of an answer, if no limit is asked for"),
    row(REQUESTS, "limits.limit_max", Number("events"), "Events of an answer, at most"),
    row(REQUESTS, "limits.query_milliseconds_max", Number("milliseconds"), "Time of a request"),
    row(REQUESTS, "nip77.enabled", Switch, "Others may reconcile (NIP-77)"),
    row(REQUESTS, "nip77.events_max", Number("events"), "Events of a reconciliation"),
    row(RATES, "rate.enabled", Switch, "Rates are limited"),
    row(RATES, "rate.address_events_per_minute", Number("events a minute"), "Events of an address"),
    row(RATES, "rate.address_events_burst", Number("events"), "Events of an address at once"),
    row(RATES, "rate.author_events_per_minute", Number("events a minute"), "Events of an author"),
    row(RATES, "rate.author_events_burst", Number("events"), "Events of an author at once"),
    row(RATES, "rate.address_requests_per_minute", Number("requests a minute"), "Requests of an address"),
    row(RATES, "rate.address_requests_burst", Number("requests"), "Requests of an address at once"),
    row(RATES, "rate.address_bytes_per_minute", Number("bytes a minute"), "Bytes of an address"),
    row(RATES, "rate.address_bytes_burst", Number("bytes"), "Bytes of an address at once"),
    row(WORK, "nip13.difficulty_min", Number("bits"), "Difficulty; 0: none"),
    row(WORK, "nip13.difficulty_min_by_kind", ByKind("bits"), "Difficulty by kind"),
    row(WORK, "nip13.difficulty_max_members", Number("bits"), "The most that members owe"),
    row(WORK, "nip13.commitment_required", Switch, "The work must be aimed at"),
    row(KEPT, "retention.age_days_max_by_kind", ByKind("days"), "Age by kind"),
    row(KEPT, "retention.events_max_by_kind", ByKind("events"), "Events by kind"),
    row(KEPT, "retention.events_max", Number("events"), "Events in all; 0: any number"),
    row(KEPT, "retention.bytes_max", Number("bytes"), "Size in all; 0: any size"),
    row(KEPT, "retention.kinds_protected", Kinds, "Kinds that neither bounds nor quotas touch"),
    row(QUOTAS, "retention.events_per_author_max", Number("events"), "Events of an author; 0: any number"),
    row(QUOTAS, "retention.bytes_per_author_max", Number("bytes"), "Size of an author's events; 0: any size"),
    row(QUOTAS, "retention.author_full", Choice(AUTHOR_FULL), "What happens to an event beyond it"),
    row(TRUST, "trust.roots", Keys, "People with whom trust begins"),
    row(TRUST, "trust.hops_max", Number("steps"), "How far trust reaches along follows"),
    row(TRUST, "trust.write", Switch, "Trusted people and members alone write"),
    row(TRUST, "trust.rate_exempt", Switch, "Trusted people have no rate limits"),
    row(TRUST, "trust.read_first", Switch, "What trusted people wrote comes first"),
    row(TRUST, "trust.nip05_required", Switch, "Authors need a name (NIP-05)"),
    row(TRUST, "trust.nip05_domains", Texts, "Domains of such names"),
    row(TRUST, "reports.event_threshold", Number("reports"), "Reports that hide an event; 0: none do"),
    row(TRUST, "reports.author_threshold", Number("reports"), "Reports that hide an author; 0: none do"),
    row(TRUST, "reports.reporters", Keys, "People whose reports count"),
    row(TRUST, "reports.by_members", Switch, "Members' reports count"),
    row(TRUST, "reports.types", Texts, "Types of reports that count"),
    row(TRUST, "reports.refuse", Switch, "New events of who is hidden are refused"),
    row(TRUST, "reports.moderators", Keys, "People whose mute lists hide for all"),
    row(PLACES, "geohash.prefixes", Texts, "The area, as geohashes"),
    row(PLACES, "geohash.kinds_exempt", Kinds, "Kinds that need no place"),
    row(PLACES, "geohash.kinds_about", Kinds, "Kinds whose place is that of what they are about"),
    row(PLACES, "geohash.replies", Choice(REPLIES), "Replies without a place that are taken"),
    row(PLACES, "geohash.replay_seconds", Number("seconds"), "Passing events are kept for who comes late"),
    row(PLACES, "geohash.replay_events_max", Number("events"), "Passing events that are kept"),
    row(MARKET, "market.enabled", Switch, "This is a market"),
    row(MARKET, "market.currencies", Texts, "Currencies of offers"),
    row(MARKET, "market.categories", Texts, "Categories, of which each offer has one"),
    row(MARKET, "market.price_required", Switch, "Listings need a price"),
    row(MARKET, "market.price_min", Prices, "The least price"),
    row(MARKET, "market.price_max", Prices, "The highest price"),
    row(MARKET, "market.listings_per_author_max", Number("offers"), "Offers of an author; 0: any number"),
    row(MARKET, "market.images_min", Number("pictures"), "Pictures of an offer at least"),
    row(MARKET, "market.images_max", Number("pictures"), "Pictures of an offer at most; 0: any number"),
    row(MARKET, "market.location_required", Switch, "Listings say where they are"),
    row(MARKET, "market.geohash_required", Switch, "Listings have a geohash"),
    row(MEDIA, "media.videos_checked", Switch, "Videos are checked (NIP-71)"),
    row(MEDIA, "media.duration_seconds_max_by_kind", ByKind("seconds"), "Length of videos by kind"),
    row(MEDIA, "media.imeta_checked", Switch, "Attachments are checked (NIP-92)"),
    row(MEDIA, "media.hosts_allowed", Texts, "The only hosts of media"),
    row(MEDIA, "media.hosts_denied", Texts, "Hosts of media that are refused"),
    row(MEDIA, "media.content_warning", Choice(CONTENT_WARNING), "Content warnings"),
    row(MEDIA, "media.content_warning_kinds", Kinds, "Kinds of which that is asked"),
    row(GROUPS, "nip29.create", Choice(CREATE), "Who makes groups"),
    row(
        GROUPS,
        "nip29.late_seconds_max",
        Number("seconds"),
        "How old an event for a group may be; 0: any age",
    ),
    row(GROUPS, "nip29.previous_min", Number("events"), "Earlier events to which one for a group refers"),
    row(GROUPS, "nip29.code_uses_max", Number("people"), "People whom a group's code lets in; 0: any number"),
    row(GROUPS, "nip29.code_seconds_max", Number("seconds"), "How long a group's code counts; 0: for ever"),
    row(GROUPS, "nip29.groups_max", Number("groups"), "Groups in all"),
    row(GROUPS, "nip29.groups_per_creator_max", Number("groups"), "Groups that one person makes"),
    row(GROUPS, "nip29.members_max", Number("people"), "Members of a group"),
    row(GROUPS, "nip29.memberships_max", Number("people"), "Members of all groups together"),
    row(GROUPS, "nip43.invite", Choice(INVITE), "Who gets codes for new members"),
    row(GROUPS, "nip43.code_seconds_max", Number("seconds"), "How long such a code counts"),
    row(GROUPS, "nip43.code_uses_max", Number("people"), "People whom such a code lets in"),
    row(GROUPS, "nip43.publish_members", Switch, "It is published who the members are"),
    row(MORE, "bridge.ids_checked", Switch, "Origins of bridged events are checked"),
    row(MORE, "bridge.events_per_minute", Number("events a minute"), "Bridged events; 0: any number"),
    row(MORE, "bridge.domains_refused", Texts, "Domains from which nothing is bridged"),
    row(MORE, "bridge.domains_hidden", Texts, "Domains whose events are shown on demand"),
    row(MORE, "zaps.enabled", Switch, "Zaps are checked (NIP-57)"),
    row(MORE, "zaps.after_closed", Choice(AFTER_CLOSED), "Zaps that come late for their goal"),
    row(MORE, "followers.marked", Switch, "Posts can be marked as for followers"),
    row(MORE, "followers.kinds", Kinds, "Kinds that are for followers always"),
    row(MORE, "followers.shown_to", Choice(SHOWN_TO), "Who sees what is for followers"),
];

impl Adjustable {
    /// The row of a key.
    pub fn of(key: &str) -> Option<&'static Adjustable> {
        ADJUSTABLE.iter().find(|row| row.key == key)
    }

    /// Whether it holds for all communities together.
    pub fn is_of_the_process(&self) -> bool {
        self.key.split('.').next().is_some_and(|section| PROCESS.contains(&section))
    }

    /// The least and the highest number, where it is one.
    pub fn range(&self) -> Option<(u64, u64)> {
        matches!(self.form, Form::Number(_)).then(|| range_of(self.key).bounds())
    }

    /// An example of a value, as relay.toml has it, where there is one that helps.
    pub fn example(&self) -> Option<&'static str> {
        let is_list = !matches!(self.form, Form::Switch | Form::Choice(_) | Form::Number(_));
        WANTED.iter().find(|wanted| is_list && wanted.0 == self.key).map(|wanted| wanted.2)
    }
}

impl Config {
    /// The rows that one of the communities has.
    pub fn adjustable(path: &str) -> impl Iterator<Item = &'static Adjustable> {
        let is_root = path == "/";
        ADJUSTABLE.iter().filter(move |row| is_root || !row.is_of_the_process())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::{Settings, needs_restart};

    #[test]
    fn every_row_is_a_setting_of_its_form_that_counts_at_once() {
        let config = Config::default();
        let sections = config.sections_of(&Settings::default());
        for (at, row) in ADJUSTABLE.iter().enumerate() {
            let key = row.key;
            let (section, name) = key.split_once('.').expect("section.key");
            let default = sections.get(section).and_then(|section| section.get(name));
            let default = default.unwrap_or_else(|| panic!("there is no setting {key}"));
            let fits = match row.form {
                Form::Switch => default.is_boolean(),
                Form::Choice(words) => words.iter().any(|(word, _)| Some(*word) == default.as_str()),
                Form::Number(_) => default.is_u64(),
                Form::Kinds | Form::Keys | Form::Texts => default.is_array(),
                Form::ByKind(_) | Form::Prices => default.is_object(),
            };
            assert!(fits, "{key} is {default}");
            assert!(!needs_restart(key), "{key} counts at the next start");
            assert!(ADJUSTABLE[..at].iter().all(|other| other.key != key), "{key} is there twice");
            if let Some((min, max)) = row.range() {
                assert!(max < i64::MAX as u64 && min <= max, "{key} has a range");
            }
        }
    }

    #[test]
    fn every_word_of_a_choice_is_one_of_the_settings() {
        for row in ADJUSTABLE {
            let Form::Choice(words) = row.form else { continue };
            for (word, _) in words {
                let mut config = Config::default();
                let overlay = [(row.key.to_owned(), Value::from(*word))].into_iter().collect();
                config.change("/", &overlay).unwrap_or_else(|misfit| panic!("{word}: {misfit}"));
            }
        }
    }
}
