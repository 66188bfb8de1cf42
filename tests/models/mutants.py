"""The sources of AWD-LSTM's regularisers, broken one way at a time: do their tests see it?

    python tests/models/mutants.py              # a table: each mutant, and the test that saw it

A mutant is a replacement in the text of one module. The package is imported anew with it, and the tests of
test_regularise.py run until one fails; only a failed assertion counts, so that a mutant which does not even run is no
success. First of all the unchanged sources must pass. test_mutants.py asserts the same.
"""

import functools
import importlib.abc
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TESTS = Path(__file__).with_name("test_regularise.py")


class Mutant(NamedTuple):
    name: str
    module: str  # of jaxlm
    old: str  # stands there once
    new: str


def mutants(module: str, *rows: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(name, module, old, new) for name, old, new in rows]


_WEIGHTS = "jnp.where(jax.random.bernoulli(key, 1 - rate, w_PZ.shape), w_PZ / (1 - rate), 0.0)"
_WORDS = "jnp.where(jax.random.bernoulli(key, 1 - rate, (len(table_VD), 1)), table_VD / (1 - rate), 0.0)"
_DROPPED = "weight_drop(w_PZ, c.weight_drop, seen.noise, 2 * self.number + self.reverse)"
_LOOP = "return recurrence(cell.step, x_LBZ, w_PZ, bias_Z, state, *flags, precision=p, reverse=self.reverse)"
# A mask for each position: the number of the position goes in beside x.
_EACH_POSITION = """
        number = jnp.broadcast_to(jnp.arange(1.0 * len(x_LBZ))[:, None, None], (*x_LBZ.shape[:2], 1))
        def each(x, state):
            w = w_PZ
            if seen.noise is not None:
                key = jax.random.fold_in(seen.noise.step, x[0, -1].astype(int))
                w = weight_drop(w_PZ, c.weight_drop, seen.noise._replace(step=key), 2 * self.number + self.reverse)
            r = product("BH,HZ->BZ", state[0], w, p)
            return cell.step(x[:, :-1], r if bias_Z is None else r + bias_Z[None], state)
        return scan_cell(each, jnp.concatenate([x_LBZ, number], -1), state, *flags, reverse=self.reverse)"""

MUTANTS = [
    *mutants(
        "models.regularise",
        ("weights: not rescaled", _WEIGHTS, _WEIGHTS.replace("w_PZ / (1 - rate)", "w_PZ")),
        ("weights: rescaled by the rate", _WEIGHTS, _WEIGHTS.replace("/ (1 - rate)", "/ rate")),
        ("weights: kept at the rate", _WEIGHTS, _WEIGHTS.replace("(key, 1 - rate", "(key, rate")),
        ("weights: whole units", _WEIGHTS, _WEIGHTS.replace("w_PZ.shape", "(len(w_PZ), 1)")),
        ("weights: whole gates", _WEIGHTS, _WEIGHTS.replace("w_PZ.shape", "(1, w_PZ.shape[1])")),
        ("weights: no site", "fold_in(noise.step, site)", "fold_in(noise.step, 0)"),
        ("weights: keyed by a row", "fold_in(noise.step, site)", "fold_in(noise.rows_B[0], site)"),
        ("weights: the same in each step", "fold_in(noise.step, site)", "fold_in(jax.random.key(0), site)"),
        ("words: not rescaled", _WORDS, _WORDS.replace("table_VD / (1 - rate)", "table_VD")),
        ("words: rescaled by the rate", _WORDS, _WORDS.replace("/ (1 - rate)", "/ rate")),
        ("words: kept at the rate", _WORDS, _WORDS.replace("(key, 1 - rate", "(key, rate")),
        ("words: single elements", _WORDS, _WORDS.replace("(len(table_VD), 1)", "table_VD.shape")),
        ("words: whole dimensions", _WORDS, _WORDS.replace("(len(table_VD), 1)", "(1, table_VD.shape[1])")),
        ("words: the draw of the first weights", "fold_in(noise.step, 2 * site)", "fold_in(noise.step, 0)"),
        ("words: keyed by a row", "fold_in(noise.step, 2 * site)", "fold_in(noise.rows_B[0], 2 * site)"),
        ("words: the same in each step", "fold_in(noise.step, 2 * site)", "fold_in(jax.random.key(0), 2 * site)"),
        ("activations: a mask for each position", "site, over=(1,)", "site, over=()"),
        ("activations: whole vectors", "site, over=(1,)", "site, over=(1, 2)"),
        ("activations: a mask for all rows", "rate, noise, site, over=(1,)",
         "rate, noise._replace(rows_B=jnp.stack([noise.step] * x_LBD.shape[1])), site, over=(1,)"),
        ("activations: rows and positions confused",
         "jnp.swapaxes(dropout(jnp.swapaxes(x_LBD, 0, 1), rate, noise, site, over=(1,)), 0, 1)",
         "dropout(x_LBD, rate, noise._replace(rows_B=jax.random.split(noise.rows_B[0], len(x_LBD))), site, over=(1,))"),
        ("penalty: activation of what was not dropped", "square(dropped_LBD)", "square(raw_LBD)"),
        ("penalty: change of what was dropped", "raw_LBD[1:] - raw_LBD[:-1]", "dropped_LBD[1:] - dropped_LBD[:-1]"),
        ("penalty: change across documents", " * (batch.position.T[1:] > 0)", ""),
        ("penalty: change weighted by the token before", "weight_LB[1:] *", "weight_LB[:-1] *"),
        ("penalty: change without weights", "(goes_on_LB * square", "((batch.position.T[1:] > 0) * square"),
        ("penalty: activation without weights", "(weight_LB * square", "(square"),
        ("penalty: sums over dimensions", ".astype(jnp.float32)).mean(-1)", ".astype(jnp.float32)).sum(-1)"),
        ("penalty: absolute values", "jnp.square(x.astype(", "jnp.abs(x.astype("),
        ("penalty: weights exchanged", "total += activation *", "total += temporal *"),
        ("penalty: the last one only", "total += temporal *", "total = temporal *"),
        ("penalty: a mean over the batch", "square(dropped_LBD)).sum()", "square(dropped_LBD)).mean()"),
    ),
    *mutants(
        "models.layers",
        ("dropout: not rescaled", "(noise.rows_B), x / (1.0 - rate)", "(noise.rows_B), x"),
        ("dropout: rescaled by the rate", "(noise.rows_B), x / (1.0 - rate)", "(noise.rows_B), x / rate"),
        ("dropout: kept at the rate", "site), 1.0 - rate, shape", "site), rate, shape"),
        ("dropout: no site", "fold_in(key, site), 1.0", "fold_in(key, 0), 1.0"),
        ("dropout: the step's key for all rows", "jax.vmap(keep)(noise.rows_B)", "keep(noise.step)[None]"),
    ),
    *mutants(
        "models.recurrent_layer",
        ("weights: a mask for each position", _LOOP, _EACH_POSITION.strip()),
        ("weights: none", _DROPPED, "w_PZ"),
        ("weights: one mask for both directions", "2 * self.number + self.reverse)", "2 * self.number)"),
        ("weights: one mask for all layers", "2 * self.number + self.reverse)", "1 * self.reverse)"),
        ("weights: twice", _DROPPED, f"weight_drop({_DROPPED}, c.weight_drop, seen.noise, 99)"),
        ("weights: not of a GRU with the reset first", _DROPPED, f'w_PZ if c.cell == "gru_before" else {_DROPPED}'),
        ("weights: not of a projected LSTM", _DROPPED, f"w_PZ if c.projection else {_DROPPED}"),
        ("weights: the projection's too", "(self.projected, w_PZ, down)",
         "(self.projected, w_PZ, weight_drop(down, c.weight_drop, seen.noise, 99))"),
        ("weights: what comes from the input too", "w_PZ = weight_drop(",
         "x_LBD = weight_drop(x_LBD[0], c.weight_drop, seen.noise, 99)[None] + x_LBD - x_LBD[:1]\n"
         "        w_PZ = weight_drop("),
    ),
    *mutants(
        "models.recurrent",
        ("words: gone at one place only", "word_dropout(table_VD, c.word_dropout, noise, c.layers)[batch.token.T]",
         "word_dropout(table_VD[batch.token.T].reshape(-1, D), c.word_dropout, noise, c.layers)"
         ".reshape(*batch.token.T.shape, D)"),
        ("words: none", "word_dropout(table_VD, c.word_dropout, noise, c.layers)", "table_VD"),
        ("activations: none of the input", "vary(x_LBD, c.input_dropout, noise, c.layers)", "x_LBD"),
        ("activations: the input as between layers", "vary(x_LBD, c.input_dropout", "vary(x_LBD, c.hidden_dropout"),
        ("activations: the input's mask is the first layer's", "c.input_dropout, noise, c.layers",
         "c.input_dropout, noise, 0"),
        ("activations: one mask for all layers", "vary(raw_LBD, rate, noise, n)", "vary(raw_LBD, rate, noise, 0)"),
        ("activations: between layers also at the end", "if n < c.layers - 1 else c.dropout",
         "if n < c.layers else c.dropout"),
        ("activations: the output's also between layers", "c.hidden_dropout if n < c.layers - 1 else",
         "0.0 if n < 0 else"),
        ("activations: not after the first layer", "c.hidden_dropout if n < c.layers - 1 else",
         "(c.hidden_dropout if n else 0.0) if n < c.layers - 1 else"),
        ("activations: the state too", "y_LBH, state = Layer(s, n, reverse, name=name)(x_LBD, seen, state)",
         "y_LBH, state = Layer(s, n, reverse, name=name)(x_LBD, seen, state)\n"
         "                state = tuple(vary(x[None], c.dropout, noise, n)[0] for x in state)"),
        ("penalty: of the first layer", "x_LBD = vary(raw_LBD, rate, noise, n)",
         "x_LBD = vary(raw_LBD, rate, noise, n)\n            first = raw_LBD if n == 0 else first\n"
         "        raw_LBD = first"),
        ("penalty: in evaluation too", "if noise is not None:", "if True:"),
        ("penalty: the arrays exchanged", "penalty(weighed, x_LBD, raw_LBD,", "penalty(weighed, raw_LBD, x_LBD,"),
        ("evaluation: with masks", "seen = self.seen(batch, noise)",
         "import jax\n        keys = jax.random.split(jax.random.key(0), len(batch.token) + 1)\n"
         "        noise = noise or Noise(keys[0], keys[1:])\n        seen = self.seen(batch, noise)"),
    ),
    *mutants(
        "models.recurrent_config",
        ("config: weight drop alone is no noise", "self.word_dropout, self.weight_drop\n", "self.word_dropout\n"),
        ("config: word dropout alone is no noise", "self.hidden_dropout, self.word_dropout,", "self.hidden_dropout,"),
        ("config: a penalty alone is no noise", " or self.temporal_penalty > 0", ""),
        ("config: always noisy", "return any(rates) or", "return True or"),
    ),
    *mutants("parts", ("penalty: not minimised", " + jax.numpy.sum(hidden.penalty),", ",")),
]  # fmt: skip


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed text."""

    def __init__(self, mutant: Mutant):
        self.name = f"jaxlm.{mutant.module}"
        self.path = ROOT / "jaxlm" / f"{mutant.module.replace('.', '/')}.py"
        source = self.path.read_text(encoding="utf-8")
        if source.count(mutant.old) != 1:
            raise LookupError(f"{mutant.name}: stands {source.count(mutant.old)} times in {self.path}:\n{mutant.old}")
        self.source = source.replace(mutant.old, mutant.new)

    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None

    def exec_module(self, module):
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


def tests(mutant: Mutant | None) -> Iterator[tuple[str, Callable[[], None]]]:
    """(name, call) of each test, over a package imported anew with `mutant` in it."""
    for name in [name for name in sys.modules if name == "jaxlm" or name.startswith("jaxlm.")]:
        del sys.modules[name]
    finder = Mutated(mutant) if mutant else None
    if finder:
        sys.meta_path.insert(0, finder)
    try:
        spec = importlib.util.spec_from_file_location("test_regularise", TESTS)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        if finder:
            sys.meta_path.remove(finder)
    for name, test in vars(module).items():
        if name.startswith("test_"):
            values = [v for mark in getattr(test, "pytestmark", ()) for v in mark.args[1]]
            if not values:
                yield name, test
            for value in values:
                (value,) = getattr(value, "values", (value,))  # of a row with a mark
                yield f"{name}[{value}]", functools.partial(test, value)


# What a mutant's name begins with -> words in the names of the tests that are asked first; all others come after.
ASKED_FIRST = {
    "weights": ("weight",),
    "words": ("word",),
    "activations": ("variational", "dropout_of_the_output", "each_site"),
    "dropout": ("variational", "dropout_of_the_output", "each_site"),
    "penalty": ("penalt", "minimised"),
    "config": ("alone", "evaluation"),
    "evaluation": ("evaluation",),
}


def first_to_see(mutant: Mutant | None) -> str | None:
    """The test that fails; None: the mutant lives."""
    import jax

    first = ASKED_FIRST[mutant.name.split(":")[0]] if mutant else ()
    try:
        for name, test in sorted(tests(mutant), key=lambda pair: not any(word in pair[0] for word in first)):
            try:
                test()
            except AssertionError:
                return name
    finally:
        jax.clear_caches()
    return None


def run() -> list[tuple[Mutant, str | None]]:
    """Each mutant and who saw it."""
    if failed := first_to_see(None):
        raise RuntimeError(f"the sources as they are do not pass {failed}")
    found = []
    for mutant in MUTANTS:
        start = time.monotonic()
        seen = first_to_see(mutant)
        found.append((mutant, seen))
        print(f"{mutant.module:24} {mutant.name:50} {time.monotonic() - start:5.1f} s  {seen or 'LIVES'}", flush=True)
    return found


def main() -> None:
    os.environ |= {  # as conftest.py: what compiles fast, and once
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax" / "mutants"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    sys.path.insert(0, str(ROOT))
    import jax

    jax.config.update("jax_numpy_rank_promotion", "raise")
    found = run()
    alive = [mutant.name for mutant, seen in found if not seen]
    print(f"{len(found) - len(alive)} of {len(found)} mutants are seen" + "".join(f"\nlives: {name}" for name in alive))
    sys.exit(bool(alive))


if __name__ == "__main__":
    main()
