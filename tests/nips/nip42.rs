//! NIP-42, authentication (nips/42.md).

use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay, ids_of, json_of};
use plaza::event::Event;

/// Sends AUTH; returns the answer.
fn prove(client: &mut Client, proof: &Event) -> (bool, String) {
    client.send(&json!(["AUTH", json_of(proof)]));
    client.answer_to(proof)
}

fn proof(person: &Person, created_at: u64, url: &str, challenge: &str) -> Event {
    person.event(22_242, created_at, &[&["relay", url], &["challenge", challenge]], "")
}

/// Whether the connection counts as this person's: a seal shows itself to its author alone.
fn speaks_for(relay: &TestRelay, client: &mut Client, person: &Person) -> bool {
    let seal = person.event(13, NOW, &[], "");
    relay.connect().publish(&seal);
    !client.ids(json!({"ids": [seal.id.to_string()]})).is_empty()
}

#[test]
fn every_connection_gets_a_challenge_of_its_own_at_once() {
    let relay = TestRelay::start();
    let mut challenges: Vec<String> = (0..20).map(|_| relay.connect().challenge).collect();
    challenges.sort();
    challenges.dedup();
    assert_eq!(challenges.len(), 20);
    assert!(challenges.iter().all(|challenge| challenge.len() >= 32), "enough to be beyond guessing");
}

#[test]
fn a_true_proof_is_accepted_and_counts_at_once() {
    let relay = TestRelay::start();
    let person = Person::new(1);
    let seal = person.event(13, NOW, &[], "");
    relay.connect().publish_ok(&seal);
    let mut client = relay.connect();
    let proof = proof(&person, NOW, &relay.url(), &client.challenge.clone());
    // Both go out before anything is read.
    client.send(&json!(["AUTH", json_of(&proof)]));
    client.subscribe("s", &[json!({"kinds": [13]})]);
    assert_eq!(client.receive(), json!(["OK", proof.id.to_string(), true, ""]));
    assert_eq!(client.receive(), json!(["EVENT", "s", json_of(&seal)]));
    assert_eq!(client.receive(), json!(["EOSE", "s", ["finish"]]));
}

#[test]
fn each_fault_of_a_proof_is_refused_with_its_reason() {
    let relay = TestRelay::start();
    let person = Person::new(1);
    let (url, mut client, other) = (relay.url(), relay.connect(), relay.connect());
    let challenge = client.challenge.clone();
    let proof = |kind, tags: &[&[&str]]| person.event(kind, NOW, tags, "");
    let (right_url, right_challenge): (&[&str], &[&str]) = (&["relay", &url], &["challenge", &challenge]);
    let no_challenge =
        "invalid: the challenge tag is not the one that this connection was sent (nip42.challenge)";
    let no_relay = "invalid: the relay tag does not name this relay (nip42.relay)";
    let kind = |kind| format!("invalid: AUTH takes an event of kind 22242, not {kind} (nip42.kind)");
    let table = [
        (proof(1, &[right_url, right_challenge]), kind(1)),
        (proof(22_241, &[right_url, right_challenge]), kind(22_241)),
        (proof(22_242, &[right_url]), no_challenge.to_owned()),
        (proof(22_242, &[right_url, &["challenge"]]), no_challenge.to_owned()),
        (proof(22_242, &[right_url, &["challenge", ""]]), no_challenge.to_owned()),
        (proof(22_242, &[right_url, &["challenge", &challenge[1..]]]), no_challenge.to_owned()),
        (
            proof(22_242, &[right_url, &["challenge", &challenge.to_uppercase(), &challenge]]),
            no_challenge.to_owned(),
        ),
        (proof(22_242, &[right_url, &["challenge", &other.challenge]]), no_challenge.to_owned()),
        (proof(22_242, &[right_challenge]), no_relay.to_owned()),
        (proof(22_242, &[right_challenge, &["relay"]]), no_relay.to_owned()),
        (proof(22_242, &[right_challenge, &["relay", ""]]), no_relay.to_owned()),
        (proof(22_242, &[right_challenge, &["relay", "wss://other.example"]]), no_relay.to_owned()),
        (proof(22_242, &[right_challenge, &["relay", "ALL_RELAYS"]]), no_relay.to_owned()),
    ];
    for (proof, why) in table {
        assert!(!challenge.chars().all(|digit| digit.is_ascii_digit()), "upper case makes a difference");
        assert_eq!(prove(&mut client, &proof), (false, why), "{}", json_of(&proof));
    }
    let mut forged = proof(22_242, &[right_url, right_challenge]);
    forged.sig.0[0] ^= 1;
    let why = "invalid: the signature is not the author's for this id (nip01.signature)";
    assert_eq!(prove(&mut client, &forged), (false, why.to_owned()));
    let mut forged = proof(22_242, &[right_url, right_challenge]);
    forged.content.push('x');
    let why = "invalid: the id is not the hash of the event (nip01.id)";
    assert_eq!(prove(&mut client, &forged), (false, why.to_owned()));
    let mut forged = proof(22_242, &[right_url, right_challenge]);
    forged.pubkey = Person::new(2).key();
    assert!(!prove(&mut client, &forged).0);
    assert!(!speaks_for(&relay, &mut client, &person));
    assert!(!speaks_for(&relay, &mut client, &Person::new(2)));
}

#[test]
fn a_proof_may_be_600_seconds_off_and_not_one_more() {
    let relay = TestRelay::start();
    for (off, accepted) in [(-601_i64, false), (-600, true), (0, true), (600, true), (601, false)] {
        let mut client = relay.connect();
        let time = NOW.saturating_add_signed(off);
        let proof = proof(&Person::new(1), time, &relay.url(), &client.challenge.clone());
        let why = "invalid: created_at is 601 seconds from now, more than 600 (nip42.window)";
        let why = if accepted { "" } else { why };
        assert_eq!(prove(&mut client, &proof), (accepted, why.to_owned()), "{off}");
    }
}

#[test]
fn the_window_is_a_setting_and_moves_with_the_clock() {
    let relay = TestRelay::with(|config| config.root.nip42.window_seconds = 5);
    let mut client = relay.connect();
    let (url, challenge) = (relay.url(), client.challenge.clone());
    relay.clock.set(NOW + 1_000);
    for (time, accepted) in
        [(NOW, false), (NOW + 994, false), (NOW + 995, true), (NOW + 1_005, true), (NOW + 1_006, false)]
    {
        assert_eq!(prove(&mut client, &proof(&Person::new(1), time, &url, &challenge)).0, accepted, "{time}");
    }
}

#[test]
fn one_connection_may_prove_several_keys() {
    let relay = TestRelay::start();
    let people = [1, 2, 3].map(Person::new);
    let mut client = relay.connect();
    for (number, person) in people.iter().enumerate() {
        client.authenticate(person, &relay.url(), NOW);
        for (other, person) in people.iter().enumerate() {
            assert_eq!(speaks_for(&relay, &mut client, person), other <= number);
        }
    }
    assert!(!speaks_for(&relay, &mut relay.connect(), &people[0]), "a proof counts on its connection alone");
}

#[test]
fn one_connection_proves_as_many_keys_as_the_setting_says() {
    let relay = TestRelay::with(|config| config.root.nip42.keys_per_connection_max = 2);
    let people = [1, 2, 3].map(Person::new);
    let mut client = relay.connect_as(&[&people[0], &people[1]]);
    let third = proof(&people[2], NOW, &relay.url(), &client.challenge.clone());
    let why = "restricted: this connection has proved as many keys as it may (nip42.keys_per_connection_max)";
    assert_eq!(prove(&mut client, &third), (false, why.to_owned()));
    assert!(!speaks_for(&relay, &mut client, &people[2]));
    client.authenticate(&people[0], &relay.url(), NOW);
    assert!(speaks_for(&relay, &mut client, &people[0]));
}

#[test]
fn the_host_header_never_names_the_relay() {
    let relay = TestRelay::start();
    let address = relay.relay().address();
    let person = Person::new(1);
    for host in ["evil.example", "evil.example:80", &format!("evil.example:{}", address.port())] {
        let url = format!("ws://{host}/");
        let mut client = Client::connect_to(&address.to_string(), &url);
        let forged = proof(&person, NOW, &url, &client.challenge.clone());
        let why = "invalid: the relay tag does not name this relay (nip42.relay)";
        assert_eq!(prove(&mut client, &forged), (false, why.to_owned()), "{host}");
        client.authenticate(&person, &relay.url(), NOW);
    }
}

#[test]
fn without_configured_urls_only_the_local_address_and_localhost_name_the_relay() {
    let relay = TestRelay::start();
    let port = relay.relay().address().port();
    let table = [
        (format!("ws://127.0.0.1:{port}"), true),
        (format!("ws://127.0.0.1:{port}/"), true),
        (format!("wss://127.0.0.1:{port}"), true),
        (format!("ws://localhost:{port}"), true),
        (format!("wss://LOCALHOST:{port}/"), true),
        (format!("ws://localhost:{port}/town"), false),
        (format!("http://localhost:{port}"), false),
        (format!("localhost:{port}"), false),
        (format!("ws://127.0.0.2:{port}"), false),
        (format!("ws://relay.example:{port}"), false),
        (format!("ws://localhost:{port}@evil.example:{port}"), false),
        (format!("ws://localhost:{}", port ^ 1), false),
        ("ws://localhost".to_owned(), false),
    ];
    for (url, accepted) in table {
        let mut client = relay.connect();
        let proof = proof(&Person::new(1), NOW, &url, &client.challenge.clone());
        assert_eq!(prove(&mut client, &proof).0, accepted, "{url}");
    }
}

#[test]
fn configured_urls_name_the_relay_and_the_local_address_no_longer_does() {
    let urls = ["wss://town.example", "ws://hidden.onion/"];
    let relay = TestRelay::with(|config| config.root.relay.urls = urls.map(str::to_owned).to_vec());
    let table = [
        ("wss://town.example", true),
        ("wss://town.example/", true),
        ("wss://TOWN.example:443", true),
        ("ws://hidden.onion", true),
        ("wss://town.example:8443", false),
        ("ws://town.example", false),
        ("wss://sub.town.example", false),
        ("wss://town.example.evil.example", false),
        ("wss://evil.example/town.example", false),
        ("wss://town.example@evil.example", false),
        (&relay.url(), false),
    ];
    for (url, accepted) in table {
        let mut client = relay.connect();
        let proof = proof(&Person::new(1), NOW, url, &client.challenge.clone());
        assert_eq!(prove(&mut client, &proof).0, accepted, "{url}");
    }
}

#[test]
fn proofs_are_never_published_stored_or_passed_on() {
    let relay = TestRelay::start();
    let person = Person::new(1);
    let mut listener = relay.connect();
    listener.request("s", &[json!({"authors": [person.hex()]})]);
    let mut client = relay.connect();
    let proof = proof(&person, NOW, &relay.url(), &client.challenge.clone());
    assert_eq!(prove(&mut client, &proof), (true, String::new()));
    assert_eq!(
        client.publish_refused(&proof),
        "invalid: kind 22242 is sent with AUTH and never published (nip42.auth_kind)"
    );
    assert_eq!(client.ids(json!({"authors": [person.hex()]})), ids_of(&[]));
    assert_eq!(relay.heard_by(&mut listener), []);
    assert_eq!(relay.stored(), 0);
}

#[test]
fn a_proof_of_the_wrong_form_is_answered() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let mut wrong = json_of(&Person::new(1).event(22_242, NOW, &[], ""));
    wrong.as_object_mut().expect("an object").remove("sig");
    client.send(&json!(["AUTH", wrong]));
    assert_eq!(
        client.receive(),
        json!(["OK", wrong["id"], false, "invalid: the event has no sig (nip01.message)"])
    );
    client.send(&json!(["AUTH", "challenge"]));
    assert_eq!(client.receive()[0], "NOTICE");
}
