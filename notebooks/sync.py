#!/usr/bin/env python3
"""Keep NAME.md and NAME.ipynb the same notebook.

    .venv/bin/python notebooks/sync.py              # the .md files are right: bring the cells of every .ipynb into line
    .venv/bin/python notebooks/sync.py --from-ipynb NAME.ipynb   # the .ipynb is right: write its .md
    .venv/bin/python notebooks/sync.py --check      # change nothing; exit status 1 where a pair disagrees

Outputs of cells that haven't changed are kept. Which file is newer never matters: git doesn't keep times.
"""

import argparse
import sys
from pathlib import Path

from jupytext.cli import jupytext
from jupytext.combine import combine_inputs_with_outputs

from run import HERE, one_line, read, write


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all that are here")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing, and fail where a pair disagrees")
    what.add_argument("--from-ipynb", action="store_true", help="write the .md from the .ipynb")
    args = parser.parse_args()
    status = 0
    for path in args.notebooks or sorted(HERE.glob("*.ipynb")):
        md, ipynb = path.with_suffix(".md"), path.with_suffix(".ipynb")
        try:
            if args.from_ipynb:
                jupytext(["--quiet", "--to", "md", "--output", str(md), str(ipynb)])
            elif args.check:
                if where := disagreement(read(md), read(ipynb)):
                    print(f"{ipynb}: {where} is not that of {md.name}: run notebooks/sync.py", file=sys.stderr)
                    status = 1
            else:
                write(merged(md, ipynb), ipynb)
        except (OSError, ValueError) as err:
            print(f"sync.py: {path}: {one_line(err)}", file=sys.stderr)
            status = 2
    return status


def disagreement(text, notebook):
    """The first thing in which the two differ, outputs apart, or ""."""
    for number, (a, b) in enumerate(zip(text.cells, notebook.cells), 1):
        if (a.cell_type, a.source, a.metadata) != (b.cell_type, b.source, b.metadata):
            return f"cell {number}"
    if len(text.cells) != len(notebook.cells):
        return f"the number of cells ({len(notebook.cells)}, not {len(text.cells)})"
    if text.metadata.get("kernelspec") != notebook.metadata.get("kernelspec"):
        return "the kernelspec"
    return ""


def merged(md, ipynb):
    """The cells of md with the outputs that ipynb has for them."""
    text = read(md)
    return combine_inputs_with_outputs(text, read(ipynb), fmt="md") if ipynb.exists() else text


if __name__ == "__main__":
    sys.exit(main())
