//! Many that say nothing, or as little as they can: they hold what their address may, and nobody else is kept out.

use std::net::SocketAddr;

use crate::house::House;
use crate::raw::{Raw, wait_until};

/// Connections that one address may have, and all together.
const SHARE: usize = 50;
const ALL: usize = 200;

/// As many as come at once.
const CROWD: usize = 1_000;

/// Limits of rates that nobody here meets, so that those of connections apply.
const RATES: &str = "[rate]\naddress_events_per_minute = 4_000_000_000\naddress_events_burst = 4_000_000_000\n\
    author_events_per_minute = 4_000_000_000\nauthor_events_burst = 4_000_000_000\n\
    address_requests_per_minute = 4_000_000_000\naddress_requests_burst = 4_000_000_000\n\
    address_bytes_per_minute = 4_000_000_000\naddress_bytes_burst = 4_000_000_000";

fn house(server: &str) -> House {
    House::start(&format!(
        "[server]\nconnections_max = {ALL}\nconnections_per_address_max = {SHARE}\n{server}\n{RATES}"
    ))
}

/// Connections from an address that have said this; those that were turned away have gone again.
fn crowd(house: &House, source: &str, port: SocketAddr, said: &[u8], count: usize) -> Vec<Raw> {
    (0..count)
        .map(|_| {
            let mut raw = house.knock_from(source, port);
            // Who is turned away may be so before this.
            let _ = std::io::Write::write_all(&mut raw.stream, said);
            raw
        })
        .collect()
}

#[test]
fn one_address_cannot_take_the_places_of_all() {
    let house = house("http_header_seconds_max = 60");
    let ends = [
        ("a silent one", house.address, &b""[..]),
        ("half a head", house.address, b"GET / HTTP/1.1\r\nHost: relay\r\nA: "),
        ("half a handshake", house.tls_address, b"\x16\x03\x01\x02\x00\x01\x00"),
        ("silence where TLS is spoken", house.tls_address, b""),
    ];
    for (number, (what, port, said)) in ends.into_iter().enumerate() {
        let source = format!("127.0.0.{}", 10 + number);
        let mut held = crowd(&house, &source, port, said, CROWD);
        // Those beyond its share were told so, or where TLS is spoken just ended.
        for raw in &mut held[SHARE..] {
            if port == house.address {
                assert_eq!(raw.status(), 429, "{what}");
            }
            raw.ends();
        }
        held.truncate(SHARE);
        let mut other = house.knock_from("127.0.0.9", house.address);
        assert_eq!(other.upgrade(""), 101, "{what}");
        assert_eq!(other.message()[0], "AUTH");
        other.works();
        // Who leaves makes room for another of the same address.
        held.pop();
        wait_until(what, || house.knock_from(&source, house.address).upgrade("") == 101);
    }
    house.stands();
}

#[test]
fn a_crowd_of_many_addresses_holds_places_for_no_longer_than_a_head_may_take() {
    let house = house("http_header_seconds_max = 2");
    let sources = (30..40).map(|number| format!("127.0.0.{number}"));
    let half = b"GET / HTTP/1.1\r\nHost: relay\r\nA: ";
    let mut held: Vec<Raw> =
        sources.flat_map(|source| crowd(&house, &source, house.address, half, SHARE)).collect();
    wait_until("there is room again", || house.knock_from("127.0.0.9", house.address).upgrade("") == 101);
    held.iter_mut().for_each(Raw::ends);
    drop(held);
    house.stands();
}
