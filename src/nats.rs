//! How servers of NATS are reached, by the log of a cluster and by moderation services. In: who somebody is there and whom
//! they trust. Out: options to connect by. Never connects.

use std::io;
use std::path::Path;

use async_nats::ConnectOptions;

/// Who somebody is to a server, and whom they trust.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// The name, where servers ask for one.
    pub(crate) user: &'a Option<String>,
    /// The file of its password; certificates of authorities (PEM), in place of those that the system trusts; a certificate
    /// (PEM), where servers ask for one, and its key.
    pub(crate) files: [Option<&'a Path>; 4],
}

impl Keys<'_> {
    /// Adds them to what is connected by. The password is read now, so that a new one counts at the next connection.
    ///
    /// # Errors
    /// A sentence that names the file of the password, when it cannot be read.
    pub(crate) async fn add_to(&self, mut options: ConnectOptions) -> io::Result<ConnectOptions> {
        let [password_file, tls_ca, tls_certificate, tls_key] = self.files;
        if let (Some(user), Some(file)) = (self.user, password_file) {
            let password = tokio::fs::read_to_string(file).await;
            let password = password
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
            options = options.user_and_password(user.clone(), password.trim().to_owned());
        }
        if let Some(ca) = tls_ca {
            options = options.add_root_certificates(ca.to_owned());
        }
        if let (Some(certificate), Some(key)) = (tls_certificate, tls_key) {
            options = options.add_client_certificate(certificate.to_owned(), key.to_owned());
        }
        Ok(options)
    }
}
