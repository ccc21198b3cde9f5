//! From when to when a certificate is valid. In: its bytes (X.509, RFC 5280). Out: seconds since 1970.

use tokio_rustls::rustls::pki_types::CertificateDer;
use yasna::models::{GeneralizedTime, UTCTime};
use yasna::tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, BERReaderSeq, Tag};

/// A certificate's term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// The term of a certificate; `None` when that cannot be read.
pub(super) fn term_of(certificate: &CertificateDer<'_>) -> Option<Term> {
    let parsed = yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|certificate| {
            let term = certificate.next().read_sequence(read_term)?;
            pass_over_rest(certificate)?;
            Ok(term)
        })
    });
    parsed.ok()
}

/// Reads what is signed: version, serial number, algorithm and issuer stand before the term.
fn read_term(signed: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Term> {
    signed.read_optional(|reader| reader.read_tagged(Tag::context(0), |version| version.read_der()))?;
    for _ in 0..3 {
        signed.next().read_der()?;
    }
    let term = signed.next().read_sequence(|term| {
        let (from, until) = (seconds(term.next())?, seconds(term.next())?);
        Ok(Term { from, until })
    })?;
    pass_over_rest(signed)?;
    Ok(term)
}

fn seconds(reader: BERReader<'_, '_>) -> ASN1Result<u64> {
    let wrong = || ASN1Error::new(ASN1ErrorKind::Invalid);
    let seconds = match reader.lookahead_tag()? {
        TAG_UTCTIME => UTCTime::datetime(&reader.read_utctime()?).unix_timestamp(),
        TAG_GENERALIZEDTIME => GeneralizedTime::datetime(&reader.read_generalized_time()?).unix_timestamp(),
        _ => return Err(wrong()),
    };
    u64::try_from(seconds).map_err(|_| wrong())
}

fn pass_over_rest(sequence: &mut BERReaderSeq<'_, '_>) -> ASN1Result<()> {
    while sequence.read_optional(|reader| reader.read_der())?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_term_is_what_the_certificate_says() {
        let key = KeyPair::generate().expect("a key");
        // From 2050 on the form of dates is another one.
        for ((from, from_seconds), (until, until_seconds)) in [
            (((2026, 1, 2), 1_767_312_000), ((2026, 4, 2), 1_775_088_000)),
            (((1970, 1, 1), 0), ((2049, 12, 31), 2_524_521_600)),
            (((2049, 12, 31), 2_524_521_600), ((2051, 1, 1), 2_556_144_000)),
        ] {
            let mut params = CertificateParams::new([String::from("relay.example")]).expect("a name");
            params.not_before = date_time_ymd(from.0, from.1, from.2);
            params.not_after = date_time_ymd(until.0, until.1, until.2);
            let certificate = params.self_signed(&key).expect("a certificate");
            let term = Term { from: from_seconds, until: until_seconds };
            assert_eq!(term_of(certificate.der()), Some(term));
            // Whatever is missing, nothing is made up.
            for length in 0..certificate.der().len() {
                let cut = CertificateDer::from(&certificate.der()[..length]);
                assert_eq!(term_of(&cut), None, "{length}");
            }
        }
    }
}
