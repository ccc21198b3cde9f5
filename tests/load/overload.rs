//! Ten times what the relay can take: who keeps to the limits is served all the same. The long form is the same
//! measurement: `plaza bench overload --overload-seconds 600`.

use serde_json::Value;

use crate::common::folder::Folder;

/// The longest that one in a hundred answers to the polite may take, in milliseconds: far more than they need on a
/// machine that compiles beside, far less than what a queue of all that is offered would take.
const PROMPT: f64 = 2_000.0;

/// Floods, and whether limits by address and author are what holds them.
const FLOODS: &[(&str, bool)] = &[
    ("address", true),
    ("author", true),
    ("lifted_notes", false),
    ("lifted_forged", false),
    ("lifted_many", false),
    ("lifted_long", false),
    ("lifted_live", false),
    ("lifted_counts", false),
];

#[test]
fn who_keeps_to_the_limits_is_served_whatever_others_send() {
    let done = Folder::new().run(&[
        "bench",
        "overload",
        "--json",
        "--events=3000",
        "--connections=4",
        "--overload-seconds=2.5",
        "--overload-connections=50",
        "--overload-polite=10",
    ]);
    assert_eq!(done.code, 0, "{done:?}");
    let report: Value = serde_json::from_str(&done.data).expect("one JSON object");
    let figure = |scene: &str, name: &str| {
        let value = report["figures"][format!("overload_{scene}_{name}")].as_f64();
        value.unwrap_or_else(|| panic!("{scene} {name} in {report}"))
    };
    for (scene, is_held_by_limits) in [&[("calm", false)], FLOODS].concat() {
        println!("{scene}: {}", figure(scene, "answer_p99_milliseconds"));
        assert_eq!(figure(scene, "polite_refused"), 0.0, "{scene}: {}", done.words);
        assert!(figure(scene, "rounds") >= 10.0, "{scene}: each has its turn");
        for what in ["answer", "live", "read"] {
            let p99 = figure(scene, &format!("{what}_p99_milliseconds"));
            assert!(p99 < PROMPT, "{scene}: {what} took {p99} ms");
        }
        if scene == "calm" {
            continue;
        }
        let (offered, answered) = (figure(scene, "offered_per_second"), figure(scene, "answered_per_second"));
        assert!(answered > 0.0 && offered > answered, "{scene}: {offered} offered, {answered} answered");
        if is_held_by_limits {
            let share = figure(scene, "rate_limited_share");
            assert!(share > 0.5, "{scene}: {share} of what was answered was rate-limited");
        }
    }
}
