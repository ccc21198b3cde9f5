//! Carries over what was missed: finds out what either side lacks, by reconciliation (NIP-77) or page by page, and
//! fetches what is lacking here. In: what the other side says. Out: what to say to it, ids that it lacks. Works on one
//! part of time after the other, so that what it holds is bounded.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::here::{Here, NotGathered};
use super::link::Link;
use super::up::Up;
use super::wire::Wire;
use crate::config::Backfill;
use crate::event::{Event, Id, PublicKey};
use crate::filter::Filter;
use crate::memory::Charge;
use crate::message::elsewhere;
use crate::nips::nip77::{Sealed, Set};

/// Events that are asked for at once, by their ids or as a page.
const FETCH_MAX: usize = 200;

/// Events of one answer, at most: a relay may give more than it was asked for, such as all of a second.
const PAGE_EVENTS_MAX: usize = 5_000;

/// Ids that may wait to be fetched before no further part of time is compared.
const WANTED_ENOUGH: usize = 10_000;

/// Parts of time that may wait.
const WINDOWS_MAX: usize = 4_096;

/// Messages of one reconciliation: a million events take some hundreds.
const ROUNDS_MAX: usize = 20_000;

/// How long the first message of a reconciliation may go without an answer until it is taken for not understood.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long any other answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// Before this there are hardly any events: where halving the time begins.
const FIRST_SECOND: u64 = 1_604_000_000;

/// A filter for a part of time, as it goes over the wire.
type Window = Map<String, Value>;

/// Why it cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// The other side answers what makes no sense, or not at all.
    Broken(&'static str),
    /// It refuses, in these words.
    Refused(String),
    /// There is no memory for it now.
    NoRoom,
}

/// What is being compared.
enum Open {
    Reconciliation { window: Window, set: Sealed, rounds: usize, _charge: Charge },
    Page(Box<Page>),
}

/// A page, and where the pages of its window stand.
struct Page {
    window: Window,
    filter: Filter,
    /// Up to when this page goes, inclusive.
    until: u64,
    /// What came with it: how many, how many of them new, and the oldest time.
    came: usize,
    fresh: usize,
    oldest: u64,
    /// Times and ids of what came and was not compared yet.
    seen: HashSet<(u64, Id)>,
}

/// See the module.
#[derive(Default)]
pub(super) struct CatchUp {
    by_pages: bool,
    windows: Vec<Window>,
    open: Option<Open>,
    /// Its name; each has its own, as answers to an earlier one may still be on their way.
    name: String,
    wanted: VecDeque<Id>,
    fetching: HashSet<Id>,
    fetch: Option<String>,
    number: u64,
    heard_at: Option<Instant>,
    is_running: bool,
}

/// What belongs to it.
pub(super) struct With<'w> {
    pub(super) here: &'w Here,
    pub(super) link: &'w Link,
    pub(super) keys: &'w [PublicKey],
    pub(super) wire: &'w mut Wire,
    pub(super) up: &'w mut Up,
    pub(super) comes_down: bool,
    pub(super) goes_up: bool,
}

/// Whose an event is that came.
pub(super) enum Belongs {
    /// To what was asked for.
    Here,
    /// To what was not asked for, or not like this.
    Nowhere,
    /// To something else, or to what is over.
    Elsewhere,
}

impl CatchUp {
    /// Begins, with whatever has not been compared; how is remembered from before.
    pub(super) fn begin(&mut self, filters: &[Map<String, Value>], backfill: Backfill) {
        let (by_pages, number) = (self.by_pages || backfill == Backfill::Pages, self.number);
        *self =
            CatchUp { by_pages, number, windows: filters.to_vec(), is_running: true, ..CatchUp::default() };
    }

    /// Whether it is under way.
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Events that are yet to be fetched.
    pub(super) fn waiting(&self) -> usize {
        self.wanted.len() + self.fetching.len()
    }

    /// About how many bytes it holds, sets that are compared aside.
    pub(super) fn bytes(&self) -> usize {
        let seen = match &self.open {
            Some(Open::Page(page)) => page.seen.len(),
            _ => 0,
        };
        (self.waiting() + 2 * seen) * 2 * size_of::<Id>() + self.windows.len() * 512
    }

    /// Asks for what is next. True when it is done.
    pub(super) fn push_on(&mut self, with: &mut With<'_>) -> Result<bool, Stuck> {
        if !self.is_running {
            return Ok(false);
        }
        if self.fetch.is_none() && !self.wanted.is_empty() {
            let some = self.wanted.len().min(FETCH_MAX);
            self.fetching = self.wanted.drain(..some).collect();
            let ids: Vec<String> = self.fetching.iter().map(Id::to_string).collect();
            let name = self.next_name("fetch");
            let filter = json!({"ids": ids, "limit": ids.len()});
            with.wire
                .say(elsewhere::req(&name, filter.as_object().map(std::slice::from_ref).unwrap_or_default()));
            self.fetch = Some(name);
        }
        let has_room = self.wanted.len() < WANTED_ENOUGH && !with.up.owes_enough();
        if self.open.is_none() && has_room {
            match self.windows.pop() {
                Some(window) => self.open(window, with)?,
                // It is done when what came has been answered, and what is lacking there is on its way.
                None if self.fetch.is_none() && with.link.is_settled() && !with.up.owes() => {
                    self.is_running = false;
                    return Ok(true);
                }
                None => {}
            }
        }
        Ok(false)
    }

    fn next_name(&mut self, what: &str) -> String {
        self.heard_at = Some(Instant::now());
        self.number += 1;
        format!("{what}-{}", self.number)
    }

    /// Begins to compare a part of time.
    fn open(&mut self, window: Window, with: &mut With<'_>) -> Result<(), Stuck> {
        let filter = filter_of(&window);
        if self.by_pages {
            let until = filter.until.unwrap_or(u64::MAX);
            let page = Page { window, filter, until, came: 0, fresh: 0, oldest: until, seen: HashSet::new() };
            self.ask_page(page, with);
            return Ok(());
        }
        let most = with.here.community.settings().nip77.events_max;
        let gathered = tokio::task::block_in_place(|| {
            let (events, charge) = with.here.gather(&filter, with.keys, most)?;
            let mut set = Set::default();
            events.iter().for_each(|(created_at, id)| set.add(*created_at, id));
            let set = set.seal();
            let first = set.initiate();
            Ok((set, first, charge))
        });
        let (set, first, charge) = match gathered {
            Ok(gathered) => gathered,
            Err(NotGathered::NoRoom) => return Err(Stuck::NoRoom),
            Err(NotGathered::TooMany) => return self.halve(&window),
        };
        let first = first.map_err(|_| Stuck::Broken("a set cannot be compared"))?;
        self.name = self.next_name("compare");
        with.wire.say(elsewhere::neg_open(&self.name, &window, &first));
        self.open = Some(Open::Reconciliation { window, set, rounds: 0, _charge: charge });
        Ok(())
    }

    /// Compares the two halves of a part of time, one after the other.
    fn halve(&mut self, window: &Window) -> Result<(), Stuck> {
        match halves(window).filter(|_| self.windows.len() < WINDOWS_MAX) {
            Some(halves) => {
                self.windows.extend(halves);
                Ok(())
            }
            None => {
                Err(Stuck::Refused("a second holds more events than one comparison may be about".to_owned()))
            }
        }
    }

    /// Hears a message of a reconciliation.
    pub(super) fn hear_message(
        &mut self,
        name: &str,
        message: &str,
        with: &mut With<'_>,
    ) -> Result<(), Stuck> {
        let Some(Open::Reconciliation { set, rounds, .. }) = &mut self.open else { return Ok(()) };
        if name != self.name {
            return Ok(());
        }
        *rounds += 1;
        self.heard_at = Some(Instant::now());
        let broken = Stuck::Broken("its reconciliation makes no sense");
        if *rounds > ROUNDS_MAX {
            return Err(Stuck::Broken("its reconciliation has no end"));
        }
        let Ok(message) = hex::decode(message) else { return Err(broken) };
        let learned = tokio::task::block_in_place(|| set.learn(&message));
        let Ok(learned) = learned else { return Err(broken) };
        if with.goes_up {
            with.up.owe(learned.only_here, with.link);
        }
        if with.comes_down {
            let wanted = learned.only_there.into_iter().filter(|id| !with.link.is_of_no_use_here(id));
            self.wanted.extend(wanted);
        }
        // Each message names what was not named before; a side that does not keep to it is none to talk to.
        if self.wanted.len() > with.here.community.settings().nip77.events_max + WANTED_ENOUGH {
            return Err(Stuck::Broken("it names more events than it may have"));
        }
        match learned.next {
            Some(next) => {
                with.wire.say(crate::message::neg_msg(&self.name, &next));
            }
            None => {
                with.wire.say(elsewhere::neg_close(&self.name));
                self.open = None;
            }
        }
        Ok(())
    }

    /// Hears that a reconciliation ended, and why.
    pub(super) fn hear_refusal(&mut self, name: &str, why: &str) -> Result<(), Stuck> {
        let Some(Open::Reconciliation { window, .. }) = &self.open else { return Ok(()) };
        if name != self.name {
            return Ok(());
        }
        let window = window.clone();
        self.open = None;
        match why.split_once(':').map_or("", |(prefix, _)| prefix) {
            "auth-required" | "restricted" | "rate-limited" => Err(Stuck::Refused(why.to_owned())),
            "closed" => {
                self.windows.push(window);
                Ok(())
            }
            _ if why.contains("too big") || why.contains("too many") => self.halve(&window),
            _ => {
                self.go_by_pages(window);
                Ok(())
            }
        }
    }

    /// Hears a word for people: who does not know reconciliation says so in one.
    pub(super) fn hear_notice(&mut self) {
        if let Some(Open::Reconciliation { window, rounds: 0, .. }) = &self.open {
            let window = window.clone();
            self.go_by_pages(window);
        }
    }

    fn go_by_pages(&mut self, window: Window) {
        self.open = None;
        self.by_pages = true;
        self.windows.push(window);
    }

    /// Whose an event is that came for a name.
    pub(super) fn place(&mut self, name: &str, event: &Event, filters: &[Filter]) -> Belongs {
        if self.fetch.as_deref() == Some(name) {
            self.heard_at = Some(Instant::now());
            let is_asked = self.fetching.remove(&event.id) && filters.iter().any(|one| one.matches(event));
            return if is_asked { Belongs::Here } else { Belongs::Nowhere };
        }
        let Some(Open::Page(page)) = &mut self.open else { return Belongs::Elsewhere };
        if name != self.name {
            return Belongs::Elsewhere;
        }
        self.heard_at = Some(Instant::now());
        page.came += 1;
        if !page.filter.matches(event) || event.created_at > page.until || page.came > PAGE_EVENTS_MAX {
            return Belongs::Nowhere;
        }
        page.oldest = page.oldest.min(event.created_at);
        page.fresh += usize::from(page.seen.insert((event.created_at, event.id)));
        Belongs::Here
    }

    /// Hears that an answer is complete, or was refused.
    pub(super) fn hear_end(
        &mut self,
        name: &str,
        refused: Option<&str>,
        with: &mut With<'_>,
    ) -> Result<(), Stuck> {
        let is_fetch = self.fetch.as_deref() == Some(name);
        if !is_fetch && name != self.name {
            return Ok(());
        }
        if let Some(why) = refused {
            return Err(Stuck::Refused(why.to_owned()));
        }
        with.wire.say(elsewhere::close(name));
        if is_fetch {
            // What did not come is there no more.
            self.fetching.clear();
            self.fetch = None;
        } else if let Some(Open::Page(page)) = self.open.take() {
            self.turn(*page, with)?;
        }
        Ok(())
    }

    fn ask_page(&mut self, page: Page, with: &mut With<'_>) {
        let mut asked = page.window.clone();
        if page.until < u64::MAX {
            asked.insert("until".into(), json!(page.until));
        }
        asked.insert("limit".into(), json!(FETCH_MAX));
        self.name = self.next_name("page");
        with.wire.say(elsewhere::req(&self.name, std::slice::from_ref(&asked)));
        self.open = Some(Open::Page(Box::new(page)));
    }

    /// Goes on to the next page of a window, and owes what the last one should have shown and did not.
    fn turn(&mut self, mut page: Page, with: &mut With<'_>) -> Result<(), Stuck> {
        let since = page.filter.since.unwrap_or(0);
        // All later than its oldest event has come; of that second there may be more. Where nothing new came all has.
        let is_last = page.came == 0 || page.fresh == 0 && page.oldest <= since;
        let begin = match is_last {
            true => since,
            false if page.fresh == 0 => page.oldest,
            false => page.oldest.saturating_add(1),
        };
        if with.goes_up && begin <= page.until {
            let mut compared = page.filter.clone();
            (compared.since, compared.until) = (Some(begin), Some(page.until));
            let most = with.here.community.settings().nip77.events_max;
            let found = tokio::task::block_in_place(|| with.here.gather(&compared, with.keys, most));
            match found {
                Ok((found, _charge)) => {
                    let lacking = found.into_iter().filter(|one| !page.seen.contains(one)).map(|(_, id)| id);
                    with.up.owe(lacking, with.link);
                }
                Err(NotGathered::NoRoom) => return Err(Stuck::NoRoom),
                Err(NotGathered::TooMany) => {
                    return Err(Stuck::Refused(
                        "the other relay has no NIP-77, and too much is stored here".into(),
                    ));
                }
            }
        }
        if is_last {
            return Ok(());
        }
        match (page.fresh, page.oldest.checked_sub(1)) {
            (0, None) => return Ok(()),
            (0, Some(earlier)) => {
                page.until = earlier;
                page.seen.clear();
            }
            _ => {
                page.until = page.oldest;
                page.seen.retain(|(created_at, _)| *created_at == page.oldest);
            }
        }
        (page.came, page.fresh, page.oldest) = (0, 0, page.until);
        self.ask_page(page, with);
        Ok(())
    }

    /// When an answer is overdue.
    pub(super) fn alarm(&self) -> Option<Instant> {
        let patience = match &self.open {
            Some(Open::Reconciliation { rounds: 0, .. }) if self.fetch.is_none() => FIRST_ANSWER_MAX,
            _ => ANSWER_MAX,
        };
        let awaits = self.open.is_some() || self.fetch.is_some();
        self.heard_at.filter(|_| awaits).map(|at| at + patience)
    }

    /// An answer is overdue.
    pub(super) fn overdue(&mut self, now: Instant) -> Result<(), Stuck> {
        match &self.open {
            _ if self.alarm().is_none_or(|alarm| now < alarm) => Ok(()),
            Some(Open::Reconciliation { window, rounds: 0, .. }) if self.fetch.is_none() => {
                let window = window.clone();
                self.go_by_pages(window);
                Ok(())
            }
            _ => Err(Stuck::Broken("it does not answer")),
        }
    }
}

fn filter_of(window: &Window) -> Filter {
    // Made of one that was checked.
    Filter::from_json(&Value::from(window.clone()).to_string()).unwrap_or_default()
}

/// The same filter for two halves of its time; `None` when it is no longer than a second.
fn halves(window: &Window) -> Option<[Window; 2]> {
    let time = |name: &str| window.get(name).and_then(Value::as_u64);
    let since = time("since").unwrap_or(0);
    let Some(until) = time("until") else {
        // Beyond today there is next to nothing: the later part is cut off first.
        return halves_at(window, since.max(FIRST_SECOND) + (1 << 28));
    };
    if since >= until {
        return None;
    }
    let begin = match since {
        0 if until > FIRST_SECOND => FIRST_SECOND,
        since => since,
    };
    halves_at(window, begin + (until - begin) / 2)
}

fn halves_at(window: &Window, middle: u64) -> Option<[Window; 2]> {
    let [mut earlier, mut later] = [window.clone(), window.clone()];
    earlier.insert("until".into(), json!(middle));
    later.insert("since".into(), json!(middle + 1));
    Some([earlier, later])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_halved_without_a_gap_until_they_are_a_second() {
        let window = |text: &str| -> Window { serde_json::from_str(text).expect("a filter") };
        let mut waiting = vec![window("{}")];
        let (mut seconds, mut steps) = (Vec::new(), 0);
        // Follows the part in which one second lies down to it.
        let wanted = 1_790_000_000;
        while let Some(one) = waiting.pop() {
            steps += 1;
            let filter = filter_of(&one);
            if !filter.matches_time(wanted) {
                continue;
            }
            match halves(&one) {
                Some(halves) => waiting.extend(halves),
                None => seconds.push((filter.since, filter.until)),
            }
        }
        assert_eq!(seconds, [(Some(wanted), Some(wanted))]);
        assert!(steps < 100, "{steps}");
    }
}
