//! The order of orders: by lane, by when they are due. Pure but for the time, which is brought.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use resetd_verify::Timestamp;

use super::{Outcome, Taken, Waiting};
use crate::domain::order::{Lane, Order};

/// So many orders of one lane are on their way at once.
const AT_ONCE: usize = 8;

#[derive(Debug)]
pub(super) struct Queue {
    lanes: BTreeMap<Lane, LaneQueue>,
    /// All that wait, are on their way, or have room reserved.
    count: usize,
    capacity: usize,
    /// Orders that are due at the same moment keep their order.
    sequence: u64,
    outcomes: BTreeMap<Outcome, u64>,
}

/// The outcome of a try after which there will be another.
const RETRIED: &str = "retried";

#[derive(Debug, Default)]
struct LaneQueue {
    waiting: BTreeMap<(Instant, u64), Taken>,
    running: usize,
    /// When each of both was taken.
    accepted: BTreeSet<(Timestamp, TokenIdBytes)>,
}

type TokenIdBytes = [u8; 16];

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// This is due.
    Due(Taken),
    /// Something will be due then.
    At(Instant),
    /// Nothing can be done before something changes.
    Nothing,
}

impl LaneQueue {
    fn count(&self) -> usize {
        self.waiting.len() + self.running
    }
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let (lanes, outcomes) = (BTreeMap::new(), BTreeMap::new());
        Self { lanes, count: 0, capacity, sequence: 0, outcomes }
    }

    /// Keeps room for an order, if there is any.
    pub(super) fn reserve(&mut self) -> bool {
        let has_room = self.count < self.capacity;
        self.count += usize::from(has_room);
        has_room
    }

    /// The same for what nobody waits for. It never takes the room of links: half of all is theirs, and a
    /// service that is away takes a quarter at most.
    pub(super) fn reserve_beside(&mut self, lane: &Lane) -> bool {
        let of_lane = self.lanes.get(lane).map_or(0, LaneQueue::count);
        let has_room = self.count < self.capacity / 2 && of_lane < self.capacity / 4;
        has_room && self.reserve()
    }

    /// Gives reserved room back.
    pub(super) fn give_back(&mut self) {
        self.count -= 1;
    }

    /// Puts an order where room was reserved for it.
    pub(super) fn push(&mut self, order: Order, due: Instant) {
        let lane = self.lanes.entry(order.lane()).or_default();
        lane.accepted.insert(age_of(&order));
        self.sequence += 1;
        lane.waiting.insert((due, self.sequence), Taken { order, tries: 0, is_signed: false });
    }

    /// Takes an order in, whether there is room or not.
    pub(super) fn take_in(&mut self, order: Order, due: Instant) {
        self.count += 1;
        self.push(order, due);
    }

    /// The order that is due first, of a lane in which not too many are on their way.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let free = self.lanes.iter().filter(|(_, lane)| lane.running < AT_ONCE);
        let first = free.filter_map(|(name, lane)| Some((*lane.waiting.keys().next()?, name)));
        let Some(((due, sequence), name)) = first.min() else { return Next::Nothing };
        if due > now {
            return Next::At(due);
        }
        let name = name.clone();
        let taken = self.lanes.get_mut(&name).and_then(|lane| {
            lane.running += 1;
            lane.waiting.remove(&(due, sequence))
        });
        taken.map_or(Next::Nothing, Next::Due)
    }

    /// An order that was on its way is no more.
    pub(super) fn done(&mut self, order: &Order, what: &'static str) {
        let name = order.lane();
        self.count -= 1;
        *self.outcomes.entry(Outcome { lane: name.clone(), what }).or_default() += 1;
        let Some(lane) = self.lanes.get_mut(&name) else { return };
        lane.running -= 1;
        lane.accepted.remove(&age_of(order));
        if lane.running == 0 && lane.waiting.is_empty() {
            self.lanes.remove(&name);
        }
    }

    /// An order that was on its way waits again.
    pub(super) fn again(&mut self, taken: Taken, due: Instant) {
        let name = taken.order.lane();
        *self.outcomes.entry(Outcome { lane: name.clone(), what: RETRIED }).or_default() += 1;
        let lane = self.lanes.entry(name).or_default();
        lane.running -= 1;
        self.sequence += 1;
        let tries = taken.tries.saturating_add(1);
        lane.waiting.insert((due, self.sequence), Taken { tries, ..taken });
    }

    pub(super) fn outcomes(&self) -> Vec<(Outcome, u64)> {
        self.outcomes.iter().map(|(outcome, count)| (outcome.clone(), *count)).collect()
    }

    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let lanes = self.lanes.iter().map(|(name, lane)| Waiting {
            lane: name.clone(),
            count: lane.count() as u64,
            oldest: lane.accepted.first().map(|(accepted, _)| *accepted),
        });
        lanes.collect()
    }
}

fn age_of(order: &Order) -> (Timestamp, TokenIdBytes) {
    (order.accepted, *order.id.bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resetd_verify::TokenId;

    use super::*;
    use crate::domain::order::{Body, Errand};
    use crate::domain::policy::TenantName;

    fn order(n: u8, endpoint: &str) -> Order {
        Order {
            id: TokenId::from_bytes([n; 16]),
            tenant: TenantName::default(),
            accepted: Timestamp::from_seconds(u64::from(n)),
            until: Timestamp::from_seconds(1000),
            errand: Errand::Event { endpoint: endpoint.into(), body: Body("{}".into()) },
        }
    }

    fn due(queue: &mut Queue, now: Instant) -> Option<Taken> {
        match queue.next(now) {
            Next::Due(taken) => Some(taken),
            Next::At(_) | Next::Nothing => None,
        }
    }

    #[test]
    fn orders_go_out_in_their_order_and_come_back_when_they_are_due_again() {
        let (mut queue, now) = (Queue::new(10), Instant::now());
        for n in 1..=2 {
            assert!(queue.reserve());
            queue.push(order(n, "a"), now);
        }
        let first = due(&mut queue, now).unwrap();
        assert_eq!((first.order.id, first.tries), (order(1, "a").id, 0));
        let later = now + Duration::from_secs(5);
        queue.again(first, later);
        let second = due(&mut queue, now).unwrap();
        queue.done(&second.order, "sent");
        assert!(matches!(queue.next(now), Next::At(then) if then == later));
        let again = due(&mut queue, later).unwrap();
        assert_eq!((again.order.id, again.tries), (order(1, "a").id, 1));
        assert_eq!(queue.waiting()[0].oldest, Some(Timestamp::from_seconds(1)));
        queue.done(&again.order, "sent");
        assert!(matches!(queue.next(later), Next::Nothing));
        assert!(queue.waiting().is_empty());
        let outcomes = queue.outcomes().into_iter().map(|(outcome, count)| (outcome.what, count));
        assert_eq!(outcomes.collect::<Vec<_>>(), [("retried", 1), ("sent", 2)]);
    }

    #[test]
    fn a_lane_that_hangs_holds_up_no_other() {
        let (mut queue, now) = (Queue::new(100), Instant::now());
        for n in 0..20 {
            queue.take_in(order(n, "hanging"), now);
        }
        queue.take_in(order(99, "well"), now);
        let taken: Vec<_> = std::iter::from_fn(|| due(&mut queue, now)).collect();
        assert_eq!(taken.len(), AT_ONCE + 1);
        assert!(
            taken
                .iter()
                .any(|taken| taken.order.lane()
                    == Lane::Events(TenantName::default(), "well".into()))
        );
        queue.done(&taken[0].order, "sent");
        assert!(due(&mut queue, now).is_some());
    }

    #[test]
    fn news_of_one_service_take_a_quarter_and_all_news_leave_half_to_links() {
        let (mut queue, now) = (Queue::new(8), Instant::now());
        let mut offer = |n: u8, endpoint: &str| {
            let order = order(n, endpoint);
            let has_room = queue.reserve_beside(&order.lane());
            if has_room {
                queue.push(order, now);
            }
            has_room
        };
        let taken: Vec<_> = (0..4).map(|n| offer(n, "away")).collect();
        assert_eq!(taken, [true, true, false, false]);
        let taken: Vec<_> = (4..8).map(|n| offer(n, "well")).collect();
        assert_eq!(taken, [true, true, false, false]);
        assert!(!offer(8, "third"));
        assert_eq!((0..5).filter(|_| queue.reserve()).count(), 4);
    }

    #[test]
    fn room_is_bounded_and_comes_back() {
        let (mut queue, now) = (Queue::new(2), Instant::now());
        assert!(queue.reserve() && queue.reserve() && !queue.reserve());
        queue.give_back();
        assert!(queue.reserve());
        queue.push(order(1, "a"), now);
        let taken = due(&mut queue, now).unwrap();
        assert!(!queue.reserve(), "what is on its way takes room");
        queue.done(&taken.order, "sent");
        assert!(queue.reserve());
    }
}
