"""A small decoder on the corpus of corpus_demo, its sources mixed: what is small is lifted, in the end less so.

    JAXLM_DATA=data jaxlm prepare corpus_demo
    jaxlm train mixture_demo

The run begins with a table of what each source has, its share and how often it is read, warns of what is read too
often, and evaluates each source by itself: eval/loss/gutenberg-en, ... To give shares yourself, by name:

    mixture=WeightsMixture(weights={"gutenberg-en": 3, "enwiki-xml-sample": 1, "udhr": 0, ...})

Expect 2.67 bits/byte of all sources together after 400 steps, in three minutes on 2 cores of an AMD EPYC.
Model and optimiser are quickstart's. A template: the shares are no recommendation.
"""

from jaxlm.data.dataset import DataConfig, HashSplit
from jaxlm.data.mixture import Stage, Temperature, TemperatureMixture
from jaxlm.data.tokenizer_config import ByteBpeConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamConfig, MuonConfig, WsdConfig


def config() -> RunConfig:
    return RunConfig(
        name="mixture_demo",
        data=DataConfig(
            source="corpora/corpus_demo/documents",
            tokenizer=ByteBpeConfig(vocab=4_096),
            split=HashSplit(validation=0.1, test=0.0),
            length=256,
            batch=16,
            mixture=TemperatureMixture(
                by="source",
                temperature=2.0,
                stages=(Stage(step=200, mixture=Temperature(temperature=1.0)),),  # where the rate begins to fall
            ),
        ),
        model=TransformerConfig(
            size="1m", position="rotary", norm="rmsnorm", activation="relu2", qk_norm=True, residual="zero"
        ),
        optimizer=MuonConfig(
            peak_rate=0.02, others=AdamConfig(peak_rate=5e-3, decay=0.0), schedule=WsdConfig(warmup=20, decay=0.5)
        ),
        loop=LoopConfig(steps=400, log_every=10, eval_every=200, save_every=200),
    )
