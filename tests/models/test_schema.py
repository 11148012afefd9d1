"""Schemas of JSON: what they accept, and the one line in which they refuse the rest."""

import pytest

from recurrent import checks
from recurrent.models import schema

PERSON = schema.record({"age": schema.whole(0, 150)}, name=schema.text(5))


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (PERSON, {"name": "a", "age": 3}, {"age": 3}, "v lacks name"),
        (PERSON, {"name": "a"}, {"name": "a", "x": 1}, "v has an entry 'x'; known are name, age"),
        (PERSON, {"name": "a"}, {"name": "a", "age": 1.5}, "v.age must be an int, got float"),
        (PERSON, {"name": "a"}, {"name": "a", "age": True}, "v.age must be an int, got bool"),
        (PERSON, {"name": "a"}, {"name": "abcdef"}, "v.name must have at most 5 characters, got 6"),
        (PERSON, {"name": "a"}, [], "v must be a dict, got list"),
        (schema.items(PERSON), [{"name": "a"}], [{}], r"v\[0\] lacks name"),
        (schema.items(checks.number, 2, 2), [1, 2.5], [1], "v must have 2 entries, got 1"),
        (schema.items(checks.number, 0, 3), [], [1] * 4, "v must have 0 to 3 entries, got 4"),
        (schema.mapping(checks.number), {"a": 1}, {"a": None}, r"v\['a'\] must be a number"),
        (schema.optional(checks.number), None, "x", "v must be a number, got str"),
        (schema.one_of("a", "b"), "a", "c", "v must be one of a, b, got 'c'"),
        (schema.dictionary, {"a": [{"b": None}]}, [], "v must be a dict, got list"),
        (schema.plain, [[1, "a", None, {}]], {"a": {1}}, "v must be data that JSON can hold"),
    ],
)
def test_a_schema_accepts_and_refuses(check, good, bad, words):
    check(good, "v")
    with pytest.raises((TypeError, ValueError), match=f"^{words}"):
        check(bad, "v")


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_plain_data_is_nested_to_a_limit():
    schema.plain(nested(schema.DEPTH), "v")
    with pytest.raises(ValueError, match="v must be nested at most 32 deep"):
        schema.plain(nested(schema.DEPTH + 1), "v")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "x is not JSON"),
        ("[" * 10**5 + "]" * 10**5, "x is nested too deeply to be read"),
        ('{"a":' * 10**5, "x is nested too deeply to be read"),
        ("[" + "[]," * 10**6 + "[]]", "x has too many entries: 3,000,004 characters of JSON"),
        ("1" * 10**4, "x is not JSON: Exceeds the limit"),
    ],
)
def test_json_of_unknown_origin(text, words):
    assert schema.parse_json('[1, {"a": null}]', "x") == [1, {"a": None}]
    with pytest.raises(ValueError, match=words):
        schema.parse_json(text, "x")
