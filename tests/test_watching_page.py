"""The page of a watched training: what it shows, and that names in a log stay text."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.watching import page as paging
from counterpoise.watching.judge import REST
from counterpoise.watching.page import PARTS, Page
from counterpoise.watching.state import Event, Game, State, Status
from trace_helpers import bce_columns, trace
from watching_helpers import Clock

RUNNING = Status("running", "running")
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;</title>"


def game(title="", real=0.9999, fake=0.0001):
    whole = dataclasses.replace(trace(**bce_columns(real, fake), auc=0.9), title=title)
    return Game(whole, diagnose(whole))


def state(**known):
    return State(**({"source": "runs/mine", "status": RUNNING, "step": 6000} | known))


class Tags(HTMLParser):
    """Which elements and attributes a text really has, as a browser reads it."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes, self.sources = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources |= {value for name, value in attrs if name in ("src", "href")}


def text_of(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_parts_of_a_training_under_way(tmp_path):
    sheet = tmp_path / "samples" / "step-00006000.png"
    parts = Page().parts(
        state(
            stage="train",
            total_steps=9000,
            steps_per_second=2.0,
            policy="threshold",
            action="changes nothing",
            games=(game(),),
            sample=sheet,
            events=(Event(0, "began", "first"), Event(7, "note", "second")),
            unread_bytes=3_000_000,
        )
    )
    assert set(parts) == set(PARTS)
    assert text_of(parts["status"]) == "running"
    assert text_of(parts["progress"]).startswith("step 6,000 of 9,000, 2 steps/s, 25 min left")
    assert "reading: 3 MB to go" in parts["progress"]
    assert text_of(parts["verdict"]).startswith("Not healthy: ")
    assert parts["findings"].count("<article") == len(game().diagnosis.findings)
    assert "Change first: Lower D's learning rate" in text_of(parts["findings"]).replace(
        "&#39;", "'"
    )
    assert parts["charts"].count("<svg") == 6
    assert "Shaded: the steps of a finding." in parts["charts"]
    assert 'src="sample.png?step-00006000"' in parts["sample"]
    assert parts["facts"].index("second") < parts["facts"].index("first")


def test_a_healthy_training_has_no_findings_and_no_shades():
    parts = Page().parts(state(games=(game(real=0.6, fake=0.4),)))
    assert (parts["findings"], parts["sample"]) == ("", "")
    assert "Shaded" not in parts["charts"]


def test_a_training_before_its_first_step_has_a_page():
    parts = Page().parts(State("runs/mine", Status("starting", "starting: no step yet")))
    assert text_of(parts["status"]) == "starting: no step yet"
    assert parts["progress"] == parts["verdict"] == ""


def test_games_beside_each_other_are_named():
    parts = Page().parts(state(games=(game("A"), game("B"))))
    for part in ("verdict", "charts", "findings"):
        assert "A: " in parts[part]
        assert "B: " in parts[part]


def test_charts_are_drawn_no_oftener_than_their_cost_allows(monkeypatch):
    clock = Clock(0.0)
    chart = paging.line_chart

    def slowly(*arguments):
        clock.now += 1.0
        return chart(*arguments)

    monkeypatch.setattr(paging, "line_chart", slowly)
    page = Page(clock)
    first = page.parts(state(games=(game(),)))["charts"]
    spent = clock.now
    assert spent > 0
    assert page.parts(state(games=(game(real=0.6),)))["charts"] == first
    assert clock.now == spent
    # A training that is no more is not shown on.
    assert "<svg" not in page.parts(state())["charts"]
    clock.now += REST * spent
    assert "<svg" in page.parts(state(games=(game(real=0.6),)))["charts"]


def hostile_state(name, tmp_path):
    """A state with this text wherever a log, a run or a file name can put one."""
    played = game(name)
    finding = dataclasses.replace(played.diagnosis.findings[0], id=name, title=name)
    diagnosis = dataclasses.replace(played.diagnosis, findings=(finding,))
    return state(
        source=name,
        status=Status("failed", name),
        stage=name,
        policy=name,
        action=name,
        held_out=name,
        learning_rates=((name, 0.1),),
        games=(dataclasses.replace(played, diagnosis=diagnosis), game()),
        sample=tmp_path / name,
        events=(Event(1, name, name),),
        notes=(name,),
    )


@pytest.mark.parametrize("name", [HOSTILE, "'><script src=//evil>", "{{ 7919*7919 }}</script>"])
def test_names_from_a_log_are_text_wherever_they_stand(name, tmp_path):
    page = Page()
    expected = Tags(page.whole(page.parts(hostile_state("name", tmp_path)))[0])
    page = Page()
    parts = page.parts(hostile_state(name, tmp_path))
    whole, nonce = page.whole(parts)
    assert whole.count("script&gt;") + whole.count("script src") > 10
    for shown in (whole, *parts.values()):
        assert re.findall("<script[^>]*>", shown) in ([], [f'<script nonce="{nonce}">'])
        assert Tags(shown).names <= expected.names
        assert Tags(shown).attributes <= expected.attributes
        assert all(source.startswith(("sample.png?", "data:,")) for source in Tags(shown).sources)
        assert str(7919 * 7919) not in shown
    assert not any(attribute.startswith("on") for attribute in expected.attributes)
    assert json.loads(json.dumps(parts)) == parts
