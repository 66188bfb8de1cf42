"""Which objective asks for what which model cannot say."""

from jaxlm.data.objectives import Masked, ObjectiveConfig, parts
from jaxlm.models.build import ModelConfig


def misfit(objective: ObjectiveConfig, model: ModelConfig) -> str | None:
    """Why `model` cannot learn `objective`, and the mend; None: it can."""
    asks, kind = f"data.objective.kind={objective.kind!r}", f"model.kind={model.kind!r}"
    if model.kind == "linear" and not (objective.kind == "classification" and objective.second_field is None):
        more = " of two texts together" if objective.kind == "classification" else ""
        return (
            f"{asks}{more} is more than {kind} learns, the class of one text by the n-grams in it: use "
            f"model.kind='encoder', or data.objective.kind='classification' without second_field"
        )
    if has_source(objective) and model.kind != "encoder_decoder":
        return f"{asks} gives a source to read, and {kind} reads none: use model.kind='encoder_decoder'"
    if not has_source(objective) and model.kind == "encoder_decoder":
        return (
            f"{kind} reads a source before it writes, and {asks} gives it none: use model.kind='decoder', or "
            f"data.objective.kind='seq2seq', 'spans', or 'prefix' with source=True and share=0.5"
        )
    if objective.kind in ("next_token", "prefix") and not model.causal:
        recurrent = model.kind == "recurrent"
        seer, mend = (
            ("model.bidirectional=True", "set model.bidirectional=False") if recurrent else (kind, "use 'decoder'")
        )
        return f"{seer} sees what {asks} asks for: {mend}, or data.objective.kind='masked'"
    if objective.kind == "prefix" and model.kind == "recurrent":
        return f"{asks} lets a prefix be read from both sides, and {kind} reads from one: use model.kind='decoder'"
    if needs_both_sides(objective) and model.causal:
        mend = ", or model.bidirectional=True" if model.kind == "recurrent" else ""
        mend += ", or data.objective.at='last'" if objective.kind == "classification" else ""
        return (
            f"{asks} asks for what follows from both sides, and {kind} reads from one: use model.kind='encoder'{mend}"
        )
    if model.kind == "encoder" and model.kinds == 1 and parts(objective) == 2:
        return (
            f"{asks} makes rows of two parts, and model.kinds=1 calls both the same: set model.kinds=2, or 0 for a "
            f"model that tells none apart"
        )
    orders = isinstance(objective, Masked) and objective.sentence_order
    if orders and not (model.kind == "encoder" and model.sentence_order):
        return (
            "data.objective.sentence_order=True asks what no head of the model answers: set model.kind='encoder' and "
            "model.sentence_order=True"
        )
    return None


def has_source(objective: ObjectiveConfig) -> bool:
    return objective.kind in ("spans", "seq2seq") or (objective.kind == "prefix" and objective.source)


def needs_both_sides(objective: ObjectiveConfig) -> bool:
    return objective.kind == "masked" or (objective.kind == "classification" and objective.at == "first")
