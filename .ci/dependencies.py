"""Checks `cargo metadata` (standard input) against the lists of .deny.toml: bans, licences, sources.

A stand-in for `cargo deny check bans licenses sources` on machines without cargo-deny. It knows the parts of
.deny.toml that we use, and prints the crates that are there in more than one version.
"""

import json
import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path


def allows(expression, allowed):
    """Whether an SPDX expression can be met with the allowed licences alone."""
    # Old manifests write "MIT/Apache-2.0" for OR.
    tokens = re.findall(r"\(|\)|[^\s()]+(?: WITH [^\s()]+)?", expression.replace("/", " OR "))
    operators = {"(": "(", ")": ")", "OR": "or", "AND": "and"}
    # Only brackets, operators and booleans are left to be evaluated.
    return eval(" ".join(operators.get(token, str(token in allowed)) for token in tokens))


def main():
    rules = tomllib.loads((Path(__file__).parent.parent / ".deny.toml").read_text())
    allowed = set(rules["licenses"]["allow"])
    banned = {ban["crate"]: ban["reason"] for ban in rules["bans"]["deny"]}
    packages = json.load(sys.stdin)["packages"]
    faults, versions = [], defaultdict(list)
    for package in packages:
        name = f"{package['name']} {package['version']}"
        versions[package["name"]].append(package["version"])
        if package["name"] in banned:
            faults.append(f"{name} is banned: {banned[package['name']]}")
        if not allows(package["license"] or "none", allowed):
            faults.append(f"{name} has the licence {package['license']}, which is not on the list")
        # The workspace's own packages have no source.
        if package["source"] and not package["source"].endswith("/crates.io-index"):
            faults.append(f"{name} comes from {package['source']}")
        for dependency in package["dependencies"]:
            if package["source"] is None and dependency["req"] == "*" and "path" not in dependency:
                faults.append(f"{name} takes any version of {dependency['name']}")
    for name, several in sorted(versions.items()):
        if len(several) > 1:
            print(f"note: {name} is there in {len(several)} versions: {', '.join(sorted(several))}")
    print(f"{len(packages)} packages checked, {len(faults)} faults")
    sys.exit("\n".join(faults) if faults else 0)


main()
