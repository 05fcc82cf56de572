use super::*;
use crate::auth::fake::{CLIENT, Purpose, Signer, Wish, config_map};

const NAMES: &str = "requestheader-allowed-names";

/// Now, in time since 1970.
fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

struct World {
    clients: Signer,
    proxy: Signer,
    data: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        let (clients, proxy) = (Signer::new("clients"), Signer::new("proxy"));
        let data = config_map(&clients, &proxy);
        Self { clients, proxy, data }
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.data.insert(key.to_owned(), value.to_owned());
        self
    }

    fn trust(&self) -> Trust {
        Trust::from_config_map(&self.data).unwrap()
    }

    fn error(&self) -> String {
        Trust::from_config_map(&self.data).unwrap_err().to_string()
    }
}

const PROXY: Wish<'static> = Wish { name: "front-proxy-client", ..CLIENT };

#[test]
fn c092_the_front_proxy_needs_the_right_name_and_the_right_authority() {
    let world = World::new();
    let trust = world.trust();
    let is_proxy = |signer: &Signer, wish| trust.verdict(&signer.shown(wish), now()).front_proxy;
    assert!(is_proxy(&world.proxy, PROXY));
    assert!(!is_proxy(&world.proxy, CLIENT));
    assert!(!is_proxy(&world.clients, PROXY));
    assert!(!is_proxy(&Signer::new("proxy"), PROXY), "an authority of the same name");
    let trust = World::new().with(NAMES, "[]");
    let any = Wish { name: "", ..CLIENT };
    assert!(trust.trust().verdict(&trust.proxy.shown(any), now()).front_proxy, "no names are all names");
}

#[test]
fn c094_a_client_certificate_is_its_user_while_it_is_valid() {
    let world = World::new();
    let trust = world.trust();
    let user = |wish| trust.verdict(&world.clients.shown(wish), now()).user;
    let alice = user(Wish { organizations: &["o1", "o2"], ..CLIENT }).unwrap();
    assert_eq!((alice.name.as_str(), alice.uid.as_ref()), ("alice", None));
    assert_eq!(alice.groups, ["o1", "o2", "system:authenticated"]);
    let id = alice.only_extra("authentication.kubernetes.io/credential-id").unwrap();
    let digest = id.strip_prefix("X509SHA256=").unwrap();
    assert!(
        digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
    assert_eq!(user(Wish { expired: true, ..CLIENT }), None);
    assert_eq!(user(Wish { purpose: Purpose::Server, ..CLIENT }), None);
    assert_eq!(user(Wish { name: "", organizations: &["system:masters"], ..CLIENT }), None);
    assert!(user(Wish { purpose: Purpose::Any, ..CLIENT }).is_some(), "not limited to any use");
    assert_eq!(trust.verdict(&Signer::new("clients").shown(CLIENT), now()).user, None);
}

#[test]
fn c094_authorities_in_between_come_with_the_certificate() {
    let world = World::new();
    let between = world.clients.intermediate("between");
    let (own, _) = between.issue(CLIENT);
    let user = |chain: &[_]| world.trust().verdict(&PeerCertificates::new(chain).unwrap(), now()).user;
    assert_eq!(user(std::slice::from_ref(&own)), None);
    assert_eq!(user(&[own, between.der()]).unwrap().name, "alice");
}

#[test]
fn c094_a_verdict_that_is_kept_ends_with_the_certificate() {
    let world = World::new();
    let trust = world.trust();
    let shown = world.clients.shown(CLIENT);
    let user = |at| trust.verdict(&shown, at).user.is_some();
    let verdict = trust.verdict(&shown, now());
    let end = verdict.valid_until.unwrap();
    assert!(user(end));
    assert!(!user(end + Duration::from_secs(1)));
    assert!(user(now()), "the clock was set back");
    assert!(!user(Duration::ZERO), "long before it begins");
}

#[test]
fn c101_whatever_is_wrong_is_named() {
    let world = World::new();
    let error = |key: &str, value: &str| World::new().with(key, value).error();
    assert!(error(NAMES, "{").starts_with("requestheader-allowed-names: no list of strings: "));
    assert!(error(NAMES, "[1]").starts_with("requestheader-allowed-names: no list of strings: "));
    assert_eq!(error("client-ca-file", ""), "client-ca-file: holds no certificate");
    assert_eq!(
        error("requestheader-client-ca-file", "x"),
        "requestheader-client-ca-file: holds no certificate"
    );
    let half = world.clients.pem().replace("-----END", "-----ENT");
    assert!(error("client-ca-file", &half).starts_with("client-ca-file: "));
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(
        error("client-ca-file", &format!("{}{garbled}", world.clients.pem())).starts_with("client-ca-file: ")
    );
    for header in [r#"["a b"]"#, r#"[""]"#] {
        let text = error("requestheader-username-headers", header);
        assert!(text.ends_with("is no name of a header"), "{text}");
    }
    assert!(error("requestheader-extra-headers-prefix", r#"[""]"#).ends_with("is no name of a header"));
}

#[test]
fn one_authority_for_clients_and_front_proxy_needs_names() {
    let shared = |names: &str| {
        let world = World::new().with(NAMES, names);
        let both = format!("{}{}", world.proxy.pem(), world.clients.pem());
        Trust::from_config_map(&world.with("client-ca-file", &both).data).map(|_| ())
    };
    assert_eq!(shared("[]"), Err(TrustError::SharedAuthority));
    assert_eq!(shared(r#"["front-proxy-client"]"#), Ok(()));
}

#[test]
fn c101_an_update_takes_no_authority_away() {
    let world = World::new();
    let before = world.trust();
    for key in ["client-ca-file", "requestheader-client-ca-file"] {
        let mut data = world.data.clone();
        data.remove(key);
        let after = Trust::from_config_map(&data).unwrap();
        assert_eq!(after.warnings().len(), 1);
        let error = after.check_successor_of(&before).unwrap_err();
        assert_eq!(error.to_string(), format!("{key}: no longer there"));
        assert_eq!(before.check_successor_of(&after), Ok(()));
    }
}

#[test]
fn what_an_operator_must_know_is_said() {
    assert_eq!(World::new().trust().warnings(), [""; 0]);
    assert!(World::new().with(NAMES, "[]").trust().warnings()[0].starts_with(NAMES));
    assert_eq!(Trust::default().warnings().len(), 2);
}

#[test]
fn c105_the_handshake_names_all_authorities() {
    assert_eq!(World::new().trust().authorities().len(), 2);
    assert!(Trust::default().authorities().is_empty());
}

#[test]
fn verdicts_are_bounded_and_garbage_is_good_for_nothing() {
    let trust = World::new().trust();
    for number in 0..KEPT_VERDICTS.get() + 10 {
        let shown = PeerCertificates::new(&[number.to_string().into_bytes().into()]).unwrap();
        let verdict = trust.verdict(&shown, now());
        assert!(!verdict.front_proxy && verdict.user.is_none() && verdict.valid_until.is_none());
    }
    assert_eq!(trust.verdicts.lock().unwrap().len(), KEPT_VERDICTS.get());
}

#[test]
fn a_list_that_was_never_set_is_empty() {
    // As Go writes one.
    for never in ["null", ""] {
        let trust = World::new().with("requestheader-uid-headers", never).trust();
        assert!(trust.headers.uid.is_empty());
    }
}

#[test]
fn c101_an_update_that_lost_the_names_does_not_let_every_name_in() {
    let world = World::new();
    let before = world.trust();
    let mut data = world.data.clone();
    data.remove(NAMES);
    let after = Trust::from_config_map(&data).unwrap();
    let error = after.check_successor_of(&before).unwrap_err();
    assert_eq!(error.to_string(), "requestheader-allowed-names: no longer there");
    // Who says so may have it so.
    let any = World::new().with(NAMES, "[]").trust();
    assert_eq!(any.check_successor_of(&before), Ok(()));
    assert_eq!(after.check_successor_of(&after), Ok(()));
}

#[test]
fn c094_an_authority_that_has_expired_vouches_for_nobody() {
    let world = World::new();
    let until = now() + Duration::from_secs(600);
    let brief = Signer::until("brief", until);
    let trust = Trust::from_config_map(&config_map(&brief, &world.proxy)).unwrap();
    let shown = brief.shown(CLIENT);
    let verdict = trust.verdict(&shown, now());
    assert!(verdict.user.is_some());
    // The certificate itself is valid for longer.
    for late in [until + Duration::from_secs(2), until + Duration::from_secs(60)] {
        assert_eq!(trust.verdict(&shown, late).user, None);
    }
    assert!(trust.verdict(&shown, now()).user.is_some());
}
