//! A real Chromium, driven through chromedriver by WebDriver: one window with a profile of its own, which goes with the
//! test. Speaks the few commands that the scenes need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::program::tool;

/// How long a page may take to do what it must.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the browser may take to start on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// Starts of chromedriver before a test gives up.
const STARTS_MAX: usize = 5;

/// Pauses between two looks at a page.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The key by which WebDriver names elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that have no letter, as WebDriver writes them.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const DOWN: &str = "\u{e015}";

/// A browser window.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

/// The head and the whole body of an answer.
fn exchange(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(START_PATIENCE))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}Content-Type: application/json\r\n\r\n{body}").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut answer: Value = serde_json::from_slice(&body).expect("chromedriver speaks JSON");
    Ok(answer["value"].take())
}

/// Starts chromedriver: its process and its port; `None` when it ended without one.
fn driver_at(program: &Path, home: &Path) -> Option<(Child, u16)> {
    let mut driver = Command::new(program)
        .arg("--port=0")
        .env("HOME", home)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver runs");
    let words = BufReader::new(driver.stdout.take().expect("its standard output"));
    let port = words.lines().map_while(Result::ok).find_map(|line| {
        let port = line.split_once("started successfully on port ")?.1;
        port.trim_end_matches('.').parse().ok()
    });
    if port.is_none() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, port?))
}

impl Browser {
    /// Starts a browser with a window of this size; `None`, and a word on it, where there is none on this machine.
    pub(crate) fn start(width: u32, height: u32) -> Option<Browser> {
        let (driver, chromium) = (tool("chromedriver")?, tool("chromium")?);
        let profile = tempfile::tempdir().expect("a folder");
        // It chooses a port and then takes it: with several at once another may have been quicker.
        let (driver, port) =
            (0..STARTS_MAX).find_map(|_| driver_at(&driver, profile.path())).expect("it starts");
        let mut browser = Browser { driver, port, session: String::new(), _profile: profile };
        let profile = browser._profile.path().join("profile").display().to_string();
        let mut arguments: Vec<String> = [
            "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking",
            "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars",
        ]
        .iter()
        .flat_map(|line| line.split(' ').map(str::to_owned))
        .collect();
        // Nothing but this machine is reached, whatever a page asks for.
        arguments.push("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned());
        arguments.extend([format!("--user-data-dir={profile}"), format!("--window-size={width},{height}")]);
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = browser.send("POST", "/session", &capabilities);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser.window(width, height);
        Some(browser)
    }

    /// Sends a command; the answer, or the answer that says what went wrong.
    fn try_send(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let text = if method == "POST" { body.to_string() } else { String::new() };
        let answer = exchange(self.port, method, path, &text).expect("chromedriver answers");
        if answer.get("error").is_some() { Err(answer) } else { Ok(answer) }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_send(method, path, body).unwrap_or_else(|wrong| panic!("{method} {path} {body}: {wrong}"))
    }

    fn command(&self, path: &str, body: Value) -> Value {
        self.send("POST", &format!("/session/{}/{path}", self.session), &body)
    }

    /// A command of the browser's own protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({"cmd": command, "params": parameters}))
    }

    /// Makes the window as wide and high as a screen, also narrower than windows can be.
    pub(crate) fn window(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        self.devtools("Emulation.setTouchEmulationEnabled", json!({"enabled": width < 600}));
    }

    /// Has the page be light or dark, and still, as the system would.
    pub(crate) fn scheme(&self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("url", json!({"url": url}));
    }

    /// Runs a script in the page; what it returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.script_with(script, json!([]))
    }

    /// The same with arguments.
    pub(crate) fn script_with(&self, script: &str, arguments: Value) -> Value {
        self.command("execute/sync", json!({"script": script, "args": arguments}))
    }

    /// Looks until an expression is true; what it is then.
    pub(crate) fn wait(&self, expression: &str) -> Value {
        self.until(expression, || {
            let value = self.script(&format!("return {expression}"));
            (!matches!(value, Value::Null | Value::Bool(false)) && value != json!("")).then_some(value)
        })
    }

    /// Looks until there is something.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            if began.elapsed() > PATIENCE {
                let text = self.script("return document.body.innerText");
                panic!("{what} is not to be; the page says: {}", text.as_str().unwrap_or(""));
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Waits until the page shows a text.
    pub(crate) fn sees(&self, text: &str) {
        self.wait(&format!("document.body.innerText.includes({})", json!(text)));
    }

    /// Whether the page shows a text at this moment.
    pub(crate) fn shows(&self, text: &str) -> bool {
        self.script(&format!("return document.body.innerText.includes({})", json!(text))) == json!(true)
    }

    fn element(&self, css: &str) -> String {
        self.wait(&format!("document.querySelector({})", json!(css)));
        let found = self.command("element", json!({"using": "css selector", "value": css}));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Does something with what is found; once more where the page has put something else in its place just then.
    fn act(&self, action: &str, body: &Value, find: impl Fn() -> String) {
        self.until("what is found stays", || {
            let path = format!("/session/{}/element/{}/{action}", self.session, find());
            match self.try_send("POST", &path, body) {
                Err(wrong) if wrong["error"] == "stale element reference" => None,
                Err(wrong) => panic!("{path}: {wrong}"),
                Ok(_) => Some(()),
            }
        });
    }

    /// Clicks what a selector finds.
    pub(crate) fn click(&self, css: &str) {
        self.act("click", &json!({}), || self.element(css));
    }

    /// Clicks the button or link that says this.
    pub(crate) fn press(&self, words: &str) {
        let found = format!(
            "[...document.querySelectorAll('button, a, summary')].find((one) => one.checkVisibility() && \
             (one.innerText.trim() === {0} || one.getAttribute('aria-label') === {0}))",
            json!(words)
        );
        self.act("click", &json!({}), || {
            self.until(&format!("a button that says {words}"), || {
                let element = self.script(&format!("return {found}"));
                element[ELEMENT].as_str().map(str::to_owned)
            })
        });
    }

    /// Types into the field with this label, after what is there.
    pub(crate) fn fill(&self, label: &str, text: &str) {
        let found = format!(
            "[...document.querySelectorAll('label')].find((one) => one.checkVisibility() && \
             one.innerText === {}).control",
            json!(label)
        );
        self.act("value", &json!({"text": text}), || {
            let element = self.script(&format!("return {found}"));
            element[ELEMENT].as_str().expect("a field").to_owned()
        });
    }

    /// Presses keys one after another, wherever the focus is.
    pub(crate) fn keys(&self, keys: &str) {
        let strokes = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})));
        let actions = json!([{"type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>()}]);
        self.command("actions", json!({"actions": actions}));
    }

    /// Messages of the console since the last look, worst included.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", json!({"type": "browser"}));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }

    /// Addresses of all requests since the last look, as the network saw them; not those of the browser's own pages.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.command("se/log", json!({"type": "performance"}));
        let entries = entries.as_array().cloned().unwrap_or_default();
        let messages = entries.iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        });
        let own = ["chrome:", "chrome-untrusted:", "data:", "blob:"];
        let is_own = |url: &String| own.iter().any(|scheme| url.starts_with(scheme));
        messages.filter(|url| !is_own(url)).collect()
    }

    /// Keeps a picture of the window as a PNG.
    pub(crate) fn picture(&self, file: &Path) {
        let picture = self.send("GET", &format!("/session/{}/screenshot", self.session), &Value::Null);
        let picture = BASE64.decode(picture.as_str().expect("a picture").as_bytes()).expect("base64");
        std::fs::write(file, picture).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, chromedriver by hand.
        if !self.session.is_empty() {
            let _ = exchange(self.port, "DELETE", &format!("/session/{}", self.session), "");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
