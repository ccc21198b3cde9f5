//! Files that settings name. In: checked settings and where relay.toml is. Out: the settings with what those
//! files say. A relative path starts at the folder of relay.toml.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::{Config, ModerationService, Tls};
use crate::event::secret_key;
use crate::geo::POLYGON_BYTES_MAX;

/// A secret is no longer than this.
const SECRET_BYTES_MAX: usize = 4_096;

/// Bytes of a file that holds one secret key.
const KEY_BYTES_MAX: usize = 1024;

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
    find([("tls.certificate", certificate), ("tls.key", key), ("acme.directory_ca", ca)], folder)?;
    for mirror in &mut config.mirrors {
        let Some(file) = &mut mirror.key_file else { continue };
        *file = folder.join(&*file);
        // What is in it is read again at each connection.
        let text =
            text_of(file, KEY_BYTES_MAX).map_err(|cause| unreadable(file, "mirror.key_file", cause))?;
        if secret_key(&text).is_none() {
            let problem = "it does not hold one secret key";
            let remedy = "write the key into it as nsec1… or 64 hexadecimal digits, and nothing else";
            return Err(refused(file, "mirror.key_file", problem, remedy, None));
        }
    }
    let cluster = &mut config.cluster;
    let files = [
        ("cluster.password_file", &mut cluster.password_file),
        ("cluster.tls_ca", &mut cluster.tls_ca),
        ("cluster.tls_certificate", &mut cluster.tls_certificate),
        ("cluster.tls_key", &mut cluster.tls_key),
    ];
    find(files, folder)?;
    for settings in std::iter::once(&mut config.root).chain(&mut config.communities) {
        for list in &mut settings.blocklist.files {
            *list = folder.join(&*list);
            // They are read by who watches them; one that is not there at the start is a slip in the path.
            File::open(&*list).map_err(|cause| unreadable(list, "blocklist.files", cause))?;
        }
        let service = &mut settings.moderation_service;
        if let Some(file) = &mut service.secret_file {
            *file = folder.join(&*file);
            service.secret = secret_of(file)?;
        }
        find(service.files_of_nats(), folder)?;
        for plugin in &mut settings.plugins.chain {
            plugin.folder = folder.to_owned();
            let Some(program) = plugin.file() else { continue };
            check_program(&program)?;
        }
        if let Some(file) = &mut settings.relay.secret_key_file {
            *file = folder.join(&*file);
            File::open(&*file).map_err(|cause| unreadable(file, "relay.secret_key_file", cause))?;
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

/// Says where some files are, which must be there. What is in them is read when it is needed, and a certificate whenever
/// it changes.
fn find<const N: usize>(
    files: [(&'static str, &mut Option<PathBuf>); N],
    folder: &Path,
) -> Result<(), ConfigError> {
    for (name, file) in files {
        let Some(file) = file else { continue };
        *file = folder.join(&*file);
        File::open(&*file).map_err(|cause| unreadable(file, name, cause))?;
    }
    Ok(())
}

/// The secret in a file, without the end of its line.
fn secret_of(file: &Path) -> Result<Vec<u8>, ConfigError> {
    const KEY: &str = "moderation_service.secret_file";
    let text = text_of(file, SECRET_BYTES_MAX).map_err(|cause| unreadable(file, KEY, cause))?;
    let secret = text.trim_end().as_bytes().to_vec();
    if ModerationService::is_short(&secret) {
        return Err(refused(file, KEY, "it has fewer than 16 bytes", "write a longer secret into it", None));
    }
    Ok(secret)
}

/// Whether a program can be run, as far as its file tells.
fn check_program(program: &Path) -> Result<(), ConfigError> {
    const KEY: &str = "plugins.chain";
    let metadata = program.metadata().map_err(|cause| unreadable(program, KEY, cause))?;
    let (problem, remedy) = match (metadata.is_file(), is_executable(&metadata)) {
        (true, true) => return Ok(()),
        (true, false) => ("it may not be run", "make it executable: chmod +x"),
        (false, _) => ("it is no file", "name the right path"),
    };
    Err(refused(program, KEY, problem, remedy, None))
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    true
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
