import random

from jaxlm.corpus import table
from jaxlm.corpus.account import SAMPLES, Account, add_samples
from jaxlm.corpus.profile import Profile, add


def documents(count: int) -> list[dict[str, str]]:
    rng = random.Random(0)
    return [{"id": f"{rng.getrandbits(64):016x}", "source": str(n), "begins": f"text {n}"} for n in range(count)]


def account(some: list[dict[str, str]]) -> dict:
    found = Account()
    for one in some:
        why = [("quality", "short", ""), ("quality", "odd", "it is 1")][: 1 + int(one["source"]) % 2]
        found.goes(one, 10, why)
    return found.facts()


def test_accounts_of_parts_add_up_to_that_of_the_whole():
    some = documents(200)
    rules, samples = {}, {}
    for part in (some[:3], some[3:50], some[50:]):
        facts = account(part)
        add(rules, facts["rules"])
        add_samples(samples, facts["samples"])
    assert {"rules": rules, "samples": samples} == account(some)
    assert rules["quality"]["short"] == {
        "documents": 200, "bytes": 2_000, "first": 200, "first_bytes": 2_000, "alone": 100,
    }  # fmt: skip
    assert rules["quality"]["odd"] == {"documents": 100, "bytes": 1_000}


def test_samples_are_of_different_texts():
    same = [{"id": "0" * 16, "source": str(n), "begins": "same"} for n in range(9)]
    shown = account([*same, *documents(9)])["samples"]["quality"]["short"]
    assert len(shown) == SAMPLES == len({one["id"] for one in shown})
    assert shown[0]["source"] == "0"


def test_a_profile_names_a_bounded_number_of_licences():
    profile = Profile()
    for n in range(1_000):
        profile.add("x" * n, n, 1, "en", {"licence": f"https://licences.org/{n:04}"})
    licences = profile.facts()["licences"]
    assert len(licences) == 101 and licences["others"] == 900
    assert profile.facts()["lengths"]["en"]["10"] == 1_000 - 512


def test_rows_go_to_their_file_as_they_come(tmp_path):
    schema = table.schema(id="string")
    with table.Writer(tmp_path / "one", schema) as rows:
        for n in range(5_000):
            rows.add({"id": str(n)})
            assert len(rows._rows) < 4_096
    table.join([tmp_path / "one", tmp_path / "one"], tmp_path / "both", schema)
    assert [row["id"] for row in table.read_rows(tmp_path / "both")] == 2 * [str(n) for n in range(5_000)]
