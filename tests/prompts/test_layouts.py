"""Each layout is recognised by real rows and becomes the comparison, or the prompt, that its author meant."""

from typing import Any

import pytest

from app.prompts import comparisons, layouts, prompts
from app.prompts.bodies import Entry
from app.prompts.comparisons import Brought


def mapping(name: str, rows: list[dict[str, Any]], **chosen: str) -> dict[str, str]:
    layout = layouts.find(name)
    return layouts.mapped(layout, layouts.names_in(rows, layout), chosen)


def become(row: dict[str, Any], name: str, **chosen: str) -> list[Brought]:
    """The comparisons in a row, recognised by itself."""
    assert layouts.recognised([row]) == name
    found = layouts.applied(layouts.find(name), mapping(name, [row], **chosen), Entry(1, row, b""))
    return [comparisons.checked(one, "test") for one in found]


def why_not(row: dict[str, Any], name: str) -> str:
    (found,) = layouts.applied(layouts.find(name), mapping(name, [row]), Entry(1, row, b""))
    return found.why


def told(pair: Brought) -> tuple[object, ...]:
    """Prompt, both responses, and what each person said."""
    return (
        [(turn["role"], turn["content"]) for turn in pair.messages],
        pair.a,
        pair.b,
        [one.preferred or one.verdict for one in pair.said],
    )


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


ASKED = [("user", "What color is the sky?")]
SKY = "What color is the sky?"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": SKY, "chosen": "Blue.", "rejected": "Green."},
        {"prompt": [user(SKY)], "chosen": [bot("Blue.")], "rejected": [bot("Green.")]},
        {"chosen": [user(SKY), bot("Blue.")], "rejected": [user(SKY), bot("Green.")]},
        # As in the binarized UltraFeedback: the prompt as text, the conversations whole, scores beside them.
        {
            "prompt": SKY,
            "chosen": [user(SKY), bot("Blue.")],
            "rejected": [user(SKY), bot("Green.")],
            "score_chosen": 8.5,
            "score_rejected": 3.0,
        },
        {"question": SKY, "chosen_response": "Blue.", "rejected_response": "Green."},
        {
            "chosen": [{"from": "human", "value": SKY}, {"from": "gpt", "value": "Blue."}],
            "rejected": [{"from": "human", "value": SKY}, {"from": "gpt", "value": "Green."}],
        },
        {
            "prompt": [{"role": "user", "content": [{"type": "text", "text": SKY}]}],
            "chosen": "Blue.",
            "rejected": "Green.",
        },
        # From a table, where a conversation is JSON within a cell.
        {"prompt": SKY, "chosen": '[{"role": "assistant", "content": "Blue."}]', "rejected": "Green."},
    ],
)
def test_trl_preferences_standard_and_conversational_with_and_without_a_prompt(row: dict[str, Any]) -> None:
    (pair,) = become(row, "preference")
    assert told(pair) == (ASKED, "Blue.", "Green.", ["a"])


def test_an_implicit_prompt_is_what_both_texts_begin_with_and_cuts_no_word_in_two() -> None:
    (pair,) = become({"chosen": "The sky is blue.", "rejected": "The sky is black."}, "preference")
    assert told(pair) == ([("user", "The sky is")], "blue.", "black.", ["a"])
    assert "do not begin alike" in why_not({"chosen": "Yes.", "rejected": "No."}, "preference")


def test_a_system_turn_and_earlier_turns_stay_in_the_prompt() -> None:
    talk = [{"role": "system", "content": "Be brief."}, user("Hi"), bot("Hello"), user(SKY)]
    (pair,) = become({"chosen": [*talk, bot("Blue.")], "rejected": [*talk, bot("Green.")]}, "preference")
    assert [role for role, _ in told(pair)[0]] == ["system", "user", "assistant", "user"]
    parted = {
        "chosen": [user("Hi"), bot("A"), user(SKY), bot("Blue.")],
        "rejected": [user("Hi"), bot("B"), user(SKY), bot("No.")],
    }
    assert "differ before their last turn" in why_not(parted, "preference")


def test_hh_transcripts() -> None:
    begin = "\n\nHuman: Hi\n\nAssistant: Hello.\nHow can I help?\n\nHuman: What color is the sky?\n\nAssistant:"
    (pair,) = become({"chosen": f"{begin} Blue.\n\nReally.", "rejected": f"{begin} I don't know."}, "hh")
    turns = [("user", "Hi"), ("assistant", "Hello.\nHow can I help?"), *ASKED]
    assert told(pair) == (turns, "Blue.\n\nReally.", "I don't know.", ["a"])
    earlier = {"chosen": "\n\nHuman: Hi\n\nAssistant: A", "rejected": "\n\nHuman: Ho\n\nAssistant: B"}
    assert "differ before" in why_not(earlier, "hh")


def ultrafeedback(*scores: float) -> dict[str, Any]:
    return {
        "source": "evol_instruct",
        "instruction": SKY,
        "models": ["alpaca-7b", "gpt-4", "llama", "mpt"][: len(scores)],
        "completions": [
            {
                "model": "m",
                "principle": "helpfulness",
                "custom_system_prompt": "As an AI …",
                "response": f"Answer {number}",
                "critique": "…",
                "overall_score": 10.0,
                "fine-grained_score": score,
                "annotations": {"helpfulness": {"Rating": "4"}},
            }
            for number, score in enumerate(scores)
        ],
    }


def test_scored_completions_become_the_best_against_each_worse_one() -> None:
    pairs = become(ultrafeedback(2.0, 4.5, 4.5, 3.0), "scored")
    assert [told(pair) for pair in pairs] == [
        (ASKED, "Answer 1", "Answer 0", ["a"]),
        (ASKED, "Answer 1", "Answer 3", ["a"]),
    ]
    assert pairs[0].labels["source"] == "evol_instruct"
    assert "same score" in why_not(ultrafeedback(3.0, 3.0), "scored")


def test_ranks_and_scores_beside_the_texts_are_scores_too() -> None:
    nectar = {"prompt": SKY, "answers": [{"answer": "Green.", "rank": 2.0}, {"answer": "Blue.", "rank": 1.0}]}
    assert told(become(nectar, "scored")[0]) == (ASKED, "Blue.", "Green.", ["a"])
    beside = {"prompt": SKY, "responses": ["Green.", "Blue."], "scores": [0.1, 0.7]}
    assert told(become(beside, "scored")[0]) == (ASKED, "Blue.", "Green.", ["a"])
    ranked = {"prompt": SKY, "responses": ["Green.", "Blue."], "ranks": [2, 1]}
    assert told(become(ranked, "scored")[0])[1] == "Blue."


@pytest.mark.parametrize(
    ("winner", "said"), [("model_a", "a"), ("model_b", "b"), ("tie", "tie"), ("tie (bothbad)", "both_bad")]
)
def test_arena_conversations_and_their_ties(winner: str, said: str) -> None:
    row = {
        "question_id": "58210e39b3fd4441a2bd4a518bb44c2d",
        "model_a": "chatglm-6b",
        "model_b": "koala-13b",
        "winner": winner,
        "judge": "arena_user_973",
        "conversation_a": [user(SKY), bot("Blue.")],
        "conversation_b": [user(SKY), bot("Green.")],
        "turn": 1,
        "language": "English",
        "tstamp": 1682351591.1322,
    }
    (pair,) = become(row, "arena")
    assert told(pair) == (ASKED, "Blue.", "Green.", [said])
    assert pair.labels["needs"] == []
    longer = {**row, "conversation_a": [user(SKY), bot("A"), user("Why?"), bot("B")]}
    assert "differ before their last turn" in why_not(longer, "arena")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": SKY, "answer_a": "Blue.", "answer_b": "Green.", "winner": "A"}, ["a"]),
        ({"prompt": SKY, "response1": "Blue.", "response2": "Green.", "preference": 1.0}, ["b"]),
        ({"prompt": SKY, "responses": ["Blue.", "Green."]}, []),
        ({"prompt": SKY, "responses": ["Blue.", "Green."], "preferred": "tie"}, ["tie"]),
        # Label Studio's JSON_MIN.
        (
            {"id": 1, "prompt": SKY, "answer1": "Blue.", "answer2": "Green.", "comparison": "left", "annotator": 2},
            ["a"],
        ),
    ],
)
def test_two_responses_with_or_without_a_winner(row: dict[str, Any], said: list[str]) -> None:
    assert told(become(row, "pairs")[0]) == (ASKED, "Blue.", "Green.", said)


def test_a_winner_that_nobody_understands_is_told() -> None:
    row = {"prompt": SKY, "answer_a": "Blue.", "answer_b": "Green.", "winner": "the 2nd"}
    assert why_not(row, "pairs").startswith("'the 2nd' says nothing about who won.")


def label_studio(*chosen: str | None, **more: object) -> dict[str, Any]:
    def annotation(selected: str | None) -> dict[str, Any]:
        value = {
            "id": "x1",
            "type": "pairwise",
            "value": {"selected": selected},
            "from_name": "pw",
            "to_name": "answer1,answer2",
        }
        return {
            "id": 7,
            "completed_by": 1,
            "was_cancelled": selected is None,
            "result": [value] if selected else [],
            **more,
        }

    return {
        "id": 1,
        "data": {"prompt": SKY, "answer1": "Blue.", "answer2": "Green."},
        "annotations": [annotation(one) for one in chosen],
        "predictions": [],
        "project": 3,
    }


def test_label_studio_s_pairwise_export() -> None:
    (pair,) = become(label_studio("left", "right", None, "left"), "label_studio")
    assert told(pair) == (ASKED, "Blue.", "Green.", ["a", "b", "a"])
    assert told(become(label_studio(), "label_studio")[0])[3] == []
    other = {**label_studio("right"), "data": {"frage": SKY, "answer2": "Green.", "answer1": "Blue."}}
    assert told(become(other, "label_studio", prompt="frage")[0]) == (ASKED, "Blue.", "Green.", ["b"])


FIELDS = {"prompt": SKY, "response-1": "Blue.", "response-2": "Green."}
RANKS = [{"value": "response-2", "rank": 1}, {"value": "response-1", "rank": 2}]
FLAT = {
    "preference.responses": ["response-1", "response-2"],
    "preference.responses.users": ["u", "v"],
    "preference.responses.status": ["submitted", "draft"],
}


def record(*said: tuple[str, str, object]) -> dict[str, Any]:
    """Version 2, `records.to_json`: who said what to which question."""
    responses: dict[str, list[dict[str, object]]] = {}
    for person, question, value in said:
        responses.setdefault(question, []).append({"value": value, "user_id": person})
    return {"id": "1", "status": "completed", "fields": FIELDS, "responses": responses, "suggestions": {}}


def old_record(status: str) -> dict[str, Any]:
    """Version 1: one response a person."""
    said = {"user_id": "u", "status": status, "values": {"preference": {"value": RANKS}}}
    return {"fields": FIELDS, "responses": [said]}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (record(("u", "preference", ["response-2", "response-1"])), ["b"]),
        (record(("u", "better", "response-1"), ("v", "better", "tie")), ["a", "tie"]),
        (record(("u", "rating-1", 4), ("u", "rating-2", 2), ("v", "rating-1", 3)), ["a"]),
        ({**FIELDS, "id": "1", **FLAT}, ["a"]),
        (old_record("submitted"), ["b"]),
        (old_record("discarded"), []),
    ],
)
def test_argilla_s_rankings_choices_and_ratings(row: dict[str, Any], said: list[str]) -> None:
    assert told(become(row, "argilla")[0]) == (ASKED, "Blue.", "Green.", said)


def prompt(row: dict[str, Any], **chosen: str) -> dict[str, Any]:
    assert layouts.recognised([row]) == "prompts"
    (found,) = layouts.applied(layouts.find("prompts"), mapping("prompts", [row], **chosen), Entry(1, row, b""))
    return prompts.checked(found, "test")


def test_prompts_with_labels_from_a_table() -> None:
    row = {"Question": SKY, "tags": "short; science", "language": "en", "priority": "5", "source": "a book", "x": ""}
    found = prompt(row)
    assert found["messages"] == [user(SKY)]
    assert (found["tags"], found["needs"], found["priority"], found["source"]) == (
        ["short", "science"],
        ["en"],
        5,
        "a book",
    )


def test_instructions_with_an_input_and_conversations_with_their_answer() -> None:
    assert prompt({"instruction": "Translate.", "input": "Hallo", "output": "Hello"})["messages"] == [
        user("Translate.\n\nHallo")
    ]
    assert prompt({"instruction": "Name a tree.", "input": "", "output": "Oak"})["messages"] == [user("Name a tree.")]
    talk = [{"from": "human", "value": SKY}, {"from": "gpt", "value": "Blue."}]
    assert prompt({"conversations": talk})["messages"] == [user(SKY)]


def test_a_mapping_may_be_changed_and_a_part_left_out() -> None:
    row = {"frage": SKY, "prompt": "not this", "tags": "a"}
    assert prompt(row, prompt="frage", tags="")["messages"] == [user(SKY)]
    assert prompt(row, prompt="frage", tags="")["tags"] == []
    with pytest.raises(Exception, match="no part 'colour'"):
        mapping("prompts", [row], colour="frage")
    with pytest.raises(Exception, match="no layout 'rows'"):
        layouts.find("rows")
