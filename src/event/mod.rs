//! Events as NIP-01 defines them, pure. In: JSON or stored records. Out: [`Event`], its canonical
//! bytes, and [`Verified`], the proof that id and signature are true. Never does I/O.

mod bytes;
pub mod draft;
mod json;
mod kind;
mod secret;
mod signer;
mod tags;
mod verified;

pub use bytes::{Id, PublicKey, Signature, is_hex64};
pub use json::{EventError, write_json_string};
pub(crate) use json::{Text, describe};
pub use kind::{Kind, KindClass};
pub use secret::{npub, public_key, secret_key, sign};
pub use signer::Signer;
pub use tags::{Tag, Tags};
pub use verified::{Checker, Forgery, Verified};

use sha2::{Digest, Sha256};

/// A Nostr event (NIP-01). Its fields are well-formed; whether id and signature are true is what
/// [`Verified`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// SHA-256 of the canonical bytes, as its sender states it.
    pub id: Id,
    /// The author.
    pub pubkey: PublicKey,
    /// Seconds since 1970, as the author states them.
    pub created_at: u64,
    /// What the event means.
    pub kind: Kind,
    /// Its tags, in order.
    pub tags: Tags,
    /// Its text.
    pub content: String,
    /// Schnorr signature (BIP-340) of the id.
    pub sig: Signature,
}

/// Where in canonical bytes the tags and the content begin; a comma is between them, a bracket at the end.
#[derive(Debug, Clone, Copy)]
pub struct CanonicalParts {
    tags: usize,
    content: usize,
}

impl Event {
    /// Appends the canonical form, `[0,pubkey,created_at,kind,tags,content]`, whose SHA-256 is the id.
    ///
    /// Control characters are written as `\u00XX`, the form that clients hash, not verbatim as
    /// NIP-01's text would have it. Returns where in `out` the tags and the content begin.
    pub fn write_canonical(&self, out: &mut Vec<u8>) -> CanonicalParts {
        out.extend_from_slice(b"[0,\"");
        self.pubkey.write_hex(out);
        out.extend_from_slice(b"\",");
        json::write_u64(self.created_at, out);
        out.push(b',');
        json::write_u64(u64::from(self.kind.0), out);
        out.push(b',');
        let tags = out.len();
        self.tags.write_json(out);
        out.push(b',');
        let content = out.len();
        write_json_string(&self.content, out);
        out.push(b']');
        CanonicalParts { tags, content }
    }

    /// The id that these fields hash to. `scratch` is cleared and reused, so that a caller who
    /// checks many events allocates once.
    pub fn hash(&self, scratch: &mut Vec<u8>) -> Id {
        scratch.clear();
        self.write_canonical(scratch);
        Id(Sha256::digest(&scratch).into())
    }

    /// Appends the event as JSON, fields in NIP-01's order, without white space.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.write_json_with(
            out,
            |out| self.tags.write_json(out),
            |out| write_json_string(&self.content, out),
        );
    }

    /// What [`Event::to_json`] returns, made from the canonical form, which has most of it already.
    fn json_from_canonical(&self, canonical: &[u8], parts: CanonicalParts) -> Vec<u8> {
        let mut out = Vec::with_capacity(canonical.len() + 384);
        let tags = &canonical[parts.tags..parts.content - 1];
        let content = &canonical[parts.content..canonical.len() - 1];
        self.write_json_with(
            &mut out,
            |out| out.extend_from_slice(tags),
            |out| out.extend_from_slice(content),
        );
        out
    }

    fn write_json_with(
        &self,
        out: &mut Vec<u8>,
        tags: impl FnOnce(&mut Vec<u8>),
        content: impl FnOnce(&mut Vec<u8>),
    ) {
        out.extend_from_slice(b"{\"id\":\"");
        self.id.write_hex(out);
        out.extend_from_slice(b"\",\"pubkey\":\"");
        self.pubkey.write_hex(out);
        out.extend_from_slice(b"\",\"created_at\":");
        json::write_u64(self.created_at, out);
        out.extend_from_slice(b",\"kind\":");
        json::write_u64(u64::from(self.kind.0), out);
        out.extend_from_slice(b",\"tags\":");
        tags(out);
        out.extend_from_slice(b",\"content\":");
        content(out);
        out.extend_from_slice(b",\"sig\":\"");
        self.sig.write_hex(out);
        out.extend_from_slice(b"\"}");
    }

    /// The event as JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(384 + self.content.len() + self.tags.text_len() * 2);
        self.write_json(&mut out);
        out
    }

    /// The `d` tag's value that belongs to the event's address: the first one; none means empty. A tag
    /// without a value does not count: the index, which finds the address again, does not know of it.
    pub fn identifier(&self) -> &str {
        self.tags.values("d").next().unwrap_or("")
    }

    /// `kind:pubkey:d`, by which `a` tags name a replaceable or addressable event; `None` for others.
    pub fn address(&self) -> Option<String> {
        let identifier = match self.kind.class() {
            KindClass::Replaceable => "",
            KindClass::Addressable => self.identifier(),
            KindClass::Regular | KindClass::Ephemeral => return None,
        };
        Some(format!("{}:{}:{identifier}", self.kind.0, self.pubkey))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Event {
        Event::from_json(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn canonical_bytes_are_those_that_clients_hash() {
        let zeros = "0".repeat(64);
        let cases: [(&str, &str); 7] = [
            (r#"plain"#, r#"plain"#),
            (r#"\n\"\\\r\t\b\f"#, r#"\n\"\\\r\t\b\f"#),
            ("\\u0001\\u001f", "\\u0001\\u001f"),
            ("\u{7f}", "\u{7f}"),
            ("grüße \u{2028}", "grüße \u{2028}"),
            (r#"\ud83d\ude00"#, "😀"),
            (r#"\/"#, "/"),
        ];
        for (sent, hashed) in cases {
            let event = parse(&format!(
                r#"{{"id":"{zeros}","pubkey":"{zeros}","created_at":1,"kind":1,"tags":[["t","{sent}"],[]],"content":"{sent}","sig":"{zeros}{zeros}"}}"#
            ));
            let mut canonical = Vec::new();
            event.write_canonical(&mut canonical);
            let expected = format!(r#"[0,"{zeros}",1,1,[["t","{hashed}"],[]],"{hashed}"]"#);
            assert_eq!(String::from_utf8_lossy(&canonical), expected);
        }
    }

    #[test]
    fn json_survives_a_round_trip() {
        let id = "a".repeat(64);
        let text = format!(
            r#"{{"id":"{id}","pubkey":"{id}","created_at":18446744073709551615,"kind":65535,"tags":[["e","x","","y"],["-"],[]],"content":"\u0000ä","sig":"{id}{id}"}}"#
        );
        assert_eq!(String::from_utf8_lossy(&parse(&text).to_json()), text);
    }

    #[test]
    fn addresses() {
        let key = "0".repeat(64);
        let cases = [
            (0, "[]", Some(format!("0:{key}:"))),
            (3, r#"[["d","x"]]"#, Some(format!("3:{key}:"))),
            (10002, "[]", Some(format!("10002:{key}:"))),
            (30023, "[]", Some(format!("30023:{key}:"))),
            (30023, r#"[["d"]]"#, Some(format!("30023:{key}:"))),
            (30023, r#"[["d"],["d","x"]]"#, Some(format!("30023:{key}:x"))),
            (30023, r#"[["t","z"],["d","x"],["d","y"]]"#, Some(format!("30023:{key}:x"))),
            (1, r#"[["d","x"]]"#, None),
            (20000, r#"[["d","x"]]"#, None),
        ];
        for (kind, tags, address) in cases {
            let event = parse(&format!(
                r#"{{"id":"{key}","pubkey":"{key}","created_at":1,"kind":{kind},"tags":{tags},"content":"","sig":"{key}{key}"}}"#
            ));
            assert_eq!(event.address(), address, "kind {kind}, tags {tags}");
        }
    }
}
