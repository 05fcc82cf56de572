use proptest::prelude::*;

use super::*;

const LIFE: Duration = Duration::from_hours(24);

fn authority() -> Arc<Authority> {
    Arc::new(Authority::generate_for(SystemTime::now(), LIFE).unwrap())
}

fn state() -> State {
    State {
        signing: authority(),
        from: Some(SystemTime::UNIX_EPOCH + LIFE),
        next: None,
        previous: Bundle::default(),
        is_ours: true,
        is_requested: false,
        oddities: Vec::new(),
    }
}

fn written(state: &State) -> Contents {
    let mut contents = Contents::default();
    state.write(&mut contents);
    contents
}

fn sound(contents: &Contents) -> State {
    match read(contents) {
        Found::Sound(state) => *state,
        other => panic!("{other:?}"),
    }
}

fn broken(contents: &Contents) -> Broken {
    match read(contents) {
        Found::Broken(broken) => broken,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_is_read_back_in_every_phase() {
    let mut state = state();
    let published = Some(SystemTime::UNIX_EPOCH + LIFE * 2);
    for (next, previous) in [
        (None, Vec::new()),
        (Some(Next { authority: authority(), published: None }), Vec::new()),
        (Some(Next { authority: authority(), published }), vec![authority().certificate().clone()]),
    ] {
        (state.next, state.previous) = (next, previous.iter().collect());
        let read = sound(&written(&state));
        assert_eq!(read.bundle(), state.bundle());
        assert_eq!(read.from, state.from);
        let times = |state: &State| state.next.as_ref().map(|next| next.published);
        assert_eq!(times(&read), times(&state));
        assert!(read.is_ours && read.oddities.is_empty());
        // Nothing is left of a phase that is over.
        assert_eq!(written(&read), written(&state));
    }
}

#[test]
fn what_is_not_ours_in_the_secret_stays() {
    let mut contents = written(&state());
    contents.data.insert("note".to_owned(), b"by hand".to_vec());
    contents.annotations.insert("team".to_owned(), "a".to_owned());
    let mut after = contents.clone();
    sound(&contents).write(&mut after);
    assert_eq!(after, contents);
}

#[test]
fn an_operators_authority_is_used_with_all_its_certificates_and_is_not_ours() {
    let (own, beside) = (authority(), authority());
    let mut contents = Contents::default();
    let both = format!("{}{}", own.ca_pem(), beside.ca_pem());
    contents.data.insert(CERTIFICATE.to_owned(), both.into_bytes());
    contents.data.insert(KEY.to_owned(), own.key_pem().into_bytes());
    contents.annotations.insert(ROTATE.to_owned(), "please".to_owned());
    let state = sound(&contents);
    assert!(!state.is_ours && !state.is_requested);
    assert_eq!(state.bundle().certificates(), [own.certificate().clone(), beside.certificate().clone()]);

    // One that was applied over ours keeps our annotations, and is still theirs.
    let mut over = written(&self::state());
    over.data.extend(contents.data);
    assert!(!sound(&over).is_ours);
}

#[test]
fn what_is_wrong_is_said_with_its_key() {
    let good = written(&state());
    let with = |key: &str, value: &str| {
        let mut contents = good.clone();
        contents.data.insert(key.to_owned(), value.as_bytes().to_vec());
        broken(&contents)
    };
    assert_eq!(with(KEY, "").fault, "ca.key: there is no key");
    assert_eq!(with(KEY, &authority().key_pem()).fault, "ca.key: the key is not that of the certificate");
    assert_eq!(with(CERTIFICATE, "x").fault, "ca.crt: there is no certificate");
    assert!(with(KEY, "").is_ours && with(CERTIFICATE, "x").is_ours);
    // A certificate that is not the one we put there is somebody's.
    assert!(!with(CERTIFICATE, &authority().ca_pem()).is_ours);
    // What may still be in use stays trusted.
    assert_eq!(with(KEY, "").trusted.pem().into_bytes(), good.data[CERTIFICATE]);

    let mut foreign = Contents::default();
    foreign.data.insert("tls.crt".to_owned(), Vec::new());
    let fault = broken(&foreign);
    assert!(!fault.is_ours);
    assert_eq!(
        fault.fault,
        "ca.crt: there is no certificate; it holds tls.crt, which --tls-cert-file takes from a mounted file"
    );
    assert!(matches!(read(&Contents::default()), Found::Empty));
}

#[test]
fn parts_that_are_not_needed_may_be_damaged() {
    let mut contents = written(&state());
    contents.data.insert(NEXT_CERTIFICATE.to_owned(), b"x".to_vec());
    contents.data.insert(PREVIOUS.to_owned(), b"x".to_vec());
    contents.annotations.insert(SIGNS_FROM.to_owned(), "yesterday".to_owned());
    let state = sound(&contents);
    assert!(state.next.is_none() && state.from.is_none());
    assert_eq!(
        state.oddities,
        ["next.crt: there is no certificate", "previous.crt: there is no certificate"]
    );
}

proptest! {
    #[test]
    fn any_contents_are_read(
        data in proptest::collection::btree_map("(ca|next|previous|tls)\\.(crt|key)",
            proptest::collection::vec(any::<u8>(), 0..80), 0..6),
        annotations in proptest::collection::btree_map(
            "kubevitals\\.io/(rotate-ca|ca-generated|ca-next-published|ca-signs-from)", ".{0,50}", 0..4),
    ) {
        let is_empty = data.is_empty();
        let found = read(&Contents { data, annotations });
        prop_assert_eq!(matches!(found, Found::Empty), is_empty);
    }
}
