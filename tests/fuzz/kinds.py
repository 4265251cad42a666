"""All kinds of input, and how many cases of each make one round."""

from tests.fuzz.cases import Kind
from tests.fuzz.containers import Containers
from tests.fuzz.lists import Lists
from tests.fuzz.pictures import Pictures
from tests.fuzz.recipes import Recipes
from tests.fuzz.runs import Runs
from tests.fuzz.stores import Stores

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (Pictures(), Stores(), Runs(), Recipes(), Lists(), Containers())
}
SHARES = {"images": 1000, "stores": 25, "runs": 15, "recipes": 30, "lists": 50, "containers": 50}
