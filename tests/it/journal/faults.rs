//! Disks that fill up and that fail, by way of a disk that does so when it is told to.

use std::io;
use std::sync::{Arc, Mutex};

use resetd::journal::{Disk, Health, Journal, Recovered, Unwritten};

use super::{Heard, NOW, append, mark};

/// What the next write and the next sync do.
#[derive(Debug, Default)]
struct Orders {
    write: Option<io::ErrorKind>,
    sync: Option<io::ErrorKind>,
    /// Bytes of the one segment, as a disk would have them.
    length: u64,
    /// How often segments were to be removed.
    removed: usize,
}

#[derive(Clone, Debug, Default)]
struct Faulty(Arc<Mutex<Orders>>);

impl Faulty {
    fn order(&self, write: Option<io::ErrorKind>, sync: Option<io::ErrorKind>) {
        let mut orders = self.0.lock().unwrap();
        (orders.write, orders.sync) = (write, sync);
    }

    fn removed(&self) -> usize {
        self.0.lock().unwrap().removed
    }

    fn length(&self) -> u64 {
        self.0.lock().unwrap().length
    }
}

impl Disk for Faulty {
    fn create(&mut self, _: u64, head: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().length = head.len() as u64;
        Ok(())
    }

    fn write(&mut self, _: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut orders = self.0.lock().unwrap();
        // A disk that is full has taken some of it.
        let taken =
            if orders.write.is_some() { bytes.len() as u64 / 2 } else { bytes.len() as u64 };
        orders.length = at + taken;
        orders.write.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn sync(&mut self, _: u64) -> io::Result<()> {
        self.0.lock().unwrap().sync.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn truncate(&mut self, _: u64, length: u64) -> io::Result<()> {
        self.0.lock().unwrap().length = length;
        Ok(())
    }

    fn remove_before(&mut self, _: u64) -> io::Result<()> {
        self.0.lock().unwrap().removed += 1;
        Ok(())
    }
}

fn start() -> (Journal, Faulty, Arc<Heard>) {
    let (disk, heard) = (Faulty::default(), Arc::<Heard>::default());
    let journal =
        Journal::start(Box::new(disk.clone()), &Recovered::default(), heard.clone(), None);
    (journal, disk, heard)
}

#[tokio::test]
async fn a_full_disk_gives_events_up_and_goes_on_when_there_is_room() {
    let (journal, disk, heard) = start();
    append(&journal, mark(1, NOW.plus(100))).await;
    let before = disk.length();
    for kind in
        [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge]
    {
        disk.order(Some(kind), None);
        let refused = journal.append(mark(2, NOW.plus(100)), NOW).wait().await;
        assert_eq!(refused, Err(Unwritten::Full));
        assert_eq!(journal.health(), Health::Full);
        assert_eq!(disk.length(), before, "half a record was taken back");
    }
    assert_eq!(heard.given_up.lock().unwrap().len(), 3);
    disk.order(None, None);
    append(&journal, mark(3, NOW.plus(100))).await;
    assert_eq!(journal.health(), Health::Well);
    assert_eq!(heard.written.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_failed_sync_stops_the_journal_for_good() {
    let (journal, disk, heard) = start();
    disk.order(None, Some(io::ErrorKind::Other));
    let refused = journal.append(mark(1, NOW.plus(100)), NOW).wait().await;
    assert_eq!(refused, Err(Unwritten::Failed));
    disk.order(None, None);
    let refused = journal.append(mark(2, NOW.plus(100)), NOW).wait().await;
    assert_eq!(refused, Err(Unwritten::Failed), "what is on disk is not known any more");
    assert_eq!(journal.health(), Health::Failed);
    assert!(heard.written.lock().unwrap().is_empty());
    // The event may be on disk, so in memory it stays done.
    assert!(heard.given_up.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_write_that_is_no_lack_of_room_stops_the_journal_for_good() {
    let (journal, disk, _) = start();
    disk.order(Some(io::ErrorKind::Other), None);
    let refused = journal.append(mark(1, NOW.plus(100)), NOW).wait().await;
    assert_eq!(refused, Err(Unwritten::Failed));
    assert_eq!(journal.health(), Health::Failed);
}

#[tokio::test]
async fn of_events_handed_over_together_a_full_disk_takes_all_or_none() {
    let (journal, disk, heard) = start();
    disk.order(Some(io::ErrorKind::StorageFull), None);
    let both = vec![mark(1, NOW.plus(10)), mark(2, NOW.plus(20))];
    assert_eq!(journal.append_all(both.clone(), NOW).wait().await, Err(Unwritten::Full));
    assert_eq!(*heard.given_up.lock().unwrap(), both);
    disk.order(None, None);
    journal.append_all(both.clone(), NOW).wait().await.unwrap();
    assert_eq!(*heard.written.lock().unwrap(), both);
}

#[tokio::test]
async fn nothing_is_removed_while_it_cannot_be_written_down_that_its_time_passed() {
    let (journal, disk, _) = start();
    append(&journal, mark(1, NOW.plus(10))).await;
    disk.order(Some(io::ErrorKind::StorageFull), None);
    journal.tidy(NOW.plus(7200));
    assert_eq!(journal.append(mark(2, NOW.plus(7200)), NOW).wait().await, Err(Unwritten::Full));
    assert_eq!(disk.removed(), 0);
    disk.order(None, None);
    journal.tidy(NOW.plus(7200));
    append(&journal, mark(3, NOW.plus(7200))).await;
    assert_eq!(disk.removed(), 1);
}
