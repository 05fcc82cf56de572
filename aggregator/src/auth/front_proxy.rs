//! Identities for which a front proxy vouches in headers, as kube-apiserver does for its extension servers. Pure.
//!
//! Whether the sender is that proxy is not decided here. See
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>.

use std::str::from_utf8;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;

use super::user::UserInfo;

/// The names that everybody uses. They are removed from requests even where others are configured.
const USUAL: [&str; 3] = ["x-remote-user", "x-remote-group", "x-remote-uid"];
const USUAL_EXTRA: &str = "x-remote-extra-";

/// In which headers an identity comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// Of the user's name; the first that is there counts.
    pub user: Vec<HeaderName>,
    /// Of the user's id; the first that is there counts. None are believed unless the cluster declares them.
    pub uid: Vec<HeaderName>,
    /// Of groups, one a header line.
    pub group: Vec<HeaderName>,
    /// What the names of headers with further facts begin with, in lower case.
    pub extra_prefix: Vec<String>,
}

/// A header that is not text. To leave it out would answer somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header of the front proxy is not utf-8")]
pub struct NotText;

impl IdentityHeaders {
    /// The user the headers name; `None` when they name nobody.
    pub fn user(&self, headers: &HeaderMap) -> Result<Option<UserInfo>, NotText> {
        let Some(name) = first(headers, &self.user)? else {
            return Ok(None);
        };
        let mut user = UserInfo { name: name.to_owned(), ..UserInfo::default() };
        user.uid = first(headers, &self.uid)?.map(str::to_owned);
        for value in self.group.iter().flat_map(|name| headers.get_all(name)) {
            user.groups.extend(Some(text(value)?).filter(|group| !group.is_empty()).map(str::to_owned));
        }
        for (name, value) in headers {
            for prefix in &self.extra_prefix {
                if let Some(key) = name.as_str().strip_prefix(prefix.as_str()) {
                    user.extra.entry(decoded(key)).or_default().push(text(value)?.to_owned());
                }
            }
        }
        Ok(Some(user))
    }

    /// Removes everything that says who somebody is: nothing further on shall believe or repeat it.
    pub fn strip(&self, headers: &mut HeaderMap) {
        headers.remove(AUTHORIZATION);
        let known: Vec<HeaderName> =
            headers.keys().filter(|name| self.is_identity(name.as_str())).cloned().collect();
        for name in known {
            headers.remove(name);
        }
    }

    fn is_identity(&self, name: &str) -> bool {
        let configured = [&self.user, &self.uid, &self.group].into_iter().flatten();
        USUAL.contains(&name)
            || name.starts_with(USUAL_EXTRA)
            || configured.into_iter().any(|held| held == name)
            || self.extra_prefix.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// The first value that is not empty.
fn first<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a str>, NotText> {
    for value in names.iter().filter_map(|name| headers.get(name)) {
        let value = text(value)?;
        if !value.is_empty() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn text(value: &HeaderValue) -> Result<&str, NotText> {
    from_utf8(value.as_bytes()).map_err(|_| NotText)
}

/// The key that a header's name escapes; one whose escapes make no sense stands for itself. Names are in lower case
/// already, and so are the keys.
fn decoded(name: &str) -> String {
    let whole = name.split('%').skip(1).all(|after| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decoded = percent_decode_str(name).decode_utf8().ok().filter(|_| whole);
    decoded.map_or_else(|| name.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As kube-apiserver declares them.
    fn usual(uid: bool) -> IdentityHeaders {
        let names = |name: &'static str| vec![HeaderName::from_static(name)];
        IdentityHeaders {
            user: names("x-remote-user"),
            uid: if uid { names("x-remote-uid") } else { Vec::new() },
            group: names("x-remote-group"),
            extra_prefix: vec!["x-remote-extra-".to_owned()],
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            let _: bool = headers.append::<HeaderName>(name, value);
        }
        headers
    }

    fn user(pairs: &[(&str, &str)]) -> UserInfo {
        usual(true).user(&headers(pairs)).unwrap().unwrap()
    }

    #[test]
    fn c089_names_groups_id_and_facts_are_taken_over() {
        let user = user(&[
            ("X-Remote-User", "view"),
            ("X-Remote-Group", "g1"),
            ("X-Remote-Group", "g2"),
            ("X-Remote-Uid", "42"),
            ("X-Remote-Extra-Scopes", "a"),
            ("X-Remote-Extra-Scopes", "b"),
            ("X-Remote-Extra-Acme.com%2fProject", "p"),
        ]);
        assert_eq!((user.name.as_str(), user.uid.as_deref()), ("view", Some("42")));
        assert_eq!(user.groups, ["g1", "g2"]);
        assert_eq!(user.extra["scopes"], ["a", "b"]);
        assert_eq!(user.extra["acme.com/project"], ["p"]);
        assert_eq!(user.extra.len(), 2);
    }

    #[test]
    fn c090_groups_keep_their_order_and_are_not_split() {
        let user = user(&[
            ("X-Remote-User", "u"),
            ("X-Remote-Group", "z"),
            ("X-Remote-Group", "a, b"),
            ("X-Remote-Group", ""),
        ]);
        assert_eq!(user.groups, ["z", "a, b"]);
    }

    #[test]
    fn c091_without_a_name_there_is_nobody() {
        for pairs in [&[("X-Remote-Group", "system:masters")][..], &[("X-Remote-User", "")]] {
            assert_eq!(usual(true).user(&headers(pairs)), Ok(None));
        }
    }

    #[test]
    fn c102_an_id_counts_only_where_it_is_declared() {
        let headers = headers(&[("X-Remote-User", "u"), ("X-Remote-Uid", "42")]);
        assert_eq!(usual(false).user(&headers).unwrap().unwrap().uid, None);
        assert_eq!(usual(true).user(&headers).unwrap().unwrap().uid.as_deref(), Some("42"));
    }

    #[test]
    fn names_need_not_be_ascii_but_text() {
        let value = |bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-remote-user", HeaderValue::from_bytes(bytes).unwrap());
            usual(true).user(&headers)
        };
        assert_eq!(value("jürgen".as_bytes()).unwrap().unwrap().name, "jürgen");
        assert_eq!(value(&[b'u', 0xff]), Err(NotText));
    }

    #[test]
    fn identity_headers_do_not_go_further_whatever_they_are_called() {
        let mut named = usual(false);
        named.user.push(HeaderName::from_static("x-my-user"));
        named.extra_prefix.push("x-my-extra-".to_owned());
        let mut headers = headers(&[
            ("Authorization", "Bearer t"),
            ("X-Remote-User", "u"),
            ("X-Remote-Uid", "42"),
            ("X-Remote-Group", "g"),
            ("X-Remote-Extra-A", "b"),
            ("X-My-User", "u"),
            ("X-My-Extra-A", "b"),
            ("Accept", "*/*"),
        ]);
        named.strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    proptest! {
        #[test]
        fn escaped_keys_come_back(key in "\\PC{0,20}") {
            let escaped =
                percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(decoded(&escaped), key);
        }

        #[test]
        fn no_key_makes_it_panic(key in "[%0-9a-g]{0,12}") {
            let key = decoded(&key);
            prop_assert!(key.len() <= 12);
        }
    }
}
