"""Holds Kubernetes objects against the JSON schemas of one version of Kubernetes.

    validate.py <directory of schemas>    objects as one JSON list on standard input

Prints a line for each fault, and ends with 1 when there is any. Objects whose kind is not Kubernetes' own are named, so
that nobody takes them for checked.
"""

import json
import pathlib
import sys
import warnings

import jsonschema

# The resolver is old-fashioned, and what Debian's version of the library has.
warnings.simplefilter("ignore", DeprecationWarning)


def schema_file(directory, value):
    """Of `apps/v1` and `Deployment`: deployment-apps-v1.json, after the first part of the group's name."""
    group, _, version = value["apiVersion"].rpartition("/")
    parts = [value["kind"].lower(), *([group.split(".")[0]] if group else []), version]
    return directory / ("-".join(parts) + ".json")


def main():
    directory = pathlib.Path(sys.argv[1]).resolve()
    base = directory.as_uri() + "/"
    definitions = json.loads((directory / "_definitions.json").read_text())
    # One for all, because it remembers what a reference leads to.
    resolver = jsonschema.RefResolver(base, {}, store={base + "_definitions.json": definitions})
    faults = []
    for value in json.load(sys.stdin):
        name = f"{value['kind']} {value['metadata']['name']}"
        file = schema_file(directory, value)
        if not file.exists():
            print(f"unknown: {value['apiVersion']} {name}")
            continue
        schema = json.loads(file.read_text())
        for error in jsonschema.Draft7Validator(schema, resolver=resolver).iter_errors(value):
            path = ".".join(str(part) for part in error.absolute_path)
            faults.append(f"{name}: {path}: {error.message[:300]}")
    print("\n".join(faults), end="")
    sys.exit(bool(faults))


main()
