//! Which compression a client offers and what both sides agree on (RFC 7692, section 7.1; the grammar of the header:
//! RFC 6455, section 9.1). In: the values of `Sec-WebSocket-Extensions`. Out: an [`Agreement`], and how it is answered.
//! What is not understood is declined, and never an error.

use std::fmt;

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// The largest window of deflate, as a power of two.
pub(crate) const BITS_MAX: u8 = 15;

/// The smallest one that may be asked for.
pub(crate) const BITS_MIN: u8 = 8;

/// The smallest window that a compressor with a context can be made for.
const CONTEXT_BITS_MIN: u8 = 9;

/// What a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    server_no_takeover: bool,
    client_no_takeover: bool,
    /// The largest window that the relay may use.
    server_bits: Option<u8>,
    /// The largest window that the client would use, if it can be told a smaller one.
    client_bits: Option<u8>,
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The window of what the relay sends, as a power of two.
    pub(crate) server_bits: u8,
    /// The same of what the client sends.
    pub(crate) client_bits: u8,
    /// Whether what the relay sends may refer to its earlier messages.
    pub(crate) server_takeover: bool,
    /// The same of what the client sends.
    pub(crate) client_takeover: bool,
    tells_server_bits: bool,
    tells_client_bits: bool,
}

/// The offers among these values of the header, in the client's order; none where one of them is malformed.
pub(crate) fn offers<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Offer> {
    let mut offers = Vec::new();
    for value in values {
        let mut rest = Rest(value);
        loop {
            // Lists may have empty elements (RFC 9110, section 5.6.1).
            while rest.skip(b',') {}
            if rest.is_at_end() {
                break;
            }
            match rest.extension() {
                Some(offer) => offers.extend(offer),
                None => return Vec::new(),
            }
            if !rest.is_at_end() && !rest.skip(b',') {
                return Vec::new();
            }
        }
    }
    offers
}

impl Offer {
    /// Adds a parameter; `None` when it makes the offer one that is declined.
    fn with(mut self, name: &str, value: Option<&str>) -> Option<Offer> {
        match (name, value) {
            ("server_no_context_takeover", None) if !self.server_no_takeover => {
                self.server_no_takeover = true;
            }
            ("client_no_context_takeover", None) if !self.client_no_takeover => {
                self.client_no_takeover = true;
            }
            ("server_max_window_bits", Some(value)) if self.server_bits.is_none() => {
                self.server_bits = Some(bits(value)?);
            }
            ("client_max_window_bits", value) if self.client_bits.is_none() => {
                self.client_bits = Some(value.map_or(Some(BITS_MAX), bits)?);
            }
            _ => return None,
        }
        Some(self)
    }

    /// What the relay agrees to. With `context_bits` both sides may keep contexts of at most this window where the client
    /// wants so; its own window is told to a client that can be told.
    pub(crate) fn agree(self, context_bits: Option<u8>) -> Agreement {
        let asked = self.server_bits.unwrap_or(BITS_MAX);
        let limited = |bits: u8| context_bits.map_or(bits, |most| bits.min(most));
        let client_takeover = context_bits.is_some() && !self.client_no_takeover;
        let server_takeover =
            context_bits.is_some() && !self.server_no_takeover && limited(asked) >= CONTEXT_BITS_MIN;
        Agreement {
            server_bits: if server_takeover { limited(asked) } else { asked },
            client_bits: match self.client_bits {
                Some(bits) if client_takeover => limited(bits),
                Some(bits) => bits,
                None => BITS_MAX,
            },
            server_takeover,
            client_takeover,
            tells_server_bits: self.server_bits.is_some(),
            tells_client_bits: self.client_bits.is_some() && client_takeover,
        }
    }
}

impl Agreement {
    /// What contexts take that are full, in bytes.
    pub(crate) fn context_bytes(&self) -> usize {
        let of = |is_kept: bool, bits: u8| if is_kept { 1 << bits } else { 0 };
        of(self.server_takeover, self.server_bits) + of(self.client_takeover, self.client_bits)
    }
}

/// As the answer's header has it.
impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if !self.server_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if !self.client_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if self.tells_server_bits {
            write!(f, "; server_max_window_bits={}", self.server_bits)?;
        }
        if self.tells_client_bits {
            write!(f, "; client_max_window_bits={}", self.client_bits)?;
        }
        Ok(())
    }
}

/// A window as a parameter has it: 8 to 15, without leading zeros.
fn bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (BITS_MIN..=BITS_MAX).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

/// What is yet to be read of a value.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn trim(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn is_at_end(&mut self) -> bool {
        self.trim();
        self.0.is_empty()
    }

    /// Passes over a sign, with the blanks before it, if it is the next one.
    fn skip(&mut self, sign: u8) -> bool {
        self.trim();
        match self.0.strip_prefix(char::from(sign)) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A token (RFC 9110, section 5.6.2).
    fn token(&mut self) -> Option<&'a str> {
        self.trim();
        let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let length = self.0.bytes().take_while(|byte| is_of_token(byte)).count();
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, or a quoted one. An escaped sign within quotes could be written without, so nobody escapes; it is declined.
    fn value(&mut self) -> Option<&'a str> {
        if !self.skip(b'"') {
            return self.token();
        }
        let token = self.token()?;
        self.0.strip_prefix('"').map(|rest| {
            self.0 = rest;
            token
        })
    }

    /// One extension; `None` when it is malformed, `Some(None)` when it is not one to agree to.
    fn extension(&mut self) -> Option<Option<Offer>> {
        let mut offer = (self.token()? == NAME).then(Offer::default);
        while self.skip(b';') {
            let name = self.token()?;
            let value = if self.skip(b'=') { Some(self.value()?) } else { None };
            offer = offer.and_then(|offer| offer.with(name, value));
        }
        Some(offer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(values: &[&str], context_bits: Option<u8>) -> Option<String> {
        let offers = offers(values.iter().copied());
        offers.first().map(|offer| offer.agree(context_bits).to_string())
    }

    const NO_TAKEOVER: &str = "; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn offers_are_answered_without_contexts() {
        let table = [
            ("permessage-deflate", Some("")),
            ("permessage-deflate; client_max_window_bits", Some("")),
            ("permessage-deflate;client_max_window_bits=10", Some("")),
            ("permessage-deflate ; server_max_window_bits = 10", Some("; server_max_window_bits=10")),
            ("permessage-deflate; server_max_window_bits=\"8\"", Some("; server_max_window_bits=8")),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Some("")),
            ("x-webkit-deflate-frame, , permessage-deflate", Some("")),
            ("foo; bar=\"baz\"; qux, permessage-deflate", Some("")),
            // The first one that is understood.
            (
                "permessage-deflate; mystery, permessage-deflate; server_max_window_bits=9",
                Some("; server_max_window_bits=9"),
            ),
            // Declined: unknown, twice, with a value where none belongs, without one where one does, out of range.
            ("permessage-deflate; mystery", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=\"true\"", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=08", None),
            ("permessage-deflate; server_max_window_bits=+9", None),
            ("permessage-deflate; client_max_window_bits=99", None),
            ("permessage-deflate; client_max_window_bits=", None),
            ("Permessage-Deflate-2", None),
            // Malformed: nothing of it counts.
            ("permessage-deflate, ;", None),
            ("permessage-deflate; server_max_window_bits=\"9", None),
            ("permessage-deflate; a=\"b c\"", None),
            ("permessage-deflate permessage-deflate", None),
            (";;;,,,=\"", None),
            ("", None),
        ];
        for (offer, expected) in table {
            let expected = expected.map(|more| format!("permessage-deflate{NO_TAKEOVER}{more}"));
            assert_eq!(answer(&[offer], None), expected, "{offer}");
        }
        assert_eq!(
            answer(&["foo", "permessage-deflate"], None),
            Some(format!("permessage-deflate{NO_TAKEOVER}"))
        );
        assert_eq!(answer(&["permessage-deflate", "a b"], None), None);
    }

    #[test]
    fn contexts_are_kept_where_both_sides_want_them() {
        let table = [
            ("", 12, "", (1 << 12) + (1 << 15)),
            ("; client_max_window_bits", 12, "; client_max_window_bits=12", 2 << 12),
            ("; client_max_window_bits=10", 12, "; client_max_window_bits=10", (1 << 12) + (1 << 10)),
            ("; client_no_context_takeover", 13, "; client_no_context_takeover", 1 << 13),
            (
                "; server_no_context_takeover; client_max_window_bits",
                9,
                "; server_no_context_takeover; client_max_window_bits=9",
                1 << 9,
            ),
            ("; server_max_window_bits=10", 12, "; server_max_window_bits=10", (1 << 10) + (1 << 15)),
            (
                "; server_max_window_bits=15; client_no_context_takeover",
                12,
                "; client_no_context_takeover; server_max_window_bits=12",
                1 << 12,
            ),
            (
                "; server_max_window_bits=8; client_no_context_takeover",
                12,
                "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8",
                0,
            ),
        ];
        for (parameters, bits, expected, bytes) in table {
            let offer = format!("permessage-deflate{parameters}");
            let agreed = offers([offer.as_str()].into_iter())[0].agree(Some(bits));
            assert_eq!(agreed.to_string(), format!("permessage-deflate{expected}"), "{parameters}");
            assert_eq!(agreed.context_bytes(), bytes, "{parameters}");
        }
    }
}
