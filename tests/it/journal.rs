//! What is told is on disk: crashes at any moment, torn and damaged files, disks that fill up and fail.

mod crash;
mod faults;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use resetd::journal::{
    Attempt, CallerTag, Change, Event, Hold, Journal, Recovered, Scope, Sink, StateError,
    StateFolder, TenantTag, UserTag, Why,
};
use resetd_verify::{Timestamp, TokenId};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const RECORD: u64 = 128;

/// Remembers what it was told of.
#[derive(Debug, Default)]
struct Heard {
    written: Mutex<Vec<Event>>,
    given_up: Mutex<Vec<Event>>,
}

impl Sink for Heard {
    fn written(&self, event: &Event, _: Timestamp) {
        self.written.lock().unwrap().push(*event);
    }

    fn given_up(&self, event: &Event, _: Timestamp) {
        self.given_up.lock().unwrap().push(*event);
    }
}

fn mark(number: u128, until: Timestamp) -> Event {
    let jti = TokenId::from_bytes(number.to_be_bytes());
    Event::Mark { tenant: TenantTag([1; 8]), jti, why: Why::Used, until, attempt: None, hold: None }
}

fn open(folder: &Path) -> StateFolder {
    StateFolder::open(folder, [7; 16]).unwrap()
}

fn start(folder: &Path) -> (Journal, Arc<Heard>) {
    let (folder, heard) = (open(folder), Arc::<Heard>::default());
    let recovered = folder.recover(NOW, &|_, _| {}).unwrap();
    (folder.start(&recovered, heard.clone()), heard)
}

fn recover(folder: &Path) -> Result<Recovered, StateError> {
    open(folder).recover(NOW, &|_, _| {})
}

async fn append(journal: &Journal, event: Event) {
    journal.append(event, NOW).wait().await.unwrap();
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    logs
}

#[tokio::test]
async fn every_kind_of_event_comes_back_as_it_was_written_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, user) = (TenantTag([2; 8]), UserTag([3; 16]));
    let jti = TokenId::from_bytes([9; 16]);
    let (second, until) = (NOW.plus(1), NOW.plus(5000));
    let mut events = vec![mark(1, until)];
    for scope in [Scope::Everything, Scope::Tenant(tenant), Scope::User(tenant, user)] {
        for change in
            [Change::Raise(second), Change::Supersede(second, jti), Change::Admit(second, jti)]
        {
            events.push(Event::Cutoff { scope, change, until });
        }
    }
    let why = Why::Revoked;
    let attempt = Some(Attempt { key: [5; 16], body: [6; 8] });
    let late = NOW.plus(90_000);
    events.push(Event::Mark { tenant, jti, why, until: late, attempt, hold: None });
    let caller = CallerTag([8; 8]);
    let (iat, end) = (NOW.minus(86_400), NOW.plus(600));
    let hold = Hold { nonce: [7; 8], caller, user, iat, end };
    events.push(Event::Hold { tenant, jti, hold, until, attempt });
    events.push(Event::Hold { tenant, jti, hold, until: end, attempt: None });
    events.push(Event::Cancel { tenant, jti, hold, until });
    for why in [Why::Used, Why::Revoked] {
        events.push(Event::Mark { tenant, jti, why, until, attempt: None, hold: Some(hold) });
    }
    let (journal, heard) = start(folder.path());
    for event in &events {
        append(&journal, *event).await;
    }
    assert_eq!(*heard.written.lock().unwrap(), events);
    drop(journal);
    let recovered = recover(folder.path()).unwrap();
    let found: Vec<_> = recovered.events.iter().map(|(event, _)| *event).collect();
    assert_eq!(found, events);
    assert!(recovered.cuts.is_empty());
}

#[tokio::test]
async fn a_segment_is_dropped_when_nothing_in_it_can_matter() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = start(folder.path());
    append(&journal, mark(1, NOW.plus(10))).await;
    append(&journal, mark(2, NOW.plus(7200))).await;
    let [first, second] = segments(folder.path()).try_into().unwrap();
    journal.tidy(NOW.plus(3600));
    append(&journal, mark(3, NOW.plus(7200))).await;
    assert_eq!((first.exists(), second.exists()), (false, true));
}

#[tokio::test]
async fn whoever_waits_hears_how_much_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = start(folder.path());
    for hours in 0..20 {
        append(&journal, mark(hours.into(), NOW.plus(hours * 3600))).await;
    }
    drop(journal);
    let heard = Mutex::new(Vec::new());
    open(folder.path()).recover(NOW, &|done, of| heard.lock().unwrap().push((done, of))).unwrap();
    let mut heard = heard.into_inner().unwrap();
    heard.sort_unstable();
    let wanted: Vec<_> = (1..=20).map(|done| (done * 2 * RECORD, 40 * RECORD)).collect();
    assert_eq!(heard, wanted);
}

#[tokio::test]
async fn before_a_segment_is_dropped_it_is_written_down_that_its_hour_passed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = start(folder.path());
    append(&journal, mark(1, NOW.plus(10))).await;
    // The clock is hours ahead for a moment, and the process dies before anything else happens.
    journal.tidy(NOW.plus(7200));
    drop(journal);
    assert!(recover(folder.path()).unwrap().high_water >= NOW.plus(7200));
}

#[tokio::test]
async fn events_handed_over_together_are_in_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = start(folder.path());
    append(&journal, mark(1, NOW.plus(10))).await;
    let both = vec![mark(2, NOW.plus(10)), mark(3, NOW.plus(7200))];
    journal.append_all(both, NOW).wait().await.unwrap();
    drop(journal);
    let batches: Vec<u64> = segments(folder.path())
        .iter()
        .flat_map(|path| {
            let bytes = fs::read(path).unwrap();
            let records = bytes.chunks_exact(128).skip(1);
            records.map(|it| u64::from_le_bytes(it[16..24].try_into().unwrap())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(batches, [1, 2, 2]);
}

#[tokio::test]
async fn a_journal_in_which_nothing_stands_is_blank_whatever_else_is_there() {
    let folder = tempfile::tempdir().unwrap();
    assert!(recover(folder.path()).unwrap().is_blank, "nothing but the salt");
    let (journal, _) = start(folder.path());
    append(&journal, mark(1, NOW.plus(10))).await;
    drop(journal);
    assert!(!recover(folder.path()).unwrap().is_blank);
    let later = open(folder.path()).recover(NOW.plus(90_000), &|_, _| {}).unwrap();
    assert!(!later.is_blank, "what is over was there");
    for segment in segments(folder.path()) {
        fs::remove_file(segment).unwrap();
    }
    assert!(recover(folder.path()).unwrap().is_blank, "all segments are lost");
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let (_journal, _) = start(folder.path());
    let refused = StateFolder::open(folder.path(), [0; 16]).unwrap_err();
    assert!(matches!(refused, StateError::Locked { .. }), "{refused}");
}

#[tokio::test]
async fn time_does_not_go_back_behind_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = start(folder.path());
    journal.append(Event::Tick, NOW.plus(50)).wait().await.unwrap();
    drop(journal);
    assert_eq!(recover(folder.path()).unwrap().high_water, NOW.plus(50));
}

/// Three batches of one record each, all in one segment.
async fn three_records(folder: &Path) -> PathBuf {
    let (journal, _) = start(folder);
    for number in 1..=3 {
        append(&journal, mark(number, NOW.plus(100))).await;
    }
    drop(journal);
    segments(folder).remove(0)
}

#[tokio::test]
async fn a_file_cut_at_any_byte_of_its_last_records_gives_back_all_before_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let segment = three_records(folder.path()).await;
    let whole = fs::read(&segment).unwrap();
    assert_eq!(whole.len() as u64, 4 * RECORD);
    for length in RECORD..=4 * RECORD {
        fs::write(&segment, &whole[..usize::try_from(length).unwrap()]).unwrap();
        let recovered = recover(folder.path()).unwrap();
        let records = length / RECORD - 1;
        assert_eq!(recovered.events.len() as u64, records, "{length}");
        let torn = length % RECORD;
        let cuts: Vec<_> = recovered.cuts.iter().map(|cut| (cut.at, cut.bytes)).collect();
        let wanted = if torn == 0 { vec![] } else { vec![(length - torn, torn)] };
        assert_eq!(cuts, wanted, "{length}");
        assert_eq!(fs::metadata(&segment).unwrap().len(), length - torn);
    }
}

#[tokio::test]
async fn what_is_damaged_before_its_end_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let segment = three_records(folder.path()).await;
    let whole = fs::read(&segment).unwrap();
    for at in 0..usize::try_from(3 * RECORD).unwrap() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&segment, &damaged).unwrap();
        let told = recover(folder.path()).unwrap_err().to_string();
        let place = at as u64 / RECORD * RECORD;
        assert!(
            told.contains(&format!("is damaged at byte {place}, before its end; restore the file")),
            "{at}: {told}"
        );
        assert_eq!(fs::read(&segment).unwrap(), damaged, "nothing is cut off");
    }
    // In the last record it cannot be told from a torn end, and is cut off with a report.
    let mut torn = whole.clone();
    *torn.last_mut().unwrap() ^= 1;
    fs::write(&segment, &torn).unwrap();
    assert_eq!(recover(folder.path()).unwrap().cuts.len(), 1);
}

#[tokio::test]
async fn a_journal_goes_on_behind_a_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let segment = three_records(folder.path()).await;
    let length = fs::metadata(&segment).unwrap().len();
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(length - 10).unwrap();
    let (journal, _) = start(folder.path());
    append(&journal, mark(4, NOW.plus(100))).await;
    drop(journal);
    let found: Vec<_> =
        recover(folder.path()).unwrap().events.iter().map(|(event, _)| *event).collect();
    assert_eq!(found, [1, 2, 4].map(|number| mark(number, NOW.plus(100))));
}

#[tokio::test]
async fn damage_at_the_end_of_a_segment_is_told_from_a_torn_end_by_what_was_written_later() {
    for cut_short in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = start(folder.path());
        append(&journal, mark(1, NOW.plus(100))).await;
        append(&journal, mark(2, NOW.plus(100))).await;
        append(&journal, mark(3, NOW.plus(7200))).await;
        drop(journal);
        let segment = segments(folder.path()).remove(0);
        let mut bytes = fs::read(&segment).unwrap();
        if cut_short {
            bytes.truncate(bytes.len() - 1);
        } else {
            bytes[2 * 128 + 40] ^= 1;
        }
        fs::write(&segment, &bytes).unwrap();
        let told = recover(folder.path()).unwrap_err().to_string();
        assert!(told.contains("is damaged at byte 256"), "{told}");
    }
}

#[tokio::test]
async fn another_layout_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let segment = three_records(folder.path()).await;
    let mut bytes = fs::read(&segment).unwrap();
    bytes[12] = 77;
    let sum = crc32fast::hash(&bytes[..124]);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    fs::write(&segment, &bytes).unwrap();
    let told = recover(folder.path()).unwrap_err().to_string();
    assert!(
        told.contains("has layout 77, wanted 2; start the version of resetd that wrote it"),
        "{told}"
    );
}

#[test]
fn a_folder_that_others_may_write_to_is_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let told = StateFolder::open(folder.path(), [0; 16]).unwrap_err().to_string();
    assert!(told.contains("has mode 0770, wanted no write permission for group"), "{told}");
}

#[test]
fn a_salt_that_is_not_whole_is_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    fs::write(folder.path().join("salt"), [0; 15]).unwrap();
    let told = StateFolder::open(folder.path(), [0; 16]).unwrap_err().to_string();
    assert!(told.contains("has 15 bytes, wanted 16; restore it"), "{told}");
}
