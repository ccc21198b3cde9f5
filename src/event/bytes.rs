//! The fixed-size values of NIP-01: ids, public keys and signatures, written as lowercase hex.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes};

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable)]
        #[repr(transparent)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Reads exactly this many bytes of lowercase hex; anything else is `None`.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $bytes];
                read_hex(text, &mut bytes).then_some(Self(bytes))
            }

            /// Appends the lowercase hex form.
            pub fn write_hex(&self, out: &mut Vec<u8>) {
                let start = out.len();
                out.resize(start + $bytes * 2, 0);
                // The slice has exactly two characters a byte, which is all that this call can refuse.
                let _ = hex::encode_to_slice(self.0, &mut out[start..]);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; $bytes * 2];
                let _ = hex::encode_to_slice(self.0, &mut digits);
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

fixed_bytes!(
    /// An event's id: the SHA-256 of its canonical bytes. Its order is NIP-01's for ties.
    Id,
    32
);
fixed_bytes!(
    /// A person's public key (BIP-340, x only).
    PublicKey,
    32
);
fixed_bytes!(
    /// A Schnorr signature (BIP-340).
    Signature,
    64
);

/// The value of each lowercase digit; what is none has its upper bits set.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Reads exactly as many bytes of lowercase hex as there is room for; false if the text is anything else. A
/// filter may hold a thousand keys, and of a query with few answers this was the dearest part.
fn read_hex(text: &str, out: &mut [u8]) -> bool {
    if text.len() != 2 * out.len() {
        return false;
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let mut all = 0;
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
        all |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    all < 16
}

/// Whether `text` is exactly 64 characters of lowercase hex, the form of ids and keys on the wire.
pub fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_exact_and_lowercase() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(Id::from_hex(&good).map(|id| id.to_string()), Some(good.clone()));
        for bad in [&good[1..], &format!("{good}0"), &good.to_uppercase(), &good.replace('0', "g"), ""] {
            assert_eq!(Id::from_hex(bad), None, "{bad}");
            assert!(!is_hex64(bad), "{bad}");
        }
        // Each byte in each place, as the library has it, but that it takes upper case too.
        for place in [0, 1, 62, 63] {
            for byte in 0..=127_u8 {
                let mut text = good.clone().into_bytes();
                text[place] = byte;
                let text = String::from_utf8(text).expect("ASCII");
                let expected = hex::decode(&text).ok().filter(|_| !byte.is_ascii_uppercase());
                assert_eq!(Id::from_hex(&text).map(|id| id.0.to_vec()), expected, "{text}");
            }
        }
        assert_eq!(Id::from_hex(&format!("{}ü", &good[..62])), None);
    }
}
