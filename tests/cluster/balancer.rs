//! HAProxy in front of the nodes, set up as docs/cluster.md says: clients land anywhere, and a client that comes back to
//! another node misses nothing.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::program::{Program, free_port, tool, wait_for_port};
use crate::common::{Client, Person};
use crate::house::{House, Node, heard, now, until};

const PAGE: &str = include_str!("../../docs/cluster.md");

/// The page's set-up, with ports and addresses of the test's own.
fn config(port: u16, nodes: &[Node]) -> String {
    let block = PAGE.split("```haproxy\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let mut text = block.to_owned();
    let mut put = |said: &str, meant: &str| {
        assert!(text.contains(said), "{said:?} is not in {text}");
        text = text.replace(said, meant);
    };
    put("bind :7777", &format!("bind 127.0.0.1:{port}"));
    for (address, node) in ["10.0.0.1:7777", "10.0.0.2:7777", "10.0.0.3:7777"].iter().zip(nodes) {
        put(address, &node.address.to_string());
    }
    text
}

#[test]
fn behind_a_load_balancer_a_client_that_comes_back_misses_nothing() {
    let Some(haproxy) = tool("haproxy") else { return };
    let Some(mut house) = House::build(1, 3, "") else { return };
    let port = free_port();
    let file = house.folder.path().join("haproxy.cfg");
    fs::write(&file, config(port, &house.nodes)).expect("a file");
    let mut command = Command::new(haproxy);
    command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    let _balancer = Program::start(command);
    wait_for_port(port);
    let url = format!("ws://127.0.0.1:{port}");
    until("it hands on", || Client::try_connect(&url).is_some());

    // Clients land anywhere.
    let connections = |node: &Node| node.run(&["cluster", "status", "--json"]).0;
    let clients: Vec<Client> = (0..6).map(|_| Client::connect(&url)).collect();
    assert!(house.nodes.iter().all(connections));
    drop(clients);

    let (alice, time) = (Person::new(10), now());
    let filter = json!({"authors": [alice.hex()], "since": time - 1});
    let mut writer = house.nodes[0].connect();
    let mut seen = std::collections::BTreeSet::new();
    let mut sent = std::collections::BTreeSet::new();
    let mut reader = Client::connect(&url);
    reader.request("live", std::slice::from_ref(&filter));
    for number in 0..90_u32 {
        let note = alice.event(1, time, &[], &number.to_string());
        writer.publish_ok(&note);
        sent.insert(note.id.to_string());
        if number % 30 == 9 {
            // The node that serves the reader may be this one. It stops, and what is written meanwhile is had elsewhere.
            seen.insert(heard(&mut reader, "live"));
            drop(reader);
            let at = 1 + (number as usize / 30) % 2;
            house.nodes[at].stop();
            until("another node is found", || Client::try_connect(&url).is_some());
            reader = Client::connect(&url);
            seen.extend(reader.request("live", std::slice::from_ref(&filter)).0);
            house.nodes[at].start();
            house.nodes[at].wait_until_ready();
        }
    }
    while seen.len() < sent.len() {
        seen.insert(heard(&mut reader, "live"));
    }
    assert_eq!(seen, sent);

    // Without the log all of them refuse, and reads go on through the balancer.
    house.servers[0].kill();
    until("none is ready", || house.nodes.iter().all(|node| !node.is_ready()));
    until("reads go on", || {
        Client::try_connect(&url).is_some_and(|mut client| client.ids(filter.clone()).len() == sent.len())
    });
}
