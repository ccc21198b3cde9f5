//! Servers that ask who somebody is: a name and a password, and certificates of both sides.

use std::fs;

use crate::common::Person;
use crate::common::authority::Authority;
use crate::house::{House, now, until};

#[test]
fn a_node_shows_its_password_and_its_certificate() {
    let Some(mut house) = House::build(1, 0, "") else { return };
    let authority = Authority::new();
    let folder = house.folder.path().to_owned();
    fs::write(folder.join("ca.pem"), &authority.root).expect("a file");
    for (name, of) in [("server", "127.0.0.1"), ("node", "node-0")] {
        let pair = authority.issue(&[of]);
        fs::write(folder.join(format!("{name}.pem")), pair.certificate).expect("a file");
        fs::write(folder.join(format!("{name}.key")), pair.key).expect("a file");
    }
    let at = |name: &str| folder.join(name).display().to_string();
    house.servers[0].kill();
    house.servers[0].configure(&format!(
        "authorization {{ user: plaza, password: secret }}\n\
         tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n",
        at("server.pem"),
        at("server.key"),
        at("ca.pem"),
    ));
    house.servers[0].start();
    let password = at("password");
    fs::write(&password, "wrong\n").expect("a file");
    let keys = format!(
        "user = \"plaza\"\npassword_file = \"{password}\"\ntls_ca = \"{}\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n",
        at("ca.pem"),
        at("node.pem"),
        at("node.key"),
    );
    // Without them, with a wrong password, and with what is right.
    for (keys, secret, is_right) in [("", "", false), (&*keys, "wrong\n", false), (&*keys, "secret\n", true)]
    {
        fs::write(&password, secret).expect("a file");
        house.prepare_node(keys);
        let node = house.nodes.last_mut().expect("it was added");
        let settings = node.folder.join("relay.toml");
        let text = fs::read_to_string(&settings).expect("a file").replace("nats://", "tls://");
        fs::write(&settings, text).expect("a file");
        node.start();
        match is_right {
            true => node.wait_until_ready(),
            false => until("it says that it is not reached", || {
                node.status()["trouble"] == "the log is out of reach" && !node.is_ready()
            }),
        }
        let (is_taken, why) = node.connect().publish(&Person::new(10).event(1, now(), &[], "hello"));
        assert_eq!(is_taken, is_right, "{why}");
        if !is_right {
            node.kill();
            house.nodes.pop();
            fs::remove_dir_all(settings.parent().expect("a folder")).expect("removed");
        }
    }
    house.end_all_equal(&["/"]);
}
