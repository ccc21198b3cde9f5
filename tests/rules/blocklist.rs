//! Domain blocklists (nips/blocklist.md).

use plaza::policy::blocklist::{Domains, Report, Severity, WARNINGS_PER_LIST_MAX};

use Severity::{Noop, Silence, Suspend};

/// What a list of this text says of a domain.
fn said(text: &str, domain: &str) -> Option<Severity> {
    Domains::parse(&[("list.csv", text)]).0.find(domain).map(|verdict| verdict.severity)
}

#[test]
fn every_form_of_the_file_is_read() {
    let table = [
        (
            "as Mastodon exports it",
            "#domain,#severity,#reject_media,#reject_reports,#public_comment,#obfuscate\n\
             bad.example,suspend,false,false,\"spam, and \"\"worse\"\"\",false\nloud.example,silence,true,false,,false\n\
             odd.example,noop,true,true,,false\n",
        ),
        (
            "without the # in its header",
            "domain,severity\nbad.example,suspend\nloud.example,silence\nodd.example,noop\n",
        ),
        (
            "columns in another order, and one more",
            "#public_comment,#severity,source,#domain\n,suspend,x,bad.example\n,silence,,loud.example\n,noop,,odd.example\n",
        ),
        (
            "with a byte order mark",
            "\u{feff}#domain,#severity\nbad.example,suspend\nloud.example,silence\nodd.example,noop\n",
        ),
        (
            "with line ends of Windows",
            "#domain,#severity\r\nbad.example,suspend\r\nloud.example,silence\r\nodd.example,noop\r\n",
        ),
        (
            "with quotes and blanks everywhere",
            "\"#domain\" , \"#severity\"\n\"bad.example\",\"suspend\"\n loud.example , silence \n\"odd.example\",\"noop\"",
        ),
        (
            "in capitals, with dots at the end",
            "#Domain,#SEVERITY\nBAD.Example.,Suspend\nLOUD.example,LIMIT\nodd.EXAMPLE,Noop\n",
        ),
        (
            "with comments, blank lines and lines too long or too short",
            "# my list, of today\n#domain,#severity\n\n# the worst\nbad.example,suspend,,,,,,,\nloud.example,silence\n,\nodd.example,noop\n",
        ),
        (
            "with a comment over several lines",
            "#domain,#public_comment,#severity\nbad.example,\"one\ntwo\nthree\",suspend\nloud.example,,silence\nodd.example,,noop\n",
        ),
    ];
    for (what, text) in table {
        let wanted =
            [("bad.example", Some(Suspend)), ("loud.example", Some(Silence)), ("odd.example", Some(Noop))];
        for (domain, severity) in wanted {
            assert_eq!(said(text, domain), severity, "{what}: {domain}");
        }
        assert_eq!(said(text, "good.example"), None, "{what}");
        assert_eq!(said(text, "domain"), None, "{what}: the header is no entry");
    }
}

#[test]
fn a_list_without_severities_suspends() {
    for text in ["#domain\nbad.example\n", "bad.example\n", "bad.example,because of spam\n"] {
        assert_eq!(said(text, "bad.example"), Some(Suspend), "{text:?}");
    }
    assert_eq!(said("first.example\nbad.example\n", "first.example"), Some(Suspend), "no line is lost");
    assert_eq!(said("", "bad.example"), None);
}

#[test]
fn domains_cover_what_is_below_them_and_nothing_else() {
    let text = "#domain,#severity\nbad.example,suspend\nsoft.bad.example,silence\nbücher.example,suspend\n\
                xn--mnchen-3ya.example,silence\n192.0.2.1,suspend\n";
    let table = [
        ("bad.example", Some(Suspend)),
        ("www.bad.example", Some(Suspend)),
        ("a.b.c.bad.example", Some(Suspend)),
        ("notbad.example", None),
        ("bad.example.org", None),
        ("example", None),
        ("soft.bad.example", Some(Silence)),
        ("x.soft.bad.example", Some(Silence)),
        ("xn--bcher-kva.example", Some(Suspend)),
        ("xn--mnchen-3ya.example", Some(Silence)),
        ("192.0.2.1", Some(Suspend)),
        ("192.0.2.2", None),
    ];
    for (domain, severity) in table {
        assert_eq!(said(text, domain), severity, "{domain}");
    }
}

#[test]
fn the_first_list_that_knows_a_domain_decides() {
    let own = "domain,severity\nfriend.example,noop\nkept.shared.example,silence\n";
    let shared = "domain,severity\nfriend.example,suspend\nwww.friend.example,suspend\nshared.example,suspend\n\
                  deep.kept.shared.example,suspend\nother.example,silence\n";
    let third = "domain,severity\nother.example,suspend\nlast.example,suspend\n";
    let (domains, warnings) = Domains::parse(&[("own", own), ("shared", shared), ("third", third)]);
    assert_eq!(warnings, []);
    let table = [
        ("friend.example", Noop, "friend.example", "own"),
        // The longer name is in a later list, which has no say.
        ("www.friend.example", Noop, "friend.example", "own"),
        ("kept.shared.example", Silence, "kept.shared.example", "own"),
        ("deep.kept.shared.example", Silence, "kept.shared.example", "own"),
        ("x.shared.example", Suspend, "shared.example", "shared"),
        ("other.example", Silence, "other.example", "shared"),
        ("last.example", Suspend, "last.example", "third"),
    ];
    for (asked, severity, domain, list) in table {
        let verdict = domains.find(asked).unwrap_or_else(|| panic!("{asked} is listed"));
        assert_eq!((verdict.severity, verdict.domain, verdict.list), (severity, domain, list), "{asked}");
    }
    assert_eq!(domains.find("example"), None);
    let counts: Vec<_> =
        domains.reports().iter().map(|list| (list.name.as_str(), list.overruled, list.repeated)).collect();
    assert_eq!(counts, [("own", 0, 0), ("shared", 1, 0), ("third", 1, 0)]);
    assert_eq!(domains.len(), 7);
}

#[test]
fn what_cannot_be_understood_is_counted_and_named_by_line() {
    let text = "#domain,#severity,#public_comment\nbad.example,suspend,\nb*d.example,suspend,hidden\n*.wild.example,silence,\n\
                no domain,suspend,\nbad.example,silence,again\norg,suspend,\nodd.example,ban,\nquiet.example,,\n\
                https://url.example/,suspend,\nloud.example,silence,\n";
    let (domains, warnings) = Domains::parse(&[("list.csv", text)]);
    let expected = Report {
        name: "list.csv".to_owned(),
        suspend: 1,
        silence: 2,
        noop: 0,
        overruled: 0,
        repeated: 1,
        obfuscated: 2,
        invalid: 5,
    };
    assert_eq!(domains.reports(), [expected]);
    let said: Vec<_> = warnings.iter().map(|warning| (warning.line, warning.problem.as_str())).collect();
    let expected = [
        (5, "\"no domain\" is no domain name"),
        (7, "\"org\" is a whole top-level domain, which a list of others may not block"),
        (8, "\"ban\" is no severity; there are suspend, silence and noop"),
        (9, "\"\" is no severity; there are suspend, silence and noop"),
        (10, "\"https://url.example/\" is no domain name"),
    ];
    assert_eq!(said, expected);
    let verdicts = ["bad.example", "bxd.example", "wild.example", "x.wild.example", "org", "odd.example"];
    let verdicts = verdicts.map(|domain| domains.find(domain).map(|verdict| verdict.severity));
    assert_eq!(verdicts, [Some(Suspend), None, None, None, None, None]);
}

#[test]
fn warnings_are_bounded_and_a_lost_quotation_mark_is_noticed() {
    let many = "no domain\n".repeat(WARNINGS_PER_LIST_MAX + 5);
    let (domains, warnings) = Domains::parse(&[("many", many.as_str()), ("more", many.as_str())]);
    assert_eq!(warnings.len(), 2 * WARNINGS_PER_LIST_MAX);
    assert_eq!(domains.reports()[1].invalid, WARNINGS_PER_LIST_MAX + 5);
    for (lines, noticed) in [(50, 0), (51, 1)] {
        let text = format!("#domain,#public_comment\nbad.example,\"{}", "x\n".repeat(lines) + "y");
        let (domains, warnings) = Domains::parse(&[("open", text)]);
        assert_eq!(warnings.len(), noticed, "{lines} lines: {warnings:?}");
        assert_eq!(domains.len(), 1);
    }
}

#[test]
fn no_text_makes_the_reader_panic() {
    let seed = 0x5EED_u64;
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let parts = [
        "#domain",
        "severity",
        ",",
        "\"",
        "\n",
        "\r",
        "*",
        ".",
        "a.example",
        "ü",
        "\u{feff}",
        "\0",
        "suspend",
        "#",
        " ",
    ];
    for round in 0..2_000 {
        let text: String = (0..next() % 40).map(|_| parts[next() % parts.len()]).collect();
        let (domains, _) = Domains::parse(&[("list", text.as_str())]);
        let report = &domains.reports()[0];
        let counted = report.suspend + report.silence + report.noop - report.repeated;
        assert_eq!(domains.len(), counted, "seed {seed}, round {round}: {text:?}");
    }
}
