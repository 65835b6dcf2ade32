//! Associations over TLS: who is at the other end, and no stall on a narrow wire.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn authority() -> (CertifiedIssuer<'static, KeyPair>, Arc<RootCertStore>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    (issuer, Arc::new(roots))
}

fn identity(issuer: &CertifiedIssuer<'static, KeyPair>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap().der().clone();
    Identity { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}

fn server_config(identity: Identity, roots: &Arc<RootCertStore>) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier);
    Arc::new(config.with_single_cert(vec![identity.certificate], identity.key).unwrap())
}

fn client_config(identity: Option<Identity>, roots: &Arc<RootCertStore>) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots.clone());
    Arc::new(match identity {
        Some(identity) => config.with_client_auth_cert(vec![identity.certificate], identity.key).unwrap(),
        None => config.with_no_client_auth(),
    })
}

/// Remembers the certificates that callers showed.
#[derive(Default)]
struct Seen(Mutex<Vec<Option<Vec<u8>>>>, Shelf);

impl Scp for Seen {
    type Caller = String;

    async fn admit(&self, proposal: &Proposal) -> Result<String, Rejection> {
        self.0.lock().unwrap().push(proposal.certificate.clone());
        self.1.admit(proposal).await
    }

    fn choose(&self, caller: &String, context: &ProposedContext) -> ContextAnswer {
        self.1.choose(caller, context)
    }

    async fn store(&self, caller: &String, request: StoreRequest, data: &mut DataSet<'_>) -> StoreAnswer {
        self.1.store(caller, request, data).await
    }
}

/// A listener whose connections have small kernel buffers, as a slow line has.
async fn narrow(scp: &Arc<Seen>, config: Arc<rustls::ServerConfig>, options: ScpOptions) -> server::Running {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.set_send_buffer_size(8 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let target = Target { address: listener.local_addr().unwrap().to_string(), ..target() };
    let stop = CancellationToken::new();
    let source: listener::TlsSource = Arc::new(move || config.clone());
    let task = tokio::spawn(serve(listener, Some(source), scp.clone(), options, stop.clone()));
    server::Running { target, stop, task }
}

#[tokio::test]
async fn messages_pass_a_narrow_wire_and_the_caller_is_known() {
    let (issuer, roots) = authority();
    let caller = identity(&issuer);
    let certificate = caller.certificate.to_vec();
    // Slow to read, so that at the end of some message the kernel's buffers are full and the rest waits in the TLS library.
    let scp = Arc::new(Seen(Mutex::default(), Shelf { dawdle: 2_000, ..Shelf::default() }));
    let running = narrow(&scp, server_config(identity(&issuer), &roots), options()).await;
    let connector = tokio_rustls::TlsConnector::from(client_config(Some(caller), &roots));
    let work = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(8 * 1024).unwrap();
        let socket = socket.connect(running.target.address.parse().unwrap()).await.unwrap();
        let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        let wire = Wire::Tls(Box::new(stream.into()));
        let mut scu = super::super::scu::connect_over(wire, &running.target, &offers()).await.unwrap();
        for number in 0..20 {
            let data = pattern(40_000 * number + 2);
            let command = store_ct(&format!("1.2.{number}"));
            assert_eq!(scu.store(command, None, &mut parts(&data, 70_000)).await.unwrap().status, Status::SUCCESS);
            assert_eq!(scu.echo().await.unwrap(), Status::SUCCESS);
            assert!(scp.1.stored.lock().unwrap().last().unwrap().2 == data);
        }
        scu.release().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(20), work).await.unwrap();
    assert_eq!(*scp.0.lock().unwrap(), [Some(certificate)]);
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_cannot_be_believed_gets_no_association_and_learns_why() {
    let ((issuer, roots), (stranger, strange_roots)) = (authority(), authority());
    let scp = Arc::new(Seen::default());
    let running = narrow(&scp, server_config(identity(&issuer), &roots), options()).await;
    let name = |name: &'static str| rustls_pki_types::ServerName::try_from(name).unwrap();
    let rows = [
        ("no certificate", client_config(None, &roots), name("localhost")),
        ("a stranger's certificate", client_config(Some(identity(&stranger)), &roots), name("localhost")),
        ("a server that we do not trust", client_config(Some(identity(&issuer)), &strange_roots), name("localhost")),
        ("a server of another name", client_config(Some(identity(&issuer)), &roots), name("elsewhere")),
    ];
    for (case, config, name) in rows {
        let target = Target { tls: Some((config, name)), ..running.target.clone() };
        let error = connect(&target, &offers()).await.unwrap_err();
        assert!(matches!(error, ScuError::Tls { error: Some(_), .. }), "{case}: {error:?}");
    }
    assert!(scp.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let (issuer, roots) = authority();
    let scp = Arc::new(Seen::default());
    let timers = Timers { tls_handshake: Duration::from_millis(50), ..Timers::default() };
    let running = narrow(&scp, server_config(identity(&issuer), &roots), ScpOptions { timers, ..options() }).await;
    let mut silent = TcpStream::connect(&running.target.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0])).await.unwrap();
    assert_eq!(read.unwrap(), 0);
}
