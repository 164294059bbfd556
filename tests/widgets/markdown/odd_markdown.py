"""Random Markdown as nobody should write it, in which every word is another one."""

from collections.abc import Callable
from itertools import count
from random import Random


class OddMarkdown:
    """Makes documents and remembers the words that stand in them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._numbers = count()
        self.words: list[str] = []

    def document(self) -> str:
        """Makes a few blocks, mostly but not always with a blank line between them."""
        gaps = ("\n\n", "\n\n", "\n\n", "\n")
        return "".join(self._block() + self._random.choice(gaps) for _ in range(self._random.randint(1, 4)))

    def _word(self) -> str:
        number, letters = next(self._numbers), ""
        for _ in range(3):  # none contains another, as all are of one length
            number, digit = divmod(number, 26)
            letters = chr(ord("a") + digit) + letters
        self.words.append(f"q{letters}")
        return self.words[-1]

    def _text(self) -> str:
        return " ".join(self._inline() for _ in range(self._random.randint(1, 3)))

    def _inline(self) -> str:
        word = self._word
        kinds: tuple[Callable[[], str], ...] = (
            word, word, word,
            lambda: f"*{word()} **{word()}** ~~{word()}~~*",
            lambda: f"**{word()} *{word()}",
            lambda: f"`{word()}` ``{word()} ` {word()}``",
            lambda: f"[{word()}](http://{word()}.example)",
            lambda: f'[{word()}](<{word()}> "{word()}")',
            lambda: f"[](http://{word()}.example)",
            lambda: f"[{word()}](javascript:{word()})",
            lambda: f"[{word()}][{word()}] [^{word()}]",
            lambda: f"![{word()}]({word()}.png) ![]({word()}.png '{word()}')",
            lambda: f"[![{word()}]({word()}.png)](http://{word()}.example)",
            lambda: f"![{word()} [{word()}](http://{word()}.example)]({word()})",
            lambda: f"<http://{word()}.example> <{word()}@{word()}.example>",
            lambda: f"<b class='{word()}'>{word()}</b> <!-- {word()} --> <script>{word()}</script>",
            lambda: f"&lt;{word()}&gt; &#x202e;{word()}&nbsp;{word()} &{word()};",
            lambda: f"\\*{word()}\\_ {word()}\\\n{word()}  \n{word()}",
            lambda: "[" * self._random.choice((3, 90, 300)) + word() + "](" + word(),
            lambda: "*" * 70 + word() + "_" * 70,
            lambda: f"{word()}\t{word()} | {word()}",
        )  # fmt: skip
        return self._random.choice(kinds)()

    def _block(self) -> str:
        random, text, word = self._random, self._text, self._word
        kinds: tuple[Callable[[], str], ...] = (
            text, text,
            lambda: f"{'#' * random.randint(1, 7)} {text()}",
            lambda: f"{word()}\n===\n{word()}\n---",
            lambda: f"---\n{word()}: {word()}\n---",
            self._list, self._list, self._list,
            lambda: ">" * random.choice((1, 3, 25, 1000)) + f" {text()}\n{word()}",
            lambda: "> " * random.choice((2, 8, 12)) + f"- {text()}\n{'> ' * 2}1. {word()}",
            self._table, self._table,
            lambda: f"```python {word()} {word()}\n{word()}\n\n    {word()}\n```",
            lambda: f"```\n{word()} [x](y)\n" + ("~~~" if random.random() < 0.5 else ""),
            lambda: f"~~~ {word()}" if random.random() < 0.1 else f"    {word()}\n\t{word()}",
            lambda: f'[{word()}]: http://{word()}.example "{word()}"\n[{word()}]: <{word()}>\n({word()})',
            lambda: f"[^{word()}]: {word()}\n    {word()}",
            lambda: f"<div id={word()}>\n{word()}\n\n</div>\n<!-- {word()}\n\n{word()} -->",
            lambda: f"{word()}\n: {word()}",
            lambda: "* * *\n" + "+" * 3 + word(),
            lambda: " ".join(word() for _ in range(120)),
            lambda: f'{{"{word()}": "*{word()}*", "a": [{text()}' + random.choice(("", "]}", ' "', "\n\n", '"\n}')),
        )  # fmt: skip
        return random.choice(kinds)()

    def _list(self) -> str:
        random = self._random
        lines = []
        indentation = 0
        for _ in range(random.choice((2, 5, 20))):
            mark = random.choice(("-", "*", "+", "1.", "7)", "123456789.", "- [ ]", "- [x]", "- >", "- #"))
            lines.append(" " * indentation + f"{mark} {self._text()}")
            if random.random() < 0.1:
                lines.append("")
            indentation = max(0, indentation + random.choice((2, 2, 3, 4, len(mark) + 1, 0, -2)))
        return "\n".join(lines)

    def _table(self) -> str:
        random = self._random
        columns = random.choice((1, 2, 3, 8))
        rows = ["|" + "|".join(f" {self._word()} " for _ in range(columns)) + "|", "|" + " :-: |" * columns]
        for _ in range(random.randint(0, 3)):
            cells = max(1, columns + random.choice((-1, 0, 0, 1, 3)))
            rows.append("|" + "|".join(f" {self._inline()} " for _ in range(cells)) + "|")
        return "\n".join(rows)
