//! What the scenes with nostr-sdk share: somebody at the relay with a key and a client, and a subscription
//! whose every event is checked against what it asked for.

#![allow(unreachable_pub, reason = "the scenes of this binary share it")]

use std::time::Duration;

use nostr_sdk::prelude::*;
use tokio::sync::broadcast::Receiver;

/// How long a scene waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a count is asked for.
const COUNT_ATTEMPTS: u32 = 8;

/// Runs a scene that must not take forever.
pub fn scene<F: Future>(scene: F) -> F::Output {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(3 * PATIENCE, scene).await.expect("the scene ends") })
}

/// Somebody at the relay with a client of their own.
pub struct Guest {
    pub client: Client,
    pub relay: Relay,
    pub keys: Keys,
}

/// A subscription that has had its stored events.
pub struct Ear {
    notifications: Receiver<RelayNotification>,
    id: SubscriptionId,
    filters: Vec<Filter>,
    pub stored: Vec<Event>,
}

impl Guest {
    /// Comes to the relay with a new key.
    pub async fn arrive(url: &str) -> Guest {
        Guest::arrive_as(Keys::generate(), url).await
    }

    /// Comes to the relay with a key that is known there.
    pub async fn arrive_as(keys: Keys, url: &str) -> Guest {
        // One that keeps what it sees.
        let kept = MemoryDatabase::with_opts(MemoryDatabaseOptions { events: true, max_events: None });
        let client = Client::builder().signer(keys.clone()).database(kept).build();
        let options = RelayOptions::new().adjust_retry_interval(false).retry_interval(Duration::from_secs(1));
        client.pool().add_relay(url, options).await.expect("a relay URL");
        let relay = client.relay(url).await.expect("the relay was added");
        relay.try_connect(PATIENCE).await.expect("the relay answers");
        Guest { client, relay, keys }
    }

    /// The public key.
    pub fn key(&self) -> PublicKey {
        self.keys.public_key()
    }

    /// Signs.
    pub fn sign(&self, builder: EventBuilder) -> Event {
        builder.sign_with_keys(&self.keys).expect("a signature")
    }

    /// Publishes what must be taken.
    pub async fn publish(&self, builder: EventBuilder) -> Event {
        let event = self.sign(builder);
        self.relay.send_event(&event).await.expect("the relay takes it");
        event
    }

    /// What is stored, newest first.
    pub async fn find(&self, filter: Filter) -> Vec<Event> {
        let found = self.relay.fetch_events(filter, PATIENCE, ReqExitPolicy::ExitOnEOSE).await;
        found.expect("the relay answers").into_iter().collect()
    }

    /// How many are stored. The client listens for the answer only when it has asked, and a quick one is gone by then: it
    /// asks again.
    pub async fn count(&self, filter: Filter) -> usize {
        for _ in 0..COUNT_ATTEMPTS {
            if let Ok(count) = self.relay.count_events(filter.clone(), PATIENCE / COUNT_ATTEMPTS).await {
                return count;
            }
        }
        panic!("no count came within {PATIENCE:?}")
    }

    /// Opens a subscription and takes in what is stored.
    pub async fn listen(&self, name: &str, filters: Vec<Filter>) -> Ear {
        let notifications = self.relay.notifications();
        let id = SubscriptionId::new(name);
        let mut ear = Ear { notifications, id, filters: filters.clone(), stored: Vec::new() };
        let options = SubscribeOptions::default();
        self.relay.subscribe_with_id(ear.id.clone(), filters, options).await.expect("the relay is there");
        ear.hear_out_stored().await;
        ear
    }
}

impl Ear {
    async fn message(&mut self) -> RelayMessage<'static> {
        loop {
            let notification = tokio::time::timeout(PATIENCE, self.notifications.recv()).await;
            if let RelayNotification::Message { message } =
                notification.expect("something comes").expect("none is lost")
            {
                return message;
            }
        }
    }

    /// The event in a message for this subscription.
    fn event_in(&self, message: RelayMessage<'static>) -> Option<Event> {
        let RelayMessage::Event { subscription_id, event } = message else { return None };
        if *subscription_id != self.id {
            return None;
        }
        let asked_for = |filter: &Filter| filter.match_event(&event, MatchEventOptions::default());
        assert!(self.filters.iter().any(asked_for), "{} was not asked for", event.as_json());
        event.verify().expect("a true event");
        Some(event.into_owned())
    }

    async fn hear_out_stored(&mut self) {
        loop {
            match self.message().await {
                RelayMessage::EndOfStoredEvents(id) if *id == self.id => return,
                // A client that was told to authenticate asks again by itself.
                message => self.stored.extend(self.event_in(message)),
            }
        }
    }

    /// The next event.
    pub async fn hears(&mut self) -> Event {
        loop {
            let message = self.message().await;
            if let Some(event) = self.event_in(message) {
                return event;
            }
        }
    }
}

pub fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

pub fn seconds_ago(seconds: u64) -> Timestamp {
    Timestamp::now() - Duration::from_secs(seconds)
}
