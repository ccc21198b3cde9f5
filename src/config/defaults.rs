//! The default of every setting. In: nothing. Out: the `Default` of each section. Never differs from
//! relay.toml.example, which a test compares.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::{
    Durability, KindMap, Limits, Log, LogAddresses, LogFormat, Mode, Nip13, Nip17, Nip40, Nip42, Nip62,
    Nip70, Nip77, Rate, Relay, Server, SlowClient, Store,
};

const MIB: usize = 1024 * 1024;

impl Default for Relay {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            host: None,
            preset: None,
            name: "Plaza".to_owned(),
            description: "A Nostr relay for a community.".to_owned(),
            banner: None,
            icon: None,
            contact: None,
            terms_of_service: None,
            pubkey: None,
            self_key: None,
            secret_key_file: None,
            urls: Vec::new(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7777)),
            trusted_proxies: Vec::new(),
            client_address_header: "x-forwarded-for".to_owned(),
            connections_max: 10_000,
            connections_per_address_max: 200,
            http_header_seconds_max: 10,
            ping_interval_seconds: 45,
            ping_timeout_seconds: 30,
            write_timeout_seconds: 30,
            shutdown_seconds_max: 10,
            reader_threads: 0,
            verify_threads: 0,
            memory_bytes_max: 0,
            search_memory_bytes: 16 * MIB,
            reload_on_change: false,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: PathBuf::from("data"),
            durability: Durability::Power,
            cache_bytes: 128 * MIB as u64,
            body_cache_bytes: 128 * MIB as u64,
            group_events_max: 1_024,
            group_bytes_max: 8 * MIB,
            index_save_events_min: 10_000,
            index_save_changes_min: 100_000,
            disk_free_bytes_min: 256 * MIB as u64,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            message_bytes_max: 512 * 1024,
            content_chars_max: 256 * 1024,
            content_chars_max_by_kind: KindMap::default(),
            event_tags_max: 5_000,
            event_tags_max_by_kind: KindMap::default(),
            tag_value_bytes_max: 16 * 1024,
            subscription_id_chars_max: 64,
            subscriptions_per_connection_max: 100,
            filters_per_request_max: 32,
            filter_values_max: 2_000,
            limit_default: 500,
            limit_max: 5_000,
            outbox_bytes_max: 8 * MIB,
            slow_client: SlowClient::Close,
            hold_events_max: 2_000,
            hold_bytes_max: 4 * MIB,
            live_delay_milliseconds_max: 0,
            query_milliseconds_max: 2_000,
            query_entries_max: 1_000_000,
            ingest_bytes_max: 64 * MIB,
            ingest_events_per_connection_max: 512,
            reads_queued_max: 10_000,
            reconciled_events_max: 2_000_000,
            created_at_future_seconds_max: 900,
            created_at_past_seconds_max: 0,
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            enabled: true,
            address_events_per_minute: 1_200,
            address_events_burst: 600,
            author_events_per_minute: 300,
            author_events_burst: 300,
            address_requests_per_minute: 1_200,
            address_requests_burst: 600,
            address_bytes_per_minute: 67_108_864,
            address_bytes_burst: 33_554_432,
            address_prefix_ipv6: 64,
        }
    }
}

impl Default for Nip13 {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            difficulty_min: 0,
            difficulty_min_by_kind: KindMap::default(),
            difficulty_max_members: 0,
            difficulty_max_trusted: None,
            commitment_required: true,
        }
    }
}

impl Default for Nip17 {
    fn default() -> Self {
        Self { private_kinds: vec![4, 13, 1_059, 21_059], enabled: true, count_parties_only: false }
    }
}

impl Default for Nip40 {
    fn default() -> Self {
        Self { sweep_seconds: 60 }
    }
}

impl Default for Nip42 {
    fn default() -> Self {
        Self { window_seconds: 600, keys_per_connection_max: 32 }
    }
}

impl Default for Nip62 {
    fn default() -> Self {
        Self { sweep_events_per_second: 2_000 }
    }
}

impl Default for Nip70 {
    fn default() -> Self {
        Self { mode: Mode::Enforce, accept: true }
    }
}

impl Default for Nip77 {
    fn default() -> Self {
        Self { enabled: true, events_max: 1_000_000, per_connection_max: 4, idle_seconds_max: 60 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            addresses: LogAddresses::None,
            slow_query_milliseconds: 500,
        }
    }
}
