//! A town with a club and another community, in which all things of the table have happened.

use std::collections::HashMap;

use plaza::config::Config;
use plaza::event::Event;
use plaza::nips::nip77::Set;
use serde_json::{Value, json};

use crate::common::folder::Folder;
use crate::common::http::get;
use crate::common::{Client, NOW, Person, TestRelay, id_of};
use crate::table::{THINGS, Thing, WHO, Who};

/// When everything is looked for: by then something has expired.
const LATER: u64 = NOW + 100;

/// Who wrote things that went with their author.
const OUTCAST: u32 = 20;
const VANISHED: u32 = 21;

/// Who wrote what everybody may see, and how much.
const CROWD: u32 = 22;
const CROWD_EVENTS: u64 = 1_000;

/// See the module.
pub(crate) struct Town {
    pub(crate) relay: TestRelay,
    /// By label.
    events: HashMap<&'static str, Event>,
    /// By who and path, those who were let in: clients that look for things.
    clients: HashMap<(&'static str, &'static str), Client>,
    /// What was streamed to whom: the label and the name.
    streamed: Vec<(&'static str, &'static str)>,
    /// What `plaza export --relay` writes of each community.
    exported: HashMap<&'static str, String>,
}

/// The person who asks; `None` for who does not say.
pub(crate) fn person(who: Who) -> Option<Person> {
    let number = match who {
        Who::Anonymous => return None,
        Who::Stranger => 1,
        Who::Author => 2,
        Who::Recipient => 3,
        Who::Member => 4,
        Who::Moderator => 5,
        Who::Owner => 6,
        Who::Elsewhere => 7,
        Who::GroupAdmin => 8,
        Who::GroupMember => 9,
        Who::FormerMember => 10,
    };
    Some(Person::new(number))
}

fn known(who: Who) -> Person {
    person(who).expect("a person")
}

fn settings() -> String {
    let [owner, member, elsewhere] = [Who::Owner, Who::Member, Who::Elsewhere].map(|who| known(who).hex());
    let others: Vec<String> = [OUTCAST, VANISHED].iter().map(|number| Person::new(*number).hex()).collect();
    format!(
        "[search]\nenabled = true\n[nip17]\nprivate_kinds = [4, 13, 1059, 21059, 30078]\n\
         [nip29]\nenabled = true\ncreate = \"all\"\n[admin]\nowners = [\"{owner}\"]\n\
         [moderation_service]\nurl = \"http://127.0.0.1:9/\"\nsecret_file = \"none\"\npubkey = \"{elsewhere}\"\n\
         kinds = [1112]\nuntil_verdict = \"hold\"\n\
         [[community]]\npath = \"/club\"\n[community.authors]\nmembers = [\"{member}\"]\n\
         [community.access]\nread = \"members\"\n[community.search]\nenabled = true\n\
         [[community]]\npath = \"/elsewhere\"\n[community.authors]\nmembers = [\"{elsewhere}\", \"{}\"]\n\
         [community.access]\nread = \"members\"\nwrite = \"members\"\n",
        others.join("\", \"")
    )
}

/// The event that a thing is.
fn event(thing: &Thing, reported: Option<&Event>) -> Event {
    let author = match thing.label {
        "outcast" => Person::new(OUTCAST),
        "vanished" => Person::new(VANISHED),
        _ => known(Who::Author),
    };
    let recipient = known(Who::Recipient).hex();
    let expiration = (NOW + 50).to_string();
    let label: &[&str] = &["t", thing.label];
    let more: Vec<Vec<&str>> = match (thing.kind, thing.label) {
        (_, "protected") => vec![vec!["-"]],
        (9, _) => vec![vec!["h", "parlour"]],
        (9_010, _) => vec![vec!["h", "cellar"]],
        (9_009, _) => vec![vec!["h", "cellar"], vec!["code", "sesame"]],
        (_, "expired") => vec![vec!["expiration", &expiration]],
        (4 | 1_059 | 21_059, _) => vec![vec!["p", &recipient]],
        (30_078, _) => vec![vec!["p", &recipient], vec!["d", "draft"]],
        _ => Vec::new(),
    };
    let named = reported.map(|event| (event.id.to_string(), event.pubkey.to_string()));
    let mut tags: Vec<&[&str]> = vec![label];
    tags.extend(more.iter().map(Vec::as_slice));
    let (id, key) = named.unwrap_or_default();
    let (e, p): ([&str; 3], [&str; 2]) = (["e", &id, "spam"], ["p", &key]);
    if thing.kind == 1_984 {
        tags.extend([e.as_slice(), p.as_slice()]);
    }
    author.event(thing.kind, NOW, &tags, &format!("the secret of {}", thing.label))
}

impl Town {
    /// Everything has happened.
    pub(crate) fn build() -> Town {
        let parsed = Config::parse(&settings(), "relay.toml".as_ref()).expect("settings");
        let relay = TestRelay::with(|config| {
            (config.root, config.communities, config.written) =
                (parsed.root, parsed.communities, parsed.written);
            config.metrics.listen = Some("127.0.0.1:0".parse().expect("an address"));
        });
        let mut town = Town {
            relay,
            events: HashMap::new(),
            clients: HashMap::new(),
            streamed: Vec::new(),
            exported: HashMap::new(),
        };
        let moderator = known(Who::Moderator).hex();
        town.relay.call_ok(&known(Who::Owner), "assignrole", json!([moderator, "moderator"]));
        town.found_groups();
        town.gather_a_crowd();
        let mut listeners: Vec<(Who, &str, Client)> = Vec::new();
        for path in ["/", "/club"] {
            for who in WHO {
                if let Some(listener) = town.listener(who, path) {
                    listeners.push((who, path, listener));
                }
            }
        }
        // What is reported is private, and there before its report: a report does not make it public.
        let (reports, others): (Vec<&Thing>, Vec<&Thing>) =
            THINGS.iter().partition(|thing| thing.kind == 1_984);
        for thing in others.into_iter().chain(reports) {
            let event = event(thing, town.events.get("message"));
            let mut speaker = town.connect(Some(Who::Author), thing.community);
            let said = speaker.publish(&event);
            assert!(said.0 && said.1.starts_with("held:") == (thing.label == "held"), "{said:?}");
            town.events.insert(thing.label, event);
        }
        for (who, path, mut listener) in listeners {
            town.hear(who, path, &mut listener);
        }
        town.hide();
        town.relay.searches();
        town
    }

    /// There is so much beside all this that what somebody reconciles is kept for others who see the same (NIP-77).
    fn gather_a_crowd(&self) {
        for path in ["/", "/club"] {
            let mut client = self.relay.connect_at(path);
            let note =
                |number: u64| Person::new(CROWD).event(1, NOW - 5_000 - number, &[], &number.to_string());
            let crowd: Vec<Event> = (0..CROWD_EVENTS).map(note).collect();
            for some in crowd.chunks(200) {
                some.iter().for_each(|event| client.submit(event));
                some.iter().for_each(|_| assert_eq!(client.receive()[2], true));
            }
        }
    }

    /// How many reconciliations were about what was kept for them.
    pub(crate) fn shared_sets(&self) -> u64 {
        let text = get(self.relay.relay().metrics_address().expect("numbers"), "/metrics").body;
        let number = |line: &str| line.strip_prefix("plaza_reconciliations_shared_total ")?.parse().ok();
        text.lines().find_map(number).expect("a number")
    }

    /// There is a private group, and a hidden one of which the author is an admin too; somebody was in both.
    fn found_groups(&self) {
        let admin = known(Who::GroupAdmin);
        let [author, member, former] =
            [Who::Author, Who::GroupMember, Who::FormerMember].map(|who| known(who).hex());
        let mut client = self.relay.connect();
        for (group, flag) in [("parlour", "private"), ("cellar", "hidden")] {
            let h: &[&str] = &["h", group];
            client.publish_ok(&admin.event(9_007, NOW, &[h, &[flag]], ""));
            client.publish_ok(&admin.event(9_000, NOW, &[h, &["p", &member], &["p", &former]], ""));
            client.publish_ok(&admin.event(9_001, NOW, &[h, &["p", &former]], ""));
        }
        client.publish_ok(&admin.event(9_000, NOW, &[&["h", "cellar"], &["p", &author, "admin"]], ""));
    }

    /// A connection of somebody to a community.
    pub(crate) fn connect(&self, who: Option<Who>, path: &str) -> Client {
        let mut client = self.relay.connect_at(path);
        if let Some(person) = who.and_then(person) {
            client.authenticate(&person, &self.relay.url_at(path), self.relay.clock.now());
        }
        client
    }

    /// Who listens to all that happens in a community, if they may.
    fn listener(&self, who: Who, path: &str) -> Option<Client> {
        let mut client = self.connect(Some(who), path);
        client.subscribe("all", &[json!({"limit": 0})]);
        let answer = client.receive();
        (answer[0] == "EOSE").then_some(client)
    }

    /// Notes what a listener was streamed, up to an event that comes after all others.
    fn hear(&mut self, who: Who, path: &str, listener: &mut Client) {
        let last = Person::new(1_000).event(20_001, NOW, &[], &format!("{} {path}", who.name()));
        self.relay.connect_at(path).publish_ok(&last);
        loop {
            let message = listener.receive();
            assert_eq!(message[0], "EVENT", "{message}");
            if id_of(&message[2]) == last.id.to_string() {
                return;
            }
            let heard = self.events.iter().find(|(_, event)| event.id.to_string() == id_of(&message[2]));
            self.streamed.extend(heard.map(|(label, _)| (*label, who.name())));
        }
    }

    /// Bans, time and a request to vanish hide what they hide.
    fn hide(&mut self) {
        let owner = known(Who::Owner);
        let banned = self.events["banned"].id.to_string();
        self.relay.call_ok(&owner, "banevent", json!([banned]));
        self.relay.call_ok(&owner, "banpubkey", json!([Person::new(OUTCAST).hex()]));
        let vanish = Person::new(VANISHED).event(62, NOW, &[&["relay", "ALL_RELAYS"]], "");
        self.relay.connect().publish_ok(&vanish);
        self.relay.clock.set(LATER);
    }

    /// The event that a thing is.
    pub(crate) fn event(&self, thing: &Thing) -> &Event {
        &self.events[thing.label]
    }

    /// Whether a thing was streamed to somebody when it was new.
    pub(crate) fn was_streamed(&self, who: Who, thing: &Thing) -> bool {
        self.streamed.contains(&(thing.label, who.name()))
    }

    /// What `plaza export --relay` writes of a community.
    pub(crate) fn exported(&mut self, path: &'static str) -> &str {
        let url = self.relay.url_at(path);
        self.exported.entry(path).or_insert_with(|| Folder::new().run(&["export", "--relay", &url]).data)
    }

    fn client(&mut self, who: Who, path: &'static str) -> &mut Client {
        if !self.clients.contains_key(&(who.name(), path)) {
            let client = self.connect(Some(who), path);
            self.clients.insert((who.name(), path), client);
        }
        self.clients.get_mut(&(who.name(), path)).expect("it was just made")
    }

    /// Whether a REQ finds an event.
    pub(crate) fn finds(&mut self, who: Who, thing: &Thing, filters: &[Value]) -> bool {
        let id = self.event(thing).id.to_string();
        let client = self.client(who, thing.community);
        client.subscribe("find", filters);
        let mut is_found = false;
        loop {
            let message = client.receive();
            match message[0].as_str() {
                Some("EVENT") => is_found |= id_of(&message[2]) == id,
                Some("EOSE") => break,
                Some("CLOSED") => return false,
                _ => panic!("an answer was awaited, not {message}"),
            }
        }
        client.send(&json!(["CLOSE", "find"]));
        is_found
    }

    /// Whether a COUNT counts anything.
    pub(crate) fn counts(&mut self, who: Who, thing: &Thing, filter: &Value) -> bool {
        let client = self.client(who, thing.community);
        client.send(&json!(["COUNT", "count", filter]));
        let answer = client.receive();
        match answer[0].as_str() {
            Some("COUNT") => answer[2]["count"].as_u64() > Some(0),
            Some("CLOSED") => false,
            _ => panic!("an answer was awaited, not {answer}"),
        }
    }

    /// Whether a reconciliation tells of it (NIP-77).
    pub(crate) fn reconciles(&mut self, who: Who, thing: &Thing, filter: &Value) -> bool {
        let (nothing, id) = (Set::default().seal(), self.event(thing).id);
        let first = hex::encode(nothing.initiate().expect("a first message"));
        let client = self.client(who, thing.community);
        client.send(&json!(["NEG-OPEN", "sync", filter, first]));
        let answer = client.receive();
        match answer[0].as_str() {
            Some("NEG-MSG") => {
                client.send(&json!(["NEG-CLOSE", "sync"]));
                let message = hex::decode(answer[2].as_str().expect("hex")).expect("hex");
                nothing.learn(&message).expect("it is understood").only_there.contains(&id)
            }
            Some("NEG-ERR") => false,
            _ => panic!("an answer was awaited, not {answer}"),
        }
    }

    /// What a call of the management API says to somebody, at the thing's community.
    pub(crate) fn told(&self, who: Who, thing: &Thing, method: &str, params: Value) -> String {
        // Who does not say who they are signs with a key that nobody knows.
        let person = person(who).unwrap_or_else(|| Person::new(99));
        self.relay.call_at(thing.community, &person, method, params).1.to_string()
    }
}
