//! NIP-57, zaps (nips/57.md): what must be true of a receipt and of the request inside of it. In: an event,
//! the settings. Out: a decision. Never asks the network: which key a recipient's wallet signs with is known
//! from `[zaps] wallets` or not at all.

use std::collections::BTreeSet;
use std::str::FromStr;

use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef};
use sha2::{Digest, Sha256};

use crate::config::{Keys, Settings};
use crate::event::{Event, Forgery, Kind, PublicKey, Verified, is_hex64};
use crate::rule::{Check, Context, Decision, Prefix, Refusal, Rule};

/// A payer's request to a recipient's wallet for an invoice.
pub const REQUEST: Kind = Kind(9_734);

/// A wallet's word that the invoice of a request was paid.
pub const RECEIPT: Kind = Kind(9_735);

/// The rules in the order in which they are run.
pub const RULES: &[Rule] = &[
    Rule {
        id: "zaps.request",
        settings: &["zaps.requests_accepted"],
        sentence: |settings| {
            let refused = !settings.zaps.requests_accepted;
            refused.then(|| "Zap requests are not taken: they go to the recipient's wallet.".to_owned())
        },
        check: Check::Admit(admit_request),
    },
    Rule {
        id: "zaps.wallet",
        settings: &["zaps.enabled", "zaps.wallets"],
        sentence: |settings| match settings.zaps.wallets.len() {
            count if count == 0 || !settings.zaps.enabled => None,
            1 => Some("Zap receipts are taken from one wallet.".to_owned()),
            count => Some(format!("Zap receipts are taken from {count} wallets.")),
        },
        check: Check::Admit(admit_wallet),
    },
    Rule {
        id: "zaps.receipt",
        settings: &["zaps.enabled"],
        sentence: |settings| {
            let said = "A zap receipt holds its zap request and says the same recipient, event and sender.";
            settings.zaps.enabled.then(|| said.to_owned())
        },
        check: Check::Admit(admit_receipt),
    },
    Rule {
        id: "zaps.invoice",
        settings: &["zaps.enabled", "zaps.amount_required", "zaps.description_hash_required"],
        sentence: invoice_sentence,
        check: Check::Verified(admit_invoice),
    },
];

fn invoice_sentence(settings: &Settings) -> Option<String> {
    let zaps = &settings.zaps;
    let mut sentence =
        "A zap receipt's invoice is over the amount that its truly signed zap request asks for".to_owned();
    if zaps.amount_required {
        sentence.push_str(", names an amount");
    }
    if zaps.description_hash_required {
        sentence.push_str(", and was made for this request");
    }
    zaps.enabled.then(|| sentence + ".")
}

fn invalid(rule: &'static str, sentence: String) -> Refusal {
    Refusal::new(Prefix::Invalid, rule, sentence)
}

fn admit_request(event: &Event, _: &Context<'_>) -> Decision {
    if event.kind != REQUEST {
        return Ok(());
    }
    let sentence = "a zap request goes to the recipient's wallet, not to relays";
    Err(Refusal::new(Prefix::Blocked, "zaps.request", sentence))
}

fn admit_wallet(event: &Event, context: &Context<'_>) -> Decision {
    if event.kind != RECEIPT || may_sign(&event.pubkey, &context.config.zaps.wallets) {
        return Ok(());
    }
    let sentence = "zap receipts are taken from wallets that this relay knows, and this is none of them";
    Err(Refusal::new(Prefix::Restricted, "zaps.wallet", sentence))
}

fn admit_receipt(event: &Event, _: &Context<'_>) -> Decision {
    if event.kind != RECEIPT {
        return Ok(());
    }
    request_of(event).map(|_| ()).map_err(|why| invalid("zaps.receipt", why))
}

fn admit_invoice(event: &Verified, context: &Context<'_>) -> Decision {
    if event.kind != RECEIPT {
        return Ok(());
    }
    let zaps = &context.config.zaps;
    let demands = Demands { description_hash: zaps.description_hash_required, amount: zaps.amount_required };
    // What is no receipt was refused by the rule before.
    let Ok(request) = request_of(event) else { return Ok(()) };
    invoice_of(event, request, demands).map(|_| ()).map_err(|why| invalid("zaps.invoice", why))
}

/// What a Lightning invoice (BOLT 11) says that a receipt can be held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Thousandths of a satoshi; an invoice may leave the amount to who pays.
    pub amount_msats: Option<u64>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What an invoice is for: a text, or the hash of one that is too long for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The text itself.
    Text(String),
    /// The SHA-256 of the text.
    Hash([u8; 32]),
}

impl Invoice {
    /// Reads an invoice; its checksum, its fields and its signature must be right.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Invoice, String> {
        let invoice = Bolt11Invoice::from_str(text).map_err(|error| error.to_string())?;
        let amount_msats = invoice.amount_milli_satoshis();
        // The crate counts in tenths of that, and gives none where they do not fit.
        if amount_msats.is_none() && invoice.clone().into_signed_raw().raw_invoice().hrp.raw_amount.is_some()
        {
            return Err("its amount is more than there is".to_owned());
        }
        let purpose = match invoice.description() {
            Bolt11InvoiceDescriptionRef::Direct(text) => Purpose::Text(text.as_inner().0.clone()),
            Bolt11InvoiceDescriptionRef::Hash(hash) => Purpose::Hash(*hash.0.as_ref()),
        };
        Ok(Invoice { amount_msats, purpose })
    }

    /// Whether the invoice was made for exactly this text.
    pub fn is_for(&self, text: &str) -> bool {
        match &self.purpose {
            Purpose::Text(purpose) => purpose == text,
            Purpose::Hash(hash) => hash[..] == Sha256::digest(text)[..],
        }
    }
}

/// Whether this key may sign receipts. The recipient's wallet names its key in answer to an HTTP request that
/// a relay does not make; this is the one place to change for who wants to know more than a list.
pub fn may_sign(key: &PublicKey, wallets: &Keys) -> bool {
    wallets.is_empty() || wallets.contains(key)
}

/// The request inside of a receipt, if the receipt's tags are those that belong to it. The request's id and
/// signature are not looked at here.
///
/// # Errors
/// A sentence that says which tag is wrong.
pub fn request_of(receipt: &Event) -> Result<Event, String> {
    let description = description_of(receipt)?;
    bolt11_of(receipt)?;
    let request = Event::from_json(description.as_bytes())
        .map_err(|error| format!("the description tag must hold the zap request as JSON; {error}"))?;
    check_request(&request, &receipt.pubkey)?;
    for (name, may_be_absent) in [("p", false), ("e", false), ("a", false), ("k", true)] {
        let (said, asked) = (values(receipt, name), values(&request, name));
        if said != asked && !(may_be_absent && said.is_empty()) {
            return Err(format!("the {name} tag must be the zap request's: {}", listed(&asked)));
        }
    }
    let sender = request.pubkey.to_string();
    match values(receipt, "P").into_iter().find(|key| *key != sender) {
        None => Ok(request),
        Some(_) => Err("the P tag must be the author of the zap request".to_owned()),
    }
}

/// The invoice of a receipt, if it fits the request. Costs two signatures.
///
/// # Errors
/// A sentence that says what does not fit.
pub fn invoice_of(receipt: &Event, request: Event, demands: Demands) -> Result<Invoice, String> {
    let invoice = Invoice::parse(bolt11_of(receipt)?)
        .map_err(|why| format!("the bolt11 tag must hold a Lightning invoice: {why}"))?;
    match (amount_of(&request)?, invoice.amount_msats) {
        (Some(asked), Some(billed)) if asked != billed => {
            return Err(format!(
                "the invoice is over {billed} millisatoshis, but the zap request asks for {asked}"
            ));
        }
        (Some(asked), None) => {
            return Err(format!("the invoice names no amount, but the zap request asks for {asked}"));
        }
        (None, None) if demands.amount => return Err("the invoice must name an amount".to_owned()),
        _ => {}
    }
    if demands.description_hash && !invoice.is_for(description_of(receipt)?) {
        return Err("the invoice was not made for this zap request: its description hash differs".to_owned());
    }
    match Verified::check(request, &mut Vec::new()) {
        Ok(_) => Ok(invoice),
        Err(Forgery::Id) => Err("the zap request's id is not the hash of it".to_owned()),
        Err(Forgery::Signature) => Err("the zap request's signature is not its author's".to_owned()),
    }
}

/// What a community asks of an invoice beyond the NIP's MUSTs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demands {
    /// It is made for exactly this request (a SHOULD).
    pub description_hash: bool,
    /// It names an amount.
    pub amount: bool,
}

/// What the NIP asks of a request before a wallet answers it (its appendix D).
fn check_request(request: &Event, wallet: &PublicKey) -> Result<(), String> {
    if request.kind != REQUEST {
        return Err(format!(
            "the description tag must hold an event of kind {}, not {}",
            REQUEST.0, request.kind.0
        ));
    }
    let count = |name: &str| request.tags.iter().filter(|tag| tag.name() == name).count();
    if count("p") != 1 || !values(request, "p").iter().all(|key| is_hex64(key)) {
        return Err("the zap request must have one p tag, with the recipient's key in hex".to_owned());
    }
    if count("e") > 1 || !values(request, "e").iter().all(|id| is_hex64(id)) {
        return Err("the zap request may have one e tag, with an event's id in hex".to_owned());
    }
    if !values(request, "a").iter().all(|address| is_address(address)) {
        return Err("the zap request's a tag must be an address, kind:pubkey:identifier".to_owned());
    }
    if count("P") > 1 || values(request, "P").into_iter().any(|key| key != wallet.to_string()) {
        return Err("the zap request may have one P tag, with the key that signs the receipt".to_owned());
    }
    amount_of(request).map(|_| ())
}

/// Whether a text is `kind:pubkey:identifier`.
fn is_address(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let kind =
        parts.next().is_some_and(|kind| whole_number(kind).is_some_and(|kind| kind <= u64::from(u16::MAX)));
    kind && parts.next().is_some_and(is_hex64) && parts.next().is_some()
}

/// The amount that a request or a goal names, in thousandths of a satoshi.
///
/// # Errors
/// When there is an `amount` tag that holds no whole number.
pub fn amount_of(event: &Event) -> Result<Option<u64>, String> {
    let Some(tag) = event.tags.iter().find(|tag| tag.name() == "amount") else { return Ok(None) };
    match tag.value().and_then(whole_number) {
        Some(amount) => Ok(Some(amount)),
        None => Err("the amount tag must hold a whole number of millisatoshis".to_owned()),
    }
}

/// The JSON of the request. Two of them could mean one thing to the relay and another to a client.
fn description_of(receipt: &Event) -> Result<&str, String> {
    only(receipt, "description").ok_or_else(|| {
        "a zap receipt has one description tag, which holds the zap request as JSON".to_owned()
    })
}

fn bolt11_of(receipt: &Event) -> Result<&str, String> {
    only(receipt, "bolt11")
        .ok_or_else(|| "a zap receipt has one bolt11 tag, which holds the Lightning invoice".to_owned())
}

/// The value of a tag that an event has once.
fn only<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    let mut tags = event.tags.iter().filter(|tag| tag.name() == name);
    tags.next().filter(|_| tags.next().is_none())?.value()
}

/// A number of decimal digits alone: no sign, no blank.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn values<'a>(event: &'a Event, name: &'a str) -> BTreeSet<&'a str> {
    event.tags.values(name).collect()
}

fn listed(values: &BTreeSet<&str>) -> String {
    match values.is_empty() {
        true => "none".to_owned(),
        false => values.iter().copied().collect::<Vec<_>>().join(", "),
    }
}
