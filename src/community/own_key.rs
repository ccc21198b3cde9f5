//! The relay's own key, with which it signs what it has to say itself (NIP-11 `self`). In: settings, the folder of the
//! store. Out: who signs. One that is needed and not there is made, and none but the relay's user may read it. The key
//! itself is in no error.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::event::{Signer, secret_key};
use crate::store::CommunityId;

/// The folder of keys, within the store's.
pub(crate) const FOLDER: &str = "keys";

/// Bytes of a file that may hold a key.
const FILE_BYTES_MAX: u64 = 4_096;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error(
        "{}: cannot read the relay's secret key: {reason}; let the relay's user read the file, or name another one in \
         relay.secret_key_file", path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// What it holds is none.
    #[error("{}: holds no secret key: write one as 64 hexadecimal digits or as nsec1…", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be kept.
    #[error(
        "{}: cannot keep a new secret key for the relay: {reason}; let the relay's user write there, or name a file in \
         relay.secret_key_file", path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The settings say another public key.
    #[error(
        "{place}relay.self is {stated}, and the relay's secret key is that of {key}; remove the line, or name the file \
         with the right key in relay.secret_key_file"
    )]
    Contradicts {
        /// The community's path and a colon, but for the root.
        place: String,
        /// What the settings say.
        stated: String,
        /// Whose the secret key is.
        key: String,
    },
}

/// The key of a community; `None` where it needs none.
///
/// # Errors
/// When it cannot be read or made, or is not the one that the settings tell.
pub(super) fn of(settings: &Settings, folder: &Path, id: CommunityId) -> Result<Option<Signer>, KeyError> {
    let relay = &settings.relay;
    let signer = match &relay.secret_key_file {
        Some(path) => read(path)?,
        None if settings.has_own_key() => {
            let path = folder.join(FOLDER).join(format!("{}.key", id.0));
            match path.exists() {
                true => read(&path)?,
                false => {
                    let signer =
                        make(&path).map_err(|reason| KeyError::Write { path: path.clone(), reason })?;
                    tracing::info!(
                        "{}: the relay has a new key of its own: {}",
                        path.display(),
                        signer.key()
                    );
                    signer
                }
            }
        }
        None => return Ok(None),
    };
    match &relay.self_key {
        Some(stated) if *stated != signer.key().to_string() => Err(KeyError::Contradicts {
            place: if relay.path == "/" { String::new() } else { format!("{}: ", relay.path) },
            stated: stated.clone(),
            key: signer.key().to_string(),
        }),
        _ => Ok(Some(signer)),
    }
}

fn read(path: &Path) -> Result<Signer, KeyError> {
    let failed = |reason| KeyError::Read { path: path.to_owned(), reason };
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(KeyError::NoKey { path: path.to_owned() });
    }
    let text = fs::read(path).map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    let keypair = secret_key(&text).ok_or_else(|| KeyError::NoKey { path: path.to_owned() })?;
    Ok(Signer::of(keypair))
}

/// Draws a key and keeps it in a file, whole or not at all, for the eyes of this process' user alone. What was there is
/// written over.
///
/// # Errors
/// What the system says.
pub(crate) fn make(path: &Path) -> io::Result<Signer> {
    let (secret, signer) = loop {
        let secret: [u8; 32] = secp256k1::rand::random();
        if let Some(signer) = Signer::new(secret) {
            break (secret, signer);
        }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = path.with_extension("new");
    // One that a crash has left may have been for more eyes.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{}", hex::encode(secret))?;
    file.sync_all()?;
    fs::rename(new, path)?;
    File::open(folder)?.sync_all()?;
    if let Some(above) = folder.parent() {
        File::open(above)?.sync_all()?;
    }
    Ok(signer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bech32::Hrp;

    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_key_is_made_where_it_is_needed_and_stays() {
        let folder = std::env::temp_dir().join(format!("plaza-own-key-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let of = |settings: &Settings, number| of(settings, &folder, CommunityId(number));
        assert!(of(&Settings::default(), 0).expect("no key").is_none());
        assert!(!folder.exists(), "nothing is made where nothing is needed");
        let on = settings("[nip29]\nenabled = true");
        let key = |number| of(&on, number).expect("a key").expect("a key").key();
        let first = key(0);
        assert_eq!(key(0), first, "it stays");
        assert_ne!(key(1), first, "each community has its own");
        let file = folder.join("keys/0.key");
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        let secret = fs::read_to_string(&file).expect("a key").trim().to_owned();

        let nsec = bech32::encode::<bech32::Bech32>(
            Hrp::parse("nsec").expect("a prefix"),
            &hex::decode(&secret).expect("hexadecimal digits"),
        );
        let named = folder.join("named");
        let mut by_file = on.clone();
        by_file.relay.secret_key_file = Some(named.clone());
        let table = [
            (Some(secret.clone()), None, None),
            (Some(nsec.expect("nsec1…")), Some(first.to_string()), None),
            (Some(secret.clone()), Some("7".repeat(64)), Some("relay.self is 777")),
            (Some(secret[1..].to_owned()), None, Some("holds no secret key")),
            (Some("0".repeat(64)), None, Some("holds no secret key")),
            (None, None, Some("cannot read")),
        ];
        for (text, stated, error) in table {
            let _ = fs::remove_file(&named);
            text.iter().for_each(|text| fs::write(&named, format!("{text}\n")).expect("a file"));
            by_file.relay.self_key = stated;
            match (of(&by_file, 0), error) {
                (Ok(Some(signer)), None) => assert_eq!(signer.key(), first),
                (Err(said), Some(part)) => {
                    let said = said.to_string();
                    assert!(said.contains(part) && !said.contains(&secret[1..]), "{said}");
                }
                (other, _) => panic!("{text:?}: {other:?}"),
            }
        }
        fs::remove_dir_all(&folder).expect("the folder is there");
    }
}
