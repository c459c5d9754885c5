#!/usr/bin/env python3
"""Execute notebooks on the Go kernel of this checkout, without a browser.

    .venv/bin/python notebooks/run.py notebooks/00-quickstart.md             # does it run?
    .venv/bin/python notebooks/run.py --inplace notebooks/00-quickstart.md   # and write 00-quickstart.ipynb
    .venv/bin/python notebooks/run.py --check notebooks/00-quickstart.ipynb  # are the committed outputs still true?
    .venv/bin/python notebooks/run.py --jobs 2 notebooks/[0-9]*.md           # all, two at a time

A notebook is a pair: NAME.md has the cells and NAME.ipynb has the cells and their outputs. Either can be run. The
environment reaches the cells, so that a notebook can be given parameters: DHKD_PROFILE=smoke trains runs at smoke size.
A cell tagged "volatile" may print something else each time (times, speeds, what is shown of records): --check runs it,
and doesn't compare it. Of pictures it compares size and description, since pixels differ between machines.

Exit status: 0 all is well, 1 a cell failed or an output differs, 2 nothing could be run.
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent

try:
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    import stamp
except ImportError as err:
    sys.exit(f"run.py: {err}: run 'make lab' or 'dhkd setup --jupyter' first, and then {HERE.parent}/.venv/bin/python")

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
EXIT_STATUS = re.compile(r"^exit status \d+", re.MULTILINE)


class Failure(Exception):
    """A notebook that ran and isn't right. The message is what the reader needs to mend it."""


def main():
    args = parse_args()
    if args.jobs > 1 and len(args.notebooks) > 1:
        return side_by_side(args)
    status = 0
    for path in args.notebooks:
        began = time.monotonic()
        try:
            notebook = read(path)
            committed = read(path.with_suffix(".ipynb")) if args.check else None
            written = bool(args.inplace or args.output)
            execute(notebook, path, args.timeout, args.quiet, written)
            if args.check:
                compare(committed, notebook, path.with_suffix(".ipynb"))
            elif written:
                write(notebook, args.output or path.with_suffix(".ipynb"))
            if args.inplace:
                write_thumbnail(notebook, path.parent / "thumbnails" / f"{path.stem}.png")
        except Failure as failure:
            print(f"{path}: {failure}", file=sys.stderr)
            status = status or 1
        except (OSError, ValueError, RuntimeError) as err:
            print(f"run.py: {path}: {one_line(err)}", file=sys.stderr)
            status = 2
        else:
            print(f"{path}: ok ({time.monotonic() - began:.0f} s)")
    return status


def side_by_side(args):
    """Run each notebook in a process of its own, several at a time."""
    options = [f"--timeout={args.timeout}"]
    options += [f"--{name}" for name in ("inplace", "check", "quiet") if getattr(args, name)]

    def run(path):
        command = [sys.executable, __file__, *options, str(path)]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    began, status = time.monotonic(), 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for done in pool.map(run, args.notebooks):
            print(done.stdout, end="", flush=True)
            status = max(status, 2 if done.returncode not in (0, 1) else done.returncode)
    print(f"{len(args.notebooks)} notebooks in {time.monotonic() - began:.0f} s")
    return status


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK", help="a .md or .ipynb file")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--inplace", action="store_true", help="write cells and outputs to the pair's .ipynb")
    what.add_argument("--output", type=Path, metavar="FILE", help="write cells and outputs to FILE")
    what.add_argument("--check", action="store_true", help="compare the outputs with those in the pair's .ipynb")
    parser.add_argument("--timeout", type=int, default=600, metavar="S", help="seconds for one cell (default 600)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run so many notebooks at a time (default 1)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="set a variable for the cells")
    parser.add_argument("--quiet", action="store_true", help="no line for each cell")
    args = parser.parse_args()
    if args.output and len(args.notebooks) > 1:
        parser.error("--output takes one notebook")
    for setting in args.env:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            parser.error(f"--env {setting}: not of the form NAME=VALUE")
        os.environ[name] = value
    return args


def read(path):
    """The notebook in a .md or .ipynb file. A .md file's cells get ids that depend on their text alone."""
    try:
        notebook = jupytext.read(path)
        nbformat.validate(notebook)
    except (OSError, UnicodeDecodeError):
        raise
    except Exception as err:
        raise ValueError(f"not a notebook: {one_line(err)}") from err
    if path.suffix == ".md":
        notebook.nbformat, notebook.nbformat_minor = 4, 5
        notebook.metadata.get("jupytext", {}).pop("text_representation", None)
        seen = {}
        for cell in notebook.cells:
            digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
            seen[digest] = seen.get(digest, 0) + 1
            cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def write(notebook, path):
    """Replace the file at path, or leave it as it was."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            file.write(nbformat.writes(notebook).rstrip("\n") + "\n")
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def execute(notebook, path, timeout, quiet, written):
    """Run every cell in the notebook's folder, filling in the outputs and the stamp.

    Raises Failure at the first cell that fails. Of a notebook that isn't going to be written the
    figures aren't kept either. What is written is never from a cache.
    """
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    began = {}

    def started(cell, cell_index):
        began[cell_index] = time.monotonic()

    def done(cell, cell_index, execute_reply):
        if not quiet and cell_index in code:
            seconds = time.monotonic() - began[cell_index]
            first = next((line for line in cell.source.splitlines() if line.strip()), "")
            print(f"  cell {code.index(cell_index) + 1}/{len(code)} {seconds:5.1f} s  {first[:80]}", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="dhkd-jupyter-") as temporary:
        reported = os.path.join(temporary, "stamp")
        os.environ.update(JUPYTER_RUNTIME_DIR=temporary, DHKD_HEADLESS="1", DHKD_STAMP=reported)
        if written:
            os.environ["DHKD_NOTEBOOK_CACHE"] = "off"
        else:
            os.environ["DHKD_FIGURES"] = os.path.join(temporary, "figures")
        search = [str(HERE / "kernel"), *filter(None, [os.environ.get("JUPYTER_PATH")])]
        os.environ["JUPYTER_PATH"] = os.pathsep.join(dict.fromkeys(os.pathsep.join(search).split(os.pathsep)))
        client = NotebookClient(
            notebook,
            kernel_name="gonb",
            timeout=timeout,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(path.resolve().parent)}},
            on_cell_start=started,
            on_cell_executed=done,
        )
        try:
            client.execute()
        except CellExecutionError as err:
            raise Failure(failed_cell(notebook, f"{err.ename}: {err.evalue}")) from None
        except CellTimeoutError:
            raise Failure(failed_cell(notebook, f"not done after {timeout} s (--timeout)")) from None
        except DeadKernelError:
            raise Failure(failed_cell(notebook, "the kernel died")) from None
        notebook.metadata["dhkd"] = stamp.make(notebook, stamp.read(reported))
    notebook.metadata.get("language_info", {}).pop("version", None)  # the Go of whoever ran it last
    for number, index in enumerate(code, 1):
        cell = notebook.cells[index]
        # GoNB takes a failed "!command" for a success and only prints this.
        if EXIT_STATUS.search(text_of(cell.outputs)):
            raise Failure(describe(cell, number, "a command failed"))


def failed_cell(notebook, reason):
    """Describe the last code cell that was started."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ran = [i for i, cell in enumerate(code) if cell.execution_count or cell.outputs]
    number = ran[-1] if ran else 0
    return describe(code[number], number + 1, reason)


def describe(cell, number, reason):
    source = "\n".join(f"  {i:3} | {line}" for i, line in enumerate(cell.source.splitlines(), 1))
    shown = ANSI.sub("", text_of(cell.outputs)).strip().splitlines()
    if len(shown) > 60:
        shown = [*shown[:20], f"... {len(shown) - 60} lines left out ...", *shown[-40:]]
    return f"code cell {number} failed: {reason}\n{source}\n" + "\n".join(f"  {line}" for line in shown)


def text_of(outputs):
    """What streams and errors among the outputs say."""
    parts = []
    for output in outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.extend(output.traceback or [f"{output.ename}: {output.evalue}"])
    return "\n".join(parts)


def compare(committed, now, path):
    """Raise Failure, with a diff, unless both notebooks have the same cells and outputs."""
    if [(c.cell_type, c.source) for c in committed.cells] != [(c.cell_type, c.source) for c in now.cells]:
        raise Failure("its cells are not those of the .md file: run notebooks/sync.py")
    differences = []
    for number, (old, new) in enumerate(zip(committed.cells, now.cells), 1):
        if old.cell_type != "code" or "volatile" in new.metadata.get("tags", []):
            continue
        diff = list(difflib.unified_diff(comparable(old), comparable(new), "committed", "now", n=1, lineterm=""))
        if diff:
            differences.append(f"cell {number}:\n" + "\n".join(f"  {line[:200]}" for line in diff[:40]))
    if differences:
        hint = f"run.py --inplace {path} writes the new ones, and the tag 'volatile' says that a cell may vary"
        raise Failure(f"outputs differ from the committed ones ({hint})\n" + "\n".join(differences))


def comparable(cell):
    """What is compared of a cell's outputs: what it printed, then what it showed: the two come by different ways."""
    printed, shown = [], []
    for output in cell.outputs:
        kept = {key: value for key, value in output.items() if key not in ("execution_count", "transient")}
        if output.output_type == "stream":
            printed += [f"{output.name}: {line}" for line in output.text.splitlines()]
            continue
        if "image/png" in kept.get("data", {}):
            kept["data"] = {**kept["data"], "image/png": "{} x {} pixels".format(*png_size(kept["data"]["image/png"]))}
        shown += json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
    return printed + shown


def png_size(text):
    return struct.unpack(">II", b64decode(text)[16:24])


def write_thumbnail(notebook, path):
    """Write the first picture of the cell that is tagged "thumbnail", which the list of notebooks shows."""
    for cell in notebook.cells:
        if "thumbnail" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(b64decode(output.data["image/png"]))
                    return
            raise Failure("the cell with the tag thumbnail shows no picture")


def one_line(err):
    return " ".join(str(err).split())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
