"""Reads a dashboard by Grafana's own library and names what is lost: a field that Grafana does not know.

Called by dev/deployment, in its environment.
"""

import json
import sys

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

# Written by Grafana, read by it, and not in the library's types.
GRAFANAS_OWN = {"builtIn", "definition"}


def lost(given, read, place):
    if isinstance(given, dict):
        for name, value in given.items():
            here = f"{place}/{name}"
            if name in GRAFANAS_OWN or value in (None, "", [], {}):
                continue
            if not isinstance(read, dict) or name not in read:
                yield here
            else:
                yield from lost(value, read[name], here)
    elif isinstance(given, list):
        if not isinstance(read, list) or len(given) != len(read):
            yield place
        else:
            for number, pair in enumerate(zip(given, read)):
                yield from lost(*pair, f"{place}[{number}]")
    elif given != read:
        yield place


def main(path):
    plugins.register_default_plugins()
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    model = dashboard.Dashboard.from_json(given)
    findings = list(lost(given, json.loads(json.dumps(model, cls=JSONEncoder)), ""))
    for finding in findings:
        print(f"{path}: Grafana does not know {finding}", file=sys.stderr)
    if not given["panels"]:
        findings.append("no panel")
    print(f"{len(given['panels'])} panels are as Grafana has them" if not findings else "FAILED", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
