"""nvgctl: output and exit codes of each verb; bad input is exit code 2 and one line."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from nvg import __version__
from nvg.config import dump
from tests.cli.flags import FLAGS
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.sampling.makers import write_run
from tests.nvg.store.makers import empty_store, make_store
from tests.nvg.tokenizer.makers import tiny_model, write_autoencoder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe over twelve images, an autoencoder, a store and a generator run."""
    root = tmp_path_factory.mktemp("app")
    write_image_folder(root / "images")
    dump(tiny_recipe(root / "images"), root / "recipe.toml")
    write_autoencoder(root / "tokenizer")
    write_run(root)
    write_bad_inputs(root)
    return root


def write_bad_inputs(root: Path) -> None:
    """Inputs that users pass by mistake."""
    (root / "notes.txt").write_text("not what you need")
    (root / "folder" / "class").mkdir(parents=True)
    dump(tiny_recipe(root / "folder"), root / "empty.toml")
    dump(tiny_recipe(root / "nowhere"), root / "lost.toml")
    text = (root / "recipe.toml").read_text()
    (root / "extra.toml").write_text(text + "\n[surprise]\ncolour = 1\n")
    (root / "regions.toml").write_text(text.replace('"greedy"', '"segments"'))
    (root / "short.toml").write_text(text.replace("source =", "path2 ="))
    (root / "broken.toml").write_text("[data")
    (root / "bad" / "class").mkdir(parents=True)
    (root / "bad" / "class" / "a.png").write_text("version https://git-lfs")
    dump(tiny_recipe(root / "bad"), root / "bad.toml")
    empty_store(root / "part.vgs", rows=10)
    write_autoencoder(root / "large", config=tiny_model(8))
    shutil.copytree(root / "tokenizer", root / "cut")
    weights = root / "cut" / "autoencoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    shutil.copytree(root / "run", root / "torn")
    (root / "torn" / "content-ema.safetensors").write_bytes(b"\0" * 40)


@pytest.fixture
def own(shared: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage; its recipe still reads the shared images."""
    shutil.copytree(shared, tmp_path / "own")
    return tmp_path / "own"


def nvgctl(text: str, root: Path) -> Result:
    """Run a command line in which @ is the directory of the inputs."""
    words = [word.replace("@", f"{root}/") for word in text.split()]
    return CliRunner().invoke(app, words, prog_name="nvgctl")


def check_refused(result: Result, *named: str) -> None:
    """Exit code 2 and exactly one line on standard error, which names the thing."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("nvgctl: ")
    assert [name for name in named if name not in lines[0]] == [], lines[0]
    assert result.exit_code == 2, lines[0]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train autoencoder @recipe.toml --out @new", "autoencoder.safetensors: tokenizer"),
        ("train autoencoder @recipe.toml --out @new --dry-run", "12 images to train on"),
        (
            "train autoencoder @recipe.toml --out @new --dry-run --memory 80",
            "the GPU has 80.00 GiB",
        ),
        ("train generator @recipe.toml --store @tokens.vgs --out @new", "structure.safetensors"),
        ("train generator @recipe.toml --store @tokens.vgs --out @new --only content", "content"),
        ("train generator @recipe.toml --store @tokens.vgs --out @new --dry-run", "10 images"),
        ("tokenize @recipe.toml --tokenizer @tokenizer --out @new --engine inline", "12 images"),
        ("tokenize @recipe.toml --tokenizer @tokenizer --out @new --dry-run", "3 chunks of 4"),
        ("verify @tokens.vgs", "intact, 10 rows"),
        ("inspect @tokens.vgs", "10 in 3 chunks of 4"),
        ("inspect @tokens.vgs --row 9", "row 9: image-9"),
        ("inspect @tokens.vgs --stats", "variance within"),
        ("export @tokens.vgs --format parquet --out @new", "images to"),
        ("inspect @tokens.vgs --row 9 --png @new.png", "new.png"),
        ("sample @run --png @new.png -n 1 --label bee --seed 3", "new.png"),
        ("sample @run --png @new.png --set sample.top_p=1.0 -n 1", "new.png"),
    ],
)
def test_good_input_succeeds(own: Path, text: str, said: str) -> None:
    """Exit code 0 and a line about the result or the plan."""
    result = nvgctl(text, own)
    assert result.exit_code == 0, result.stderr
    assert said in result.stdout


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ((1,), "intact, 2 rows, 1 of them without tokens"),
        ((0, 1), "intact, but none of its 2 rows"),
    ],
)
def test_verify_says_what_has_no_tokens(tmp_path: Path, bad: tuple[int, ...], said: str) -> None:
    """A store of error rows alone is sound, and of no use."""
    store = make_store(tmp_path / "tokens.vgs", 2, bad=bad)
    result = nvgctl(f"verify {store.path}", tmp_path)
    assert (result.exit_code, said in result.stdout) == (0, True), result.stdout


@pytest.mark.parametrize("verb", [verb for verb, names in FLAGS.items() if "--dry-run" in names])
def test_a_dry_run_writes_nothing(shared: Path, tmp_path: Path, verb: str) -> None:
    """A dry run writes nothing."""
    more = {"tokenize": "--tokenizer @tokenizer", "train generator": "--store @tokens.vgs"}
    before = sorted(shared.rglob("*"))
    text = f"{verb} @recipe.toml --out {tmp_path}/new --dry-run {more.get(verb, '')}"
    result = nvgctl(text, shared)
    assert result.exit_code == 0, result.stderr
    assert sorted(shared.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("train autoencoder @absent.toml --out @new", "absent.toml"),
        ("train autoencoder @images --out @new", "images"),
        ("train autoencoder @broken.toml --out @new", "broken.toml"),
        ("train autoencoder @extra.toml --out @new", "unknown key surprise"),
        ("train autoencoder @short.toml --out @new", "data.path2"),
        ("train autoencoder @lost.toml --out @new", "nowhere does not exist"),
        ("train autoencoder @empty.toml --out @new", "folder holds no images"),
        ("tokenize @empty.toml --tokenizer @tokenizer --out @new", "folder holds no images"),
        ("train autoencoder @recipe.toml --out @new --memory 80", "--dry-run"),
        ("train autoencoder @recipe.toml --out @new --dry-run --memory inf", "--memory"),
        ("train autoencoder @recipe.toml --out @notes.txt", "notes.txt"),
        ("tokenize @recipe.toml --tokenizer @absent --out @new", "absent"),
        ("tokenize @recipe.toml --tokenizer @images --out @new", "images holds no autoencoder"),
        ("tokenize @recipe.toml --tokenizer @notes.txt --out @new", "notes.txt"),
        ("tokenize @recipe.toml --tokenizer @cut --out @new", "cut/autoencoder.safetensors"),
        ("tokenize @recipe.toml --tokenizer @large --out @new", "large"),
        ("tokenize @recipe.toml --tokenizer @tokenizer --out @tokens.vgs", "--resume"),
        ("tokenize @recipe.toml --tokenizer @tokenizer --out @tokens.vgs --resume", "tokens.vgs"),
        ("train generator @recipe.toml --store @absent.vgs --out @new", "absent.vgs"),
        ("train generator @recipe.toml --store @part.vgs --out @new", "part.vgs is unfinished"),
        ("train generator @recipe.toml --store @notes.txt --out @new", "notes.txt"),
        ("train generator @recipe.toml --store @tokens.vgs --out @run", "run holds a run"),
        ("inspect @absent.vgs", "absent.vgs"),
        ("inspect @notes.txt", "notes.txt"),
        ("inspect @tokens.vgs --row 10", "row 10"),
        ("inspect @tokens.vgs --row -1", "row -1"),
        ("inspect @tokens.vgs --row 10 --png @new.png", "row 10"),
        ("inspect @part.vgs --row 3", "row 3"),
        ("inspect @part.vgs --stats", "part.vgs has no tokenized row"),
        ("inspect @tokens.vgs --segments @images", "--stats"),
        ("inspect @tokens.vgs --stats --segments @absent", "absent"),
        ("train autoencoder @regions.toml --out @new", "data.segments is missing"),
        ("verify @absent.vgs", "absent.vgs"),
        ("export @absent.vgs --format arrow --out @new", "absent.vgs"),
        ("export @part.vgs --format parquet --out @new", "part.vgs is unfinished"),
        ("export @tokens.vgs --format webdataset --out @folder", "folder exists"),
        ("verify @images", "images"),
        ("sample @absent --png @new.png", "absent"),
        ("sample @tokenizer --png @new.png", "tokenizer"),
        ("sample @torn --png @new.png", "torn/content-ema.safetensors"),
        ("sample @run --png @new.png --label dog", "unknown class 'dog'"),
        ("sample @run --png @new.png --label 3", "unknown class '3'"),
        ("sample @run --png @new.png --set sample.colour=1", "sample.colour"),
        ("sample @run --png @folder", "folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(shared: Path, text: str, named: str) -> None:
    """The line names the fault, without a traceback, and nothing is left behind."""
    before = sorted(shared.iterdir())
    check_refused(nvgctl(text, shared), named)
    assert sorted(shared.iterdir()) == before


@pytest.mark.parametrize(
    ("verb", "setting"),
    [
        ("autoencoder @recipe.toml", "autoencoder.train.lr"),
        ("generator @recipe.toml --store @tokens.vgs", "generator.train.lr"),
    ],
)
def test_resuming_with_another_recipe_names_the_key(own: Path, verb: str, setting: str) -> None:
    """--resume with a changed value is refused, the run stays as it was, and --from is named."""
    assert nvgctl(f"train {verb} --out @new", own).exit_code == 0
    before = {path: path.read_bytes() for path in (own / "new").rglob("*") if path.is_file()}
    result = nvgctl(f"train {verb} --out @new --resume --set {setting}=0.5", own)
    check_refused(result, setting, f"{own}/new", "--from")
    assert {p: p.read_bytes() for p in (own / "new").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("array", ["leaves", "content", "label"])
def test_verify_of_a_damaged_store_fails(own: Path, array: str) -> None:
    """Exit code 1; each fault is a line that names the store, then their count."""
    chunk = next(path for path in (own / "tokens.vgs" / array / "c").rglob("*") if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(bytes(data))
    result = nvgctl("verify @tokens.vgs", own)
    assert result.exit_code == 1
    assert f"{own}/tokens.vgs: chunk" in result.stderr
    assert "Traceback" not in result.stderr
    assert "1 faults" in result.stdout


@pytest.mark.parametrize(
    "text",
    [
        "paint",
        "train",
        "train paint",
        "inspect",
        "inspect @tokens.vgs --row one",
        "verify --all x",
        "sample @run --png @new.png -n 0",
        "tokenize @recipe.toml --tokenizer @tokenizer --out @new --engine x",
    ],
)
def test_wrong_usage_is_exit_code_2(shared: Path, text: str) -> None:
    """Unknown verbs, missing arguments and values of the wrong kind: usage, not a traceback."""
    result = nvgctl(text, shared)
    assert result.exit_code == 2
    assert "Usage: nvgctl" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_a_failure_is_one_line_unless_the_traceback_is_wanted(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 for a failure that is not the user's; NVG_TRACEBACK=1 shows the traceback."""

    def broken(*_: object, **__: object) -> None:
        raise LookupError("a fault of the program")

    monkeypatch.setattr("pipeline.inspect.print_store", broken)
    monkeypatch.delenv("NVG_TRACEBACK", raising=False)
    result = nvgctl("inspect @tokens.vgs --row 0", own)
    assert (result.exit_code, result.stderr.count("nvgctl: failed: ")) == (1, 1)
    assert isinstance(result.exception, SystemExit)
    monkeypatch.setenv("NVG_TRACEBACK", "1")
    result = nvgctl("inspect @tokens.vgs --row 0", own)
    assert (result.exit_code, result.stderr) == (1, "")
    assert not isinstance(result.exception, SystemExit)


@pytest.mark.thorough
def test_a_pass_without_a_readable_image_fails(own: Path) -> None:
    """Exit code 1 with the first reasons; --max-errors for some of many."""
    line = "--tokenizer @tokenizer --out @new --engine inline"
    result = nvgctl(f"tokenize @bad.toml {line}", own)
    assert result.exit_code == 1
    assert "none of its 1 images could be read; the first: class/a.png: not an" in result.stderr
    (own / "images" / "ant" / "000.png").write_text("x")
    shutil.rmtree(own / "new")
    dump(tiny_recipe(own / "images"), own / "own.toml")
    assert nvgctl(f"tokenize @own.toml {line} --max-errors 1", own).exit_code == 0
    result = nvgctl(f"tokenize @own.toml {line} --resume --max-errors 0", own)
    assert result.exit_code == 1
    assert "1 of its 12 images could not be read, 0 may be" in result.stderr


@pytest.mark.thorough
def test_images_without_a_recipe(own: Path) -> None:
    """Trained on, tokenized, rebuilt: the tokenizer has all that a recipe would say."""
    small = "--set autoencoder.train.steps=2 --set autoencoder.train.batch_size=4"
    made = nvgctl(f"train autoencoder @images --image-size 16 --out @ae {small}", own)
    assert made.exit_code == 0, made.stderr
    line = "tokenize @images --tokenizer @ae --out @new.vgs --views center,flip --heldout 25%"
    planned = nvgctl(f"{line} --dry-run", own)
    assert planned.stdout.startswith("12 images (9 train, 3 val) x 2 views"), planned.stderr
    assert nvgctl(f"{line} --engine inline", own).exit_code == 0
    rebuilt = nvgctl("evaluate reconstruction @ae --data @images -n 4", own)
    assert rebuilt.exit_code == 0, rebuilt.stderr
    (own / "my.toml").write_text(nvgctl("init @images --tokenizer @ae", own).stdout)
    assert nvgctl("tokenize @my.toml --tokenizer @ae --out @my.vgs --dry-run", own).exit_code == 0


def test_the_version_is_printed() -> None:
    """That of the package."""

    result = CliRunner().invoke(app, ["--version"], prog_name="nvgctl")
    assert (result.exit_code, result.stdout) == (0, f"nvgctl {__version__}\n")
