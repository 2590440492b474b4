//! What it costs that nothing is forgotten: claims per second with their sync, and the time to read a
//! million of them back.
//!
//! `cargo bench --bench journal`; `cargo test --bench journal` does the same on little.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resetd::domain::policy::{Lifetime, Policy, TenantName};
use resetd::journal::StateFolder;
use resetd::revocation::Revocations;
use resetd_verify::{Claims, Timestamp, TokenId};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let (alone, together, live) =
        if is_test { (10, 100, 1000) } else { (2000, 200_000, 1_000_000) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (claimers, claims) in [(1, alone), (64, together)] {
        let folder = tempfile::tempdir().unwrap();
        let took = runtime.block_on(claim(folder.path(), claimers, claims));
        let rate = f64::from(claims) / took.as_secs_f64();
        println!("{claimers:>3} claimers: {rate:>9.0} claims per second");
    }
    let folder = tempfile::tempdir().unwrap();
    let before = resident();
    let fresh = runtime.block_on(claim_all(folder.path(), live));
    fresh.tidy(NOW);
    let grown = resident().saturating_sub(before);
    println!("in memory: {} bytes per claim", grown / u64::from(live));
    drop(fresh);
    let bytes: u64 =
        fs::read_dir(&folder).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
    let start = Instant::now();
    let revocations = open(folder.path());
    let took = start.elapsed();
    revocations.tidy(NOW);
    println!("read back: {live} live claims in {:.3} s", took.as_secs_f64());
    println!("on disk: {} bytes per claim", bytes / u64::from(live));
    assert_eq!(revocations.count(), u64::from(live));
}

/// As many claims as fast as can be, kept.
async fn claim_all(folder: &Path, claims: u32) -> Revocations {
    let (revocations, policy) = (open(folder), policy());
    let mut last = None;
    for number in 0..claims {
        last = revocations.redeem(&policy, &token(number), None, || NOW).ok();
    }
    last.unwrap().wait().await.unwrap();
    revocations
}

fn open(folder: &Path) -> Revocations {
    let folder = StateFolder::open(folder, [7; 16]).unwrap();
    let recovered = folder.recover(NOW, &|_, _| {}).unwrap();
    Revocations::journalled(folder, &recovered, NOW, u64::MAX)
}

/// So many claims by so many claimers at once, each waiting for the disk.
async fn claim(folder: &Path, claimers: u32, claims: u32) -> Duration {
    let (revocations, policy) = (Arc::new(open(folder)), Arc::new(policy()));
    let start = Instant::now();
    let claimers: Vec<_> = (0..claimers)
        .map(|claimer| {
            let (revocations, policy) = (revocations.clone(), policy.clone());
            tokio::spawn(async move {
                for number in (claimer..claims).step_by(claimers as usize) {
                    let claims = token(number);
                    revocations
                        .redeem(&policy, &claims, None, || NOW)
                        .unwrap()
                        .wait()
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for claimer in claimers {
        claimer.await.unwrap();
    }
    start.elapsed()
}

fn policy() -> Policy {
    Policy {
        tenant: TenantName::default(),
        issuer: "https://reset.example.com".into(),
        audience: "app".into(),
        lifetime: Lifetime { default: 900, min: 60, max: 86_400 },
        leeway: 0,
        supersede: false,
    }
}

fn token(number: u32) -> Claims {
    Claims {
        iss: "https://reset.example.com".into(),
        aud: vec!["app".into()],
        sub: "alice".into(),
        credential_id: None,
        credential_version: None,
        user_id: None,
        iat: NOW,
        // Spread over a day, as tokens are.
        exp: NOW.plus(900 + u64::from(number) % 80_000),
        nbf: None,
        jti: TokenId::from_bytes(
            (u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes(),
        ),
        status: None,
    }
}

/// Bytes of memory that this process has, as Linux tells.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok());
    kilobytes.map_or(0, |kilobytes: u64| kilobytes * 1024)
}
