"""The stamp of a notebook: what its outputs were made from and where, kept in the .ipynb's metadata under "dhkd".

`go test ./dhkd/internal/jupyter` compares it with the checkout; README.md says what follows from a difference.
"""

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODE = ("dhkd", "plots", "notebooks/nb")  # what cells import


def make(notebook, lines):
    """The stamp of a notebook that has just been run; lines are what its cells have reported (see nb.Stamp)."""
    stamp, runs = {}, []
    for line in lines:
        if "experiment" not in line:
            stamp = line
        elif line not in runs:
            runs.append(line)
    stamp["cells"] = cells(notebook)
    stamp["code"] = files(HERE.parent, [file for folder in CODE for file in source(HERE.parent / folder)])
    stamp["runs"] = runs
    for run in runs:
        folder = HERE.parent / run["place"]
        if run["place"].startswith("notebooks/records/"):
            run["records"] = files(folder, sorted(folder.rglob(run.get("files", "record.json"))))
    return stamp


def cells(notebook):
    """Digest of the code cells. Text may change without a new run."""
    return digest(cell.source for cell in notebook.cells if cell.cell_type == "code")


def source(folder):
    """The files of a folder that programs are built from."""
    for file in sorted(folder.rglob("*")):
        wanted = file.suffix in (".go", ".yaml") and not file.name.endswith("_test.go")
        if wanted and "testdata" not in file.relative_to(folder).parts:
            yield file


def files(root, paths):
    """Digest of files: their names below root and what is in them, in the order of the names."""
    names = sorted((path.relative_to(root).as_posix(), path) for path in paths)
    return digest(part for name, path in names for part in (name, path.read_bytes()))


def digest(parts):
    """SHA-256 of a list of texts, each with its length before it."""
    sha = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        sha.update(b"%d:" % len(part) + part)
    return sha.hexdigest()


def read(path):
    """The lines that cells have reported, or none."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]
