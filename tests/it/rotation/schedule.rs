//! Keys that rotate by themselves: on time, after a sleep, with several processes, and loud when they
//! cannot.

use resetd::domain::keyring::KeyState;
use resetd::domain::rotation::{self, Change, KeyRules, RotationError};
use resetd_verify::Timestamp;

use super::{Admin, RULES, START, add_in, retire, revoke};

const A_WEEK: u64 = 7 * 86_400;
const SCHEDULE: KeyRules = KeyRules { rotate_every: Some(A_WEEK), ..RULES };

/// From when the key signs that the schedule asks for now, if it asks for one.
fn due(admin: &Admin, now: Timestamp) -> Option<Timestamp> {
    let keyring = admin.folder.keystore().load().unwrap();
    let plan = rotation::due(&keyring, &SCHEDULE, now).unwrap()?;
    let Change::Add { times, .. } = &plan.changes[0] else {
        panic!("wanted a new key first, found {plan:?}");
    };
    Some(times.not_before)
}

#[test]
fn the_next_key_is_published_ahead_and_signs_on_the_day() {
    let admin = Admin::new();
    admin.generate();
    let day = START.plus(A_WEEK);
    assert_eq!(due(&admin, day.minus(361)), None);
    assert_eq!(due(&admin, day.minus(360)), Some(day));
}

#[test]
fn a_missed_day_is_caught_up_in_the_right_order() {
    let admin = Admin::new();
    admin.generate();
    let late = START.plus(3 * A_WEEK);
    assert_eq!(due(&admin, late), Some(late.plus(360)), "published first, as ever");
}

#[test]
fn what_is_published_is_not_published_again() {
    let mut admin = Admin::new();
    admin.generate();
    admin.now = START.plus(A_WEEK - 1000);
    admin.generate();
    assert_eq!(due(&admin, START.plus(A_WEEK - 360)), None);
}

#[test]
fn a_next_key_for_a_time_that_never_comes_does_not_stop_the_schedule() {
    let admin = Admin::new();
    admin.generate();
    admin.step(&add_in(10 * A_WEEK, false));
    let day = START.plus(A_WEEK);
    assert_eq!(due(&admin, day), Some(day.plus(360)));
}

#[test]
fn a_next_key_that_was_retired_does_not_stop_the_schedule() {
    let admin = Admin::new();
    admin.generate();
    let next = admin.step(&add_in(A_WEEK, false)).keys[0].kid.clone();
    admin.step(&retire(&next, false));
    let day = START.plus(A_WEEK);
    assert_eq!(due(&admin, day), Some(day.plus(360)));
}

#[test]
fn a_replacement_of_a_leaked_key_begins_a_new_period() {
    let mut admin = Admin::new();
    let leaked = admin.generate();
    admin.now = START.plus(A_WEEK / 2);
    admin.step(&revoke(&leaked));
    assert_eq!(due(&admin, START.plus(A_WEEK)), None);
}

#[test]
fn where_no_schedule_is_set_nothing_is_due() {
    let admin = Admin::new();
    admin.generate();
    let keyring = admin.folder.keystore().load().unwrap();
    assert!(rotation::due(&keyring, &RULES, START.plus(100 * A_WEEK)).unwrap().is_none());
    assert_eq!(rotation::next_rotation(&keyring, &RULES, START), None);
}

#[test]
fn a_schedule_that_has_no_room_for_a_key_says_so() {
    let admin = Admin::new();
    admin.generate();
    for seconds in 1..64 {
        admin.step(&add_in(20 * A_WEEK + seconds, false));
    }
    let keyring = admin.folder.keystore().load().unwrap();
    let due = rotation::due(&keyring, &SCHEDULE, START.plus(A_WEEK));
    assert_eq!(due.unwrap_err(), RotationError::TooManyKeys);
}

#[test]
fn a_rotation_that_is_due_removes_what_has_expired() {
    let mut admin = Admin::new();
    let old = admin.generate();
    admin.step(&add_in(400, false));
    admin.now = START.plus(400 + A_WEEK);
    let keyring = admin.folder.keystore().load().unwrap();
    let plan = rotation::due(&keyring, &SCHEDULE, admin.now).unwrap().unwrap();
    assert_eq!(plan.changes[1], Change::Remove { kid: old.clone() });
    assert_eq!(admin.state(&old), KeyState::Expired);
}
