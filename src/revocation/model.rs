//! Every interleaving of a small world, walked through the real code: five callers who hold, commit,
//! cancel, redeem and revoke one token, a clock that goes on, a disk that writes or refuses what waits
//! for it, and a process that dies and starts again from what was written. Each step of a token is
//! atomic, so an order of steps is all that threads could come to.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use resetd_verify::{Timestamp, TokenId};

use super::mark::{Held, HoldRef, Mark, Refusal};
use super::memory::{Memory, Token};
use crate::journal::{CallerTag, Event, Hold, Sink as _, TenantTag, UserTag, Why};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const UNTIL: Timestamp = START.plus(1000);
const TOKEN: Token = (TenantTag([1; 8]), TokenId::from_bytes([2; 16]));
/// Seconds that a hold lasts, and that the clock goes on in all.
const HOLD: u64 = 1;
const TICKS: u64 = 2;
/// How often the disk refuses, and how often the process dies.
const REFUSALS: u8 = 2;
const CRASHES: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Hold(u8),
    Commit(u8),
    Cancel(u8),
    Redeem,
    Revoke,
}

/// What each caller does, one step after the other.
const CALLERS: [&[Step]; 5] = [
    &[Step::Hold(1), Step::Commit(1)],
    &[Step::Cancel(1)],
    &[Step::Redeem],
    &[Step::Hold(2), Step::Commit(2)],
    &[Step::Revoke],
];

/// How far a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Progress {
    /// It will take this step.
    At(usize),
    /// It waits for the disk.
    Waiting(usize),
    /// It has no more to do.
    Done,
}

#[derive(Clone, Debug, Hash)]
struct World {
    mark: Option<Mark>,
    now: Timestamp,
    callers: [Progress; 5],
    /// What waits for the disk, and for whom.
    queue: VecDeque<(Event, Timestamp, usize)>,
    /// What is on disk.
    written: Vec<(Event, Timestamp)>,
    /// The ends of the holds that were acknowledged, by their number.
    held: [Option<Timestamp>; 3],
    /// What was acknowledged.
    told: BTreeSet<Step>,
    refusals: u8,
    crashes: u8,
    /// How often the disk had refused when a revocation found the token dead already.
    undone: u8,
}

/// The code under test. One memory serves all worlds, since making one takes a millisecond.
struct Process {
    memory: Memory,
    /// What a restart makes of what is on disk.
    restarts: HashMap<u128, Option<Mark>>,
}

impl Process {
    fn new() -> Self {
        Self { memory: Memory::new(u64::MAX), restarts: HashMap::new() }
    }

    fn with(&self, mark: Option<&Mark>) -> &Memory {
        self.memory.put(TOKEN, mark.cloned());
        &self.memory
    }

    fn restarted(&mut self, written: &[(Event, Timestamp)], now: Timestamp) -> Option<Mark> {
        let restart = self.restarts.entry(fingerprint(&(written, now)));
        let recover = || {
            let memory = Memory::new(u64::MAX);
            memory.recover(written, now);
            memory.mark_of(&TOKEN)
        };
        restart.or_insert_with(recover).clone()
    }
}

impl World {
    fn new() -> Self {
        Self {
            mark: None,
            now: START,
            callers: [Progress::At(0); 5],
            queue: VecDeque::new(),
            written: Vec::new(),
            held: [None; 3],
            told: BTreeSet::new(),
            refusals: 0,
            crashes: 0,
            undone: 0,
        }
    }

    /// All worlds that may come next.
    fn next(&self, process: &mut Process) -> Vec<Self> {
        let callers = 0..CALLERS.len();
        let mut next: Vec<_> = callers.filter_map(|it| self.step(it, process)).collect();
        if self.now < START.plus(TICKS) {
            next.push(Self { now: self.now.plus(1), ..self.clone() });
        }
        next.extend(self.write(process));
        next.extend(self.refuse(process));
        next.extend((self.crashes < CRASHES).then(|| self.crash(process)));
        next
    }

    /// A caller takes its step, if it is its turn and it knows enough to take it.
    fn step(&self, caller: usize, process: &Process) -> Option<Self> {
        let Progress::At(at) = self.callers[caller] else { return None };
        let step = CALLERS[caller][at];
        let (memory, mut world) = (process.with(self.mark.as_ref()), self.clone());
        let event = match step {
            Step::Hold(number) => {
                let hold = hold(number, self.now.plus(HOLD));
                let decided = memory.hold(TOKEN, Held { hold, until: UNTIL }, self.now);
                decided.ok().map(|()| held_event(hold))
            }
            Step::Commit(number) => {
                let held = memory.commit(TOKEN, &self.known(number)?, self.now);
                held.ok().map(|held| mark_event(Why::Used, Some(held.hold)))
            }
            Step::Cancel(number) => {
                let held = memory.cancel(TOKEN, &self.known(number)?, self.now);
                let cancel =
                    |hold| Event::Cancel { tenant: TOKEN.0, jti: TOKEN.1, hold, until: UNTIL };
                held.ok().map(|held| cancel(held.hold))
            }
            Step::Redeem => {
                memory.redeem(TOKEN, UNTIL, self.now).ok().map(|()| mark_event(Why::Used, None))
            }
            Step::Revoke => match memory.revoke(TOKEN, UNTIL, self.now) {
                Ok((ended, _)) => Some(mark_event(Why::Revoked, ended)),
                Err(Refusal::Held { .. }) => None,
                // What killed it may not be on disk yet: whoever revokes waits for that.
                Err(_) => {
                    world.undone = self.refusals;
                    world.callers[caller] = Progress::Waiting(at);
                    world.queue.push_back((Event::Tick, self.now, caller));
                    return Some(world);
                }
            },
        };
        world.mark = memory.mark_of(&TOKEN);
        world.callers[caller] =
            if event.is_some() { Progress::Waiting(at) } else { Progress::Done };
        if let Some(event) = event {
            self.assert_may(step);
            world.queue.push_back((event, self.now, caller));
        }
        Some(world)
    }

    fn known(&self, number: u8) -> Option<HoldRef> {
        let end = self.held[usize::from(number)]?;
        Some(HoldRef { nonce: [number; 8], caller: CallerTag([number; 8]), end })
    }

    /// The disk has what waited longest, and its caller is told.
    fn write(&self, process: &Process) -> Option<Self> {
        let mut world = self.clone();
        let (event, at, caller) = world.queue.pop_front()?;
        let memory = process.with(self.mark.as_ref());
        memory.written(&event, at);
        world.mark = memory.mark_of(&TOKEN);
        world.written.push((event, at));
        let Progress::Waiting(step) = self.callers[caller] else { return Some(world) };
        let done = CALLERS[caller][step];
        world.undone = 0;
        if matches!(event, Event::Tick) && self.undone != self.refusals {
            world.callers[caller] = Progress::At(step);
            return Some(world);
        }
        if let (Step::Hold(number), Event::Hold { hold, .. }) = (done, event) {
            world.held[usize::from(number)] = Some(hold.end);
        }
        world.told.insert(done);
        world.callers[caller] = match CALLERS[caller].get(step + 1) {
            Some(_) => Progress::At(step + 1),
            None => Progress::Done,
        };
        world.assert_told();
        Some(world)
    }

    /// The disk has no room for what waited longest; its caller tries again.
    fn refuse(&self, process: &Process) -> Option<Self> {
        let mut world = self.clone();
        let (event, at, caller) = world.queue.pop_front().filter(|_| self.refusals < REFUSALS)?;
        let memory = process.with(self.mark.as_ref());
        memory.given_up(&event, at);
        world.mark = memory.mark_of(&TOKEN);
        world.refusals += 1;
        if let Progress::Waiting(step) = self.callers[caller] {
            world.callers[caller] = Progress::At(step);
        }
        Some(world)
    }

    /// The process dies with all that waits, and starts again from what is on disk.
    fn crash(&self, process: &mut Process) -> Self {
        let mut world = self.clone();
        world.queue.clear();
        world.crashes += 1;
        for progress in &mut world.callers {
            if let Progress::Waiting(_) = progress {
                *progress = Progress::Done;
            }
        }
        world.mark = process.restarted(&self.written, self.now);
        world
    }

    fn was_told(&self, wanted: impl Fn(&Step) -> bool) -> bool {
        self.told.iter().any(wanted)
    }

    /// A step that is about to succeed contradicts nothing that anybody was told.
    fn assert_may(&self, step: Step) {
        let is_spent = self.was_told(|step| matches!(step, Step::Redeem | Step::Commit(_)));
        let is_revoked = self.was_told(|step| *step == Step::Revoke);
        let is_end = matches!(step, Step::Cancel(_));
        assert!(!is_spent || is_end, "{step:?} after it was spent: {self:#?}");
        assert!(!is_revoked || is_end, "{step:?} after it was revoked or found dead: {self:#?}");
        for number in [1, 2] {
            let is_held = self.held[usize::from(number)].is_some_and(|end| self.now < end);
            let is_over = self.was_told(|step| *step == Step::Cancel(number));
            let is_its_own = [Step::Commit(number), Step::Cancel(number)].contains(&step);
            let may = !is_held || is_over || is_its_own || step == Step::Revoke;
            assert!(may, "{step:?} while {number} holds it: {self:#?}");
        }
    }

    /// What was told does not contradict itself.
    fn assert_told(&self) {
        let wins = self.told.iter().filter(|step| matches!(step, Step::Redeem | Step::Commit(_)));
        assert!(wins.count() <= 1, "spent twice: {self:#?}");
        let both = [Step::Commit(1), Step::Cancel(1)].map(|step| self.told.contains(&step));
        assert!(both != [true, true], "committed and cancelled: {self:#?}");
    }

    /// With nothing under way, memory says what a restart would say.
    fn assert_settled(&self, process: &mut Process) {
        let live = |mark: Option<Mark>, at| mark.is_none_or(|mark| mark.refuses(at).is_ok());
        let restarted = process.restarted(&self.written, self.now);
        // A hold that was never acknowledged may stand a little longer in memory, never for good.
        let later = self.now.plus(HOLD);
        assert_eq!(live(self.mark.clone(), later), live(restarted.clone(), later), "{self:#?}");
        let is_safe = live(restarted, self.now) || !live(self.mark.clone(), self.now);
        assert!(is_safe, "a restart remembers more than memory: {self:#?}");
        let is_dead = self.written.iter().any(|(event, _)| matches!(event, Event::Mark { .. }));
        assert_eq!(live(self.mark.clone(), later), !is_dead, "lost, or come back: {self:#?}");
    }
}

/// Of half a million worlds no two share one of these but by a chance of 10^-27.
fn fingerprint(what: &impl Hash) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        (seed, what).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

fn hold(number: u8, end: Timestamp) -> Hold {
    let (nonce, caller) = ([number; 8], CallerTag([number; 8]));
    Hold { nonce, caller, user: UserTag([4; 16]), iat: START, end }
}

fn held_event(hold: Hold) -> Event {
    Event::Hold { tenant: TOKEN.0, jti: TOKEN.1, hold, until: UNTIL, attempt: None }
}

fn mark_event(why: Why, hold: Option<Hold>) -> Event {
    Event::Mark { tenant: TOKEN.0, jti: TOKEN.1, why, until: UNTIL, attempt: None, hold }
}

#[test]
fn no_order_of_steps_spends_a_token_twice_or_loses_it() {
    let (mut seen, mut process) = (HashSet::new(), Process::new());
    let mut to_visit = vec![World::new()];
    let (mut settled, mut spent, mut cancelled, mut crashed) = (0, 0, 0, 0);
    while let Some(world) = to_visit.pop() {
        if !seen.insert(fingerprint(&world)) {
            continue;
        }
        if world.queue.is_empty() {
            world.assert_settled(&mut process);
            settled += 1;
        }
        spent += u32::from(world.was_told(|step| matches!(step, Step::Commit(_))));
        cancelled += u32::from(world.was_told(|step| matches!(step, Step::Cancel(_))));
        crashed += u32::from(world.crashes > 0);
        to_visit.extend(world.next(&mut process));
    }
    println!(
        "{} states: {settled} settled, {spent} committed, {cancelled} cancelled, {crashed} after a crash",
        seen.len()
    );
    assert!([settled, spent, cancelled, crashed].iter().all(|count| *count > 100));
}

#[test]
fn of_two_holds_on_disk_the_one_that_ends_last_is_in_force_in_whatever_order_they_were_written() {
    let holds = [1, 2].map(|number| hold(number, START.plus(u64::from(number) * 10)));
    for order in [[0, 1], [1, 0]] {
        let memory = Memory::new(u64::MAX);
        memory.recover(&order.map(|at| (held_event(holds[at]), START)), START.plus(5));
        let held = Held { hold: holds[1], until: UNTIL };
        assert_eq!(memory.mark_of(&TOKEN), Some(Mark::Held(Arc::new(held))));
    }
}

#[test]
fn a_cancel_that_was_written_late_ends_no_other_hold() {
    let holds = [1, 2].map(|number| hold(number, START.plus(10)));
    let cancel = Event::Cancel { tenant: TOKEN.0, jti: TOKEN.1, hold: holds[0], until: UNTIL };
    let events = [held_event(holds[0]), held_event(holds[1]), cancel].map(|event| (event, START));
    let memory = Memory::new(u64::MAX);
    memory.recover(&events, START.plus(5));
    let held = Held { hold: holds[1], until: UNTIL };
    assert_eq!(memory.mark_of(&TOKEN), Some(Mark::Held(Arc::new(held))));
}
