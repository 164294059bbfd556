"""The characters of LaTeX commands and of raised and lowered letters. Data only.

Source: the Unicode blocks Mathematical Operators, Arrows, Superscripts and Subscripts, and Phonetic Extensions.
"""

from typing import Final

_GREEK: Final = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "vartheta": "ϑ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "ϕ", "varphi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π",
    "Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip

SYMBOLS: Final = {
    **_GREEK,
    "infty": "∞", "partial": "∂", "nabla": "∇", "forall": "∀", "exists": "∃", "nexists": "∄", "emptyset": "∅",
    "varnothing": "∅", "hbar": "ℏ", "ell": "ℓ", "Re": "ℜ", "Im": "ℑ", "aleph": "ℵ", "neg": "¬", "lnot": "¬",
    "ldots": "…", "dots": "…", "cdots": "⋯", "vdots": "⋮", "ddots": "⋱", "prime": "′", "angle": "∠", "degree": "°",
    "sum": "∑", "prod": "∏", "int": "∫", "iint": "∬", "iiint": "∭", "oint": "∮", "bigcup": "⋃", "bigcap": "⋂",
    "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "lvert": "|", "rvert": "|",
    "vert": "|", "mid": "|", "Vert": "‖", "lVert": "‖", "rVert": "‖", "top": "⊤", "bot": "⊥", "blacksquare": "■",
    "square": "□", "star": "⋆", "dagger": "†", "checkmark": "✓",
}  # fmt: skip
"""Characters that stand close to their neighbours, by the names of their commands."""

RELATIONS: Final = {
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "equiv": "≡", "sim": "∼",
    "simeq": "≃", "cong": "≅", "propto": "∝", "ll": "≪", "gg": "≫", "prec": "≺", "succ": "≻", "in": "∈",
    "notin": "∉", "ni": "∋", "subset": "⊂", "subseteq": "⊆", "supset": "⊃", "supseteq": "⊇", "perp": "⊥",
    "parallel": "∥", "to": "→", "rightarrow": "→", "leftarrow": "←", "gets": "←", "leftrightarrow": "↔",
    "Rightarrow": "⇒", "Leftarrow": "⇐", "Leftrightarrow": "⇔", "implies": "⟹", "iff": "⟺", "mapsto": "↦",
    "longrightarrow": "⟶", "uparrow": "↑", "downarrow": "↓", "times": "×", "div": "÷", "cdot": "·", "pm": "±",
    "mp": "∓", "ast": "∗", "circ": "∘", "bullet": "•", "oplus": "⊕", "otimes": "⊗", "odot": "⊙", "cup": "∪",
    "cap": "∩", "setminus": "∖", "wedge": "∧", "land": "∧", "vee": "∨", "lor": "∨", "models": "⊨", "vdash": "⊢",
    "coloneqq": "≔",
}  # fmt: skip
"""Characters with a space on both sides."""

FUNCTIONS: Final = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "sinh",
        "cosh",
        "tanh",
        "arcsin",
        "arccos",
        "arctan",
        "log",
        "ln",
        "lg",
        "exp",
        "lim",
        "limsup",
        "liminf",
        "max",
        "min",
        "sup",
        "inf",
        "det",
        "dim",
        "ker",
        "deg",
        "gcd",
        "arg",
        "Pr",
        "hom",
    ]
)
"""Commands whose names are written as they are."""

SPACES: Final = {",": " ", ";": " ", ":": " ", " ": " ", "!": "", "quad": "  ", "qquad": "  ", ">": " "}

PLAIN_STYLES: Final = frozenset(
    ["text", "mathrm", "mathit", "mathsf", "mathtt", "textrm", "textit", "operatorname", "mbox", "rm"]
)
"""Commands whose argument is shown as it is, because the letters themselves stay the same."""

DOUBLE_STRUCK: Final = dict(zip("CHNPQRZE", "ℂℍℕℙℚℝℤ𝔼", strict=True)) | {"1": "𝟙", "F": "𝔽", "K": "𝕂"}
SCRIPT: Final = dict(zip("BEFHILMRLCDNOPSTU", "ℬℰℱℋℐℒℳℛℒ𝒞𝒟𝒩𝒪𝒫𝒮𝒯𝒰", strict=True)) | {"A": "𝒜", "G": "𝒢", "X": "𝒳"}

ACCENTS: Final = {"hat": "\u0302", "bar": "\u0304", "overline": "\u0304", "vec": "\u20d7", "dot": "\u0307",
                  "ddot": "\u0308", "tilde": "\u0303", "widehat": "\u0302", "widetilde": "\u0303"}  # fmt: skip
"""Combining characters that stand above one letter."""

RAISED: Final = dict(
    zip(
        "0123456789+−=()abcdefghijklmnoprstuvwxyzTαβγδεθ",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᵅᵝᵞᵟᵋᶿ",
        strict=True,
    )
) | {"′": "′", "*": "*", "∗": "*"}
LOWERED: Final = dict(
    zip("0123456789+−=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True)
)
