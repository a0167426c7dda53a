//! TLS for the bare server, and for a client that accepts any certificate.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

/// Where the certificate lies.
pub(super) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// As the server has it.
pub(super) fn server() -> Arc<ServerConfig> {
    let file = |name: &str| Path::new(FOLDER).join(name);
    let chain = CertificateDer::pem_file_iter(file("localhost.pem")).and_then(Iterator::collect);
    let key = PrivateKeyDer::from_pem_file(file("localhost.key")).expect("a key");
    let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = versions.expect("versions").with_no_client_auth();
    let mut config = config.with_single_cert(chain.expect("a certificate"), key).expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

pub(super) fn client() -> Arc<ClientConfig> {
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = versions.expect("versions").dangerous().with_custom_certificate_verifier(Arc::new(Any));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct Any;

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
