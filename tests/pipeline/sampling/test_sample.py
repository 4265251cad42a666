"""`nvgctl sample`: what it writes, how it is steered, and what it refuses in one line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.app import app
from cli.options import confirmed
from nvg.errors import InputError
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.sample import write_samples
from tests.makers import files_below
from tests.pipeline.sampling.makers import write_far_run
from tests.processes import run_verb


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose weights have moved far, tokens.vgs beside it, to be read only."""
    return write_far_run(tmp_path_factory.mktemp("sampling"))


def sample(run: Path, *flags: object) -> tuple[int, str]:
    """Exit code and output of the verb, with two flow steps."""
    fast = ["--set", "sample.flow_steps=2"]
    done = CliRunner().invoke(app, ["sample", str(run), *fast, *map(str, flags)])
    return done.exit_code, done.output


@pytest.mark.thorough
def test_all_places_hold_the_same_images(run: Path, tmp_path: Path) -> None:
    """PNG files by class, an array, a sheet and animations, of one call."""
    flags = ("--label", "cat", "--label", 0, "-n", 2, "--seed", 3)
    places = ("--png", "a.png", "--folder", "files", "--npz", "a.npz", "--stages", "stages")
    named = [tmp_path / p if n % 2 else p for n, p in enumerate(places)]
    (tmp_path / "a.npz.tmp").write_bytes(b"mine")
    code, said = sample(run, *flags, *named)
    assert code == 0, said
    array = np.load(tmp_path / "a.npz")["arr_0"]
    assert (array.shape, array.dtype) == ((4, 8, 8, 3), np.uint8)
    files = sorted((tmp_path / "files").rglob("*.png"), key=lambda path: path.name)
    assert [path.relative_to(tmp_path / "files").as_posix() for path in files] == [
        "0002/000000.png",
        "0002/000001.png",
        "0000/000002.png",
        "0000/000003.png",
    ]
    for path, wanted in zip(files, array, strict=True):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), wanted)
    with Image.open(tmp_path / "stages" / "0000.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 5
    assert (tmp_path / "stages" / "stages.png").is_file()
    assert (tmp_path / "a.png").is_file()
    assert list(tmp_path.glob("*.tmp")) == [tmp_path / "a.npz.tmp"]
    assert (tmp_path / "a.npz.tmp").read_bytes() == b"mine"
    assert len(said.strip().splitlines()[-4:]) == 4


@pytest.mark.thorough
def test_steering_by_picture_reference_and_mask(run: Path, tmp_path: Path) -> None:
    """Every control is a flag away, and changes the images."""
    half = tmp_path / "half.png"
    Image.fromarray(np.repeat([[0, 255]], 2, 0).astype(np.uint8)).save(half)
    reference = f"{run.parent / 'tokens.vgs'}:1"
    said_of = {
        "picture": f"{half} gives the structure of stages 0 to 1 of 4",
        "structure": f"{reference} gives the structure of stages 0 to 2 of 4",
        "all": "gives the structure and tokens of stages 0 to 4 of 4",
        "region": f"{half}: 50% of the positions are sampled, the others kept",
    }
    made = {}
    for name, flags in {
        "free": (),
        "picture": ("--structure", half),
        "structure": ("--reference", reference, "--keep", "structure:3"),
        "all": ("--reference", reference, "--keep", "all:5"),
        "region": ("--reference", reference, "--mask", half),
        "raw": ("--weights", "raw"),
        "again": (),
    }.items():
        code, said = sample(run, "-n", 3, "--label", "bee", "--npz", tmp_path / name, *flags)
        assert code == 0, said
        assert said_of.get(name, "wrote") in said
        made[name] = np.load(tmp_path / name)["arr_0"]
    assert np.array_equal(made["free"], made["again"])
    for name in ("picture", "structure", "all", "region", "raw"):
        assert not np.array_equal(made[name], made["free"]), name
    assert (made["all"] == made["all"][:1]).all()


@pytest.mark.thorough
def test_more_steps_and_solvers_are_settings(run: Path, tmp_path: Path) -> None:
    """Solver, temperature and top-k are read from the recipe's section."""
    made = []
    for number, setting in enumerate(("solver=euler", "solver=heun", "temperature=3", "top_k=1")):
        path = tmp_path / f"{number}.npz"
        assert sample(run, "--npz", path, "--set", f"sample.{setting}")[0] == 0
        made.append(np.load(path)["arr_0"])
    assert all(not np.array_equal(made[0], other) for other in made[1:])


def test_guidance_without_a_null_class_is_warned_of(run: Path, tmp_path: Path) -> None:
    """One line that names the settings; the images are made."""
    untrained = ("--png", tmp_path / "a.png", "-n", 1, "--set")
    code, said = sample(run, *untrained, "generator.train.class_dropout_prob=0")
    assert code == 0, said
    assert said.count("guidance needs the null class") == 1
    assert (tmp_path / "a.png").is_file()


def test_bad_requests_are_one_line_and_leave_nothing(run: Path, tmp_path: Path) -> None:
    """The thing and the remedy, exit code 2."""
    (tmp_path / "file").write_text("x")
    out = ("--png", tmp_path / "out.png")
    reference = f"{run.parent / 'tokens.vgs'}:1"
    for flags, words in (
        (("--png", tmp_path / "a.txt"), "names no format that is written"),
        (("--png", "s3://bucket/a.png"), "is a URL: name a file of this machine"),
        (("--png", tmp_path / "file" / "a.png"), "is a file"),
        ((*out, "--top-p", 2), "top_p must be in (0, 1], not 2"),
        ((*out, "--device", "cuda:77"), "no device 'cuda:77' here: there is cpu"),
        (
            (*out, "--checkpoint", 3),
            "no checkpoint of step 3 of its content generator: it has",
        ),
        ((*out, "-n", 4000), "12,000 images: 4000 of each of 3 classes (ant, bee, cat), seed 0"),
        ((*out, "--label", "0-3"), "unknown class '0-3'"),
        ((*out, "--label", "dog"), "unknown class 'dog'"),
        ((*out, "--keep", "all:2"), "--keep says what is done with a --reference"),
        ((*out, "--mask", "m.png"), "--mask says what is done with a --reference"),
        ((*out, "--structure", "a", "--reference", "b"), "both give structure"),
        ((*out, "--reference", reference, "--keep", "all:9"), "9 stages cannot be kept"),
        ((*out, "--reference", reference), "needs --keep"),
        ((*out, "--reference", "none.vgs:1", "--keep", "all:1"), "is not a store"),
        ((*out, "--structure", tmp_path / "file"), "not an image"),
        ((*out, "--set", "sample.content_guidance=-1"), "guidance must not be negative"),
        ((*out, "--set", "sample.content_guidance=inf"), "must be a finite number, not inf"),
        ((*out, "--set", "sample.temperature=0"), "temperature must be positive"),
        ((*out, "--set", "sample.top_k=-1"), "top_k must not be negative"),
        ((*out, "--set", "sample.solver=rk4"), "sample.solver must be one of"),
        (("--folder", tmp_path / "file"), "is a file: name a folder"),
        (("--png", tmp_path), "is a directory"),
    ):
        code, said = sample(run, *flags)
        assert code == 2, said
        assert words in said.strip().splitlines()[-1], said
    assert not (tmp_path / "out.png").exists()
    assert sample(run, *out, "-n", 0)[0] == 2


def test_a_run_alone_is_enough(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture goes into the run, under a name that other commands do not have."""
    code, said = sample(run, "-n", 2, "--label", "0-1,cat")
    assert code == 0, said
    assert "6 images: 2 of each of 3 classes (ant, bee, cat), seed 0" in said
    (first,) = (run / "samples").glob("ant-bee-cat-n2-seed0-*.png")
    assert f"wrote {first}" in said
    with Image.open(first) as image:
        assert image.size == (8 + 3 * 7 + 2 * 68, 4 + 3 * 68)  # 8 pixels a side, shown with 64
    code, said = sample(run, "-n", 2, "--label", "0-1,cat", "--cfg-scale", 1, "--tile", 8)
    assert (code, len(list((run / "samples").glob("ant-bee-cat-*")))) == (0, 2), said

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.sampling.batches.open_generators", stop)
    code, said = sample(run, "--label", "bee")
    assert (code, "stopped by SIGINT; nothing was written" in said) == (130, True)
    assert not list((run / "samples").glob("bee*"))


def test_a_checkpoint_is_sampled(run: Path, tmp_path: Path) -> None:
    """By its folder or its step: that of the last step has the weights of the run."""
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished, ignore=shutil.ignore_patterns("content*.s*", "samples"))
    shutil.copytree(run / "checkpoints", unfinished / "checkpoints", dirs_exist_ok=True)
    made = []
    for name, where in (
        ("run", (run,)),
        ("folder", (unfinished / "checkpoints" / "step-00000008",)),
        ("step", (unfinished, "--checkpoint", 8, "--device", "cpu")),
    ):
        flags = (*where, "--label", 1, "-n", 2, "--npz", tmp_path / f"{name}.npz", "--steps", 1)
        code, said = sample(*flags)  # type: ignore[arg-type]
        assert code == 0, said
        made.append(np.load(tmp_path / f"{name}.npz")["arr_0"])
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])
    code, said = sample(unfinished, "--png", tmp_path / "a.png")
    assert code == 2
    assert "holds no content.safetensors: finish it with" in said
    assert said.strip().endswith("step-00000008")


def test_many_images_are_asked_about(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal a question; --yes goes on without one."""
    asked = []

    def answer(question: str, **_: object) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("pipeline.sampling.sample.MOST_UNASKED", 1)
    assert sample(run, "--yes", "-n", 1, "--label", "ant,bee")[0] == 0
    monkeypatch.setattr("cli.options.sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("cli.options.typer.confirm", answer)
    with pytest.raises(InputError, match="say --yes"):
        write_samples(run, SampleOptions(number=1, label=["0-1"]), confirmed)
    assert asked == ["2 images: 1 of each of 2 classes (ant, bee), seed 0. Sample them?"]


@pytest.mark.thorough
def test_a_long_sampling_goes_on(run: Path, tmp_path: Path) -> None:
    """Batches whose files are whole are not sampled again; the array has all, to the byte."""
    flags = ("--label", "ant", "-n", 10, "--batch-size", 3)
    whole, out = tmp_path / "whole", tmp_path / "out"
    places = ("--npz", tmp_path / "a.npz", "--stages", tmp_path / "stages", "--png")
    code, said = sample(run, *flags, "--folder", whole, *places, tmp_path / "a.png")
    assert code == 0, said
    shutil.copytree(whole, out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    (out / "0000" / "000004.png").unlink()
    (out / "0000" / "000009.png").write_bytes(b"damaged")
    code, said = sample(run, *flags, "--folder", out)
    assert (code, "go on with --resume" in said) == (2, True)
    others = ("--npz", tmp_path / "b.npz", "--png", tmp_path / "b.png", "--resume")
    code, said = sample(run, *flags, "--folder", out, *others)
    assert code == 0, said
    files, pictures = files_below(out), files_below(whole)
    assert {n: d for n, d in files.items() if n.endswith("png")} == {
        n: d for n, d in pictures.items() if n.endswith("png")
    }
    for name in ("npz", "png"):
        assert (tmp_path / f"b.{name}").read_bytes() == (tmp_path / f"a.{name}").read_bytes()
    written = {p.stem for p in out.rglob("*.png") if p.stat().st_mtime_ns != times.get(p)}
    assert written == {"000003", "000004", "000005", "000009"}
    code, said = sample(run, *flags, "--folder", out, "--resume", "--seed", 1)
    assert (code, "seed differs" in said) == (2, True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_processes_and_actors_write_the_same(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 images over two processes and over two actors of Ray are those of one, to the byte."""
    monkeypatch.chdir(tmp_path)
    labels = ("--label", "ant", "--label", "cat", "-n", 100)
    verb = ("sample", run, *labels, "--batch-size", 24, "--set", "sample.flow_steps=2")
    for name, processes, flags in (("one", 1, ()), ("two", 2, ()), ("ray", 1, ("--workers", 2))):
        places = ("--npz", f"{name}.npz", "--folder", name, "--stages", f"{name}-stages")
        there = [tmp_path / p if n % 2 else p for n, p in enumerate(places)]
        said = run_verb(processes, *verb, *there, "--png", tmp_path / f"{name}.png", *flags)
        assert said.count("wrote") == 4
    for name in ("two", "ray"):
        assert files_below(tmp_path / name) == files_below(tmp_path / "one")
        assert files_below(tmp_path / f"{name}-stages") == files_below(tmp_path / "one-stages")
        for kind in ("npz", "png"):
            made, wanted = (tmp_path / f"{each}.{kind}" for each in (name, "one"))
            assert made.read_bytes() == wanted.read_bytes()
