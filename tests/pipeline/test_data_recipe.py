"""Images without a recipe: the recipe that they stand for, and its options."""

import logging
from pathlib import Path

import pytest

from nvg.config import ConfigError, dump
from nvg.errors import InputError
from pipeline.data_recipe import DataOptions, init_recipe, read_data
from pipeline.recipe import SourceKind, View, load_recipe
from tests.makers import tiny_recipe, write_image_folder

MODEL = ("data", "autoencoder.model")


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """A folder of twelve images of 32 pixels, in three classes."""
    write_image_folder(tmp_path / "photos", size=32)
    return str(tmp_path / "photos")


def test_a_folder_is_a_recipe(photos: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its kind is said; a model is chosen where a verb needs one and a size is given."""
    with caplog.at_level(logging.INFO, "nvg"):
        recipe = read_data(photos, needs=("data",))
    assert (recipe.data.source, recipe.data.path) == (SourceKind.FOLDER, photos)
    assert recipe.autoencoder is None
    assert f"{photos}: a folder of images" in caplog.text
    recipe = read_data(photos, options=DataOptions(image_size=32), needs=MODEL)
    assert recipe.autoencoder.model.image_size == 32
    with pytest.raises(InputError, match=f"{photos} is a folder of images, .* --image-size"):
        read_data(photos, needs=MODEL)


def test_options_are_keys_of_the_recipe(photos: str, tmp_path: Path) -> None:
    """For images and for a recipe alike; `--set` for the rest."""
    dump(tiny_recipe(photos), tmp_path / "a.toml")
    options = DataOptions(heldout="25%", views="center, random-crop*2")
    for path in (photos, str(tmp_path / "a.toml")):
        recipe = read_data(path, ["tokenize.chunk_rows=7"], options, ("data",))
        assert recipe.data.heldout == 3
        assert recipe.tokenize.views == (View.CENTER, View.RANDOM, View.RANDOM)
        assert recipe.tokenize.chunk_rows == 7
    assert read_data(photos, (), DataOptions(heldout="2")).data.heldout == 2
    listed = tmp_path / "list.csv"
    listed.write_text("path,kind\nphotos/ant/000.png,x\n")
    assert read_data(str(listed), (), DataOptions(label_column="kind")).data.label == "kind"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (DataOptions(heldout="many"), "--heldout many is neither"),
        (DataOptions(heldout="60%"), "--heldout 60% must be 0% to 50%"),
        (DataOptions(views="centre"), r"tokenize\.views\[0\] must be one of center"),
        (DataOptions(image_size=96), "--image-size 96 is none of"),
    ],
)
def test_odd_options_are_refused(photos: str, options: DataOptions, words: str) -> None:
    """By the name of the option or of its key."""
    with pytest.raises(InputError, match=words):
        read_data(photos, (), options)


def test_a_recipe_says_what_it_lacks(photos: str, tmp_path: Path) -> None:
    """The file and the section; a size belongs to images without one; a mark before it is read."""
    short = tmp_path / "short.toml"
    short.write_text(f'\ufeff[data]\nsource = "folder"\npath = "{photos}"\n', encoding="utf-8")
    assert read_data(str(short), needs=("data",)).generator is None
    with pytest.raises(ConfigError, match=r"short\.toml has no section \[autoencoder\.model\]"):
        read_data(str(short), needs=MODEL)
    with pytest.raises(InputError, match=r"set autoencoder\.model\.image_size"):
        read_data(str(short), (), DataOptions(image_size=32))
    short.write_text("[data]\nsource = 'folder'\n[autoencoder.train]\nsteps = 'x'\n")
    with pytest.raises(ConfigError, match=r"short\.toml: autoencoder\.train\.steps must be"):
        read_data(str(short))


def test_init_writes_the_recipe_that_a_line_stands_for(photos: str, tmp_path: Path) -> None:
    """It is a whole recipe, with a size that the images fill, and it trains as the line would."""
    text = init_recipe(photos, DataOptions(heldout="2", views="center,flip"))
    (tmp_path / "my.toml").write_text(text)
    recipe = load_recipe(tmp_path / "my.toml", needs=(*MODEL, "generator"))
    assert recipe.data.heldout == 2
    assert recipe.tokenize.views == (View.CENTER, View.FLIP)
    line = read_data(photos, (), DataOptions(image_size=32), MODEL)
    assert recipe.autoencoder == line.autoencoder
    assert "12 images in 3 classes" in text


def test_init_takes_the_model_of_a_tokenizer(photos: str, tokenizer: Path, tmp_path: Path) -> None:
    """All of it."""
    (tmp_path / "my.toml").write_text(init_recipe(photos, DataOptions(), tokenizer))
    recipe = load_recipe(tmp_path / "my.toml")
    assert recipe.autoencoder.model == tiny_recipe().autoencoder.model


def test_init_without_a_readable_image_asks_for_the_size(tmp_path: Path) -> None:
    """It cannot be found by looking."""
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(InputError, match="say --image-size"):
        init_recipe(str(tmp_path), DataOptions())
