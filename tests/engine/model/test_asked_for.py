from tui_llama.engine.model.asked_for import AskedFor


def test_what_is_taken_by_its_key_is_noted_and_nothing_else() -> None:
    asked = AskedFor({"a": 1, "b": 2, "c": 3})

    assert asked["a"] == 1
    assert asked.get("b") == 2
    assert asked.get("x") is None
    assert "c" in asked
    assert (list(asked), list(asked.items())[2], list(asked.values()), len(asked)) == (
        ["a", "b", "c"],
        ("c", 3),
        [1, 2, 3],
        3,
    )
    assert asked.unasked() == ("c",)
