//! The order of keys: by character, letters after everything else, and digits as numbers, so that `a2` stands
//! before `a10`.

use std::cmp::Ordering;

/// Sorts what has keys.
///
/// Go's order is not transitive (`9a` before `50` before `95` before `9a`), and the sort of the standard library
/// may panic on such an order. This one does not: keys of that kind come out in one of the orders that Go might
/// print.
pub(super) fn sort_by_key<T>(mut items: Vec<T>, key: &impl Fn(&T) -> &str) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let right = sort_by_key(items.split_off(items.len() / 2), key);
    let left = sort_by_key(items, key);
    let mut sorted = Vec::with_capacity(left.len() + right.len());
    let mut right = right.into_iter().peekable();
    for item in left {
        while let Some(before) = right.next_if(|other| compare(key(other), key(&item)).is_lt()) {
            sorted.push(before);
        }
        sorted.push(item);
    }
    sorted.extend(right);
    sorted
}

/// Compares two keys as Go's YAML library sorts them.
///
/// Numbers are compared at any length, where Go's overflow beyond 18 digits.
fn compare(a: &str, b: &str) -> Ordering {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum();
    let (prefix, rest_a) = a.split_at_checked(common).unwrap_or((a, ""));
    let rest_b = b.get(common..).unwrap_or_default();
    let (Some(first_a), Some(first_b)) = (rest_a.chars().next(), rest_b.chars().next()) else {
        // One is the beginning of the other.
        return a.len().cmp(&b.len());
    };
    match (first_a.is_alphabetic(), first_b.is_alphabetic()) {
        (true, true) => first_a.cmp(&first_b),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => compare_numbers(prefix, rest_a, rest_b).then(first_a.cmp(&first_b)),
    }
}

/// Compares the digits that two texts begin with, as numbers and then by their length. Both continue `prefix`.
fn compare_numbers(prefix: &str, a: &str, b: &str) -> Ordering {
    let (a, b) = (digits(a), digits(b));
    // A zero counts when it continues a number, and is padding when it begins one.
    let inside = (a.starts_with('0') || b.starts_with('0'))
        && prefix.bytes().rev().take_while(u8::is_ascii_digit).any(|digit| digit != b'0');
    let significant = |digits: &str| if inside { digits.len() } else { digits.trim_start_matches('0').len() };
    let (len_a, len_b) = (significant(a), significant(b));
    len_a
        .cmp(&len_b)
        .then_with(|| a.get(a.len() - len_a..).cmp(&b.get(b.len() - len_b..)))
        .then(a.len().cmp(&b.len()))
}

/// The digits at the beginning.
fn digits(text: &str) -> &str {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_sort_as_in_go() {
        let sorted = [
            "", ".1", ".2", ".a", "1", "2", "a!10", "a/0001", "a/002", "a/3", "a/10", "a/11", "a/0012",
            "a/100", "a~10", "ab/1", "b/1", "b/01", "b/2", "b/02", "b/3", "b/03", "b1", "b01", "b3", "c2.10",
            "c10.2", "d1", "d7", "d7abc", "d12", "d12a",
        ];
        for (at, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&other), "{a:?} {b:?}");
            }
        }
        let reversed: Vec<&str> = sorted.iter().rev().copied().collect();
        assert_eq!(sort_by_key(reversed, &|key| key), sorted);
    }

    proptest! {
        #[test]
        fn sorting_loses_nothing_whatever_the_keys(keys in proptest::collection::vec("[01259a.~é]{0,4}", 0..60)) {
            let sorted = sort_by_key(keys.clone(), &String::as_str);
            let bytewise = |mut keys: Vec<String>| {
                keys.sort();
                keys
            };
            prop_assert_eq!(bytewise(sorted), bytewise(keys));
        }

        #[test]
        fn one_of_two_keys_is_first(a in "[01259a.~é]{0,6}", b in "[01259a.~é]{0,6}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &b).is_eq(), a == b);
        }
    }
}
