//! NATS servers and nodes of the test's own, each in a folder, and what is asked of them.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::http::{ask, authorization, token_tags, try_ask};
use crate::common::nats::Server;
use crate::common::program::{Program, free_port, tool};
use crate::common::{Client, Person};

/// How long something may take to come about, on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Groups and members, and the key that all nodes have.
pub(crate) const SPOKEN: &str = "[relay]\nsecret_key_file = \"relay.key\"\n[nip29]\nenabled = true\ncreate = \"all\"\n\
                                 [nip43]\nenabled = true\n";

/// The relay's own key, where nodes need one.
pub(crate) const RELAY_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Who manages all communities.
pub(crate) fn owner() -> Person {
    Person::new(1)
}

/// The program that is tested: that of this build, or the one that `PLAZA_PROGRAM` names.
pub(crate) fn tested() -> PathBuf {
    std::env::var_os("PLAZA_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_plaza").into(), PathBuf::from)
}

/// One node of the relay.
pub(crate) struct Node {
    pub(crate) name: String,
    /// What it runs.
    pub(crate) build: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) program: Option<Program>,
    pub(crate) address: SocketAddr,
    /// The process whose network it is in, if that is not the test's.
    pub(crate) within: Option<u32>,
}

impl Node {
    /// Starts it; it serves when this returns, and may yet be about to reach the log.
    pub(crate) fn start(&mut self) {
        let listen = self.address.to_string();
        let mut command = self.command(&["run", "--listen", &listen]);
        if let Some(pid) = self.within {
            let mut within = Command::new("nsenter");
            within.args(["-t", &pid.to_string(), "-n"]).arg(command.get_program()).args(command.get_args());
            within.current_dir(&self.folder);
            command = within;
        }
        let program = Program::start(command);
        self.address = program.says("listening on ws://").parse().expect("an address");
        self.program = Some(program);
    }

    /// A command of its program in its folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.build);
        command.args(arguments).current_dir(&self.folder).env_clear();
        command
    }

    pub(crate) fn program(&self) -> &Program {
        self.program.as_ref().expect("it runs")
    }

    pub(crate) fn kill(&mut self) {
        drop(self.program.take());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.stop();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.url())
    }

    /// As somebody who has proved a key.
    pub(crate) fn connect_as(&self, person: &Person) -> Client {
        let mut client = self.connect();
        client.authenticate(person, &self.url(), now());
        client
    }

    pub(crate) fn connect_at(&self, path: &str) -> Client {
        Client::connect(&format!("{}{path}", self.url()))
    }

    pub(crate) fn is_ready(&self) -> bool {
        // A node that opens another store is away for a moment.
        try_ask(self.address, "GET", "/ready", &[], "").is_ok_and(|answer| answer.status == 200)
    }

    pub(crate) fn wait_until_ready(&self) {
        until(&format!("{} is ready", self.name), || self.is_ready());
    }

    /// `plaza cluster status --json`.
    pub(crate) fn status(&self) -> Value {
        let output = self.command(&["cluster", "status", "--json"]).output().expect("it runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Runs the program beside it to its end; what it wrote, and what it said.
    pub(crate) fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.command(arguments).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// All that its store holds of a community; it must not run.
    pub(crate) fn export(&self, community: &str) -> Vec<String> {
        let (is_done, lines, words) = self.run(&["export", "--community", community]);
        assert!(is_done, "{words}");
        let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    /// Calls a method of the management API that must be carried out.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Value {
        call(self.address, method, params)
    }
}

/// Calls a method of the management API at a node's address; why it was not carried out.
pub(crate) fn try_call(address: SocketAddr, method: &str, params: &Value) -> Result<Value, String> {
    let body = json!({"method": method, "params": params}).to_string();
    let tags = token_tags(&format!("http://{address}"), "POST", &body);
    let token = authorization(&owner(), 27_235, now(), &tags);
    let headers = [("Content-Type", "application/nostr+json+rpc"), ("Authorization", token.as_str())];
    let answer = ask(address, "POST", "/", &headers, &body);
    let mut said = answer.json();
    if answer.status != 200 || said.get("error").is_some() {
        return Err(format!("{method}: {} {said}", answer.status));
    }
    Ok(said["result"].take())
}

/// Calls a method of the management API that must be carried out.
pub(crate) fn call(address: SocketAddr, method: &str, params: &Value) -> Value {
    try_call(address, method, params).unwrap_or_else(|why| panic!("{why}"))
}

/// Servers and nodes.
pub(crate) struct House {
    pub(crate) servers: Vec<Server>,
    pub(crate) nodes: Vec<Node>,
    settings: String,
    pub(crate) folder: TempDir,
}

impl House {
    /// So many servers, and so many nodes with these settings beside `[cluster]`. `None` when there is no nats-server.
    pub(crate) fn build(servers: usize, nodes: usize, settings: &str) -> Option<House> {
        House::build_on("127.0.0.1", servers, nodes, settings)
    }

    /// The same with servers at an address of this machine.
    pub(crate) fn build_on(host: &str, servers: usize, nodes: usize, settings: &str) -> Option<House> {
        tool("nats-server")?;
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<[u16; 2]> = (0..servers).map(|_| [free_port(), free_port()]).collect();
        let mut house =
            House { servers: Vec::new(), nodes: Vec::new(), settings: settings.to_owned(), folder };
        for (at, [client, route]) in ports.iter().enumerate() {
            let own = house.folder.path().join(format!("nats-{at}"));
            let routes: Vec<String> =
                ports.iter().map(|[_, route]| format!("nats://{host}:{route}")).collect();
            let cluster = match servers {
                1 => String::new(),
                _ => format!(
                    "cluster {{ name: test, listen: \"{host}:{route}\", routes: [{}] }}\n",
                    routes.join(", ")
                ),
            };
            let config = format!(
                "server_name: nats-{at}\njetstream {{ store_dir: \"js\", max_mem: 64MB, max_file: 1GB }}\n{cluster}"
            );
            house.servers.push(Server::new(own, host, *client, &config));
        }
        house.servers.iter_mut().for_each(Server::start);
        (0..nodes).for_each(|_| house.add_node(""));
        house.nodes.iter().for_each(Node::wait_until_ready);
        Some(house)
    }

    /// Adds a node that has nothing yet, with settings of its own within `[cluster]`, and starts it.
    pub(crate) fn add_node(&mut self, more: &str) {
        self.prepare_node(more);
        self.nodes.last_mut().expect("it was added").start();
    }

    /// The same without starting it.
    pub(crate) fn prepare_node(&mut self, more: &str) {
        let name = format!("node-{}", self.nodes.len());
        let folder = self.folder.path().join(&name);
        fs::create_dir(&folder).expect("a folder");
        write_settings(&folder, &name, &self.servers, &self.settings, more);
        fs::write(folder.join("relay.key"), RELAY_KEY).expect("a file");
        // Its port stays its own, so that clients and balancers find it again.
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        self.nodes.push(Node { name, build: tested(), folder, program: None, address, within: None });
    }

    /// The settings of nodes that are added from now on, beside `[cluster]`.
    pub(crate) fn settings_of_nodes(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
    }

    /// Waits until every node has stored all that was in the log when this was called.
    pub(crate) fn settle(&self) {
        let most = self.nodes.iter().filter(|node| node.program.is_some());
        let most = most.map(|node| node.status()["last"].as_u64().expect("a number")).max().expect("a node");
        for node in self.nodes.iter().filter(|node| node.program.is_some()) {
            until(&format!("{} is at {most}", node.name), || {
                node.status()["position"].as_u64().is_some_and(|at| at >= most)
            });
        }
    }

    /// Stops all nodes in order and compares their whole stores.
    pub(crate) fn end_all_equal(mut self, communities: &[&str]) -> Vec<String> {
        self.settle();
        for method in ["listauditlog", "listbannedpubkeys", "listgroups", "listmembers"] {
            let said = |node: &Node| try_call(node.address, method, &json!([]));
            let all: Vec<_> = self.nodes.iter().map(said).collect();
            assert!(all.iter().all(|said| *said == all[0]), "{method}: {all:#?}");
        }
        self.nodes.iter_mut().for_each(Node::stop);
        let mut root = Vec::new();
        for community in communities {
            let first = self.nodes[0].export(community);
            let of_first: HashSet<&String> = first.iter().collect();
            for node in &self.nodes[1..] {
                let other = node.export(community);
                let of_other: HashSet<&String> = other.iter().collect();
                let lacks: Vec<_> = of_first.difference(&of_other).collect();
                let more: Vec<_> = of_other.difference(&of_first).collect();
                assert!(
                    lacks.is_empty() && more.is_empty() && first.len() == other.len(),
                    "{}: lacks {lacks:#?}, has {more:#?}",
                    node.name
                );
            }
            if *community == "/" {
                root = first;
            }
        }
        root
    }
}

/// The settings of a node.
pub(crate) fn write_settings(folder: &Path, name: &str, servers: &[Server], settings: &str, more: &str) {
    let addresses: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.url())).collect();
    let text = format!(
        "[rate]\nenabled = false\n[log]\nlevel = \"info\"\n[server]\nshutdown_seconds_max = 5\n[admin]\nowners = [\"{}\"]\n\
         [store]\ncache_bytes = 16_777_216\n[cluster]\nservers = [{}]\nnode = \"{name}\"\nreplicas = {}\n\
         log_bytes_max = 100_000_000\n{more}\n{settings}\n",
        owner().hex(),
        addresses.join(", "),
        if servers.len() >= 3 { 3 } else { 1 },
    );
    fs::write(folder.join("relay.toml"), text).expect("a file");
}

/// The next event that a subscription hears.
pub(crate) fn heard(client: &mut Client, subscription: &str) -> String {
    let message = client.receive();
    assert_eq!((&message[0], &message[1]), (&json!("EVENT"), &json!(subscription)), "{message}");
    message[2]["id"].as_str().expect("an id").to_owned()
}

/// Has the servers forget all entries up to one.
pub(crate) fn purge(house: &House, up_to: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = house.servers[0].url();
    runtime.block_on(async {
        let client = async_nats::connect(address).await.expect("connected");
        let stream = async_nats::jetstream::new(client).get_stream("plaza-log").await.expect("the log");
        stream.purge().sequence(up_to + 1).await.expect("purged");
    });
}
