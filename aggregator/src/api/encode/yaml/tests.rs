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
