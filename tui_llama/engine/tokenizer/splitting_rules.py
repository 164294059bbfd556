r"""Rules by which a byte-pair vocabulary splits text into words: the table behind `tokenizer.ggml.pre`.

The patterns are llama.cpp's, because model files are checked against llama.cpp. They are written for Oniguruma, the
engine of the `tokenizers` package. Where the two engines differ, the pattern follows llama.cpp: `\p{Lu}` and its kin
are any letter there, `\d` is ASCII, `$` is the end of the piece, and the categories are those of Unicode 15.1.
"""

from dataclasses import dataclass

from tui_llama.errors import ModelFileError

_CONTRACTION = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS}|{_SPACES}"
_LLAMA3_ANY_NUMBER = rf"{_CONTRACTION}|{_WORD}|\p{{N}}+|{_SYMBOLS}|{_SPACES}"
_JAIS2_SPACES = "|".join(rf"\s{{{count}}}(?!\S)" for count in (512, 256, 128, 64, 32, 16, 8, 4))
_JAIS2 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS}|\s*[\r\n]+|{_JAIS2_SPACES}|\s{{1,2}}(?!\S)|\s{{1}}"
_QWEN2_WITHOUT_CONTRACTION = rf"{_WORD}|\p{{N}}|{_SYMBOLS}|{_SPACES}"
_QWEN2 = rf"{_CONTRACTION}|{_QWEN2_WITHOUT_CONTRACTION}"
_QWEN35 = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
_SEED_CODER = rf"{_CONTRACTION}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}"
_BAILING = rf"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|{_WORD}|\p{{N}}|{_SYMBOLS}|\s*[\r\n]|\s+(?!\S)|\s+"
_EXAONE_MOE = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)

# The case-aware words of tekken and gpt-4o. Only ASCII letters have a case; any other letter counts as both.
_CASED_TAIL = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


def _cased(letters: str, contraction: str, numbers: str) -> str:
    upper, lower = rf"(?:(?=[{letters}])[^a-z])", rf"(?:(?=[{letters}])[^A-Z])"
    lead = r"[^\r\n\p{L}\p{N}]?"
    words = rf"{lead}{upper}*{lower}+{contraction}|{lead}{upper}+{lower}*{contraction}"
    return rf"{words}|{numbers}|{_CASED_TAIL}"


_TEKKEN = _cased(r"\p{L}", "", r"\p{N}")
_GPT4O = _cased(r"\p{L}", _CONTRACTION + "?", r"\p{N}{1,3}")
_GPT4O_MARKS = _cased(r"\p{L}\p{M}", _CONTRACTION + "?", r"\p{N}{1,3}")


def _uncased(numbers: str) -> str:
    lead, letters = r"[^\r\n\p{L}\p{N}]?", r"[\p{L}\p{M}]"
    words = rf"{lead}{letters}*{letters}+{_CONTRACTION}?|{lead}{letters}+{letters}*{_CONTRACTION}?"
    return rf"{words}|{numbers}|{_CASED_TAIL}"


_THREES_FROM_THE_RIGHT = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
_PUNCTUATION = r"[\p{P}\$\+<=>\^~\|]+"
_THREE_DIGITS = "[0-9][0-9][0-9]"
_LINES = r"[^\n]+|[\n]+"

_HAN_TO_HANGUL = r"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+"
_HAN_AND_KANA = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"
_ASCII_SYMBOL = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
_DEEPSEEK3 = (
    rf"{_ASCII_SYMBOL}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
)
_SPARK = (
    rf"{_ASCII_SYMBOL}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"
)
_ASIAN_SCRIPTS = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F}"
    r"\x{2F00}-\x{2FDF}\x{0E00}-\x{0E7F}\x{0E80}-\x{0EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F}"
    r"\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+"
)
_YOUTU_SCRIPTS = (
    r"[\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+"
    r"|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}"
    r"\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"
)
_HAN = (
    r"\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B820}-\x{2CEAF}\x{2CEB0}-\x{2EBEF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}"
)
_KIMI = (
    rf"[{_HAN}]+|[^\r\n\p{{L}}\p{{N}}]?(?:(?![{_HAN}])\p{{L}})+{_CONTRACTION}?"
    rf"|\p{{N}}{{1,3}}|{_SYMBOLS}|{_SPACES}"
)
_PORO = r" ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C})]+"

_LATIN_LIKE_RANGES = (
    "0041-005A 0061-007A 00B5 00C0-00D6 00D8-00F6 00F8-01BA 01BC-01BF 01C4-0293 0295-02AF 0370-0373 0376 "
    "0377 037B-037D 037F 0386 0388-038A 038C 038E-03A1 03A3-03F5 03F7-0481 048A-052F 0531-0556 10A0-10C5 "
    "13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 "
    "1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 "
    "1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D "
    "212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D "
    "A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A "
    "10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943 "
)


def _character_ranges(ranges: str) -> str:
    return "".join("-".join(rf"\x{{{end}}}" for end in letters.split("-")) for letters in ranges.split())


_DEEPSEEK_SYMBOLS = (
    r"[\x{0021}-\x{002F}\x{003A}-\x{007E}\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}"
    r"\x{2018}-\x{201F}\x{3000}-\x{3002}]"
)
_CHAMELEON = (
    r"<sentinel:[0-9]+>",
    r"(?:IMGIMG)(?:(?:A|B|C|D|E|F|G|H|I){1,4})Z",
    r"(?:[\t\n]|    |  )",
    r"\p{N}",
    r"[\p{P}!-/:-@\[-`{-~]",
    _GPT2,
)


@dataclass(frozen=True, slots=True)
class SplittingRule:
    """One row of the table.

    Attributes:
        patterns: Each one splits every piece that the pattern before it left, into matches and the gaps between them.
        ignore_merges: A word that is a token stays whole, without looking at the merges.
        add_bos: The beginning-of-sequence token is added where the metadata is silent.
        always_bos: The token is added even where the metadata says no.
        has_bos: False where the vocabulary has no such token, whatever the defaults say.
        clean_spaces: Detokenizing removes spaces before punctuation.
        has_byte_alphabet: Tokens are written in GPT-2's characters for bytes. Otherwise they are text, and unknown
            characters become byte tokens.
        escapes_spaces: Spaces become U+2581; only without the byte alphabet.
        whole_newline_runs: A run of newlines that is a token stays whole.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    always_bos: bool = False
    has_bos: bool = True
    clean_spaces: bool = True
    has_byte_alphabet: bool = True
    escapes_spaces: bool = False
    whole_newline_runs: bool = False


_DEFAULT = SplittingRule((_PUNCTUATION, _GPT2, r"\p{N}+", _THREE_DIGITS))
_DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"\s?[{_character_ranges(_LATIN_LIKE_RANGES)}]+",
    rf"\s?{_DEEPSEEK_SYMBOLS}+",
    r"(?<!\s)\s+\z",  # from the run's beginning only: every other start would scan the whole run and find nothing
    _HAN_TO_HANGUL,
    r"\p{N}+",
)

_ROWS: tuple[tuple[str, SplittingRule], ...] = (
    ("default", _DEFAULT),
    (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        SplittingRule((_LLAMA3,), ignore_merges=True, add_bos=True),
    ),
    ("dbrx smaug-bpe", SplittingRule((_LLAMA3,))),
    ("chatglm-bpe", SplittingRule((_LLAMA3,), has_bos=False)),
    ("glm4 glm5", SplittingRule((_LLAMA3,), ignore_merges=True, has_bos=False)),
    ("jais-2", SplittingRule((_JAIS2,))),
    ("minicpm5", SplittingRule((r"\p{N}{1,3}", _LLAMA3_ANY_NUMBER), ignore_merges=True)),
    (
        "qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2",
        SplittingRule((_QWEN2,), clean_spaces=False),
    ),
    ("stablelm2 megrez", SplittingRule((_QWEN2,))),
    ("qwen35", SplittingRule((_QWEN35,), clean_spaces=False)),
    ("ufakzeka", SplittingRule((_QWEN2_WITHOUT_CONTRACTION,), clean_spaces=False)),
    ("laguna", SplittingRule((_LINES, _QWEN2), clean_spaces=False)),
    ("seed-coder", SplittingRule((_SEED_CODER,), clean_spaces=False)),
    ("bailingmoe bailingmoe2 llada-moe", SplittingRule((_BAILING,), clean_spaces=False)),
    ("exaone-moe", SplittingRule((_EXAONE_MOE,))),
    (
        "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert exaone4 mpt"
        " olmo jais jina-v1-en jina-v2-code roberta-bpe",
        SplittingRule((_GPT2,)),
    ),
    ("trillion granite-docling", SplittingRule((_GPT2,), clean_spaces=False)),
    ("starcoder refact codeshell exaone minerva-7b mellum2", SplittingRule((r"\p{N}", _GPT2))),
    ("command-r smollm", SplittingRule((r"\p{N}", _GPT2), clean_spaces=False)),
    ("falcon", SplittingRule((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, _THREE_DIGITS))),
    ("deepseek-llm", SplittingRule(_DEEPSEEK_LLM, clean_spaces=False)),
    (
        "deepseek-coder",
        SplittingRule((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_TO_HANGUL, r"\p{N}"), clean_spaces=False),
    ),
    (
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
        SplittingRule((r"\p{N}{1,3}", _HAN_AND_KANA, _DEEPSEEK3), clean_spaces=False),
    ),
    ("spark2_5", SplittingRule((r"\p{N}{1,3}", _HAN_AND_KANA, _SPARK, r"\p{N}"), clean_spaces=False)),
    ("tekken", SplittingRule((_TEKKEN,), ignore_merges=True, add_bos=True, clean_spaces=False)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", SplittingRule((_GPT4O,), clean_spaces=False)),
    ("granite-embed-multi-97m", SplittingRule((_GPT4O_MARKS,), ignore_merges=True, clean_spaces=False)),
    (
        "tiny_aya cohere2moe",
        SplittingRule((_THREES_FROM_THE_RIGHT, _uncased(r"\p{N}{1,3}")), clean_spaces=False),
    ),
    ("poro-chat", SplittingRule((_PORO,), clean_spaces=False)),
    ("bloom gpt3-finnish", SplittingRule((_PORO,))),
    ("viking", SplittingRule((_PORO, r"\p{N}"), clean_spaces=False)),
    ("superbpe", SplittingRule((r"\p{N}+", r"(?=([0-9]{3})+(?![0-9]))"), clean_spaces=False)),
    ("kimi-k2", SplittingRule((_KIMI,), clean_spaces=False)),
    ("afmoe", SplittingRule((_THREES_FROM_THE_RIGHT, _ASIAN_SCRIPTS, _DEEPSEEK3), clean_spaces=False)),
    ("youtu", SplittingRule((_YOUTU_SCRIPTS, _uncased(r"\p{N}")), ignore_merges=True, clean_spaces=False)),
    ("chameleon", SplittingRule(_CHAMELEON, add_bos=True, clean_spaces=False)),
    (
        "gemma4",
        SplittingRule(
            (_LINES,), always_bos=True, has_byte_alphabet=False, escapes_spaces=True, whole_newline_runs=True
        ),
    ),
    ("granite-embed-multi-311m", SplittingRule((_LINES,), add_bos=True, has_byte_alphabet=False, escapes_spaces=True)),
    ("sarvam-moe", SplittingRule((_LINES,), clean_spaces=False, has_byte_alphabet=False, escapes_spaces=True)),
    ("whitespace", SplittingRule((r"\S+",), has_byte_alphabet=False)),
)

SPLITTING_RULES: dict[str, SplittingRule] = {name: rule for names, rule in _ROWS for name in names.split()}


def splitting_rule(name: str) -> SplittingRule:
    """Returns the rule that `tokenizer.ggml.pre` names.

    Raises:
        ModelFileError: the name is unknown. Another rule would silently give other tokens.
    """
    try:
        return SPLITTING_RULES[name]
    except KeyError as error:
        raise ModelFileError(
            f"The model splits text by the unknown rule {name[:40]!r} (tokenizer.ggml.pre)",
            "The model is newer than this program; try another model or a newer version.",
        ) from error


_NEWER_THAN_UNICODE_15_1 = (
    "0897 1B4E-1B4F 1B7F 1C89-1C8A 2427-2429 31E4-31E5 A7CB-A7CD A7DA-A7DC 105C0-105F3 10D40-10D65 "
    "10D69-10D85 10D8E-10D8F 10EC2-10EC4 10EFC 11380-11389 1138B 1138E 11390-113B5 113B7-113C0 113C2 "
    "113C5 113C7-113CA 113CC-113D5 113D7-113D8 113E1-113E2 116D0-116E3 11BC0-11BE1 11BF0-11BF9 11F5A "
    "13460-143FA 16100-16139 16D40-16D79 18CFF 1CC00-1CCF9 1CD00-1CEB3 1E5D0-1E5FA 1E5FF 1F8B2-1F8BB "
    "1F8C0-1F8C1 1FA89 1FA8F 1FABE 1FAC6 1FADC 1FADF 1FAE9 1FBCB-1FBEF "
)


def oniguruma_pattern(pattern: str) -> str:
    """Returns `pattern` with categories restricted to Unicode 15.1; Oniguruma's own tables are those of 16.0."""
    newer = _character_ranges(_NEWER_THAN_UNICODE_15_1)
    for category in "LMNPS":
        pattern = pattern.replace(rf"\p{{{category}}}", rf"[\p{{{category}}}&&[^{newer}]]")
    return pattern
