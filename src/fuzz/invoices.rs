//! Lightning invoices (BOLT 11) in zap receipts. A checksum that is made right again lets changes through to what
//! reads the fields, and signatures that recover some key are right.

use bech32::primitives::iter::Fe32IterExt;
use bech32::{Bech32, Fe32, Hrp};

use super::{Chance, Target};
use crate::nips::nip57::{Invoice, Purpose};

pub(super) const INVOICE: Target = Target::new("invoice", 8 * 1024, build, check);

/// Letters of fields: payment hash, its secret, text, hash of a text, expiry, last delay, payee, address, route,
/// features, metadata, and some that mean nothing.
const FIELDS: &[&str] = &["p", "s", "d", "h", "x", "c", "n", "f", "r", "9", "m", "q", "l"];

/// What the fields that must be there need: hashes of 52 digits, features of a variable onion and a secret.
const HASH_DIGITS: usize = 52;
const FEATURES: &str = "9qrsgq";

/// The x coordinate of a point, and a number: a signature of some key, whatever is signed.
const SIGNATURE: [&str; 2] = [
    "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "0000000000000000000000000000000000000000000000000000000000000a11",
];

fn digits(chance: &mut Chance, count: usize) -> String {
    (0..count).filter_map(|_| Fe32::try_from(chance.below(32) as u8).ok()).map(Fe32::to_char).collect()
}

fn number(number: usize, digits: u32) -> String {
    let digit = |place: u32| Fe32::try_from((number >> (5 * place) & 31) as u8).map_or('q', Fe32::to_char);
    (0..digits).rev().map(digit).collect()
}

fn field(letter: &str, data: &str) -> String {
    format!("{letter}{}{data}", number(data.len(), 2))
}

fn of_bytes(bytes: &[u8]) -> String {
    use bech32::primitives::iter::ByteIterExt as _;
    bytes.iter().copied().bytes_to_fes().map(Fe32::to_char).collect()
}

fn build(chance: &mut Chance) -> Vec<u8> {
    let multiplier = chance.pick(&["m", "u", "n", "p", "p", ""]);
    let amount = match chance.below(4) {
        0 => String::new(),
        1 => format!("{}{multiplier}", chance.edge()),
        // Whole, also of the smallest unit.
        _ => format!("{}0{multiplier}", 1 + chance.below(9_000)),
    };
    let network = chance.pick(&["bc", "bc", "bc", "bc", "bc", "bc", "tb", "bcrt", "sb", "tbs", "xx"]);
    let mut fields = vec![field("p", &digits(chance, HASH_DIGITS)), field("s", &digits(chance, HASH_DIGITS))];
    fields.push(match chance.below(3) {
        0 => field("h", &digits(chance, HASH_DIGITS)),
        _ => field("d", &of_bytes(chance.text().as_bytes())),
    });
    fields.push(FEATURES.to_owned());
    for _ in 0..if chance.one_in(2) { 0 } else { chance.below(6) } {
        let letter = chance.pick(FIELDS);
        let length = [0, 1, 7, HASH_DIGITS, 53, chance.below(200)][chance.below(6)];
        fields.push(field(letter, &digits(chance, length)));
    }
    let signature = [SIGNATURE.concat(), format!("0{}", chance.below(4))].concat();
    let signature = of_bytes(&hex::decode(signature).unwrap_or_default());
    let text = format!("ln{network}{amount}1{}{}{signature}qqqqqq", digits(chance, 7), fields.concat());
    repaired(&text).unwrap_or(text).into_bytes()
}

/// The same with a right checksum in place of the last six letters.
fn repaired(text: &str) -> Option<String> {
    let (prefix, data) = text.rsplit_once('1')?;
    let data = data.get(..data.len().checked_sub(6)?)?;
    let hrp = Hrp::parse(prefix).ok()?;
    let digits: Vec<Fe32> = data.chars().map(|letter| Fe32::from_char(letter).ok()).collect::<Option<_>>()?;
    Some(digits.into_iter().with_checksum::<Bech32>(&hrp).chars().collect())
}

fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let given = Invoice::parse(text);
    let mended = repaired(text).map(|text| (Invoice::parse(&text), text));
    for (invoice, text) in [(given, text.to_owned())].into_iter().chain(mended) {
        match invoice {
            Ok(invoice) => {
                assert_read(&invoice, &text);
                return true;
            }
            Err(reason) => assert!(!reason.is_empty() && reason.len() < 600, "{reason}"),
        }
    }
    false
}

fn assert_read(invoice: &Invoice, text: &str) {
    let lower = text.to_ascii_lowercase();
    assert_eq!(invoice.amount_msats, msats(&lower), "{text}");
    assert_eq!(Invoice::parse(&text.to_ascii_uppercase()).as_ref(), Ok(invoice), "{text} in capitals");
    if let Purpose::Text(purpose) = &invoice.purpose {
        assert!(invoice.is_for(purpose) && !invoice.is_for(&format!("{purpose}x")));
    }
}

/// What the beginning of an invoice asks for, in thousandths of a satoshi.
fn msats(text: &str) -> Option<u64> {
    let amount = text.rsplit_once('1')?.0.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let digits = amount.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let tenths: u128 = match &amount[digits.len()..] {
        "m" => 1_000_000_000,
        "u" => 1_000_000,
        "n" => 1_000,
        "p" => 1,
        _ => 1_000_000_000_000,
    };
    let all: u128 = digits.parse::<u128>().ok()? * tenths;
    u64::try_from(all / 10).ok()
}
