//! Files that settings name. In: checked settings and where relay.toml is. Out: the settings with what those
//! files say. A relative path starts at the folder of relay.toml.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use super::error::ConfigError;
use super::{Config, Tls};
use crate::geo::POLYGON_BYTES_MAX;

/// Reads them, and says where they are from now on.
///
/// # Errors
/// The first file that cannot be read, or says what it must not.
pub(super) fn read(config: &mut Config, relay_toml: &Path) -> Result<(), ConfigError> {
    let folder = relay_toml.parent().unwrap_or(Path::new(""));
    if let Some(cache) = &mut config.acme.cache {
        *cache = folder.join(&*cache);
    }
    let (Tls { certificate, key, .. }, ca) = (&mut config.tls, &mut config.acme.directory_ca);
    for (name, file) in [("tls.certificate", certificate), ("tls.key", key), ("acme.directory_ca", ca)] {
        let Some(file) = file else { continue };
        *file = folder.join(&*file);
        // What is in it is read when it is needed, and a certificate whenever it changes.
        File::open(&*file).map_err(|cause| unreadable(file, name, cause))?;
    }
    let cluster = &mut config.cluster;
    let files = [
        ("cluster.password_file", &mut cluster.password_file),
        ("cluster.tls_ca", &mut cluster.tls_ca),
        ("cluster.tls_certificate", &mut cluster.tls_certificate),
        ("cluster.tls_key", &mut cluster.tls_key),
    ];
    for (name, file) in files {
        let Some(file) = file else { continue };
        *file = folder.join(&*file);
        File::open(&*file).map_err(|cause| unreadable(file, name, cause))?;
    }
    for settings in std::iter::once(&mut config.root).chain(&mut config.communities) {
        for list in &mut settings.blocklist.files {
            *list = folder.join(&*list);
            // They are read by who watches them; one that is not there at the start is a slip in the path.
            File::open(&*list).map_err(|cause| unreadable(list, "blocklist.files", cause))?;
        }
        let Some(named) = settings.geohash.file() else { continue };
        let file = folder.join(named);
        let text = text_of(&file, POLYGON_BYTES_MAX)
            .map_err(|cause| unreadable(&file, "geohash.polygon_file", cause))?;
        settings
            .geohash
            .draw(text)
            .map_err(|fault| refused(&file, "geohash.polygon_file", &fault.problem, &fault.remedy, None))?;
    }
    Ok(())
}

/// Why a file that a setting names cannot be used.
fn unreadable(file: &Path, key: &str, cause: Error) -> ConfigError {
    let (problem, remedy) = match cause.kind() {
        ErrorKind::NotFound => ("there is no such file", "name the right path"),
        ErrorKind::PermissionDenied => ("permission to read it is denied", "let plaza read it"),
        ErrorKind::InvalidData => ("it is no text in UTF-8", "save it as UTF-8"),
        ErrorKind::FileTooLarge => ("it is too large", "simplify the polygon"),
        _ => ("reading it failed", "check the disk and the path"),
    };
    refused(file, key, problem, remedy, Some(cause))
}

fn refused(file: &Path, key: &str, problem: &str, remedy: &str, cause: Option<Error>) -> ConfigError {
    ConfigError::Unreadable {
        file: file.to_owned(),
        problem: format!("{problem}, and {key} names it"),
        remedy: remedy.to_owned(),
        cause,
    }
}

/// The text of a file of at most so many bytes.
fn text_of(file: &Path, bytes_max: usize) -> Result<String, Error> {
    let mut bytes = Vec::new();
    File::open(file)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(Error::from(ErrorKind::FileTooLarge));
    }
    String::from_utf8(bytes).map_err(|cause| Error::new(ErrorKind::InvalidData, cause))
}
