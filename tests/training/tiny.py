"""What the tests of training/ share: a decoder of two layers, batches of ragged weights, steps on meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlm import mesh as meshes
from jaxlm.batch import Batch
from jaxlm.losses import LossConfig, cross_entropy
from jaxlm.mesh import MeshConfig
from jaxlm.models import build as models
from jaxlm.models.transformer import TransformerConfig
from jaxlm.training import optimizer as optimizers
from jaxlm.training import state as states
from jaxlm.training.compile import compile_step, state_shardings
from jaxlm.training.step import make_step

VOCAB, ROWS, LENGTH = 64, 8, 16  # each divides over eight devices
RATE = 0.3


def family(**changes):
    sizes = dict(layers=2, heads=8, width=32, ff_width=64, std=0.1, precision="float32", dropout=0.1)
    cfg = TransformerConfig(**{**sizes, **changes})
    return models.build(cfg, vocab=VOCAB, length=LENGTH, packed=True, platform="cpu")


def batch(seed=0, rows=ROWS):
    """Random rows; row r has weight on r + 1 tokens only, so that rows differ in how much they count."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, VOCAB, (rows, LENGTH + 1), dtype=np.int32)
    weight = (np.arange(LENGTH)[None] <= np.arange(rows)[:, None]).astype(np.float32)
    segment = np.ones((rows, LENGTH), np.int32)
    position = np.tile(np.arange(LENGTH, dtype=np.int32), (rows, 1))
    return Batch(tokens[:, :-1], tokens[:, 1:], weight, segment, position)


def loss_of(model):
    """The sums that make_step wants, of a family."""

    def loss(params, batch, noise, carry):
        objective, nats = cross_entropy(
            model.hidden(params, batch, noise),
            model.head(params),
            batch.target,
            batch.weight,
            precision=model.precision,
            cfg=LossConfig(),
        )
        return objective, (
            {"loss": nats, "weight": batch.weight.sum(), "tokens": (batch.segment > 0).sum() * 1.0},
            carry,
        )

    return loss


def keeping_sgd(rate=RATE):
    """Gradient descent whose state is the newest gradient: it hides nothing."""
    return optimizers.skippable(
        optax.GradientTransformation(
            init=lambda params: jax.tree.map(jnp.zeros_like, params),
            update=lambda grads, state, params: (jax.tree.map(lambda g: -rate * g, grads), grads),
        )
    )


def step_of(model, optimizer, *, seed=0, **options):
    return make_step(loss_of(model), optimizer, rate=lambda n: RATE, seed=seed, **options)


def start(model, optimizer, *, averaged=False, seed=0):
    return states.start(model.init(jax.random.key(seed)), optimizer, averaged=averaged)


def on_mesh(cfg: MeshConfig, way="jit", **options):
    """(Compiled, state on the mesh) of the tiny model."""
    compiled, begin = compiled_on(cfg, way, **options)
    return compiled, begin()


def compiled_on(cfg: MeshConfig, way="jit", *, model=None, optimizer=None, rows=ROWS, **options):
    """(Compiled, what makes its first state on the mesh) of the tiny model."""
    model, optimizer = model or family(), optimizer or keeping_sgd()
    mesh = meshes.build(cfg)
    shapes = jax.eval_shape(lambda: start(model, optimizer))
    shardings = state_shardings(mesh, shapes, model.axes)
    abstract = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)
    make = lambda axis: step_of(model, optimizer, axis=axis, **options)
    compiled = compile_step(make, way, mesh, abstract, shardings, shapes_of(batch(rows=rows)))
    return compiled, jax.jit(lambda: start(model, optimizer), out_shardings=shardings)


def shapes_of(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def assert_same_bits(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def relative_distance(got, wanted):
    """Norm of the difference over the norm, of two trees."""
    host = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    got, wanted = host(got), host(wanted)
    squares = lambda tree: sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(tree))
    return (squares(jax.tree.map(np.subtract, got, wanted)) / squares(wanted)) ** 0.5
