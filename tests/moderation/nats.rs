//! Services at a NATS server: away and back, too much for one message, who is let in, mistakes in settings, and the one
//! that docs/moderation.md shows, run as it stands there.

use std::fs;
use std::path::Path;
use std::process::Command;

use async_nats::ConnectOptions;
use plaza::config::Config;
use serde_json::json;

use crate::common::authority::Authority;
use crate::common::folder::{Folder, Serving};
use crate::common::nats::Server;
use crate::common::program::{Program, tool};
use crate::common::{Client, Person};
use crate::server::{Service, Way};
use crate::{SECRET, number, relay, service_key, settings, wait_until};

/// A NATS server and who keeps it; `None` where there is none.
fn server(settings: &str) -> Option<(Box<Server>, tempfile::TempDir)> {
    match Way::nats(settings)? {
        Way::Nats(server, folder) => Some((server, folder)),
        Way::Http => None,
    }
}

fn take_all(server: &Server) -> Service {
    Service::start_nats(ConnectOptions::new(), &server.url(), |_| (200, String::new()))
}

#[test]
fn what_came_while_the_service_or_the_server_was_away_is_sent_later() {
    let Some((mut server, _folder)) = server("") else { return };
    let service = take_all(&server);
    let relay = relay(&service, "");
    let (mut client, ann) = (relay.connect(), Person::new(1));
    let notes = ["first", "nobody listens", "no server", "last"].map(|text| ann.note(text));
    let failures = || number(&relay, "plaza_moderation_failures_total");
    let mut publish = |at: usize| client.publish_ok(&notes[at]);
    publish(0);
    service.wait_for(1);
    // Its answer has come too.
    wait_until("nothing waits", || number(&relay, "plaza_moderation_backlog") == 0.0);
    drop(service);
    publish(1);
    wait_until("nobody takes it", || failures() >= 1.0);
    assert_eq!(number(&relay, "plaza_moderation_backlog"), 1.0);
    let service = take_all(&server);
    service.wait_for(1);
    wait_until("nothing waits", || number(&relay, "plaza_moderation_backlog") == 0.0);
    let before = failures();
    server.kill();
    publish(2);
    wait_until("it cannot be sent", || failures() > before);
    server.start();
    // The service finds its way back by itself.
    service.wait_for(2);
    publish(3);
    service.wait_for(3);
    assert_eq!(service.ids(), notes[1..].iter().map(|note| note.id.to_string()).collect::<Vec<_>>());
    assert!(service.asked().iter().all(|asked| asked.is_signed));
}

/// A batch that is too large for the server goes in parts, and one event that is too large is passed over.
#[test]
fn batches_are_as_large_as_the_server_takes() {
    const PAYLOAD_MAX: usize = 4_096;
    let Some((server, _folder)) = server(&format!("max_payload: {PAYLOAD_MAX}\n")) else { return };
    let service = Service::start_nats(ConnectOptions::new(), &server.url(), |_| (500, "not yet".to_owned()));
    let relay = relay(&service, "");
    let (mut client, ann) = (relay.connect(), Person::new(1));
    let long = "x".repeat(PAYLOAD_MAX);
    let texts = (0..20).map(|number| match number {
        7 => long.clone(),
        _ => format!("{number} {}", "y".repeat(700)),
    });
    let notes: Vec<_> = texts.map(|text| ann.note(&text)).collect();
    notes.iter().for_each(|note| client.publish_ok(note));
    let taken_from = {
        service.answer(|_| (200, String::new()));
        wait_until("nothing waits", || number(&relay, "plaza_moderation_backlog") == 0.0);
        service.asked()
    };
    assert!(number(&relay, "plaza_moderation_passed_over_total") >= 1.0);
    assert!(taken_from.iter().all(|asked| asked.is_signed && asked.body.to_string().len() <= PAYLOAD_MAX));
    assert!(taken_from.iter().any(|asked| asked.ids().len() > 1), "more than one at once");
    let mut ids = service.ids();
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    let wanted = notes.iter().enumerate().filter(|(at, _)| *at != 7);
    assert_eq!(ids, wanted.map(|(_, note)| note.id.to_string()).collect::<Vec<_>>());
}

/// The program itself, with a name, a password and certificates of both sides; and what it says without them.
#[test]
fn a_server_is_shown_a_password_and_a_certificate() {
    let Some((mut server, folder)) = server("") else { return };
    let authority = Authority::new();
    fs::write(folder.path().join("ca.pem"), &authority.root).expect("a file");
    for (name, of) in [("server", "127.0.0.1"), ("plaza", "plaza")] {
        let pair = authority.issue(&[of]);
        fs::write(folder.path().join(format!("{name}.pem")), pair.certificate).expect("a file");
        fs::write(folder.path().join(format!("{name}.key")), pair.key).expect("a file");
    }
    let at = |name: &str| folder.path().join(name).display().to_string();
    server.kill();
    server.configure(&format!(
        "authorization {{ users: [{{ user: plaza, password: secret }}, {{ user: mute, password: secret, \
         permissions: {{ publish: [\"elsewhere\"] }} }}] }}\n\
         tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n",
        at("server.pem"),
        at("server.key"),
        at("ca.pem"),
    ));
    server.start();
    let options = ConnectOptions::new()
        .user_and_password("plaza".to_owned(), "secret".to_owned())
        .add_root_certificates(at("ca.pem").into())
        .add_client_certificate(at("plaza.pem").into(), at("plaza.key").into());
    let url = server.url().replace("nats:", "tls:");
    let service = Service::start_nats(options, &url, |_| (200, String::new()));
    let certificates = format!(
        "tls_ca = \"{}\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n",
        at("ca.pem"),
        at("plaza.pem"),
        at("plaza.key")
    );
    let table = [
        (String::new(), "", Some("the moderation service is not reached: ")),
        (format!("user = \"plaza\"\n{certificates}"), "wrong", Some("authorization violation")),
        (format!("user = \"mute\"\n{certificates}"), "secret", Some("Permissions Violation for Publish")),
        (format!("user = \"plaza\"\n{certificates}"), "secret", None),
    ];
    for (keys, password, trouble) in table {
        let own = Folder::new();
        own.write("secret", SECRET);
        own.write("password", format!("{password}\n"));
        let file = if keys.is_empty() { "" } else { "password_file = \"password\"\n" };
        own.write("relay.toml", settings(&service, &format!("timeout_milliseconds = 500\n{file}{keys}")));
        let mut relay = Serving::start(own.command(&["--listen", "127.0.0.1:0"]));
        let note = Person::new(1).note(password);
        Client::connect(&relay.url).publish_ok(&note);
        match trouble {
            Some(trouble) => relay.says_somewhere(trouble),
            None => {
                service.wait_for(1);
                assert!(service.asked()[0].is_signed);
                assert_eq!(service.ids(), [note.id.to_string()]);
            }
        }
    }
}

#[test]
fn mistakes_in_settings_of_nats_are_told() {
    let table = [
        ("url = \"nats://\"", "url: must be the address of a NATS server and no more"),
        ("url = \"nats://me:secret@x\"", "moderation_service.user and moderation_service.password_file"),
        ("url = \"tls://x/events\"", "url: must be the address of a NATS server and no more"),
        ("url = \"nats://x\"", "subject: is needed where the url is of a NATS server"),
        ("url = \"nats://x\"\nsubject = \"a.*\"", "subject: must be one subject, without * and >"),
        ("url = \"nats://x\"\nsubject = \"a.>\"", "subject: must be one subject, without * and >"),
        ("url = \"nats://x\"\nsubject = \"a..b\"", "subject: must be words between dots"),
        ("url = \"nats://x\"\nsubject = \"a b\"", "subject: must be words between dots"),
        ("url = \"nats://x\"\nsubject = \"\"", "subject: must be words between dots"),
        ("url = \"nats://x\"\nsubject = \"$SYS.a\"", "subject: must be words between dots"),
        (
            "url = \"nats://x\"\nsubject = \"a\"\nuser = \"me\"",
            "user: and moderation_service.password_file go",
        ),
        (
            "url = \"nats://x\"\nsubject = \"a\"\ntls_key = \"k\"",
            "tls_certificate: and moderation_service.tls_key",
        ),
        ("url = \"nats://x\"\nsubject = \"a\"", "secret_file: is needed where there is a url"),
        ("url = \"https://x/\"\nsubject = \"a\"", "subject: is for a service that is reached by NATS"),
        ("url = \"https://x/\"\ntls_ca = \"a.pem\"", "tls_ca: is for a service that is reached by NATS"),
    ];
    for (text, wanted) in table {
        let text = format!("[moderation_service]\n{text}\n");
        let error = Config::parse(&text, Path::new("relay.toml")).expect_err(&text).to_string();
        assert!(error.contains("relay.toml") && error.contains(wanted), "{text}: {error}");
    }
    // A file that is not there.
    let folder = Folder::new();
    folder.write("secret", SECRET);
    folder.write(
        "relay.toml",
        format!(
            "[moderation_service]\nurl = \"nats://x\"\nsubject = \"a\"\nsecret_file = \"secret\"\npubkey = \"{}\"\n\
             tls_ca = \"none.pem\"\n",
            service_key().hex()
        ),
    );
    let error = Config::load(&folder.path("relay.toml")).expect_err("no file").to_string();
    assert!(error.contains("none.pem") && error.contains("moderation_service.tls_ca names it"), "{error}");
}

/// The Python of the page does what the page says.
#[test]
fn the_service_of_the_page_works() {
    let Some(python) = tool("python3") else { return };
    let Some((server, folder)) = server("") else { return };
    let page = include_str!("../../docs/moderation.md");
    let blocks: Vec<&str> =
        page.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let program = format!("{}\n", blocks.concat()).replace("4222", &server.port.to_string());
    fs::write(folder.path().join("service.py"), program).expect("a file");
    fs::write(folder.path().join("moderation.secret"), SECRET).expect("a file");
    let mut command = Command::new(python);
    command.arg("service.py").current_dir(folder.path());
    let running = Program::start(command);
    let own = Folder::new();
    own.write("secret", SECRET);
    let text = settings(&Service::nowhere(&server.url()), "");
    own.write("relay.toml", text);
    let relay = Serving::start(own.command(&["--listen", "127.0.0.1:0"]));
    let (good, bad) = (Person::new(1).note("good morning"), Person::new(1).note("a casino for you"));
    let mut client = Client::connect(&relay.url);
    client.publish_ok(&good);
    client.publish_ok(&bad);
    wait_until("what is bad is gone", || client.ids(json!({"kinds": [1]})) == [good.id.to_string()]);
    drop(running);
}
