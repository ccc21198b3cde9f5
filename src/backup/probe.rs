//! Invariants of manifests, for `crate::fuzz`. Their checksum is made right first, so that changes reach what lies
//! behind it.

use std::path::Path;

use super::manifest::{self, Manifest};
use crate::fuzz::{Chance, Target};
use crate::store::Tally;
use crate::store::copy::Part;

pub(crate) const MANIFEST: Target = Target::new("manifest", 16 * 1024, build, check);

fn build(chance: &mut Chance) -> Vec<u8> {
    let mut manifest = Manifest::new(chance.bytes());
    manifest.stamp = chance.bytes();
    (manifest.made_at, manifest.runs) = (chance.edge(), chance.edge() as u32);
    (manifest.copied.group, manifest.copied.first_number) = (chance.edge(), chance.edge());
    for number in 0..chance.below(4) as u32 {
        manifest.communities.insert(format!("/{}", chance.text()), number);
        manifest.copied.next_numbers.insert(number, chance.edge());
        manifest.copied.tallies.insert(number, Tally { records: chance.edge(), sum: chance.edge() });
    }
    for _ in 0..chance.below(5) {
        let part = [Part::Records, Part::Removed, Part::State][chance.below(3)];
        let name = if chance.one_in(20) { chance.text() } else { format!("records-{}-1", chance.below(9)) };
        manifest.files.push(manifest::FileEntry {
            name,
            part,
            bytes: chance.edge(),
            sha256: chance.hex::<32>(),
        });
    }
    manifest.text().unwrap_or_default().into_bytes()
}

fn check(bytes: &[u8]) -> bool {
    let path = Path::new("backup/manifest");
    let given = Manifest::parse(bytes, path);
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let body = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n')).map_or(text, |(body, _)| body);
    let manifest = match Manifest::parse(manifest::with_sum(body).as_bytes(), path) {
        Ok(manifest) => manifest,
        Err(error) => {
            let said = error.to_string();
            assert!(given.is_err() && said.contains("backup/manifest"), "{said}");
            return false;
        }
    };
    let written = manifest.text().expect("a manifest is text");
    assert_eq!(Manifest::parse(written.as_bytes(), path).ok().as_ref(), Some(&manifest), "{written}");
    for file in &manifest.files {
        let inside = Path::new("backup").join(&file.name);
        assert!(inside.parent() == Some(Path::new("backup")), "{:?} lies in its folder", file.name);
    }
    assert!(manifest.bytes() >= manifest.files.iter().map(|file| file.bytes).max().unwrap_or(0));
    true
}
