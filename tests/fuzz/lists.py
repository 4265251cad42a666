"""Folders and lists of images: odd paths, odd cells, odd files beside sound ones."""

import csv
import gzip
import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.cases import ERROR_ROW, Outcome
from tests.fuzz.changes import change_bytes
from tests.fuzz.judge import Answer, first_fault, run
from tests.makers import write_image_folder
from tests.nvg.tokenizer.makers import write_autoencoder

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".jsonl.gz")
ODD_PATHS = ("a\0b.png", "\ud800.png", "", " ", ".", "..", "/", "~", "~nobody/a.png", "/dev/zero",
             "pipe.png", "folder", "loop.png", "http://127.0.0.1:1/a.png", "no://x/a.png", "://",
             "file://" + "x" * 300, "x" * 5000, "a\nb.png", "\x1b[2Ja.png", "images", "s3:", "::",
             "zip://a::b", "images/ant/000.png::", "*", "[")  # fmt: skip
ODD_LABELS: tuple[Any, ...] = (None, "", -1, 0, 1, 3, -7, 10**6, 10**30, 1.5, "ant",
              "\x1b[31m", "a\nb", "\0", [], {}, True, "x" * 5000, "nan", "\ud800")  # fmt: skip


class Lists:
    """Mutated lists and folders, tokenized as they are."""

    name, seconds, memory = "lists", 240.0, 1 << 30

    def prepare(self, folder: Path) -> None:
        """A tokenizer and images; a pass over them leaves compiled code for those to come."""
        write_autoencoder(folder / "tokenizer")
        write_image_folder(folder / "images", per_class=2)
        require_sound(folder)

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """One list, or one folder with something odd in it."""
        write_image_folder(work / "images", per_class=2)
        said = odd_files(work, random)
        place = work / "images"
        if random.random() < 0.8:
            place = work / f"list{random.choice(SUFFIXES)}"
            said = write_odd_list(work, place, random)
        answers = tokenized(place, templates / "tokenizer", work)
        return Outcome(f"{place.name}: {said}", result_of(answers), first_fault(answers))


def tokenized(place: Path, tokenizer: Path, work: Path) -> list[Answer]:
    """A pass over what is at `place`; what it wrote must be sound, and is shown."""
    store = work / "a.vgs"
    words = "tokenize", place, "--tokenizer", tokenizer, "--out", store, "--engine", "inline"
    answers = [run(*words)]
    if answers[0].code == 0:
        answers += [
            run("verify", store),
            run("inspect", store),
            run("inspect", store, "--row", "0"),
        ]
        answers += [broken(answer) for answer in answers[1:] if answer.code]
    return answers


def require_sound(folder: Path) -> None:
    """RuntimeError unless a pass over sound images ends well."""
    answers = tokenized(folder / "images", folder / "tokenizer", folder)
    if first_fault(answers) or answers[0].code:
        raise RuntimeError(f"sound images are refused: {answers}")


def broken(answer: Answer) -> Answer:
    """A store that was just written must be sound."""
    return Answer(answer.line, answer.code, answer.text, f"a new store is refused: {answer.text}")


def result_of(answers: list[Answer]) -> str:
    """How a pass ended; with error rows it still ends well."""
    has_errors = "errors      0\n" not in answers[2].text if len(answers) > 2 else False
    return ERROR_ROW if has_errors else answers[0].result


def odd_files(work: Path, random: Random) -> str:
    """Put something else among the images."""
    folder = work / "images" / "ant"
    ways = ("pipe.png", "loop.png", "zero.png", "folder.png", "away.png", "bytes")
    way = random.choice(ways)
    path = folder / way
    if way == "pipe.png":
        os.mkfifo(path)
    elif way == "folder.png":
        path.mkdir()
    elif way == "bytes":
        os.close(os.open(os.fsencode(folder) + b"/\xff\xfe.png", os.O_CREAT))
    else:
        path.symlink_to(
            {"loop.png": path, "zero.png": Path("/dev/zero")}.get(way, Path("/nowhere"))
        )
    os.mkfifo(work / "pipe.png")
    (work / "loop.png").symlink_to(work / "loop.png")
    return way


def write_odd_list(work: Path, file: Path, random: Random) -> str:
    """A list of sound images with an odd cell; sometimes its bytes are changed too."""
    keys = sorted(p.relative_to(work).as_posix() for p in (work / "images").rglob("0*.*"))
    entries: list[dict[str, Any]] = [{"path": k, "label": k.split("/")[1]} for k in keys]
    entry = random.choice(entries)
    way = random.choice(("path", "path", "label", "split", "columns"))
    odd = {"path": ODD_PATHS, "label": ODD_LABELS, "split": ("val", "x", "", 0, None)}
    if way == "columns":
        entry.pop(random.choice(("path", "label")))
        said = "an entry without a column"
    else:
        entry[way] = random.choice(odd[way])
        said = f"{way} {entry[way]!a:.60}"
    data = list_bytes(file.name, entries)
    if random.random() < 0.35:
        data, how = change_bytes(data, random)
        said = f"{said}, {how}"
    file.write_bytes(data)
    return said


def list_bytes(name: str, entries: list[dict[str, Any]]) -> bytes:
    """Entries as a list of this name."""
    if name.endswith(".gz"):
        return gzip.compress(list_bytes(name.removesuffix(".gz"), entries), mtime=0)
    if name.endswith(".jsonl"):
        return "".join(json.dumps(entry) + "\n" for entry in entries).encode()
    if name.endswith(".json"):
        return json.dumps(entries).encode()
    columns = ("path", "label", "split")
    if name.endswith(".parquet"):
        texts = {c: [_plain(entry.get(c)) for entry in entries] for c in columns}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({c: pa.array(t, pa.string()) for c, t in texts.items()}), sink)
        data: bytes = sink.getvalue().to_pybytes()
        return data
    lines: list[str] = []
    writer = csv.DictWriter(_Lines(lines), columns, delimiter="\t" if ".tsv" in name else ",")
    writer.writeheader()
    writer.writerows(entries)
    return "".join(lines).encode(errors="surrogatepass")


def _plain(value: Any) -> str | None:
    return None if value is None else str(value).encode(errors="replace").decode()


class _Lines:
    """What a csv writer writes to."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append
