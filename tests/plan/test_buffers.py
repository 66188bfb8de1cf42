"""Buffer assignment: sizes by kind, and what lies in memory when it is fullest, each byte once."""

from jaxlm.plan import buffers

ASSIGNMENT = """BufferAssignment:
allocation 0: size 400, parameter 0, shape |f32[100]| at ShapeIndex {}, maybe-live-out:
 value: <1 p @0> (size=400,offset=0): f32[100]{0}
allocation 1: size 40, page 0, parameter 1, shape |f32[10]| at ShapeIndex {}:
 value: <2 q @0> (size=40,offset=0): f32[10]{0}
allocation 2: size 8, output shape is |f32[2]|, maybe-live-out:
 value: <3 r @0> (size=8,offset=0): f32[2]{0}
allocation 3: size 4, constant:
 value: <4 c @0> (size=4,offset=0): f32[]
allocation 4: size 999, color 1, page 0, preallocated-temp:
 value: <5 on_chip @0> (size=999,offset=0): f32[9]{0}
allocation 5: size 1000, preallocated-temp:
 value: <6 early @0> (size=600,offset=0): f32[150]{0}
 value: <7 loop{1} (phi) @0> (size=500,offset=0): f32[125]{0}
 value: <8 made{} @0> (size=300,offset=200): (f32[75]{0})
 value: <9 late @0> (size=300,offset=600): f32[75]{0}
 value: <10 nobody @0> (size=90,offset=900): f32[9]{0}
Used values:
"""
LIVE = """HloLiveRange (max 20):
  BufferLiveRange:
    early{}:0-3
    loop{1}:4-9
    made{}:6-7
    late{}:5-9
  Live ranges at 6 (peak):
"""


def test_bytes_are_told_apart_by_what_they_are_for():
    found = buffers.read(ASSIGNMENT, LIVE)
    assert (found.arguments, found.outputs, found.temporaries) == (440, 8, 1000)
    assert found.total == 1448


def test_where_memory_is_fullest_shared_bytes_count_once():
    found = buffers.read(ASSIGNMENT, LIVE)
    assert sum(piece.bytes for piece in found.pieces) == 800  # loop and made share 300; early is gone
    assert [(piece.bytes, {v.instruction for v in piece.values}) for piece in found.pieces] == [
        (300, {"loop", "made"}),
        (300, {"late"}),
        (200, {"loop"}),
    ]


def test_a_value_that_is_never_alive_takes_nothing():
    assert buffers.read(ASSIGNMENT, "").pieces == ()
