//! Files that settings name. In: checked settings and where relay.toml is. Out: the settings with what those
//! files say. A relative path starts at the folder of relay.toml.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use super::Config;
use super::error::ConfigError;
use crate::geo::POLYGON_BYTES_MAX;

/// Reads them.
///
/// # Errors
/// The first file that cannot be read, or says what it must not.
pub(super) fn read(config: &mut Config, relay_toml: &Path) -> Result<(), ConfigError> {
    let folder = relay_toml.parent().unwrap_or(Path::new(""));
    for settings in std::iter::once(&mut config.root).chain(&mut config.communities) {
        let Some(named) = settings.geohash.file() else { continue };
        let file = folder.join(named);
        let refuse = |problem: &str, remedy: &str, cause| ConfigError::Unreadable {
            file: file.clone(),
            problem: format!("{problem}, and geohash.polygon_file names it"),
            remedy: remedy.to_owned(),
            cause,
        };
        let text = text_of(&file, POLYGON_BYTES_MAX).map_err(|cause| {
            let (problem, remedy) = match cause.kind() {
                ErrorKind::NotFound => ("there is no such file", "name the right path"),
                ErrorKind::PermissionDenied => ("permission to read it is denied", "let plaza read it"),
                ErrorKind::InvalidData => ("it is no text in UTF-8", "save it as UTF-8"),
                ErrorKind::FileTooLarge => ("it is too large", "simplify the polygon"),
                _ => ("reading it failed", "check the disk and the path"),
            };
            refuse(problem, remedy, Some(cause))
        })?;
        settings.geohash.draw(text).map_err(|fault| refuse(&fault.problem, &fault.remedy, None))?;
    }
    Ok(())
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
