//! Certificates that the relay gets by itself (ACME, RFC 8555). In: settings, and what is kept of earlier runs.
//! Out: a certificate in use, always renewed before it ends. The relay proves that its names are its own within
//! TLS handshakes (TLS-ALPN-01, RFC 8737), so nothing but the port for encrypted connections must be reached.
//! What fails is logged with what to do, and tried again after a while that grows.

mod https;
mod kept;
mod term;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;

use super::tls::{Certificates, TlsError, provider};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::words;
use https::Https;
use kept::{Kept, KeptCertificate};

/// The folder in the store's where all is kept, unless the settings name another one.
pub(crate) const FOLDER: &str = "acme";

/// How long the first failure keeps from trying again; each further one doubles it. Authorities allow few
/// failures an hour.
const RETRY_FIRST: Duration = Duration::from_secs(5 * 60);

/// The longest that a failure keeps from trying again.
const RETRY_MAX: Duration = Duration::from_secs(12 * 3_600);

/// The longest sleep: a machine that was asleep itself looks at the time soon after.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// How long the authority may take to look at the proofs, and then to make the certificate.
const PATIENCE: Duration = Duration::from_secs(120);

/// A bound of the time for all of it, which no request that hangs can break.
const ATTEMPT_MAX: Duration = Duration::from_secs(15 * 60);

/// How an authority says that it does not know an account (any more).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcmeError {
    #[error("{directory} cannot be asked: {reason}; let this machine reach it, or set acme.directory")]
    Unreachable { directory: String, reason: instant_acme::Error },
    #[error("{directory} refuses: {why}; its documentation says what to do")]
    Refused { directory: String, why: String },
    #[error("{0}")]
    NoTrust(String),
    #[error("{0}: the authority offers no proof by TLS-ALPN-01; choose another acme.directory")]
    NoChallenge(String),
    #[error("{domain}: {why}; the name must lead to this machine, and port 443 there to tls.listen")]
    Proof { domain: String, why: String },
    #[error("the authority took too long; it is asked again")]
    TooLong,
    #[error("{}: {reason}; let the relay's user write there, or name another folder in acme.cache", path.display())]
    Keep { path: PathBuf, reason: io::Error },
    #[error("the certificate that came is of no use: {0}")]
    Useless(#[from] TlsError),
    #[error("a proof cannot be made: {0}")]
    MakeProof(#[from] rcgen::Error),
    #[error("a proof cannot be signed: {0}")]
    SignProof(#[from] rustls::Error),
    #[error("the certificate that came is due for renewal already; is this machine's clock right?")]
    Clock,
}

/// Gets certificates and keeps them fresh.
pub(super) struct Acme {
    settings: config::Acme,
    kept: Kept,
}

impl Acme {
    /// What the settings ask for, if they do.
    pub(super) fn of(config: &Config) -> Option<Acme> {
        let settings = config.acme.clone();
        let folder = settings.cache.clone().unwrap_or_else(|| config.store.path.join(FOLDER));
        (!settings.domains.is_empty()).then_some(Acme { settings, kept: Kept::new(folder) })
    }

    /// The certificate of an earlier run, if it is of any use until there is a new one.
    pub(super) fn kept(&self) -> Option<CertifiedKey> {
        self.kept.certificate()?.read().ok()
    }

    /// Gets a certificate whenever that is due.
    pub(super) async fn renew(self, certificates: Arc<Certificates>, clock: Clock) {
        let mut retry = RETRY_FIRST;
        loop {
            let due_in = self.due_at().saturating_sub(clock.now());
            if due_in > 0 {
                tokio::time::sleep(Duration::from_secs(due_in).min(SLEEP_MAX)).await;
                continue;
            }
            tracing::info!("getting a certificate for {}", self.settings.domains.join(", "));
            let got = match tokio::time::timeout(ATTEMPT_MAX, self.get(&certificates)).await {
                Ok(got) => got,
                Err(_) => Err(AcmeError::TooLong),
            };
            certificates.forget_proofs();
            let due_in = self.due_at().saturating_sub(clock.now());
            match got {
                Ok(()) if due_in > 0 => {
                    retry = RETRY_FIRST;
                    let due_in =
                        words::duration(if due_in > 86_400 { due_in / 86_400 * 86_400 } else { due_in });
                    tracing::info!("the new certificate is in use, and is renewed in {due_in}");
                    continue;
                }
                Ok(()) => tracing::error!("{}", AcmeError::Clock),
                Err(error) => tracing::error!("cannot get a certificate: {error}"),
            }
            tracing::info!("the next try for a certificate is in {}", words::duration(retry.as_secs()));
            tokio::time::sleep(retry).await;
            retry = (2 * retry).min(RETRY_MAX);
        }
    }

    /// When a new certificate is due, in seconds since 1970: when two thirds of the kept one's term are over, or
    /// at once when it is for something else.
    fn due_at(&self) -> u64 {
        let kept = self.kept.certificate().filter(|kept| kept.is_for(&self.settings));
        let term = kept.and_then(|kept| term::term_of(kept.read().ok()?.cert.first()?));
        term.map_or(0, |term| term.from + term.until.saturating_sub(term.from) / 3 * 2)
    }

    /// Gets a certificate, keeps it and takes it into use.
    async fn get(&self, certificates: &Certificates) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let names: Vec<_> = self.settings.domains.iter().cloned().map(Identifier::Dns).collect();
        let order = account.new_order(&NewOrder::new(&names)).await;
        let mut order = order.map_err(|error| {
            if matches!(&error, instant_acme::Error::Api(problem) if problem.r#type.as_deref() == Some(NO_ACCOUNT)) {
                // The next try begins with a new one.
                self.kept.forget_account();
            }
            self.authority(error)
        })?;
        self.offer_proofs(&mut order, certificates).await?;
        let policy = RetryPolicy::default().timeout(PATIENCE);
        let status = order.poll_ready(&policy).await;
        if !matches!(status, Ok(OrderStatus::Ready)) {
            let detailed = self.refused_proof(&mut order).await;
            return Err(detailed.unwrap_or_else(|| match status {
                Err(error) => self.authority(error),
                Ok(_) => AcmeError::TooLong,
            }));
        }
        let key = order.finalize().await.map_err(|error| self.authority(error))?;
        let certificate = order.poll_certificate(&policy).await.map_err(|error| self.authority(error))?;
        let kept = KeptCertificate::new(&self.settings, certificate, key);
        let certified = kept.read()?;
        self.kept.keep_certificate(&kept).map_err(|reason| self.cannot_keep(reason))?;
        certificates.replace(certified);
        Ok(())
    }

    /// The account of an earlier run, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let config::Acme { directory, contact, agree_to_terms, directory_ca, .. } = &self.settings;
        let builder = Account::builder_with_http(Box::new(Https::trusting(directory_ca.as_deref())?));
        if let Some(credentials) = self.kept.account(directory) {
            return builder.from_credentials(credentials).await.map_err(|error| self.authority(error));
        }
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: *agree_to_terms,
            only_return_existing: false,
        };
        let created = builder.create(&new, directory.clone(), None).await;
        let (account, credentials) = created.map_err(|error| self.authority(error))?;
        self.kept.keep_account(directory, credentials).map_err(|reason| self.cannot_keep(reason))?;
        Ok(account)
    }

    /// Lays out a proof for each name that the authority wants one for, and has it look at them.
    async fn offer_proofs(&self, order: &mut Order, certificates: &Certificates) -> Result<(), AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.authority(error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let domain = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::NoChallenge(domain));
            };
            let proof = proof(&domain, challenge.key_authorization().digest().as_ref())?;
            certificates.lay_out_proof(&domain, proof);
            challenge.set_ready().await.map_err(|error| self.authority(error))?;
        }
        Ok(())
    }

    /// Which proof was not taken, and why.
    async fn refused_proof(&self, order: &mut Order) -> Option<AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let state = authorization.refresh().await.ok()?;
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                return Some(AcmeError::Proof { domain: state.identifier().to_string(), why: why(problem) });
            }
        }
        None
    }

    fn authority(&self, error: instant_acme::Error) -> AcmeError {
        let directory = self.settings.directory.clone();
        match error {
            instant_acme::Error::Api(problem) => AcmeError::Refused { directory, why: why(&problem) },
            instant_acme::Error::Timeout(_) => AcmeError::TooLong,
            reason => AcmeError::Unreachable { directory, reason },
        }
    }

    fn cannot_keep(&self, reason: io::Error) -> AcmeError {
        AcmeError::Keep { path: self.kept.folder().to_owned(), reason }
    }
}

/// A problem in the authority's words.
fn why(problem: &Problem) -> String {
    problem.detail.clone().unwrap_or_else(|| problem.to_string())
}

/// A certificate that proves to the authority, and to nobody else, whose the name is (RFC 8737, section 3).
fn proof(domain: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = provider().key_provider.load_private_key(key)?;
    // Not checked: its extension is one that only authorities understand.
    Ok(CertifiedKey::new(vec![certificate], key))
}
