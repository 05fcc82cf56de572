//! The contract only grows: every field, kind, value and method of 0.1 is there, with its number, type and name.
//!
//! `contract-0.1.txt` is the descriptor of 0.1 as text. When a minor is released, its descriptor is frozen in the same
//! way (the failing test prints the lines), and the two before it may be let go.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};

const FROZEN: &str = include_str!("contract-0.1.txt");

fn message(message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    for field in &message.field {
        let group = field.oneof_index.filter(|_| !field.proto3_optional()).and_then(|index| {
            message.oneof_decl.get(usize::try_from(index).ok()?).map(|group| format!(" in {}", group.name()))
        });
        lines.insert(format!(
            "message {}.{} = {} {:?} {:?} {}{}",
            message.name(),
            field.name(),
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name(),
            group.unwrap_or_default(),
        ));
    }
    for nested in &message.nested_type {
        self::message(nested, lines);
    }
}

fn enumeration(enumeration: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &enumeration.value {
        lines.insert(format!("enum {}.{} = {}", enumeration.name(), value.name(), value.number()));
    }
}

fn service(service: &ServiceDescriptorProto, lines: &mut BTreeSet<String>) {
    for method in &service.method {
        lines.insert(format!(
            "service {}.{}({} stream={}) returns {} stream={}",
            service.name(),
            method.name(),
            method.input_type(),
            method.client_streaming(),
            method.output_type(),
            method.server_streaming(),
        ));
    }
}

/// Everything that is on the wire, one thing a line.
fn contract() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(kubevitals::DESCRIPTOR).unwrap();
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package() == "kubevitals.v1") {
        file.message_type.iter().for_each(|one| message(one, &mut lines));
        file.enum_type.iter().for_each(|one| enumeration(one, &mut lines));
        file.service.iter().for_each(|one| service(one, &mut lines));
    }
    lines
}

#[test]
fn nothing_of_the_released_contract_is_changed_or_gone() {
    let now = contract();
    let frozen: BTreeSet<String> = FROZEN.lines().map(str::to_owned).collect();
    let text = now.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let missing: Vec<&String> = frozen.difference(&now).collect();
    assert!(!frozen.is_empty() && missing.is_empty(), "missing: {missing:#?}\nthe contract now:\n{text}");
    let added: Vec<&String> = now.difference(&frozen).collect();
    eprintln!("{} lines stand, {} are new: {added:#?}", frozen.len(), added.len());
}
