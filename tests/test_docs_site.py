"""The site: every part of the code has its page, and it builds and reads without a network."""

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from counterpoise.balance.policies import POLICIES
from counterpoise.cli import VERBS
from counterpoise.diagnosis.diagnose import RULES
from counterpoise.diagnosis.finding import SEVERITIES
from docs_helpers import ROOT

sys.path.insert(0, str(ROOT / "docs" / "hooks"))

import loads
from generated import command_line, configuration, findings, policies, study


def words_of(text):
    return " ".join(re.findall(r"\w+", text.lower()))


def test_every_finding_has_its_page_with_every_remedy():
    made = findings.pages()
    assert set(made) == {"findings/index.md", *(f"findings/{name}.md" for name in RULES)}
    for name, rule in RULES.items():
        page = made[f"findings/{name}.md"]
        assert page.startswith(f"# {rule.title}\n")
        assert f"({name}.md)" in made["findings/index.md"]
        for remedy in rule.remedies:
            assert words_of(remedy.text) in words_of(page)
            assert remedy.code in page
            assert f"--set {remedy.config}" in page or not remedy.config
        assert set(re.findall(r"\*\*(severe|warning|note|healthy)\b", page)) <= set(SEVERITIES)


def test_severities_are_those_that_the_rules_can_give():
    said = {name: findings.severities(rule) for name, rule in RULES.items()}
    assert said["d-saturated"] == ("severe", "warning", "note")
    assert said["oscillation"] == ("warning",)
    assert said["non-finite"] == ("severe",)
    assert said["inert-rule"] == ("note",)
    assert all(said.values())


def test_every_policy_is_in_the_catalogue_with_its_options():
    page = policies.pages()["reference/policies.md"]
    for name, policy in POLICIES.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for option in dataclasses.fields(policy):
            assert not option.init or f"`{option.name}`" in section


def test_changes_to_the_questions_loop_are_as_the_committed_rows_have_them():
    text = study.question_changes()
    (loop,) = re.findall(r"\| the question's loop as it is \| (.*) \|", text)
    assert loop.split(" | ")[::3] == ["3 of 3 (100 %)", "-"]
    assert re.search(r"\| auto in place of the gate .* \| \+0\.22 \(-0\.43 to \+0\.64\) \|", text)


def test_every_verb_and_every_key_is_in_the_reference():
    page = command_line.pages()["reference/command-line.md"]
    assert [name for name in VERBS if f"\n## counterpoise {name}\n" not in page] == []
    assert "`--dry-run`" in page
    made = configuration.pages()
    keys = made["reference/configuration.md"]
    assert "| `loss.adversarial.r1` | `0.0` | 0 or more | Weights gamma" in keys
    assert "`balance.policy`" in keys
    assert "\n## enet-pat\n" in made["reference/presets.md"]


README_LINK = re.compile(r"\]\(([^)]+)\)")


def anchors(page):
    """The anchors of a Markdown page's headings, as a repository's page makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}


def test_the_readme_s_links_work_on_a_repository_s_page():
    links = README_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    for link in links:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).is_file(), link
        assert not anchor or anchor in anchors(ROOT / path), link


def test_the_tutorial_s_table_of_changes_is_the_study_s():
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert study.question_changes().strip() in text


def test_what_a_page_would_load_from_the_network_is_seen():
    text = """
        <link rel="stylesheet" href="assets/site.css"><link rel="canonical" href="https://a.org/">
        <link rel="preconnect" href="https://fonts.org"><script src="//cdn.org/x.js"></script>
        <img src="images/a.png" alt=""><img src="b.png" srcset="https://c.org/b.png 2x">
        <a href="https://arxiv.org/abs/1612.07919">a link is not loaded</a>
        <style>@import "https://d.org/e.css"; p { background: url(f.png) }</style>
    """
    assert loads.problems_of_page(text) == [
        "loads https://fonts.org",
        "loads //cdn.org/x.js",
        "loads https://c.org/b.png",
        "loads https://d.org/e.css",
        "b.png has no alt",
    ]
    assert loads.problems_of_style("p { background: url('//g.org/h.png') }") == [
        "loads //g.org/h.png"
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="the site needs `pip install counterpoise[docs]`")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly_and_reads_without_a_network(site):
    """`make docs`, which CI runs, does the same."""
    assert len(list(site.rglob("*.html"))) > 40
    assert loads.problems_of_site(site) == []
    for page in site.rglob("*.html"):
        assert "<!-- generated:" not in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_is_searched_from_disk(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = ")
    assert "d-saturated" in index
    assert "assets/iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")
    assert (site / "assets" / "iframe-worker.js").is_file()


@pytest.mark.slow
def test_hooks_and_tables_are_not_published(site):
    assert not (site / "hooks").exists()
    assert not (site / "layers.toml").exists()


def test_lists_are_nested_as_python_markdown_wants_it():
    pytest.importorskip("mkdocs", reason="the site needs `pip install counterpoise[docs]`")
    from site_hook import nested_by_four

    text = "- a\n  b\n\n  | c |\n  - d\n\ne\n  f\n"
    assert nested_by_four(text) == "- a\n    b\n\n    | c |\n    - d\n\ne\n  f\n"
    fence = "- a\n\n```\n  kept\n```\n"
    assert nested_by_four(fence) == fence


def test_docstrings_and_comments_become_pages():
    pytest.importorskip("griffe", reason="the site needs `pip install counterpoise[docs]`")
    from docstrings import as_lists
    from generated.comments import comment_of
    from generated.markdown import without_emphasis

    text = "What it does: it works.\n\na, b: two\n    lines\nc: one\n\nSource: me."
    assert as_lists(text) == (
        "What it does: it works.\n\n- **a, b**: two\n    lines\n- **c**: one\n\nSource: me."
    )
    lines = [
        "    # Over it,",
        "    # twice.",
        "    x: int = 1",
        "    y: int = 2  # behind",
        "    z: int",
    ]
    assert comment_of(lines, 3, 3) == "Over it, twice."
    assert comment_of(lines, 4, 4) == "behind"
    assert comment_of(lines, 5, 5) == ""
    assert without_emphasis("L* and `a * b`\n\n    2 * x") == "L\\* and `a * b`\n\n    2 * x"
