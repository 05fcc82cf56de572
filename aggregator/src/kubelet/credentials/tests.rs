use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;
use crate::api::select::LabelSelector;

fn config(trust: KubeletTrust, client: Option<(PathBuf, PathBuf)>) -> KubeletConfig {
    KubeletConfig {
        resolution: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        port: 10250,
        use_status_port: false,
        address_types: Vec::new(),
        trust,
        client,
        nodes: LabelSelector::default(),
    }
}

/// A certificate and its key, PEM.
fn pair() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["n1".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

/// The cluster as a kubeconfig has it.
fn kubeconfig(token_file: &Path) -> Config {
    let mut config = Config::new(http::Uri::from_static("https://localhost"));
    config.root_cert = Some(vec![CertificateDer::from_pem_slice(pair().0.as_bytes()).unwrap().to_vec()]);
    config.auth_info.token_file = Some(token_file.display().to_string());
    config
}

#[test]
fn the_token_is_sent_unless_there_is_a_client_certificate() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let cluster = kubeconfig(&file("token", "secret\n"));
    let bearer = |client| {
        let sources = Sources::new(&config(KubeletTrust::Cluster, client), Some(&cluster));
        Credentials::read(sources).unwrap().current().bearer.clone()
    };
    assert_eq!(bearer(None).unwrap(), "Bearer secret");
    let (certificate, key) = pair();
    let client = (file("cert", &certificate), file("key", &key));
    assert_eq!(bearer(Some(client)), None);
}

#[test]
fn each_fault_names_its_file() {
    let files = tempfile::tempdir().unwrap();
    let token = files.path().join("token");
    let read = |trust| Credentials::read(Sources::new(&config(trust, None), Some(&kubeconfig(&token))));
    let missing = read(KubeletTrust::Nobody).unwrap_err().to_string();
    assert!(missing.contains("/token: No such file"), "{missing}");
    fs::write(&token, "\n").unwrap();
    assert!(read(KubeletTrust::Nobody).unwrap_err().to_string().ends_with("/token: holds no token"));
    fs::write(&token, "secret").unwrap();
    assert!(read(KubeletTrust::Nobody).is_ok());
    assert!(read(KubeletTrust::Cluster).is_ok());
    let authority = files.path().join("ca");
    fs::write(&authority, "no pem").unwrap();
    let fault = read(KubeletTrust::Authority(authority)).unwrap_err().to_string();
    assert!(fault.ends_with("/ca: holds no certificate in PEM"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn files_are_read_again_when_they_change() {
    let files = tempfile::tempdir().unwrap();
    let (token, authority) = (files.path().join("token"), files.path().join("ca"));
    fs::write(&token, "first").unwrap();
    fs::write(&authority, pair().0).unwrap();
    let sources =
        Sources::new(&config(KubeletTrust::Authority(authority.clone()), None), Some(&kubeconfig(&token)));
    let credentials = Arc::new(Credentials::read(sources).unwrap());
    let stop = CancellationToken::new();
    let follower = tokio::spawn({
        let (credentials, stop) = (Arc::clone(&credentials), stop.clone());
        async move { credentials.follow(stop).await }
    });
    let until = async |wanted: &dyn Fn(&Current) -> bool| {
        for _ in 0..200 {
            if wanted(&credentials.current()) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("not taken over: {:?}", credentials.current());
    };
    until(&|current| current.generation == 1).await;
    fs::write(&token, "second").unwrap();
    until(&|current| current.bearer.as_ref().unwrap() == "Bearer second").await;
    assert_eq!(credentials.current().generation, 1, "a token needs no new connection");
    fs::write(&authority, "broken").unwrap();
    fs::write(&token, "third").unwrap();
    tokio::time::sleep(LOOK * 3).await;
    assert_eq!(credentials.current().bearer.as_ref().unwrap(), "Bearer second", "the former ones stay");
    fs::write(&authority, pair().0).unwrap();
    until(&|current| current.generation == 2 && current.bearer.as_ref().unwrap() == "Bearer third").await;
    stop.cancel();
    follower.await.unwrap();
}
