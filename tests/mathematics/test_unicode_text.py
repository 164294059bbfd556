"""Simple LaTeX becomes Unicode; all else is left to its source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.mathematics.unicode_text import unicode_of


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("E = mc^2", "E = mc²"),
        ("x_i^2 + y_{ij}", "xᵢ² + yᵢⱼ"),
        (r"\frac{a+b}{2}", "(a + b)/2"),
        (r"\frac12", "1/2"),
        (r"\frac{1}{\sqrt{n}}", "1/(√n)"),
        (r"\sum_{i=1}^{n} i^2", "∑ᵢ₌₁ⁿ i²"),
        (r"\int_0^\infty e^{-x}\,dx", "∫₀^∞ e⁻ˣ dx"),
        (r"\mathbb{R}^n \to \alpha\beta", "ℝⁿ → αβ"),
        (r"\sqrt{x+1} \ne \sqrt[3]{y}", "√(x + 1) ≠ ∛y"),
        (r"\text{if } x \le 3", "if x ≤ 3"),
        (r"\lim_{x \to 0} \sin x / x = 1", "lim_(x → 0) sin x / x = 1"),
        (r"O(n \log n)", "O(n log n)"),
        (r"\left( \hat{y} - \bar{x} \right)", "( ŷ − x̄ )"),
        (r"a^{b_c}", "a^(b_c)"),
        (r"90^\circ", "90°"),
        (r"\{1, 2\}", "{1, 2}"),
        (r"A^T", "Aᵀ"),
        (r"f'(x)", "f′(x)"),
        ("", ""),
    ],
)
def test_simple_formulas_become_text(source: str, shown: str) -> None:
    assert unicode_of(source) == shown


@pytest.mark.parametrize(
    "source",
    [
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
        r"\foo{x}",
        r"\frac{a}",
        r"x^",
        "a}b",
        "{a",
        r"\sqrt[5]{x}",
        r"\hat{xy}",
        r"\mathbb{xy}",
        r"a \\ b",
        "x" * 500,
        "{" * 30 + "}" * 30,
        r"\text{a $b$}",
        "\\",
    ],
)
def test_what_is_not_simple_is_left_alone(source: str) -> None:
    assert unicode_of(source) is None


@given(st.text(alphabet=r"\{}^_[]()ab12 =+-&'", max_size=60))
def test_no_source_fails(source: str) -> None:
    shown = unicode_of(source)
    assert shown is None or "\n" not in shown


@given(st.lists(st.sampled_from(["a", "b", "x", "7", "+", "=", r"\alpha", r"\le", "^2", "_i", "{", "}"]), max_size=20))
def test_no_letter_is_lost(parts: list[str]) -> None:
    shown = unicode_of(" ".join(parts))
    assert (
        shown is None
        or [letter for letter in shown if letter in "abx7"] == [part for part in parts if part in ("a", "b", "x", "7")]
        or any(mark in parts for mark in ("^2", "_i"))
    )
