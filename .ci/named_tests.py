#!/usr/bin/env python3
"""Checks that the tests and checks named in the documents exist.

A name in backquotes such as `it::group` or `write_plan::a_batch_is_…` must name a module or a function in it.
`containers: …` must be the name of a check in tests/containers/run.sh.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ["docs/requirements.md", "docs/predecessor-faults.md"]
FOLDERS = ["src", "actors/src", "tests/it", "tests/simulate", "tests/kit/src"]


def functions_by_module():
    """The functions and constants of each file, by file name; for mod.rs and main.rs by the name of its folder."""
    found = {}
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.rs"):
            name = file.parent.name if file.name in ("mod.rs", "main.rs") else file.stem
            found.setdefault(name, set()).update(re.findall(r"\b(?:fn|const) (\w+)", file.read_text(encoding="utf-8")))
            found.setdefault(file.parent.name, set())
    return found


def checks():
    text = (ROOT / "tests/containers/run.sh").read_text(encoding="utf-8")
    text = text.replace("$heartbeat_minutes", "10")
    return set(re.findall(r"^check ['\"](.+?)['\"] \w+", text, re.MULTILINE))


def is_there(name, modules, known_checks):
    """Whether the named test or check exists; None if the text is not such a name."""
    if name.startswith("containers: "):
        wanted = name.removeprefix("containers: ")
        return any(check == wanted or wanted.endswith("…") and check.startswith(wanted[:-1]) for check in known_checks)
    if not re.fullmatch(r"\w+(::\w+)*::\w+…?", name):
        return None
    module, last = name.split("::")[-2:]
    if last.endswith("…"):
        return any(function.startswith(last[:-1]) for function in modules.get(module, ()))
    return last in modules.get(module, ()) or last in modules


def main():
    modules, known_checks, missing, count = functions_by_module(), checks(), [], 0
    for document in DOCUMENTS:
        for number, line in enumerate((ROOT / document).read_text(encoding="utf-8").splitlines(), 1):
            for name in re.findall(r"`([^`]+)`", line):
                there = is_there(name, modules, known_checks)
                count += there is not None
                if there is False:
                    missing.append(f"{document}:{number}: `{name}` does not exist")
    print("\n".join(missing + [f"named tests: {count} names, {len(missing)} missing"]))
    return 1 if missing or not count else 0


if __name__ == "__main__":
    sys.exit(main())
