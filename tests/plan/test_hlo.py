"""HLO text: instructions, sizes, and how often each computation runs."""

import pytest

from jaxlm.plan import hlo

LOOP = """
HloModule jit_step, is_scheduled=true

%body (param: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %param = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%param), index=0
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  %x = f32[8,4]{1,0} get-tuple-element(%param), index=1
  %sum = f32[8,4]{1,0} all-reduce(%x), channel_id=1, replica_groups={{0,1}}, to_apply=%add
  ROOT %out = (s32[], f32[8,4]{1,0}) tuple(%next, %sum)
}

%cond (param.1: (s32[], f32[8,4])) -> pred[] {
  %param.1 = (s32[], f32[8,4]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%param.1), index=0
  %bound = s32[] constant(7)
  ROOT %less = pred[] compare(%i.1, %bound), direction=LT
}

ENTRY %main (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0), metadata={op_name="state.params['w']"}
  %zero = s32[] constant(0)
  %begin = (s32[], f32[8,4]{1,0}) tuple(%zero, %p), frontend_attributes={note={
"a line of its own"
}}, metadata={op_name="jit(step)/tuple"}
  %loop = (s32[], f32[8,4]{1,0}) while(%begin), condition=%cond, body=%body
  ROOT %result = f32[8,4]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_an_instruction_is_its_name_shape_operation_operands_and_the_rest():
    program = hlo.parse(LOOP)
    assert program.entry == "main" and set(program.computations) == {"body", "cond", "main"}
    body = program.computations["body"]
    one = body.find("sum")
    assert (one.op, one.operands, one.shape) == ("all-reduce", ("x",), "f32[8,4]{1,0}")
    assert one.called == {"to_apply": ("add",)}
    assert body.root == "out"
    assert body.find("out").operands == ("next", "sum")


def test_attributes_on_lines_of_their_own_belong_to_the_instruction_above():
    main = hlo.parse(LOOP).computations["main"]
    assert main.find("begin").path == "jit(step)/tuple"
    assert [i.name for i in main.instructions] == ["p", "zero", "begin", "loop", "result"]


def test_a_body_runs_as_often_as_its_loop_counts():
    times, unknown = hlo.runs(hlo.parse(LOOP))
    assert times == {"body": 7, "cond": 1, "main": 1} and unknown == []


def test_the_compilers_own_number_of_rounds_is_believed():
    noted = LOOP.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert hlo.runs(hlo.parse(noted))[0]["body"] == 5


def test_a_loop_whose_rounds_nobody_knows_is_counted_once_and_named():
    times, unknown = hlo.runs(hlo.parse(LOOP.replace("direction=LT", "direction=NE")))
    assert times["body"] == 1 and unknown == ["loop"]


def test_a_loop_that_the_compiler_unrolled_runs_less_often():
    twice = LOOP.replace("%one = s32[] constant(1)", "%one = s32[] constant(2)")
    assert hlo.runs(hlo.parse(twice))[0]["body"] == 4  # 0, 2, 4, 6
    chain = LOOP.replace("%next = s32[] add(%i, %one)", "%a = s32[] add(%i, %one)\n  %next = s32[] add(%a, %one)")
    assert hlo.runs(hlo.parse(chain))[0]["body"] == 4


def test_rounds_of_loops_in_loops_multiply():
    inner = LOOP.replace("ENTRY %main", "%inner").replace("while(%begin)", "while(%begin)")
    outer = """
ENTRY %outer (q: f32[8,4]) -> f32[8,4] {
  %q = f32[8,4]{1,0} parameter(0)
  ROOT %w = f32[8,4]{1,0} while(%q), condition=%cond, body=%inner, backend_config={"known_trip_count":{"n":"3"}}
}
"""
    assert hlo.runs(hlo.parse(inner + outer))[0]["body"] == 21


@pytest.mark.parametrize(
    ("shape", "bytes_"),
    [
        ("f32[8,4]{1,0}", 128),
        ("pred[]", 1),
        ("bf16[3,5]{1,0:T(8,128)(2,1)}", 8 * 128 * 2),  # both dimensions filled up to a tile
        ("f32[200,16]{0,1:T(8,128)}", 256 * 16 * 4),  # the minor one is the first here
        ("s32[9]{0:T(8)}", 64),
        ("f8e4m3fn[10]{0}", 10),
    ],
)
def test_an_array_takes_the_bytes_of_its_tiles(shape, bytes_):
    assert [array.size for array in hlo.arrays(shape)] == [bytes_]


def test_what_is_no_hlo_is_an_empty_program():
    assert hlo.parse("nothing of the kind\n") == hlo.Program({}, "")
