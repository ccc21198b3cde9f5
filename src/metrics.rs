//! All numbers of a running relay, in the text form that Prometheus reads (OpenMetrics). In: communities, the store,
//! the meter. Out: text. docs/metrics.md tells what each means, and a test holds the two together.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::clock::Clock;
use crate::community::{Communities, Community, ListStats};
use crate::meter::Meter;
use crate::mirror::{Flow, MirrorStats, Mirrors, Phase, name_of};
use crate::pipeline::log::Log;
use crate::pipeline::memory::Memory;
use crate::pipeline::{Desk, Pipeline};
use crate::plugin::Numbers;
use crate::search::Status;
use crate::store::Store;

/// The media type of the text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is read when somebody asks.
struct Read {
    communities: Arc<Communities>,
    store: Arc<Store>,
    memory: Arc<Memory>,
    mirrors: Arc<Mirrors>,
    /// The log of the cluster, where there is one.
    log: Option<Arc<Log>>,
    /// When the process started, in seconds since 1970.
    started_at: u64,
    clock: Clock,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

/// All numbers of a relay.
pub struct Metrics(Registry);

/// Registers what compression saves.
fn compression(registry: &mut Registry, meter: &Meter) {
    let [sent, received] = [0, 1].map(|at| (&meter.compression.plain[at], &meter.compression.packed[at]));
    for (name, help, counter) in [
        ("sent_compressible", "Messages to clients that were compressed, before", sent.0),
        ("sent_compressed", "The same after", sent.1),
        ("received_decompressed", "Messages from clients that were compressed, as they are", received.0),
        ("received_compressed", "The same as they came", received.1),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
    }
}

/// Registers how reconciliations began.
fn reconciliations(registry: &mut Registry, meter: &Meter) {
    let begun = &meter.reconciliations;
    for (name, help, counter) in [
        ("reconciliations_gathered", "Reconciliations whose set was looked up", &begun.gathered),
        ("reconciliations_renewed", "Those whose set was brought up to date", &begun.renewed),
        ("reconciliations_shared", "Those whose set was there", &begun.shared),
    ] {
        registry.register(name, help, counter.clone());
    }
}

impl Metrics {
    /// The numbers of these.
    pub fn new(
        communities: Arc<Communities>,
        store: Arc<Store>,
        pipeline: &Pipeline,
        mirrors: Arc<Mirrors>,
        started_at: u64,
    ) -> Metrics {
        let (meter, memory) = (&pipeline.meter, Arc::clone(&pipeline.memory));
        let mut registry = Registry::with_prefix("plaza");
        registry.register("connections_accepted", "Connections accepted", meter.connections.clone());
        registry.register(
            "connections_refused",
            "Connections turned away",
            meter.connections_refused.clone(),
        );
        let bytes = || Unit::Bytes;
        registry.register_with_unit(
            "received",
            "Messages from clients",
            bytes(),
            meter.bytes_received.clone(),
        );
        registry.register_with_unit("sent", "Messages to clients", bytes(), meter.bytes_sent.clone());
        compression(&mut registry, meter);
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "commit",
            "Time in which a group of events became durable",
            seconds(),
            meter.commit_seconds.clone(),
        );
        registry.register(
            "commits_failed",
            "Groups that could not be made durable",
            meter.commits_failed.clone(),
        );
        registry.register(
            "store_recoveries",
            "Times that the store was opened again after a failure",
            meter.recoveries.clone(),
        );
        registry.register(
            "commit_events",
            "Events that became durable together",
            meter.commit_events.clone(),
        );
        registry.register(
            "query_entries",
            "Index entries that REQs and COUNTs looked at",
            meter.query_entries.clone(),
        );
        reconciliations(&mut registry, meter);
        registry.register_with_unit(
            "query",
            "Time from taking a REQ or COUNT up to its last event",
            seconds(),
            meter.query_seconds.clone(),
        );
        registry.register_collector(Box::new(Read {
            communities,
            store,
            memory,
            mirrors,
            log: pipeline.log.clone(),
            started_at,
            clock: pipeline.clock.clone(),
        }));
        Metrics(registry)
    }

    /// The text.
    ///
    /// # Errors
    /// When a number cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

type Labels = Vec<(&'static str, String)>;

/// A family of numbers, each with its labels.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: Option<Unit>,
    metric_type: MetricType,
    numbers: Vec<(Labels, f64)>,
}

impl Family<'_> {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), self.metric_type)?;
        for (labels, number) in &self.numbers {
            let labelled = family.encode_family(labels)?;
            match self.metric_type {
                MetricType::Counter => ConstCounter::new(*number).encode(labelled)?,
                _ => ConstGauge::new(*number).encode(labelled)?,
            }
        }
        Ok(())
    }
}

/// A number of each community.
fn of_each(communities: &Communities, number: impl Fn(&Community) -> f64) -> Vec<(Labels, f64)> {
    let each = communities.iter();
    each.map(|community| (vec![("community", community.path().to_owned())], number(&community))).collect()
}

/// A number of each community that searches.
fn of_searches(communities: &Communities, number: impl Fn(&Status) -> f64) -> Vec<(Labels, f64)> {
    let searching = communities.iter().filter(|community| community.settings().search.enabled);
    let labelled = |community: Arc<Community>| {
        (vec![("community", community.path().to_owned())], number(&community.search.status()))
    };
    searching.map(labelled).collect()
}

/// Several numbers of each community, each with a label more.
fn of_each_by(
    communities: &Communities,
    label: &'static str,
    numbers: impl Fn(&Community) -> Vec<(String, u64)>,
) -> Vec<(Labels, f64)> {
    let each = communities.iter().flat_map(|community| {
        let path = community.path().to_owned();
        let labelled = numbers(&community)
            .into_iter()
            .map(move |(value, number)| (vec![("community", path.clone()), (label, value)], number as f64));
        labelled.collect::<Vec<_>>()
    });
    each.collect()
}

impl Collector for Read {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Read { communities, store, memory, mirrors, log, started_at, .. } = self;
        let gauge =
            |name, help, unit, numbers| Family { name, help, unit, metric_type: MetricType::Gauge, numbers };
        let counter = |name, help, numbers| Family {
            name,
            help,
            unit: None,
            metric_type: MetricType::Counter,
            numbers,
        };
        let one = |number: u64| vec![(Labels::new(), number as f64)];
        let each = |number: fn(&Community) -> f64| of_each(communities, number);
        let by = |wanted: &'static [(&'static str, &'static str)]| {
            of_each_by(communities, "outcome", move |community| {
                let all = community.traffic.all();
                let find =
                    |key: &str| all.iter().find(|(name, _)| *name == key).map_or(0, |(_, number)| *number);
                wanted.iter().map(|(label, key)| ((*label).to_owned(), find(key))).collect()
            })
        };
        let rules = |shadowed: bool| {
            of_each_by(communities, "rule", move |community| {
                let counts = community.tally.counts().into_iter();
                let counts = counts.map(|(rule, count)| {
                    (rule.to_owned(), if shadowed { count.shadowed } else { count.refused })
                });
                counts.filter(|(_, number)| *number > 0).collect()
            })
        };
        let families = [
            gauge("connections", "Open connections", None, each(|one| one.connected.len() as f64)),
            gauge("subscriptions", "Open subscriptions", None, each(|one| one.live.len() as f64)),
            gauge("events", "Stored events", None, each(|one| one.index().len() as f64)),
            counter("events_received", "Events from clients, by what became of them", by(EVENTS)),
            counter("requests", "REQs and COUNTs, by what became of them", by(REQUESTS)),
            counter("events_sent", "Events to clients, as answers and live", by(SENT)),
            counter("refusals", "Events and requests refused, by rule", rules(false)),
            counter("shadow_refusals", "What rules in shadow mode would have refused or hidden", rules(true)),
            gauge(
                "store_disk",
                "Files of the store",
                Some(Unit::Bytes),
                one(store.disk_bytes().unwrap_or(0)),
            ),
            gauge("store_failed", "Whether the store takes no events", None, one(store.has_failed().into())),
            gauge("start_time", "When the relay started", Some(Unit::Seconds), one(*started_at)),
            gauge(
                "build_info",
                "Which version runs",
                None,
                vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
            ),
        ];
        families.iter().try_for_each(|family| family.write(&mut encoder))?;
        plugins(communities, &mut encoder)?;
        services(communities, self.clock.now(), &mut encoder)?;
        searches_of(communities, &mut encoder)?;
        memory_of(memory, &mut encoder)?;
        of_mirrors(mirrors, &mut encoder)?;
        if let Some(log) = log {
            cluster_of(log, &mut encoder)?;
        }
        lists(communities, self.clock.now(), &mut encoder)?;
        process(&mut encoder)
    }
}

/// What is counted of moderation services, in communities that have one.
fn services(communities: &Communities, now: u64, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let with_service: Vec<Arc<Community>> =
        communities.iter().filter(|one| one.settings().moderation_service.url.is_some()).collect();
    let of_each = |number: &dyn Fn(&Community) -> u64| -> Vec<(Labels, f64)> {
        let each = with_service.iter();
        each.map(|one| (vec![("community", one.path().to_owned())], number(one) as f64)).collect()
    };
    let verdicts = |is_shadow: bool| -> Vec<(Labels, f64)> {
        let all = with_service.iter().flat_map(|one| {
            let community = one.path().to_owned();
            one.review.verdicts(is_shadow).into_iter().map(move |(verdict, number)| {
                (vec![("community", community.clone()), ("verdict", verdict)], number as f64)
            })
        });
        all.collect()
    };
    let family = |name, help, metric_type, numbers| Family { name, help, unit: None, metric_type, numbers };
    let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
    let families = [
        family(
            "moderation_sent",
            "Events that moderation services took",
            counter,
            of_each(&|of| of.review.sent.get()),
        ),
        family(
            "moderation_requests",
            "Requests to moderation services",
            counter,
            of_each(&|of| of.review.requests.get()),
        ),
        family("moderation_failures", "Rounds that failed", counter, of_each(&|of| of.review.failures.get())),
        family(
            "moderation_passed_over",
            "Events never sent",
            counter,
            of_each(&|of| of.review.passed_over.get()),
        ),
        family("moderation_verdicts", "Verdicts that counted", counter, verdicts(false)),
        family("moderation_shadow_verdicts", "Verdicts that were only recorded", counter, verdicts(true)),
        family(
            "moderation_backlog",
            "Events that wait to be sent",
            gauge,
            of_each(&|of| of.review.backlog()),
        ),
        Family {
            unit: Some(Unit::Seconds),
            ..family(
                "moderation_behind",
                "How long some have waited",
                gauge,
                of_each(&|of| of.review.behind_seconds(now)),
            )
        },
        family(
            "moderation_held",
            "Events held for a verdict",
            gauge,
            of_each(&|of| of.known().held.len() as u64),
        ),
    ];
    families.iter().filter(|family| !family.numbers.is_empty()).try_for_each(|family| family.write(encoder))
}

/// What is counted of plugins, in communities that have some.
fn plugins(communities: &Communities, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut all = Vec::new();
    for community in communities.iter() {
        for (plugin, numbers) in community.desk.get().map(Desk::numbers).unwrap_or_default() {
            let labels = vec![("community", community.path().to_owned()), ("plugin", plugin)];
            all.push((labels, numbers));
        }
    }
    let of_each = |number: fn(&Numbers) -> f64| -> Vec<(Labels, f64)> {
        all.iter().map(|(labels, numbers)| (labels.clone(), number(numbers))).collect()
    };
    let verdicts = all.iter().flat_map(|(labels, numbers)| {
        numbers.verdicts.iter().map(move |(verdict, number)| {
            let labels = labels.iter().cloned().chain([("verdict", (*verdict).to_owned())]);
            (labels.collect(), *number as f64)
        })
    });
    let family = |name, help, metric_type, numbers| Family { name, help, unit: None, metric_type, numbers };
    let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
    let families = [
        family(
            "plugin_requests",
            "Events that plugins were asked about",
            counter,
            of_each(|of| of.asked as f64),
        ),
        family("plugin_verdicts", "What plugins said, by verdict", counter, verdicts.collect()),
        family("plugin_answers", "Requests that were answered", counter, of_each(|of| of.answers as f64)),
        Family {
            unit: Some(Unit::Seconds),
            ..family(
                "plugin_answer",
                "Time up to the answers, all together",
                counter,
                of_each(|of| of.answer_seconds),
            )
        },
        family(
            "plugin_nonsense",
            "Lines of plugins that were no answers",
            counter,
            of_each(|of| of.nonsense as f64),
        ),
        family("plugin_starts", "Times that plugins were started", counter, of_each(|of| of.started as f64)),
        family(
            "plugin_in_flight",
            "Requests without an answer yet",
            gauge,
            of_each(|of| of.in_flight as f64),
        ),
        family(
            "plugin_waiting",
            "Events that wait to be asked about",
            gauge,
            of_each(|of| of.waiting as f64),
        ),
    ];
    families.iter().filter(|family| !family.numbers.is_empty()).try_for_each(|family| family.write(encoder))
}

/// Outcomes of events: the label's value, and the count's name.
const EVENTS: &[(&str, &str)] = &[
    ("stored", "stored"),
    ("passed_on", "passed_on"),
    ("duplicate", "duplicates"),
    ("superseded", "superseded"),
    ("refused", "refused"),
];

const REQUESTS: &[(&str, &str)] =
    &[("answered", "requests"), ("counted", "counts"), ("refused", "requests_refused")];

const SENT: &[(&str, &str)] = &[("answer", "answered"), ("live", "delivered")];

/// How the node stands in its cluster.
fn cluster_of(log: &Log, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let status = log.status();
    let healing = &status.healing;
    let fetched = healing.as_ref().map_or((0, 0), |healing| (healing.bytes, healing.bytes_max));
    let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
    let families = [
        ("cluster_ready", "Whether the node takes events", gauge, u64::from(status.trouble.is_none())),
        ("cluster_position", "Up to where in the log the store is", gauge, status.position),
        ("cluster_lag", "Entries of the log that are not stored yet", gauge, status.last - status.position),
        ("cluster_pending", "What was published and has not come back", gauge, status.waiting),
        ("cluster_redeliveries", "Times that the log was read again", counter, status.redelivered),
        ("cluster_outages", "Times that the log was out of reach", counter, status.outages),
        ("cluster_other_settings", "Events of nodes with other settings", counter, status.other_settings),
        ("cluster_copying", "Whether it needs a copy of another node", gauge, u64::from(healing.is_some())),
        ("cluster_copy_bytes", "Bytes of that copy that are here", gauge, fetched.0),
        ("cluster_copy_bytes_max", "Bytes of all of that copy", gauge, fetched.1),
        ("cluster_copies_failed", "Attempts to fetch a copy that failed", counter, status.copies_failed),
        (
            "cluster_giving",
            "Whether another node gets a copy of it",
            gauge,
            u64::from(status.giving.is_some()),
        ),
    ];
    families.into_iter().try_for_each(|(name, help, metric_type, number)| {
        let numbers = vec![(Labels::new(), number as f64)];
        Family { name, help, unit: None, metric_type, numbers }.write(encoder)
    })
}

/// How the searches of communities stand that have one.
fn searches_of(communities: &Communities, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    type Number = fn(&Status) -> f64;
    let families: [(&str, &str, Option<Unit>, Number); 6] = [
        ("search_events", "Events that search can find", None, |one| one.events as f64),
        ("search_ready", "Whether search answers", None, |one| f64::from(u8::from(one.state == "ready"))),
        ("search_lag_events", "Stored events that search does not find yet, about", None, |one| {
            one.lag_events as f64
        }),
        ("search_lag", "For how long the oldest of them has waited", Some(Unit::Seconds), |one| {
            one.lag_seconds
        }),
        ("search_disk_full", "Whether search takes in nothing more for want of room", None, |one| {
            f64::from(u8::from(one.is_full))
        }),
        ("search_disk", "Files of search", Some(Unit::Bytes), |one| one.disk_bytes as f64),
    ];
    families.into_iter().try_for_each(|(name, help, unit, number)| {
        let numbers = of_searches(communities, number);
        Family { name, help, unit, metric_type: MetricType::Gauge, numbers }.write(encoder)
    })
}

/// What takes memory, and how much it may be.
fn memory_of(memory: &Memory, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let families = [
        ("index_memory", "Indexes of stored events", memory.index_bytes()),
        ("clients_memory", "What all clients hold together", memory.clients.bytes() as u64),
        (
            "memory_max",
            "What the process should stay below; 0 where the settings do not say",
            memory.plan().memory_bytes_max.unwrap_or(0),
        ),
    ];
    families.into_iter().try_for_each(|(name, help, number)| {
        let numbers = vec![(Labels::new(), number as f64)];
        Family { name, help, unit: Some(Unit::Bytes), metric_type: MetricType::Gauge, numbers }.write(encoder)
    })
}

/// How mirrors stand, and what they carry.
fn of_mirrors(mirrors: &Mirrors, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let stats = mirrors.stats();
    let of_each = |number: fn(&MirrorStats) -> f64| -> Vec<(Labels, f64)> {
        stats.iter().map(|one| (labels_of(one), number(one))).collect()
    };
    let is_connected = |one: &MirrorStats| matches!(one.phase, Phase::CatchingUp | Phase::Live).into();
    let by_outcome = stats.iter().flat_map(|one| {
        let with = |way: &'static str, outcome: String, number: u64| {
            let mut labels = labels_of(one);
            labels.extend([("direction", way.to_owned()), ("outcome", outcome)]);
            (labels, number as f64)
        };
        let of_flow = |way: &'static str, flow: &Flow| -> Vec<(Labels, f64)> {
            let ends = [("taken", flow.taken), ("copy", flow.copies)];
            let ends = ends.map(|(outcome, number)| with(way, outcome.to_owned(), number));
            let refused = flow.refused.iter().map(|(why, number)| with(way, why.clone(), *number));
            ends.into_iter().chain(refused).collect()
        };
        [of_flow("down", &one.down), of_flow("up", &one.up)].concat()
    });
    let by_outcome = by_outcome.collect();
    let waiting = stats.iter().flat_map(|one| {
        [("down", one.down.waiting), ("up", one.up.waiting)].map(|(way, number)| {
            let mut labels = labels_of(one);
            labels.push(("direction", way.to_owned()));
            (labels, number as f64)
        })
    });
    let waiting = waiting.collect();
    let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
    let families = [
        ("mirror_connected", "Whether a mirror is connected", gauge, of_each(is_connected)),
        ("mirror_connects", "Times that a mirror was connected", counter, of_each(|one| one.connects as f64)),
        ("mirror_events", "Events of a mirror, by what became of them", counter, by_outcome),
        ("mirror_waiting", "Events that a mirror is yet to fetch or to send", gauge, waiting),
        (
            "mirror_strikes",
            "Messages that were none, not asked for, or forged",
            counter,
            of_each(|one| one.strikes as f64),
        ),
    ];
    families.into_iter().try_for_each(|(name, help, metric_type, numbers)| {
        Family { name, help, unit: None, metric_type, numbers }.write(encoder)
    })
}

/// How lists of other relays stand, and whom they touched, in communities that follow some.
fn lists(communities: &Communities, now: u64, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all: Vec<ListStats> = communities.iter().flat_map(|one| one.list_stats(now)).collect();
    let labels = |list: &ListStats| -> Labels {
        let [community, relay] = [&list.community, &list.relay].map(String::clone);
        vec![
            ("community", community),
            ("relay", relay),
            ("key", list.pubkey.clone()),
            ("list", list.list.clone()),
        ]
    };
    let of_each = |number: fn(&ListStats) -> f64| -> Vec<(Labels, f64)> {
        all.iter().map(|list| (labels(list), number(list))).collect()
    };
    let touched = all.iter().flat_map(|list| {
        list.touched.iter().map(|(done, number)| {
            let mut labels = labels(list);
            labels.push(("done", done.as_str().to_owned()));
            (labels, *number as f64)
        })
    });
    let touched = touched.collect();
    let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
    let families = [
        (
            "shared_list_entries",
            "What is on a list of another relay",
            gauge,
            of_each(|one| one.entries as f64),
        ),
        ("shared_list_counts", "Whether a list counts", gauge, of_each(|one| one.counts.into())),
        (
            "shared_list_connected",
            "Whether its relay is connected",
            gauge,
            of_each(|one| one.is_connected.into()),
        ),
        ("shared_list_touched", "Events that a list touched, by what was done", counter, touched),
    ];
    families.into_iter().try_for_each(|(name, help, metric_type, numbers)| {
        Family { name, help, unit: None, metric_type, numbers }.write(encoder)
    })
}

fn labels_of(mirror: &MirrorStats) -> Labels {
    vec![("community", mirror.community.clone()), ("mirror", name_of(mirror))]
}

/// Numbers of the process, where the system tells them.
fn process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(usage) = crate::usage::Usage::read() else { return Ok(()) };
    let families = [
        (
            "process_memory",
            "Resident memory",
            Some(Unit::Bytes),
            MetricType::Gauge,
            usage.memory_bytes as f64,
        ),
        ("process_cpu", "Time on a core", Some(Unit::Seconds), MetricType::Counter, usage.cpu_seconds),
        ("process_open_files", "Open files and sockets", None, MetricType::Gauge, usage.open_files as f64),
    ];
    // Asked by who serves the numbers, within the runtime that serves all.
    let tasks = tokio::runtime::Handle::try_current().map(|runtime| runtime.metrics().num_alive_tasks());
    let tasks = tasks.map(|tasks| ("tasks", "What runs side by side", None, MetricType::Gauge, tasks as f64));
    for (name, help, unit, metric_type, number) in families.into_iter().chain(tasks) {
        Family { name, help, unit, metric_type, numbers: vec![(Labels::new(), number)] }.write(encoder)?;
    }
    Ok(())
}
