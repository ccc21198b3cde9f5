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

use crate::community::{Communities, Community};
use crate::pipeline::Pipeline;
use crate::pipeline::log::Log;
use crate::pipeline::memory::Memory;
use crate::store::Store;

/// The media type of the text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is read when somebody asks.
struct Read {
    communities: Arc<Communities>,
    store: Arc<Store>,
    memory: Arc<Memory>,
    /// The log of the cluster, where there is one.
    log: Option<Arc<Log>>,
    /// When the process started, in seconds since 1970.
    started_at: u64,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

/// All numbers of a relay.
pub struct Metrics(Registry);

impl Metrics {
    /// The numbers of these.
    pub fn new(
        communities: Arc<Communities>,
        store: Arc<Store>,
        pipeline: &Pipeline,
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
        let (bytes, seconds) = (|| Unit::Bytes, || Unit::Seconds);
        registry.register_with_unit(
            "received",
            "Messages from clients",
            bytes(),
            meter.bytes_received.clone(),
        );
        registry.register_with_unit("sent", "Messages to clients", bytes(), meter.bytes_sent.clone());
        let [sent, received] = [0, 1].map(|at| (&meter.compression.plain[at], &meter.compression.packed[at]));
        for (name, help, counter) in [
            ("sent_compressible", "Messages to clients that were compressed, before", sent.0),
            ("sent_compressed", "The same after", sent.1),
            ("received_decompressed", "Messages from clients that were compressed, as they are", received.0),
            ("received_compressed", "The same as they came", received.1),
        ] {
            registry.register_with_unit(name, help, bytes(), counter.clone());
        }
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
        registry.register_with_unit(
            "query",
            "Time from taking a REQ or COUNT up to its last event",
            seconds(),
            meter.query_seconds.clone(),
        );
        let log = pipeline.log.clone();
        registry.register_collector(Box::new(Read { communities, store, memory, log, started_at }));
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
        let Read { communities, store, memory, log, started_at } = self;
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
            gauge(
                "connections",
                "Open connections",
                None,
                of_each(communities, |one| one.connected.len() as f64),
            ),
            gauge(
                "subscriptions",
                "Open subscriptions",
                None,
                of_each(communities, |one| one.live.len() as f64),
            ),
            gauge("events", "Stored events", None, of_each(communities, |one| one.index().len() as f64)),
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
        memory_of(memory, &mut encoder)?;
        if let Some(log) = log {
            cluster_of(log, &mut encoder)?;
        }
        process(&mut encoder)
    }
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
    let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
    let families = [
        ("cluster_ready", "Whether the node takes events", gauge, u64::from(status.trouble.is_none())),
        ("cluster_position", "Up to where in the log the store is", gauge, status.position),
        ("cluster_lag", "Entries of the log that are not stored yet", gauge, status.last - status.position),
        ("cluster_pending", "What was published and has not come back", gauge, status.waiting),
        ("cluster_redeliveries", "Times that the log was read again", counter, status.redelivered),
        ("cluster_outages", "Times that the log was out of reach", counter, status.outages),
        ("cluster_other_settings", "Events of nodes with other settings", counter, status.other_settings),
    ];
    families.into_iter().try_for_each(|(name, help, metric_type, number)| {
        let numbers = vec![(Labels::new(), number as f64)];
        Family { name, help, unit: None, metric_type, numbers }.write(encoder)
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
