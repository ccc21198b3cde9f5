//! Texts that are UTF-8 and texts that are not (section 6 of the Autobahn test suite): in one frame, and with
//! fragments that split characters.

use crate::autobahn::{Case, END, Then, echo, fragments, play};
use crate::house::House;
use crate::raw::{TEXT, frame, text};

/// Texts at the bounds of each length, and characters that stand for nothing; control characters cannot stand in JSON.
const VALID: &[&str] = &[
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    " ",
    "\u{7f}",
    "\u{80}",
    "\u{7ff}",
    "\u{800}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{10000}",
    "\u{1fffe}",
    "\u{3ffff}",
    "\u{fffff}",
    "\u{10ffff}",
    "𠜎 👩‍👩‍👧 ﷽",
];

/// What is no UTF-8, and in which case of section 6.
const INVALID: &[(&str, &[u8])] = &[
    ("6.3: a surrogate", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64"),
    ("6.4: beyond the last character", b"\xce\xba\xcf\x83\xf4\x90\x80\x80"),
    ("6.6: five bytes", b"\xf8\x88\x80\x80\x80"),
    ("6.6: six bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("6.8: the last of four bytes", b"\xf7\xbf\xbf\xbf"),
    ("6.8: the last of five bytes", b"\xfb\xbf\xbf\xbf\xbf"),
    ("6.8: the last of six bytes", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    ("6.10: just beyond the last", b"\xf4\x90\x80\x80"),
    ("6.11: a continuation", b"\x80"),
    ("6.11: the last continuation", b"\xbf"),
    ("6.11: two", b"\x80\xbf"),
    ("6.11: seven", b"\x80\xbf\x80\xbf\x80\xbf\x80"),
    ("6.12: lonely beginnings of two", b"\xc0 \xc1 \xc2 \xdf "),
    ("6.12: lonely beginnings of three", b"\xe0 \xe5 \xef "),
    ("6.12: lonely beginnings of four", b"\xf0 \xf4 \xf7 "),
    ("6.12: lonely beginnings of five", b"\xf8 \xfb "),
    ("6.12: lonely beginnings of six", b"\xfc \xfd "),
    ("6.13: two, the last is missing", b"\xc3"),
    ("6.13: three, the last is missing", b"\xe0\xa0"),
    ("6.13: four, the last is missing", b"\xf0\x90\x80"),
    ("6.13: the greatest of three, the last is missing", b"\xef\xbf"),
    ("6.13: the greatest of four, the last is missing", b"\xf4\x8f\xbf"),
    ("6.14: many, each last is missing", b"\xc0\xe0\x80\xf0\x80\x80\xdf\xef\xbf\xf7\xbf\xbf"),
    ("6.15: never", b"\xfe"),
    ("6.15: never either", b"\xff"),
    ("6.15: both", b"\xfe\xfe\xff\xff"),
    ("6.16: a slash in two bytes", b"\xc0\xaf"),
    ("6.16: a slash in three bytes", b"\xe0\x80\xaf"),
    ("6.16: a slash in four bytes", b"\xf0\x80\x80\xaf"),
    ("6.17: the greatest too long in two", b"\xc1\xbf"),
    ("6.17: the greatest too long in three", b"\xe0\x9f\xbf"),
    ("6.17: the greatest too long in four", b"\xf0\x8f\xbf\xbf"),
    ("6.18: zero in two bytes", b"\xc0\x80"),
    ("6.18: zero in three bytes", b"\xe0\x80\x80"),
    ("6.18: zero in four bytes", b"\xf0\x80\x80\x80"),
    ("6.19: the first surrogate", b"\xed\xa0\x80"),
    ("6.19: the last of the first half", b"\xed\xaf\xbf"),
    ("6.19: the first of the second half", b"\xed\xb0\x80"),
    ("6.19: the last surrogate", b"\xed\xbf\xbf"),
    ("6.20: a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("6.20: another pair", b"\xed\xaf\xbf\xed\xbf\xbf"),
];

#[test]
fn what_is_utf_8_arrives_however_it_is_cut() {
    let house = House::start("");
    let mut cases = vec![
        Case("6.1.1", text(""), 0, vec![Then::Notice]),
        Case("6.1.2", [frame(TEXT, b""), frame(0, b""), frame(END, b"")].concat(), 0, vec![Then::Notice]),
    ];
    for name in VALID {
        let (message, awaited) = (echo(name), vec![Then::Echo((*name).to_owned())]);
        for bytes in [message.len(), 1, 2, 3] {
            let sent = fragments(TEXT, message.as_bytes(), bytes);
            cases.push(Case("6.2, 6.5, 6.7, 6.9, 6.22, 6.23", sent.clone(), 0, awaited.clone()));
            cases.push(Case("the same byte by byte", sent, 1, awaited.clone()));
        }
    }
    play(&house, &cases);
    house.stands();
}

#[test]
fn what_is_not_utf_8_ends_the_connection() {
    let house = House::start("");
    let mut cases = Vec::new();
    for (number, bytes) in INVALID {
        // As the end of a message: what is missing does not come any more.
        for payload in [bytes.to_vec(), [b"[\"", *bytes].concat(), [b"[\"", *bytes, b"\"]"].concat()] {
            for size in [payload.len(), 1, 2, 3] {
                let sent = fragments(TEXT, &payload, size);
                cases.push(Case(number, sent, 0, vec![Then::Closed(1007)]));
            }
        }
    }
    play(&house, &cases);
    house.stands();
}

#[test]
fn a_fragment_that_cannot_become_utf_8_ends_it_at_once() {
    let house = House::start("");
    let cases = [
        Case("6.4.1", frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80"), 0, vec![Then::Closed(1007)]),
        Case("6.4.2", frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xf4\x90"), 0, vec![Then::Closed(1007)]),
        Case("split", [frame(TEXT, b"\xf4"), frame(0, b"\x90")].concat(), 0, vec![Then::Closed(1007)]),
        Case("a surrogate", [frame(TEXT, b"\xed"), frame(0, b"\xa0")].concat(), 0, vec![Then::Closed(1007)]),
    ];
    play(&house, &cases);
    house.stands();
}
