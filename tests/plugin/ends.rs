//! Plugins that are dead, silent, mad, or told to end.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::program::{Program, listening, plaza_with, tool};
use crate::common::{Client, NOW, Person, TestRelay};
use crate::{ACCEPT, PYTHON, SH, Scripts, is_there, relay, settings, table, wait_until, written};

const DEAD: &str = "error: this relay asks a program of its operator's about events, and it does not answer; try again \
                    later (plugins.dead)";

#[test]
fn what_a_dead_plugin_means_is_a_setting() {
    let scripts = Scripts::new();
    let table_of = [
        // What it is, and the plugin.
        ("it ends at once", "#!/bin/sh\nexit 3\n".to_owned()),
        ("it ends when it is asked", "#!/bin/sh\nread -r line\nexit 3\n".to_owned()),
        ("its interpreter is missing", "#!/no/such/program\n".to_owned()),
        ("it never answers", "#!/bin/sh\nexec cat > /dev/null\n".to_owned()),
        ("it closes its output", "#!/bin/sh\nexec >&-\nexec cat\n".to_owned()),
        ("it does not read", "#!/bin/sh\nexec sleep 1000\n".to_owned()),
        ("it heeds no signal", "#!/bin/sh\ntrap '' TERM\nwhile true; do sleep 0.1; done\n".to_owned()),
    ];
    for (what, text) in table_of {
        let path = scripts.write("plugin", &text);
        let quick = "timeout_milliseconds = 150\nwhen_dead = ";
        // A line for the shell, so that what is missing is found out by the shell.
        let refusing = relay(&[table(&format!("exec {path}"), &format!("{quick}\"refuse\""))]);
        let mut client = refusing.connect();
        for number in 0..3 {
            let why = client.publish_refused(&Person::new(1).note(&format!("{what} {number}")));
            assert_eq!(why, DEAD, "{what}");
        }
        assert_eq!(client.count(&[json!({})]), 0, "{what}");
        let accepting = relay(&[table(&format!("exec {path}"), &format!("{quick}\"accept\""))]);
        let mut client = accepting.connect();
        for number in 0..3 {
            client.publish_ok(&Person::new(1).note(&format!("{what} {number}")));
        }
    }
}

#[test]
fn a_plugin_that_ends_is_started_again_and_rests_longer_each_time() {
    let scripts = Scripts::new();
    let starts = scripts.path("starts");
    let text =
        format!("#!/bin/sh\necho $$ >> {}\n{}exit\ndone\n", starts.display(), &SH["#!/bin/sh\n".len()..]);
    let path = scripts.write("mortal", &text.replace("exit", &format!("{ACCEPT}\nexit")));
    let relay = relay(&[table(&path, "in_flight_max = 1")]);
    let mut client = relay.connect();
    let began = Instant::now();
    for number in 0..3 {
        // It answers once; then it is gone, and is away for a while.
        let mut tries = 0;
        while !client.publish(&Person::new(1).note(&format!("{number} {tries}"))).0 {
            tries += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // Half a second, then a whole one.
    assert!(began.elapsed() > Duration::from_millis(1_400), "{:?}", began.elapsed());
    assert!(written(&starts).len() >= 3);
    let pids = written(&starts);
    wait_until("those before the last are gone", || pids[..2].iter().all(|pid| !is_there(pid)));
}

/// One that says nothing for its whole time is started anew, and works from then on.
#[test]
fn a_plugin_that_hangs_is_started_anew() {
    let scripts = Scripts::new();
    let hung = scripts.path("hung");
    let text =
        format!("{SH}if [ ! -e {0} ]; then touch {0}; exec sleep 1000; fi\n{ACCEPT}\ndone\n", hung.display());
    let path = scripts.write("moody", &text);
    let relay = relay(&[table(&path, "timeout_milliseconds = 300")]);
    let mut client = relay.connect();
    assert_eq!(client.publish_refused(&Person::new(1).note("first")), DEAD);
    let mut number = 0;
    while !client.publish(&Person::new(1).note(&format!("then {number}"))).0 {
        number += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
}

const MAD: &str = "
print('starting up...', flush=True)
for request in requests():
    event = request['event']
    print('x' * 200000)
    print('{\"id\":\"' + 'ab' * 32 + '\",\"action\":\"reject\"}')
    print('{\"id\":\"' + event['id'] + '\",\"action\":\"perhaps\"}')
    print('[]\\n\\n{\"id\":7}')
    sys.stdout.flush()
    os.write(1, b'\\xff\\xfe\\x00\\n')
    os.write(2, b'\\x1b[31m' + b'loud ' * 1000 + b'\\n')
    for piece in json.dumps({'id': event['id'], 'action': 'accept'}) + '\\n':
        os.write(1, piece.encode())
    answer(event, 'reject', 'twice')
";

#[test]
fn what_makes_no_sense_is_passed_over_and_counted() {
    if tool("python3").is_none() {
        return;
    }
    let scripts = Scripts::new();
    let path = scripts.write("mad.py", &format!("{PYTHON}{MAD}"));
    let parsed =
        plaza::config::Config::parse(&settings("", &[table(&path, "")]), std::path::Path::new("relay.toml"));
    let root = parsed.expect("settings").root;
    let relay = TestRelay::with(|config| {
        config.root = root;
        config.metrics.listen = Some("127.0.0.1:0".parse().expect("an address"));
    });
    let mut client = relay.connect();
    for number in 0..20 {
        client.publish_ok(&Person::new(1).note(&number.to_string()));
    }
    let numbers =
        crate::common::http::get(relay.relay().metrics_address().expect("an address"), "/metrics").body;
    let line =
        numbers.lines().find(|line| line.starts_with("plaza_plugin_nonsense_total")).expect("a number");
    let count: f64 = line.rsplit_once(' ').expect("a number").1.parse().expect("a number");
    // The greeting, and of each event seven lines before its answer; the one after it may not be read yet.
    assert!((1.0 + 7.0 * 20.0..=1.0 + 8.0 * 20.0).contains(&count), "{count}");
}

/// A stop ends plugins and all that they have started; none is left, not even as a zombie.
#[test]
fn a_stop_ends_plugins_with_all_that_they_started() {
    let scripts = Scripts::new();
    let pids = scripts.path("pids");
    let text = format!(
        "#!/bin/sh\ntrap '' TERM\nsleep 1000 & echo $! >> {0}\necho self $$ >> {0}\n{1}{ACCEPT}\ndone\nwait\n",
        pids.display(),
        &SH["#!/bin/sh\n".len()..]
    );
    let path = scripts.write("parent", &text);
    let mut relay = relay(&[table(&path, ""), table(&path, "kinds = [7]")]);
    relay.connect().publish_ok(&Person::new(1).note("hello"));
    wait_until("both have begun", || written(&pids).len() == 4);
    let lines = written(&pids);
    let pids: Vec<String> = lines.iter().map(|line| line.trim_start_matches("self ").to_owned()).collect();
    assert!(pids.iter().all(|pid| is_there(pid)));
    relay.stop();
    let of_us = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    for pid in &pids {
        // What a plugin has started is a zombie for a moment, until the system's first process has noticed it.
        wait_until("it is gone", || !is_there(pid) || of_us(pid).contains(") Z "));
    }
    let plugins: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("self ")).collect();
    assert_eq!(plugins.len(), 2);
    assert!(plugins.iter().all(|pid| !is_there(pid)), "the plugins themselves are waited for");
}

/// What waits for an answer when the relay stops gets one.
#[test]
fn a_stop_answers_what_plugins_have_not() {
    let scripts = Scripts::new();
    let path = scripts.noting("silent", "");
    let parsed = plaza::config::Config::parse(
        &settings("", &[table(&path, "timeout_milliseconds = 600_000\nin_flight_max = 3")]),
        std::path::Path::new("relay.toml"),
    );
    let root = parsed.expect("settings").root;
    let mut relay = TestRelay::with(|config| {
        config.root = root;
        config.server.shutdown_seconds_max = 2;
    });
    let mut client = relay.connect();
    let events: Vec<_> = (0..5).map(|number| Person::new(1).note(&number.to_string())).collect();
    events.iter().for_each(|event| client.submit(event));
    wait_until("it is asked", || scripts.asked("silent").len() == 3);
    let stopping = std::thread::spawn(move || relay.stop());
    for _ in 0..5 {
        let answer = client.receive();
        assert_eq!(answer[2], false, "{answer}");
        assert_eq!(answer[3], "error: the relay is stopping; try again later (plugins.stopping)");
    }
    stopping.join().expect("it stops");
}

/// A plugin inherits its three streams and a few variables, and neither sockets nor secrets.
#[test]
fn plugins_inherit_neither_sockets_nor_secrets() {
    let scripts = Scripts::new();
    let (seen, environment) = (scripts.path("seen"), scripts.path("environment"));
    let text = format!(
        "{SH}ls -l /proc/$$/fd > {}\nenv > {}\n{ACCEPT}\ndone\n",
        seen.display(),
        environment.display()
    );
    let path = scripts.write("curious", &text);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("relay.toml"), settings("", &[table(&path, "")])).expect("a file");
    let (socket, address) = listening();
    let mut command = plaza_with(&[socket], folder.path(), &["--config", "relay.toml"]);
    command
        .env("PLAZA_SECRET", "hush")
        .env("LANG", "C.UTF-8")
        .env("NOTIFY_SOCKET", folder.path().join("notify"));
    let mut program = Program::start(command);
    program.says("listening on ");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let mut client = Client::connect(&format!("ws://{address}"));
    client.publish_ok(&Person::new(1).event(1, now.max(NOW), &[], "hello"));
    let open = written(&seen);
    assert!(open.len() >= 4, "{open:?}");
    let foreign = ["socket:", "anon_inode", "/data", "control.sock"];
    assert!(!open.iter().any(|line| foreign.iter().any(|what| line.contains(what))), "{open:#?}");
    let names: Vec<String> =
        written(&environment).iter().map(|line| line.split('=').next().unwrap_or("").to_owned()).collect();
    assert!(names.iter().any(|name| name == "LANG") && names.iter().any(|name| name == "PATH"), "{names:?}");
    let secret = ["PLAZA_SECRET", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"];
    assert!(!names.iter().any(|name| secret.contains(&name.as_str())), "{names:?}");
    program.stop();
}

/// Descriptors and threads are given back however often a plugin ends.
#[test]
fn a_plugin_that_ends_again_and_again_leaves_nothing_behind() {
    let scripts = Scripts::new();
    let path = scripts.noting("once", ACCEPT);
    let relay = relay(&[table(&path, "")]);
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).expect("a folder").count();
    let mut client = relay.connect();
    client.publish_ok(&Person::new(1).note("first"));
    let before = count("fd");
    for number in 0..12 {
        // Its file changes, so that another one takes its place.
        scripts.noting("once", &format!("# {number}\n{ACCEPT}"));
        client.publish_ok(&Person::new(1).note(&number.to_string()));
        client.publish_ok(&Person::new(1).note(&format!("and {number}")));
    }
    // Other tests of this program open and close theirs at the same time.
    wait_until("no more are open than before, about", || count("fd") < before + 30);
}
