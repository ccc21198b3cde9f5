//! NIP-57, zaps (nips/57.md).

use bech32::Fe32;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::primitives::iter::Fe32IterExt as _;
use lightning_invoice::Bolt11Bech32;
use plaza::config::{Mode, Settings};
use plaza::event::Event;
use plaza::nips::nip57::{Invoice, Purpose};

use crate::common::{Client, NOW, Person, TestRelay, json_of};
use crate::wallet::{For, invoice, payer, receipt, recipient, request, text_of, wallet, zap};

const OTHER: &str = "11111111111111111111111111111111111111111111111111111111111111aa";

/// Tags as a table writes them.
type Written<'a> = &'a [&'a [&'a str]];

/// A relay that checks zaps.
fn relay(change: impl FnOnce(&mut Settings)) -> TestRelay {
    TestRelay::with(|config| {
        config.root.zaps.enabled = true;
        change(&mut config.root);
    })
}

/// A receipt for a request over 21,000 millisatoshis with these tags of its own.
fn receipt_for(request: &Event, tags: &[&[&str]]) -> Event {
    let description = text_of(request);
    receipt(NOW, &description, &invoice(Some(21_000), For::HashOf(&description)), tags)
}

fn check(client: &mut Client, what: &str, event: &Event, refusal: &str) {
    assert_eq!(client.publish(event), (refusal.is_empty(), refusal.to_owned()), "{what}: {}", json_of(event));
}

#[test]
fn a_plain_relay_looks_into_no_receipt() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    client.publish_ok(&receipt(NOW, "no request", "no invoice", &[]));
    client.publish_ok(&payer().event(9_735, NOW, &[], "nothing at all"));
    client.publish_ok(&request(&[]));
}

#[test]
fn receipts_that_are_true_are_taken() {
    let relay = relay(|_| {});
    let mut client = relay.connect();
    let address = format!("30023:{OTHER}:a:b");
    let e: &[&str] = &["e", OTHER, "wss://hint.example"];
    let a: &[&str] = &["a", &address];
    for tags in [&[][..], &[e], &[a], &[e, a], &[e, &["k", "1"]]] {
        client.publish_ok(&zap(NOW, 21_000, tags));
    }
    let (sender, signer) = (payer().hex(), wallet().hex());
    client.publish_ok(&receipt_for(&request(&[&["amount", "21000"]]), &[&["P", &sender]]));
    client.publish_ok(&receipt_for(&request(&[&["P", &signer]]), &[]));
    // What the request says of a kind need not be repeated, and who signs a receipt is free.
    client.publish_ok(&receipt_for(&request(&[&["k", "1"]]), &[]));
}

#[test]
fn a_receipt_has_its_parts_once() {
    let relay = relay(|_| {});
    let mut client = relay.connect();
    let description = text_of(&request(&[]));
    let bolt11 = invoice(Some(21_000), For::HashOf(&description));
    let p = recipient().hex();
    let (p, bolt11, description) = (["p", p.as_str()], ["bolt11", &bolt11], ["description", &description]);
    let no_description =
        "invalid: a zap receipt has one description tag, which holds the zap request as JSON (zaps.receipt)";
    let no_bolt11 =
        "invalid: a zap receipt has one bolt11 tag, which holds the Lightning invoice (zaps.receipt)";
    let no_p = format!("invalid: the p tag must be the zap request's: {} (zaps.receipt)", recipient().hex());
    let table: [(&str, &[&[&str]], &str); 8] = [
        ("all", &[&p, &bolt11, &description], ""),
        ("no description", &[&p, &bolt11], no_description),
        ("an empty description tag", &[&p, &bolt11, &["description"]], no_description),
        ("two descriptions", &[&p, &bolt11, &description, &description], no_description),
        ("no invoice", &[&p, &description], no_bolt11),
        ("two invoices", &[&p, &bolt11, &bolt11, &description], no_bolt11),
        ("no recipient", &[&bolt11, &description], &no_p),
        ("the recipient twice", &[&p, &p, &bolt11, &description], ""),
    ];
    for (what, tags, refusal) in table {
        check(&mut client, what, &wallet().event(9_735, NOW, tags, ""), refusal);
    }
}

#[test]
fn a_receipt_agrees_with_its_request() {
    let relay = relay(|_| {});
    let mut client = relay.connect();
    let (address, other_address) = (format!("30023:{OTHER}:a"), format!("30023:{OTHER}:b"));
    let (e, a, k): (&[&str], &[&str], &[&str]) = (&["e", OTHER], &["a", &address], &["k", "1"]);
    let id = "0".repeat(64);
    let (payer_key, recipient_key) = (payer().hex(), recipient().hex());
    let must = |name: &str, value: &str| {
        format!("invalid: the {name} tag must be the zap request's: {value} (zaps.receipt)")
    };
    let wrong_sender = "invalid: the P tag must be the author of the zap request (zaps.receipt)".to_owned();
    let table: [(&str, Written<'_>, Written<'_>, String); 14] = [
        ("the same e", &[e], &[e], String::new()),
        ("no e", &[e], &[], must("e", OTHER)),
        ("another e", &[e], &[&["e", &id]], must("e", OTHER)),
        ("one e more", &[e], &[e, &["e", &id]], must("e", OTHER)),
        ("an e that nobody asked for", &[], &[e], must("e", "none")),
        ("another p", &[], &[&["p", &payer_key]], must("p", &recipient_key)),
        ("the same a", &[a], &[a], String::new()),
        ("no a", &[a], &[], must("a", &address)),
        ("another a", &[a], &[&["a", &other_address]], must("a", &address)),
        ("an a that nobody asked for", &[], &[a], must("a", "none")),
        ("another k", &[k], &[&["k", "30023"]], must("k", "1")),
        ("a k that nobody asked for", &[], &[k], must("k", "none")),
        ("the sender", &[], &[&["P", &payer_key]], String::new()),
        ("another sender", &[], &[&["P", &recipient_key]], wrong_sender),
    ];
    for (what, asked, said, refusal) in table {
        check(&mut client, what, &receipt_for(&request(asked), said), &refusal);
    }
}

#[test]
fn the_request_is_one_that_a_wallet_may_answer() {
    let relay = relay(|_| {});
    let mut client = relay.connect();
    let (p, signer) = (recipient().hex(), wallet().hex());
    let one_p = "the zap request must have one p tag, with the recipient's key in hex";
    let one_e = "the zap request may have one e tag, with an event's id in hex";
    let one_a = "the zap request's a tag must be an address, kind:pubkey:identifier";
    let one_signer = "the zap request may have one P tag, with the key that signs the receipt";
    let amount = "the amount tag must hold a whole number of millisatoshis";
    let (address, no_key, too_high) =
        (format!("65535:{OTHER}:"), "30023:x:y".to_owned(), format!("65536:{OTHER}:"));
    let too_short = format!("30023:{OTHER}");
    let table: [(Written<'_>, Written<'_>, &str); 16] = [
        (&[&["p", &p]], &[], one_p),
        (&[&["e", OTHER], &["e", OTHER]], &[&["e", OTHER]], one_e),
        (&[&["e", "x"]], &[&["e", "x"]], one_e),
        (&[&["a", &address]], &[&["a", &address]], ""),
        (&[&["a", &no_key]], &[&["a", &no_key]], one_a),
        (&[&["a", &too_high]], &[&["a", &too_high]], one_a),
        (&[&["a", &too_short]], &[&["a", &too_short]], one_a),
        (&[&["a", "x"]], &[&["a", "x"]], one_a),
        (&[&["P", &signer]], &[], ""),
        (&[&["P", &p]], &[], one_signer),
        (&[&["P", &signer], &["P", &signer]], &[], one_signer),
        (&[&["amount", "21000"]], &[], ""),
        (&[&["amount", "21,000"]], &[], amount),
        (&[&["amount", "+21000"]], &[], amount),
        (&[&["amount", "21000.0"]], &[], amount),
        (&[&["amount"]], &[], amount),
    ];
    for (asked, said, why) in table {
        let refusal = if why.is_empty() { String::new() } else { format!("invalid: {why} (zaps.receipt)") };
        check(&mut client, why, &receipt_for(&request(asked), said), &refusal);
    }
    let zap_of = |description: &str| {
        let bolt11 = invoice(Some(21_000), For::HashOf(description));
        receipt(NOW, description, &bolt11, &[])
    };
    let note = text_of(&payer().event(1, NOW, &[&["p", &p]], "no request"));
    let said = "the description tag must hold the zap request as JSON";
    let table = [
        (note.as_str(), "the description tag must hold an event of kind 9734, not 1".to_owned()),
        ("", format!("{said}; EOF while parsing a value")),
        ("Thanks!", format!("{said}; expected value")),
        ("{}", format!("{said}; the event has no id")),
    ];
    for (description, why) in table {
        check(&mut client, description, &zap_of(description), &format!("invalid: {why} (zaps.receipt)"));
    }
}

#[test]
fn the_request_is_truly_its_authors() {
    let relay = relay(|_| {});
    let mut client = relay.connect();
    let true_one = request(&[]);
    let mut other_text = true_one.clone();
    other_text.content.push('!');
    let mut other_signature = true_one.clone();
    other_signature.sig.0[7] ^= 1;
    let mut other_author = true_one.clone();
    other_author.pubkey = Person::new(9).key();
    other_author.id = other_author.hash(&mut Vec::new());
    let wrong_id = "invalid: the zap request's id is not the hash of it (zaps.invoice)";
    let wrong_signature = "invalid: the zap request's signature is not its author's (zaps.invoice)";
    let table = [
        (other_text, wrong_id),
        (other_signature, wrong_signature),
        (other_author, wrong_signature),
        (true_one, ""),
    ];
    for (request, refusal) in table {
        check(&mut client, refusal, &receipt_for(&request, &[]), refusal);
    }
}

#[test]
fn the_invoice_is_over_what_the_request_asks_for() {
    let relay = relay(|_| {});
    let strict = self::relay(|settings| settings.zaps.amount_required = true);
    let (mut client, mut strict) = (relay.connect(), strict.connect());
    let differs = |billed: u64| {
        format!(
            "invalid: the invoice is over {billed} millisatoshis, but the zap request asks for 21000 (zaps.invoice)"
        )
    };
    let none = "invalid: the invoice names no amount, but the zap request asks for 21000 (zaps.invoice)";
    let must = "invalid: the invoice must name an amount (zaps.invoice)";
    let table = [
        (Some("21000"), Some(21_000), String::new(), String::new()),
        (Some("21000"), Some(20_999), differs(20_999), differs(20_999)),
        (Some("21000"), Some(21_001), differs(21_001), differs(21_001)),
        // A thousand times as much is what comes of satoshis taken for their thousandths.
        (Some("21000"), Some(21_000_000), differs(21_000_000), differs(21_000_000)),
        (Some("21000"), None, none.to_owned(), none.to_owned()),
        (None, Some(1), String::new(), String::new()),
        (None, None, String::new(), must.to_owned()),
    ];
    for (asked, billed, refusal, strict_refusal) in table {
        let tags: Vec<Vec<&str>> = asked.map(|amount| vec!["amount", amount]).into_iter().collect();
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        let description = text_of(&request(&tags));
        let event = receipt(NOW, &description, &invoice(billed, For::HashOf(&description)), &[]);
        check(&mut client, "as the NIP asks", &event, &refusal);
        check(&mut strict, "with an amount", &event, &strict_refusal);
    }
}

#[test]
fn the_bolt11_tag_holds_an_invoice() {
    let relay = relay(|_| {});
    let mut client = relay.connect();
    let description = text_of(&request(&[]));
    let good = invoice(Some(21_000), For::HashOf(&description));
    let slip = |at: usize| {
        let letter = if good.as_bytes()[at] == b'q' { "p" } else { "q" };
        format!("{}{letter}{}", &good[..at], &good[at + 1..])
    };
    let cut = &good[..good.len() - 1];
    let wrong = [
        String::new(),
        "lnbc".to_owned(),
        "lnbc1".to_owned(),
        "invoice".to_owned(),
        cut.to_owned(),
        slip(30),
        slip(good.len() - 1),
        slip(good.len() - 60),
        format!("lightning:{good}"),
        format!("{good}q"),
        "lno1pqps7sjqpgtyzm3qv4uxzmtsd3jjqer9wd3hy6tsw35k7msjzfpy7nz5yqcnygrfdej82um5wf5k2uckyypwa3eyt"
            .to_owned(),
    ];
    for bolt11 in wrong {
        let why = client.publish_refused(&receipt(NOW, &description, &bolt11, &[]));
        assert!(
            why.starts_with("invalid: the bolt11 tag must hold a Lightning invoice: "),
            "{bolt11}: {why}"
        );
        assert!(why.ends_with(" (zaps.invoice)"), "{bolt11}: {why}");
    }
    for bolt11 in [good.clone(), good.to_uppercase()] {
        client.publish_ok(&receipt(NOW, &description, &bolt11, &[]));
    }
}

#[test]
fn the_description_hash_is_asked_for_by_a_setting() {
    let relay = relay(|_| {});
    let strict = self::relay(|settings| settings.zaps.description_hash_required = true);
    let (mut client, mut strict) = (relay.connect(), strict.connect());
    let description = text_of(&request(&[]));
    let with_blank = description.replacen(',', ", ", 1);
    let refusal =
        "invalid: the invoice was not made for this zap request: its description hash differs (zaps.invoice)";
    let table = [
        ("its hash", invoice(Some(1), For::HashOf(&description)), ""),
        ("the hash of other text", invoice(Some(1), For::HashOf("lnurl metadata")), refusal),
        ("the hash of the same event written otherwise", invoice(Some(1), For::HashOf(&with_blank)), refusal),
        ("another text", invoice(Some(1), For::Text("Zap!")), refusal),
    ];
    for (what, bolt11, refusal) in table {
        let event = receipt(NOW, &description, &bolt11, &[]);
        check(&mut client, what, &event, "");
        check(&mut strict, what, &event, refusal);
    }
}

#[test]
fn the_nips_own_example_is_read() {
    let bolt11 = "lnbc10u1p3unwfusp5t9r3yymhpfqculx78u027lxspgxcr2n2987mx2j55nnfs95nxnzqpp5jmrh92pfld78spqs78v9euf2385t83uvpwk9ldrlvf6ch7tpascqhp5zvkrmemgth3tufcvflmzjzfvjt023nazlhljz2n9hattj4f8jq8qxqyjw5qcqpjrzjqtc4fc44feggv7065fqe5m4ytjarg3repr5j9el35xhmtfexc42yczarjuqqfzqqqqqqqqlgqqqqqqgq9q9qxpqysgq079nkq507a5tw7xgttmj4u990j7wfggtrasah5gd4ywfr2pjcn29383tphp4t48gquelz9z78p4cq7ml3nrrphw5w6eckhjwmhezhnqpy6gyf0";
    let invoice = Invoice::parse(bolt11).expect("an invoice");
    assert_eq!(invoice.amount_msats, Some(1_000_000));
    assert!(matches!(invoice.purpose, Purpose::Hash(hash) if hash[..3] == [0x13, 0x2c, 0x3d]), "{invoice:?}");
}

#[test]
fn wallets_may_be_listed() {
    let key = wallet().key();
    let listed = relay(|settings| settings.zaps.wallets = [key].into_iter().collect());
    let unlisted = relay(|settings| settings.zaps.wallets = [payer().key()].into_iter().collect());
    let event = zap(NOW, 21_000, &[]);
    listed.connect().publish_ok(&event);
    let refusal = "restricted: zap receipts are taken from wallets that this relay knows, and this is none of them (zaps.wallet)";
    assert_eq!(unlisted.connect().publish_refused(&event), refusal);
    unlisted.connect().publish_ok(&wallet().note("A wallet may still talk."));
}

#[test]
fn requests_may_be_kept_off() {
    let event = request(&[]);
    relay(|_| {}).connect().publish_ok(&event);
    let relay = TestRelay::with(|config| config.root.zaps.requests_accepted = false);
    let mut client = relay.connect();
    let refusal = "blocked: a zap request goes to the recipient's wallet, not to relays (zaps.request)";
    assert_eq!(client.publish_refused(&event), refusal);
    client.publish_ok(&payer().note("Zap me!"));
}

#[test]
fn in_shadow_mode_everything_passes() {
    let relay = relay(|settings| settings.zaps.mode = Mode::Shadow);
    relay.connect().publish_ok(&receipt(NOW, "no request", "no invoice", &[]));
}

#[test]
fn no_garbage_makes_the_reader_panic() {
    let seed = 0x5EED_u64;
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let good = invoice(Some(21_000), For::HashOf("x"));
    let mut survived = 0;
    for round in 0..3_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=next() % 4 {
            let at = next() % bytes.len().max(1);
            match next() % 4 {
                0 if at < bytes.len() => bytes[at] = (next() % 128) as u8,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                0..3 => bytes.insert(at, b"qpzry9x8gf2tvdw0s3jn54khce6mua7l1"[next() % 33]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Ok(read) = Invoice::parse(&text) {
            survived += 1;
            assert_eq!(
                (read.amount_msats, text.to_lowercase()),
                (Some(21_000), good.clone()),
                "seed {seed}, round {round}"
            );
        }
    }
    assert!(survived < 60, "seed {seed}: {survived} broken invoices were taken for true");
}

#[test]
fn fields_of_any_content_behind_a_right_checksum_are_no_panic_either() {
    let seed = 0xBAD_u64;
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let good = invoice(Some(21_000), For::HashOf("x"));
    let read = CheckedHrpstring::new::<Bolt11Bech32>(&good).expect("a checksum");
    let (hrp, data) = (read.hrp(), read.fe32_iter::<std::iter::Empty<u8>>().collect::<Vec<_>>());
    for round in 0..2_000 {
        let mut data = data.clone();
        for _ in 0..=next() % 6 {
            let at = next() % data.len();
            data[at] = Fe32::try_from((next() % 32) as u8).expect("five bits");
        }
        data.truncate(data.len() - next() % 3 * (next() % 40));
        let text: String = data.into_iter().with_checksum::<Bolt11Bech32>(&hrp).chars().collect();
        if let Ok(read) = Invoice::parse(&text) {
            assert_eq!(read.amount_msats, Some(21_000), "seed {seed}, round {round}: {text}");
        }
    }
}
