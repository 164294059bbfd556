"""Known chat templates, opened for a vocabulary without a model file."""

from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.engine.templates.known import KNOWN_TEMPLATES
from tui_llama.engine.tokenizer.tokenizer import Tokenizer


def known_template(name: str, tokenizer: Tokenizer) -> ChatTemplate:
    """Opens the known template of that name, as for a model that has it and this tokenizer."""
    return ChatTemplate(
        KNOWN_TEMPLATES[name],
        f"built in: {name}",
        bos_text="" if tokenizer.bos_id is None else tokenizer.token_text(tokenizer.bos_id),
        eos_text="" if tokenizer.eos_id is None else tokenizer.token_text(tokenizer.eos_id),
        adds_bos=tokenizer.add_bos,
        adds_eos=tokenizer.add_eos,
    )
