"""Answers as models write them: texts full of repetition that are meant so, and loops."""

import base64
import json
import random


def _lines(line: str, count: int) -> str:
    return f"{line}\n" * count


def _table(header: str, row: str, count: int) -> str:
    rule = "|" + "|".join("---" for _ in range(header.count("|") - 1)) + "|"
    return f"{header}\n{rule}\n" + _lines(row, count)


_CHORUS = """\
Row, row, row your boat,
Gently down the stream,
Merrily, merrily, merrily, merrily,
Life is but a dream.

"""

_LA = "La la la la la la la, la la la la la la la!\n"

_SONG = "\n".join(
    f"{number} green bottles hanging on the wall,\n{number} green bottles hanging on the wall,\n"
    f"And if one green bottle should accidentally fall,\nThere'll be {number - 1} green bottles hanging on the wall.\n"
    for number in range(10, 0, -1)
)

_SAINTS = """\
Mary, Michael, Gabriel, Raphael, Joseph, Peter, Paul, Andrew, James, John, Thomas, Philip, Bartholomew, Matthew, Simon,
Thaddeus, Matthias, Barnabas, Luke, Mark, Stephen, Lawrence, Vincent, Gregory, Ambrose, Augustine, Jerome, Martin"""

_LITANY = "\n".join(f"Saint {name.strip()}, pray for us." for name in _SAINTS.split(","))

_VILLANELLE = """\
Do not forget the harbour and the light,
The boats that lean upon the turning tide.
We wait beside the water every night.

The gulls come home, a scattering of white,
And nothing that we owned is at our side.
Do not forget the harbour and the light.

The lamp is lit, the window is in sight,
The sea is long, the evening sky is wide.
We wait beside the water every night.

And you who left, and said that it was right,
Whatever else the years may seem to hide,
Do not forget the harbour and the light.
We wait beside the water every night.
"""

_SWITCH = "switch (key) {\n" + "".join(
    f"    case KEY_{name}:\n        handle_key(event, state);\n        break;\n"
    for name in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

_SAME_CASES = (
    "match token:\n"
    + "".join(f"    case Token.{name}:\n        return True\n" for name in ("PLUS", "MINUS", "STAR", "SLASH", "DOT"))
    + "    case _:\n        return False\n"
)

_HTML_TABLE = (
    "<table>\n  <thead>\n    <tr><th>Mon</th><th>Tue</th><th>Wed</th></tr>\n  </thead>\n  <tbody>\n"
    + _lines(
        '    <tr>\n      <td class="cell"></td>\n      <td class="cell"></td>\n      <td>&nbsp;</td>\n    </tr>', 14
    )
    + "  </tbody>\n</table>\n"
)

_HTML_CARDS = _lines(
    '<div class="card">\n  <img src="image.jpg" alt="Picture">\n  <h2 class="title">Card title</h2>\n'
    '  <p class="text">Some quick example text about the card.</p>\n  <a href="#" class="button">More</a>\n</div>',
    6,
)

_LATEX_MATRIX = "\\begin{pmatrix}\n" + _lines("0 & 0 & 0 & 0 & 0 & 0 & 0 & 0 \\\\", 12) + "\\end{pmatrix}\n"

_LATEX_TABLE = (
    "\\begin{tabular}{|c|c|c|}\n\\hline\n" + _lines("\\quad & \\quad & \\quad \\\\ \\hline", 18) + "\\end{tabular}\n"
)

_CHAT_LOG = "\n".join(
    f"[{12 + minute // 60:02}:{minute % 60:02}] <{name}> {words}"
    for minute, (name, words) in enumerate([("anna", "are you there?"), ("ben", "yes"), ("anna", "ok")] * 14)
)

_SAME_CHAT_LOG = ("User: Hello!\nBot: Hello! How can I help you?\n" * 2 + "User: Hello?\nBot: I'm here.\n") * 2

_TIMES_TABLE = "\n".join(" ".join(f"{row * column:4}" for column in range(1, 21)) for row in range(1, 21))

_ASCII_ART = (
    "+"
    + "-" * 60
    + "+\n"
    + _lines("|" + " " * 60 + "|", 15)
    + "+"
    + "-" * 60
    + "+\n"
    + _lines("x" * 30, 15)
    + _lines("X . X . X . X . X .", 18)
    + "=" * 300
    + "\n"
)

_MAZE = _lines("W W W W W W W W W W W W", 16)

_NO_ONE_KNOWS = random.Random(5)

LEGITIMATE: dict[str, str] = {
    "a Markdown table of numbers": _table("| id | x | y |", "| 0 | 0 | 0 |", 40),
    "a Markdown table of empty cells": _table("| Name | Address | Phone |", "|      |         |       |", 30),
    "a Markdown table of dashes": _table("| a | b | c | d |", "| - | - | - | - |", 30),
    "a Markdown table of placeholders": _table("| a | b | c |", "| [Your name] | [Your address] | [Your phone] |", 8),
    "a Markdown table of words": _table("| Day | Meal | Drink |", "| Porridge | Bread | Tea |", 9),
    "a Markdown table of not available": _table("| A | B | C |", "| N/A | N/A | N/A |", 25),
    "a Markdown table of yes and no": _table("| A | B |", "| Yes | No |", 30),
    "a long Markdown table of words": _table("| Day | Meal | Drink |", "| Porridge | Bread | Tea |", 30),
    "a table with long rows of words": _table(
        "| Day | What is eaten in the morning, at noon and at night |",
        "| Monday | Porridge with milk and honey, then bread with cheese and a pear, then a soup of leeks |",
        9,
    ),
    "a table of tabs": _lines("London\tParis\tBerlin", 30),
    "a table of empty HTML cells": _HTML_TABLE,
    "cards in HTML": _HTML_CARDS,
    "an HTML list": "<ul>\n" + _lines("  <li>List item</li>", 10) + "</ul>\n",
    "options in HTML": "<select>\n" + _lines('  <option value="yes">Yes</option>', 20) + "</select>\n",
    "a long HTML list": "<ul>\n" + _lines("  <li>List item</li>", 30) + "</ul>\n",
    "a list of numbers": "\n".join(str(number) for number in range(1, 400)),
    "the same number": ", ".join(["0.0"] * 200),
    "a matrix of zeros": "[\n" + _lines("    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],", 20) + "]\n",
    "an array of bytes": "static const uint8_t zeros[] = {\n"
    + _lines("    0x00, 0x00, 0x00, 0x00, 0x00, 0x00,", 12)
    + "};\n",
    "an array of the same bytes": "{" + "0xFF, " * 150 + "}",
    "an array of the same words": "{" + "0xDEADBEEF, " * 60 + "}",
    "an array of nulls": json.dumps([[None] * 8] * 12, indent=2),
    "an array of false": json.dumps([[False] * 10] * 15),
    "exponents": "\n".join(["1e-5 1.5e+3 nan inf"] * 25),
    "CSV of numbers": "time,a,b,c\n" + _lines("0.00,1.00,1.00,-1", 50),
    "CSV of the same words": "yes,no,city\n" + _lines("Yes,No,London", 30),
    "CSV of words with blanks": "city, country\n" + _lines("New York, USA", 40),
    "commands for a shell": _lines("$ make test", 30),
    "a list of not a number": "[" + ", ".join(["np.nan"] * 60) + "]",
    "lines of not a number": "[\n" + _lines("    np.nan,", 60) + "]",
    "a list of colours": "[" + ", ".join(["rgb(0, 0, 0)"] * 25) + "]",
    "lines of colours": "[\n" + _lines("    rgb(0, 0, 0),", 30) + "]",
    "a list of the same string": "[" + ", ".join(["'red'"] * 60) + "]",
    "the same enum again and again": "[\n" + _lines("    Color.RED,", 60) + "]",
    "SQL": _lines("INSERT INTO users (name, city) VALUES ('John', 'London');", 18),
    "YAML": "\n".join(["- name: worker", "  image: worker"] * 25),
    "CSV of names": "id,name,city\n" + "\n".join(f"{number},John Smith,London" for number in range(60)),
    "JSON of zeros": json.dumps([{"x": 0, "y": 0}] * 30, indent=1),
    "JSON with the same rows": json.dumps([{"name": "John", "age": 30, "city": "London"}] * 8, indent=2),
    "JSON with counted rows": json.dumps([{"id": n, "name": "Item", "price": 9.5} for n in range(40)], indent=2),
    "ASCII art and rulers": _ASCII_ART,
    "a maze": _MAZE,
    "rulers": _lines("-" * 78, 10) + _lines("=" * 78, 10) + _lines("* * *", 40),
    "blanks": "a" + " " * 900 + "b" + "\n" * 100 + "\t" * 200,
    "dots": "Chapter 1 " + "." * 400 + " 1\n" + "Name: " + "_" * 400 + "\n",
    "the same statement 11 times": _lines('    print("Hello, world!")', 11),
    "a long statement 6 times": _lines("    self.assertEqual(response.status_code, 200)", 6),
    "the same lines of code 11 times": "int main() {\n"
    + _lines("    counter += step;\n    draw(counter);", 11)
    + "}\n",
    "assembly": _lines("    nop", 11) + _lines("    add eax, 1", 11),
    "no operation 40 times": _lines("nop", 40),
    "no operation 40 times with an indent": _lines("    nop", 40),
    "assembly for long": _lines("    mov eax, ebx", 30),
    "the same statement 30 times": _lines('    print("Hello, world!")', 30),
    "a call without arguments 40 times": _lines("tick();", 40),
    "the same cases of a switch": "switch (key) {\n" + _lines("    case KEY_A: return RED;", 30) + "}\n",
    "an enum": "enum Colour {\n" + _lines("    RED_LIGHT,", 40) + "};\n",
    "a switch": _SWITCH,
    "a match with the same bodies": _SAME_CASES,
    "a song that is a round": _CHORUS * 2,
    "a song that counts down": _SONG,
    "a song of la": "La la la la la la la, la la la la la la la!\n"
    + _CHORUS
    + "La la la la la la la, la la la la la la la!\n",
    "a poem with a refrain": _VILLANELLE,
    "a litany": _LITANY,
    "a multiplication table": _TIMES_TABLE,
    "a multiplication table in words": "\n".join(f"{n} times 7 is {n * 7}." for n in range(1, 60)),
    "hello 10 times": _lines("Hello", 10),
    "hello 20 times": _lines("Hello", 20),
    "a sentence 10 times": _lines("I will not talk in class.", 10),
    "a paragraph twice": 2
    * "The old man sat by the window and watched the rain fall on the empty square. Nobody came.\n\n",
    "numbered sentences": "\n".join(f"{n}. I will not talk in class." for n in range(1, 60)),
    "laughter": "Ha" + "ha" * 11 + "! " + "Noo" + "o" * 60 + "!",
    "laughter in other scripts": "哈" * 12 + "！" + "ㅋ" * 12 + "! " + "あ" * 12 + "ー" * 100 + "!",
    "a table of ideograms": _table("| 甲 | 乙 |", "| 是 | 否 |", 30),
    "a row of letters": "I " * 40,
    "a sound": "A" + "a" * 200 + "!",
    "base64": base64.b64encode(_NO_ONE_KNOWS.randbytes(900)).decode(),
    "base64 of zeros": base64.b64encode(bytes(300)).decode(),
    "hex": _NO_ONE_KNOWS.randbytes(600).hex(" "),
    "hex of zeros": bytes(300).hex(" "),
    "binary": " ".join(["00000000"] * 60),
    "a matrix in LaTeX": _LATEX_MATRIX,
    "an empty table in LaTeX": _LATEX_TABLE,
    "a chat log": _CHAT_LOG,
    "a chat log with the same greetings": _SAME_CHAT_LOG,
    "tic tac toe": _lines(" X | O | X \n-----------\n O | X | O \n-----------\n X | O | X \n", 4),
    "a progress bar": "\n".join("[" + "#" * done + "." * (40 - done) + "]" for done in range(41)),
    "checkboxes": _lines("- [ ]", 60),
}

_SORRY = "I'm sorry, but I can't help with that. Please ask me something else.\n\n"
_PARAGRAPH = (
    "The city lies on both banks of a wide river, and its bridges are older than most of its houses. Every spring the "
    "water rises up to the lowest windows, and people carry their furniture upstairs without a word of complaint. "
)
_LONG_PARAGRAPHS = (
    _PARAGRAPH
    + "In summer the same people sit on the steps until late at night, eat cherries, and argue about a theatre that "
    "was never built. Tourists photograph the empty lot. A child sells lemonade beside it, and her prices follow the "
    "weather with great precision. When autumn comes, the barges bring coal and apples, the markets smell of both, and "
    "the first fog hides the towers. Nobody remembers who drew the map on the wall of the station, but strangers still "
    "use it, and they mostly arrive where they meant to go.\n\n"
)
_GROWING = "".join(
    f"Fact {number}: the number {number * number} is the square of {number}. " for number in range(1, 26)
)

LOOPS: dict[str, str] = {
    "six words": "The capital of France is Paris.\n" * 30,
    "six words on one line": "The capital of France is Paris. " * 30,
    "one word": "the " * 100,
    "one word without blanks": "paris" * 100,
    "two words": "very, very, " * 60,
    "a list item": "- Check that the cable is plugged in.\n" * 20,
    "a list item without a full stop": "* Check the cable and the plug\n" * 20,
    "a numbered item without a full stop": "1. **Check** the cable: it may be loose\n" * 20,
    "a short sorry": "I'm sorry. " * 20,
    "a short sorry on lines": "I'm sorry.\n" * 20,
    "six words without a full stop": "and so on and on and\n" * 20,
    "sentences without a blank between them": "The capital of France is Paris." * 20,
    "a remark about code": "Call the function print(x) to see what it is. " * 20,
    "a list of words": "bread, milk, " * 30,
    "a sorry": _SORRY * 13,
    "a long sorry": _SORRY.replace("\n", " ") * 13,
    "a paragraph": _PARAGRAPH * 4,
    "a period of about 200 tokens": _LONG_PARAGRAPHS * 4,
    "a loop after 300 tokens": _GROWING + "And so it goes on and on. " * 30,
    "a verse that ends in la": ("\n".join(_VILLANELLE.splitlines()[:7]) + "\n" + "La la " * 8) * 5,
    "a statement": '    print("Hello, world!")\n' * 100,
    "JSON": '{"name": "John", "age": 30, "city": "London"},\n' * 50,
    "a row of words": "| Porridge | Bread | Tea |\n" * 80,
    "one word a line": "nop\n" * 300,
    "one letter as a word": "I " * 100,
    "letters as words": "A B C " * 60,
    "one ideogram": "哈" * 800,
    "two ideograms": "哈，呵，" * 60,
    "one kana": "あ" * 800,
    "one hangul letter": "ㅋ" * 800,
    "one Thai letter": "ก" * 800,
    "German": "Ich weiß es leider nicht genau, aber ich kann es gerne für Sie herausfinden. " * 14,
    "Russian": "Я не знаю, что сказать по этому поводу. " * 20,
    "Greek": "Δεν ξέρω τι να πω για αυτό το θέμα. " * 20,
    "Chinese": "我不知道该怎么回答这个问题。" * 20,
    "Chinese with commas of another script": "我不知道,你也不知道," * 20,
    "Chinese on lines": "我不知道该怎么回答\n" * 20,
    "Japanese": "すみません、その質問には答えられません。" * 20,
    "Korean": "죄송합니다. 그 질문에는 답할 수 없습니다. " * 20,
    "Hindi": "मुझे इस प्रश्न का उत्तर नहीं पता है। " * 20,
    "Thai": "ฉันไม่ทราบคำตอบของคำถามนี้ " * 20,
    "Arabic": "لا أعرف كيف أجيب على هذا السؤال. " * 20,
    "Hebrew": "אני לא יודע איך לענות על השאלה הזאת. " * 20,
    "zeros without an end": "0, " * 3000,
    "empty rows without an end": "| |\n" * 1500,
    "a ruler without an end": "- " * 3000,
    "empty cells without an end": "<td></td>\n" * 1200,
}
