"""What the checks of rules and boards share: the table of metrics, expressions, packages and tools.

Used by `.ci/rules`, `.ci/boards` and `.ci/live`; not a program.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy/prometheus/rules"
RUNBOOKS = ROOT / "docs/runbooks"
DASHBOARDS = ROOT / "grafana/dashboards"
RUNBOOK_URL = "https://github.com/bitacora/bitacora/blob/main/docs/runbooks/"
PACKAGES = {"yaml": "python3-yaml", "jsonschema": "python3-jsonschema"}
# Labels that the scrape adds, or that every histogram has.
SCRAPE_LABELS = {"job", "instance", "cluster"}
NAME = re.compile(r"(?<![A-Za-z0-9_:])(?:bitacora|process)_[a-z0-9_]+(?![A-Za-z0-9_:(])")
SELECTOR = re.compile(r"(?<![A-Za-z0-9_:])((?:bitacora|process)_[a-z0-9_]+)\s*\{([^{}]*)\}")
MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
RECORDED = re.compile(r"(?<![A-Za-z0-9_:])[a-z_]+:bitacora_[a-z0-9_]+:[a-z0-9_]+")


def need(*modules):
    """Sees to it that Python modules are there: from the machine's packages, else says what is missing."""
    missing = [name for name in modules if not _has(name)]
    if not missing:
        return
    packages = [PACKAGES[name] for name in missing]
    python = "/usr/bin/python3"
    if os.geteuid() == 0 and shutil.which("apt-get") and os.environ.get("BITACORA_CI_INSTALLED") != "1":
        print(f"==> apt-get install {' '.join(packages)}", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            check=True,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        # Packages are for the machine's own Python, which need not be the one that runs this.
        os.environ["BITACORA_CI_INSTALLED"] = "1"
        os.execv(python, [python, *sys.argv])
    raise SystemExit(f"missing: {' '.join(packages)}; install them and run this again")


def _has(module):
    return (
        subprocess.run([sys.executable, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0
    )


def tools():
    """The environment with the operators' tools in PATH."""
    directory = pathlib.Path(os.environ.get("BITACORA_TOOLS", ROOT / "target/tools"))
    made = subprocess.run(
        ["bash", "-c", 'made=$(.ci/tools "$1") && eval "$made" && env -0', "bash", directory],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    return dict(item.split("=", 1) for item in made.stdout.decode().split("\0") if "=" in item)


class Table:
    """The metrics that there are, as docs/metrics.md says."""

    def __init__(self, path=None):
        self.path = pathlib.Path(path or os.environ.get("BITACORA_METRICS_MD", ROOT / "docs/metrics.md"))
        self.kinds, self.labels, self.values, self.bounds = {}, {}, {}, {}
        for line in self.path.read_text().splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if row := re.fullmatch(r"`((?:bitacora|process)_\w+)`", cells[0]):
                kind = re.match(r"counter|gauge|histogram(?: \((\w+)\))?", cells[1])
                self.kinds[row[1]] = (kind[0].split()[0], kind[1])
                self.labels[row[1]] = set(re.findall(r"`(\w+)`", cells[2]))
            elif bounds := re.fullmatch(r"- (\w+): ([\d., ]+)", line):
                self.bounds[bounds[1]] = [float(one) for one in bounds[2].split(",")]
            elif values := re.fullmatch(r"- `(\w+)` `(\w+)`: (.+)", line):
                self.values[values[1], values[2]] = set(re.findall(r"`([^`]+)`", values[3]))
        if not self.kinds:
            raise SystemExit(f"{self.path} has no table of metrics")

    def base(self, name):
        """The metric that a series belongs to; None if there is none."""
        if name in self.kinds:
            return name if self.kinds[name][0] != "histogram" else None
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return base if base != name and self.kinds.get(base, ("",))[0] == "histogram" else None

    def faults(self, expr):
        """What an expression says that the table does not know."""
        for name in sorted(set(NAME.findall(expr))):
            if self.base(name) is None:
                whole = " by itself: it is a histogram" if name in self.kinds else ""
                yield f"{name} is not in {self.path.name}{whole}"
        for name, matchers in SELECTOR.findall(expr):
            base = self.base(name)
            for label, operator, value in MATCHER.findall(matchers) if base else ():
                known = self.labels[base] | SCRAPE_LABELS | ({"le"} if name.endswith("_bucket") else set())
                if label not in known:
                    yield f"{base} has no label {label}"
                closed = self.values.get((base, label))
                if closed and "$" not in value:
                    for one in value.split("|") if "~" in operator else [value]:
                        if re.fullmatch(r"\w+", one) and one not in closed:
                            yield f"{base} has no {label}={one}"


def rules():
    """Every rule, in order: dicts with `alert` or `record`."""
    import yaml

    return [
        rule
        for path in sorted(RULES.glob("*.yml"), reverse=True)
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def resolve(expr, recorded):
    """An expression with the names of recorded series replaced by what they are made from."""
    while found := [name for name in RECORDED.findall(expr) if name in recorded]:
        expr = re.sub(rf"(?<![\w:]){re.escape(found[0])}(?![\w:])", lambda _: f"({recorded[found[0]]})", expr)
    return expr


def report(what, faults):
    """Prints faults; the exit code."""
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"{what}: {len(faults)} faults" if faults else f"{what}: all is well")
    return 1 if faults else 0
