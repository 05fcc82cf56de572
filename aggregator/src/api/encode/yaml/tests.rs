use serde_json::json;

use super::*;

#[test]
fn nesting_looks_as_go_prints_it() {
    let value = json!({
        "b": [1, {"y": [], "x": {"k": "v"}}, [true, ["z"]], "s"],
        "a": {},
        "c": null,
    });
    let text = "a: {}\nb:\n- 1\n- x:\n    k: v\n  \"y\": []\n- - true\n  - - z\n- s\nc: null\n";
    assert_eq!(String::from_utf8(document(&value)).unwrap(), text);
}

/// `goyaml.yaml` is what kubectl 1.32 makes of `goyaml.json`: `kubectl patch --local -f goyaml.json --type merge
/// -p '{}' -o yaml`. It has every rule about quotes, folding, blocks, keys and their order, and a thousand random
/// strings of characters that matter.
#[test]
fn a_document_has_the_bytes_that_go_prints() {
    let value: Value = serde_json::from_str(include_str!("../golden/goyaml.json")).unwrap();
    let printed = String::from_utf8(document(&value)).unwrap();
    for (line, (ours, gos)) in printed.lines().zip(include_str!("../golden/goyaml.yaml").lines()).enumerate()
    {
        assert_eq!(ours, gos, "line {}", line + 1);
    }
    assert_eq!(printed, include_str!("../golden/goyaml.yaml"));
}

#[test]
fn text_that_go_itself_cannot_print_is_escaped() {
    let text = |text: &str| String::from_utf8(document(&json!(text))).unwrap();
    assert_eq!(text("a\u{2028}b"), "\"a\\Lb\"\n");
    assert_eq!(text("\u{85}\u{7f}\u{feff}"), "\"\\N\\x7F\\uFEFF\"\n");
    // Quoted since version 1.5 of Go's library.
    assert_eq!(text("0xFFFFFFFFFFFFFFFFFFFF"), "\"0xFFFFFFFFFFFFFFFFFFFF\"\n");
}
