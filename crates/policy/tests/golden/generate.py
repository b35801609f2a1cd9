#!/usr/bin/env python3
"""Writes the golden cases beside it. With --check it only says whether they are current."""

import pathlib
import sys

import rowkit
import cases_netpol  # noqa: F401
import cases_admin  # noqa: F401
import cases_firewall  # noqa: F401
import cases_cluster  # noqa: F401
import cases_services  # noqa: F401
import cases_more  # noqa: F401

HERE = pathlib.Path(__file__).parent / "cases"

want = {}
for c in rowkit.CASES:
    yaml, rows = rowkit.texts(c)
    want[f"{c['name']}.yaml"], want[f"{c['name']}.rows"] = yaml, rows
have = {p.name: p.read_text() for p in HERE.glob("*")} if HERE.exists() else {}
if "--check" in sys.argv:
    stale = sorted(n for n in want if have.get(n) != want[n]) + sorted(n for n in have if n not in want)
    sys.exit(f"not current: {' '.join(stale)}" if stale else 0)
HERE.mkdir(exist_ok=True)
for name in have:
    if name not in want:
        (HERE / name).unlink()
for name, text in want.items():
    (HERE / name).write_text(text)
print(f"{len(rowkit.CASES)} cases, {sum(len(c['rows']) for c in rowkit.CASES)} rows")
