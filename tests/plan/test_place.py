"""The place of a buffer in the model: from its own name, a fusion's, a loop's body, or its operands'."""

import pytest

from jaxlm.plan import hlo
from jaxlm.plan.place import NOWHERE, Places, read

PROGRAM = """
%fused (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  ROOT %inner = f32[4]{0} multiply(%a, %a), metadata={op_name="jit(step)/jvp(Net)/blocks/mlp/mul"}
}

%body (param: (s32[], f32[4], f32[4])) -> (s32[], f32[4], f32[4]) {
  %param = (s32[], f32[4]{0}, f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%param), index=0
  %kept = f32[4]{0} get-tuple-element(%param), index=2
  %saved = f32[4]{0} fusion(%kept), kind=kLoop, calls=%fused
  ROOT %out = (s32[], f32[4]{0}, f32[4]{0}) tuple(%i, %saved, %kept)
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0), metadata={op_name="state.params[\\'head\\']"}
  %logits = f32[4]{0} dot(%p, %p), metadata={op_name="jit(step)/jvp(loss)/BLD,VD->BLV/dot_general"}
  %copy = f32[4]{0} copy(%logits)
  %zero = s32[] constant(0)
  %begin = (s32[], f32[4]{0}, f32[4]{0}) tuple(%zero, %copy, %p)
  %loop = (s32[], f32[4]{0}, f32[4]{0}) while(%begin), condition=%cond, body=%body
  ROOT %result = f32[4]{0} get-tuple-element(%loop), index=1
}
"""


@pytest.mark.parametrize(
    ("name", "index", "said"),
    [
        ("logits", "{}", "the loss (forward)"),
        ("copy", "{}", "the loss (forward)"),  # by its operand
        ("saved", "{}", "blocks/mlp (forward)"),  # by what was fused
        ("loop", "{1}", "blocks/mlp (forward)"),  # by what the body puts there
        ("param", "{1}", "blocks/mlp (forward)"),
        ("loop", "{2}", "head (parameter)"),  # passed on as it was given
        ("result", "{}", "blocks/mlp (forward)"),
        ("unheard_of", "{}", "unnamed"),
    ],
)
def test_a_buffer_has_the_place_of_whatever_made_it(name, index, said):
    assert str(Places(hlo.parse(PROGRAM)).of(name, index)) == said


def test_recomputed_and_backward_are_told_apart():
    path = "jit(step)/transpose(jvp(Net))/while/body/checkpoint/{}blocks/attention/q/BLD,DGRK->BLGRK/dot_general"
    assert str(read(path.format("rematted_computation/"))) == "blocks/attention/q (again)"
    assert str(read(path.format(""))) == "blocks/attention/q (backward)"


def test_a_name_that_jax_did_not_give_is_nowhere():
    assert read("") == NOWHERE
