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
                decode_hex(text.as_bytes(), &mut bytes).then_some(Self(bytes))
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

/// In place of the value of what is no digit.
const NO_DIGIT: u8 = 0xf0;

/// What each byte is worth as a lowercase hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Reads exactly as many bytes of lowercase hex as `bytes` holds; false when that is not what `text` is. A feed
/// names hundreds of keys, so all of it is read before anything is asked.
fn decode_hex(text: &[u8], bytes: &mut [u8]) -> bool {
    let mut seen = 0;
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (DIGITS[digits[0] as usize], DIGITS[digits[1] as usize]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    text.len() == bytes.len() * 2 && seen < 16
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
        assert_eq!(Id::from_hex(&format!("{}ü", &good[..62])), None);
    }

    #[test]
    fn every_byte_is_the_digit_that_the_library_says() {
        for (byte, at) in (0..=255).flat_map(|byte| (0..4).map(move |at| (byte, at))) {
            let (mut text, mut naive, mut read) = (*b"0f1e", [0; 2], [0; 2]);
            text[at] = byte;
            let is_hex = hex::decode_to_slice(text, &mut naive).is_ok() && !byte.is_ascii_uppercase();
            assert_eq!(decode_hex(&text, &mut read), is_hex, "{byte} at {at}");
            assert!(!is_hex || read == naive, "{byte} at {at}");
        }
    }
}
