//! Keeps the house in order: what each NIP has to have, how source files begin, how long they and their
//! functions are, and who alone may do what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use plaza::nips::SUPPORTED;

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;

/// A file below the project's folder.
struct Source {
    /// From the project's folder, with slashes.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a text");
                let path =
                    path.strip_prefix(root()).expect("a path below").to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Numbers of the NIPs that have a file in a folder, named `prefixNN` with this ending.
fn numbered(folder: &str, prefix: &str, ending: &str) -> BTreeSet<u16> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let numbers = names.filter_map(|name| {
        let number = name.strip_prefix(prefix)?.strip_suffix(ending)?.to_owned();
        Some(number)
    });
    numbers
        .filter_map(|number| {
            let parsed = number.parse::<u16>().ok();
            assert!(
                parsed.is_none_or(|parsed| format!("{parsed:02}") == number),
                "{folder}/{prefix}{number}{ending}: numbers have two digits"
            );
            parsed
        })
        .collect()
}

/// The functions of a text that rustfmt has formatted: line, name, and how many lines each has.
fn functions(text: &str) -> Vec<(usize, &str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "fn "];
        let mut rest = code;
        while let Some(word) = words.iter().find(|word| rest.starts_with(**word)) {
            rest = &rest[word.len()..];
            if *word == "fn " {
                let name = rest.split(['(', '<']).next().unwrap_or(rest);
                let close = format!("{indent}}}");
                // One that ends in its first line, or has no body, is short enough.
                let is_short = code.ends_with('}') || code.ends_with(';');
                let end = lines[at..].iter().position(|line| *line == close).unwrap_or(0);
                found.push((at + 1, name, if is_short { 1 } else { end + 1 }));
                break;
            }
        }
    }
    found
}

#[test]
fn every_supported_nip_has_its_page_and_its_tests_and_no_other_has() {
    let supported: BTreeSet<u16> = SUPPORTED.iter().copied().collect();
    assert_eq!(supported.len(), SUPPORTED.len(), "SUPPORTED names each NIP once");
    assert!(SUPPORTED.is_sorted(), "SUPPORTED is in order");
    assert_eq!(numbered("nips", "", ".md"), supported, "pages in nips/");
    assert_eq!(numbered("tests/nips", "nip", ".rs"), supported, "tests in tests/nips/");
    let main = fs::read_to_string(root().join("tests/nips/main.rs")).expect("the tests' list");
    for nip in SUPPORTED {
        assert!(main.contains(&format!("\nmod nip{nip:02};\n")), "tests/nips/main.rs runs nip{nip:02}");
    }
}

#[test]
fn each_table_of_state_has_a_number_of_its_own() {
    let mut names = BTreeMap::new();
    let is_test = |source: &Source| source.path.ends_with("tests.rs");
    for Source { path, text } in sources("src").into_iter().filter(|source| !is_test(source)) {
        for line in text.lines() {
            let Some((name, number)) = line.split_once(": StateTable = StateTable(") else { continue };
            let number = number.split(')').next().and_then(|number| number.parse::<u8>().ok());
            let name = format!("{path}: {}", name.trim());
            let other = names.insert(number.unwrap_or_else(|| panic!("{name}")), name.clone());
            assert_eq!(other, None, "{name} has the same number");
        }
    }
    assert!(names.len() > 10, "{names:?}");
}

#[test]
fn every_nips_rules_have_their_page() {
    let rules = numbered("src/nips", "nip", ".rs");
    let pages = numbered("nips", "", ".md");
    assert!(rules.is_subset(&pages), "src/nips has {rules:?}, nips/ has {pages:?}");
}

#[test]
fn pages_are_short_and_name_the_files_that_they_speak_of() {
    for nip in SUPPORTED {
        let page = fs::read_to_string(root().join(format!("nips/{nip:02}.md"))).expect("a page");
        let lines = page.lines().count();
        assert!((10..=80).contains(&lines), "nips/{nip:02}.md has {lines} lines");
        assert!(page.contains(&format!("tests/nips/nip{nip:02}.rs")), "nips/{nip:02}.md names its tests");
        for quoted in page.split('`').skip(1).step_by(2) {
            let is_file =
                (quoted.starts_with("src/") || quoted.starts_with("tests/") || quoted.starts_with("nips/"))
                    && !quoted.contains(' ');
            assert!(
                !is_file || root().join(quoted).exists(),
                "nips/{nip:02}.md names {quoted}, which is not there"
            );
        }
    }
}

#[test]
fn rule_ids_of_pages_are_those_of_the_code() {
    let code: String = sources("src").into_iter().map(|source| source.text).collect();
    for nip in SUPPORTED {
        let page = fs::read_to_string(root().join(format!("nips/{nip:02}.md"))).expect("a page");
        for quoted in page.split('`').skip(1).step_by(2) {
            let is_rule = ["nip", "limits."].iter().any(|start| quoted.starts_with(start))
                && quoted.contains('.')
                && !quoted.contains(['/', ' ', ':', '(']);
            assert!(
                !is_rule || code.contains(&format!("\"{quoted}\"")),
                "nips/{nip:02}.md names the rule {quoted}, which no source has"
            );
        }
    }
}

/// All pages of `nips/`: those of NIPs and those of rules that no NIP has.
fn pages() -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join("nips")).expect("a folder");
    let pages = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("a page"))
    });
    pages.collect()
}

#[test]
fn every_rule_has_its_page_and_its_settings_are_settings() {
    let pages = pages();
    let sections = plaza::config::Config::default().sections();
    let mut seen = BTreeSet::new();
    for rule in plaza::policy::rules() {
        assert!(seen.insert(rule.id), "{} stands twice in the tables", rule.id);
        let quoted = format!("`{}`", rule.id);
        assert!(pages.iter().any(|(_, page)| page.contains(&quoted)), "no page of nips/ names {quoted}");
        for key in rule.settings {
            let (section, name) = key.split_once('.').expect("section.key");
            let known = sections.get(section).is_some_and(|settings| settings.get(name).is_some());
            assert!(known, "{} names the setting {key}, which is none", rule.id);
        }
    }
}

#[test]
fn pages_of_families_name_what_there_is() {
    let code: String = sources("src").into_iter().map(|source| source.text).collect();
    for (name, page) in pages().iter().filter(|(name, _)| !name.starts_with(|c: char| c.is_ascii_digit())) {
        let lines = page.lines().count();
        assert!((10..=100).contains(&lines), "nips/{name} has {lines} lines");
        for quoted in page.split('`').skip(1).step_by(2).filter(|quoted| !quoted.contains([' ', '(', ':'])) {
            if ["src/", "tests/", "nips/"].iter().any(|start| quoted.starts_with(start)) {
                assert!(root().join(quoted).exists(), "nips/{name} names {quoted}, which is not there");
            }
        }
        for rule in
            page.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|rest| rest.split('`').next())
        {
            let is_rule = rule.contains('.')
                && rule.bytes().all(|byte| byte.is_ascii_lowercase() || b"._0123456789".contains(&byte));
            assert!(
                !is_rule || code.contains(&format!("\"{rule}\"")),
                "nips/{name} names the rule {rule}, which no source has"
            );
        }
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    for source in sources("src").into_iter().chain(sources("tests")) {
        assert!(source.text.starts_with("//! "), "{} does not begin with `//! `", source.path);
    }
}

#[test]
fn files_and_functions_are_short() {
    for Source { path, text } in sources("src") {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path} has {lines} lines, more than {FILE_LINES_MAX}");
        for (line, name, lines) in functions(&text) {
            assert!(
                lines <= FUNCTION_LINES_MAX,
                "{path}:{line}: {name} has {lines} lines, more than {FUNCTION_LINES_MAX}"
            );
        }
    }
}

#[test]
fn functions_are_measured_from_first_to_last_line() {
    let text = "fn one() {}\npub(crate) async fn two(\n    a: u8,\n) {\n    if a {\n    }\n}\nimpl X {\n    fn three() {\n        0\n    }\n    fn four();\n}\n";
    assert_eq!(functions(text), [(1, "one", 1), (2, "two", 6), (9, "three", 3), (12, "four", 1)]);
    let all: usize = sources("src").iter().map(|source| functions(&source.text).len()).sum();
    assert!(all > 300, "the functions of the relay are found: {all}");
}

/// Asserts that a word stands in code, comments aside, only in files whose path begins so.
fn assert_only_in(home: &str, word: &str) {
    for Source { path, text } in sources("src").into_iter().filter(|source| !source.path.starts_with(home)) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            assert!(!code.contains(word), "{path}:{}: only {home} may use {word}", number + 1);
        }
    }
}

/// The output of a program of the toolchain, run in the project's folder.
fn output(program: &str, arguments: &[&str]) -> String {
    let ran = std::process::Command::new(program).args(arguments).current_dir(root()).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("a text")
}

/// clippy's `incompatible_msrv` holds the relay's own code to it.
#[test]
fn no_dependency_needs_a_newer_rust_than_the_relay_states() {
    let version = |text: &str| -> Vec<u32> {
        text.split('.').take(2).map(|part| part.parse().expect("a version's number")).collect()
    };
    let stated = version(env!("CARGO_PKG_RUST_VERSION"));
    let rustc = output("rustc", &["-vV"]);
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    // What other systems need is not there to be asked.
    let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", host];
    let metadata = output(&std::env::var("CARGO").unwrap_or("cargo".to_owned()), &arguments);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "the dependencies are found: {}", packages.len());
    for package in packages {
        if let Some(needed) = package["rust_version"].as_str() {
            let name = format!("{} {}", package["name"], package["version"]);
            assert!(
                version(needed) <= stated,
                "{name} needs Rust {needed}, and Cargo.toml states {stated:?}"
            );
        }
    }
}

#[test]
fn only_the_store_knows_sled() {
    assert_only_in("src/store/", "sled::");
    assert_only_in("src/store/", "use sled");
    assert_only_in("src/store/", "extern crate sled");
}

#[test]
fn only_search_knows_tantivy() {
    assert_only_in("src/search/", "tantivy::");
    assert_only_in("src/search/", "use tantivy");
}

#[test]
fn only_the_clock_reads_the_wall_clock() {
    assert_only_in("src/clock.rs", "SystemTime");
    assert_only_in("src/clock.rs", "UNIX_EPOCH");
}

#[test]
fn rules_do_no_io_and_read_no_clock() {
    for folder in ["src/nips", "src/policy", "src/event"] {
        for Source { path, text } in sources(folder) {
            for word in
                ["std::fs", "std::net::Tcp", "std::thread", "Instant::now", "Clock", "Mutex", "tokio::"]
            {
                assert!(!text.contains(word), "{path} is pure and has no use for {word}");
            }
        }
    }
}

#[test]
fn both_audits_pass_over_the_same_advisories() {
    let ids = |file: &str| {
        let text = fs::read_to_string(root().join(file)).expect("a file");
        let table: toml::Table = text.parse().expect("TOML");
        let ignored = table["advisories"]["ignore"].as_array().expect("a list").clone();
        let id = |one: &toml::Value| one.get("id").unwrap_or(one).as_str().expect("an id").to_owned();
        ignored.iter().map(id).collect::<BTreeSet<String>>()
    };
    assert_eq!(ids("deny.toml"), ids(".cargo/audit.toml"));
}
