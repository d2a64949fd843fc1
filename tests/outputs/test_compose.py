"""The result of a workflow in each format."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser

import pytest

from orcs_server.outputs.compose import FinishedTask, compose, final_tasks
from orcs_server.workflow.model import OutputFormat
from orcs_server.workflow.states import TaskStatus

TEXT, MARKDOWN, JSON, HTML = OutputFormat.TEXT, OutputFormat.MARKDOWN, OutputFormat.JSON, OutputFormat.HTML


def done(
    task_id: str, content: str | bytes, media_type: str = "text/markdown", *, is_sink: bool = True
) -> FinishedTask:
    body = content.encode() if isinstance(content, str) else content
    return FinishedTask(task_id, f"Title {task_id}", TaskStatus.COMPLETED, media_type, body, is_sink=is_sink)


FAILED = FinishedTask("t8", "Costs", TaskStatus.FAILED, failure="no\x1b[1m answer")
SKIPPED = FinishedTask("t9", "Sum", TaskStatus.SKIPPED)


def text_of(title: str, tasks: list[FinishedTask], output_format: OutputFormat) -> str:
    return compose(title, tasks, output_format).content.decode()


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.names: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_final_tasks_are_the_sinks_or_what_a_failed_sink_would_have_built_on() -> None:
    graph = {"a": (), "b": (), "c": ("a", "b"), "d": ("c",)}
    assert final_tasks(graph, {"a", "b", "c", "d"}) == {"d"}
    assert final_tasks(graph, {"a", "b", "c"}) == {"c"}
    assert final_tasks(graph, {"a", "b"}) == {"a", "b"}
    assert final_tasks({}, ()) == frozenset()


@pytest.mark.parametrize(
    ("output_format", "media_type"),
    [
        (TEXT, "text/plain; charset=utf-8"),
        (MARKDOWN, "text/markdown; charset=utf-8"),
        (JSON, "application/json"),
        (HTML, "text/html; charset=utf-8"),
    ],
)
def test_each_format_names_its_media_type(output_format: OutputFormat, media_type: str) -> None:
    assert compose("W", [done("t1", "x")], output_format).media_type == media_type


def test_a_single_sink_stands_alone() -> None:
    tasks = [done("t1", "part", is_sink=False), done("t2", "# Whole\n\nText.")]
    assert text_of("W", tasks, TEXT) == "# Whole\n\nText."
    assert text_of("W", tasks, MARKDOWN) == "# Whole\n\nText."
    assert Page(text_of("W", tasks, HTML)).tags.count("h1") == 1


def test_several_sinks_become_sections_in_plan_order() -> None:
    tasks = [done("t2", "second"), done("t1", "first")]
    assert text_of("Both", tasks, MARKDOWN) == "# Both\n\n## Title t2\n\nsecond\n\n## Title t1\n\nfirst\n"
    assert text_of("Both", tasks, TEXT) == "Both\n====\n\nTitle t2\n--------\n\nsecond\n\nTitle t1\n--------\n\nfirst\n"
    page = Page(text_of("Both", tasks, HTML))
    assert page.text.index("second") < page.text.index("first")
    assert page.tags.count("h2") == 2


def test_a_partial_result_says_what_is_missing_and_why() -> None:
    tasks = [done("t1", "found"), FAILED, SKIPPED]
    for output_format in (TEXT, MARKDOWN, HTML):
        text = text_of("W", tasks, output_format).replace("\\", "")
        assert "found" in text
        assert "Not finished" in text
        assert "Costs (t8): failed: no answer" in text
        assert "Sum (t9): skipped" in text
    body = json.loads(text_of("W", tasks, JSON))
    assert body["status"] == "PARTIAL"
    assert [task["status"] for task in body["unfinished"]] == ["FAILED", "SKIPPED"]
    assert json.loads(text_of("W", [FAILED], JSON))["status"] == "FAILED"


def test_json_lists_outputs_with_their_media_types() -> None:
    tasks = [
        done("t1", "# text"),
        done("t2", '{"n": 9007199254740993, "x": 0.10000000000000000001}', "application/json; charset=utf-8"),
        done("t3", b"\x89PNG", "image/png"),
        done("t4", "{bad", "application/json"),
        done("t5", b"\xff\xfe", "text/plain"),
    ]
    raw = text_of("W", tasks, JSON)
    body = json.loads(raw)
    assert (body["workflow"], body["status"]) == ("W", "COMPLETED")
    assert "unfinished" not in body
    outputs = body["outputs"]
    assert outputs[0] == {"task_id": "t1", "title": "Title t1", "media_type": "text/markdown", "text": "# text"}
    assert outputs[1]["json"]["n"] == 9007199254740993
    assert "0.10000000000000000001" in raw
    assert base64.b64decode(outputs[2]["data"]) == b"\x89PNG"
    assert outputs[3]["text"] == "{bad"
    assert outputs[4]["text"] == "\ufffd\ufffd"


def test_json_of_a_single_json_output_is_that_output() -> None:
    assert compose("W", [done("t1", '{"a": 1.50}', "application/json")], JSON).content == b'{"a": 1.50}'


@pytest.mark.parametrize("bad", ["NaN", "[" * 100_000, '{"a": 1} x', "", "\udc80"])
def test_what_only_claims_to_be_json_comes_as_text(bad: str) -> None:
    content = bad.encode("utf-8", "surrogatepass")
    body = json.loads(compose("W", [done("t1", content, "application/json")], JSON).content)
    assert "text" in body["outputs"][0]


def test_terminals_get_no_control_sequences() -> None:
    tasks = [
        done("t1", "a\x1b]0;x\x07b\u202e"),
        FinishedTask("t2", "T\x1b[2J", TaskStatus.COMPLETED, "text/plain", b"c\x9b"),
    ]
    for output_format in (TEXT, MARKDOWN):
        text = text_of("W\x1b[1m", tasks, output_format)
        assert not set(text) & set("\x1b\x07\x9b\u202e")


def test_titles_cannot_write_markdown() -> None:
    tasks = [FinishedTask("t1", "[a](http://x) <b>\n# c", TaskStatus.COMPLETED, content=b"x"), FAILED]
    assert "## \\[a\\]\\(http://x\\) \\<b\\> \\# c\n" in text_of("W", tasks, MARKDOWN)


def test_json_and_binary_outputs_are_shown_for_what_they_are() -> None:
    tasks = [done("t1", '{"a": "```"}', "application/json"), done("t2", b"\x00" * 9, "image/png")]
    markdown = text_of("W", tasks, MARKDOWN)
    assert '````json\n{"a": "```"}\n````' in markdown
    assert "(9 bytes of image/png: ask for JSON to get them)" in markdown
    assert Page(text_of("W", tasks, HTML)).tags.count("pre") == 2


HOSTILE = """<script>alert(1)</script> <img src=x onerror=alert(1)>

[a](javascript:alert(1)) [b](data:text/html,x) [c](file:///etc/passwd) [d](/relative) [e](JaVaScRiPt:x)
[good](https://example.com/?a=1&b="2") [mail](mailto:a@example.com) <http://auto.example.com> <javascript:alert(2)>
![pixel](https://tracker.example.com/p.gif)

| a | b |
|---|---|
| <svg onload=x> | ~~c~~ |
"""


def test_html_carries_no_tag_script_or_picture_of_the_text() -> None:
    tasks = [
        done("t1", HOSTILE),
        FinishedTask("t2", "<script>t</script>", TaskStatus.COMPLETED, "text/html", b"<script>x</script>"),
        FinishedTask("t3", "<i>", TaskStatus.FAILED, failure="<script>why</script>"),
    ]
    content = text_of("</title><script>1</script>", tasks, HTML)
    page = Page(content)
    assert not {"script", "img", "svg", "iframe", "i"} & set(page.tags)
    assert page.links == [
        "https://example.com/?a=1&b=%222%22",
        "mailto:a@example.com",
        "http://auto.example.com",
        "https://tracker.example.com/p.gif",
    ]
    assert not any(name.startswith("on") for name in page.names)
    assert {"table", "s"} <= set(page.tags)
    assert "default-src 'none'" in content


def test_a_result_without_any_output_is_still_a_document() -> None:
    for output_format in OutputFormat:
        assert compose("Nothing", [SKIPPED], output_format).content
        assert compose("Nothing", [], output_format).content
