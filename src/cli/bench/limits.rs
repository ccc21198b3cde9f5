//! What the machine could do at best, measured in the same run: signatures that its cores verify, and writes that
//! its disk makes durable. In: events, a folder. Out: rates. No relay takes part.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use secp256k1::{XOnlyPublicKey, schnorr};

use super::Failure;
use super::process::cpu_seconds;
use crate::event::Event;

/// Signatures that are verified on each core.
const SIGNATURES: usize = 20_000;

/// How long writes are synced, and how many at most.
const SYNC_TIME: Duration = Duration::from_secs(2);
const SYNCS_MAX: usize = 2_000;

/// Verifies signatures on all cores, with nothing else to do: how many in a second, and the CPU for each in
/// microseconds, which is the steadier figure where others use the machine too.
pub(super) fn signatures(events: &[Event]) -> Result<(f64, f64), Failure> {
    let events = &events[..events.len().min(SIGNATURES)];
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let (began, before) = (Instant::now(), cpu_seconds(std::process::id())?);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                for event in events {
                    let signature = schnorr::Signature::from_byte_array(event.sig.0);
                    let key = XOnlyPublicKey::from_byte_array(event.pubkey.0);
                    let is_true = key.is_ok_and(|key| schnorr::verify(&signature, &event.id.0, &key).is_ok());
                    assert!(is_true, "the corpus is signed");
                }
            });
        }
    });
    let (count, seconds) = ((events.len() * cores) as f64, began.elapsed().as_secs_f64());
    Ok((count / seconds, (cpu_seconds(std::process::id())? - before) / count * 1e6))
}

/// How many appended writes of 4 KiB a file in this folder makes durable in a second, one after the other.
pub(super) fn syncs_per_second(folder: &Path) -> Result<f64, Failure> {
    let path = folder.join("syncs");
    let mut file = File::create(&path)?;
    let began = Instant::now();
    let mut syncs = 0;
    while syncs < SYNCS_MAX && began.elapsed() < SYNC_TIME {
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = syncs as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}
