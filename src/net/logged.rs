//! What the log tells of a client's address (`log.addresses`). In: an address. Out: nothing, something that stands for
//! it, or the address itself.

use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::config::LogAddresses;

/// Makes addresses what the log may tell. The key is random and never told, so that nobody can try all addresses.
pub(super) struct Logged {
    key: [u64; 2],
}

impl Default for Logged {
    fn default() -> Self {
        Logged { key: secp256k1::rand::random() }
    }
}

impl Logged {
    /// An address as the log has it.
    pub(super) fn address(&self, address: IpAddr, addresses: LogAddresses) -> Option<String> {
        match addresses {
            LogAddresses::None => None,
            LogAddresses::Hashed => {
                let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
                address.hash(&mut hasher);
                Some(format!("{:016x}", hasher.finish()))
            }
            LogAddresses::Full => Some(address.to_string()),
        }
    }
}
