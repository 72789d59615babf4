"""Graphs on the command line, by structure; and what is said of those that cannot be drawn."""

import re

import pytest

from millstream.cli.drawing import arranged, mermaid, text
from millstream.cli.graph import graphs_of


def test_text_has_a_row_a_step_indented_by_its_maps(cli):
    said = cli("graph", "cli_apps:rich")
    assert said.status == 0
    title, taken, empty, head, *rows = said.lines
    assert (title, taken, empty) == ("pipeline rich", "input urls: list[str]", "")
    assert head.split() == ["step", "reads", "gives", "policies"]
    assert [row.split("  ")[0] or row[2:].rstrip() for row in rows if row.endswith(":")] == [
        "each of urls:",
        "  each of links:",
    ]
    cells = {row.split()[0]: re.split(r"\s{2,}", row.strip()) for row in rows}
    assert cells["page"] == [
        "page",
        "each of urls",
        "str",
        "16 at a time; timeout 20 s; up to 3 attempts",
    ]
    assert cells["article"][3] == "2 processes; fallback plain"
    assert cells["text"][1:] == ["list of article", "str", "thread; internal"]
    assert cells["seen"][1] == "stream of page"
    assert cells["end"][3] == "buffer 3"
    assert cells["ends"][3] == "output; optional"
    depth = {row.split()[0]: len(row) - len(row.lstrip()) for row in rows}
    assert (depth["page"], depth["end"], depth["seen"]) == (4, 6, 2)


def test_steps_of_one_map_stand_together_after_what_they_read():
    (graph,) = graphs_of("cli_apps:rich")
    names = [step.name for step in arranged(graph)]
    assert names == ["page", "article", "links", "end", "ends", "seen", "text", "summary"]


def test_mermaid_has_a_node_a_step_and_a_box_a_map(cli):
    lines = cli("graph", "cli_apps:rich", "--format", "mermaid").lines
    assert lines[:4] == ["---", "title: rich", "---", "flowchart LR"]
    body = [line.strip() for line in lines[4:]]
    nodes = {m[2]: m[1] for line in body if (m := re.match(r'(\w+)[(\[]+"([\w]+)', line))}
    assert set(nodes) >= {"urls", "page", "article", "links", "end", "ends", "seen", "text"}
    arrows = {tuple(line.split(" ", 1)) for line in body if "-->" in line}
    assert (nodes["urls"], f"-- each --> {nodes['page']}") in arrows
    assert (nodes["page"], f"--> {nodes['article']}") in arrows
    assert (nodes["page"], f"-- stream --> {nodes['seen']}") in arrows
    assert (nodes["end"], f"-- list --> {nodes['ends']}") in arrows
    assert len(arrows) == 9
    boxes = [line for line in body if line.startswith("subgraph") or line == "end"]
    assert [box.partition("[")[2] for box in boxes] == [
        '"each of urls"]',
        '"each of links"]',
        "",
        "",
    ]
    inside = body[body.index(boxes[1]) :]
    assert inside[1].startswith(nodes["end"] + "[")
    assert body[-1] == f"class {nodes['summary']},{nodes['ends']} output"


def test_quotes_in_types_do_not_end_a_label():
    (graph,) = graphs_of("cli_apps:app:talk")
    assert mermaid(graph).count('"') % 2 == 0
    assert text(graph).startswith("pipeline talk: Says what it is told, word by word.\n")


def test_several_pipelines_one_after_another(cli):
    lines = cli("graph", "cli_apps:app").lines
    assert [line for line in lines if line.startswith("pipeline")] == [
        "pipeline talk: Says what it is told, word by word.",
        "pipeline weigh",
        "pipeline both",
    ]
    only = cli("graph", "cli_apps:app:weigh").lines
    assert [line for line in only if line.startswith("pipeline")] == ["pipeline weigh"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("cli_broken:broken", "the steps first -> second -> first wait for each other"),
        ("cli_apps:app:talc", "has no pipeline 'talc'; did you mean 'talk'?"),
        ("cli_apps:ap", "has no 'ap'; did you mean 'app'?"),
        ("cli_apps:plain", "is a function; name a Millstream, a Pipeline or a System"),
        ("nowhere:app", "there is no module 'nowhere' here"),
        (":app", "there is no module '' here"),
        ("cli_raises", "cannot be imported: KeyError: 'nothing' ("),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_status_1(cli, target, told):
    said = cli("graph", target)
    assert said.status == 1
    assert said.out == ""
    assert said.err.startswith("millstream: ")
    assert told in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "run", "tail", "runs", "cancel", "graph"])
def test_every_command_has_help(cli, command):
    said = cli(command, "--help")
    assert said.status == 0
    assert f"millstream {command}" in said.out
