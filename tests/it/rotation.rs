//! The steps of a key's life: which one is allowed when, what it changes, and what it says of the
//! consequences. In the files below, whole rotations seen from outside.

mod reload;
mod schedule;
mod walk;

use std::fs;

use resetd::domain::keyring::{KeyState, MARGIN};
use resetd::domain::policy::TenantName;
use resetd::domain::rotation::{Change, KeyRules, RotationError, Step, TAKE_UP};
use resetd::key_admin::{Done, KeyAdminError, KeyFolder};
use resetd::keystore::{Keystore, KeystoreError};
use resetd_verify::{Algorithm, KeyId, Timestamp};
use tempfile::TempDir;

/// Longest life of a token here, in seconds.
const ACCEPTANCE: u64 = 1000;
/// So long a retired key stays.
const RETENTION: u64 = ACCEPTANCE + MARGIN;
const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

const RULES: KeyRules = KeyRules {
    algorithm: Algorithm::Es256,
    jwks_max_age: 300,
    publish_ahead: 360,
    rotate_every: None,
};

/// A folder of keys and the time.
struct Admin {
    folder: KeyFolder,
    now: Timestamp,
    _directory: TempDir,
}

impl Admin {
    /// Without any key.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(directory.path().join("keys"), ACCEPTANCE);
        let folder = KeyFolder::new(TenantName::default(), keystore, RULES);
        Self { folder, now: START, _directory: directory }
    }

    /// With a key that has been signing for an hour.
    fn with_active_key() -> (Self, KeyId) {
        let mut admin = Self::new();
        let active = admin.generate();
        admin.now = admin.now.plus(3600);
        (admin, active)
    }

    fn try_step(&self, step: &Step) -> Result<Done, KeyAdminError> {
        self.folder.carry_out(step, None, None, self.now)
    }

    fn step(&self, step: &Step) -> Done {
        self.try_step(step).unwrap()
    }

    #[track_caller]
    fn refused(&self, step: &Step) -> RotationError {
        let before = self.files();
        match self.try_step(step) {
            Err(KeyAdminError::Rotation(error)) => {
                assert_eq!(self.files(), before, "a step that is refused changes nothing");
                error
            }
            other => panic!("wanted a refusal, found {other:?}"),
        }
    }

    fn generate(&self) -> KeyId {
        self.step(&add()).keys[0].kid.clone()
    }

    fn states(&self) -> Vec<(KeyId, KeyState)> {
        let list = self.folder.list(self.now).unwrap();
        list.keys.into_iter().map(|key| (key.kid, key.state)).collect()
    }

    fn state(&self, kid: &KeyId) -> KeyState {
        self.states().into_iter().find(|(known, _)| known == kid).unwrap().1
    }

    /// Name and text of every file of a key.
    fn files(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.folder.keystore().directory()).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "jwk"))
            .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

fn add() -> Step {
    Step::Add { algorithm: Algorithm::Es256, signs_in: None, force: false }
}

fn add_in(seconds: u64, force: bool) -> Step {
    Step::Add { algorithm: Algorithm::Es256, signs_in: Some(seconds), force }
}

fn activate(kid: &KeyId, force: bool) -> Step {
    Step::Activate { kid: kid.clone(), force }
}

fn retire(kid: &KeyId, force: bool) -> Step {
    Step::Retire { kid: kid.clone(), force }
}

fn revoke(kid: &KeyId) -> Step {
    Step::Revoke { kid: kid.clone(), algorithm: Algorithm::Es256 }
}

fn rotate() -> Step {
    Step::Rotate { algorithm: Algorithm::Es256 }
}

#[test]
fn the_first_key_signs_at_once_and_a_later_one_when_all_verifiers_know_it() {
    let mut admin = Admin::new();
    let first = admin.generate();
    assert_eq!(admin.state(&first), KeyState::Active);
    let second = admin.generate();
    admin.now = admin.now.plus(RULES.publish_ahead - 1);
    assert_eq!(admin.state(&second), KeyState::Next);
    admin.now = admin.now.plus(1);
    assert_eq!(admin.state(&second), KeyState::Active);
    assert_eq!(admin.state(&first), KeyState::Retired);
}

#[test]
fn a_key_that_would_sign_before_all_verifiers_know_it_is_refused_and_the_wait_is_told() {
    let (admin, _) = Admin::with_active_key();
    let error = admin.refused(&add_in(359, false));
    let safe_from = admin.now.plus(360);
    assert_eq!(error, RotationError::TooSoon { max_age: 300, safe_from, wait: 360 });
    assert!(error.to_string().contains("wait 360 seconds, or break them with --force"), "{error}");
}

#[test]
fn with_force_it_signs_and_what_breaks_is_told() {
    let (admin, _) = Admin::with_active_key();
    let done = admin.step(&add_in(0, true));
    assert!(done.plan.destructive);
    let told = done.plan.consequences.join("\n");
    assert!(told.contains("do not know the key and refuse new links"), "{told}");
    assert_eq!(done.keys[0].state, KeyState::Active);
}

#[test]
fn a_next_key_is_activated_only_when_it_has_been_published_for_long_enough() {
    let (mut admin, active) = Admin::with_active_key();
    let next = admin.step(&add_in(5000, false)).keys[0].kid.clone();
    admin.now = admin.now.plus(100);
    let safe_from = admin.now.plus(260);
    let wanted = RotationError::TooSoon { max_age: 300, safe_from, wait: 260 };
    assert_eq!(admin.refused(&activate(&next, false)), wanted);
    admin.now = admin.now.plus(260);
    let done = admin.step(&activate(&next, false));
    assert!(!done.plan.destructive);
    // Not at once: every process on the folder shall have seen it by then.
    assert_eq!(admin.state(&active), KeyState::Active);
    admin.now = admin.now.plus(TAKE_UP);
    assert_eq!(admin.state(&next), KeyState::Active);
    assert_eq!(admin.state(&active), KeyState::Retired);
}

#[test]
fn a_forced_activation_says_until_when_verifiers_may_refuse_new_links() {
    let (mut admin, _) = Admin::with_active_key();
    let next = admin.step(&add_in(5000, false)).keys[0].kid.clone();
    admin.now = admin.now.plus(100);
    let done = admin.step(&activate(&next, true));
    assert!(done.plan.destructive);
    let until = resetd::domain::time::to_rfc3339(admin.now.plus(260));
    let told = done.plan.consequences.join("\n");
    assert!(told.contains(&format!("refuse new links, until {until} at the latest")), "{told}");
}

#[test]
fn only_a_next_key_is_activated() {
    let (admin, active) = Admin::with_active_key();
    let state = KeyState::Active;
    let wanted = RotationError::WrongState { kid: active.clone(), state, wanted: "next" };
    assert_eq!(admin.refused(&activate(&active, true)), wanted);
}

#[test]
fn the_key_that_signs_is_retired_only_by_force() {
    let (mut admin, active) = Admin::with_active_key();
    let wanted = RotationError::LastKey { kid: active.clone() };
    assert_eq!(admin.refused(&retire(&active, false)), wanted);
    let done = admin.step(&retire(&active, true));
    assert!(done.plan.destructive);
    assert!(done.plan.consequences[0].contains("no token is issued from"));
    assert_eq!(admin.state(&active), KeyState::Active, "until every process has seen it");
    admin.now = admin.now.plus(TAKE_UP);
    assert_eq!(admin.state(&active), KeyState::Retired);
    let state = KeyState::Retired;
    let wanted = RotationError::WrongState { kid: active.clone(), state, wanted: "next or active" };
    assert_eq!(admin.refused(&retire(&active, true)), wanted);
}

#[test]
fn a_next_key_that_is_retired_never_signs_and_can_be_removed() {
    let (mut admin, active) = Admin::with_active_key();
    let next = admin.generate();
    assert!(admin.step(&retire(&next, false)).plan.destructive);
    assert_eq!(admin.state(&next), KeyState::Expired);
    admin.now = admin.now.plus(RULES.publish_ahead);
    assert_eq!(admin.state(&active), KeyState::Active);
    admin.step(&Step::Prune);
    assert_eq!(admin.states(), [(active, KeyState::Active)]);
}

#[test]
fn a_leaked_key_is_revoked_and_replaced_in_one_step_which_says_who_may_still_trust_it() {
    let (admin, leaked) = Admin::with_active_key();
    let done = admin.step(&revoke(&leaked));
    assert!(done.plan.destructive);
    let told = done.plan.consequences.join("\n");
    assert!(told.contains("may trust it for 300 more seconds"), "{told}");
    assert_eq!(admin.state(&leaked), KeyState::Revoked);
    let active: Vec<_> =
        admin.states().into_iter().filter(|(_, state)| *state == KeyState::Active).collect();
    assert_eq!(active.len(), 1);
    assert_ne!(active[0].0, leaked);
}

#[test]
fn the_key_that_verifiers_know_best_takes_the_place_of_a_leaked_one() {
    let (mut admin, leaked) = Admin::with_active_key();
    let known = admin.step(&add_in(5000, false)).keys[0].kid.clone();
    admin.now = admin.now.plus(10);
    let newer = admin.step(&add_in(4000, false)).keys[0].kid.clone();
    admin.now = admin.now.plus(RULES.publish_ahead);
    let done = admin.step(&revoke(&leaked));
    assert!(!done.plan.consequences.join("\n").contains("do not know the key"));
    assert_eq!(admin.state(&known), KeyState::Active);
    assert_eq!(admin.state(&newer), KeyState::Next);
}

#[test]
fn a_replacement_signs_also_where_the_clock_is_a_little_slow() {
    let (admin, leaked) = Admin::with_active_key();
    admin.step(&revoke(&leaked));
    let keyring = admin.folder.keystore().load().unwrap();
    assert!(keyring.active(admin.now.minus(MARGIN)).is_some());
}

#[test]
fn a_revoked_key_does_not_come_back_when_the_clock_is_set_back() {
    let (admin, leaked) = Admin::with_active_key();
    admin.step(&revoke(&leaked));
    let keyring = admin.folder.keystore().load().unwrap();
    let key = keyring.keys().find(|key| *key.kid() == leaked).unwrap();
    assert_eq!(keyring.state(key, START), KeyState::Revoked);
    assert!(keyring.at(START).unwrap().verifying.key(&leaked).is_none());
}

#[test]
fn a_leaked_key_stays_revoked_when_its_old_file_is_restored() {
    let (admin, leaked) = Admin::with_active_key();
    let backup = admin.files();
    admin.step(&revoke(&leaked));
    fs::write(&backup[0].0, &backup[0].1).unwrap();
    assert_eq!(admin.state(&leaked), KeyState::Revoked);
}

#[test]
fn what_is_revoked_stays_until_nothing_it_took_over_from_could_sign_again() {
    let (mut admin, old) = Admin::with_active_key();
    let newer = admin.step(&add_in(0, true)).keys[0].kid.clone();
    admin.now = admin.now.plus(10);
    admin.step(&revoke(&newer));
    for wait in [0, RETENTION - 10 - 1] {
        admin.now = admin.now.plus(wait);
        admin.step(&Step::Prune);
        assert_eq!(admin.state(&newer), KeyState::Revoked);
        assert_eq!(admin.state(&old), KeyState::Retired);
    }
    admin.now = admin.now.plus(11);
    admin.step(&Step::Prune);
    assert_eq!(admin.states().len(), 1, "the replacement alone");
}

#[test]
fn a_rotation_publishes_a_key_once_and_says_what_will_happen_when() {
    let (admin, active) = Admin::with_active_key();
    let done = admin.step(&rotate());
    assert!(!done.plan.destructive);
    let from = resetd::domain::time::to_rfc3339(admin.now.plus(360));
    let gone = resetd::domain::time::to_rfc3339(admin.now.plus(360 + RETENTION));
    let wanted = [
        format!("the new key is published at once and signs from {from}"),
        format!(
            "{active} retires then; its links stay good, and its file can be removed from {gone}"
        ),
    ];
    assert_eq!(done.plan.consequences, wanted);
    let again = admin.step(&rotate());
    assert!(again.plan.changes.is_empty());
    assert!(again.plan.consequences[0].contains("is published already"));
    assert_eq!(admin.states().len(), 2);
}

#[test]
fn a_key_is_removed_when_its_last_token_has_expired_and_not_before() {
    let (mut admin, old) = Admin::with_active_key();
    admin.step(&rotate());
    admin.now = admin.now.plus(360 + RETENTION - 1);
    assert!(admin.step(&Step::Prune).plan.changes.is_empty());
    let list = admin.folder.list(admin.now).unwrap();
    assert_eq!(list.keys[1].removable_in_seconds, Some(1));
    assert_eq!(list.keys[1].last_token_expires, Some(admin.now.minus(MARGIN - 1)));
    admin.now = admin.now.plus(1);
    assert_eq!(admin.state(&old), KeyState::Expired);
    assert!(admin.step(&Step::Prune).plan.destructive);
    assert_eq!(admin.states().len(), 1);
}

#[test]
fn the_files_of_expired_keys_are_removed_oldest_first() {
    let (mut admin, first) = Admin::with_active_key();
    let second = admin.step(&add_in(0, true)).keys[0].kid.clone();
    admin.now = admin.now.plus(10);
    admin.step(&add_in(0, true));
    admin.now = admin.now.plus(RETENTION);
    let plan = admin.folder.plan(&Step::Prune, admin.now).unwrap();
    let wanted = [first, second].map(|kid| Change::Remove { kid });
    assert_eq!(plan.changes, wanted);
}

#[test]
fn no_more_keys_are_published_than_verifiers_take() {
    let admin = Admin::new();
    for seconds in 0..64 {
        admin.step(&add_in(seconds + 400, true));
    }
    assert_eq!(admin.refused(&add()), RotationError::TooManyKeys);
    assert!(admin.folder.keystore().load().unwrap().at(admin.now).is_ok());
}

#[test]
fn a_plan_that_was_confirmed_is_not_carried_out_when_the_keys_changed_meanwhile() {
    let (admin, active) = Admin::with_active_key();
    let confirmed = admin.folder.plan(&revoke(&active), admin.now).unwrap();
    admin.generate();
    let refused = admin.folder.carry_out(&revoke(&active), None, Some(&confirmed), admin.now);
    assert!(matches!(refused, Err(KeyAdminError::Changed)));
    assert_eq!(admin.state(&active), KeyState::Active);
}

#[test]
fn a_plan_that_breaks_nothing_is_not_carried_out_when_it_would_break_something_now() {
    let admin = Admin::new();
    let confirmed = {
        admin.folder.keystore().create().unwrap();
        admin.folder.plan(&add_in(0, true), admin.now).unwrap()
    };
    assert!(!confirmed.destructive);
    admin.generate();
    let refused = admin.folder.carry_out(&add_in(0, true), None, Some(&confirmed), admin.now);
    assert!(matches!(refused, Err(KeyAdminError::Changed)), "{refused:?}");
}

#[test]
fn no_more_is_done_than_was_confirmed() {
    let (mut admin, _) = Admin::with_active_key();
    let first = admin.generate();
    let second = admin.generate();
    admin.step(&retire(&first, false));
    let confirmed = admin.folder.plan(&Step::Prune, admin.now).unwrap();
    assert_eq!(confirmed.changes.len(), 1);
    admin.step(&retire(&second, false));
    admin.now = admin.now.plus(1);
    let refused = admin.folder.carry_out(&Step::Prune, None, Some(&confirmed), admin.now);
    assert!(matches!(refused, Err(KeyAdminError::Changed)), "{refused:?}");
    assert_eq!(admin.states().len(), 3);
}

#[test]
fn a_plan_that_was_confirmed_a_while_ago_is_carried_out_as_of_now() {
    let (mut admin, active) = Admin::with_active_key();
    let confirmed = admin.folder.plan(&revoke(&active), admin.now).unwrap();
    admin.now = admin.now.plus(90);
    admin.folder.carry_out(&revoke(&active), None, Some(&confirmed), admin.now).unwrap();
    let keyring = admin.folder.keystore().load().unwrap();
    let key = keyring.keys().find(|key| *key.kid() == active).unwrap();
    assert!(key.times().revoked_at.unwrap() >= admin.now.minus(MARGIN));
}

#[test]
fn a_dry_run_changes_nothing() {
    let (admin, active) = Admin::with_active_key();
    let before = admin.files();
    for step in [add(), rotate(), revoke(&active), retire(&active, true), Step::Prune] {
        assert!(admin.folder.dry_run(&step, None, admin.now).unwrap().dry_run);
    }
    assert_eq!(admin.files(), before);
}

#[test]
fn a_key_is_meant_by_the_beginning_of_its_name_if_that_is_clear() {
    let (admin, active) = Admin::with_active_key();
    assert_eq!(admin.folder.kid(&active.as_str()[..8]).unwrap(), active);
    let error = admin.folder.kid("").map(drop);
    assert!(error.is_ok(), "there is one key only");
    admin.generate();
    let ambiguous = admin.folder.kid("").unwrap_err();
    assert!(matches!(ambiguous, KeyAdminError::Rotation(RotationError::AmbiguousKey(_))));
    let unknown = admin.folder.kid("no-such-key").unwrap_err();
    assert!(matches!(unknown, KeyAdminError::Rotation(RotationError::UnknownKey(_))));
}

#[test]
fn a_folder_with_a_faulty_file_is_not_changed_and_the_file_is_named() {
    let (admin, active) = Admin::with_active_key();
    let broken = admin.folder.keystore().directory().join("broken.jwk");
    crate::vectors::write_key(&broken, b"{");
    let before = admin.files();
    let error = admin.try_step(&revoke(&active)).unwrap_err();
    assert!(matches!(error, KeyAdminError::Keystore(KeystoreError::Json { .. })), "{error}");
    assert!(error.to_string().contains("broken.jwk"), "{error}");
    assert_eq!(admin.files(), before);
    let list = admin.folder.list(admin.now).unwrap();
    assert_eq!(list.keys.len(), 1, "the good keys are told");
    assert_eq!(list.faults.len(), 1);
}

#[test]
fn no_key_that_is_made_here_has_a_name_that_looks_like_a_flag() {
    let admin = Admin::new();
    // One in 64 would.
    for _ in 0..6 {
        for second in 0..60 {
            admin.step(&add_in(second + 400, true));
        }
        for (path, _) in admin.files() {
            let name = std::path::Path::new(&path).file_name().unwrap().to_str().unwrap();
            assert!(!name.starts_with('-'), "{name}");
            fs::remove_file(path).unwrap();
        }
    }
}
