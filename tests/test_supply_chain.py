"""What is installed is what was locked, to the byte; what jaxlm is made of can be listed."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted(ROOT.glob("*.lock"))
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+).*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", re.MULTILINE)


def entries(lock: Path) -> dict[str, str]:
    return {name: version for name, version, _ in ENTRY.findall(lock.read_text())}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_of_a_lock_has_an_exact_version_and_its_hashes(lock):
    text = lock.read_text()
    assert len(entries(lock)) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) > 0
    assert not re.search(r"file:|index-url|find-links|@ |^-e|git\+|http:", text, re.MULTILINE)


def test_other_requirements_are_exact():
    for path in ROOT.glob("requirements*.txt"):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert lines and all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.]*", line) for line in lines), path


def test_installing_asks_for_hashes():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"--require-hashes -r requirements\.lock", makefile)
    assert re.search(r"--require-hashes -r requirements-sbom\.lock", makefile)
    assert "--trusted-host" not in makefile and "--extra-index-url" not in makefile


def test_the_tool_that_lists_is_no_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = project["dependencies"] + [one for some in project["optional-dependencies"].values() for one in some]
    assert not [one for one in every if one.startswith("cyclonedx")]
    assert "cyclonedx-bom" in entries(ROOT / "requirements-sbom.lock")
    assert "cyclonedx-bom" not in entries(ROOT / "requirements.lock")


@pytest.mark.slow
def test_make_sbom_lists_each_locked_package_with_its_hashes(tmp_path):
    """Installs the tool where it is not there yet; skipped without an index of packages."""
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE", *(lock.name for lock in LOCKS)):
        shutil.copy(ROOT / name, tmp_path)
    made = subprocess.run(["make", "-s", "sbom"], cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    if "No matching distribution" in made.stderr or "Could not find a version" in made.stderr:
        pytest.skip("no index of packages can be reached")
    assert made.returncode == 0, made.stderr
    told = json.loads((tmp_path / "sbom.json").read_text())
    assert told["bomFormat"] == "CycloneDX" and told["metadata"]["component"]["name"] == "jaxlm"
    assert {c["name"]: c["version"] for c in told["components"]} == entries(ROOT / "requirements.lock")
    for component in told["components"]:
        hashes = [one for place in component["externalReferences"] for one in place["hashes"]]
        assert hashes and all(one["alg"] == "SHA-256" for one in hashes), component["name"]
