"""Collectives: bytes by kind and group, pieces of one counted once, loops multiplied."""

import pytest

from jaxlm.plan import hlo
from jaxlm.plan.collectives import Traffic, by_kind, collectives
from tests.plan.test_hlo import LOOP


def entry(*lines: str) -> hlo.Program:
    body = "\n".join(f"  {line}" for line in lines)
    return hlo.parse(f"ENTRY %main (p: f32[8]) -> f32[8] {{\n  %p = f32[8]{{0}} parameter(0)\n{body}\n}}\n")


GROUP = "replica_groups=[1,4]<=[4]"  # of four


@pytest.mark.parametrize(
    ("line", "kind", "bytes_"),
    [
        (f"%a = f32[100]{{0}} all-reduce(%p), {GROUP}", "all-reduce", 2 * 400 * 3 / 4),
        (f"%a = f32[100]{{0}} all-gather(%p), {GROUP}", "all-gather", 400 * 3 / 4),
        (f"%a = f32[100]{{0}} reduce-scatter(%p), {GROUP}", "reduce-scatter", 4 * 400 * 3 / 4),  # of what goes in
        (f"%a = f32[100]{{0}} all-to-all(%p), {GROUP}", "all-to-all", 400 * 3 / 4),
        ("%a = f32[100]{0} collective-permute(%p), source_target_pairs={{0,1}}", "collective-permute", 400),
        (f"%a = (f32[25]{{0}}, f32[100]{{0}}) all-gather-start(%p), {GROUP}", "all-gather", 400 * 3 / 4),
        (f"%a = (f32[100]{{0}}, f32[25]{{0}}) reduce-scatter-start(%p), {GROUP}", "reduce-scatter", 400 * 3 / 4),
        (
            f"%a = ((f32[8]{{0}}, bf16[8]{{0}}), (f32[2]{{0}}, bf16[2]{{0}})) reduce-scatter-start(%p, %p), {GROUP}",
            "reduce-scatter",
            48 * 3 / 4,
        ),
        (
            "%a = (f32[8]{0}, f32[8]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%p), channel_id=3",
            "collective-permute",
            32,
        ),
        (f"%a = (f32[8]{{0}}, bf16[8]{{0}}) all-reduce(%p, %p), {GROUP}", "all-reduce", 2 * 48 * 3 / 4),
    ],
)
def test_a_device_sends_what_a_ring_asks_of_it(line, kind, bytes_):
    assert by_kind(collectives(entry(line))) == {kind: Traffic(1, bytes_)}


def test_padding_does_not_travel():
    found = collectives(entry(f"%a = bf16[3,5]{{1,0:T(8,128)(2,1)}} all-gather(%p), {GROUP}"))
    assert found[0].bytes == round(30 * 3 / 4)


def test_what_is_done_alone_is_no_collective():
    assert collectives(entry("%a = f32[8]{0} all-reduce(%p), replica_groups={{0},{1}}")) == []


def test_a_collective_in_a_loop_counts_for_each_round():
    assert by_kind(collectives(hlo.parse(LOOP))) == {"all-reduce": Traffic(7, 7 * 128)}


def test_the_pieces_that_a_tpu_cuts_one_collective_into_count_once():
    piece = 'all-gather(%p), channel_id=1, replica_groups=[1,4]<=[4], frontend_attributes={chain_id="6"}'
    program = entry(*(f"%g{n} = f32[100]{{0}} {piece}" for n in range(3)))
    assert by_kind(collectives(program)) == {"all-gather": Traffic(1, 300)}


def test_two_collectives_on_one_channel_without_a_chain_are_two():
    program = entry(*(f"%g{n} = f32[100]{{0}} all-gather(%p), channel_id=1, {GROUP}" for n in range(2)))
    assert by_kind(collectives(program)) == {"all-gather": Traffic(2, 600)}


def test_an_all_reduce_that_a_tpu_cuts_at_once_is_a_reduce_scatter():
    program = hlo.parse(
        "%all-reduce-scatter.1 (q: f32[100]) -> f32[25] {\n"
        "  %q = f32[100]{0} parameter(0)\n"
        f"  %sum = f32[100]{{0}} all-reduce(%q), {GROUP}\n"
        "  ROOT %cut = f32[25]{0} dynamic-slice(%sum)\n}\n"
        "ENTRY %main (p: f32[100]) -> f32[25] {\n"
        "  %p = f32[100]{0} parameter(0)\n"
        "  ROOT %f = f32[25]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1\n}\n"
    )
    assert by_kind(collectives(program)) == {"reduce-scatter": Traffic(1, 300)}
