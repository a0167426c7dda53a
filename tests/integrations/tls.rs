//! TLS: a certificate is accepted when an authority of the system signed it for the host's name, and not otherwise. The
//! certificate is made by `openssl`; the authorities are passed to a separate process in `SSL_CERT_FILE`.

use crate::required::not_run;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use expressway::task::aws::Integrations;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::{failure, run};

const CHILD: &str = "EXPRESSWAY_TLS_TEST_URL";

#[test]
fn certificates_are_looked_at() {
    let folder = std::env::temp_dir().join(format!("expressway-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    if !certificate(&folder) {
        not_run("openssl is not installed, so TLS was not tried");
        return;
    }
    let port = serve(&folder);
    let own = folder.join("cert.pem");
    let other = folder.join("other.pem");
    std::fs::copy(folder.join("other-cert.pem"), &other).expect("a copy");
    for (file, host, expected) in [
        (&own, "localhost", "Answered"),
        (&own, "127.0.0.1", "Lambda.SdkClientException"),
        (&other, "localhost", "Lambda.SdkClientException"),
    ] {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "tls::child", "--nocapture"])
            .env(CHILD, format!("https://{host}:{port}"))
            .env("SSL_CERT_FILE", file)
            .output()
            .expect("a child");
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(said.contains(&format!("result: {expected}")), "{host}: {said}");
    }
    std::fs::remove_dir_all(&folder).expect("the folder");
}

/// What the processes above run; nothing by itself.
#[test]
fn child() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let integrations = Integrations::new().endpoint("Lambda", &url).expect("a URL");
    let outcome = run(integrations, "arn:aws:states:::lambda:invoke", &json!({"FunctionName": "f"}));
    match outcome.fault {
        None => println!("result: Answered"),
        Some(_) => println!("result: {}: {}", failure(&outcome).0, failure(&outcome).1),
    }
}

fn certificate(folder: &Path) -> bool {
    ["", "other-"].into_iter().all(|prefix| {
        let file = |name: &str| folder.join(format!("{prefix}{name}.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(file("key"))
            .arg("-out")
            .arg(file("cert"))
            .output();
        made.is_ok_and(|made| made.status.success())
    })
}

fn serve(folder: &Path) -> u16 {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("a listener");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                // Clients that do not accept the certificate close the connection.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4_096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").await;
                let _ = stream.shutdown().await;
            }
        });
    });
    port
}
