"""Pages hold as many rows as were asked for and fit, and their tokens lead on in the same list only."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orcs_server.errors import InvalidArgument
from orcs_server.service.pages import PageBinding, fitting, page_size
from orcs_server.storage.store import PageKey

BINDING = PageBinding("ListWorkflows", "default", {"labels": [["a", "b"]]})


@given(st.integers(0, 2**60), st.text(max_size=128))
def test_a_token_leads_back_to_its_row(created_us: int, workflow_id: str) -> None:
    key = PageKey(created_us, workflow_id)
    assert BINDING.key(BINDING.token(key), PageKey) == key


@pytest.mark.parametrize(
    "other",
    [
        PageBinding("ListTasks", "default", {"labels": [["a", "b"]]}),
        PageBinding("ListWorkflows", "other", {"labels": [["a", "b"]]}),
        PageBinding("ListWorkflows", "default", {"labels": []}),
    ],
)
def test_a_token_of_another_list_is_refused(other: PageBinding) -> None:
    with pytest.raises(InvalidArgument) as caught:
        BINDING.key(other.token(PageKey(1, "w")), PageKey)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("number", [2**63, -(2**80)])
def test_a_made_up_token_with_a_number_that_no_row_has_is_refused(number: int) -> None:
    for key, kind in ((PageKey(number, "w"), PageKey), (number, int)):
        with pytest.raises(InvalidArgument) as caught:
            BINDING.key(BINDING.token(key), kind)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


@given(st.binary(min_size=1, max_size=100))
@example(b'["\xff",0]')
def test_any_bytes_in_the_form_of_a_token_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        BINDING.key(base64.urlsafe_b64encode(raw).decode(), PageKey)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


@given(st.text(min_size=1, max_size=3000))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        BINDING.key(text, PageKey)


def test_a_page_size_is_capped_without_an_error_and_never_negative() -> None:
    assert (page_size(0, 500), page_size(7, 500), page_size(9999, 500), page_size(0, 20)) == (100, 7, 500, 20)
    with pytest.raises(InvalidArgument):
        page_size(-1, 500)


def test_a_page_ends_before_it_is_too_large_but_never_stands_still() -> None:
    assert fitting([10, 10, 10], lambda weight: weight, room=25) == 2
    assert fitting([100, 1], lambda weight: weight, room=25) == 1
    assert fitting([], lambda weight: weight, room=25) == 0
