//! Holds a relay of a machine against what it owes. In: the machine, and the promise. Out: what it shows, or a failure
//! that says what is wrong.

use std::cmp::Reverse;

use plaza::event::Event;

use crate::machine::{COMMUNITIES, Machine};
use crate::promise::{self, Promise};
use crate::view;

/// What the relay shows in each community.
pub(crate) fn shown(machine: &Machine) -> Vec<Vec<Event>> {
    (0..COMMUNITIES.len() as u32).map(|who| view::everything(&mut machine.connect(who))).collect()
}

/// Asserts that the relay keeps its promise, in whatever way it is asked; what it shows.
pub(crate) fn assert_kept(machine: &Machine, promise: &mut Promise) -> Vec<Vec<Event>> {
    let shown = shown(machine);
    let breaches = promise.check(&shown);
    assert!(breaches.is_empty(), "{breaches:#?}\n{}", machine.log());
    // An index that was saved is there when the store names it.
    assert!(!machine.log().contains("the index is built from the store instead"), "{}", machine.log());
    for (who, events) in shown.iter().enumerate() {
        view::assert_consistent(&mut machine.connect(who as u32), who as u32, events);
    }
    shown
}

/// Asserts that the store, asked without its index, holds what was shown. Ends the relay.
pub(crate) fn assert_exported(machine: &mut Machine, shown: &[Vec<Event>]) {
    for (who, shown) in shown.iter().enumerate() {
        let mut exported = machine.export(who as u32);
        exported.sort_by_key(|event| Reverse(event.created_at));
        let lasting = |event: &&Event| !promise::may_expire(event);
        let same = exported.iter().filter(lasting).eq(shown.iter().filter(lasting));
        assert!(same, "an export of {} holds what was shown", COMMUNITIES[who]);
    }
}
