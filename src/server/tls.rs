//! TLS, with `rustls`: versions 1.2 and 1.3, and HTTP/2 by ALPN.

use crate::os;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};

/// A certificate with its key, ready to be served.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// The certificate, and those that vouch for it.
    #[cfg(feature = "cluster")]
    pub(super) chain: Arc<[CertificateDer<'static>]>,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is not PEM of the kind it should be.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not match, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[source] rustls::Error),
}

fn why(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => os::words(&error),
        error => error.to_string(),
    }
}

impl Tls {
    /// Reads a chain of certificates and a private key, both PEM.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not match.
    pub fn read(certificates: &Path, key: &Path) -> Result<Tls, TlsError> {
        let wrong = |file: &Path, reason: String| TlsError::File { file: file.display().to_string(), reason };
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(certificates, why(error)))?;
        if chain.is_empty() {
            return Err(wrong(certificates, "there is no certificate in it".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, why(error)))?;
        #[cfg(feature = "cluster")]
        let kept = chain.clone().into();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            #[cfg(feature = "cluster")]
            chain: kept,
        })
    }
}
