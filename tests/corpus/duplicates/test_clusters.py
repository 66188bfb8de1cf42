"""Clusters of near duplicates, as their evidence tells them."""

from collections import Counter

from jaxlm.corpus.duplicates import near
from jaxlm.corpus.duplicates.clusters import NAMED, STEPS, clusters
from jaxlm.corpus.duplicates.config import CapConfig, NearConfig
from jaxlm.corpus.duplicates.part import Row


def test_clusters_are_those_of_the_evidence_however_documents_lie_in_parts(tmp_path):
    words = lambda n: [f"w{n}x{k}" for k in range(60)]
    rows = [
        Row(f"{n}-{copy}", " ".join([*words(n)[: 60 - copy], *["end"] * copy]), "s")
        for n in range(NAMED + 3)
        for copy in range(1 + n % 4)
    ]
    found = []
    for cut in (1, 4):
        folder = tmp_path / str(cut)
        removals = near.find([rows[start::cut] for start in range(cut)], folder, NearConfig(cap=CapConfig(share=1)))
        evidence = [one for part in range(cut) for one in removals.evidence(part)]
        kept = Counter(one.kept_id for one in evidence)
        found.append(clusters(removals))
        assert sum(found[-1]["jaccard"].values()) == len(evidence) > NAMED
        assert min(map(int, found[-1]["jaccard"])) == int(min(one.jaccard for one in evidence) * STEPS)
        assert found[-1]["sizes"] == {str(n + 1): count for n, count in sorted(Counter(kept.values()).items())}
        largest = sorted((-count - 1, id_) for id_, count in kept.items())[:NAMED]
        assert found[-1]["biggest"] == [[id_, -count] for count, id_ in largest]
    assert found[0] == found[1]


def test_nothing_alike_is_no_cluster(tmp_path):
    assert clusters(near.find([[Row("a", "one text of some words here", "s")]], tmp_path, NearConfig())) == {
        "jaccard": {}, "sizes": {}, "biggest": [],
    }  # fmt: skip
