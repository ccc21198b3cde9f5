//! A node that is cut off from the servers: in a network of the test's own, with the node in a further one, joined by
//! two cables, of which the one to the servers is pulled.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::Person;
use crate::common::program::tool;
use crate::house::{House, Node, now, until};

/// Says to the test within that it is in a network of its own.
const WITHIN: &str = "PLAZA_TEST_NETWORK";

fn can_run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    assert!(can_run(words[0], &words[1..]), "{line}");
}

#[test]
fn a_node_that_is_cut_off_refuses_and_serves_and_heals() {
    if tool("nats-server").is_none() || tool("ip").is_none() {
        return;
    }
    if !can_run("unshare", &["-n", "true"]) {
        eprintln!("skipped: networks of one's own are not allowed here");
        return;
    }
    let test = std::env::current_exe().expect("this program");
    let mut within = Command::new("unshare");
    within.arg("-n").arg(test).args(["--exact", "partition::within", "--ignored", "--nocapture"]);
    assert!(within.env(WITHIN, "1").status().expect("it runs").success());
}

/// A process that keeps a network alive.
struct Network(Child);

impl Network {
    fn new() -> Network {
        let own = std::fs::read_link("/proc/self/ns/net").expect("a network");
        let child = Command::new("unshare").args(["-n", "sleep", "1000"]).spawn().expect("it runs");
        let theirs = format!("/proc/{}/ns/net", child.id());
        until("the network is there", || std::fs::read_link(&theirs).is_ok_and(|theirs| theirs != own));
        Network(child)
    }

    /// Joins it with this one.
    fn plug(&self, cable: &str, number: u8) {
        let pid = self.0.id();
        run(&format!("ip link add {cable} type veth peer name {cable}x netns {pid}"));
        run(&format!("ip addr add 10.99.{number}.1/24 dev {cable}"));
        run(&format!("ip link set {cable} up"));
        run(&format!("nsenter -t {pid} -n ip addr add 10.99.{number}.2/24 dev {cable}x"));
        run(&format!("nsenter -t {pid} -n ip link set {cable}x up"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "runs in a network of its own, by the test above"]
fn within() {
    if std::env::var(WITHIN).is_err() {
        return;
    }
    run("ip link set lo up");
    let network = Network::new();
    network.plug("log", 1);
    network.plug("users", 2);
    let mut house = House::build_on("10.99.1.1", 3, 2, "").expect("nats-server was there a moment ago");
    house.prepare_node("");
    house.nodes[2].within = Some(network.0.id());
    house.nodes[2].address = "10.99.2.2:7777".parse().expect("an address");
    house.nodes[2].start();
    house.nodes[2].wait_until_ready();
    let (alice, time) = (Person::new(10), now());
    let note = |text: &str| alice.event(1, time, &[], text);
    house.nodes[2].connect().publish_ok(&note("before"));
    house.settle();

    run("ip link set log down");
    let began = Instant::now();
    let mut client = house.nodes[2].connect();
    let why = client.publish_refused(&note("cut off"));
    assert!(why.starts_with("error: "), "{why}");
    assert!(began.elapsed() < Duration::from_secs(30), "never hanging");
    assert_eq!(client.count(&[json!({"kinds": [1]})]), 1, "reads go on");
    until("it says so", || !house.nodes[2].is_ready());
    // The others have their quorum.
    house.nodes[0].connect().publish_ok(&note("the others go on"));

    run("ip link set log up");
    house.nodes.iter().for_each(Node::wait_until_ready);
    until("it takes events again", || house.nodes[2].connect().publish(&note("healed")).0);
    house.settle();
    until("it has what it missed", || house.nodes[2].connect().count(&[json!({"kinds": [1]})]) >= 3);
    house.end_all_equal(&["/"]);
}
