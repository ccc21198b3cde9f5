//! Rate limits by address and by author, `[rate]` in relay.toml. In: who, and how much. Out: a decision.
//! Never waits. With `enabled = false` everything passes.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::{Bridge, Rate};
use crate::domain::proxy;
use crate::event::{Event, PublicKey};
use crate::rule::{Decision, Prefix, Refusal};

type Keyed<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

/// How often the tables are looked at while one of them fills.
const LOOKS_A_TABLE: usize = 16;

/// All limits of one relay process.
#[derive(Debug)]
pub struct Rates {
    limiters: RwLock<Arc<Limiters>>,
    /// Addresses or authors in one table.
    keys_max: usize,
    /// Charges since the tables were last looked at.
    charged: AtomicUsize,
}

/// The limits under some settings, and how much of them is used.
#[derive(Debug)]
struct Limiters {
    settings: Rate,
    address_events: Keyed<IpAddr>,
    address_requests: Keyed<IpAddr>,
    address_bytes: Keyed<IpAddr>,
    author_events: Keyed<PublicKey>,
}

/// Numbers from the config are at least one there; here zero would mean one.
fn keyed<K: Hash + Eq + Clone>(per_minute: u32, burst: u32) -> Keyed<K> {
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    RateLimiter::hashmap(Quota::per_minute(at_least_one(per_minute)).allow_burst(at_least_one(burst)))
}

impl Limiters {
    fn new(settings: &Rate) -> Limiters {
        Limiters {
            address_events: keyed(settings.address_events_per_minute, settings.address_events_burst),
            address_requests: keyed(settings.address_requests_per_minute, settings.address_requests_burst),
            address_bytes: keyed(settings.address_bytes_per_minute, settings.address_bytes_burst),
            author_events: keyed(settings.author_events_per_minute, settings.author_events_burst),
            settings: settings.clone(),
        }
    }

    /// Addresses or authors in the largest table.
    fn keys(&self) -> usize {
        let addresses = [&self.address_events, &self.address_requests, &self.address_bytes];
        addresses.map(|limiter| limiter.len()).into_iter().fold(self.author_events.len(), usize::max)
    }

    fn check<K: Hash + Eq + Clone>(
        &self,
        limiter: &Keyed<K>,
        key: &K,
        cells: u32,
        rule: &'static str,
    ) -> Decision {
        if !self.settings.enabled {
            return Ok(());
        }
        let Some(cells) = NonZeroU32::new(cells) else { return Ok(()) };
        match limiter.check_key_n(key, cells) {
            Ok(Ok(())) => Ok(()),
            _ => Err(Refusal::new(Prefix::RateLimited, rule, "too much at once; slow down and try again")),
        }
    }
}

impl Rates {
    /// Limits as the settings say, nobody having used any of theirs, of so many addresses or authors at a time.
    pub fn new(settings: &Rate, keys_max: usize) -> Rates {
        let limiters = RwLock::new(Arc::new(Limiters::new(settings)));
        Rates { limiters, keys_max, charged: AtomicUsize::new(0) }
    }

    fn limiters(&self) -> Arc<Limiters> {
        Arc::clone(&self.limiters.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The limits, to charge somebody. Each charge adds one to a table at most, so that looking after some of them is
    /// often enough.
    fn to_charge(&self) -> Arc<Limiters> {
        if self.charged.fetch_add(1, Ordering::Relaxed) + 1 >= self.keys_max / LOOKS_A_TABLE {
            self.charged.store(0, Ordering::Relaxed);
            self.keep_within_bounds();
        }
        self.limiters()
    }

    /// Forgets who has their whole budget again when there are too many, and everybody when that is not enough: who
    /// can be so many at once has a budget for each anyway.
    fn keep_within_bounds(&self) {
        let most = self.keys_max - self.keys_max / LOOKS_A_TABLE;
        if self.limiters().keys() < most {
            return;
        }
        self.forget_idle();
        let limiters = self.limiters();
        if limiters.keys() >= most {
            let new = Arc::new(Limiters::new(&limiters.settings));
            *self.limiters.write().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }

    /// Addresses or authors in the largest of the tables.
    pub fn keys(&self) -> usize {
        self.limiters().keys()
    }

    /// Goes by other settings from now on. Where they differ everybody has their whole budget again.
    pub(crate) fn reconfigure(&self, settings: &Rate) {
        if self.limiters().settings != *settings {
            *self.limiters.write().unwrap_or_else(PoisonError::into_inner) =
                Arc::new(Limiters::new(settings));
        }
    }

    /// The address that counts: all of an IPv6 network are one, since one person has all of it.
    pub fn address(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let prefix = u32::from(self.limiters().settings.address_prefix_ipv6.min(128));
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            v4 => v4,
        }
    }

    /// Charges an address for one event.
    ///
    /// # Errors
    /// `rate-limited:` when its budget is used up; so too for the others.
    pub fn address_event(&self, address: &IpAddr) -> Decision {
        let limiters = self.to_charge();
        limiters.check(&limiters.address_events, address, 1, "rate.address_events")
    }

    /// Charges an address for one request.
    pub fn address_request(&self, address: &IpAddr) -> Decision {
        self.address_requests(address, 1)
    }

    /// Charges an address for what counts as so many requests; for as many as it may send at once, where that is less.
    pub fn address_requests(&self, address: &IpAddr, count: u32) -> Decision {
        let limiters = self.to_charge();
        let count = count.min(limiters.settings.address_requests_burst);
        limiters.check(&limiters.address_requests, address, count, "rate.address_requests")
    }

    /// Charges an address for bytes received.
    pub fn address_bytes(&self, address: &IpAddr, bytes: usize) -> Decision {
        let limiters = self.to_charge();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        limiters.check(&limiters.address_bytes, address, bytes, "rate.address_bytes")
    }

    /// Charges an author for one event that is truly theirs.
    pub fn author_event(&self, author: &PublicKey) -> Decision {
        let limiters = self.to_charge();
        limiters.check(&limiters.author_events, author, 1, "rate.author_events")
    }

    /// Forgets who has their whole budget again, so that the tables stay as small as what is going on.
    pub fn forget_idle(&self) {
        let limiters = self.limiters();
        limiters.author_events.retain_recent();
        limiters.author_events.shrink_to_fit();
        for limiter in [&limiters.address_events, &limiters.address_requests, &limiters.address_bytes] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// How many bridged events a community takes (NIP-48): one budget for all bridges together, so that a
/// network larger than the community cannot drown it.
#[derive(Debug, Default)]
pub struct BridgeRate(Option<DefaultDirectRateLimiter>);

impl BridgeRate {
    /// The budget that the settings give; a minute's may come at once.
    pub fn new(settings: &Bridge) -> BridgeRate {
        let quota = NonZeroU32::new(settings.events_per_minute).map(Quota::per_minute);
        BridgeRate(quota.map(RateLimiter::direct))
    }

    /// Charges one event, if it was bridged. For events that are truly their author's, and no copies.
    ///
    /// # Errors
    /// `rate-limited:` when the budget is used up.
    pub fn bridged_event(&self, event: &Event) -> Decision {
        let Some(limiter) = self.0.as_ref().filter(|_| proxy::is_bridged(event).is_some()) else {
            return Ok(());
        };
        let sentence = "more is bridged than this relay takes at once; try again in a while";
        limiter.check().map_err(|_| Refusal::new(Prefix::RateLimited, "bridge.events_per_minute", sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS_MAX: usize = 65_536;

    #[test]
    fn a_flood_of_addresses_and_authors_stays_within_the_tables() {
        let settings = Rate { address_events_per_minute: 1, author_events_per_minute: 1, ..Rate::default() };
        let rates = Rates::new(&settings, 1_600);
        let mut most = 0;
        for number in 0..20_000_u32 {
            assert!(rates.address_event(&IpAddr::from(number.to_be_bytes())).is_ok());
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            assert!(rates.author_event(&PublicKey(key)).is_ok());
            most = most.max(rates.keys());
        }
        assert!((1_000..=1_600).contains(&most), "{most}");
    }

    #[test]
    fn budgets_are_each_ones_own_and_can_be_lifted() {
        let settings = Rate { address_events_per_minute: 1, address_events_burst: 2, ..Rate::default() };
        let rates = Rates::new(&settings, KEYS_MAX);
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().expect("an address"));
        assert_eq!([one, one].map(|who| rates.address_event(&who).is_ok()), [true, true]);
        let refusal = rates.address_event(&one).expect_err("the burst is used up");
        assert_eq!(
            refusal.to_string(),
            "rate-limited: too much at once; slow down and try again (rate.address_events)"
        );
        assert!(rates.address_event(&two).is_ok());
        let lifted = Rates::new(&Rate { enabled: false, ..settings }, KEYS_MAX);
        assert!((0..100).all(|_| lifted.address_event(&one).is_ok()));
    }

    #[test]
    fn one_ipv6_network_counts_as_one() {
        let rates = Rates::new(&Rate::default(), KEYS_MAX);
        let table = [
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8::ffff:1:1", "2001:db8::"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.7"),
        ];
        for (address, counts_as) in table {
            let address = address.parse().expect("an address");
            assert_eq!(rates.address(address).to_string(), counts_as);
        }
    }
}
